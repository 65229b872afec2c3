#pragma once
// A simulated writer and helpers for tests of the segment log.
#include "runtime/hls/linter.hpp"
#include "runtime/hls/playlist.hpp"
#include "runtime/hls/segment_log.hpp"

#include <fmt/format.h>

namespace weir::hls {

using namespace std::chrono_literals;

inline const timestamp start_time = parse_rfc3339("2026-11-22T12:00:00Z").value();

inline rung_info make_rung(std::string name, std::uint32_t height, std::int64_t rate) {
  return {std::move(name), height * 16 / 9, height, 25'000, "avc1.64001f,mp4a.40.2", {rate}};
}

inline std::vector<rung_info> two_rungs() { return {make_rung("720p", 720, 3'000'000), make_rung("360p", 360, 800'000)}; }

inline segment_info make_segment(std::string rung, std::uint64_t slot, timestamp captured, std::chrono::milliseconds duration = 4s) {
  segment_info s;
  s.rung = std::move(rung);
  s.slot = slot;
  s.first_pts = static_cast<std::int64_t>(slot * 360'000); // may wrap for nonsense
  s.duration = duration.count() * 90;
  s.captured = captured;
  s.bytes = s.rung == "360p" ? 400'000 : 1'500'000; // at 4 s what two_rungs() says
  return s;
}

inline std::string edge_url(edge_epoch epoch, viewer_key v, std::uint32_t width = 0) {
  return fmt::format("http://edge{}:80", (v.bucket + epoch * 7 + width * 3 + (v.backup ? 1 : 0)) % 5);
}

inline std::string render(const stream_log& log, std::size_t rung, viewer_key v) {
  std::map<std::pair<edge_epoch, std::uint32_t>, std::string> urls;
  return prepared_playlist(log, rung).text(v.joined, [&](edge_epoch e, std::uint32_t width) { return std::string_view(urls[{e, width}] = edge_url(e, v, width)); }, {}, v.width);
}

inline std::string show(const std::vector<finding>& all) {
  std::string out;
  for (auto& f : all)
    out += fmt::format("{} {}: {}\n", f.rule, f.url, f.text);
  return out;
}

/// A log at TD 4 s that both rungs are offered to on time.
struct bench {
  segment_log log{"show"};
  timestamp now = start_time;
  edge_epoch edges = 1;
  hls_timing timing = timing_of(hls_profile::quick);

  bench() { begin(1, "pub1"); }
  explicit bench(log_options options) : log("show", options) { begin(1, "pub1"); }
  explicit bench(std::string_view maps, std::chrono::milliseconds part = 0ms) {
    timing.part = part;
    begin_with_maps(1, "pub1", maps);
  }
  void begin(lease_epoch epoch, std::string_view publication) {
    auto begun = log.begin_writer(epoch, publication, two_rungs(), timing);
    if (!begun)
      throw std::runtime_error(begun.error().text);
  }
  /// Of fragmented MP4: its maps are stored at once where the log wants them.
  void begin_with_maps(lease_epoch epoch, std::string_view publication, std::string_view digest, std::vector<rung_info> rungs = two_rungs(), bool standby = false) {
    auto begun = log.begin_writer(epoch, publication, std::move(rungs), timing, standby, digest);
    if (!begun)
      throw std::runtime_error(begun.error().text);
    if (log.lacks_maps(epoch, log.instance()))
      log.maps_stored(epoch, log.instance());
  }
  offer_result offer(lease_epoch epoch, std::string rung, std::uint64_t slot) { return log.offer(epoch, make_segment(std::move(rung), slot, now - 4s), edges, now); }
  void slot(lease_epoch epoch, std::uint64_t n) {
    now += 4s;
    offer(epoch, "720p", n);
    offer(epoch, "360p", n);
  }
  void slots(lease_epoch epoch, std::uint64_t from, std::uint64_t to) {
    for (auto n = from; n <= to; ++n)
      slot(epoch, n);
  }
};

} // namespace weir::hls
