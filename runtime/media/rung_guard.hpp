#pragma once
// How many rungs a pipeline leaves out because the machine is too slow for all of them.
#include "runtime/base/clock.hpp"
#include "runtime/media/time_line.hpp"

#include <cstddef>
#include <optional>

namespace weir::media {

/// A pipeline that is further than this behind its source leaves out pictures, and rungs where it may.
inline constexpr ticks too_far_behind = 3 * ticks_per_second / 2;

/// Decides by how far the pipeline is behind its source. Leaving out is quick and taking back is slow, and slower each time that it was too early: viewers
/// see each change of the ladder.
class rung_guard {
public:
  static constexpr seconds patience{5};          ///< too far behind for so long: one rung less
  static constexpr seconds settles{10};          ///< after a change, before another rung is left out: what waits is to be worked off first
  static constexpr seconds first_calm{2 * 60};   ///< without a backlog for so long: one rung more
  static constexpr seconds longest_calm{32 * 60};
  /// Being too far behind ends below this: pictures are left out above too_far_behind, so the backlog of a slow machine stays close to that.
  static constexpr ticks caught_up = ticks_per_second;
  static constexpr ticks calm_below = ticks_per_second / 2;

  /// How many of the top rungs are to be left out, `most` of them at the most, when the pipeline is this far behind. To be asked at each picture.
  std::size_t behind(ticks backlog, std::size_t most, steady_time now);
  /// The ladder runs without so many from now on. Nothing else is decided between a decision and this.
  void applied(std::size_t left_out, steady_time now);

private:
  std::size_t wanted_ = 0, in_force_ = 0;
  std::optional<steady_time> late_since_, calm_since_, changed_;
  std::optional<steady_time> taken_back_; ///< the last time, unless a rung was left out since
  seconds calm_ = first_calm;
};

} // namespace weir::media
