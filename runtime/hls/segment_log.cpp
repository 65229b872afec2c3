#include "runtime/hls/segment_log.hpp"

#include "runtime/hls/addresses.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace weir::hls {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

namespace {

constexpr std::uint64_t number_limit = std::uint64_t{1} << 62; ///< slots, MSNs, epochs: far from any wrap
constexpr std::int64_t pts_limit = std::int64_t{1} << 48;      ///< 99 years of 90 kHz: as nanoseconds they still add up
constexpr std::uint64_t bytes_limit = std::uint64_t{1} << 32;
constexpr std::int64_t fill_limit = 64;                        ///< more missing slots than that are a new time line
constexpr std::uint64_t jump_back = 8;                         ///< slots: rungs of one writer never lie that far apart
constexpr std::size_t writer_limit = 8;
constexpr std::size_t expiring_limit = 4096;
constexpr std::size_t digest_limit = 64;
constexpr std::size_t map_sets_limit = 64;
constexpr std::uint32_t strikes = 3;                           ///< late segments in a row that make a rung failing
constexpr std::size_t aside_limit = 8;                         ///< slots of a standby
constexpr auto other_clock = 2s;                               ///< machines' clocks agree better than that
constexpr auto clock_slack = 100ms;                            ///< media.md 9.3
/// Between two new entries; P6 allows a little more.
constexpr milliseconds longest_pause(milliseconds target) { return 7 * target / 5; }

constexpr std::int64_t ticks(milliseconds d) { return d.count() * 90; }
constexpr std::chrono::microseconds micros(std::int64_t ticks) { return std::chrono::microseconds{ticks * 100 / 9}; }

bool printable(std::string_view text, std::size_t limit) {
  return text.size() <= limit && std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~' && c != '"'; });
}

bool plausible(const rung_info& r) {
  return is_address_word(r.name, 16) && r.width <= 16384 && r.height <= 16384 && (r.width == 0) == (r.height == 0) && r.fps_milli >= 0 &&
         r.fps_milli <= 1'000'000 && !r.codecs.empty() && printable(r.codecs, 200) && r.nominal.bits_per_second >= 0 &&
         r.nominal.bits_per_second <= 1'000'000'000'000 && is_language(r.language) && (r.rendition ? r.width == 0 : r.language.empty());
}

/// At most one rendition, for rungs that have pictures alone.
bool fit_together(const std::vector<rung_info>& rungs) {
  const auto renditions = std::count_if(rungs.begin(), rungs.end(), [](auto& r) { return r.rendition; });
  return renditions == 0 || (renditions == 1 && rungs.size() > 1 && std::all_of(rungs.begin(), rungs.end(), [](auto& r) { return r.rendition || r.width > 0; }));
}

bool plausible(const segment_info& s) {
  return s.slot < number_limit && s.duration > 0 && s.duration < pts_limit && s.first_pts > -pts_limit && s.first_pts < pts_limit && s.bytes > 0 &&
         s.bytes < bytes_limit && is_row_of_keys(s.keys, s.duration, s.bytes);
}

/// Of a first frame that somebody brings now.
bool plausible_time(timestamp captured, timestamp now) { return captured <= now + 1min && captured >= now - 5min; }

bool plausible(const hls_timing& t) {
  return t.target >= 1s && t.target <= 60s && t.target % 1s == 0ms && t.window >= 3 * t.target && t.window <= 24h && t.hold_back >= 3 * t.target &&
         t.hold_back <= t.window && (t.part == 0ms || (t.part >= shortest_part_target && t.part <= t.target));
}

/// Whether a playlist may go on from one to the other: nothing of these may change while anybody loads it (P1, P14, hls.md 6).
bool same_playlist(const hls_timing& a, const hls_timing& b) { return a.target == b.target && a.hold_back == b.hold_back && a.part == b.part; }

} // namespace

bool is_row_of_keys(const std::vector<key_frame>& keys, std::int64_t duration, std::uint64_t bytes) {
  std::uint64_t end = 0;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    auto& k = keys[i];
    const bool follows = i == 0 ? k.time == 0 : k.time > keys[i - 1].time;
    if (!follows || k.time >= duration || k.offset < end || k.bytes == 0 || k.offset >= bytes || k.bytes > bytes - k.offset)
      return false;
    end = k.offset + k.bytes;
  }
  return keys.size() <= segment_keys_limit;
}

bool are_keys_of(const log_entry& e, std::size_t rungs) {
  if (e.keys.size() % 4 != 0 || e.keys.size() > 4 * max_rungs * segment_keys_limit)
    return false;
  std::int64_t before = 0;
  for (std::size_t i = 0; i < e.keys.size(); i += 4) {
    const auto rung = e.keys[i];
    const bool fits = rung >= before && rung < static_cast<std::int64_t>(rungs) && e.keys[i + 2] >= 0 && e.keys[i + 3] >= 0;
    if (!fits || (rung != before && !is_row_of_keys(e.keys_of(static_cast<std::size_t>(before)), e.duration(static_cast<std::size_t>(before)), bytes_limit)) ||
        e.gap(static_cast<std::size_t>(rung)))
      return false;
    before = rung;
  }
  return e.keys.empty() || is_row_of_keys(e.keys_of(static_cast<std::size_t>(before)), e.duration(static_cast<std::size_t>(before)), bytes_limit);
}

error refusal(offer_result why, std::string_view rung, std::uint64_t slot) {
  auto text = fmt::format("segment of slot {} in rung {:?}: {}", slot, rung.substr(0, 32), to_string(why));
  switch (why) {
    case offer_result::fenced: return {error_code::fenced, text};
    case offer_result::unknown_writer: return {error_code::not_found, text};
    case offer_result::duplicate: return {error_code::already_exists, text};
    case offer_result::ended: return {error_code::source_ended, text};
    case offer_result::too_late:
    case offer_result::too_far: return {error_code::conflict, text};
    default: return {error_code::invalid_input, text};
  }
}

segment_log::segment_log(std::string stream, log_options options) : stream_(std::move(stream)), options_(options) {}

