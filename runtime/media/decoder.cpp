#include "runtime/media/decoder.hpp"

#include <cstring>
#include <fmt/format.h>
extern "C" {
#include <libavcodec/avcodec.h>
}

namespace weir::media {

// libav's decoder tells a frame rate only where it begins with another size: a parser beside it reads each set.
struct stream_decoder::parameter_sets {
  struct close {
    void operator()(AVCodecParserContext* p) const { av_parser_close(p); }
  };
  std::unique_ptr<AVCodecParserContext, close> parser;
  av<AVCodecContext> context;

  /// `fresh` in place of the parameters' own sets, if not empty.
  static std::unique_ptr<parameter_sets> open(const AVCodecParameters& parameters, std::string_view fresh) {
    auto p = std::make_unique<parameter_sets>();
    p->parser.reset(av_parser_init(parameters.codec_id));
    p->context.reset(avcodec_alloc_context3(avcodec_find_decoder(parameters.codec_id)));
    if (!p->parser || !p->context || avcodec_parameters_to_context(p->context.get(), &parameters) < 0)
      return nullptr;
    p->parser->flags |= PARSER_FLAG_COMPLETE_FRAMES;
    auto& c = *p->context;
    c.profile = FF_PROFILE_UNKNOWN; // until it is read
    c.ticks_per_frame = 2;          // H.264 counts fields
    return fresh.empty() || use(c, fresh) ? std::move(p) : nullptr;
  }
  static bool use(AVCodecContext& c, std::string_view sets) {
    auto* copy = static_cast<std::uint8_t*>(av_mallocz(sets.size() + AV_INPUT_BUFFER_PADDING_SIZE));
    if (!copy)
      return false;
    std::memcpy(copy, sets.data(), sets.size());
    av_freep(&c.extradata);
    c.extradata = copy;
    c.extradata_size = static_cast<int>(sets.size());
    return true;
  }
  std::optional<declared_picture> read(const AVPacket& packet) {
    std::uint8_t* out = nullptr;
    int out_size = 0;
    (void)av_parser_parse2(parser.get(), context.get(), &out, &out_size, packet.data, packet.size, AV_NOPTS_VALUE, AV_NOPTS_VALUE, 0);
    if (context->profile == FF_PROFILE_UNKNOWN)
      return std::nullopt;
    const auto rate = context->framerate;
    return declared_picture{context->profile, context->level, rate.num > 0 && rate.den > 0 ? av_rescale(rate.num, 1000, rate.den) : 0};
  }
};

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

std::optional<declared_picture> stream_decoder::declared(const AVPacket& packet) {
  std::size_t size = 0;
  const auto* fresh = reinterpret_cast<const char*>(av_packet_get_side_data(&packet, AV_PKT_DATA_NEW_EXTRADATA, &size));
  if (!fresh && !(packet.flags & AV_PKT_FLAG_KEY))
    return std::nullopt;
  if (!sets_ || fresh)
    sets_ = parameter_sets::open(*parameters_, {fresh, fresh ? size : 0});
  return sets_ ? sets_->read(packet) : std::nullopt;
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
