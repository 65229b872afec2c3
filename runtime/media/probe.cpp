#include "runtime/media/probe.hpp"

#include "runtime/media/av.hpp"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <map>
extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/pixdesc.h>
}

namespace weir::media {
namespace {

struct close_input {
  void operator()(AVFormatContext* p) const {
    auto* io = p->flags & AVFMT_FLAG_CUSTOM_IO ? p->pb : nullptr;
    avformat_close_input(&p);
    if (io) {
      av_freep(&io->buffer);
      avio_context_free(&io);
    }
  }
};
using input = std::unique_ptr<AVFormatContext, close_input>;

struct cursor {
  std::string_view bytes;
  std::size_t at = 0;
  static int read(void* self, std::uint8_t* out, int size) {
    auto& c = *static_cast<cursor*>(self);
    const auto n = std::min(static_cast<std::size_t>(size), c.bytes.size() - c.at);
    if (n == 0)
      return AVERROR_EOF;
    std::memcpy(out, c.bytes.data() + c.at, n);
    c.at += n;
    return static_cast<int>(n);
  }
};

std::uint32_t brightness(const AVFrame& f) {
  std::uint64_t sum = 0;
  for (int y = 0; y < f.height; ++y)
    for (int x = 0; x < f.width; ++x)
      sum += f.data[0][y * f.linesize[0] + x];
  return static_cast<std::uint32_t>(sum / (static_cast<std::uint64_t>(f.width) * static_cast<std::uint64_t>(f.height)));
}

expected<media_report> decode_all(AVFormatContext& in) {
  if (auto code = avformat_find_stream_info(&in, nullptr); code < 0)
    return fail(error_code::invalid_input, "stream information: " + av_text(code));
  media_report report;
  std::map<int, av<AVCodecContext>> decoders;
  for (unsigned i = 0; i < in.nb_streams; ++i) {
    auto& p = *in.streams[i]->codecpar;
    auto* codec = avcodec_find_decoder(p.codec_id);
    if (!codec || (p.codec_type != AVMEDIA_TYPE_VIDEO && p.codec_type != AVMEDIA_TYPE_AUDIO))
      continue;
    av<AVCodecContext> d(avcodec_alloc_context3(codec));
    if (!d || avcodec_parameters_to_context(d.get(), &p) < 0)
      return fail(error_code::invalid_input, "stream parameters");
    d->thread_count = 1;
    d->err_recognition = AV_EF_CRCCHECK | AV_EF_BITSTREAM | AV_EF_BUFFER;
    if (auto code = avcodec_open2(d.get(), codec, nullptr); code < 0)
      return fail(error_code::invalid_input, "decoder: " + av_text(code));
    if (p.codec_type == AVMEDIA_TYPE_VIDEO) {
      report.video = avcodec_get_name(p.codec_id);
      report.width = static_cast<std::uint32_t>(p.width);
      report.height = static_cast<std::uint32_t>(p.height);
      report.avc = avc_name(p.extradata, static_cast<std::size_t>(p.extradata_size));
      if (const auto* name = av_color_transfer_name(p.color_trc); name && p.color_trc != AVCOL_TRC_UNSPECIFIED)
        report.transfer = name;
    } else {
      report.audio = avcodec_get_name(p.codec_id);
      report.channels = static_cast<std::uint32_t>(p.ch_layout.nb_channels);
      report.sample_rate = static_cast<std::uint32_t>(p.sample_rate);
    }
    decoders[static_cast<int>(i)] = std::move(d);
  }
  auto to_ticks = [&](std::int64_t t, int stream) { return t == AV_NOPTS_VALUE ? -1 : av_rescale_q(t, in.streams[stream]->time_base, {1, 90'000}); };
  auto frame = new_frame();
  auto receive = [&](AVCodecContext& d, int stream) {
    int code = 0;
    while ((code = avcodec_receive_frame(&d, frame.get())) >= 0) {
      const auto pts = to_ticks(frame->best_effort_timestamp, stream);
      const bool picture = d.codec_type == AVMEDIA_TYPE_VIDEO;
      auto& first = picture ? report.first_pts : report.first_sound_pts;
      auto& last = picture ? report.last_pts : report.last_sound_pts;
      first = first < 0 ? pts : std::min(first, pts);
      last = std::max(last, pts);
      report.errors += frame->decode_error_flags != 0 || (frame->flags & AV_FRAME_FLAG_CORRUPT) != 0;
      if (picture) {
        ++report.pictures;
        report.luma.push_back(brightness(*frame));
      } else {
        report.samples += frame->nb_samples;
      }
    }
    report.errors += code != AVERROR(EAGAIN) && code != AVERROR_EOF;
  };
  bool pictures_came = false;
  for (auto packet = new_packet(); av_read_frame(&in, packet.get()) >= 0; av_packet_unref(packet.get())) {
    auto d = decoders.find(packet->stream_index);
    if (d == decoders.end())
      continue;
    if (d->second->codec_type == AVMEDIA_TYPE_VIDEO) {
      const bool key = packet->flags & AV_PKT_FLAG_KEY;
      report.starts_with_key = pictures_came ? report.starts_with_key : key;
      pictures_came = true;
      if (key)
        report.key_pts.push_back(to_ticks(packet->pts, packet->stream_index));
    }
    report.errors += avcodec_send_packet(d->second.get(), packet.get()) < 0;
    receive(*d->second, packet->stream_index);
  }
  for (auto& [stream, d] : decoders) {
    avcodec_send_packet(d.get(), nullptr);
    receive(*d, stream);
    if (d->codec_id == AV_CODEC_ID_AAC && d->profile != FF_PROFILE_UNKNOWN) // libav counts its profiles from 0, audio object types begin with 1
      report.aac = fmt::format("mp4a.40.{}", d->profile + 1);
  }
  return report;
}

expected<media_report> open_and_decode(input context, const char* path) {
  auto* raw = context.release();
  raw->correct_ts_overflow = 0;
  auto* io = raw->flags & AVFMT_FLAG_CUSTOM_IO ? raw->pb : nullptr;
  if (auto code = avformat_open_input(&raw, path, nullptr, nullptr); code < 0) { // has freed the context, but not our reader
    if (io) {
      av_freep(&io->buffer);
      avio_context_free(&io);
    }
    return fail(error_code::invalid_input, "opening media: " + av_text(code));
  }
  input opened(raw);
  return decode_all(*opened);
}

} // namespace

expected<media_report> probe_file(const std::string& path) {
  input context(avformat_alloc_context());
  if (!context)
    return fail(error_code::media_failed, "no memory");
  return open_and_decode(std::move(context), path.c_str());
}

expected<media_report> probe_bytes(std::string_view bytes) {
  input context(avformat_alloc_context());
  if (!context)
    return fail(error_code::media_failed, "no memory");
  cursor at{bytes};
  constexpr int buffer_size = 64 * 1024;
  context->pb = avio_alloc_context(static_cast<std::uint8_t*>(av_malloc(buffer_size)), buffer_size, 0, &at, cursor::read, nullptr, nullptr);
  if (!context->pb)
    return fail(error_code::media_failed, "no memory");
  context->flags |= AVFMT_FLAG_CUSTOM_IO;
  return open_and_decode(std::move(context), nullptr);
}

} // namespace weir::media
