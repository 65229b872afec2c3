#include "runtime/media/rung_guard.hpp"

#include <algorithm>

namespace weir::media {

std::size_t rung_guard::behind(ticks backlog, std::size_t most, steady_time now) {
  wanted_ = std::min(wanted_, most);
  if (backlog < caught_up)
    late_since_.reset();
  else if (backlog > too_far_behind && !late_since_)
    late_since_ = now;
  if (backlog > calm_below || !calm_since_)
    calm_since_ = now;
  if (wanted_ != in_force_)
    return wanted_;

  if (late_since_ && now - *late_since_ >= patience && (!changed_ || now - *changed_ >= settles) && wanted_ < most) {
    ++wanted_;
    // One that had been back for longer than any wait is left out for a new reason.
    if (taken_back_)
      calm_ = now - *taken_back_ > longest_calm ? first_calm : std::min(2 * calm_, longest_calm);
    taken_back_.reset();
  } else if (wanted_ > 0 && now - *calm_since_ >= calm_) {
    --wanted_;
    taken_back_ = now;
  }
  return wanted_;
}

void rung_guard::applied(std::size_t left_out, steady_time now) {
  wanted_ = in_force_ = left_out;
  changed_ = calm_since_ = now;
  late_since_.reset();
}

} // namespace weir::media
