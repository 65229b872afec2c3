#pragma once
// A process that stood still (a stopped machine, a starved one) finds everybody silent. It was itself: what was sent meanwhile waits to be heard.
#include "runtime/base/clock.hpp"

namespace weir {

/// Notices it by ticks that should come several times a second.
class standstill {
public:
  static constexpr auto longest_tick = std::chrono::seconds(1);
  static constexpr auto hearing_takes = std::chrono::milliseconds(1500); ///< what was sent meanwhile, and those who join again

  /// At each tick, and at news that may be older than the last one: for how long we stood still, zero when we did not.
  steady_time::duration ticked(steady_time now) {
    auto late = last_ == steady_time{} || now - last_ <= longest_tick ? steady_time::duration{} : now - last_;
    last_ = now;
    if (late > late.zero())
      patient_until_ = now + hearing_takes;
    return late;
  }
  /// Whether nobody's silence counts yet.
  bool listens(steady_time now) const { return now < patient_until_; }

private:
  steady_time last_{}, patient_until_{};
};

} // namespace weir
