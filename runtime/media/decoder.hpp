#pragma once
// Decoding of one elementary stream.
#include "runtime/media/av.hpp"

#include <functional>
#include <optional>

namespace weir::media {

/// What parameter sets say of the pictures that follow them.
struct declared_picture {
  int profile = 0; ///< libav's number of it
  int level = 0;   ///< of H.264: × 10
  std::int64_t fps_milli = 0; ///< 0: they do not say

  bool operator==(const declared_picture&) const = default;
};

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
  /// What is declared from this packet on, which is still to be decoded; nothing where it begins nothing new, or where that is not understood.
  std::optional<declared_picture> declared(const AVPacket& packet);
  /// Whether this decoder would read the stream as described.
  bool reads(const AVCodecParameters& parameters) const;

private:
  explicit stream_decoder(av<AVCodecContext> context, av<AVCodecParameters> parameters);
  expected<void> receive(const std::function<expected<void>(AVFrame&)>& take);
  av<AVCodecContext> context_;
  av<AVCodecParameters> parameters_;
  struct parameter_sets;
  std::unique_ptr<parameter_sets> sets_; ///< in force
  av<AVFrame> frame_;
  std::int64_t damaged_ = 0;
};

} // namespace weir::media
