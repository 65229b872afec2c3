#pragma once
// A simulated writer of parts: TD 4 s, parts of 1 s, fragmented MP4. What it makes is shown at once, as if every log were saved in no time.
#include "runtime/hls/live_parts.hpp"
#include "tests/unit/hls/writer.hpp"

namespace weir::hls {

inline part_info make_part(std::string rung, std::uint64_t slot, std::uint32_t part, timestamp captured, std::uint32_t of = 4, std::int64_t duration = 90'000) {
  part_info p;
  p.rung = std::move(rung);
  p.slot = slot;
  p.part = part;
  p.first_pts = static_cast<std::int64_t>(slot * 360'000) + part * 90'000;
  p.duration = duration;
  p.independent = part % 2 == 0;
  p.last = part + 1 == of;
  p.captured = captured;
  p.bytes = 300'000;
  return p;
}

struct part_bench : bench {
  live_parts parts;
  stream_log shown;

  explicit part_bench(std::chrono::milliseconds target = 1s) : bench("m1", target) {}

  std::uint64_t undecided() const { return shown.entries.empty() ? 0 : shown.entries.back().msn + 1; }
  expected<std::optional<part_place>> part(lease_epoch epoch, const part_info& p) {
    auto place = parts.locate(epoch, p, log, undecided());
    if (place && *place) {
      parts.enter(**place, p);
      if (!shown.stream.empty())
        parts.fill(shown, log, edges, now);
    }
    return place;
  }
  /// A part of a segment that began when the one before it ended.
  expected<std::optional<part_place>> part(lease_epoch epoch, std::string rung, std::uint64_t slot, std::uint32_t k) {
    return part(epoch, make_part(std::move(rung), slot, k, start_time + static_cast<std::int64_t>(slot) * 4s));
  }
  void both(lease_epoch epoch, std::uint64_t slot, std::uint32_t k) {
    EXPECT_TRUE(part(epoch, "720p", slot, k));
    EXPECT_TRUE(part(epoch, "360p", slot, k));
  }
  /// The log was saved.
  void show() {
    shown = log.snapshot();
    parts.fill(shown, log, edges, now);
  }
  /// A segment and its parts, in time.
  void live_slot(lease_epoch epoch, std::uint64_t n, std::uint32_t of = 4) {
    for (std::uint32_t k = 0; k < of; ++k)
      both(epoch, n, k);
    segment(epoch, n);
  }
  void segment(lease_epoch epoch, std::uint64_t n) {
    now = start_time + static_cast<std::int64_t>(n + 1) * 4s;
    offer(epoch, "720p", n);
    offer(epoch, "360p", n);
    show();
  }
  void live_slots(lease_epoch epoch, std::uint64_t from, std::uint64_t to) {
    for (auto n = from; n <= to; ++n)
      live_slot(epoch, n);
  }
  std::string listed() const {
    std::string out;
    for (auto& p : shown.parts)
      out += fmt::format("{}.{} ", p.msn, p.part);
    return out;
  }
  std::string text(std::size_t rung = 0, bool skip = false) const {
    return prepared_playlist(shown, rung, skip).text(1, [](edge_epoch e, std::uint32_t width) { return width > 0 ? std::string_view("http://c") : e == 1 ? std::string_view("http://a") : std::string_view("http://b"); });
  }
};

} // namespace weir::hls