expected<void> segment_log::begin_writer(lease_epoch epoch, std::string_view publication, std::vector<rung_info> rungs, hls_timing timing, bool standby,
                                         std::string_view maps) {
  // A writer that has to begin again does not come before a standby that is as far as the playlist.
  const bool overtaken = !standby && epoch != writer_epoch_ && epoch < standby_epoch_ && standby_slot_ + 1 >= next_slot_;
  if (epoch < writer_epoch_ || overtaken) {
    ++fenced_;
    return fail(error_code::fenced, fmt::format("writer of stream {} has epoch {}, epoch {} has taken over", stream_, epoch, std::max(writer_epoch_, overtaken ? standby_epoch_ : 0)));
  }
  if (epoch == 0 || epoch >= number_limit || publication.empty() || !printable(publication, 256))
    return fail(error_code::invalid_input, fmt::format("writer of stream {}: epoch {} or its publication's name cannot be", stream_, epoch));
  if (!plausible(timing))
    return fail(error_code::invalid_input, fmt::format("writer of stream {}: target {}, window {} and parts of {} do not make a playlist", stream_, to_string(timing.target), to_string(timing.window), to_string(timing.part)));
  if (rungs.empty() || rungs.size() > max_rungs || !std::all_of(rungs.begin(), rungs.end(), [](auto& r) { return plausible(r); }))
    return fail(error_code::invalid_input, fmt::format("writer of stream {}: 1 to {} rungs with name, size and codecs are needed", stream_, max_rungs));
  if (!fit_together(rungs))
    return fail(error_code::invalid_input, fmt::format("writer of stream {}: one rendition of sound at most, and beside it rungs with pictures", stream_));
  for (std::size_t i = 0; i < rungs.size(); ++i)
    for (std::size_t k = 0; k < i; ++k)
      if (rungs[i].name == rungs[k].name)
        return fail(error_code::invalid_input, fmt::format("writer of stream {}: rung {} is there twice", stream_, rungs[i].name));
  if (!printable(maps, digest_limit))
    return fail(error_code::invalid_input, fmt::format("writer of stream {}: the digest of its maps cannot be", stream_));
  auto known_as = announced_.find(epoch);
  if ((known_as != announced_.end() && known_as->second.maps != maps) || std::any_of(maps_.begin(), maps_.end(), [&](auto& m) { return m.epoch == epoch && m.digest != maps; }))
    return fail(error_code::conflict, fmt::format("writer of stream {} changes its maps within epoch {}", stream_, epoch));
  if (ended_ && epoch == writer_epoch_) // it goes on although the stream was taken for over: its next segment begins anew
    publication_.clear();
  bool same_run = begun_ && epoch == writer_epoch_ && publication == publication_;
  if (same_run) {
    auto& now_known = announced_.at(epoch);
    // Saved by a Weir that did not keep it; or announced to an origin that takes no parts any more.
    if (timing_.part == 0ms)
      timing_.part = timing.part;
    else if (timing.part == 0ms)
      timing.part = timing_.part;
    bool same_names = rungs.size() == now_known.rungs.size() && std::all_of(rungs.begin(), rungs.end(), [&](auto& r) {
      return std::any_of(now_known.rungs.begin(), now_known.rungs.end(), [&](auto& k) { return k.name == r.name; });
    });
    if (!same_names || !same_playlist(timing, timing_))
      return fail(error_code::conflict, fmt::format("writer of stream {} changes its ladder within epoch {}", stream_, epoch));
    for (auto& r : rungs)
      for (auto& known : rungs_)
        if (known.info.name == r.name && known.active)
          known.info = r;
  }
  announced_[epoch] = writer{std::string(publication), std::move(rungs), timing, standby && epoch != writer_epoch_, std::string(maps)};
  while (announced_.size() > writer_limit) // the oldest that is not in charge
    announced_.erase(announced_.begin()->first == writer_epoch_ ? std::next(announced_.begin()) : announced_.begin());
  ++version_;
  return {};
}

std::optional<std::chrono::milliseconds> segment_log::part_target_of(lease_epoch epoch) const {
  auto w = announced_.find(epoch);
  return w == announced_.end() ? std::nullopt : std::optional(w->second.timing.part);
}

tl::expected<segment_place, offer_result> segment_log::locate(lease_epoch epoch, const segment_info& segment, timestamp now) const {
  return plan_of(epoch, segment, now).map([&](const plan& p) {
    return segment_place{p.instance, epoch, segment.rung, p.msn, announced_.at(epoch).maps.empty() ? segment_kind::ts : segment_kind::fmp4};
  });
}

/// The epoch whose maps serve this writer's segments.
lease_epoch segment_log::map_of(const writer& w, lease_epoch epoch, std::uint64_t instance) const {
  if (w.maps.empty())
    return 0;
  auto* in_force = map_ != 0 && instance == instance_ ? stored_maps(map_, instance_) : nullptr;
  return in_force != nullptr && in_force->digest == w.maps ? map_ : epoch;
}

const segment_log::map_set* segment_log::stored_maps(lease_epoch epoch, std::uint64_t instance) const {
  auto found = std::find_if(maps_.begin(), maps_.end(), [&](auto& m) { return m.epoch == epoch && m.instance == instance; });
  return found == maps_.end() ? nullptr : &*found;
}

lease_epoch segment_log::maps_of(lease_epoch epoch, std::uint64_t instance) const {
  auto w = announced_.find(epoch);
  return w == announced_.end() ? 0 : map_of(w->second, epoch, instance);
}

bool segment_log::lacks_maps(lease_epoch epoch, std::uint64_t instance) const {
  auto needed = maps_of(epoch, instance);
  return needed != 0 && stored_maps(needed, instance) == nullptr;
}

void segment_log::maps_stored(lease_epoch epoch, std::uint64_t instance) {
  auto w = announced_.find(epoch);
  if (w == announced_.end() || w->second.maps.empty() || stored_maps(epoch, instance) != nullptr)
    return;
  map_set stored{instance, epoch, w->second.maps, {}};
  for (auto& r : w->second.rungs)
    stored.rungs.push_back(r.name);
  std::erase_if(expiring_, [&](auto& e) { return e.place.kind == segment_kind::map && e.place.epoch == epoch && e.place.instance == instance; });
  // Writers that come one after the other and bring no segment: nothing is listed that would make room, and no player has heard of these maps.
  if (maps_.size() >= map_sets_limit)
    std::erase_if(maps_, [&](auto& m) {
      const bool gone = ahead(m) && !announced_.contains(m.epoch);
      if (gone)
        expire(m, 0ms, {});
      return gone;
    });
  maps_.push_back(std::move(stored));
  ++version_;
}

std::vector<segment_place> segment_log::maps() const {
  std::vector<segment_place> places;
  for (auto& m : maps_)
    if (m.instance >= instance_)
      for (auto& rung : m.rungs)
        places.push_back({m.instance, m.epoch, rung, 0, segment_kind::map});
  return places;
}

/// Of a writer that has not taken over, or of the instance that the next one begins.
bool segment_log::ahead(const map_set& maps) const { return maps.epoch > writer_epoch_ || maps.instance > instance_; }

void segment_log::expire(const map_set& maps, milliseconds keep, timestamp now) {
  for (auto& rung : maps.rungs)
    expiring_.push_back({{maps.instance, maps.epoch, rung, 0, segment_kind::map}, now + keep});
}

/// Those that no entry names and no writer can come to need any more. To be called whenever an entry went, with what that was kept for.
void segment_log::drop_maps(milliseconds keep, timestamp now) {
  const bool many = maps_.size() > map_sets_limit;
  std::erase_if(maps_, [&](auto& m) {
    // Writers that may still take over are not all known after a restart.
    const bool may_come = ahead(m) && (!many || announced_.contains(m.epoch));
    const bool needed = may_come || (m.instance == instance_ && m.epoch == map_) ||
                        (m.instance == instance_ && std::any_of(entries_.begin(), entries_.end(), [&](auto& e) { return e.map == m.epoch; }));
    if (!needed)
      expire(m, keep, now);
    return !needed;
  });
}

