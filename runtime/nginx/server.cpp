#include "runtime/nginx/server.hpp"

#include "runtime/nginx/values.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

namespace weir::nginx {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

/// Processes of nginx whose folder this is: every nginx that we start has it as working directory, and its workers keep it.
/// (Their command lines and environments are overwritten by nginx's process titles.)
std::vector<pid_t> left_in(const std::string& path) {
  std::vector<pid_t> found;
  std::error_code gone; // processes end while we look
  for (const auto& entry : fs::directory_iterator("/proc", gone)) {
    const auto name = entry.path().filename().string();
    pid_t pid = 0;
    if (std::from_chars(name.data(), name.data() + name.size(), pid).ec != std::errc{} || pid == getpid())
      continue;
    const auto program = fs::read_symlink(entry.path() / "exe", gone).filename().string();
    if (program.starts_with("nginx") && fs::read_symlink(entry.path() / "cwd", gone).string() == path)
      found.push_back(pid);
  }
  return found;
}

/// Kills them and waits until they are gone. False when one is still there after two seconds.
bool end_all(const std::vector<pid_t>& pids) {
  std::vector<pollfd> watched;
  for (const auto pid : pids)
    if (const int fd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0)); fd >= 0)
      watched.push_back({fd, POLLIN, 0});
  for (const auto& one : watched)
    syscall(SYS_pidfd_send_signal, one.fd, SIGKILL, nullptr, 0);
  bool all = true;
  const auto deadline = std::chrono::steady_clock::now() + 2s;
  for (auto& one : watched) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    all &= poll(&one, 1, static_cast<int>(std::max<std::int64_t>(0, left.count()))) == 1;
    close(one.fd);
  }
  return all;
}

/// Whether nobody has this unix socket open any more; nginx refuses to replace such a leftover.
bool is_deserted(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    return false;
  std::memcpy(address.sun_path, path.data(), path.size());
  const int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const bool refused = connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 && errno == ECONNREFUSED;
  close(probe);
  return refused;
}

error system_error(std::string_view what) { return {error_code::io_failed, fmt::format("{}: {}", what, std::strerror(errno))}; }

} // namespace

expected<prefix> prefix::prepare(std::string path, bool workers_of_another_user, std::string program) {
  WEIR_TRY(check_path("folder of nginx", path));
  WEIR_TRY(check_path("program of nginx", program));
  std::error_code failed;
  fs::create_directories(path, failed);
  if (failed)
    return fail(error_code::io_failed, fmt::format("folder of nginx {}: {}", path, failed.message()));
  // The kernel tells working directories without symbolic links.
  path = fs::canonical(path, failed).string();
  const mode_t mode = workers_of_another_user ? 0711 : 0700;
  if (failed || chmod(path.c_str(), mode) != 0)
    return fail(system_error(fmt::format("folder of nginx {}", path)));
  fs::create_directories(path + "/temp", failed);
  if (failed || chmod((path + "/temp").c_str(), mode) != 0)
    return fail(system_error(fmt::format("folder of nginx {}/temp", path)));
  prefix one(std::move(path), std::move(program));
  WEIR_TRY(one.sweep());
  return one;
}

expected<void> prefix::sweep() const {
  if (!end_all(left_in(path_)))
    return fail(error_code::unavailable, fmt::format("an nginx of an earlier run does not end in {}", path_));
  std::error_code vanished;
  for (const auto& entry : fs::directory_iterator(path_, vanished))
    if (entry.path().filename() == "nginx.pid" || (entry.is_socket(vanished) && is_deserted(entry.path().string())))
      fs::remove(entry.path(), vanished);
  return {};
}

expected<void> prefix::check(std::string_view configuration) const {
  const auto candidate = file("nginx.conf.new");
  {
    std::ofstream out(candidate, std::ios::binary | std::ios::trunc);
    out << configuration;
    out.close();
    if (!out)
      return fail(system_error(candidate));
  }
  if (chmod(candidate.c_str(), 0600) != 0) // it holds the hook's secret
    return fail(system_error(candidate));
  auto check = start();
  check.guarded = false;
  check.arguments = {"-t", "-q", "-p", path_, "-c", candidate, "-e", "stderr"};
  auto done = supervise::run_to_end(std::move(check), 10s);
  WEIR_TRY(done);
  if (!done->status.ok()) {
    std::string words;
    for (const auto& line : done->lines)
      words += (words.empty() ? "" : "\n") + line;
    return fail(error_code::invalid_config, words.empty() ? "nginx -t: " + supervise::to_string(done->status) : words);
  }
  return {};
}

expected<void> prefix::install(std::string_view configuration) const {
  WEIR_TRY(check(configuration));
  const auto candidate = file("nginx.conf.new");
  if (std::rename(candidate.c_str(), file("nginx.conf").c_str()) != 0)
    return fail(system_error(file("nginx.conf")));
  return {};
}

supervise::launch prefix::start() const {
  supervise::launch how;
  how.program = program_;
  how.arguments = {"-p", path_, "-c", file("nginx.conf"), "-e", "stderr"};
  how.working_directory = path_;
  how.guarded = true;
  return how;
}

} // namespace weir::nginx
