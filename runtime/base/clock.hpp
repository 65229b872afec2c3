#pragma once
// Decisions take `now` as an argument and measure on a clock that never steps; only what people read is a timestamp (schemas/units.hpp).
#include <chrono>

namespace weir {

using steady_clock = std::chrono::steady_clock;
using steady_time = steady_clock::time_point;
using std::chrono::milliseconds;
using std::chrono::seconds;

} // namespace weir