tl::expected<segment_log::plan, offer_result> segment_log::plan_of(lease_epoch epoch, const segment_info& segment, timestamp now) const {
  auto refuse = [](offer_result r) { return tl::unexpected<offer_result>(r); };
  if (epoch < writer_epoch_)
    return refuse(offer_result::fenced);
  auto found = announced_.find(epoch);
  if (found == announced_.end())
    return refuse(offer_result::unknown_writer);
  auto& w = found->second;
  auto rung = std::find_if(w.rungs.begin(), w.rungs.end(), [&](auto& r) { return r.name == segment.rung; });
  if (rung == w.rungs.end())
    return refuse(offer_result::unknown_rung);
  if (!plausible(segment))
    return refuse(offer_result::malformed);
  if (segment.duration >= ticks(w.timing.target + 500ms))
    return refuse(offer_result::too_long);
  if (msn_after_waiting() >= number_limit)
    return refuse(offer_result::malformed);

  bool new_run = !begun_ || epoch != writer_epoch_ || w.publication != publication_;
  if (!new_run) {
    if (ended_)
      return refuse(offer_result::ended);
    auto known = std::find_if(rungs_.begin(), rungs_.end(), [&](auto& r) { return r.info.name == segment.rung; });
    return plan_in_run(static_cast<std::size_t>(known - rungs_.begin()), segment, now);
  }
  auto fresh = plan{seam::new_offset, 0, instance_, msn_after_waiting()};
  if (!begun_)
    return fresh;
  if (stands_by(w)) {
    const auto msn = segment.slot + offset_;
    const auto ahead = static_cast<std::int64_t>(msn - next_msn_);
    if (!on_our_clock(segment)) { // nothing that could stand beside the other's; it begins anew when that one is gone
      if (!silent(now))
        return refuse(offer_result::duplicate);
      return fresh;
    }
    if (ahead < 0)
      return refuse(offer_result::duplicate); // listed already
    if (ahead > fill_limit)
      return refuse(offer_result::too_far);
    auto index = static_cast<std::size_t>(std::find_if(rungs_.begin(), rungs_.end(), [&](auto& r) { return r.info.name == segment.rung; }) - rungs_.begin());
    if (auto known = aside_.find(segment.slot); known != aside_.end() && epoch == standby_epoch_ && known->second.rungs.contains(index))
      return refuse(offer_result::duplicate);
    return plan{seam::aside, index, instance_, msn};
  }
  if (ended_ || !same_playlist(w.timing, timing_) || w.maps.empty() != (map_ == 0) || moves_sound(w)) {
    fresh.kind = seam::new_instance;
    fresh.instance = instance_ + 1;
    return fresh;
  }
  auto ahead = static_cast<std::int64_t>(segment.slot + offset_ - next_msn_);
  if (w.publication == publication_ && ahead >= 0 && ahead <= fill_limit && on_our_clock(segment))
    return plan{seam::same_offset, 0, instance_, segment.slot + offset_};
  return fresh;
}

tl::expected<segment_log::plan, offer_result> segment_log::plan_in_run(std::size_t rung, const segment_info& segment, timestamp now) const {
  auto refuse = [](offer_result r) { return tl::unexpected<offer_result>(r); };
  auto fits = plan{seam::none, rung, instance_, segment.slot + offset_};
  auto anew = plan{seam::new_offset, rung, instance_, msn_after_waiting()};
  if (auto w = waiting_.find(segment.slot); w != waiting_.end()) {
    if (w->second.rungs.contains(rung))
      return refuse(offer_result::duplicate);
    if (((w->second.failed >> rung) & 1U) != 0)
      return refuse(offer_result::too_late);
    auto two_pictures = [&](std::size_t of) { return rungs_[of].info.fps_milli > 0 ? 2 * 90'000'000 / rungs_[of].info.fps_milli : std::int64_t{0}; };
    // Sound beside pictures has none of its own: it begins with the slot, and they with the first of them.
    auto beside_sound = [&](std::size_t sound, std::size_t pictures) { return rungs_[sound].info.rendition ? two_pictures(pictures) : 0; };
    for (auto& [other, a] : w->second.rungs)
      if (const auto slack = std::max({ticks(clock_slack), two_pictures(rung), beside_sound(rung, other), beside_sound(other, rung)});
          std::abs(a.duration - segment.duration) > slack || std::abs(a.first_pts - segment.first_pts) > slack)
        return refuse(offer_result::uneven);
    return fits;
  }
  auto ahead = static_cast<std::int64_t>(segment.slot + offset_ - next_msn_);
  if (ahead >= 0) {
    if (ahead <= fill_limit)
      return fits;
    if (segment.discontinuity || silent(now))
      return anew;
    return refuse(offer_result::too_far);
  }
  // Its number is taken. By content or by content's absence: late. By the clock, while the writer was silent: the writer goes on
  // where it stopped (a publisher that paused, a burst after a stall), so nothing is lost but the numbers move.
  if (segment.slot >= next_slot_)
    return waiting_.empty() ? tl::expected<plan, offer_result>(anew) : refuse(offer_result::too_late);
  if (auto* entry = find(segment.slot + offset_); entry != nullptr && entry->dsn == dsn_ && entry->epoch == writer_epoch_ && next_slot_ - segment.slot <= jump_back) {
    if (!entry->gap(rung))
      return refuse(offer_result::duplicate);
    if (entry->gaps != all_rungs())
      return refuse(offer_result::too_late);
  }
  if ((segment.discontinuity && next_slot_ - segment.slot > jump_back) || silent(now))
    return anew;
  return refuse(offer_result::too_late);
}

offer_result segment_log::offer(lease_epoch epoch, const segment_info& segment, edge_epoch edges, timestamp now, log_change* change) {
  auto version = version_;
  auto first_new = next_msn_;
  bool was_open = open_, was_ended = ended_;
  edges_ = std::max(edges_, edges);
  if (auto w = announced_.find(epoch); w != announced_.end() && begun_ && stands_by(w->second) && on_our_clock(segment))
    if (auto known = std::find_if(rungs_.begin(), rungs_.end(), [&](auto& r) { return r.info.name == segment.rung; }); known != rungs_.end())
      hear_standby(epoch, static_cast<std::size_t>(known - rungs_.begin()), segment, now);
  auto how = plan_of(epoch, segment, now);
  if (how && lacks_maps(epoch, how->instance)) // nothing is listed whose map nobody could fetch
    how = tl::unexpected<offer_result>(offer_result::unknown_writer);
  if (how && how->kind == seam::aside) {
    put_aside(epoch, how->rung, segment, now);
  } else if (how) {
    if (how->kind != seam::none)
      take_over(*how, epoch, segment.slot, now);
    auto rung = static_cast<std::size_t>(std::find_if(rungs_.begin(), rungs_.end(), [&](auto& r) { return r.info.name == segment.rung; }) - rungs_.begin());
    enter(waiting_[segment.slot], rung, segment, now);
    last_content_ = now;
    ++version_;
  } else if (how.error() == offer_result::too_long || how.error() == offer_result::uneven) {
    ++refused_;
    mark_failed(epoch, segment, now);
  } else if (how.error() == offer_result::fenced) {
    ++fenced_;
  } else if (how.error() != offer_result::duplicate) {
    ++refused_;
    // A failing rung that is only a little late is on its way back.
    if (how.error() == offer_result::too_late && now - last_listed_ < 2 * timing_.target / 5)
      for (auto& r : rungs_)
        if (r.info.name == segment.rung && r.failing)
          judge(r, true);
  }
  if (begun_ && !ended_)
    decide(now, false);
  if (change != nullptr)
    *change = since(version, first_new, was_open, was_ended);
  return how ? offer_result::accepted : how.error();
}

