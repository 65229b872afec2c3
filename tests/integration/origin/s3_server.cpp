#include "tests/integration/origin/s3_server.hpp"

#include <atomic>
#include <csignal>
#include <fstream>
#include <stdexcept>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

namespace weir::origin {

using namespace std::chrono_literals;

s3_server& s3_server::one() {
  static s3_server server;
  return server;
}

s3_server::s3_server() : owner_(::getpid()) {
  char name[] = "/tmp/weir-s3-XXXXXX";
  if (::mkdtemp(name) == nullptr)
    throw std::runtime_error("no folder for the S3 server");
  folder_ = name;
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0)
    throw std::runtime_error("no pipe");
  const auto parent = std::to_string(owner_);
  process_ = ::fork();
  if (process_ == 0) {
    ::setpgid(0, 0);
    ::dup2(ends[1], STDOUT_FILENO);
    // Not the python3 of the path: the package's modules are this one's.
    ::execl("/usr/bin/python3", "python3", "-B", WEIR_SOURCE_DIR "/tests/integration/origin/s3_server.py", name, parent.c_str(), nullptr);
    ::_exit(127);
  }
  ::setpgid(process_, process_);
  ::close(ends[1]);
  std::string said;
  pollfd ready{ends[0], POLLIN, 0};
  for (char c = 0; ::poll(&ready, 1, 60'000) == 1 && ::read(ends[0], &c, 1) == 1 && c != '\n';)
    said += c;
  ::close(ends[0]);
  port_ = static_cast<std::uint16_t>(std::atoi(said.c_str()));
  if (port_ == 0)
    throw std::runtime_error("the S3 server did not start: is the package python3-swift there?");
}

s3_server::~s3_server() {
  if (::getpid() != owner_)
    return;
  ::killpg(process_, SIGKILL); // all services: they are its children
  ::waitpid(process_, nullptr, 0);
  std::error_code gone;
  for (int tries = 0; tries < 100 && (std::filesystem::remove_all(folder_, gone), gone); ++tries) // the services end a moment later
    ::usleep(10'000);
}

s3_options s3_server::options() const {
  static std::atomic<int> used = 0;
  s3_options o;
  o.endpoint = endpoint("127.0.0.1");
  o.bucket = "live";
  o.prefix = fmt::format("test/{}-{}", ::getpid(), ++used);
  o.key = {"weir:test", "sesame-of-weir"};
  o.deadline = 30s; // of a busy machine; where a test is about time it says so
  return o;
}

std::string s3_server::endpoint(std::string_view host) const { return fmt::format("http://{}:{}", host, port_); }

void s3_server::hold(const std::string& text) {
  std::filesystem::remove(folder_ / "held");
  std::filesystem::remove(folder_ / "carried_out");
  tell("hold", text);
}

void s3_server::tell(const std::string& what, const std::string& value) {
  std::ofstream(folder_ / (what + ".new")) << value;
  std::filesystem::rename(folder_ / (what + ".new"), folder_ / what);
}

void s3_server::full(bool is) {
  if (is)
    std::ofstream(folder_ / "full").flush();
  else
    std::filesystem::remove(folder_ / "full");
}

void s3_server::hang(bool does) { ::killpg(process_, does ? SIGSTOP : SIGCONT); }

std::shared_ptr<s3_store> open_s3(s3_options options) {
  struct handle {
    http::client web{{}};
    std::unique_ptr<s3_store> store; ///< ends first
  };
  auto h = std::make_shared<handle>();
  auto opened = s3_store::open(h->web, std::move(options));
  if (!opened)
    throw std::runtime_error(opened.error().text);
  h->store = std::move(*opened);
  return {h, h->store.get()};
}

} // namespace weir::origin
