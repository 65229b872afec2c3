// What a writer says of parts is refused, or it is listed such that whoever gets the log believes it, and playlists can be rendered of it.
// A line is what the header Weir-Part says; one that begins with "=" ends the segment of the given slot in all rungs, one with "+" is of another set of edges.
#include "runtime/describe/decode.hpp"
#include "runtime/hls/live_parts.hpp"
#include "runtime/hls/log_news.hpp"
#include "runtime/hls/playlist.hpp"

#include <charconv>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace weir;
  using namespace weir::hls;
  std::string_view text{reinterpret_cast<const char*>(data), size};
  auto now = timestamp{} + std::chrono::hours(24 * 365 * 56);
  segment_log log("show");
  live_parts parts;
  stream_log shown;
  edge_epoch edges = 1;
  const std::vector<rung_info> rungs{{"a", 640, 360, 25'000, "avc1.64001f", {1'000'000}}, {"b", 320, 180, 25'000, "avc1.64001f", {400'000}}};
  auto timing = timing_of(hls_profile::low_latency);
  timing.part = std::chrono::seconds(1);
  if (!log.begin_writer(1, "fuzz", rungs, timing, false, "maps"))
    std::abort();
  log.maps_stored(1, log.instance());
  auto end_slot = [&](std::uint64_t slot) {
    now += std::chrono::seconds(4);
    for (auto& r : rungs)
      log.offer(1, {r.name, slot, static_cast<std::int64_t>(slot % 1'000'000) * 360'000, 360'000, true, false, now - std::chrono::seconds(4), 1000}, edges, now);
    shown = log.snapshot();
    parts.fill(shown, log, edges, now);
  };
  for (std::uint64_t slot = 0; slot < 4; ++slot)
    end_slot(slot);
  for (int lines = 0; !text.empty() && lines < 400; ++lines) {
    auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (line.starts_with('+')) {
      ++edges;
    } else if (line.starts_with('=')) {
      std::uint64_t slot = 0;
      std::from_chars(line.data() + 1, line.data() + line.size(), slot);
      end_slot(slot);
    } else if (auto info = describe::from_json<part_info>(line)) {
      auto place = parts.locate(1, *info, log, shown.entries.back().msn + 1);
      if (!place || !*place)
        continue;
      parts.enter(**place, *info);
      parts.fill(shown, log, edges, now);
    }
    log_news news("boot");
    news.add(shown);
    const auto read = parse_log_page(news.page({}, now));
    if (!read || read->logs.size() != 1 || read->logs[0] != shown)
      std::abort();
    for (std::size_t rung = 0; rung < shown.rungs.size(); ++rung)
      for (bool skip : {false, true}) {
        prepared_playlist playlist(shown, rung, skip);
        if (playlist.text(0, [](edge_epoch) { return std::string_view("http://e"); }).find("EXT-X-MEDIA-SEQUENCE") == std::string::npos || !playlist.reached(playlist.last_msn(), {}))
          std::abort();
      }
  }
  return 0;
}