void segment_log::enter(waiting& w, std::size_t rung, const segment_info& segment, timestamp now) const {
  if (w.rungs.empty()) {
    if (w.failed == 0)
      w.first_seen = now;
    w.first_pts = segment.first_pts;
    // A node whose clock is far off must not date the stream.
    w.captured = plausible_time(segment.captured, now) ? segment.captured : now - micros(segment.duration);
  }
  w.rungs[rung] = arrival{segment.first_pts, segment.duration, segment.bytes, segment.keys};
  w.discontinuity = w.discontinuity || segment.discontinuity;
}

/// Whether the segment's time stamps are of the clock that the playlist follows. The name of a publication does not tell: where it is on two servers, whoever
/// starts at the second one reads another clock than whoever went over to it.
bool segment_log::on_our_clock(const segment_info& segment) const {
  if (!clock_known_)
    return true;
  auto seen = std::chrono::duration_cast<std::chrono::microseconds>(segment.captured.time_since_epoch()) - micros(segment.first_pts);
  return std::chrono::abs(seen - std::chrono::microseconds{clock_}) <= other_clock;
}

/// Whether what this writer brings is to be kept beside what the one in charge does: the same rungs of the same source.
bool segment_log::stands_by(const writer& w) const {
  return w.standby && !ended_ && w.maps.empty() == (map_ == 0) && w.publication == publication_ && same_playlist(w.timing, timing_) &&
         std::all_of(w.rungs.begin(), w.rungs.end(), [&](auto& r) { return std::any_of(rungs_.begin(), rungs_.end(), [&](auto& k) { return k.active && k.info.name == r.name; }); }) &&
         static_cast<std::size_t>(std::count_if(rungs_.begin(), rungs_.end(), [](auto& k) { return k.active; })) == w.rungs.size();
}

/// Whether those who watch would miss the sound from this writer on: they have asked once where it is. Where there was none they miss nothing that they had.
bool segment_log::moves_sound(const writer& w) const {
  const bool there = std::any_of(w.rungs.begin(), w.rungs.end(), [](auto& r) { return r.rendition; });
  const bool here = std::any_of(rungs_.begin(), rungs_.end(), [](auto& r) { return r.active && r.info.rendition; });
  const bool between_pictures = std::any_of(rungs_.begin(), rungs_.end(), [](auto& r) {
    return r.active && r.info.width > 0 && r.info.codecs.find("mp4a") != std::string::npos;
  });
  return here ? !there : there && between_pictures;
}

void segment_log::hear_standby(lease_epoch epoch, std::size_t rung, const segment_info& segment, timestamp now) {
  if (epoch < standby_epoch_)
    return;
  if (epoch != standby_epoch_) {
    drop_aside(number_limit, now);
    standby_epoch_ = epoch;
    standby_slot_ = 0;
    standby_rungs_ = {};
  }
  standby_at_ = now;
  if (partial(segment.duration)) // it began within the slot
    return;
  if (standby_rungs_.first != segment.slot)
    standby_rungs_ = {segment.slot, 0};
  standby_rungs_.second |= 1U << rung;
  bool whole = true;
  for (std::size_t i = 0; i < rungs_.size(); ++i)
    whole = whole && (!rungs_[i].active || rungs_[i].failing || ((standby_rungs_.second >> i) & 1U) != 0);
  if (whole)
    standby_slot_ = std::max(standby_slot_, segment.slot);
}

/// Whether a standby is about to bring this slot. It may be a segment behind: it has started later, on a machine that is as busy.
bool segment_log::standby_follows(std::uint64_t slot, timestamp now) const {
  return standby_epoch_ > writer_epoch_ && standby_slot_ != 0 && standby_slot_ + 2 >= slot && now - standby_at_ < 3 * timing_.target / 2;
}

/// Whether nothing but a frame is missing to the target duration.
bool segment_log::full(std::size_t rung, std::int64_t duration) const {
  const auto fps = rungs_[rung].info.fps_milli;
  return duration + (fps > 0 ? 135'000'000 / fps : ticks(clock_slack)) >= target_ticks();
}

/// Whether that much is missing to the target duration whatever the source is like.
bool segment_log::partial(std::int64_t duration) const { return duration < target_ticks() * 9 / 10; }

/// The first segment of an encoder that began within it.
bool segment_log::begins_within(const waiting& w) const {
  return std::any_of(w.rungs.begin(), w.rungs.end(), [&](auto& r) { return partial(r.second.duration); });
}

/// The last segment of an encoder that was told to end within it. A source whose segments have all been full so far tells by a few frames; one whose
/// pictures come irregularly only by a tenth.
bool segment_log::cut_short(const waiting& w) const {
  if (begins_within(w))
    return true;
  const auto regular = std::min<std::size_t>(entries_.size(), 3);
  if (regular == 0)
    return false;
  return std::any_of(w.rungs.begin(), w.rungs.end(), [&](auto& r) {
    return !full(r.first, r.second.duration) && std::all_of(entries_.end() - static_cast<std::ptrdiff_t>(regular), entries_.end(), [&](auto& e) { return full(r.first, e.duration(r.first)); });
  });
}

/// Whether one slot's segments lack more than a frame of the other's.
bool segment_log::shorter(const waiting& one, const waiting& other) const {
  return std::any_of(one.rungs.begin(), one.rungs.end(), [&](auto& r) {
    auto there = other.rungs.find(r.first);
    return there != other.rungs.end() && !full(r.first, r.second.duration + target_ticks() - there->second.duration);
  });
}

void segment_log::put_aside(lease_epoch epoch, std::size_t rung, const segment_info& segment, timestamp now) {
  if (epoch != standby_epoch_)
    return;
  auto& w = aside_[segment.slot];
  enter(w, rung, segment, now);
  if (w.whole == timestamp{} && complete(w) && !begins_within(w))
    w.whole = now;
  while (aside_.size() > aside_limit)
    drop_aside(std::next(aside_.begin())->first, now);
}

void segment_log::drop_aside(std::uint64_t below, timestamp now) {
  while (!aside_.empty() && aside_.begin()->first < below) {
    for (auto& [rung, a] : aside_.begin()->second.rungs)
      expiring_.push_front({{instance_, standby_epoch_, rungs_[rung].info.name, aside_.begin()->first + offset_, kind()}, now});
    aside_.erase(aside_.begin());
  }
}

