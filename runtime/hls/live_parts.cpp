#include "runtime/hls/live_parts.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace weir::hls {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

namespace {

constexpr std::size_t segment_limit = 64;                 ///< three target durations have fewer
constexpr std::uint64_t most_ahead = 2;                   ///< segments whose parts come before the log has the ones in front of them
constexpr std::int64_t pts_limit = std::int64_t{1} << 48; ///< as segment_log's

constexpr std::int64_t ticks(milliseconds d) { return d.count() * 90; }

std::uint32_t active_rungs(const stream_log& log) {
  std::uint32_t mask = 0;
  for (std::size_t i = 0; i < log.rungs.size(); ++i)
    mask |= log.rungs[i].active ? 1U << i : 0;
  return mask;
}

const log_entry* entry_of(const stream_log& log, std::uint64_t msn) {
  if (log.entries.empty() || msn < log.entries.front().msn || msn > log.entries.back().msn)
    return nullptr;
  return &log.entries[msn - log.entries.front().msn];
}

} // namespace

expected<std::optional<part_place>> live_parts::locate(lease_epoch epoch, const part_info& part, const segment_log& log, std::uint64_t undecided) const {
  auto refuse = [&](error_code code, std::string_view why) {
    return fail(code, fmt::format("part {} of slot {} in rung {:?}: {}", part.part, part.slot, part.rung.substr(0, 32), why));
  };
  const auto target = log.part_target_of(epoch);
  if (!target)
    return epoch < log.epoch() ? refuse(error_code::conflict, "another writer has taken over") : refuse(error_code::not_found, "its writer is not known");
  if (*target == 0ms)
    return refuse(error_code::unsupported, "its writer has said that it makes no parts");
  if (!is_address_word(part.rung, 16) || part.part >= parts_of_a_segment || part.duration <= 0 || part.duration > ticks(*target) || part.first_pts <= -pts_limit ||
      part.first_pts >= pts_limit || part.bytes == 0)
    return refuse(error_code::invalid_input, "a number that cannot be");
  auto msn = log.msn_of(epoch, part.slot);
  if (!msn)
    return refuse(error_code::conflict, "its writer is not in charge, or the slot is far from what is listed");
  if (*msn < undecided)
    return refuse(error_code::conflict, "its segment is listed already");
  if (*msn > log.next_msn() + most_ahead)
    return refuse(error_code::conflict, "what is before it has not come");
  if (part.discontinuity)
    return std::nullopt;
  auto known = segments_.find(*msn);
  if (known != segments_.end()) {
    auto& s = known->second;
    const bool same = s.epoch == epoch && s.slot == part.slot;
    if (!same && (s.listed > 0 || s.epoch == epoch)) // an address has one content for ever
      return refuse(error_code::conflict, "its number was another segment's");
    if (same && part.part < s.parts.size()) {
      auto& rungs = s.parts[part.part];
      if (rungs.contains(part.rung))
        return refuse(error_code::already_exists, "it is there");
      if (part.part < s.listed || rungs.size() == max_rungs)
        return refuse(error_code::conflict, "it is listed without this rung already");
    }
  }
  return part_place{log.instance(), epoch, part.rung, *msn, part.part};
}

void live_parts::enter(const part_place& place, const part_info& part) {
  auto& s = segments_[place.msn];
  if (s.epoch != place.epoch)
    s = {.instance = place.instance, .epoch = place.epoch, .slot = part.slot, .first = {}, .parts = {}};
  if (part.part == 0 && s.first.rung.empty())
    s.first = part;
  if (s.parts.size() <= part.part)
    s.parts.resize(part.part + 1);
  s.parts[part.part].emplace(part.rung, arrival{part.duration, part.independent, part.last});
  if (segments_.size() > segment_limit) // nothing is shown
    segments_.erase(segments_.begin());
}

/// Parts from the first one on that all active rungs have.
std::size_t live_parts::ready(const segment& s, const stream_log& shown) const {
  if (active_rungs(shown) == 0)
    return 0;
  auto all_there = [&](const rungs_of_part& there) { return std::ranges::all_of(shown.rungs, [&](auto& r) { return !r.active || there.contains(r.info.name); }); };
  return std::max(s.listed, static_cast<std::size_t>(std::ranges::find_if_not(s.parts, all_there) - s.parts.begin()));
}

bool live_parts::complete(const segment& s, std::size_t parts) const {
  return parts > 0 && std::ranges::any_of(s.parts[parts - 1], [](auto& r) { return r.second.last; });
}

/// Whose entry is listed gets no further parts. If all are there now, those that nobody has seen are listed together with it; else it stays with those that somebody
/// has: that is less than the segment has, but nothing is taken back.
void live_parts::close(const stream_log& shown) {
  for (auto& [msn, s] : segments_) {
    if (msn > shown.entries.back().msn || s.closed)
      continue;
    s.closed = true;
    auto* e = entry_of(shown, msn);
    if (e == nullptr || e->epoch != s.epoch || e->discontinuity || s.instance != shown.instance)
      s.listed = 0;
    else if (auto parts = ready(s, shown); complete(s, parts))
      s.listed = parts;
  }
  std::erase_if(segments_, [&](auto& one) { return one.second.instance < shown.instance || (one.second.closed && one.second.listed == 0); });
}

