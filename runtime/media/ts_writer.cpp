#include "runtime/media/ts_writer.hpp"

extern "C" {
#include <libavformat/avformat.h>
#include <libavutil/opt.h>
}

namespace weir::media {

struct ts_writer::muxer {
  AVFormatContext* context = nullptr;
  memory_file file;
  expected<void> written; ///< the first failure of the memory file
  int video = -1, audio = -1;

  ~muxer() {
    if (!context)
      return;
    if (context->pb) {
      av_freep(&context->pb->buffer); // libav may have replaced the one it was given
      avio_context_free(&context->pb);
    }
    avformat_free_context(context);
  }

  static int write(void* self, std::uint8_t* bytes, int size) {
    auto& m = *static_cast<muxer*>(self);
    if (auto done = m.file.append(bytes, static_cast<std::size_t>(size)); !done) {
      if (m.written)
        m.written = done;
      return AVERROR(EIO);
    }
    return size;
  }

  expected<int> add(const AVCodecParameters& parameters) {
    auto* stream = avformat_new_stream(context, nullptr);
    if (!stream)
      return fail(error_code::media_failed, "no memory for a stream");
    if (auto code = avcodec_parameters_copy(stream->codecpar, &parameters); code < 0)
      return av_fail("stream parameters", code);
    stream->codecpar->codec_tag = 0;
    stream->time_base = {1, 90'000};
    return stream->index;
  }

  expected<void> put(const AVPacket& packet, int stream) {
    auto copy = same_packet(packet);
    copy->stream_index = stream;
    copy->pts += lead;
    copy->dts += lead;
    // Not the interleaving call: it would buffer, and order is made by the rung.
    if (auto code = av_write_frame(context, copy.get()); code < 0)
      return written ? expected<void>(av_fail("writing TS", code)) : written;
    return {};
  }
};

ts_writer::ts_writer(std::unique_ptr<muxer> m) : muxer_(std::move(m)) {}
ts_writer::~ts_writer() = default;

expected<std::unique_ptr<segment_writer>> ts_writer::open(const AVCodecParameters* video, const AVCodecParameters* audio) {
  auto m = std::make_unique<muxer>();
  auto file = memory_file::create();
  if (!file)
    return fail(file.error());
  m->file = std::move(*file);
  if (auto code = avformat_alloc_output_context2(&m->context, nullptr, "mpegts", nullptr); code < 0)
    return av_fail("TS muxer", code);
  constexpr int buffer_size = 64 * 1024;
  m->context->pb = avio_alloc_context(static_cast<std::uint8_t*>(av_malloc(buffer_size)), buffer_size, 1, m.get(), nullptr, muxer::write, nullptr);
  if (!m->context->pb)
    return fail(error_code::media_failed, "no memory for a muxer");
  m->context->pb->seekable = 0;
  m->context->flags |= AVFMT_FLAG_CUSTOM_IO;
  m->context->avoid_negative_ts = AVFMT_AVOID_NEG_TS_DISABLED;
  m->context->max_delay = 0;
  for (auto [parameters, index] : {std::pair{video, &m->video}, std::pair{audio, &m->audio}})
    if (parameters) {
      auto added = m->add(*parameters);
      if (!added)
        return fail(added.error());
      *index = *added;
    }
  // Each segment opens with its tables, so repeating them ten times a second only costs: 30 kbit/s in every rung.
  AVDictionary* settings = nullptr;
  av_dict_set(&settings, "pat_period", "2", 0);
  av_dict_set(&settings, "sdt_period", "10", 0);
  auto code = avformat_write_header(m->context, &settings);
  av_dict_free(&settings);
  if (code < 0)
    return av_fail("TS header", code);
  return std::unique_ptr<segment_writer>(new ts_writer(std::move(m)));
}

expected<void> ts_writer::write_video(const AVPacket& packet) { return muxer_->put(packet, muxer_->video); }
expected<void> ts_writer::write_audio(const AVPacket& packet) { return muxer_->put(packet, muxer_->audio); }

expected<memory_file> ts_writer::cut(std::optional<ticks>) {
  auto& m = *muxer_;
  if (auto code = av_write_frame(m.context, nullptr); code < 0)
    return av_fail("ending a TS segment", code);
  avio_flush(m.context->pb);
  WEIR_TRY(m.written);
  auto next = memory_file::create();
  if (!next)
    return fail(next.error());
  std::swap(m.file, *next);
  if (auto code = av_opt_set(m.context->priv_data, "mpegts_flags", "+resend_headers", 0); code < 0)
    return av_fail("TS tables", code);
  return std::move(*next);
}

} // namespace weir::media