/// When the writer in charge does not bring what its standby has had for a while, the standby goes on in its place.
void segment_log::use_standby(timestamp now) {
  drop_aside(next_msn_ - offset_, now);
  if (aside_.empty() || !announced_.contains(standby_epoch_))
    return;
  if (silent(now)) // nobody brings any more what the first slots lack: its encoder began within them
    if (auto whole = std::find_if(aside_.begin(), aside_.end(), [](auto& s) { return s.second.whole != timestamp{}; }); whole != aside_.end())
      drop_aside(whole->first, now);
  auto& [slot, there] = *aside_.begin();
  // It waits a moment for the other one's, but not until a gap is due. One that was told to end brings its last slot before the other one has it whole: an encoder lets
  // go of its pictures when it ends. Nobody wants it in charge then, as long as there is another.
  const bool pressing = !entries_.empty() && now >= last_listed_ + 5 * timing_.target / 4;
  if (there.whole == timestamp{} || (!pressing && (cut_short(there) || now < there.whole + std::clamp<milliseconds>(timing_.target / 6, 250ms, 1000ms))))
    return;
  auto here = waiting_.find(slot);
  if (here != waiting_.end() && complete(here->second) && !(cut_short(here->second) && shorter(here->second, there)))
    return;
  // Slots between are missing in both only when the standby is new: the one in charge may still bring them.
  if (slot + offset_ != next_msn_ && !silent(now))
    return;
  for (auto& [s, w] : waiting_)
    for (auto& [rung, a] : w.rungs)
      expiring_.push_front({{instance_, writer_epoch_, rungs_[rung].info.name, s + offset_, kind()}, now});
  waiting_ = std::exchange(aside_, {});
  auto& next = announced_.at(standby_epoch_);
  next.standby = false;
  bool same = true;
  for (auto& r : next.rungs)
    same = same && std::any_of(rungs_.begin(), rungs_.end(), [&](auto& k) { return k.active && k.info == r; });
  if (auto map = map_of(next, standby_epoch_, instance_); map != map_) {
    same = false;
    map_ = map;
  }
  writer_epoch_ = standby_epoch_;
  announced_.erase(announced_.begin(), announced_.lower_bound(standby_epoch_));
  standby_epoch_ = 0;
  ++standby_used_;
  // Encoders of one source cut at the same frames and count the same clock: nobody sees the change.
  waiting_.begin()->second.discontinuity = false;
  if (!same) {
    seam_pending_ = true;
    auto copy = next;
    adopt_rungs(copy, now);
  }
  last_content_ = now;
  ++version_;
}

void segment_log::lost(lease_epoch epoch, const segment_info& segment, edge_epoch edges, timestamp now, log_change* change) {
  auto version = version_;
  auto first_new = next_msn_;
  bool was_open = open_, was_ended = ended_;
  edges_ = std::max(edges_, edges);
  mark_failed(epoch, segment, now);
  if (begun_ && !ended_)
    decide(now, false);
  if (change != nullptr)
    *change = since(version, first_new, was_open, was_ended);
}

/// Only within the run in charge: a writer must not take over with a segment that does not exist.
void segment_log::mark_failed(lease_epoch epoch, const segment_info& segment, timestamp now) {
  if (!begun_ || ended_ || epoch != writer_epoch_ || segment.slot >= number_limit || announced_.at(epoch).publication != publication_)
    return;
  auto ahead = static_cast<std::int64_t>(segment.slot + offset_ - next_msn_);
  auto rung = static_cast<std::size_t>(std::find_if(rungs_.begin(), rungs_.end(), [&](auto& r) { return r.info.name == segment.rung; }) - rungs_.begin());
  if (ahead < 0 || ahead > fill_limit || rung == rungs_.size())
    return;
  auto& w = waiting_[segment.slot];
  if (w.rungs.contains(rung))
    return;
  if (w.rungs.empty() && w.failed == 0)
    w.first_seen = now;
  w.failed |= 1U << rung;
  ++version_;
}

void segment_log::take_over(const plan& how, lease_epoch epoch, std::uint64_t slot, timestamp now) {
  drop_aside(number_limit, now);
  if (epoch >= standby_epoch_)
    standby_epoch_ = 0;
  auto& known = announced_.at(epoch);
  known.standby = false; // who stood by is the one in charge from here on
  auto w = known;
  if (how.kind == seam::same_offset) {
    // What the old writer has from here on, the new one brings too.
    for (auto later = waiting_.lower_bound(slot); later != waiting_.end(); later = waiting_.erase(later))
      for (auto& [rung, a] : later->second.rungs)
        expiring_.push_front({{instance_, writer_epoch_, rungs_[rung].info.name, later->first + offset_, kind()}, now});
  }
  if (begun_ && !ended_)
    decide(now, true);
  if (how.kind == seam::new_instance) {
    finish(now);
    reset_instance(now);
    ++instance_;
    ++dsn_;
  } else if (begun_) {
    seam_pending_ = true;
  }
  if (how.kind == seam::same_offset) {
    clock_known_ = clock_known_ && publication_ == w.publication;
    fill_up_to(slot, now);
  } else {
    offset_ = next_msn_ - slot;
    clock_known_ = false;
  }
  next_slot_ = slot;
  bool new_run = !begun_ || epoch != writer_epoch_ || w.publication != publication_;
  if (new_run) {
    timing_ = w.timing;
    lost_since_ = {};
    map_ = map_of(w, epoch, instance_);
    writer_epoch_ = epoch;
    publication_ = w.publication;
    adopt_rungs(w, now);
    announced_.erase(announced_.begin(), announced_.lower_bound(epoch));
  }
  begun_ = true;
}

void segment_log::adopt_rungs(const writer& w, timestamp now) {
  for (auto& known : rungs_) {
    auto stays = std::find_if(w.rungs.begin(), w.rungs.end(), [&](auto& r) { return r.name == known.info.name; });
    if (stays == w.rungs.end()) {
      if (known.active)
        known.left = now;
      known.active = false;
      continue;
    }
    if (!(known.info == *stays) || !known.active)
      known = rung_state{.info = *stays, .keys_gone = known.keys_gone};
    known.late = 0;
    known.failing = false;
  }
  for (auto& r : w.rungs) {
    if (std::any_of(rungs_.begin(), rungs_.end(), [&](auto& known) { return known.info.name == r.name; }))
      continue;
    if (rungs_.size() == max_rungs) {
      auto oldest = std::find_if(rungs_.begin(), rungs_.end(), [](auto& known) { return !known.active; });
      remove_rung(static_cast<std::size_t>(oldest - rungs_.begin()), now);
    }
    // What is listed already is not there in the new rung: gaps, from its playlist's first version on.
    for (auto& e : entries_) {
      e.gaps |= 1U << rungs_.size();
      if (e.durations.size() > 1)
        e.durations.push_back(e.durations.front());
    }
    rungs_.push_back(rung_state{.info = r, .keys_gone = keys_gone_of_newcomer()});
  }
}

