#include "runtime/media/fmp4_writer.hpp"

#include "runtime/media/segment_muxer.hpp"

#include <fmt/format.h>
extern "C" {
#include <libavformat/avformat.h>
#include <libavutil/opt.h>
}

namespace weir::media {

namespace {

/// Numbers from the left; once there were none left, `ok` stays false.
struct number_reader {
  std::string_view rest;
  bool ok = true;
  std::uint32_t next() {
    ok = ok && rest.size() >= 4;
    if (!ok)
      return 0;
    std::uint32_t value = 0;
    for (auto c : rest.substr(0, 4))
      value = value << 8 | static_cast<unsigned char>(c);
    rest.remove_prefix(4);
    return value;
  }
  void skip(bool there) {
    if (there)
      next();
  }
};

/// What is in the next box of that type from `at` on, which moves behind it.
std::optional<std::string_view> next_box(std::string_view in, std::size_t& at, std::string_view type) {
  while (at + 8 <= in.size()) {
    const auto here = in.substr(at);
    const auto size = number_reader{here}.next();
    if (size < 8 || size > here.size())
      return std::nullopt;
    at += size;
    if (here.substr(4, 4) == type)
      return here.substr(8, size - 8);
  }
  return std::nullopt;
}

std::optional<std::string_view> only_box(std::string_view in, std::string_view type) {
  std::size_t at = 0;
  return next_box(in, at, type);
}

/// Where the track's first sample ends, counted from the moof with which the bytes begin; nothing where they do not tell.
std::optional<std::uint64_t> end_of_first_sample(std::string_view fragment, std::uint32_t track) {
  const auto moof = only_box(fragment, "moof");
  for (std::size_t at = 0; moof;) {
    const auto traf = next_box(*moof, at, "traf");
    const auto tfhd = traf ? only_box(*traf, "tfhd") : std::nullopt, trun = traf ? only_box(*traf, "trun") : std::nullopt;
    if (!tfhd || !trun)
      return std::nullopt;
    number_reader track_says{*tfhd}, run_says{*trun};
    const auto of_track = track_says.next();
    if (track_says.next() != track)
      continue;
    for (auto [bit, numbers] : {std::pair{0x1U, 2}, {0x2U, 1}, {0x8U, 1}}) // base-data-offset, sample-description-index, default-sample-duration
      for (int i = 0; i < numbers; ++i)
        track_says.skip((of_track & bit) != 0);
    const auto default_size = (of_track & 0x10U) != 0 ? track_says.next() : 0;
    const auto of_run = run_says.next();
    run_says.next(); // samples
    const auto offset = (of_run & 0x1U) != 0 ? run_says.next() : 0;
    run_says.skip((of_run & 0x4U) != 0);   // first-sample-flags
    run_says.skip((of_run & 0x100U) != 0); // sample-duration
    const auto size = (of_run & 0x200U) != 0 ? run_says.next() : default_size;
    return track_says.ok && run_says.ok && offset > 0 && size > 0 ? std::optional(std::uint64_t{offset} + size) : std::nullopt;
  }
  return std::nullopt;
}

} // namespace

struct fmp4_writer::muxer final : segment_muxer {
  std::string map;
  bool header = true; ///< what is written belongs to the map
  bool parts = false;
  ticks frame = 0;
  av<AVPacket> held; ///< the newest picture: how long it lasts, its successor tells
  std::vector<av<AVPacket>> sound; ///< that waits: it has a fragment of its own behind the present one
  std::vector<key_frame> keys;
  // Of the fragment that is being made.
  bool has_picture = false;
  std::optional<ticks> key; ///< it is that of a key frame: when
  std::string head;         ///< of the one that libav lets go of: its moof, and a bit more

  bool take(const std::uint8_t* bytes, std::size_t size) override {
    const std::string_view text(reinterpret_cast<const char*>(bytes), size);
    if (header) {
      map += text;
      return true;
    }
    if (head.size() < 4 || head.size() < number_reader{head}.next())
      head += text;
    return segment_muxer::take(bytes, size);
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
    if (!std::exchange(has_picture, true) && is_told(*packet))
      key = packet->pts;
    return put(*packet, video);
  }

  /// Key frames begin a fragment, for whoever wants nothing else: up to the picture's end. So it is half a fragment, of pictures without sound, which players
  /// take for what it is: hls.js and Shaka make it whole again, as one picture that lasts as long as all of them. A fragment of that picture alone would
  /// leave holes that Chromium does not play over, and hls.js 1.7 drops it beside a map that has sound. Not more of them than are told.
  bool is_told(const AVPacket& packet) const { return packet.flags & AV_PKT_FLAG_KEY && keys.size() < segment_keys_limit; }

  /// Whether sound has to wait for the pictures of such a fragment.
  bool keeps_sound_out() const { return key || (held && is_told(*held)); }

  expected<void> end_fragment() {
    const auto begin = written();
    head.clear();
    WEIR_TRY(flush());
    has_picture = false;
    if (const auto time = std::exchange(key, std::nullopt)) {
      const auto size = end_of_first_sample(head, static_cast<std::uint32_t>(video) + 1);
      if (!size || begin + *size > written())
        return fail(error_code::media_failed, "libav made a fragment that does not say where its first picture ends");
      keys.push_back({*time, begin, *size});
    }
    WEIR_TRY(begin_fragment());
    if (sound.empty())
      return {};
    for (auto& packet : std::exchange(sound, {}))
      WEIR_TRY(put(*packet, audio));
    WEIR_TRY(flush());
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
  if (muxer_->is_told(packet))
    WEIR_TRY(muxer_->end_fragment());
  muxer_->held = same_packet(packet);
  return {};
}

expected<void> fmp4_writer::write_audio(const AVPacket& packet) {
  if (muxer_->keeps_sound_out()) {
    muxer_->sound.push_back(same_packet(packet));
    return {};
  }
  return muxer_->put(packet, muxer_->audio);
}

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
