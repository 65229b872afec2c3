#include "runtime/media/decoder.hpp"

#include <cstring>
#include <fmt/format.h>
extern "C" {
#include <libavcodec/avcodec.h>
}

namespace weir::media {

stream_decoder::stream_decoder(av<AVCodecContext> context, av<AVCodecParameters> parameters)
  : context_(std::move(context)), parameters_(std::move(parameters)), frame_(new_frame()) {}
stream_decoder::~stream_decoder() = default;

expected<std::unique_ptr<stream_decoder>> stream_decoder::open(const AVCodecParameters& parameters) {
  auto* codec = avcodec_find_decoder(parameters.codec_id);
  if (!codec)
    return fail(error_code::unsupported, fmt::format("no decoder for {}", avcodec_get_name(parameters.codec_id)));
  av<AVCodecContext> context(avcodec_alloc_context3(codec));
  if (!context)
    return fail(error_code::media_failed, "no memory for a decoder");
  if (auto code = avcodec_parameters_to_context(context.get(), &parameters); code < 0)
    return av_fail("stream parameters", code);
  context->pkt_timebase = {1, 90'000};
  context->thread_count = 1;
  context->max_pixels = 4096 * 4096; // before it takes memory for what a damaged header claims
  if (auto code = avcodec_open2(context.get(), codec, nullptr); code < 0)
    return av_fail(fmt::format("decoder {}", codec->name), code);
  return std::unique_ptr<stream_decoder>(new stream_decoder(std::move(context), same_parameters(parameters)));
}

bool stream_decoder::reads(const AVCodecParameters& p) const {
  return p.codec_id == parameters_->codec_id && p.extradata_size == parameters_->extradata_size &&
         (p.extradata_size == 0 || std::memcmp(p.extradata, parameters_->extradata, static_cast<std::size_t>(p.extradata_size)) == 0);
}

expected<void> stream_decoder::receive(const std::function<expected<void>(AVFrame&)>& take) {
  for (;;) {
    auto code = avcodec_receive_frame(context_.get(), frame_.get());
    if (code == AVERROR(EAGAIN) || code == AVERROR_EOF)
      return {};
    if (code == AVERROR(ENOMEM))
      return av_fail("decoding", code);
    if (code < 0) {
      ++damaged_;
      return {};
    }
    frame_->pts = frame_->best_effort_timestamp;
    auto taken = take(*frame_);
    av_frame_unref(frame_.get());
    WEIR_TRY(taken);
  }
}

expected<void> stream_decoder::decode(const AVPacket& packet, const std::function<expected<void>(AVFrame&)>& take) {
  auto code = avcodec_send_packet(context_.get(), &packet);
  if (code == AVERROR(ENOMEM))
    return av_fail("decoding", code);
  if (code < 0)
    ++damaged_;
  return receive(take);
}

expected<void> stream_decoder::drain(const std::function<expected<void>(AVFrame&)>& take) {
  auto code = avcodec_send_packet(context_.get(), nullptr);
  auto drained = code < 0 ? expected<void>{} : receive(take);
  avcodec_flush_buffers(context_.get());
  return drained;
}

} // namespace weir::media
