#pragma once
// The sound of a ladder in segments of its own (EXT-X-MEDIA). It follows one rung, in that one's thread: what the rung would have put between its pictures goes
// here, and is cut where the rung is cut. A segment or part has the frames that begin within it, so it begins and ends less than a frame later than the pictures'.
#include "runtime/media/av.hpp"
#include "runtime/media/channel.hpp"
#include "runtime/media/pulse.hpp"
#include "runtime/media/segment_writer.hpp"
#include "runtime/media/time_line.hpp"

#include <deque>
#include <functional>
#include <memory>
#include <optional>

namespace weir::media {

struct rendition_setup {
  std::string name;
  const AVCodecParameters* sound = nullptr;
  bit_rate rate;
  media_container container = media_container::ts;
  ticks longest_part = 0; ///< low latency: as it is announced; 0: no parts
  bool discontinuity = false; ///< of the first segment
};

class audio_rendition {
public:
  // As a rung's.
  using sink = std::function<void(segment_info, memory_file)>;
  using part_sink = std::function<void(part_info, ticks segment, memory_file)>;

  /// Fails with media_failed, io_failed, too_large.
  static expected<std::unique_ptr<audio_rendition>> open(const rendition_setup& setup, pulse& progress, sink deliver, part_sink deliver_part);

  const rung_info& info() const { return info_; }
  std::string_view map() const { return writer_->map(); }

  expected<void> take(av<AVPacket> packet);
  // What the rung does, in order. It is done here once all the sound before it has come: an encoder of sound is some frames behind.
  expected<void> begin_segment(std::int64_t slot, ticks from);
  expected<void> end_part(ticks at, bool last);
  expected<void> end_segment(ticks at);
  /// No more sound comes: what waits for it is done.
  expected<void> finish();

private:
  struct step {
    enum class kind : std::uint8_t { begin, part, last_part, segment } what;
    ticks at;
    std::int64_t slot;
  };
  audio_rendition(pulse& progress, sink deliver, part_sink deliver_part) : progress_(progress), deliver_(std::move(deliver)), deliver_part_(std::move(deliver_part)) {}
  expected<void> follow(step s);
  expected<void> go_on();
  expected<void> write_before(ticks at);
  expected<void> cut_part(bool last);
  expected<void> cut_segment();

  pulse& progress_;
  sink deliver_;
  part_sink deliver_part_;
  rung_info info_;
  std::unique_ptr<segment_writer> writer_;
  ticks longest_part_ = 0;
  bool discontinuity_ = false;

  std::deque<step> steps_;        ///< that wait for sound
  std::deque<av<AVPacket>> held_; ///< sound that waits to be cut
  std::optional<ticks> come_to_;  ///< where the newest sound ends
  bool finished_ = false;
  // Of the segment that is being written.
  std::int64_t slot_ = 0;
  ticks from_ = 0;
  std::uint32_t part_number_ = 0;
  std::optional<ticks> first_, part_first_; ///< none: there is no sound in it yet
  std::optional<ticks> last_;               ///< of all
  ticks end_ = 0;
};

} // namespace weir::media
