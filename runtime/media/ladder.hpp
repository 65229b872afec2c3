#pragma once
// Which rungs a source really gets: a ladder limited by what is there.
#include "schemas/error.hpp"
#include "schemas/media.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace weir::media {

/// A source's picture as it is decoded.
struct picture_shape {
  std::uint32_t width = 0;
  std::uint32_t height = 0;
  std::uint32_t sar_num = 1; ///< shape of one pixel
  std::uint32_t sar_den = 1;
  std::int64_t fps_milli = 0;

  bool operator==(const picture_shape&) const = default;
};

/// One rung to produce: square pixels, even sizes.
struct rung_plan {
  std::string name;
  std::uint32_t width = 0;
  std::uint32_t height = 0;
  std::uint32_t every = 1; ///< encodes each nth picture
  std::int64_t fps_milli = 0;
  bit_rate video;

  bool operator==(const rung_plan&) const = default;
};

/// Most pixels of a source: 3840 × 2160. More is refused before an encoder takes memory for it.
inline constexpr std::uint64_t most_pixels = 3840ull * 2160;

/// Fails with invalid_config: no rung, two of one name, an unknown preset.
expected<void> check_ladder(const ladder_spec& ladder);

/// The rungs for this source, largest first, at least one. A source below every rung gets one of its own height at the lowest rung's bit rate.
/// Fails with unsupported for a source without a size or above most_pixels.
expected<std::vector<rung_plan>> plan_ladder(const ladder_spec& ladder, const picture_shape& source);

/// How many rungs may be left out where the machine is too slow. The smallest that is encoded stays: it is for those who can receive nothing else, also where
/// the first is `passed_through` and would remain without it.
std::size_t most_left_out(std::size_t rungs, bool passed_through);
/// The plan without so many of its largest encoded rungs, at most most_left_out(). What is passed through costs nearly nothing and stays.
std::vector<rung_plan> without_top(std::vector<rung_plan> plan, std::size_t left_out, bool passed_through);

} // namespace weir::media
