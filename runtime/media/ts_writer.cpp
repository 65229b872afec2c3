#include "runtime/media/ts_writer.hpp"

#include "runtime/media/segment_muxer.hpp"

extern "C" {
#include <libavformat/avformat.h>
#include <libavutil/opt.h>
}

namespace weir::media {

namespace {

constexpr std::size_t ts_packet = 188;

/// Whether a picture's PES begins with this packet.
bool begins_picture(const std::uint8_t* packet) {
  const bool adapted = packet[3] & 0x20, starts_unit = packet[1] & 0x40;
  const std::size_t at = adapted ? 5 + packet[4] : 4;
  return starts_unit && at + 4 <= ts_packet && packet[at] == 0 && packet[at + 1] == 0 && packet[at + 2] == 1 && (packet[at + 3] & 0xf0) == 0xe0;
}

} // namespace

struct ts_writer::muxer final : segment_muxer {
  std::vector<key_frame> keys;
  std::optional<std::uint64_t> in_front; ///< of a key frame's PES: bytes of the tables that libav repeats there. None: they are still to be counted
  bool counting = false;

  bool take(const std::uint8_t* bytes, std::size_t size) override {
    if (std::exchange(counting, false)) {
      std::size_t at = 0;
      while (at + ts_packet <= size && !begins_picture(bytes + at))
        at += ts_packet;
      in_front = at;
    }
    return segment_muxer::take(bytes, size);
  }

  /// Nothing else is written with it: what comes is whole PES, one after the other.
  expected<void> put_key(const AVPacket& packet) {
    avio_flush(context->pb);
    const auto before = written();
    in_front.reset();
    counting = true;
    WEIR_TRY(put(packet, video));
    avio_flush(context->pb);
    counting = false;
    if (const auto begin = before + in_front.value_or(0); in_front && begin < written())
      keys.push_back({packet.pts, begin, written() - begin});
    return {};
  }
};

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

expected<void> ts_writer::write_video(const AVPacket& packet) { return packet.flags & AV_PKT_FLAG_KEY ? muxer_->put_key(packet) : muxer_->put(packet, muxer_->video); }
expected<void> ts_writer::write_audio(const AVPacket& packet) { return muxer_->put(packet, muxer_->audio); }

expected<written_segment> ts_writer::cut(std::optional<ticks>) {
  auto segment = muxer_->cut();
  WEIR_TRY(segment);
  if (auto code = av_opt_set(muxer_->context->priv_data, "mpegts_flags", "+resend_headers", 0); code < 0)
    return av_fail("TS tables", code);
  return written_segment{std::move(*segment), std::exchange(muxer_->keys, {})};
}

} // namespace weir::media
