#pragma once
// How a rung's packets become the bytes of segments: one muxer for the whole run of a rung, a memory file for each segment.
#include "runtime/media/av.hpp"
#include "runtime/media/channel.hpp" // memory_file, media_container
#include "runtime/media/time_line.hpp"

#include <optional>
#include <vector>

namespace weir::media {

struct written_segment {
  memory_file file;
  std::vector<key_frame> keys; ///< as of a segment_info, but with times of the publisher's clock
};

class segment_writer {
public:
  /// Media time is the publisher's plus this, in every container: reordered pictures decode before zero on a time line that starts there.
  static constexpr ticks lead = 10 * ticks_per_second;

  virtual ~segment_writer() = default;

  // Time stamps are 90 kHz ticks of the publisher's clock; each stream's dts grow.
  virtual expected<void> write_video(const AVPacket& packet) = 0;
  virtual expected<void> write_audio(const AVPacket& packet) = 0;
  /// Ends the segment: everything written since the one before. The next one begins with the next packet. `next_picture`: its dts, where it is known.
  virtual expected<written_segment> cut(std::optional<ticks> next_picture) = 0;
  /// Which picture a part ends with.
  enum class part_end : std::uint8_t {
    newest,       ///< the newest one that was written
    before_newest ///< the one before: the newest one begins the next part
  };
  /// Ends a part within the segment: everything written since the one before. Whoever wants parts ends each segment's last one, too, before it cuts. Fails with
  /// unsupported where the writer was opened without.
  virtual expected<memory_file> cut_part(part_end, std::optional<ticks> next_picture) {
    (void)next_picture;
    return fail(error_code::unsupported, "segments of this container have no parts");
  }
  /// What a player needs before any segment of this run (EXT-X-MAP); empty where a segment stands alone.
  virtual std::string_view map() const { return {}; }
};

/// Streams in this order; either may be null. `frame` is how long a picture lasts whose successor is not known; `parts`: whether parts are wanted, of fmp4.
/// Fails: media_failed, io_failed, too_large.
expected<std::unique_ptr<segment_writer>> open_segment_writer(media_container container, const AVCodecParameters* video, const AVCodecParameters* audio, ticks frame,
                                                              bool parts);

/// What segments are to carry.
struct carried {
  media_container container = media_container::ts;
  std::int64_t fps_milli = 0; ///< 0: no picture
  bit_rate picture{};
  int sample_rate = 0; ///< 0: no sound
  bit_rate sound{};
  ticks part = 0; ///< as of a rung
};
/// Their rate, with what the container adds on average: beside small streams that is not little.
bit_rate rate_of_segments(const carried& streams);

} // namespace weir::media
