#include "runtime/media/fmp4_writer.hpp"

#include "runtime/media/segment_muxer.hpp"

#include <fmt/format.h>
extern "C" {
#include <libavformat/avformat.h>
#include <libavutil/opt.h>
}

namespace weir::media {

struct fmp4_writer::muxer final : segment_muxer {
  std::string map;
  bool header = true; ///< what is written belongs to the map
  bool parts = false;
  ticks frame = 0;
  av<AVPacket> held; ///< the newest picture: how long it lasts, its successor tells
  // Of the fragment that is being made.
  bool has_picture = false;
  std::optional<ticks> key; ///< its picture is a key frame: when
  std::vector<key_frame> keys;

  bool take(const std::uint8_t* bytes, std::size_t size) override {
    if (!header)
      return segment_muxer::take(bytes, size);
    map.append(reinterpret_cast<const char*>(bytes), size);
    return true;
  }

  /// Sound counts samples there: its times stand on whole ones already, and rounding finds them again.
  AVRational time_base(const AVCodecParameters& parameters) const override {
    return parameters.codec_type == AVMEDIA_TYPE_AUDIO ? AVRational{1, parameters.sample_rate} : segment_muxer::time_base(parameters);
  }

  expected<void> release(std::optional<ticks> next) {
    if (!held)
      return {};
    held->duration = next && *next > held->dts ? *next - held->dts : frame;
    auto packet = std::move(held);
    if (!std::exchange(has_picture, true) && stands_alone(*packet))
      key = packet->pts;
    return put(*packet, video);
  }

  /// A key frame is the only picture of its fragment, so whoever wants nothing else has a whole one. (Half a fragment, up to the picture's end, would do for
  /// ffmpeg; media source extensions refuse what its moof says more.) Not more of them than are told.
  bool stands_alone(const AVPacket& packet) const { return packet.flags & AV_PKT_FLAG_KEY && keys.size() < segment_keys_limit; }

  expected<void> end_fragment() {
    const auto begin = written();
    WEIR_TRY(flush());
    has_picture = false;
    if (const auto time = std::exchange(key, std::nullopt))
      keys.push_back({*time, begin, written() - begin});
    return begin_fragment();
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

expected<std::unique_ptr<segment_writer>> fmp4_writer::open(const AVCodecParameters* video, const AVCodecParameters* audio, ticks frame, bool parts) {
  auto m = std::make_unique<muxer>();
  m->frame = std::max<ticks>(frame, 1);
  WEIR_TRY(m->open("mp4", "MP4", video, audio));
  // Without names of versions: encoders of the same settings make the same map, and a change between them is none for players.
  m->context->flags |= AVFMT_FLAG_BITEXACT;
  // No edit list: it would have to hold for whoever joins at any segment. Decode and presentation times are the packets' own, as in TS: reordered pictures have
  // composition offsets, and sound stands where it is to be heard. (libav's negative offsets would shift each fragment by its reordering: measured.)
  AVDictionary* settings = nullptr;
  // No trailer: nobody gets its index of all fragments, which would grow for as long as the stream lasts.
  av_dict_set(&settings, "movflags", "frag_custom+empty_moov+default_base_moof+skip_trailer", 0);
  av_dict_set(&settings, "use_editlist", "0", 0);
  WEIR_TRY(m->begin(settings));
  avio_flush(m->context->pb);
  m->header = false;
  if (m->map.empty() || m->map.size() > longest_map)
    return fail(error_code::too_large, fmt::format("a map of {} bytes, 1 to {} are allowed", m->map.size(), longest_map));
  WEIR_TRY(m->begin_fragment());
  if (parts)
    WEIR_TRY(m->keep_parts());
  m->parts = parts;
  return std::unique_ptr<segment_writer>(new fmp4_writer(std::move(m)));
}

std::string_view fmp4_writer::map() const { return muxer_->map; }

expected<void> fmp4_writer::write_video(const AVPacket& packet) {
  WEIR_TRY(muxer_->release(packet.dts));
  if (muxer_->key || (muxer_->has_picture && muxer_->stands_alone(packet)))
    WEIR_TRY(muxer_->end_fragment());
  muxer_->held = same_packet(packet);
  return {};
}

expected<void> fmp4_writer::write_audio(const AVPacket& packet) { return muxer_->put(packet, muxer_->audio); }

expected<written_segment> fmp4_writer::cut(std::optional<ticks> next_picture) {
  WEIR_TRY(muxer_->release(next_picture));
  WEIR_TRY(muxer_->end_fragment());
  auto segment = muxer_->cut();
  WEIR_TRY(segment);
  return written_segment{std::move(*segment), std::exchange(muxer_->keys, {})};
}

expected<memory_file> fmp4_writer::cut_part(part_end end, std::optional<ticks> next_picture) {
  if (!muxer_->parts)
    return fail(error_code::unsupported, "a writer of whole segments has no parts");
  if (end == part_end::newest)
    WEIR_TRY(muxer_->release(next_picture));
  WEIR_TRY(muxer_->end_fragment());
  return muxer_->cut_part();
}

} // namespace weir::media
