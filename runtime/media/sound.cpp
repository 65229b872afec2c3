#include "runtime/media/sound.hpp"

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavutil/audio_fifo.h>
#include <libavutil/channel_layout.h>
#include <libavutil/opt.h>
#include <libswresample/swresample.h>
}

namespace weir::media {
namespace {

constexpr ticks most_drift = ticks_per_second / 10;

struct free_fifo {
  void operator()(AVAudioFifo* p) const { av_audio_fifo_free(p); }
};

} // namespace

struct sound_encoder::state {
  av<AVCodecContext> encoder;
  av<AVCodecParameters> parameters;
  av<SwrContext> resampler;
  std::unique_ptr<AVAudioFifo, free_fifo> fifo;
  av<AVFrame> resampled = new_frame();
  // What the resampler was made for.
  int rate = 0, format = -1, channels = 0;
  // The time line: `start` is the time of the sample with which counting began.
  bool counting = false;
  ticks start = 0;
  std::int64_t samples = 0; ///< put into the fifo since then
  std::int64_t skip = 0;    ///< samples to be dropped first, up to the grid
  // The encoder's: frames sent, and the times of those whose packets have not come out.
  std::int64_t sent = 0, first_waiting = 0;
  std::deque<ticks> waiting;

  ticks after(std::int64_t n) const { return start + av_rescale(n, ticks_per_second, encoder->sample_rate); }

  /// On a grid of whole frames, so that whoever encodes this time line makes frames of the same samples. `first`: the number of the sample that comes next.
  void count_from(std::int64_t first) {
    av_audio_fifo_reset(fifo.get());
    skip = (encoder->frame_size - first % encoder->frame_size) % encoder->frame_size;
    start = av_rescale(first + skip, ticks_per_second, encoder->sample_rate);
    samples = -skip; // until they are dropped
    counting = true;
  }

  /// `n` more samples are in the fifo.
  expected<void> queued(std::int64_t n, const sound_sink& sink) {
    samples += n;
    if (const auto dropped = static_cast<int>(std::min<std::int64_t>(skip, av_audio_fifo_size(fifo.get()))); dropped > 0) {
      av_audio_fifo_drain(fifo.get(), dropped);
      skip -= dropped;
    }
    return skip > 0 ? expected<void>{} : encode_queued(false, sink);
  }

  expected<void> prepare(const AVFrame& frame) {
    if (resampler && rate == frame.sample_rate && format == frame.format && channels == frame.ch_layout.nb_channels)
      return {};
    AVChannelLayout in{};
    if (frame.ch_layout.order == AV_CHANNEL_ORDER_UNSPEC)
      av_channel_layout_default(&in, frame.ch_layout.nb_channels);
    else if (auto code = av_channel_layout_copy(&in, &frame.ch_layout); code < 0)
      return av_fail("channel layout", code);
    SwrContext* fresh = nullptr;
    auto code = swr_alloc_set_opts2(&fresh, &encoder->ch_layout, encoder->sample_fmt, encoder->sample_rate, &in, static_cast<AVSampleFormat>(frame.format),
                                    frame.sample_rate, 0, nullptr);
    av_channel_layout_uninit(&in);
    resampler.reset(fresh);
    if (code >= 0)
      code = swr_init(fresh);
    if (code < 0) {
      resampler.reset();
      return av_fail("resampler", code);
    }
    rate = frame.sample_rate, format = frame.format, channels = frame.ch_layout.nb_channels;
    return {};
  }

  expected<void> receive(const sound_sink& sink) {
    for (;;) {
      auto packet = new_packet();
      auto code = avcodec_receive_packet(encoder.get(), packet.get());
      if (code == AVERROR(EAGAIN) || code == AVERROR_EOF)
        return {};
      if (code < 0)
        return av_fail("encoding sound", code);
      // The encoder counts samples and begins one frame early, with what its first frame overlaps.
      const auto index = packet->pts / encoder->frame_size;
      const auto length = av_rescale(encoder->frame_size, ticks_per_second, encoder->sample_rate);
      while (first_waiting < index && waiting.size() > 1) {
        waiting.pop_front();
        ++first_waiting;
      }
      if (waiting.empty())
        continue;
      packet->pts = packet->dts = waiting.front() + (packet->pts < 0 ? -length : (index - first_waiting) * length);
      packet->duration = length;
      sink(std::move(packet));
    }
  }