void segment_log::remove_rung(std::size_t index, timestamp now) {
  auto without = [&](std::uint32_t mask) {
    auto below = mask & ((1U << index) - 1);
    return below | ((mask >> (index + 1)) << index);
  };
  for (auto& e : entries_) {
    if (!e.gap(index))
      expiring_.push_back({{instance_, e.epoch, rungs_[index].info.name, e.msn, e.map != 0 ? segment_kind::fmp4 : segment_kind::ts}, now + timing_.window});
    e.gaps = without(e.gaps);
    if (e.durations.size() > 1)
      e.durations.erase(e.durations.begin() + static_cast<std::ptrdiff_t>(index));
    e.remove_keys(index);
  }
  for (auto& [slot, w] : waiting_) {
    std::map<std::size_t, arrival> moved;
    for (auto& [rung, a] : w.rungs)
      if (rung != index)
        moved.emplace(rung > index ? rung - 1 : rung, a);
    w.rungs = std::move(moved);
    w.failed = without(w.failed);
  }
  rungs_.erase(rungs_.begin() + static_cast<std::ptrdiff_t>(index));
}

bool segment_log::complete(const waiting& w) const {
  for (std::size_t i = 0; i < rungs_.size(); ++i)
    if (rungs_[i].active && !rungs_[i].failing && !w.rungs.contains(i) && ((w.failed >> i) & 1U) == 0)
      return false;
  return true;
}

/// hls.md 4.3 waits one target duration for a late rung, but P6 wants something new within 1.5: the earlier counts.
bool segment_log::overdue(const waiting& w, timestamp now) const {
  return now >= w.first_seen + timing_.target || (!entries_.empty() && now >= last_listed_ + longest_pause(timing_.target));
}

void segment_log::decide(timestamp now, bool flush) {
  if (!flush)
    use_standby(now);
  while (!waiting_.empty()) {
    auto head = waiting_.begin();
    bool due = flush || overdue(head->second, now);
    auto other = aside_.find(head->first);
    const bool as_long = other != aside_.end() && complete(other->second) && !shorter(head->second, other->second);
    // The other one has the whole of it, or will. One that was told to end early in the slot was heard early: what counts is how long viewers wait.
    const bool pressing = flush || now >= (entries_.empty() ? head->second.first_seen + timing_.target : last_listed_ + longest_pause(timing_.target));
    if (!pressing && !as_long && cut_short(head->second) && standby_follows(head->first, now))
      break;
    bool follows = head->first + offset_ == next_msn_;
    if (!due && !(follows && complete(head->second)))
      break;
    if (!follows)
      fill_up_to(head->first, now);
    if (!due && !complete(head->second))
      break;
    append(head->first, head->second, now);
    waiting_.erase(head);
  }
  open_when_ready();
  if (!ended_)
    shorten(now);
}

/// Gap entries for slots that nobody brought. Where the writer's clock is known they share out exactly the time that is missing.
void segment_log::fill_up_to(std::uint64_t slot, timestamp now) {
  auto missing = static_cast<std::int64_t>(slot + offset_ - next_msn_);
  if (missing <= 0)
    return;
  auto each = target_ticks();
  if (auto w = waiting_.find(slot); w != waiting_.end() && clock_known_ && !w->second.rungs.empty()) {
    auto next = timestamp{std::chrono::microseconds{clock_} + micros(w->second.first_pts)};
    auto share = std::chrono::duration_cast<milliseconds>(next - last_end_).count() * 90 / missing;
    if (share >= target_ticks() / 2 && share < target_ticks() + ticks(490ms))
      each = share;
  }
  for (; missing > 0; --missing)
    append_gap(each, now);
}

void segment_log::append_gap(std::int64_t duration, timestamp now) {
  push(log_entry{next_msn_, dsn_, writer_epoch_, edges_, std::chrono::ceil<milliseconds>(last_end_), {duration}, all_rungs(), false, map_}, now);
}

void segment_log::append(std::uint64_t slot, const waiting& w, timestamp now) {
  next_slot_ = slot + 1;
  if (w.rungs.empty())
    return append_gap(target_ticks(), now);
  bool first = entries_.empty();
  bool at_seam = !first && (seam_pending_ || w.discontinuity);
  seam_pending_ = false;
  if (at_seam)
    ++dsn_;
  log_entry e{next_msn_, dsn_, writer_epoch_, edges_, date_of(w, at_seam || first), {}, 0, at_seam, map_};
  bool equal = true;
  for (std::size_t i = 0; i < rungs_.size(); ++i) {
    auto a = w.rungs.find(i);
    bool came = a != w.rungs.end();
    e.durations.push_back(came ? a->second.duration : w.rungs.begin()->second.duration);
    equal = equal && e.durations.back() == e.durations.front();
    e.gaps |= came ? 0U : 1U << i;
    if (came)
      measure(rungs_[i], a->second);
    if (came && rungs_[i].info.width > 0)
      e.add_keys(i, a->second.keys);
    if (rungs_[i].active)
      judge(rungs_[i], came);
  }
  if (equal)
    e.durations.resize(1);
  push(std::move(e), now);
}

void segment_log::push(log_entry entry, timestamp now) {
  entry.width = width_;
  if (auto pin = pins_.find(entry.msn); pin != pins_.end()) {
    entry.edges = pin->second.edges;
    entry.width = pin->second.width;
    if (pin->second.writer == entry.epoch && !entry.discontinuity)
      entry.time = pin->second.time;
  }
  pins_.erase(pins_.begin(), pins_.upper_bound(entry.msn));
  if (!entries_.empty())
    entry.edges = std::max(entry.edges, entries_.back().edges);
  auto longest = *std::max_element(entry.durations.begin(), entry.durations.end());
  last_end_ = entry.time + micros(longest);
  next_msn_ = entry.msn + 1;
  last_listed_ = now;
  if (!entry.keys.empty() && !keys_from_)
    keys_from_ = entry.msn;
  entries_.push_back(std::move(entry));
  ++version_;
  std::size_t keys = 0;
  for (auto& e : entries_)
    keys += e.keys.size() / 4;
  while (keys > log_keys_limit) {
    auto& oldest = entries_[*keys_from_ - entries_.front().msn];
    keys -= oldest.keys.size() / 4;
    forget_keys(oldest);
  }
}

/// What I-frame playlists have of it counts as removed from their front.
void segment_log::forget_keys(log_entry& oldest) {
  for (std::size_t i = 0; i < rungs_.size(); ++i)
    rungs_[i].keys_gone += oldest.iframes(i);
  oldest.keys.clear();
  keys_from_ = oldest.msn + 1;
}

/// Not below what a rung of that name may have come to before, if there was one: no entry ever had more.
std::uint64_t segment_log::keys_gone_of_newcomer() const { return segment_keys_limit * std::min(keys_from_.value_or(0), number_limit / segment_keys_limit); }

