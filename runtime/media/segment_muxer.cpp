#include "runtime/media/segment_muxer.hpp"

#include <fmt/format.h>
extern "C" {
#include <libavformat/avformat.h>
#include <libavutil/mathematics.h>
}

namespace weir::media {
namespace {

/// What the file is, and a new one in its place.
expected<memory_file> exchange(memory_file& file) {
  auto next = memory_file::create();
  if (!next)
    return fail(next.error());
  std::swap(file, *next);
  return std::move(*next);
}

} // namespace

segment_muxer::~segment_muxer() {
  if (!context)
    return;
  if (context->pb) {
    av_freep(&context->pb->buffer); // libav may have replaced the one it was given
    avio_context_free(&context->pb);
  }
  avformat_free_context(context);
}

bool segment_muxer::take(const std::uint8_t* bytes, std::size_t size) {
  auto done = file_.append(bytes, size);
  if (done && part_)
    done = part_->append(bytes, size);
  if (!done && written_)
    written_ = done;
  return done.has_value();
}

AVRational segment_muxer::time_base(const AVCodecParameters&) const { return {1, static_cast<int>(ticks_per_second)}; }

expected<int> segment_muxer::add(const AVCodecParameters& parameters) {
  auto* stream = avformat_new_stream(context, nullptr);
  if (!stream)
    return fail(error_code::media_failed, "no memory for a stream");
  if (auto code = avcodec_parameters_copy(stream->codecpar, &parameters); code < 0)
    return av_fail("stream parameters", code);
  stream->codecpar->codec_tag = 0;
  stream->time_base = time_base(parameters);
  return stream->index;
}

expected<void> segment_muxer::open(const char* format, std::string_view called, const AVCodecParameters* video_stream, const AVCodecParameters* audio_stream) {
  called_ = called;
  auto file = memory_file::create();
  if (!file)
    return fail(file.error());
  file_ = std::move(*file);
  if (auto code = avformat_alloc_output_context2(&context, nullptr, format, nullptr); code < 0)
    return av_fail(fmt::format("{} muxer", called_), code);
  constexpr int buffer_size = 64 * 1024;
  auto write = [](void* self, std::uint8_t* bytes, int size) { return static_cast<segment_muxer*>(self)->take(bytes, static_cast<std::size_t>(size)) ? size : AVERROR(EIO); };
  context->pb = avio_alloc_context(static_cast<std::uint8_t*>(av_malloc(buffer_size)), buffer_size, 1, this, nullptr, write, nullptr);
  if (!context->pb)
    return fail(error_code::media_failed, "no memory for a muxer");
  context->pb->seekable = 0;
  context->flags |= AVFMT_FLAG_CUSTOM_IO;
  context->avoid_negative_ts = AVFMT_AVOID_NEG_TS_DISABLED;
  context->max_delay = 0;
  for (auto [parameters, index] : {std::pair{video_stream, &video}, std::pair{audio_stream, &audio}})
    if (parameters) {
      auto added = add(*parameters);
      if (!added)
        return fail(added.error());
      *index = *added;
    }
  return {};
}

expected<void> segment_muxer::begin(AVDictionary* settings) {
  auto code = avformat_write_header(context, &settings);
  av_dict_free(&settings);
  if (code < 0)
    return av_fail(fmt::format("{} header", called_), code);
  return {};
}

expected<void> segment_muxer::put(const AVPacket& packet, int stream) {
  auto copy = same_packet(packet);
  copy->stream_index = stream;
  copy->pts += segment_writer::lead;
  copy->dts += segment_writer::lead;
  av_packet_rescale_ts(copy.get(), {1, static_cast<int>(ticks_per_second)}, context->streams[stream]->time_base);
  pending_ = true;
  // Not the interleaving call: it would buffer, and order is made by the rung.
  if (auto code = av_write_frame(context, copy.get()); code < 0)
    return written_ ? expected<void>(av_fail(fmt::format("writing {}", called_), code)) : written_;
  return {};
}

expected<void> segment_muxer::flush() {
  if (!std::exchange(pending_, false))
    return {};
  if (auto code = av_write_frame(context, nullptr); code < 0)
    return av_fail(fmt::format("ending a segment of {}", called_), code);
  avio_flush(context->pb);
  return written_;
}

expected<memory_file> segment_muxer::cut() {
  WEIR_TRY(flush());
  return exchange(file_);
}

expected<void> segment_muxer::keep_parts() {
  auto file = memory_file::create();
  if (!file)
    return fail(file.error());
  part_ = std::move(*file);
  return {};
}

expected<memory_file> segment_muxer::cut_part() {
  WEIR_TRY(flush());
  return exchange(*part_);
}

} // namespace weir::media
