#include "runtime/hls/playlist.hpp"

#include <algorithm>
#include <numeric>
#include <span>

#include <fmt/format.h>

namespace weir::hls {

using namespace std::chrono_literals;

namespace {

constexpr std::int64_t preferred_rate = 2'000'000; ///< Apple 1.32

/// 90 kHz as seconds with five decimals: a run of them is never off by a frame (P3).
std::string seconds_of(std::int64_t ticks) {
  auto units = (ticks * 10 + 4) / 9; // 1/100000 s
  return fmt::format("{}.{:05}", units / 100'000, units % 100'000);
}

std::string decimal(std::int64_t thousandths) { return fmt::format("{}.{:03}", thousandths / 1000, thousandths % 1000); }

/// Not above need (V9): 9 is for what low latency adds.
int version_of(const stream_log& log) { return log.part_target > 0ms ? 9 : 6; }

/// Those that a rung lacks are listed too, as absent (P13): who plays it learns so at once, and takes another one.
std::span<const log_part> parts_of(const stream_log& log, std::uint64_t msn) {
  auto all = std::ranges::equal_range(log.parts, msn, {}, &log_part::msn);
  return {all.begin(), all.end()};
}

/// Those in front of an entry: of an absent segment there are none.
std::span<const log_part> parts_of(const stream_log& log, std::size_t rung, const log_entry& e) {
  return e.gap(rung) ? std::span<const log_part>{} : parts_of(log, e.msn);
}

std::span<const log_part> open_parts_of(const stream_log& log) {
  return log.open.epoch == 0 || log.ended ? std::span<const log_part>{} : parts_of(log, log.open.msn);
}

/// The newest of them, as much as live playlists list. It only ever moves forward, because what comes behind only makes more of it.
std::span<const log_entry> listed_entries(const stream_log& log) {
  std::span<const log_entry> all(log.entries);
  if (log.live_window == 0ms)
    return all;
  std::int64_t behind = 0;
  auto n = all.size();
  while (n > 0 && (all.size() - n < 6 || behind < log.live_window.count() * 90))
    behind += all[--n].duration(0);
  return all.subspan(n);
}

/// 90 kHz: how much a delta playlist still has of it at least (hls.md 6).
std::int64_t skip_boundary(const stream_log& log) { return 6 * log.target.count() * 90; }

/// Entries that a delta playlist leaves out; never all.
std::size_t skippable(const stream_log& log, std::span<const log_entry> listed, std::size_t rung) {
  std::int64_t behind = 0;
  for (auto& p : open_parts_of(log))
    behind += p.duration(rung);
  auto n = listed.size() - 1;
  behind += listed[n].duration(rung);
  while (n > 0 && behind < skip_boundary(log))
    behind += listed[--n].duration(rung);
  return n;
}

/// The same in all playlists of a stream (P14).
std::string server_control(const stream_log& log) {
  if (log.part_target == 0ms)
    return fmt::format("#EXT-X-SERVER-CONTROL:HOLD-BACK={}\n", decimal(log.hold_back.count()));
  return fmt::format("#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK={},CAN-SKIP-UNTIL={},HOLD-BACK={}\n", decimal(3 * log.part_target.count()),
                     decimal(skip_boundary(log) / 90), decimal(log.hold_back.count()));
}

/// "avc1.64001f" of "avc1.64001f,mp4a.40.2".
std::string_view codecs_of_picture(std::string_view codecs) {
  const auto sound = codecs.find(",mp4a");
  return codecs.substr(0, sound);
}

} // namespace

expected<std::string> multivariant(const stream_log& log, viewer_key viewer, std::size_t most_rungs, std::string_view prefix) {
  if (log.entries.empty())
    return fail(error_code::not_found, fmt::format("stream {} has nothing to play yet", log.stream));
  std::vector<const listed_rung*> rungs;
  const listed_rung* sound = nullptr;
  for (auto& r : log.rungs)
    if (r.active && r.info.rendition)
      sound = &r;
    else if (r.active)
      rungs.push_back(&r);
  if (rungs.empty())
    return fail(error_code::not_found, fmt::format("stream {} has no rung that works", log.stream));
  std::stable_sort(rungs.begin(), rungs.end(), [](auto* a, auto* b) { return a->average.bits_per_second > b->average.bits_per_second; });
  if (rungs.size() > most_rungs)
    rungs.erase(rungs.begin(), rungs.end() - static_cast<std::ptrdiff_t>(most_rungs));
  auto first = std::min_element(rungs.begin(), rungs.end(), [](auto* a, auto* b) {
    return std::abs(a->average.bits_per_second - preferred_rate) < std::abs(b->average.bits_per_second - preferred_rate);
  });
  std::rotate(rungs.begin(), first, first + 1);

  auto out = fmt::format("#EXTM3U\n#EXT-X-VERSION:{}\n#EXT-X-INDEPENDENT-SEGMENTS\n", version_of(log));
  out += fmt::format("#EXT-X-CONTENT-STEERING:SERVER-URI=\"{}{}\",PATHWAY-ID=\"{}\"\n", prefix, path_of(steering_address{viewer, log.stream}), primary_pathway);
  auto group_of = [](bool backup) { return fmt::format("audio-{}", backup ? backup_pathway : primary_pathway); };
  for (bool backup : {false, true})
    if (sound) {
      viewer.backup = backup;
      const auto& language = sound->info.language;
      out += fmt::format("#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"{}\",NAME=\"{}\"", group_of(backup), language.empty() ? "audio" : language);
      out += language.empty() ? "" : fmt::format(",LANGUAGE=\"{}\"", language);
      out += fmt::format(",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"2\",STABLE-RENDITION-ID=\"{}\",URI=\"{}{}\"\n", sound->info.name, prefix,
                         path_of(playlist_address{viewer, log.stream, log.instance, sound->info.name}));
    }
  // What a player fetches of a variant is its pictures and the sound of its group (V2).
  const std::int64_t peak = sound ? sound->peak.bits_per_second : 0, average = sound ? sound->average.bits_per_second : 0;
  for (bool backup : {false, true})
    for (auto* r : rungs) {
      out += fmt::format("#EXT-X-STREAM-INF:BANDWIDTH={},AVERAGE-BANDWIDTH={},CODECS=\"{}\"", r->peak.bits_per_second + peak,
                         r->average.bits_per_second + average, sound ? r->info.codecs + ',' + sound->info.codecs : r->info.codecs);
      if (sound)
        out += fmt::format(",AUDIO=\"{}\"", group_of(backup));
      if (r->info.width > 0)
        out += fmt::format(",RESOLUTION={}x{},FRAME-RATE={}", r->info.width, r->info.height, decimal(r->info.fps_milli));
      viewer.backup = backup;
      out += fmt::format(",PATHWAY-ID=\"{}\",STABLE-VARIANT-ID=\"{}\"\n{}{}\n", backup ? backup_pathway : primary_pathway, r->info.name, prefix,
                         path_of(playlist_address{viewer, log.stream, log.instance, r->info.name}));
    }
  for (bool backup : {false, true})
    for (auto* r : rungs) {
      const auto index = static_cast<std::size_t>(r - log.rungs.data());
      // As soon as its playlist reaches as far back as the others.
      if (!has_iframes(log, index) || *log.keys_from > listed_entries(log).front().msn || r->keys_peak.bits_per_second == 0)
        continue;
      viewer.backup = backup;
      out += fmt::format("#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH={},CODECS=\"{}\"", r->keys_peak.bits_per_second, codecs_of_picture(r->info.codecs));
      out += fmt::format(",RESOLUTION={}x{}", r->info.width, r->info.height);
      out += fmt::format(",PATHWAY-ID=\"{}\",STABLE-VARIANT-ID=\"{}-iframes\",URI=\"{}{}\"\n", backup ? backup_pathway : primary_pathway, r->info.name, prefix,
                         path_of(playlist_address{viewer, log.stream, log.instance, r->info.name, true}));
    }
  return out;
}

std::string steering_manifest(std::chrono::seconds ttl, bool prefer_backup) {
  return fmt::format(R"({{"VERSION":1,"TTL":{},"PATHWAY-PRIORITY":["{}","{}"]}})", ttl.count(), prefer_backup ? backup_pathway : primary_pathway,
                     prefer_backup ? primary_pathway : backup_pathway);
}

stream_log for_time_shift(stream_log log) {
  log.live_window = {};
  log.part_target = {};
  log.parts.clear();
  log.open = {};
  return log;
}

expected<std::size_t> rung_index(const stream_log& log, std::string_view rung) {
  auto found = std::find_if(log.rungs.begin(), log.rungs.end(), [&](auto& r) { return r.info.name == rung; });
  if (found == log.rungs.end() || log.entries.empty())
    return fail(error_code::not_found, fmt::format("stream {} has no rung {:?} to play", log.stream, rung));
  return static_cast<std::size_t>(found - log.rungs.begin());
}

bool has_iframes(const stream_log& log, std::size_t rung) {
  return log.keys_from && !log.entries.empty() && *log.keys_from <= log.entries.back().msn && log.rungs[rung].info.width > 0;
}

prepared_playlist::prepared_playlist(const stream_log& log, const log_entry& front, std::uint64_t first_number, std::string_view kind, int version)
    : part_target_(log.part_target), version_(log.version), ended_(log.ended), changed_(log.changed), target_(log.target) {
  // The numbers of hls.md 3 P8: a discontinuity that is still listed counts by its own tag.
  text_ = fmt::format("#EXTM3U\n#EXT-X-VERSION:{}\n#EXT-X-TARGETDURATION:{}\n", version, log.target.count() / 1000);
  text_ += fmt::format("#EXT-X-MEDIA-SEQUENCE:{}\n#EXT-X-DISCONTINUITY-SEQUENCE:{}\n", first_number, front.dsn - (front.discontinuity ? 1 : 0));
  text_ += kind;
  text_ += "#EXT-X-INDEPENDENT-SEGMENTS\n";
  text_ += server_control(log);
}

void prepared_playlist::host_goes_here(edge_epoch edges, std::uint32_t width) {
  if (entries_.empty())
    head_ = text_.size();
  else
    entries_.back().size = text_.size() - entries_.back().begin;
  entries_.push_back({edges, width, text_.size(), 0});
}

void prepared_playlist::name_map(const stream_log& log, std::size_t rung, lease_epoch of, edge_epoch edges, std::uint32_t width) {
  if (of == 0 || map_ == std::tuple{of, edges, width})
    return;
  map_ = {of, edges, width};
  text_ += "#EXT-X-MAP:URI=\"";
  host_goes_here(edges, width);
  text_ += path_of(segment_address{log.stream, log.instance, of, log.rungs[rung].info.name, 0, segment_kind::map});
  text_ += "\"\n";
}

void prepared_playlist::end_here(const stream_log& log) {
  entries_.back().size = text_.size() - entries_.back().begin;
  tail_ = text_.size();
  if (log.ended)
    text_ += "#EXT-X-ENDLIST\n";
}

prepared_playlist prepared_playlist::iframes(const stream_log& log, std::size_t rung) {
  auto listed = listed_entries(log);
  while (listed.front().msn < *log.keys_from)
    listed = listed.subspan(1);
  auto number = log.rungs[rung].keys_gone;
  for (auto& e : log.entries)
    if (e.msn >= *log.keys_from && e.msn < listed.front().msn)
      number += e.iframes(rung);
  prepared_playlist p(log, listed.front(), number, "#EXT-X-I-FRAMES-ONLY\n", 6);
  auto lasting = [&](std::int64_t ticks) { p.text_ += fmt::format("#EXTINF:{},\n", seconds_of(ticks)); };
  for (auto& e : listed) {
    const auto keys = e.keys_of(rung);
    if (e.discontinuity) {
      p.text_ += "#EXT-X-DISCONTINUITY\n";
      p.map_ = {};
    }
    if (!keys.empty())
      p.name_map(log, rung, e.map, e.edges, e.width);
    else if (&e == &listed.front())
      if (auto first = std::ranges::find_if(listed, [&](auto& f) { return !f.keys_of(rung).empty(); }); first != listed.end())
        p.name_map(log, rung, first->map, first->edges, first->width);
    p.text_ += fmt::format("#EXT-X-PROGRAM-DATE-TIME:{}\n", to_rfc3339(e.time));
    const auto kind = e.map != 0 ? segment_kind::fmp4 : segment_kind::ts;
    const auto address = path_of(segment_address{log.stream, log.instance, e.epoch, log.rungs[rung].info.name, e.msn, kind});
    auto name_segment = [&] {
      p.host_goes_here(e.edges, e.width);
      p.text_ += address;
      p.text_ += '\n';
    };
    if (keys.empty()) {
      p.text_ += "#EXT-X-GAP\n";
      lasting(e.duration(rung));
      name_segment();
    }
    for (std::size_t i = 0; i < keys.size(); ++i) {
      lasting((i + 1 < keys.size() ? keys[i + 1].time : e.duration(rung)) - keys[i].time);
      p.text_ += fmt::format("#EXT-X-BYTERANGE:{}@{}\n", keys[i].bytes, keys[i].offset);
      name_segment();
    }
    number += e.iframes(rung);
  }
  p.last_msn_ = number - 1;
  p.end_here(log);
  return p;
}

prepared_playlist::prepared_playlist(const stream_log& log, std::size_t rung, bool skip)
    : prepared_playlist(log, listed_entries(log).front(), listed_entries(log).front().msn, {}, version_of(log)) {
  last_msn_ = log.entries.back().msn;
  last_parts_ = parts_of(log, rung, log.entries.back()).size();
  const auto open_parts = open_parts_of(log);
  open_parts_ = open_parts.size();
  parts_version_ = log.parts_version;
  const auto listed = listed_entries(log);
  if (low_latency())
    text_ += fmt::format("#EXT-X-PART-INF:PART-TARGET={}\n", decimal(log.part_target.count()));
  const auto skipped = skip && low_latency() && !ended_ ? skippable(log, listed, rung) : 0;
  if (skipped > 0)
    text_ += fmt::format("#EXT-X-SKIP:SKIPPED-SEGMENTS={}\n", skipped);
  const auto kept = listed.subspan(skipped);
  auto& name = log.rungs[rung].info.name;
  auto name_part = [&](lease_epoch epoch, edge_epoch edges, std::uint32_t width, std::uint64_t msn, std::uint32_t part) {
    text_ += "URI=\"";
    host_goes_here(edges, width);
    text_ += path_of(segment_address{log.stream, log.instance, epoch, name, msn, segment_kind::part, part});
    text_ += '"';
  };
  auto list_parts = [&](std::span<const log_part> parts, lease_epoch epoch, edge_epoch edges, std::uint32_t width) {
    for (auto& p : parts) {
      text_ += fmt::format("#EXT-X-PART:DURATION={},", seconds_of(p.duration(rung)));
      name_part(epoch, edges, width, p.msn, p.part);
      text_ += p.gap(rung) ? ",GAP=YES\n" : p.independent ? ",INDEPENDENT=YES\n" : "\n";
    }
  };
  for (auto& e : kept) {
    if (e.discontinuity) {
      text_ += "#EXT-X-DISCONTINUITY\n";
      map_ = {};
    }
    // Not for a gap: nobody fetches it, and a rung that came later has no map of that time. But a window that begins with gaps begins with the map of what
    // follows them: players take a playlist for what its beginning says.
    if (!e.gap(rung))
      name_map(log, rung, e.map, e.edges, e.width);
    else if (&e == &kept.front())
      if (auto first = std::ranges::find_if(kept, [&](auto& f) { return !f.gap(rung); }); first != kept.end())
        name_map(log, rung, first->map, first->edges, first->width);
    text_ += fmt::format("#EXT-X-PROGRAM-DATE-TIME:{}\n", to_rfc3339(e.time));
    list_parts(parts_of(log, rung, e), e.epoch, e.edges, e.width);
    if (e.gap(rung))
      text_ += "#EXT-X-GAP\n";
    text_ += fmt::format("#EXTINF:{},\n", seconds_of(e.duration(rung)));
    host_goes_here(e.edges, e.width);
    text_ += path_of(segment_address{log.stream, log.instance, e.epoch, name, e.msn, e.map != 0 ? segment_kind::fmp4 : segment_kind::ts});
    text_ += '\n';
  }
  if (auto& open = log.open; open_parts_ > 0) {
    if (!std::ranges::all_of(open_parts, [&](auto& p) { return p.gap(rung); })) // as for entries
      name_map(log, rung, open.map, open.edges, open.width);
    text_ += fmt::format("#EXT-X-PROGRAM-DATE-TIME:{}\n", to_rfc3339(open.time));
    list_parts(open_parts, open.epoch, open.edges, open.width);
  }
  // A rung that nobody waits for makes no promise.
  if (auto& open = log.open; low_latency() && !ended_ && open.epoch != 0 && open.hint_msn != 0 && log.rungs[rung].active) {
    text_ += "#EXT-X-PRELOAD-HINT:TYPE=PART,";
    name_part(open.epoch, open.hint_edges, open.hint_width, open.hint_msn, open.hint_part);
    text_ += '\n';
  }
  if (low_latency() && !ended_)
    for (std::size_t other = 0; other < log.rungs.size(); ++other) {
      if (other == rung || !log.rungs[other].active)
        continue;
      const auto parts = open_parts_ > 0 ? open_parts_ : parts_of(log, other, log.entries.back()).size();
      text_ += fmt::format("#EXT-X-RENDITION-REPORT:URI=\"{}.m3u8\",LAST-MSN={}", log.rungs[other].info.name, last_msn_ + (open_parts_ > 0 ? 1 : 0));
      text_ += parts > 0 ? fmt::format(",LAST-PART={}\n", parts - 1) : "\n";
    }
  end_here(log);
}

bool prepared_playlist::reached(std::uint64_t msn, std::optional<std::uint32_t> part) const {
  if (ended_ || msn < last_msn_)
    return true;
  if (msn == last_msn_)
    return !part || last_parts_ == 0 || *part < last_parts_ || open_parts_ > 0;
  return msn == last_msn_ + 1 && part && *part < open_parts_;
}

} // namespace weir::hls
