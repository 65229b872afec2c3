#pragma once
// A process that stood still (a stopped machine, a starved one) finds everybody silent. It was itself: what was sent meanwhile waits to be heard.
#include "runtime/base/clock.hpp"

#include <algorithm>

namespace weir {

/// Notices it by ticks that should come several times a second. Who stands still again and again must judge some time: that a disk is slow makes nobody live.
class standstill {
public:
  static constexpr auto longest_tick = std::chrono::seconds(1);
  static constexpr auto hearing_takes = std::chrono::milliseconds(1500); ///< what was sent meanwhile, and those who join again
  static constexpr auto usual_lease = std::chrono::seconds(6);

  /// At each tick, and at news that may be older than the last one: for how long we stood still, zero when we did not, or when `most` has passed since we first
  /// did without a tick in time after which all was heard.
  steady_time::duration ticked(steady_time now, steady_time::duration most = usual_lease) {
    auto late = last_ == steady_time{} || now - last_ <= longest_tick ? steady_time::duration{} : now - last_;
    last_ = now;
    if (late == late.zero()) {
      if (!listens(now))
        first_ = {};
      return late;
    }
    if (first_ == steady_time{})
      first_ = now;
    if (now - first_ >= most)
      return {};
    patient_until_ = std::min(now + hearing_takes, first_ + most);
    return late;
  }
  /// Whether nobody's silence counts yet.
  bool listens(steady_time now) const { return now < patient_until_; }

private:
  steady_time last_{}, first_{}, patient_until_{};
};

} // namespace weir
