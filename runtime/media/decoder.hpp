#pragma once
// Decoding of one elementary stream.
#include "runtime/media/av.hpp"

#include <functional>

namespace weir::media {

/// A decoder for one elementary stream: picture or sound. Damaged packets are skipped and counted.
class stream_decoder {
public:
  static expected<std::unique_ptr<stream_decoder>> open(const AVCodecParameters& parameters);
  ~stream_decoder();

  /// Calls `take` with each frame that comes out, its pts in the packets' unit. Fails only when the decoder is broken beyond the packet.
  expected<void> decode(const AVPacket& packet, const std::function<expected<void>(AVFrame&)>& take);
  /// What is still inside; the decoder can go on afterwards.
  expected<void> drain(const std::function<expected<void>(AVFrame&)>& take);
  std::int64_t damaged() const { return damaged_; }
  /// Whether this decoder would read the stream as described.
  bool reads(const AVCodecParameters& parameters) const;

private:
  explicit stream_decoder(av<AVCodecContext> context, av<AVCodecParameters> parameters);
  expected<void> receive(const std::function<expected<void>(AVFrame&)>& take);
  av<AVCodecContext> context_;
  av<AVCodecParameters> parameters_;
  av<AVFrame> frame_;
  std::int64_t damaged_ = 0;
};

} // namespace weir::media
