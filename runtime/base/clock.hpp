#pragma once
// Decisions take `now` as an argument and measure on a clock that never steps; only what people read is a timestamp (schemas/units.hpp).
#include <chrono>
#include <ctime>

namespace weir {

using steady_clock = std::chrono::steady_clock;
using steady_time = steady_clock::time_point;
/// For how long this machine has slept since it was started: steady_clock stands still meanwhile, the leases that others count do not.
inline std::chrono::nanoseconds machine_slept() {
  const auto read = [](clockid_t which) {
    timespec t{};
    ::clock_gettime(which, &t); // fails for no valid clock
    return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
  };
  const auto awake = read(CLOCK_MONOTONIC); // first: what passes between the two counts as sleep, not against it
  return read(CLOCK_BOOTTIME) - awake;
}

using std::chrono::milliseconds;
using std::chrono::seconds;

} // namespace weir
