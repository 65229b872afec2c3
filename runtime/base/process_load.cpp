#include "runtime/base/process_load.hpp"

#include "runtime/base/file.hpp"

#include <algorithm>
#include <climits>
#include <filesystem>
#include <fmt/format.h>
#include <sched.h>
#include <sstream>
#include <unistd.h>

namespace weir {
namespace {

constexpr std::size_t proc_limit = 4 << 20;

// Value of a "Name:   123 kB" line; 0 when absent.
std::int64_t kilobytes(const std::string& text, std::string_view name) {
  auto at = text.find(fmt::format("\n{}:", name));
  if (at == text.npos)
    return 0;
  return std::strtoll(text.c_str() + at + name.size() + 2, nullptr, 10);
}

std::int64_t affinity_milli() {
  cpu_set_t set;
  CPU_ZERO(&set);
  auto cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  return std::max(cores, 1) * 1000LL;
}

// When the machine started, by the "btime" line; the ticks of /proc/PID/stat count from there.
expected<std::int64_t> boot_seconds() {
  auto text = read_file("/proc/stat", proc_limit);
  WEIR_TRY(text);
  auto at = text->find("\nbtime ");
  if (at == text->npos)
    return fail(error_code::unsupported, "/proc/stat: no btime");
  return std::strtoll(text->c_str() + at + 7, nullptr, 10);
}

} // namespace

expected<std::int64_t> machine_cpu::read_milli() {
  return read_file("/proc/stat", proc_limit).and_then([&](const std::string& text) { return read_milli(text); });
}

expected<std::int64_t> machine_cpu::read_milli(const std::string& proc_stat) {
  std::istringstream in(proc_stat);
  std::string word;
  std::uint64_t busy = 0, total = 0, ticks = 0;
  if (!(in >> word) || word != "cpu")
    return fail(error_code::unsupported, "/proc/stat: no cpu line");
  // user nice system idle iowait irq softirq steal; guest time is part of user.
  for (int i = 0; i < 8 && in >> ticks; ++i) {
    total += ticks;
    busy += i == 3 || i == 4 ? 0 : ticks;
  }
  std::int64_t cores = 0;
  while (std::getline(in, word))
    cores += word.starts_with("cpu") ? 1 : 0;
  auto busy_before = std::exchange(busy_, busy), total_before = std::exchange(total_, total);
  if (total_before == 0 || total <= total_before || busy < busy_before)
    return 0;
  return static_cast<std::int64_t>((busy - busy_before) * 1000 * static_cast<std::uint64_t>(cores) / (total - total_before));
}

expected<machine_memory> read_machine_memory() {
  auto text = read_file("/proc/meminfo", proc_limit);
  WEIR_TRY(text);
  text->insert(0, 1, '\n');
  auto total = kilobytes(*text, "MemTotal") * 1024, available = kilobytes(*text, "MemAvailable") * 1024;
  if (total == 0)
    return fail(error_code::unsupported, "/proc/meminfo: no MemTotal");
  return machine_memory{{total - available}, {total}};
}

std::int64_t cores_of_cpu_max(const std::string& text) {
  std::istringstream in(text);
  std::int64_t quota = 0, period = 0;
  if (!(in >> quota >> period) || quota <= 0 || period <= 0)
    return 0;
  return std::max<std::int64_t>(quota * 1000 / period, 1);
}

std::int64_t usable_cores_milli() {
  auto cores = affinity_milli();
  auto groups = read_file("/proc/self/cgroup", proc_limit);
  auto at = groups ? ("\n" + *groups).find("\n0::") : std::string::npos; // the line of the unified hierarchy
  if (at == std::string::npos)
    return cores;
  const std::filesystem::path root = "/sys/fs/cgroup";
  auto line = groups->substr(at + 3);
  for (auto folder = root / std::filesystem::path(line.substr(0, line.find('\n'))).relative_path();; folder = folder.parent_path()) {
    if (auto limit = read_file(folder / "cpu.max", proc_limit))
      if (auto milli = cores_of_cpu_max(*limit); milli > 0)
        cores = std::min(cores, milli);
    if (folder == root || !folder.has_relative_path())
      return cores;
  }
}

expected<process_load> read_process_load(pid_t pid) {
  auto path = fmt::format("/proc/{}/stat", pid);
  auto text = read_file(path, proc_limit);
  WEIR_TRY(text);
  // The program's name stands in brackets and may hold anything, so count from the last one.
  auto name_end = text->rfind(')');
  if (name_end == text->npos)
    return fail(error_code::unsupported, path + ": unknown form");
  std::istringstream in(text->substr(name_end + 1));
  std::vector<std::string> fields{std::istream_iterator<std::string>(in), {}}; // fields[0] is the third of proc(5)
  if (fields.size() < 22)
    return fail(error_code::unsupported, path + ": too few fields");
  auto number = [&](std::size_t nth) { return std::strtoll(fields[nth - 3].c_str(), nullptr, 10); };
  auto boot = boot_seconds();
  WEIR_TRY(boot);
  const auto ticks = sysconf(_SC_CLK_TCK);
  process_load load;
  load.cpu_milliseconds = (number(14) + number(15)) * 1000 / ticks;
  load.threads = static_cast<std::uint32_t>(number(20));
  load.started = timestamp(std::chrono::seconds(*boot)) + std::chrono::milliseconds(number(22) * 1000 / ticks);
  load.virtual_size = {number(23)};
  load.resident = {number(24) * sysconf(_SC_PAGESIZE)};
  return load;
}

expected<std::uint32_t> count_open_files() {
  std::error_code code;
  std::filesystem::directory_iterator files("/proc/self/fd", code);
  std::uint32_t n = 0;
  for (; !code && files != std::filesystem::directory_iterator{}; files.increment(code))
    ++n;
  if (code)
    return fail(error_code::io_failed, "/proc/self/fd: " + code.message());
  return n - 1; // the listing's own
}

std::string hostname() {
  std::array<char, HOST_NAME_MAX + 1> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "localhost";
}

} // namespace weir
