#include "runtime/media/fmp4_writer.hpp"

#include "runtime/media/ts_writer.hpp"

#include <fmt/format.h>
extern "C" {
#include <libavformat/avformat.h>
#include <libavutil/mathematics.h>
#include <libavutil/opt.h>
}

namespace weir::media {

struct fmp4_writer::muxer {
  AVFormatContext* context = nullptr;
  memory_file file;
  std::string map;
  bool header = true;     ///< what is written belongs to the map
  expected<void> written; ///< the first failure of the memory file
  int video = -1, audio = -1;
  ticks frame = 0;
  av<AVPacket> held; ///< the newest picture: how long it lasts, its successor tells

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
    if (m.header) {
      m.map.append(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size));
      return size;
    }
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
    stream->time_base = {1, parameters.codec_type == AVMEDIA_TYPE_AUDIO ? parameters.sample_rate : static_cast<int>(ticks_per_second)};
    return stream->index;
  }

  expected<void> put(const AVPacket& packet, int stream) {
    auto copy = same_packet(packet);
    copy->stream_index = stream;
    copy->pts += lead;
    copy->dts += lead;
    // Sound counts samples there: its times stand on whole ones already, and rounding finds them again.
    av_packet_rescale_ts(copy.get(), {1, static_cast<int>(ticks_per_second)}, context->streams[stream]->time_base);
    // Not the interleaving call: it would buffer, and order is made by the rung.
    if (auto code = av_write_frame(context, copy.get()); code < 0)
      return written ? expected<void>(av_fail("writing MP4", code)) : written;
    return {};
  }

  expected<void> release(std::optional<ticks> next) {
    if (!held)
      return {};
    held->duration = next && *next > held->dts ? *next - held->dts : frame;
    auto packet = std::move(held);
    return put(*packet, video);
  }

  /// The next fragment's decode times are those of its packets, whatever the one before added up to.
  expected<void> begin_fragment() {
    if (auto code = av_opt_set(context->priv_data, "movflags", "+frag_discont", 0); code < 0)
      return av_fail("MP4 fragment", code);
    return {};
  }
};

fmp4_writer::fmp4_writer(std::unique_ptr<muxer> m) : muxer_(std::move(m)) {}
fmp4_writer::~fmp4_writer() = default;

expected<std::unique_ptr<segment_writer>> fmp4_writer::open(const AVCodecParameters* video, const AVCodecParameters* audio, ticks frame) {
  auto m = std::make_unique<muxer>();
  m->frame = std::max<ticks>(frame, 1);
  auto file = memory_file::create();
  if (!file)
    return fail(file.error());
  m->file = std::move(*file);
  if (auto code = avformat_alloc_output_context2(&m->context, nullptr, "mp4", nullptr); code < 0)
    return av_fail("MP4 muxer", code);
  constexpr int buffer_size = 64 * 1024;
  m->context->pb = avio_alloc_context(static_cast<std::uint8_t*>(av_malloc(buffer_size)), buffer_size, 1, m.get(), nullptr, muxer::write, nullptr);
  if (!m->context->pb)
    return fail(error_code::media_failed, "no memory for a muxer");
  m->context->pb->seekable = 0;
  // Without names of versions: encoders of the same settings make the same map, and a change between them is none for players.
  m->context->flags |= AVFMT_FLAG_CUSTOM_IO | AVFMT_FLAG_BITEXACT;
  m->context->avoid_negative_ts = AVFMT_AVOID_NEG_TS_DISABLED;
  m->context->max_delay = 0;
  for (auto [parameters, index] : {std::pair{video, &m->video}, std::pair{audio, &m->audio}})
    if (parameters) {
      auto added = m->add(*parameters);
      if (!added)
        return fail(added.error());
      *index = *added;
    }
  // No edit list: it would have to hold for whoever joins at any segment. Decode and presentation times are the packets' own, as in TS: reordered pictures have
  // composition offsets, and sound stands where it is to be heard. (libav's negative offsets would shift each fragment by its reordering: measured.)
  AVDictionary* settings = nullptr;
  // No trailer: nobody gets its index of all fragments, which would grow for as long as the stream lasts.
  av_dict_set(&settings, "movflags", "frag_custom+empty_moov+default_base_moof+skip_trailer", 0);
  av_dict_set(&settings, "use_editlist", "0", 0);
  auto code = avformat_write_header(m->context, &settings);
  av_dict_free(&settings);
  if (code < 0)
    return av_fail("MP4 header", code);
  avio_flush(m->context->pb);
  m->header = false;
  if (m->map.empty() || m->map.size() > longest_map)
    return fail(error_code::too_large, fmt::format("a map of {} bytes, 1 to {} are allowed", m->map.size(), longest_map));
  WEIR_TRY(m->begin_fragment());
  return std::unique_ptr<segment_writer>(new fmp4_writer(std::move(m)));
}

std::string_view fmp4_writer::map() const { return muxer_->map; }

expected<void> fmp4_writer::write_video(const AVPacket& packet) {
  WEIR_TRY(muxer_->release(packet.dts));
  muxer_->held = same_packet(packet);
  return {};
}

expected<void> fmp4_writer::write_audio(const AVPacket& packet) { return muxer_->put(packet, muxer_->audio); }

expected<memory_file> fmp4_writer::cut(std::optional<ticks> next_picture) {
  auto& m = *muxer_;
  WEIR_TRY(m.release(next_picture));
  if (auto code = av_write_frame(m.context, nullptr); code < 0)
    return av_fail("ending an MP4 fragment", code);
  avio_flush(m.context->pb);
  WEIR_TRY(m.written);
  auto next = memory_file::create();
  if (!next)
    return fail(next.error());
  std::swap(m.file, *next);
  WEIR_TRY(m.begin_fragment());
  return std::move(*next);
}

expected<std::unique_ptr<segment_writer>> open_segment_writer(media_container container, const AVCodecParameters* video, const AVCodecParameters* audio, ticks frame) {
  return container == media_container::fmp4 ? fmp4_writer::open(video, audio, frame) : ts_writer::open(video, audio);
}

} // namespace weir::media
