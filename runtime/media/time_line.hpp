#pragma once
// Time of a source: 90 kHz ticks of the publisher's clock in 64 bits, without wraps, with its jumps found, and the grid that segments are cut on.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>

namespace weir::media {

/// 90 kHz ticks.
using ticks = std::int64_t;
inline constexpr ticks ticks_per_second = 90'000;
constexpr ticks to_ticks(std::chrono::milliseconds d) { return d.count() * 90; }
/// Of AAC.
inline constexpr std::int64_t samples_of_a_frame = 1024;

/// Where key frames stand and segments begin. A constant of the protocol: whoever cuts one publication cuts at the same frames.
struct grid {
  ticks gop = 2 * ticks_per_second;     ///< G
  ticks segment = 6 * ticks_per_second; ///< D, a multiple of G
  ticks offset = 0;                     ///< o

  /// Absorbs the rounding of a source that counts milliseconds.
  static constexpr ticks tolerance = 180;

  /// floor((PTS − o + 2 ms) / D); negative before the time line's zero.
  constexpr std::int64_t slot(ticks pts) const { return floor_div(pts - offset + tolerance, segment); }
  constexpr ticks slot_start(std::int64_t slot_number) const { return slot_number * segment + offset; }
  /// Number of the G interval.
  constexpr std::int64_t interval(ticks pts) const { return floor_div(pts - offset + tolerance, gop); }
  /// Ticks since the last grid point, or negative within the tolerance before one.
  constexpr ticks past_point(ticks pts) const { return pts - offset - interval(pts) * gop; }

private:
  static constexpr std::int64_t floor_div(std::int64_t a, std::int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }
};

/// The longest part of whole pictures that lasts no longer than `part`, at so many a second × 1000 (or whole frames of sound); one at least.
constexpr ticks part_target(std::chrono::milliseconds part, std::int64_t fps_milli) {
  const auto pictures = std::max<std::int64_t>(1, part.count() * fps_milli / 1'000'000);
  return (pictures * ticks_per_second * 1000 + fps_milli - 1) / fps_milli;
}
/// What is announced of parts of `part` ticks (hls.md 6): none is longer, and none but a segment's last is shorter than 85 % of it. That is `wanted` wherever it can
/// be, so that it stays what it is when a source comes whose pictures have another rate. `sound_apart` has whole frames, of which nobody knows yet whether they
/// are of 44.1 or of 48 kHz.
constexpr std::chrono::milliseconds announced_target(std::chrono::milliseconds wanted, ticks part, bool sound_apart = false) {
  ticks longest = part, shortest = part;
  if (sound_apart)
    for (const std::int64_t rate : {44'100, 48'000}) {
      const auto frame = samples_of_a_frame * ticks_per_second, fewest = part * rate / frame, most = (part * rate + frame - 1) / frame;
      shortest = std::min(shortest, fewest * frame / rate);
      longest = std::max(longest, (most * frame + rate - 1) / rate);
    }
  const bool as_wanted = longest <= to_ticks(wanted) && shortest * 100 >= to_ticks(wanted) * 85;
  return as_wanted ? wanted : std::chrono::milliseconds{(longest + 89) / 90};
}

/// Extends time stamps of a few bits (33 in TS, 32 bits of milliseconds in FLV) to 64, each to the value nearest to the one before.
class unwrapper {
public:
  /// `modulus` in ticks; 0: the stamps never wrap.
  explicit unwrapper(ticks modulus = 0) : modulus_(modulus) {}
  ticks operator()(ticks raw);
  /// Continues from what another source of the same publication reached.
  void continue_from(ticks last) { last_ = last; }

private:
  ticks modulus_;
  std::optional<ticks> last_;
};

/// Finds the moments when the publisher's clock jumps. One clock serves all elementary streams, but they do not jump at the same packet, so a jump
/// counts only when the next packet of that stream confirms it: a single wild stamp is an outlier.
class jump_detector {
public:
  static constexpr ticks backward = 3 * ticks_per_second; ///< more than any interleaving
  static constexpr ticks forward = 10 * ticks_per_second; ///< less is a hole, in which the clock goes on

  enum class verdict : std::uint8_t {
    pass, ///< belongs to the time line
    hold, ///< keep: the next packet of this stream tells
    drop, ///< belongs to the time line before the jump
    jump, ///< a new time line begins with the packet held for this stream; this one follows it
  };
  verdict take(int stream, ticks dts);

private:
  static bool near(ticks dts, ticks reference) { return dts > reference - backward && dts < reference + forward; }

  std::optional<ticks> newest_;
  std::map<int, ticks> held_;
  ticks before_jump_ = 0;
  int stragglers_ = 0; ///< how many more packets of the time line before the jump are expected
};

/// Wall clock minus media time, as low as it was seen within the last minute: the least delayed packets tell when a frame was captured.
class capture_clock {
public:
  using wall = std::chrono::system_clock::time_point;
  void saw(ticks pts, wall now);
  void reset() { lows_ = {}; }
  /// When the frame of this time was captured, as far as is known.
  wall at(ticks pts) const;

private:
  struct low {
    std::optional<std::int64_t> microseconds;
  };
  std::array<low, 2> lows_; ///< of this half minute and the one before
  wall turned_{};
};

} // namespace weir::media
