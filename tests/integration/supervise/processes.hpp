#pragma once
// How tests look at processes that they started, and wait for what becomes of them.
#include <chrono>
#include <fstream>
#include <iterator>
#include <string>
#include <sys/types.h>
#include <thread>

namespace weir::testing {

template <class F>
bool eventually(F condition, std::chrono::milliseconds deadline = std::chrono::seconds(8)) {
  using clock_type = std::chrono::steady_clock;
  for (const auto end = clock_type::now() + deadline; clock_type::now() < end; std::this_thread::sleep_for(std::chrono::milliseconds(5)))
    if (condition())
      return true;
  return condition();
}

/// Whether the process runs; a zombie does not.
inline bool alive(pid_t pid) {
  std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
  std::string text{std::istreambuf_iterator<char>(stat), {}};
  const auto name_end = text.rfind(')');
  return name_end != std::string::npos && text[name_end + 2] != 'Z';
}

} // namespace weir::testing
