#pragma once
// Threads for work that waits for a disk, so that whoever asks for it does not.
#include "runtime/base/clock.hpp"

#include <cstddef>
#include <functional>
#include <memory>

namespace weir::origin {

class disk_crew {
public:
  /// `threads`: at least 1.
  disk_crew(unsigned threads, std::size_t most_waiting);
  /// Drops what has not begun; what has begun goes on by itself.
  ~disk_crew();
  disk_crew(const disk_crew&) = delete;
  disk_crew& operator=(const disk_crew&) = delete;

  /// False: too much waits already, or the crew is closed, and `job` will not run. A job must keep what it uses, must not throw, and may be dropped by close().
  bool run(std::function<void()> job);
  /// Takes nothing more, drops what has not begun and gives what has begun `patience`. False: something hangs even then, and is left behind with its thread.
  bool close(milliseconds patience);

private:
  struct core;
  std::shared_ptr<core> core_;
};

} // namespace weir::origin
