#pragma once
// One rung of a ladder: a thread that encodes its pictures (or copies the source's), adds the shared sound and cuts segments.
#include "runtime/media/audio_rendition.hpp"
#include "runtime/media/av.hpp"
#include "runtime/media/channel.hpp"
#include "runtime/media/ladder.hpp"
#include "runtime/media/pulse.hpp"
#include "runtime/media/time_line.hpp"
#include "runtime/media/segment_writer.hpp"

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace weir::media {

/// Scales pictures to 4:2:0 of one size, bicubic. Follows a source that changes its size or format.
class scaler {
public:
  scaler(std::uint32_t width, std::uint32_t height) : width_(static_cast<int>(width)), height_(static_cast<int>(height)) {}
  /// The same picture where nothing is to be done. Keeps the time stamp.
  expected<av<AVFrame>> operator()(const AVFrame& picture);

private:
  int width_, height_;
  av<SwsContext> context_;
};

struct rung_setup {
  std::string name;
  grid cut;
  bool discontinuity = false;                     ///< of the first segment
  const rung_plan* encoded = nullptr;             ///< pictures are encoded so
  std::string preset;
  const AVFrame* like = nullptr;                  ///< the first picture: its colours are carried over
  const AVCodecParameters* copied = nullptr;      ///< pictures are copied; Annex B
  std::int64_t copied_fps_milli = 0;
  bit_rate copied_rate;
  const AVCodecParameters* sound = nullptr;       ///< of the shared encoder; null: none
  bit_rate sound_rate;
  std::string sound_apart = {};                   ///< it goes into a rendition of that name; empty: between the pictures
  media_container container = media_container::ts;
  ticks part = 0;                                 ///< low latency: no part of a segment is longer; 0: no parts
  ticks longest_part = 0;                         ///< as it is announced
};

class rung {
public:
  /// Takes a finished segment; `captured` and `bytes` are still to be filled in. Called from the rung's thread.
  using sink = std::function<void(segment_info, memory_file)>;
  /// Takes a part of the segment that begins at `segment`, before the segment itself; likewise.
  using part_sink = std::function<void(part_info, ticks segment, memory_file)>;

  /// Fails with media_failed, unsupported.
  static expected<std::unique_ptr<rung>> open(const rung_setup& setup, pulse& progress, sink deliver, part_sink deliver_part);
  ~rung();
  rung(const rung&) = delete;

  /// What it produces, read from its parameter sets.
  const rung_info& info() const { return info_; }
  /// What players need before any of its segments; empty where they stand alone.
  std::string_view map() const { return writer_->map(); }
  /// The sound that it cuts where it cuts its pictures; null: it has none, or has it between them.
  const audio_rendition* sound_apart() const { return apart_.get(); }

  // Each waits while four pictures wait here; their pts grow.
  void encode(av<AVFrame> picture, bool key);
  void copy(av<AVPacket> picture);
  void sound(av<AVPacket> packet);

  /// Encodes what is inside, delivers the last segment and ends the thread. The first failure of the run, if any.
  expected<void> finish();
  /// Whether something failed; finish() tells what.
  bool failed() const { return failed_; }
  std::size_t waiting() const;

private:
  struct item {
    av<AVFrame> picture;
    av<AVPacket> copied;
    av<AVPacket> sound;
    bool key = false;
  };
  rung(pulse& progress, sink deliver, part_sink deliver_part) : progress_(progress), deliver_(std::move(deliver)), deliver_part_(std::move(deliver_part)) {}
  void push(item i);
  void run();
  expected<void> handle(item i);
  expected<void> receive();
  expected<void> write_picture(const AVPacket& packet);
  expected<void> write_sound_before(ticks pts);
  expected<void> begin_or_cut(ticks pts, std::optional<ticks> dts);
  expected<void> end_segment(ticks end, std::optional<ticks> next_picture);
  bool part_would_last(ticks until) const { return part_.target > 0 && open_ && until - part_.begin > part_.target + grid::tolerance; }
  expected<void> end_part_before_newest(ticks dts);
  expected<void> end_part(segment_writer::part_end where, ticks end, std::optional<ticks> next_picture, bool last = false);
  expected<void> complete();

  pulse& progress_;
  sink deliver_;
  part_sink deliver_part_;
  rung_info info_;
  grid cut_;
  bool has_picture_ = false, has_sound_ = false;
  bool discontinuity_ = false;
  std::uint32_t every_ = 1;
  av<AVCodecContext> encoder_;
  std::unique_ptr<segment_writer> writer_;
  std::unique_ptr<audio_rendition> apart_;

  // Of the thread.
  bool open_ = false; ///< a segment is being written
  std::int64_t slot_ = 0;
  ticks first_pts_ = 0, last_end_ = 0, length_ = 0;
  struct {
    ticks target = 0;    ///< 0: no parts
    ticks longest = 0;   ///< as it is announced
    ticks frame = 0;     ///< how long a picture lasts if nothing is odd
    ticks reordering = 0; ///< of the segment's first picture: parts are measured by decode times, which grow, and told on the scale of the other ones
    std::uint32_t number = 0;
    ticks begin = 0;
    bool has_key = false, newest_is_key = false; ///< before the newest picture, and that one
  } part_;
  std::optional<ticks> last_encoded_, last_picture_dts_, last_sound_;
  std::deque<av<AVPacket>> held_; ///< sound that is ahead of the picture
  expected<void> result_;

  std::uint32_t since_key_ = 0; ///< of the feeding thread

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<item> queue_;
  std::size_t pictures_ = 0;
  bool finishing_ = false;
  std::atomic<bool> failed_{false};
  std::thread thread_;
};

} // namespace weir::media
