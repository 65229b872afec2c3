#include "runtime/hls/playlist.hpp"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

namespace weir::hls {

namespace {

constexpr std::int64_t preferred_rate = 2'000'000; ///< Apple 1.32

/// 90 kHz as seconds with five decimals: a run of them is never off by a frame (P3).
std::string seconds_of(std::int64_t ticks) {
  auto units = (ticks * 10 + 4) / 9; // 1/100000 s
  return fmt::format("{}.{:05}", units / 100'000, units % 100'000);
}

std::string decimal(std::int64_t thousandths) { return fmt::format("{}.{:03}", thousandths / 1000, thousandths % 1000); }

} // namespace

expected<std::string> multivariant(const stream_log& log, viewer_key viewer, std::size_t most_rungs, std::string_view prefix) {
  if (log.entries.empty())
    return fail(error_code::not_found, fmt::format("stream {} has nothing to play yet", log.stream));
  std::vector<const listed_rung*> rungs;
  for (auto& r : log.rungs)
    if (r.active)
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

  std::string out = "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-INDEPENDENT-SEGMENTS\n";
  out += fmt::format("#EXT-X-CONTENT-STEERING:SERVER-URI=\"{}{}\",PATHWAY-ID=\"{}\"\n", prefix, path_of(steering_address{viewer, log.stream}), primary_pathway);
  for (bool backup : {false, true})
    for (auto* r : rungs) {
      out += fmt::format("#EXT-X-STREAM-INF:BANDWIDTH={},AVERAGE-BANDWIDTH={},CODECS=\"{}\"", r->peak.bits_per_second, r->average.bits_per_second, r->info.codecs);
      if (r->info.width > 0)
        out += fmt::format(",RESOLUTION={}x{},FRAME-RATE={}", r->info.width, r->info.height, decimal(r->info.fps_milli));
      viewer.backup = backup;
      out += fmt::format(",PATHWAY-ID=\"{}\",STABLE-VARIANT-ID=\"{}\"\n{}{}\n", backup ? backup_pathway : primary_pathway, r->info.name, prefix,
                         path_of(playlist_address{viewer, log.stream, log.instance, r->info.name}));
    }
  return out;
}

std::string steering_manifest(const steering_address& at, std::chrono::seconds ttl, bool prefer_backup, std::string_view prefix) {
  return fmt::format(R"({{"VERSION":1,"TTL":{},"RELOAD-URI":"{}{}","PATHWAY-PRIORITY":["{}","{}"]}})", ttl.count(), prefix, path_of(at),
                     prefer_backup ? backup_pathway : primary_pathway, prefer_backup ? primary_pathway : backup_pathway);
}

expected<std::size_t> rung_index(const stream_log& log, std::string_view rung) {
  auto found = std::find_if(log.rungs.begin(), log.rungs.end(), [&](auto& r) { return r.info.name == rung; });
  if (found == log.rungs.end() || log.entries.empty())
    return fail(error_code::not_found, fmt::format("stream {} has no rung {:?} to play", log.stream, rung));
  return static_cast<std::size_t>(found - log.rungs.begin());
}

prepared_playlist::prepared_playlist(const stream_log& log, std::size_t rung)
    : last_msn_(log.entries.back().msn), version_(log.version), ended_(log.ended), changed_(log.changed), target_(log.target) {
  auto& front = log.entries.front();
  // The numbers of hls.md 3 P8: a discontinuity that is still listed counts by its own tag.
  text_ = fmt::format("#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:{}\n#EXT-X-MEDIA-SEQUENCE:{}\n#EXT-X-DISCONTINUITY-SEQUENCE:{}\n"
                      "#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-SERVER-CONTROL:HOLD-BACK={}\n",
                      log.target.count() / 1000, front.msn, front.dsn - (front.discontinuity ? 1 : 0), decimal(log.hold_back.count()));
  auto& name = log.rungs[rung].info.name;
  auto host_goes_here = [&](edge_epoch edges) {
    if (entries_.empty())
      head_ = text_.size();
    else
      entries_.back().size = text_.size() - entries_.back().begin;
    entries_.push_back({edges, text_.size(), 0});
  };
  std::pair<lease_epoch, edge_epoch> map{}; ///< in force, and the edges that it is named on
  auto name_map = [&](const log_entry& of) {
    if (of.map == 0 || map == std::pair{of.map, of.edges})
      return;
    map = {of.map, of.edges};
    text_ += "#EXT-X-MAP:URI=\"";
    host_goes_here(of.edges);
    text_ += path_of(segment_address{log.stream, log.instance, of.map, name, 0, segment_kind::map});
    text_ += "\"\n";
  };
  for (auto& e : log.entries) {
    if (e.discontinuity) {
      text_ += "#EXT-X-DISCONTINUITY\n";
      map = {};
    }
    // Not for a gap: nobody fetches it, and a rung that came later has no map of that time. But a window that begins with gaps begins with the map of what
    // follows them: players take a playlist for what its beginning says.
    if (!e.gap(rung))
      name_map(e);
    else if (&e == &front)
      if (auto first = std::ranges::find_if(log.entries, [&](auto& f) { return !f.gap(rung); }); first != log.entries.end())
        name_map(*first);
    text_ += fmt::format("#EXT-X-PROGRAM-DATE-TIME:{}\n", to_rfc3339(e.time));
    if (e.gap(rung))
      text_ += "#EXT-X-GAP\n";
    text_ += fmt::format("#EXTINF:{},\n", seconds_of(e.duration(rung)));
    host_goes_here(e.edges);
    text_ += path_of(segment_address{log.stream, log.instance, e.epoch, name, e.msn, e.map != 0 ? segment_kind::fmp4 : segment_kind::ts});
    text_ += '\n';
  }
  entries_.back().size = text_.size() - entries_.back().begin;
  tail_ = text_.size();
  if (log.ended)
    text_ += "#EXT-X-ENDLIST\n";
}

} // namespace weir::hls
