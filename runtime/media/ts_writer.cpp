#include "runtime/media/ts_writer.hpp"

#include "runtime/media/segment_muxer.hpp"

extern "C" {
#include <libavformat/avformat.h>
#include <libavutil/opt.h>
}

namespace weir::media {

struct ts_writer::muxer final : segment_muxer {};

ts_writer::ts_writer(std::unique_ptr<muxer> m) : muxer_(std::move(m)) {}
ts_writer::~ts_writer() = default;

expected<std::unique_ptr<segment_writer>> ts_writer::open(const AVCodecParameters* video, const AVCodecParameters* audio) {
  auto m = std::make_unique<muxer>();
  WEIR_TRY(m->open("mpegts", "TS", video, audio));
  // Each segment opens with its tables, so repeating them ten times a second only costs: 30 kbit/s in every rung.
  AVDictionary* settings = nullptr;
  av_dict_set(&settings, "pat_period", "2", 0);
  av_dict_set(&settings, "sdt_period", "10", 0);
  WEIR_TRY(m->begin(settings));
  return std::unique_ptr<segment_writer>(new ts_writer(std::move(m)));
}

expected<void> ts_writer::write_video(const AVPacket& packet) { return muxer_->put(packet, muxer_->video); }
expected<void> ts_writer::write_audio(const AVPacket& packet) { return muxer_->put(packet, muxer_->audio); }

expected<memory_file> ts_writer::cut(std::optional<ticks>) {
  auto segment = muxer_->cut();
  WEIR_TRY(segment);
  if (auto code = av_opt_set(muxer_->context->priv_data, "mpegts_flags", "+resend_headers", 0); code < 0)
    return av_fail("TS tables", code);
  return segment;
}

} // namespace weir::media
