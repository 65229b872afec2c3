#pragma once
// MPEG-TS in memory, one muxer for the whole run of a rung, a sealed file for each segment: counters run on, tables open each segment.
#include "runtime/media/av.hpp"
#include "runtime/media/channel.hpp"

namespace weir::media {

class ts_writer {
public:
  /// TS time is the publisher's plus this, for every writer: reordered pictures decode before zero on a time line that starts there.
  static constexpr std::int64_t lead = 10 * 90'000;

  /// Streams in this order; either may be null. Time stamps are 90 kHz ticks.
  static expected<std::unique_ptr<ts_writer>> open(const AVCodecParameters* video, const AVCodecParameters* audio);
  ~ts_writer();

  expected<void> write_video(const AVPacket& packet);
  expected<void> write_audio(const AVPacket& packet);
  /// Ends the segment: everything written since the one before. The next one begins with the next packet.
  expected<memory_file> cut();

private:
  struct muxer;
  explicit ts_writer(std::unique_ptr<muxer> m);
  std::unique_ptr<muxer> muxer_;
};

} // namespace weir::media
