#pragma once
// What this machine and its processes use, read from /proc and the control groups.
#include "schemas/error.hpp"
#include "schemas/units.hpp"

#include <cstdint>
#include <string>
#include <sys/types.h>

namespace weir {

/// CPU use of the whole machine between two readings.
class machine_cpu {
public:
  /// Cores in use × 1000 since the reading before; 0 at the first one.
  expected<std::int64_t> read_milli();
  /// The same from the text of /proc/stat. The share of busy ticks times the cores that the text lists.
  expected<std::int64_t> read_milli(const std::string& proc_stat);

private:
  std::uint64_t busy_ = 0;
  std::uint64_t total_ = 0;
};

struct machine_memory {
  byte_size used; ///< total less what the kernel could hand out without swapping
  byte_size total;
};
expected<machine_memory> read_machine_memory();

/// Cores × 1000 that this process may use: the least of its CPU affinity and of the cpu.max of its control group and of those above.
std::int64_t usable_cores_milli();
/// Cores × 1000 of the text of cpu.max; 0 where there is no limit ("max 100000") or the text is not of that form.
std::int64_t cores_of_cpu_max(const std::string& text);

struct process_load {
  std::int64_t cpu_milliseconds = 0; ///< user and system, without children
  byte_size resident;
  byte_size virtual_size;
  std::uint32_t threads = 0;
  timestamp started{};
};
/// Fails with not_found when there is no such process.
expected<process_load> read_process_load(pid_t pid);
/// Open file descriptors of this process.
expected<std::uint32_t> count_open_files();

/// The kernel's name of this machine.
std::string hostname();

} // namespace weir