  expected<void> encode_queued(bool also_short, const sound_sink& sink) {
    while (av_audio_fifo_size(fifo.get()) >= encoder->frame_size || (also_short && av_audio_fifo_size(fifo.get()) > 0)) {
      const auto queued = av_audio_fifo_size(fifo.get());
      const auto n = std::min(queued, encoder->frame_size);
      auto frame = new_frame();
      frame->nb_samples = n;
      frame->format = encoder->sample_fmt;
      frame->sample_rate = encoder->sample_rate;
      if (auto code = av_channel_layout_copy(&frame->ch_layout, &encoder->ch_layout); code < 0)
        return av_fail("channel layout", code);
      if (auto code = av_frame_get_buffer(frame.get(), 0); code < 0)
        return av_fail("sound frame", code);
      if (av_audio_fifo_read(fifo.get(), reinterpret_cast<void**>(frame->extended_data), n) < n)
        return fail(error_code::media_failed, "sound queue");
      frame->pts = sent++ * encoder->frame_size;
      waiting.push_back(after(samples - queued));
      if (auto code = avcodec_send_frame(encoder.get(), frame.get()); code < 0)
        return av_fail("encoding sound", code);
      WEIR_TRY(receive(sink));
    }
    return {};
  }
};

sound_encoder::sound_encoder(std::unique_ptr<state> s) : state_(std::move(s)) {}
sound_encoder::~sound_encoder() = default;
const AVCodecParameters& sound_encoder::parameters() const { return *state_->parameters; }

expected<std::unique_ptr<sound_encoder>> sound_encoder::open(int source_rate, bit_rate rate) {
  auto s = std::make_unique<state>();
  auto* codec = avcodec_find_encoder(AV_CODEC_ID_AAC);
  s->encoder.reset(codec ? avcodec_alloc_context3(codec) : nullptr);
  if (!s->encoder)
    return fail(error_code::unsupported, "libav has no AAC encoder");
  auto& e = *s->encoder;
  e.sample_rate = source_rate > 0 && source_rate % 11'025 == 0 ? 44'100 : 48'000;
  e.sample_fmt = AV_SAMPLE_FMT_FLTP;
  av_channel_layout_default(&e.ch_layout, 2);
  e.bit_rate = rate.bits_per_second;
  e.time_base = {1, e.sample_rate};
  e.thread_count = 1;
  e.flags |= AV_CODEC_FLAG_GLOBAL_HEADER; // its configuration goes into each ADTS header by way of the muxer
  if (auto code = avcodec_open2(&e, codec, nullptr); code < 0)
    return av_fail("AAC encoder", code);
  s->parameters.reset(avcodec_parameters_alloc());
  if (!s->parameters || avcodec_parameters_from_context(s->parameters.get(), &e) < 0)
    return fail(error_code::media_failed, "no memory for an encoder");
  s->fifo.reset(av_audio_fifo_alloc(e.sample_fmt, 2, e.frame_size * 4));
  if (!s->fifo)
    return fail(error_code::media_failed, "no memory for sound");
  return std::unique_ptr<sound_encoder>(new sound_encoder(std::move(s)));
}

expected<void> sound_encoder::encode(const AVFrame& frame, const sound_sink& sink) {
  auto& s = *state_;
  if (frame.nb_samples <= 0 || frame.sample_rate <= 0 || frame.ch_layout.nb_channels <= 0 || frame.pts == AV_NOPTS_VALUE)
    return {};
  WEIR_TRY(s.prepare(frame));
  const auto inside = swr_get_delay(s.resampler.get(), s.encoder->sample_rate);
  const auto due = s.after(s.samples + inside);
  if (!s.counting || frame.pts - due > most_drift || due - frame.pts > most_drift) {
    // What belongs to the old count goes out under it.
    if (s.counting && s.skip == 0)
      WEIR_TRY(s.encode_queued(false, sink));
    s.count_from(av_rescale(frame.pts, s.encoder->sample_rate, ticks_per_second) - inside);
  }
  auto& out = *s.resampled;
  av_frame_unref(&out);
  out.nb_samples = swr_get_out_samples(s.resampler.get(), frame.nb_samples);
  out.format = s.encoder->sample_fmt;
  if (auto code = av_channel_layout_copy(&out.ch_layout, &s.encoder->ch_layout); code < 0)
    return av_fail("channel layout", code);
  if (out.nb_samples <= 0)
    return {};
  if (auto code = av_frame_get_buffer(&out, 0); code < 0)
    return av_fail("sound frame", code);
  const auto n = swr_convert(s.resampler.get(), out.extended_data, out.nb_samples, const_cast<const std::uint8_t**>(frame.extended_data), frame.nb_samples);
  if (n < 0)
    return av_fail("resampling", n);
  if (av_audio_fifo_write(s.fifo.get(), reinterpret_cast<void**>(out.extended_data), n) < n)
    return fail(error_code::media_failed, "no memory for sound");
  return s.queued(n, sink);
}

std::optional<ticks> sound_encoder::end() const { return state_->counting ? std::optional(state_->after(state_->samples)) : std::nullopt; }

expected<void> sound_encoder::fill(ticks from, ticks until, const sound_sink& sink) {
  auto& s = *state_;
  const auto rate = s.encoder->sample_rate;
  if (!s.counting && until > from)
    s.count_from(av_rescale(from, rate, ticks_per_second));
  if (!s.counting)
    return {};
  std::vector<float> zeros(static_cast<std::size_t>(s.encoder->frame_size)); // 0 is silence
  void* planes[] = {zeros.data(), zeros.data()};
  for (auto missing = av_rescale(until - s.after(s.samples), rate, ticks_per_second); missing > 0;) {
    const auto n = static_cast<int>(std::min<std::int64_t>(missing, s.encoder->frame_size));
    if (av_audio_fifo_write(s.fifo.get(), planes, n) < n)
      return fail(error_code::media_failed, "no memory for sound");
    WEIR_TRY(s.queued(n, sink));
    missing -= n;
  }
  return {};
}

expected<void> sound_encoder::finish(const sound_sink& sink) {
  auto& s = *state_;
  WEIR_TRY(s.encode_queued(true, sink));
  if (auto code = avcodec_send_frame(s.encoder.get(), nullptr); code < 0)
    return av_fail("encoding sound", code);
  return s.receive(sink);
}

} // namespace weir::media
