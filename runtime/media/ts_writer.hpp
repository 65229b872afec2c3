#pragma once
// MPEG-TS in memory, one muxer for the whole run of a rung, a sealed file for each segment: counters run on, tables open each segment.
#include "runtime/media/segment_writer.hpp"

namespace weir::media {

class ts_writer final : public segment_writer {
public:
  /// Streams in this order; either may be null. Time stamps are 90 kHz ticks.
  static expected<std::unique_ptr<segment_writer>> open(const AVCodecParameters* video, const AVCodecParameters* audio);
  ~ts_writer() override;

  expected<void> write_video(const AVPacket& packet) override;
  expected<void> write_audio(const AVPacket& packet) override;
  expected<written_segment> cut(std::optional<ticks> next_picture) override;

private:
  struct muxer;
  explicit ts_writer(std::unique_ptr<muxer> m);
  std::unique_ptr<muxer> muxer_;
};

} // namespace weir::media
