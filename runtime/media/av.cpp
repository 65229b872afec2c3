#include "runtime/media/av.hpp"

#include <fmt/format.h>
#include <new>
extern "C" {
#include <libavcodec/avcodec.h>
#include <libavcodec/bsf.h>
#include <libavutil/frame.h>
#include <libswresample/swresample.h>
#include <libswscale/swscale.h>
}

namespace weir::media {
namespace {

template <class T>
av<T> owned(T* p) {
  if (!p)
    throw std::bad_alloc();
  return av<T>(p);
}

} // namespace

void av_free::operator()(AVCodecContext* p) const { avcodec_free_context(&p); }
void av_free::operator()(AVCodecParameters* p) const { avcodec_parameters_free(&p); }
void av_free::operator()(AVFrame* p) const { av_frame_free(&p); }
void av_free::operator()(AVPacket* p) const { av_packet_free(&p); }
void av_free::operator()(SwsContext* p) const { sws_freeContext(p); }
void av_free::operator()(SwrContext* p) const { swr_free(&p); }
void av_free::operator()(AVBSFContext* p) const { av_bsf_free(&p); }

av<AVFrame> new_frame() { return owned(av_frame_alloc()); }
av<AVFrame> same_frame(const AVFrame& frame) { return owned(av_frame_clone(&frame)); }
av<AVPacket> new_packet() { return owned(av_packet_alloc()); }
av<AVPacket> same_packet(const AVPacket& packet) { return owned(av_packet_clone(&packet)); }
av<AVCodecParameters> same_parameters(const AVCodecParameters& parameters) {
  auto copy = owned(avcodec_parameters_alloc());
  if (avcodec_parameters_copy(copy.get(), &parameters) < 0)
    throw std::bad_alloc();
  return copy;
}

std::string av_text(int code) {
  char text[AV_ERROR_MAX_STRING_SIZE] = {};
  av_strerror(code, text, sizeof text);
  return text;
}

tl::unexpected<error> av_fail(std::string_view what, int code) { return fail(error_code::media_failed, fmt::format("{}: {}", what, av_text(code))); }

std::string avc_name(const std::uint8_t* extradata, std::size_t size) {
  // avcC repeats the three bytes behind its version; Annex B has them behind the header of the sequence parameter set (type 7).
  if (size >= 4 && extradata[0] == 1)
    return fmt::format("avc1.{:02x}{:02x}{:02x}", extradata[1], extradata[2], extradata[3]);
  for (std::size_t i = 0; i + 6 < size; ++i)
    if (extradata[i] == 0 && extradata[i + 1] == 0 && extradata[i + 2] == 1 && (extradata[i + 3] & 0x1f) == 7)
      return fmt::format("avc1.{:02x}{:02x}{:02x}", extradata[i + 4], extradata[i + 5], extradata[i + 6]);
  return {};
}

} // namespace weir::media