/// The date of the first frame: the writer's clock, followed slowly, never stepping back behind what is listed.
segment_log::dated segment_log::date(std::int64_t first_pts, timestamp captured, bool at_seam) const {
  using std::chrono::microseconds;
  auto pts = micros(first_pts);
  auto seen = std::chrono::duration_cast<microseconds>(captured.time_since_epoch()) - pts;
  auto clock = clock_known_ ? clock_ : seen.count();
  if (auto off = seen - microseconds{clock}; off > clock_slack || off < -clock_slack)
    clock += std::clamp<std::int64_t>(off.count(), -microseconds(clock_slack).count(), microseconds(clock_slack).count());
  auto t = timestamp{microseconds{clock} + pts};
  bool after_gap = !entries_.empty() && entries_.back().gaps == all_rungs();
  if (!at_seam && !after_gap) // one run of pictures: dates follow the durations
    t = std::min<timestamp>(t, last_end_ + clock_slack);
  t = std::max<timestamp>(t, at_seam ? last_end_ : last_end_ - clock_slack);
  if (!entries_.empty())
    t = std::max(t, entries_.back().time + 1ms);
  return {std::chrono::ceil<milliseconds>(t), std::chrono::duration_cast<microseconds>(t.time_since_epoch() - pts).count()};
}

timestamp segment_log::date_of(const waiting& w, bool at_seam) {
  auto [time, clock] = date(w.first_pts, w.captured, at_seam);
  clock_ = clock;
  clock_known_ = true;
  return time;
}

std::optional<std::uint64_t> segment_log::msn_of(lease_epoch epoch, std::uint64_t slot) const {
  const auto ahead = static_cast<std::int64_t>(slot + offset_ - next_msn_);
  if (!begun_ || ended_ || epoch != writer_epoch_ || slot >= number_limit || std::abs(ahead) > fill_limit)
    return std::nullopt;
  return slot + offset_;
}

std::optional<segment_log::promise> segment_log::pin(std::uint64_t msn, lease_epoch whose, edge_epoch edges, std::uint32_t rungs, const part_info* first, timestamp now) {
  if (auto* e = find(msn))
    return e->epoch == whose && !e->discontinuity ? std::optional(promise{e->edges, e->time, e->map, e->width}) : std::nullopt;
  if (!open_ || ended_ || entries_.empty())
    return std::nullopt;
  const bool behind_gap = msn == next_msn_ && (entries_.back().gaps & rungs) != 0;
  if (msn < next_msn_ || msn - next_msn_ > 1 || behind_gap || whose != writer_epoch_)
    return std::nullopt;
  edges_ = std::max(edges_, edges);
  auto [at, fresh] = pins_.try_emplace(msn);
  auto& pin = at->second;
  if (fresh) {
    pin.edges = std::max({edges_, entries_.back().edges, at == pins_.begin() ? 0 : std::prev(at)->second.edges});
    pin.width = width_;
  }
  if (first != nullptr && pin.writer == 0 && msn == next_msn_) {
    const bool sane = plausible_time(first->captured, now);
    pin.time = date(first->first_pts, sane ? first->captured : now, false).time;
    pin.writer = whose;
  }
  return promise{pin.edges, pin.writer == whose ? pin.time : timestamp{}, map_, pin.width};
}

void segment_log::judge(rung_state& r, bool came) const {
  r.late = came ? 0 : r.late + 1;
  r.good = came ? r.good + 1 : 0;
  if (r.late >= strikes)
    r.failing = true;
  if (r.good >= strikes)
    r.failing = false;
}

