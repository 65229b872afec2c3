#include "runtime/media/hls_pipeline.hpp"

#include "runtime/base/base64.hpp"
#include "runtime/media/libav_log.hpp"
#include "runtime/media/decoder.hpp"
#include "runtime/media/ladder.hpp"
#include "runtime/media/rung.hpp"
#include "runtime/media/rung_guard.hpp"
#include "runtime/media/sound.hpp"
#include "runtime/media/source.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <fmt/format.h>
#include <fmt/ranges.h>
extern "C" {
#include <libavcodec/avcodec.h>
#include <libavcodec/bsf.h>
#include <libavutil/pixdesc.h>
}

namespace weir::media {
namespace {

// Packets are looked at before the ladder is planned: for as long as a stream that was announced may still come.
constexpr ticks longest_look = ticks_per_second;
// nginx-rtmp gives a reader who comes between two key frames sound only until the next one. Nothing is lost by waiting: what was looked at is used.
constexpr ticks longest_wait_for_pictures = 4 * ticks_per_second;
constexpr std::size_t most_looked_at = 600;
constexpr std::size_t pictures_for_a_rate = 12;
// Sound with segments of its own has some for each picture: what is missing is silence. A publisher sends both side by side, so what is further behind does not come.
constexpr ticks longest_wait_for_sound = ticks_per_second;
constexpr ticks longest_hole_of_sound = ticks_per_second / 10; ///< that is none: the encoder counts on

bool near_rate(std::int64_t a, std::int64_t b) { return std::abs(a - b) * 50 < b; }

/// Frames a second × 1000 from the spacing of pictures, on a common rate where it is near one; `announced` is what the container says.
std::int64_t frame_rate(std::vector<ticks> pts, std::int64_t announced) {
  std::sort(pts.begin(), pts.end());
  pts.erase(std::unique(pts.begin(), pts.end()), pts.end());
  std::int64_t measured = 0;
  if (pts.size() > 2)
    measured = (static_cast<std::int64_t>(pts.size()) - 1) * ticks_per_second * 1000 / (pts.back() - pts.front());
  if (announced >= 1'000 && announced <= 240'000 && (measured == 0 || near_rate(measured, announced)))
    return announced;
  for (std::int64_t usual : {24'000, 25'000, 30'000, 48'000, 50'000, 60'000, 15'000, 20'000, 12'000, 10'000, 120'000})
    if (measured != 0 && near_rate(measured, usual))
      return usual;
  return std::clamp<std::int64_t>(measured, measured == 0 ? 25'000 : 1'000, 240'000);
}

/// Whether Annex B data holds an IDR picture.
bool has_idr(const AVPacket& packet) {
  for (int i = 0; i + 3 < packet.size; ++i)
    if (packet.data[i] == 0 && packet.data[i + 1] == 0 && packet.data[i + 2] == 1 && (packet.data[i + 3] & 0x1f) == 5)
      return true;
  return false;
}

/// Why H.264 of that kind is nothing that every player shows; empty: it is.
std::string not_for_players(const declared_picture& picture) {
  const auto profile = picture.profile & 0xff; // without libav's marks for constraints
  if ((profile == FF_PROFILE_H264_BASELINE || profile == FF_PROFILE_H264_MAIN || profile == FF_PROFILE_H264_HIGH) && picture.level <= 52)
    return {};
  const auto* name = avcodec_profile_name(AV_CODEC_ID_H264, picture.profile);
  return fmt::format("players need not show H.264 of profile {} and level {}.{}", name ? name : "unknown", picture.level / 10, picture.level % 10);
}

/// The source's own picture on its way to the top rung.
struct passing {
  av<AVBSFContext> annex_b;
  bool broken = false;                   ///< ends at the next segment
  std::optional<std::int64_t> key_slot; ///< of the last key frame

  static expected<passing> open(const AVCodecParameters& parameters) {
    passing p;
    AVBSFContext* filter = nullptr;
    if (auto code = av_bsf_alloc(av_bsf_get_by_name("h264_mp4toannexb"), &filter); code < 0)
      return av_fail("h264_mp4toannexb", code);
    p.annex_b.reset(filter);
    filter->time_base_in = {1, 90'000};
    if (auto code = avcodec_parameters_copy(filter->par_in, &parameters); code < 0)
      return av_fail("h264_mp4toannexb", code);
    if (auto code = av_bsf_init(filter); code < 0)
      return av_fail("h264_mp4toannexb", code);
    return p;
  }
};

} // namespace

struct hls_pipeline::state {
  const configure settings;
  child_channel& out;
  pulse& progress;
  const std::vector<std::string> secrets = secrets_of(settings);
  grid cut{to_ticks(settings.gop), to_ticks(settings.segment), std::max<ticks>(settings.grid_offset, 0)};
  source in;

  // The source's streams, and whether each has delivered.
  av<AVCodecParameters> video_stream, audio_stream;
  std::unique_ptr<stream_decoder> video, audio;
  std::int64_t fps_milli = 0, announced_fps = 0;
  std::optional<declared_picture> declared; ///< by the newest parameter sets
  std::vector<source_item> looked_at; ///< packets before the ladder is planned
  bool looking = true;
  bool expects_video = false, expects_sound = false;
  std::optional<input_report> reported;

  // What is produced.
  std::vector<std::unique_ptr<rung>> rungs;
  static constexpr ticks unknown_yet = 1LL << 60;
  std::atomic<ticks> next_begin{unknown_yet}; ///< while rungs end: where the ones after them begin
  std::vector<rung_plan> plan;
  std::vector<scaler> scalers;
  ticks part = 0; ///< low latency: longest part of a segment; 0: no parts
  std::unique_ptr<sound_encoder> sound;
  ticks pictures_begin = 0;            ///< of the present rungs
  std::optional<ticks> pictures_end;   ///< of what they have
  bool silent = false;                 ///< the newest sound was put in for what was missing
  std::optional<passing> pass; ///< the top rung is copied
  bool all_encoded = true;
  bool may_pass = settings.ladder.pass_top;
  picture_shape planned_for;
  bool produced = false;    ///< rungs existed before: the next ones begin with a discontinuity
  bool plan_anew = false;   ///< at the next segment
  bool at_once = false;     ///< begin with the next picture, wherever it stands: the clock has jumped
  std::int64_t slot = -1;   ///< of the newest picture (or sound, where there is no picture)
  std::int64_t given = -1;  ///< slot of the newest that the rungs have: sound and copied pictures come before the encoded ones
  std::optional<ticks> last_pts;

  // Rungs that are left out because the machine is too slow.
  rung_guard guard;
  std::size_t left_out = 0;                 ///< as decided
  std::size_t could_leave_out = 0;
  std::optional<std::int64_t> regrade_after; ///< the newest slot of the present rungs, while a change of them is decided
  std::vector<std::string> said_left_out;
  bool said_hdr = false;

  // The time line: after a jump of the publisher's clock ours goes on with the next segment.
  ticks shift = 0;
  bool jumped = false;
  std::uint64_t shed_ = 0;

  std::mutex capture_mutex;
  capture_clock capture;

  state(const configure& c, child_channel& o, pulse& p)
    : settings(c), out(o), progress(p),
      in({c.inputs(), c.realtime, c.open_deadline, c.read_deadline, c.source_patience}, p, [this](end_cause cause, std::string why) {
        (void)out.send(trouble{cause, without_secrets(why, secrets)});
      }) {}

  // --- output -------------------------------------------------------------------------------------------------------------------------------
  /// A segment, or a part of the one that begins at `segment`.
  template <class Info>
  void deliver(std::string_view called, Info info, ticks segment, memory_file file) {
    info.bytes = file.size();
    // The last picture of a rung is taken to last as long as the one before it, which is long where pictures were left out: a segment that the origin would
    // refuse. It lasts until the next rungs begin.
    info.duration = std::max<ticks>(1, std::min(info.duration, next_begin - info.first_pts));
    if constexpr (std::is_same_v<Info, segment_info>)
      std::erase_if(info.keys, [&](auto& k) { return k.time >= info.duration; });
    {
      std::lock_guard lock(capture_mutex);
      info.captured = capture.at(segment);
    }
    auto sealed = std::move(file).seal();
    auto sent = sealed ? out.send(info, *sealed) : expected<void>(fail(sealed.error()));
    if (!sent && sent.error().code != error_code::unavailable) // a parent that is gone ends this process elsewhere
      (void)out.send(trouble{end_cause::encoder_error, fmt::format("{} {} of {}: {}", called, info.slot, info.rung, sent.error().text)});
  }

  void report_input(const picture_shape* shape) {
    input_report r;
    if (shape) {
      r.video = avcodec_get_name(video_stream->codec_id);
      r.width = shape->width;
      r.height = shape->height;
      r.fps_milli = fps_milli;
    }
    if (sound && audio_stream) {
      r.audio = avcodec_get_name(audio_stream->codec_id);
      r.channels = static_cast<std::uint32_t>(std::clamp(audio_stream->ch_layout.nb_channels, 0, 255));
      r.sample_rate = static_cast<std::uint32_t>(std::clamp(audio_stream->sample_rate, 0, 1'000'000));
    }
    (void)out.send(r);
  }

  expected<void> finish_rungs() {
    expected<void> result;
    if (sound && !rungs.empty() && is_apart() && pictures_end)
      result = fill_sound(*pictures_end);
    pictures_end.reset();
    silent = false;
    if (sound && !rungs.empty() && result)
      result = sound->finish([&](av<AVPacket> packet) { share(std::move(packet)); });
    sound.reset();
    for (auto& r : rungs)
      if (auto done = r->finish(); !done && result)
        result = fail(done.error().in("rung " + r->info().name));
    rungs.clear();
    return result;
  }

  void share(av<AVPacket> packet) {
    for (auto& r : rungs) {
      r->sound(same_packet(*packet));
      if (is_apart()) // one for all of them, cut where the first one is
        return;
    }
  }

  // --- sound with segments of its own -------------------------------------------------------------------------------------------------------
  /// Not of a source that has nothing else: its sound is a rung like others.
  bool is_apart() const { return settings.audio == audio_packing::separate && !plan.empty(); }
  expected<void> fill_sound(ticks until) {
    const auto before = sound->end();
    WEIR_TRY(sound->fill(pictures_begin, until, [&](av<AVPacket> packet) { share(std::move(packet)); }));
    silent = silent || before != sound->end();
    return {};
  }
  /// What is missing in front of this frame. Where no pictures are, none is missing: a source that was away has left a hole in both.
  expected<void> fill_sound_before(const AVFrame& frame) {
    const auto reached = sound->end().value_or(pictures_begin);
    const auto until = std::min(frame.pts, pictures_end.value_or(pictures_begin) + longest_wait_for_sound);
    const bool hole = frame.pts - reached > longest_hole_of_sound || silent || !sound->end();
    if (hole && until > reached)
      WEIR_TRY(fill_sound(until));
    silent = false;
    return {};
  }
  std::chrono::milliseconds announced_part() const { return announced_target(settings.part, part, settings.audio == audio_packing::separate); }

  expected<void> add_rung(rung_setup setup) {
    setup.cut = cut;
    setup.preset = settings.ladder.preset;
    setup.discontinuity = produced;
    setup.container = settings.container;
    setup.part = part;
    setup.longest_part = to_ticks(announced_part());
    if (sound) {
      setup.sound = !is_apart() || rungs.empty() ? &sound->parameters() : nullptr;
      setup.sound_rate = settings.ladder.audio;
      setup.sound_apart = is_apart() ? audio_rung : "";
    }
    auto made = rung::open(setup, progress, [this](const segment_info& s, memory_file f) { deliver("segment", s, s.first_pts, std::move(f)); },
                           [this](const part_info& p, ticks segment, memory_file f) { deliver("a part of segment", p, segment, std::move(f)); });
    if (!made)
      return fail(made.error().in("rung " + setup.name));
    rungs.push_back(std::move(*made));
    return {};
  }

  void announce() {
    rungs_report report;
    std::vector<std::string> names;
    for (auto& r : rungs) {
      report.rungs.push_back(r->info());
      names.push_back(r->info().name);
      if (!r->map().empty())
        report.maps.push_back(to_base64(r->map()));
    }
    if (auto* apart = rungs.front()->sound_apart()) {
      report.rungs.push_back(apart->info());
      names.push_back(apart->info().name);
      if (!apart->map().empty())
        report.maps.push_back(to_base64(apart->map()));
    }
    report.grid_offset = cut.offset;
    report.passed_through = pass.has_value();
    report.part = announced_part();
    progress.outputs(names);
    (void)out.send(report);
  }

  // Of whole pictures of the slowest rung, so that all rungs cut at the same ones.
  // A source with less than a picture a segment has none.
  void plan_parts(std::int64_t slowest_fps_milli) {
    part = settings.part.count() > 0 ? part_target(settings.part, slowest_fps_milli) : 0;
    if (part > to_ticks(settings.segment))
      part = 0;
  }

  // A stream that no decoder takes counts as missing.
  bool open_audio() {
    if (!audio && audio_stream)
      if (auto opened = stream_decoder::open(*audio_stream))
        audio = std::move(*opened);
    return audio != nullptr;
  }

  expected<void> open_sound() {
    if (!expects_sound || !open_audio())
      return {};
    auto made = sound_encoder::open(audio_stream->sample_rate, settings.ladder.audio);
    if (!made)
      return fail(made.error());
    sound = std::move(*made);
    return {};
  }

  // Rungs for pictures like this one; whatever ran before has ended with its segment.
  expected<void> build(const AVFrame& picture, const picture_shape& shape) {
    auto whole = plan_ladder(settings.ladder, shape);
    if (!whole)
      return fail(whole.error());
    // Behind a hole they end with their slot.
    next_begin = rungs.empty() ? unknown_yet : std::min(picture.pts, cut.slot_start(slot + 1) + ticks_per_second * 1000 / std::max<std::int64_t>(fps_milli, 1'000));
    auto finished = finish_rungs();
    next_begin = unknown_yet;
    WEIR_TRY(finished);
    WEIR_TRY(open_sound());
    could_leave_out = most_left_out(whole->size(), pass.has_value());
    left_out = std::min(left_out, could_leave_out);
    plan = without_top(*whole, left_out, pass.has_value());
    all_encoded = !pass;
    scalers.clear();
    plan_parts(std::ranges::min(plan, {}, &rung_plan::fps_milli).fps_milli);
    pictures_begin = picture.pts;
    for (std::size_t i = 0; i < plan.size(); ++i) {
      scalers.emplace_back(plan[i].width, plan[i].height);
      rung_setup setup;
      setup.name = plan[i].name;
      if (i == 0 && pass) {
        setup.copied = pass->annex_b->par_out;
        setup.copied_fps_milli = shape.fps_milli;
        setup.copied_rate = plan[i].video;
      } else {
        setup.encoded = &plan[i];
        setup.like = &picture;
      }
      auto added = add_rung(std::move(setup));
      if (!added && i == 0 && pass && added.error().code == error_code::too_large) { // the source's own headers make no map; an encoder's do
        pass.reset();
        to_copy.clear();
        return build(picture, shape);
      }
      WEIR_TRY(added);
    }
    report_input(&shape);
    announce();
    produced = true;
    regrade_after.reset();
    guard.applied(left_out, steady_clock::now());
    say_what_is_left_out(*whole);
    say_what_is_not_converted(picture);
    return {};
  }

  void say_what_is_not_converted(const AVFrame& picture) {
    if (picture.color_trc == AVCOL_TRC_SMPTE2084 && !std::exchange(said_hdr, true))
      (void)out.send(trouble{end_cause::none, "the source's picture is HDR (PQ), of which no rung is converted: many players show it pale; have it sent as SDR or HLG"});
  }

  // Told when it has happened: after the ladder that it is about.
  void say_what_is_left_out(const std::vector<rung_plan>& whole) {
    std::vector<std::string> names;
    for (auto& r : whole)
      if (std::ranges::find(plan, r.name, &rung_plan::name) == plan.end())
        names.push_back(r.name);
    if (names == said_left_out)
      return;
    auto rungs_named = [](const std::vector<std::string>& n) {
      return fmt::format("rung{} {} {}", n.size() > 1 ? "s" : "", fmt::join(n, ", "), n.size() > 1 ? "are" : "is");
    };
    if (names.empty())
      (void)out.send(trouble{end_cause::none, rungs_named(said_left_out) + " back"});
    else
      (void)out.send(trouble{end_cause::overloaded, "the machine is too slow: " + rungs_named(names) + " left out"});
    said_left_out = std::move(names);
  }

  expected<void> build_sound_only() {
    WEIR_TRY(open_sound());
    if (!sound)
      return fail(error_code::unsupported, "the source has neither picture nor sound");
    plan.clear();
    scalers.clear();
    plan_parts(std::int64_t{sound->parameters().sample_rate} * 1000 / samples_of_a_frame);
    rung_setup setup;
    setup.name = audio_rung;
    WEIR_TRY(add_rung(std::move(setup)));
    report_input(nullptr);
    announce();
    produced = true;
    return {};
  }

  // --- pictures -----------------------------------------------------------------------------------------------------------------------------
  picture_shape shape_of(const AVFrame& picture) const {
    picture_shape s{static_cast<std::uint32_t>(picture.width), static_cast<std::uint32_t>(picture.height), 1, 1, fps_milli};
    auto sar = picture.sample_aspect_ratio;
    if (sar.num <= 0 || sar.den <= 0)
      sar = video_stream->sample_aspect_ratio;
    // A shape beyond 1:4 is a damaged header.
    if (sar.num > 0 && sar.den > 0 && sar.num <= 4 * std::int64_t{sar.den} && sar.den <= 4 * std::int64_t{sar.num}) {
      s.sar_num = static_cast<std::uint32_t>(sar.num);
      s.sar_den = static_cast<std::uint32_t>(sar.den);
    }
    return s;
  }

  // Whether the rungs that run are what would be built for this picture.
  bool suits(const picture_shape& shape) const {
    auto wanted = plan_ladder(settings.ladder, shape);
    return wanted && without_top(std::move(*wanted), left_out, pass.has_value()) == plan && expects_sound == (sound != nullptr) && all_encoded;
  }

  // A pipeline behind its source leaves out pictures, more the further it is behind, but never one that key frames stand on.
  bool shed(bool key, ticks behind) {
    if (!settings.realtime || key)
      return false;
    const auto keep_one_of = behind > 6 * ticks_per_second ? 1000u : behind > 4 * ticks_per_second ? 4u : behind > too_far_behind ? 2u : 1u;
    if (keep_one_of == 1 || ++shed_ % keep_one_of == 0)
      return false;
    progress.dropped(1);
    return true;
  }

  // With the next segment of which no rung has anything yet, so that what there is of it goes to the new rungs whole.
  void look_at_backlog(ticks behind) {
    if (!settings.realtime || !settings.leave_out_rungs || plan.empty() || rungs.empty())
      return;
    const auto decided = guard.behind(behind, could_leave_out, steady_clock::now());
    if (decided == left_out)
      return;
    left_out = decided;
    regrade_after = std::max(slot, given);
  }

  expected<void> take_picture(AVFrame& picture) {
    if (picture.pts == AV_NOPTS_VALUE || (last_pts && picture.pts <= *last_pts))
      return {};
    const auto pts = picture.pts;
    const auto length = fps_milli > 0 ? ticks_per_second * 1000 / fps_milli : 0;
    bool key = last_pts && cut.interval(pts) != cut.interval(*last_pts);
    if (rungs.empty()) {
      // Whoever joins begins where everybody has a key frame.
      const bool on_point = key || (!last_pts && cut.past_point(pts) < length);
      if (!(on_point || at_once || (pass && !pass->broken)) || cut.slot(pts) < 0) {
        last_pts = pts;
        return {};
      }
      key = true;
    }
    const auto shape = shape_of(picture);
    const auto behind = settings.realtime ? in.backlog() : 0;
    look_at_backlog(behind);
    if (!rungs.empty() && (shape != planned_for || (pass && pass->broken)))
      plan_anew = true;
    if (rungs.empty() || (plan_anew && cut.slot(pts) > slot) || (regrade_after && cut.slot(pts) > *regrade_after)) {
      if (pass && (plan_anew || pass->broken || !may_copy(picture, shape))) {
        pass.reset();
        to_copy.clear();
      }
      if (rungs.empty() || !suits(shape)) {
        WEIR_TRY(build(picture, shape));
        WEIR_TRY(encode_held_sound());
        if (pass)
          begin_passing();
        key = true;
      }
      planned_for = shape;
      plan_anew = false;
      regrade_after.reset();
    } else if (plan.empty()) {
      return {}; // a late picture joins with the next segment
    }
    at_once = false;
    last_pts = pts;
    // Where other rungs follow, a segment ends with its last picture, and so does its sound: that one is never left out.
    const bool last_of_rungs = regrade_after && cut.slot(pts + length) > *regrade_after;
    if (shed(key || last_of_rungs, behind))
      return {};
    slot = std::max(slot, cut.slot(pts));
    WEIR_TRY(encode(picture, key));
    if (!is_apart() || !sound || rungs.empty())
      return {};
    pictures_end = pts + length;
    return fill_sound(pts - longest_wait_for_sound);
  }

  expected<void> encode(const AVFrame& picture, bool key) {
    std::size_t waiting = 0;
    const AVFrame* larger = &picture;
    av<AVFrame> scaled;
    for (std::size_t i = 0; i < rungs.size(); ++i) {
      if (rungs[i]->failed())
        return finish_rungs();
      if (i == 0 && pass)
        continue; // its packets have gone there
      auto next = scalers[i](*larger);
      if (!next)
        return fail(next.error());
      scaled = std::move(*next);
      larger = scaled.get();
      rungs[i]->encode(same_frame(*scaled), key);
      waiting = std::max(waiting, rungs[i]->waiting());
    }
    progress.frames_queued(waiting);
    return {};
  }

  // --- the top rung as it comes --------------------------------------------------------------------------------------------------------------
  bool may_copy(const AVFrame& picture, const picture_shape& shape) const {
    auto wanted = plan_ladder(settings.ladder, shape);
    return wanted && shape.sar_num == shape.sar_den && wanted->front().width == shape.width && wanted->front().height == shape.height &&
           wanted->front().every == 1 && picture.color_trc != AVCOL_TRC_ARIB_STD_B67; // an encoder can name that as what it is listed as
  }

  // Packets between the first key frame and the first decoded picture wait here, and those of the segment with which other rungs begin.
  std::deque<av<AVPacket>> to_copy;
  void begin_passing() {
    for (auto& packet : to_copy)
      pass_on(std::move(packet));
    to_copy.clear();
  }
  void pass_on(av<AVPacket> packet) {
    given = std::max(given, cut.slot(packet->pts));
    rungs[0]->copy(std::move(packet));
  }

  void stop_passing(const std::string& why) {
    (void)out.send(trouble{end_cause::none, why + "; the top rung is encoded" + (rungs.empty() ? "" : " from the next segment on")});
    pass->broken = true;
  }

  expected<void> pass_packet(const AVPacket& packet) {
    auto copy = same_packet(packet);
    if (av_bsf_send_packet(pass->annex_b.get(), copy.get()) < 0) {
      pass->broken = true;
      return {};
    }
    const auto frame = fps_milli > 0 ? ticks_per_second * 1000 / fps_milli : ticks_per_second / 25;
    for (auto next = new_packet(); av_bsf_receive_packet(pass->annex_b.get(), next.get()) >= 0; next = new_packet()) {
      const auto pts = next->pts;
      const bool idr = has_idr(*next);
      next->flags = idr ? next->flags | AV_PKT_FLAG_KEY : next->flags & ~AV_PKT_FLAG_KEY;
      if (!pass->key_slot) {
        if (!idr)
          continue;
        if (settings.grid_offset < 0)
          cut.offset = ((pts % cut.segment) + cut.segment) % cut.segment;
        pass->key_slot = cut.slot(pts);
      }
      if (!pass->broken && idr && cut.past_point(pts) <= frame)
        pass->key_slot = cut.slot(pts);
      else if (!pass->broken && (idr || cut.slot(pts) > *pass->key_slot))
        stop_passing("key frames of the source left the grid"); // or a segment has none
      // The segment that is being written is completed even so.
      if (cut.slot(pts) > *pass->key_slot)
        continue;
      if (rungs.empty() || (regrade_after && cut.slot(pts) > *regrade_after))
        to_copy.push_back(std::move(next));
      else
        pass_on(std::move(next));
    }
    return {};
  }

  // --- packets ------------------------------------------------------------------------------------------------------------------------------
  expected<void> take_sound(const AVPacket& packet) {
    expects_sound = true;
    if (!open_audio())
      return {};
    if (!rungs.empty() && !sound)
      plan_anew = true;
    return audio->decode(packet, [&](AVFrame& frame) -> expected<void> {
      if (frame.pts == AV_NOPTS_VALUE)
        return {};
      if (settings.audio == audio_packing::separate && expects_video && rungs.empty()) {
        hold_early_sound(frame);
        return {};
      }
      if (plan.empty() && (!expects_video || !rungs.empty())) {
        const auto next = cut.slot(frame.pts);
        if (awaits_picture(frame, next)) {
          held_sound.push_back(same_frame(frame));
          return {};
        }
        if (rungs.empty())
          WEIR_TRY(build_sound_only());
        slot = std::max(slot, next);
        if (rungs[0]->failed())
          return finish_rungs();
        WEIR_TRY(encode_held_sound());
      } else if (!plan.empty()) {
        if (awaits_picture(frame, cut.slot(frame.pts))) {
          held_sound.push_back(same_frame(frame));
          return {};
        }
        WEIR_TRY(encode_held_sound());
      }
      return encode_sound(frame);
    });
  }

  // A late picture joins with the next segment, and so do other rungs. Decoded pictures come after their sound, so the sound of that segment waits for the
  // first of them; when none comes within the wait, sound goes on alone.
  std::deque<av<AVFrame>> held_sound;
  bool awaits_picture(const AVFrame& frame, std::int64_t its_slot) const {
    const bool next_rungs = plan.empty() ? plan_anew && its_slot > slot : regrade_after && its_slot > *regrade_after;
    return next_rungs && expects_video && !rungs.empty() && (held_sound.empty() || frame.pts - held_sound.front()->pts < longest_wait_for_pictures);
  }
  expected<void> encode_held_sound() {
    for (auto waiting = std::exchange(held_sound, {}); auto& frame : waiting)
      WEIR_TRY(encode_sound(*frame));
    return {};
  }
  /// Segments of sound begin with those of pictures, which are decoded later.
  void hold_early_sound(const AVFrame& frame) {
    held_sound.push_back(same_frame(frame));
    while (frame.pts - held_sound.front()->pts > longest_wait_for_pictures)
      held_sound.pop_front();
  }
  expected<void> encode_sound(const AVFrame& frame) {
    given = std::max(given, cut.slot(frame.pts));
    if (sound && is_apart() && !rungs.empty())
      WEIR_TRY(fill_sound_before(frame));
    return sound ? sound->encode(frame, [&](av<AVPacket> encoded) { share(std::move(encoded)); }) : expected<void>{};
  }

  // Only what the encoder declares: pictures that come late, or irregularly, are measured as any rate.
  void follow_parameter_sets(const AVPacket& packet) {
    const auto now = video->declared(packet);
    if (!now || now == declared)
      return;
    const auto before = std::exchange(declared, now);
    if (pass && !pass->broken) {
      auto why = not_for_players(*now);
      if (why.empty() && before)
        why = "the source has changed its parameter sets";
      if (!why.empty())
        stop_passing(why);
      if (pass->broken && rungs.empty()) { // so it has no say in where segments begin
        pass.reset();
        to_copy.clear();
      }
    }
    // Who declares another rate than it sends tells nothing by a change either.
    if (before && near_rate(fps_milli, before->fps_milli) && now->fps_milli >= 1'000 && now->fps_milli <= 240'000)
      fps_milli = now->fps_milli;
  }

  expected<void> take_video(const AVPacket& packet) {
    if (!video) {
      auto opened = stream_decoder::open(*video_stream);
      if (!opened)
        return fail(opened.error());
      video = std::move(*opened);
      expects_video = true;
      if (rungs.empty() && may_pass && video_stream->codec_id == AV_CODEC_ID_H264)
        if (auto p = passing::open(*video_stream))
          pass = std::move(*p);
      may_pass = false; // tried once: what has left the grid does not come back
    }
    follow_parameter_sets(packet);
    if (pass)
      WEIR_TRY(pass_packet(packet));
    return video->decode(packet, [&](AVFrame& frame) { return take_picture(frame); });
  }

  expected<void> take_packet(source_item& item) {
    auto& packet = *item.packet;
    if (jumped) {
      shift = cut.slot_start(slot + 1) - packet.dts;
      jumped = false;
    }
    packet.pts += shift;
    packet.dts += shift;
    {
      std::lock_guard lock(capture_mutex);
      capture.saw(packet.pts, item.read_at);
    }
    if (item.video)
      return take_video(packet);
    return take_sound(packet);
  }

  // Looks until each announced stream has come, and until the distance of pictures is known.
  bool looked_enough() const {
    std::size_t pictures = 0, sounds = 0;
    ticks first = std::numeric_limits<ticks>::max(), last = std::numeric_limits<ticks>::min();
    for (auto& i : looked_at) {
      pictures += i.video;
      sounds += !i.video;
      first = std::min(first, i.packet->dts);
      last = std::max(last, i.packet->dts);
    }
    const bool pictures_may_come = video_stream || settings.realtime; // a live source announces only what it sends already
    const auto longest = pictures == 0 && pictures_may_come ? longest_wait_for_pictures : longest_look;
    if (looked_at.size() >= most_looked_at || (!looked_at.empty() && last - first > longest))
      return true;
    return (pictures >= pictures_for_a_rate || !pictures_may_come) && (sounds > 0 || !audio_stream) && pictures + sounds > 0;
  }

  expected<void> stop_looking() {
    looking = false;
    std::vector<ticks> pts;
    for (auto& i : looked_at)
      if (i.video)
        pts.push_back(i.packet->pts);
    expects_video = !pts.empty();
    expects_sound = pts.size() < looked_at.size();
    fps_milli = frame_rate(std::move(pts), announced_fps);
    for (auto& i : looked_at)
      WEIR_TRY(take_packet(i));
    looked_at.clear();
    return {};
  }

  expected<void> drain_decoders() {
    if (video)
      WEIR_TRY(video->drain([&](AVFrame& frame) { return take_picture(frame); }));
    return {};
  }

  expected<void> take(source_item& item) {
    switch (item.what) {
      case source_item::kind::streams:
        if (item.fps_milli > 0)
          announced_fps = item.fps_milli;
        // After a loss a new decoder shows nothing before its first key frame; the old one would guess.
        if (video && (item.reopened || (item.video_stream && !video->reads(*item.video_stream)))) {
          WEIR_TRY(drain_decoders());
          video.reset();
          if (pass)
            pass->broken = true;
        }
        if (audio && item.audio_stream && !audio->reads(*item.audio_stream))
          audio.reset();
        if (item.video_stream)
          video_stream = std::move(item.video_stream);
        if (item.audio_stream)
          audio_stream = std::move(item.audio_stream);
        return {};
      case source_item::kind::jump: {
        if (looking)
          WEIR_TRY(stop_looking());
        WEIR_TRY(drain_decoders());
        audio.reset();
        WEIR_TRY(encode_held_sound());
        WEIR_TRY(finish_rungs());
        pass.reset();
        to_copy.clear();
        last_pts.reset();
        jumped = slot >= 0;
        at_once = true;
        std::lock_guard lock(capture_mutex);
        capture.reset();
        return {};
      }
      case source_item::kind::packet:
        if (!looking)
          return take_packet(item);
        looked_at.push_back(std::move(item));
        return looked_enough() ? stop_looking() : expected<void>{};
      case source_item::kind::end: break;
    }
    return {};
  }

  end_report run() {
    auto failed = [&](const error& e) {
      return end_report{e.code == error_code::unsupported || e.code == error_code::invalid_config ? end_cause::bad_options : end_cause::encoder_error, 0,
                        without_secrets(e.text, secrets).substr(0, 1900)};
    };
    if (auto checked = check_ladder(settings.ladder); !checked)
      return failed(checked.error());
    if (settings.segment.count() % settings.gop.count() != 0)
      return failed({error_code::invalid_config, fmt::format("segments of {} ms are no multiple of {} ms", settings.segment.count(), settings.gop.count())});
    if (settings.part.count() > 0 && settings.container != media_container::fmp4)
      return failed({error_code::invalid_config, "only segments of fragmented MP4 have parts"});
    if (settings.audio == audio_packing::separate && std::ranges::any_of(settings.ladder.rungs, [](auto& r) { return r.name == audio_rung; }))
      return failed({error_code::invalid_config, "a rung is called audio, as sound with segments of its own is"});
    for (;;) {
      auto item = in.next();
      if (item.what != source_item::kind::end) {
        if (auto done = take(item); !done) {
          (void)finish_rungs();
          return failed(done.error());
        }
        continue;
      }
      expected<void> last;
      if (looking && item.cause != end_cause::requested)
        last = stop_looking();
      if (last)
        last = drain_decoders();
      auto ended = finish_rungs();
      if (!last || !ended)
        if (item.cause != end_cause::requested)
          return failed((last ? ended : last).error());
      return {item.cause, item.code, without_secrets(item.text, secrets).substr(0, 1900)};
    }
  }
};

hls_pipeline::hls_pipeline(const configure& settings, child_channel& out, pulse& progress) : state_(std::make_unique<state>(settings, out, progress)) {}
hls_pipeline::~hls_pipeline() = default;
end_report hls_pipeline::run() { return state_->run(); }
void hls_pipeline::stop() { state_->in.stop(); }
void hls_pipeline::use(std::vector<std::string> inputs) { state_->in.use(std::move(inputs)); }

} // namespace weir::media
