#pragma once
// Fragmented MP4 in memory, picture and sound in one file, one muxer for the whole run of a rung. The map (ftyp, moov) is known once it is open; each
// segment is a row of fragments (moof + mdat): for each of its key frames one of the pictures from there on, and one of the sound beside them. Decode times are
// those of the publisher's clock, so that segments of one map can be joined in any order and by whoever made them.
//
// Parts (low latency) are the same flush more often: each is a fragment or more, kept in a file of its own beside the segment's. So a segment is the concatenation of its
// parts, byte for byte: no box of a segment counts its fragments.
#include "runtime/media/segment_writer.hpp"

namespace weir::media {

class fmp4_writer final : public segment_writer {
public:
  /// Bytes of the longest map: it travels as text in a record of the child (child_protocol.hpp) and to the origin.
  static constexpr std::size_t longest_map = 3'000;

  /// Streams in this order; either may be null. `frame` is how long a picture lasts whose successor is not known; `parts`: whether cut_part() is wanted. Fails:
  /// media_failed, io_failed, too_large (a map that does not fit).
  static expected<std::unique_ptr<segment_writer>> open(const AVCodecParameters* video, const AVCodecParameters* audio, ticks frame, bool parts);
  ~fmp4_writer() override;

  expected<void> write_video(const AVPacket& packet) override;
  expected<void> write_audio(const AVPacket& packet) override;
  expected<written_segment> cut(std::optional<ticks> next_picture) override;
  expected<memory_file> cut_part(part_end end, std::optional<ticks> next_picture) override;
  std::string_view map() const override;

private:
  struct muxer;
  explicit fmp4_writer(std::unique_ptr<muxer> m);
  std::unique_ptr<muxer> muxer_;
};

} // namespace weir::media