void segment_log::measure(rung_state& r, const arrival& a) const {
  auto bits = static_cast<std::int64_t>(a.bytes) * 8;
  if (a.duration >= target_ticks() / 2) // the draft counts runs of half a target duration and more
    r.peak = std::max(r.peak, static_cast<std::int64_t>(static_cast<double>(bits) * 90'000 / static_cast<double>(a.duration)));
  for (auto k = a.keys.begin(); k != a.keys.end(); ++k)
    measure_key(r, (std::next(k) == a.keys.end() ? a.duration : std::next(k)->time) - k->time, static_cast<std::int64_t>(k->bytes) * 8);
  r.bits += bits;
  r.ticks += a.duration;
  if (r.ticks > ticks(1h)) {
    r.bits /= 2;
    r.ticks /= 2;
  }
}

/// The draft counts all runs of 0.5 to 1.5 target durations: here those that end with this one.
void segment_log::measure_key(rung_state& r, std::int64_t lasts, std::int64_t bits) const {
  auto& newest = r.newest_keys;
  newest.emplace_back(lasts, bits);
  std::int64_t all = 0, sum = 0;
  auto at = newest.end();
  while (at != newest.begin() && all + std::prev(at)->first <= 3 * target_ticks() / 2) {
    --at;
    all += at->first;
    sum += at->second;
    if (all >= target_ticks() / 2)
      r.keys_peak = std::max(r.keys_peak, static_cast<std::int64_t>(static_cast<double>(sum) * 90'000 / static_cast<double>(all)));
  }
  newest.erase(newest.begin(), at);
}

void segment_log::open_when_ready() {
  if (open_ || length() < 3 * timing_.target - 200ms)
    return;
  bool any = false;
  for (std::size_t i = 0; i < rungs_.size(); ++i) {
    if (!rungs_[i].active || rungs_[i].failing)
      continue;
    any = true;
    if (std::count_if(entries_.begin(), entries_.end(), [&](auto& e) { return !e.gap(i); }) < 3)
      return;
  }
  open_ = any;
  for (auto& e : entries_) { // nobody has seen them before
    e.edges = edges_;
    e.width = width_;
  }
}

void segment_log::shorten(timestamp now) {
  auto total = length();
  auto kept = 0ms;
  while (entries_.size() > 6) {
    auto first = std::chrono::duration_cast<milliseconds>(micros(entries_.front().duration(0)));
    if (total - first < timing_.window && entries_.size() <= std::size_t{listed_segments_limit})
      break;
    kept = first + std::max(longest_, total);
    expire(entries_.front(), kept, now);
    longest_ = std::max(longest_, total);
    if (keys_from_ && entries_.front().msn >= *keys_from_)
      forget_keys(entries_.front());
    entries_.erase(entries_.begin());
    total -= first;
  }
  longest_ = std::max(longest_, total);
  drop_maps(kept, now);
}

void segment_log::expire(const log_entry& entry, milliseconds keep, timestamp now) {
  for (std::size_t i = 0; i < rungs_.size(); ++i)
    if (!entry.gap(i))
      expiring_.push_back({{instance_, entry.epoch, rungs_[i].info.name, entry.msn, entry.map != 0 ? segment_kind::fmp4 : segment_kind::ts}, now + keep});
}

std::vector<segment_place> segment_log::take_expired(timestamp now) {
  std::vector<segment_place> due;
  while (!expiring_.empty() && (expiring_.front().due <= now || expiring_.size() > expiring_limit)) {
    due.push_back(std::move(expiring_.front().place));
    expiring_.pop_front();
  }
  if (!due.empty())
    ++version_;
  return due;
}

bool segment_log::knows(const segment_place& place) const {
  if (std::any_of(expiring_.begin(), expiring_.end(), [&](auto& e) { return e.place == place; }))
    return true;
  if (place.kind == segment_kind::map) {
    auto* maps = stored_maps(place.epoch, place.instance);
    return maps != nullptr && std::find(maps->rungs.begin(), maps->rungs.end(), place.rung) != maps->rungs.end();
  }
  auto rung = static_cast<std::size_t>(std::find_if(rungs_.begin(), rungs_.end(), [&](auto& r) { return r.info.name == place.rung; }) - rungs_.begin());
  if (place.instance != instance_ || rung == rungs_.size() || place.kind != kind())
    return false;
  if (auto* entry = find(place.msn))
    return entry->epoch == place.epoch && !entry->gap(rung);
  if (auto w = aside_.find(place.msn - offset_); w != aside_.end() && place.epoch == standby_epoch_)
    return w->second.rungs.contains(rung);
  auto w = waiting_.find(place.msn - offset_);
  return place.epoch == writer_epoch_ && w != waiting_.end() && w->second.rungs.contains(rung);
}

void segment_log::source_lost(timestamp now) {
  if (lost_since_ == timestamp{} && begun_ && !ended_) {
    lost_since_ = now;
    ++version_;
  }
}

void segment_log::source_back() {
  if (lost_since_ != timestamp{}) {
    lost_since_ = {};
    ++version_;
  }
}

log_change segment_log::end(edge_epoch edges, timestamp now) {
  auto version = version_;
  auto first_new = next_msn_;
  bool was_open = open_, was_ended = ended_;
  edges_ = std::max(edges_, edges);
  if (begun_ && !ended_)
    finish(now);
  return since(version, first_new, was_open, was_ended);
}

void segment_log::finish(timestamp now) {
  if (ended_)
    return;
  decide(now, true);
  open_ = open_ || std::any_of(entries_.begin(), entries_.end(), [&](auto& e) { return e.gaps != all_rungs(); });
  ended_ = true;
  ended_at_ = now;
  ++version_;
}

/// Everything of the instance becomes due for deletion, the way P10 wants it.
void segment_log::reset_instance(timestamp now) {
  for (auto& e : entries_)
    expire(e, std::chrono::duration_cast<milliseconds>(micros(e.duration(0))) + longest_, now);
  std::erase_if(maps_, [&](auto& m) {
    const bool old = m.instance <= instance_;
    if (old)
      expire(m, timing_.target + longest_, now);
    return old;
  });
  map_ = 0;
  entries_.clear();
  keys_from_.reset();
  rungs_.clear();
  waiting_.clear();
  pins_.clear();
  standby_slot_ = 0; // its numbers were of the instance before
  open_ = ended_ = begun_ = seam_pending_ = false;
  longest_ = 0ms;
}

log_change segment_log::tick(edge_epoch edges, timestamp now) {
  auto version = version_;
  auto first_new = next_msn_;
  bool was_open = open_, was_ended = ended_;
  edges_ = std::max(edges_, edges);
  if (begun_ && !ended_) {
    decide(now, false);
    bool away = lost_since_ != timestamp{} && now - std::max(lost_since_, last_content_) > options_.grace;
    if (away || now - last_content_ > options_.give_up) {
      finish(now);
      if (!away)
        publication_.clear(); // nobody said that it is over: whoever sends again begins anew
    } else if (open_ && waiting_.empty()) {
      for (auto due = last_listed_ + 7 * timing_.target / 5; now >= due; due += 7 * timing_.target / 5)
        append_gap(target_ticks(), due);
      shorten(now);
    }
    for (std::size_t i = rungs_.size(); i-- > 0;)
      if (!rungs_[i].active && now - rungs_[i].left > timing_.window && std::all_of(entries_.begin(), entries_.end(), [&](auto& e) { return e.gap(i); })) {
        remove_rung(i, now);
        ++version_;
      }
  } else if (ended_ && !entries_.empty() && now - ended_at_ > options_.keep) {
    for (auto& e : entries_)
      expire(e, longest_, now);
    entries_.clear();
    open_ = false;
    map_ = 0; // whoever comes begins anew
    drop_maps(longest_, now);
    ++version_;
  }
  return since(version, first_new, was_open, was_ended);
}

/// Else the first tick would append a gap for each 1.4 targets of it, and what is brought again had no number any more.
void segment_log::resumed(timestamp now) {
  if (!begun_ || ended_)
    return;
  last_listed_ = std::max(last_listed_, now);
  for (auto& [slot, w] : waiting_)
    w.first_seen = now;
}

const log_entry* segment_log::find(std::uint64_t msn) const {
  if (entries_.empty() || msn < entries_.front().msn || msn > entries_.back().msn)
    return nullptr;
  return &entries_[msn - entries_.front().msn];
}

std::uint64_t segment_log::msn_after_waiting() const {
  return waiting_.empty() ? next_msn_ : std::max(next_msn_, waiting_.rbegin()->first + offset_ + 1);
}

std::int64_t segment_log::target_ticks() const { return ticks(timing_.target); }

bool segment_log::silent(timestamp now) const { return now - last_content_ > 7 * timing_.target / 5; }

milliseconds segment_log::length() const {
  std::int64_t sum = 0;
  for (auto& e : entries_)
    sum += e.duration(0);
  return std::chrono::duration_cast<milliseconds>(micros(sum));
}

log_change segment_log::since(std::uint64_t version, std::uint64_t first_new, bool was_open, bool was_ended) const {
  log_change c;
  c.changed = version_ != version;
  c.ended = ended_ && !was_ended;
  if (open_ && !entries_.empty())
    c.listed = was_open ? static_cast<std::size_t>(next_msn_ - first_new) : entries_.size();
  return c;
}

stream_log segment_log::snapshot() const {
  stream_log s;
  s.stream = stream_;
  s.instance = instance_;
  s.version = version_;
  s.target = timing_.target;
  s.window = timing_.window;
  if (auto live = std::max(options_.live_window, timing_.target * 6); options_.live_window > 0ms && live < timing_.window)
    s.live_window = live;
  s.hold_back = timing_.hold_back;
  s.part_target = timing_.part;
  s.changed = last_listed_;
  s.ended = ended_;
  if (!open_)
    return s;
  for (auto& r : rungs_) {
    auto average = r.ticks > 0 ? static_cast<std::int64_t>(static_cast<double>(r.bits) * 90'000 / static_cast<double>(r.ticks)) : 0;
    // A dark scene at the start must not make a rung look cheap for ever: never below what the encoder is set to.
    auto nominal = r.info.nominal.bits_per_second;
    auto peak = std::max({r.peak, bandwidth_of(r.info.nominal, timing_.target).bits_per_second, average});
    s.rungs.push_back({r.info, {peak}, {std::max(average, nominal)}, r.active && !r.failing, {r.keys_peak}, r.keys_gone});
  }
  s.entries = entries_;
  s.keys_from = keys_from_;
  return s;
}

} // namespace weir::hls