/// Further from the end than three target durations.
void live_parts::drop(const stream_log& shown) {
  std::int64_t behind = 0;
  if (auto open = segments_.find(shown.open.msn); shown.open.epoch != 0 && open != segments_.end())
    for (std::size_t k = 0; k < open->second.listed; ++k)
      behind += open->second.parts[k].begin()->second.duration;
  for (auto e = shown.entries.rbegin(); e != shown.entries.rend() && behind <= ticks(3 * shown.target); ++e)
    if (behind += e->duration(0); behind > ticks(3 * shown.target))
      return void(segments_.erase(segments_.begin(), segments_.lower_bound(e->msn)));
}

void live_parts::open(stream_log& shown, segment_log& log, edge_epoch edges, timestamp now) {
  auto& newest = shown.entries.back();
  const auto msn = newest.msn + 1;
  const auto active = active_rungs(shown);
  if (shown.ended || log.instance() != shown.instance || active == 0 || (newest.gaps & active) != 0)
    return;
  auto known = segments_.find(msn);
  auto* s = known != segments_.end() ? &known->second : nullptr;
  const bool ours = s != nullptr && s->epoch == newest.epoch && (log.next_msn() != msn || log.msn_of(s->epoch, s->slot) == msn);
  // The log may have gone on with another writer, of which viewers have still to hear: what they see stays until then, and nothing is promised.
  auto keep = [&] {
    if (s == nullptr || s->listed == 0 || shown_open_.msn != msn || shown_open_.epoch != s->epoch || s->epoch != newest.epoch)
      return;
    shown.open = shown_open_;
    shown.open.hint_msn = 0;
    shown.open.hint_part = 0;
    shown.open.hint_edges = 0;
    shown.open.hint_width = 0;
  };
  if (s != nullptr && !ours)
    return keep();
  const auto parts = s != nullptr && !s->parts.empty() ? ready(*s, shown) : 0;
  auto promised = log.pin(msn, newest.epoch, edges, active, parts > 0 ? &s->first : nullptr, now);
  if (!promised)
    return keep();
  shown.open = {.msn = msn, .epoch = newest.epoch, .edges = promised->edges, .map = promised->map, .time = parts > 0 ? promised->time : timestamp{},
                .hint_msn = msn, .hint_part = static_cast<std::uint32_t>(parts), .hint_edges = promised->edges,
                .width = promised->width, .hint_width = promised->width};
  if (parts == 0)
    return;
  s->listed = parts;
  if (!complete(*s, parts))
    return;
  auto next = log.pin(msn + 1, newest.epoch, edges, active, nullptr, now);
  shown.open.hint_msn = next ? msn + 1 : 0;
  shown.open.hint_part = 0;
  shown.open.hint_edges = next ? next->edges : 0;
  shown.open.hint_width = next ? next->width : 0;
}

void live_parts::list(stream_log& shown) const {
  for (auto& [msn, s] : segments_) {
    if (!s.closed && (shown.open.epoch == 0 || msn != shown.open.msn))
      continue;
    for (std::size_t k = 0; k < s.listed && shown.parts.size() < parts_of_a_log; ++k) {
      auto& rungs = s.parts[k];
      log_part p{.msn = msn, .part = static_cast<std::uint32_t>(k), .durations = {}, .gaps = 0,
                 .independent = std::ranges::all_of(rungs, [](auto& r) { return r.second.independent; })};
      for (std::size_t i = 0; i < shown.rungs.size(); ++i) {
        auto there = rungs.find(shown.rungs[i].info.name);
        p.durations.push_back((there != rungs.end() ? there : rungs.begin())->second.duration);
        p.gaps |= there == rungs.end() ? 1U << i : 0;
      }
      if (std::ranges::all_of(p.durations, [&](auto d) { return d == p.durations.front(); }))
        p.durations.resize(1);
      shown.parts.push_back(std::move(p));
    }
  }
}

bool live_parts::fill(stream_log& shown, segment_log& log, edge_epoch edges, timestamp now) {
  shown.parts.clear();
  shown.open = {};
  // Numbers move when the clock has filled a place that a segment came for after all: what was to be there is now of another segment.
  std::erase_if(segments_, [&](auto& one) {
    auto& [msn, s] = one;
    return !s.closed && s.listed == 0 && s.instance == log.instance() && s.epoch == log.epoch() && log.msn_of(s.epoch, s.slot) != msn;
  });
  if (!shown.entries.empty() && !shown.ended) { // of a stream that is over segments have it all
    close(shown);
    if (shown.part_target > 0ms)
      open(shown, log, edges, now);
    drop(shown);
    list(shown);
  }
  const bool changed = shown.parts != shown_parts_ || !(shown.open == shown_open_);
  if (changed) // a start after this one is later, and so are its numbers
    version_ = std::max(version_ + 1, static_cast<std::uint64_t>(std::chrono::duration_cast<milliseconds>(now.time_since_epoch()).count()));
  shown_parts_ = shown.parts;
  shown_open_ = shown.open;
  shown.parts_version = version_;
  return changed;
}

} // namespace weir::hls
