#include "runtime/origin/intake.hpp"

#include "runtime/base/log.hpp"
#include "runtime/base/secret.hpp"
#include "runtime/hls/addresses.hpp"
#include "runtime/origin/store_queue.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace weir::origin {

using namespace std::chrono_literals;

namespace {

constexpr std::size_t stream_limit = 10'000;
constexpr std::size_t held_limit = 64;                           ///< segments of a stream that wait for another one
constexpr std::size_t held_bytes_limit = std::size_t{256} << 20; ///< of all streams
constexpr std::size_t answer_limit = 8;                          ///< writers that bring the same segment at a time
constexpr std::size_t writer_limit = 16;                         ///< whose last offset is remembered
constexpr auto save_again_after = 500ms;
constexpr milliseconds shared_deadline = 5s; ///< longer than a store waits for other origins, and than it takes until another one is told to take over

error log_names(const error& e, std::string_view stream, std::string_view dir) { return e.in(fmt::format("log of stream {} in {}", stream, dir)); }

} // namespace

bool is_map(std::string_view bytes) {
  if (bytes.size() > map_limit)
    return false;
  for (std::string_view type : {"ftyp", "moov"}) {
    if (bytes.size() < 8 || bytes.substr(4, 4) != type)
      return false;
    std::uint32_t size = 0;
    for (auto c : bytes.substr(0, 4))
      size = size << 8 | static_cast<unsigned char>(c);
    if (size < 8 || size > bytes.size())
      return false;
    bytes.remove_prefix(size);
  }
  return bytes.empty();
}

expected<void> intake::load(segment_store& store, std::string_view dir, timestamp wall) {
  std::uint64_t term = 0;
  if (!options_.shared) {
    auto last = store.claimed();
    WEIR_TRY(last);
    // Seconds, so that a folder that was put back from a copy does not begin with a term that was claimed already.
    term = std::max(*last + 1, static_cast<std::uint64_t>(std::chrono::duration_cast<seconds>(wall.time_since_epoch()).count()));
    WEIR_TRY(store.claim(term));
  }
  auto streams = store.streams();
  WEIR_TRY(streams);
  for (auto& stream : *streams) {
    auto text = store.load_log(stream);
    if (!text && text.error().code == error_code::not_found)
      continue;
    WEIR_TRY(text);
    auto log = hls::segment_log::from_json(*text, options_.log);
    if (!log)
      return fail(log_names(log.error(), stream, dir));
    if (auto snapshot = log->snapshot(); !snapshot.entries.empty())
      shown_.emplace(stream, std::move(snapshot));
    if (options_.shared)
      log->resumed(wall);
    logs_.emplace(stream, std::move(*log));
  }
  auto gone = store.sweep([this](std::string_view stream, const hls::segment_place& place) {
    auto log = logs_.find(std::string(stream));
    return log != logs_.end() && log->second.knows(place);
  });
  WEIR_TRY(gone);
  log::info("origin", "loaded", "streams={} leftovers_removed={} term={} at={}", logs_.size(), *gone, term, to_rfc3339(wall));
  return {};
}

intake::intake(intake_options options, std::uint64_t tickets) : options_(std::move(options)), tickets_(tickets) {
  // Also without time shift: a log may have been begun with one.
  options_.log.live_window = options_.window > 0ms ? options_.window : timing_of(hls_profile::standard).window; // which is every profile's
}

expected<void> intake::announce(const std::string& stream, lease_epoch epoch, const std::string& publication, hls_profile profile, std::vector<rung_info> rungs, bool standby,
                                std::vector<std::shared_ptr<const std::string>> maps, milliseconds part) {
  if (ousted_ || closed_)
    return fail(error_code::unavailable, "this origin takes no segments any more");
  if (!hls::is_address_word(stream))
    return fail(error_code::invalid_input, fmt::format("{:?} is no stream's name", stream));
  if (!logs_.contains(stream) && logs_.size() >= stream_limit)
    return fail(error_code::too_many, fmt::format("this origin keeps {} streams already", stream_limit));
  auto timing = timing_of(profile);
  if (options_.window > 0ms)
    timing.window = std::max(options_.window, timing.target * 6);
  timing.window = std::max(timing.window, options_.dvr_window);
  if (options_.shelf) // else viewers get none, whatever the writer makes
    timing.part = part;
  if (part != 0ms && (part < hls::shortest_part_target || part > timing.target || maps.empty()))
    return fail(error_code::invalid_input, fmt::format("parts of {}: of fragmented MP4 they are at least {} and at most a segment long", to_string(part), to_string(hls::shortest_part_target)));
  if (!maps.empty() && maps.size() != rungs.size())
    return fail(error_code::invalid_input, fmt::format("{} maps for {} rungs", maps.size(), rungs.size()));
  writer_maps by_rung;
  std::string all; // whose digest tells these maps from others: names and lengths included, so that no two sets are the same text
  for (std::size_t i = 0; i < maps.size(); ++i) {
    if (!is_map(*maps[i]))
      return fail(error_code::invalid_input,
                  fmt::format("the map of rung {:?}: its {} bytes are not ftyp and moov of at most {} bytes", rungs[i].name.substr(0, 32), maps[i]->size(), map_limit));
    all += fmt::format("{} {}\n", rungs[i].name, maps[i]->size()) + *maps[i];
    by_rung.emplace_back(rungs[i].name, std::move(maps[i]));
  }
  const auto digest = all.empty() ? std::string{} : sha256_hex(all);
  const auto [at, fresh] = logs_.try_emplace(stream, stream, options_.log);
  if (fresh)
    at->second.use_width(widths_.usual);
  auto done = at->second.begin_writer(epoch, publication, std::move(rungs), timing, standby, digest);
  if (!done && done.error().code == error_code::fenced)
    ++counted_.fenced;
  if (done && !by_rung.empty()) {
    auto& known = lines_[stream].maps;
    known.erase(known.begin(), known.lower_bound(logs_.at(stream).epoch()));
    known.insert_or_assign(epoch, std::move(by_rung));
    if (known.size() > writer_limit)
      known.erase(known.begin());
  }
  return done;
}

void intake::offer(offered_segment segment, steady_time now, timestamp wall) {
  if (ousted_ || closed_)
    return segment.answer(fail(error_code::unavailable, "this origin takes no segments any more"));
  auto log = logs_.find(segment.stream);
  if (log == logs_.end())
    return segment.answer(fail(hls::refusal(hls::offer_result::unknown_writer, segment.info.rung, segment.info.slot)));
  const auto stream = segment.stream;
  wall_ = wall;
  auto& l = lines_[stream];
  for (auto& [other, u] : l.uploads)
    if ((u.at == phase::held || u.at == phase::storing) && u.segment.writer_epoch == segment.writer_epoch && u.segment.info.rung == segment.info.rung &&
        u.segment.info.slot == segment.info.slot) {
      if (u.answers.size() >= answer_limit)
        return segment.answer(fail(error_code::unavailable, "this segment is being stored already"));
      u.answers.push_back(std::move(segment.answer)); // a writer that tries again hears what the first try comes to
      return;
    }
  upload u;
  u.answers.push_back(std::move(segment.answer));
  u.due = due(log->second, segment.info, now);
  u.segment = std::move(segment);
  const auto ticket = ++tickets_;
  l.uploads.emplace(ticket, std::move(u));
  begin_or_hold(stream, l, ticket, now, wall);
  save(stream, l, now);
}

steady_time intake::due(const hls::segment_log& log, const segment_info& info, steady_time now) const {
  const auto own = std::chrono::duration_cast<milliseconds>(std::chrono::microseconds{std::clamp<std::int64_t>(info.duration, 0, 60 * 90'000) * 100 / 9});
  auto time = options_.write_deadline > 0ms ? options_.write_deadline : std::max<milliseconds>(log.target() > 0ms ? log.target() : own, 1s);
  return now + (options_.shared ? std::max(time, shared_deadline) : time);
}

void intake::begin_or_hold(const std::string& stream, line& l, std::uint64_t ticket, steady_time now, timestamp wall) {
  auto& u = l.uploads.at(ticket);
  if (l.held.empty()) {
    const auto ready = readiness_of(stream, l, u, now, wall);
    if (ready == readiness::now)
      return begin(stream, l, ticket, wall);
    if (ready == readiness::never)
      return finish(l, ticket, refusal(hls::offer_result::unknown_writer, u.segment.info));
  }
  const auto bytes = u.segment.bytes->size();
  if (l.held.size() >= held_limit || held_bytes_ + bytes > held_bytes_limit) {
    ++counted_.turned_away;
    return finish(l, ticket, fail(error_code::unavailable, fmt::format("{} segments of stream {} wait for the store already", l.held.size(), stream)));
  }
  held_bytes_ += bytes;
  l.held.push_back(ticket);
}

/// `never`: its maps are not known here any more; its writer has to announce itself again.
intake::readiness intake::readiness_of(const std::string& stream, line& l, const upload& u, steady_time now, timestamp wall) {
  auto& log = logs_.at(stream);
  if (!may_begin(l, log, u, wall))
    return readiness::later;
  auto place = log.locate(u.segment.writer_epoch, u.segment.info, wall);
  if (!place)
    return readiness::now;
  const map_put wanted{log.maps_of(u.segment.writer_epoch, place->instance), place->instance};
  const bool lacking = log.lacks_maps(u.segment.writer_epoch, place->instance);
  // What the log says about maps may be older than this process, and a store may have lost some since: who has the same bytes brings them again, once.
  if (wanted.epoch == 0 || (!lacking && std::find(l.maps_put.begin(), l.maps_put.end(), wanted) != l.maps_put.end()))
    return readiness::now;
  const bool coming = bring_maps(stream, l, u, wanted, now);
  return !lacking ? readiness::now : coming ? readiness::later : readiness::never;
}

/// Whether the maps of its writer are on their way to the store, or will be when a store that refused them is asked again.
bool intake::bring_maps(const std::string& stream, line& l, const upload& u, const map_put& wanted, steady_time now) {
  if (std::any_of(l.map_puts.begin(), l.map_puts.end(), [&](auto& p) { return p.second == wanted; }))
    return true;
  auto maps = l.maps.find(u.segment.writer_epoch);
  if (maps == l.maps.end())
    return false;
  if (now < l.maps_not_before)
    return true;
  for (auto& [rung, bytes] : maps->second) {
    const auto ticket = ++tickets_;
    l.map_puts.emplace(ticket, wanted);
    hls::segment_place place{wanted.instance, wanted.epoch, rung, 0, hls::segment_kind::map};
    orders_.push_back({.what = store_order::kind::put, .stream = stream, .ticket = ticket, .place = std::move(place), .bytes = bytes, .due = u.due, .json = {}});
  }
  return true;
}

void intake::map_stored(const std::string& stream, line& l, const map_put& put, const expected<void>& result, steady_time now) {
  if (result) {
    if (std::none_of(l.map_puts.begin(), l.map_puts.end(), [&](auto& p) { return p.second == put; })) {
      logs_.at(stream).maps_stored(put.epoch, put.instance);
      l.unsaved = true;
      l.maps_put.push_back(put);
      if (l.maps_put.size() > writer_limit)
        l.maps_put.pop_front();
    }
    return;
  }
  log::error("origin", "map-not-stored", "stream={} writer_epoch={} error={}", stream, put.epoch, result.error().text);
  counted_.full += is_full(result.error());
  l.maps_not_before = now + save_again_after;
  // The others of this set are brought again, too. Who waits for it tries again.
  std::erase_if(l.map_puts, [&](auto& p) { return p.second == put; });
  if (!logs_.at(stream).lacks_maps(put.epoch, put.instance))
    return; // it was brought again; nobody waits
  for (auto ticket : std::vector(l.held.begin(), l.held.end()))
    if (auto& u = l.uploads.at(ticket); u.segment.writer_epoch == put.epoch) {
      std::erase(l.held, ticket);
      held_bytes_ -= u.segment.bytes->size();
      ++counted_.turned_away;
      finish(l, ticket, fail(error_code::unavailable, "its map could not be stored: " + result.error().text));
    }
}

/// The order in which segments come counts only where numbers begin anew: what was cut before such a seam must be in before it, what was cut after it only then
/// has a number. And no two may be written to one place at a time.
bool intake::may_begin(const line& l, const hls::segment_log& log, const upload& u, timestamp wall) const {
  auto place = log.locate(u.segment.writer_epoch, u.segment.info, wall);
  if (!place)
    return true; // it is refused
  auto offset = l.offsets.find(u.segment.writer_epoch);
  const bool seam = offset == l.offsets.end() || offset->second != place->msn - u.segment.info.slot;
  return std::none_of(l.uploads.begin(), l.uploads.end(), [&](auto& entry) {
    auto& other = entry.second;
    if (other.at == phase::given_up) // it was late, and the store may still bring it there: over another segment with that number
      return other.place == *place;
    if (other.at != phase::storing)
      return false;
    const bool same_writer = other.segment.writer_epoch == u.segment.writer_epoch;
    const bool same_slot = same_writer && other.segment.info.slot == u.segment.info.slot;
    return other.place == *place || (seam && !same_slot) || (other.seam && same_writer && !same_slot);
  });
}

void intake::begin(const std::string& stream, line& l, std::uint64_t ticket, timestamp wall) {
  auto& log = logs_.at(stream);
  auto& u = l.uploads.at(ticket);
  auto place = log.locate(u.segment.writer_epoch, u.segment.info, wall);
  if (!place) {
    // Also what is refused may have to become a gap, and what is there already tells how far a standby is: the log decides in offer().
    hls::log_change change;
    log.offer(u.segment.writer_epoch, u.segment.info, edges_, wall, &change);
    note(l, change);
    return place.error() == hls::offer_result::duplicate ? is_in(l, ticket) : finish(l, ticket, refusal(place.error(), u.segment.info));
  }
  auto offset = l.offsets.find(u.segment.writer_epoch);
  u.seam = offset == l.offsets.end() || offset->second != place->msn - u.segment.info.slot;
  u.place = *place;
  u.at = phase::storing;
  orders_.push_back({.what = store_order::kind::put, .stream = stream, .ticket = ticket, .place = std::move(*place), .bytes = u.segment.bytes, .due = u.due, .json = {}});
}

void intake::release(const std::string& stream, line& l, steady_time now, timestamp wall) {
  while (!l.held.empty()) {
    auto ticket = l.held.front();
    auto& u = l.uploads.at(ticket);
    const auto ready = readiness_of(stream, l, u, now, wall);
    if (ready == readiness::later)
      return;
    l.held.pop_front();
    held_bytes_ -= u.segment.bytes->size();
    if (ready == readiness::now)
      begin(stream, l, ticket, wall);
    else
      finish(l, ticket, refusal(hls::offer_result::unknown_writer, u.segment.info));
  }
}

expected<void> intake::offer_part(const std::string& stream, lease_epoch epoch, const part_info& part, std::shared_ptr<const std::string> bytes, steady_time now, timestamp wall) {
  if (ousted_ || closed_)
    return fail(error_code::unavailable, "this origin takes no parts any more");
  if (!options_.shelf)
    return fail(error_code::unsupported, "this origin takes no parts");
  auto log = logs_.find(stream);
  if (log == logs_.end())
    return fail(hls::refusal(hls::offer_result::unknown_writer, part.rung, part.slot));
  wall_ = wall;
  auto& l = lines_[stream];
  if (!l.parts)
    l.parts.emplace();
  auto shown = shown_.find(stream);
  auto place = l.parts->locate(epoch, part, log->second, shown == shown_.end() || shown->second.entries.empty() ? 0 : shown->second.entries.back().msn + 1);
  if (!place) {
    ++counted_.parts_refused;
    return fail(place.error());
  }
  if (!*place)
    return {};
  if (!options_.shelf->put({stream, **place}, std::move(bytes), now)) {
    ++counted_.parts_refused;
    return fail(error_code::unavailable, "there is no room for parts");
  }
  ++counted_.parts;
  l.parts->enter(**place, part);
  if (show_parts(stream, l, now))
    news_.push_back({stream, 0, false});
  return {};
}

/// What viewers see of parts. True when it is other than before.
bool intake::show_parts(const std::string& stream, line& l, steady_time now) {
  auto shown = shown_.find(stream);
  if (!options_.shelf || shown == shown_.end())
    return false;
  if (!l.parts && shown->second.part_target > 0ms)
    l.parts.emplace();
  if (!l.parts)
    return false;
  const bool changed = l.parts->fill(shown->second, logs_.at(stream), edges_, wall_);
  options_.shelf->follow(shown->second, now);
  return changed;
}

void intake::stored(const std::string& stream, std::uint64_t ticket, expected<void> result, steady_time now, timestamp wall) {
  wall_ = wall;
  auto where = lines_.find(stream);
  if (where == lines_.end())
    return; // everybody was turned away meanwhile
  auto& l = where->second;
  if (auto put = l.map_puts.find(ticket); put != l.map_puts.end()) {
    if (!result && result.error().code == error_code::fenced)
      return oust(result.error());
    const auto whose = put->second;
    l.map_puts.erase(put);
    map_stored(stream, l, whose, result, now);
    release(stream, l, now, wall);
    return save(stream, l, now);
  }
  if (!l.uploads.contains(ticket))
    return;
  auto& log = logs_.at(stream);
  auto& u = l.uploads.at(ticket);
  if (!result && result.error().code == error_code::fenced)
    return oust(result.error());
  if (u.at == phase::given_up) {
    auto place = u.place;
    l.uploads.erase(ticket);
    if (result)
      discard(stream, l, place);
  } else if (result) {
    enter(stream, l, ticket, wall);
  } else if (result.error().code == error_code::unavailable || (options_.shared && result.error().code == error_code::timeout)) {
    // Nothing was tried, or it may still come to be: the writer tries again.
    ++counted_.turned_away;
    log::warn("origin", "segment-turned-away", "stream={} rung={} slot={} error={}", stream, u.segment.info.rung, u.segment.info.slot, result.error().text);
    finish(l, ticket, fail(error_code::unavailable, result.error().text));
  } else if (result.error().code == error_code::timeout) {
    give_up(stream, l, ticket, wall);
    l.uploads.erase(ticket); // no put of it is under way
  } else {
    counted_.full += is_full(result.error());
    log::error("origin", "segment-not-stored", "stream={} rung={} slot={} error={}", stream, u.segment.info.rung, u.segment.info.slot, result.error().text);
    hls::log_change change;
    log.lost(u.segment.writer_epoch, u.segment.info, edges_, wall, &change);
    note(l, change);
    finish(l, ticket, result);
  }
  release(stream, l, now, wall);
  save(stream, l, now);
}

void intake::enter(const std::string& stream, line& l, std::uint64_t ticket, timestamp wall) {
  auto& log = logs_.at(stream);
  auto& u = l.uploads.at(ticket);
  auto place = log.locate(u.segment.writer_epoch, u.segment.info, wall);
  if (place && *place != u.place) { // its number has moved while it was written
    auto old = std::exchange(u.place, {});
    u.at = phase::held;
    l.held.push_front(ticket);
    held_bytes_ += u.segment.bytes->size();
    return discard(stream, l, old);
  }
  hls::log_change change;
  auto result = log.offer(u.segment.writer_epoch, u.segment.info, edges_, wall, &change);
  note(l, change);
  if (result == hls::offer_result::accepted) {
    ++counted_.written;
    counted_.bytes += u.segment.bytes->size();
    l.offsets[u.segment.writer_epoch] = u.place.msn - u.segment.info.slot;
    if (l.offsets.size() > writer_limit)
      l.offsets.erase(l.offsets.begin());
    return is_in(l, ticket);
  }
  auto unused = u.place;
  u.at = phase::held; // nobody's place any more; finish() below takes it out
  if (result == hls::offer_result::duplicate)
    is_in(l, ticket);
  else
    finish(l, ticket, refusal(result, u.segment.info));
  discard(stream, l, unused);
}

/// Its place becomes a gap and its writer hears so; what the store does with it goes on. Where another origin may have to take over the writer keeps it.
void intake::give_up(const std::string& stream, line& l, std::uint64_t ticket, timestamp wall) {
  auto& u = l.uploads.at(ticket);
  ++counted_.late;
  log::warn("origin", "segment-late", "stream={} rung={} slot={}", stream, u.segment.info.rung, u.segment.info.slot);
  if (!options_.shared) {
    hls::log_change change;
    logs_.at(stream).lost(u.segment.writer_epoch, u.segment.info, edges_, wall, &change);
    note(l, change);
  }
  auto answers = std::exchange(u.answers, {});
  u.at = phase::given_up;
  u.segment.bytes.reset();
  for (auto& answer : answers)
    answer(fail(options_.shared ? error_code::unavailable : error_code::timeout, fmt::format("the segment of slot {} in rung {} was not stored in time", u.segment.info.slot, u.segment.info.rung)));
}

/// Removes what lies at a place that no log will ever name, unless another one is being written there.
void intake::discard(const std::string& stream, const line& l, const hls::segment_place& place) {
  const bool wanted = logs_.at(stream).knows(place) || std::any_of(l.uploads.begin(), l.uploads.end(), [&](auto& u) { return u.second.at == phase::storing && u.second.place == place; });
  if (!wanted)
    orders_.push_back({.what = store_order::kind::remove, .stream = stream, .ticket = 0, .place = place, .bytes = {}, .due = {}, .json = {}});
}

/// The log has it; the answer waits until the log that has it is saved.
void intake::is_in(line& l, std::uint64_t ticket) {
  auto& u = l.uploads.at(ticket);
  u.at = phase::in_log;
  u.segment.bytes.reset();
  if (l.unsaved)
    l.uncovered.push_back(ticket);
  else if (l.saving != 0)
    l.covered.push_back(ticket);
  else
    finish(l, ticket, {});
}

void intake::finish(line& l, std::uint64_t ticket, const expected<void>& result) {
  auto known = l.uploads.find(ticket);
  if (known == l.uploads.end())
    return; // its time was up before its log was saved
  auto answers = std::move(known->second.answers);
  l.uploads.erase(known);
  for (auto& answer : answers)
    answer(result);
}

tl::unexpected<error> intake::refusal(hls::offer_result why, const segment_info& info) {
  ++(why == hls::offer_result::fenced ? counted_.fenced : counted_.refused);
  auto e = hls::refusal(why, info.rung, info.slot);
  log::debug("origin", "segment-refused", "rung={} slot={} error={}", info.rung, info.slot, e.text);
  return fail(std::move(e));
}

void intake::note(line& l, const hls::log_change& change) {
  l.unsaved = l.unsaved || change.changed;
  l.listed += change.listed;
  l.ended = l.ended || change.ended;
}

void intake::save(const std::string& stream, line& l, steady_time now) {
  if (!l.unsaved || l.saving != 0 || ousted_ || closed_ || now < l.not_before)
    return;
  auto& log = logs_.at(stream);
  l.unsaved = false;
  l.saving = ++tickets_;
  l.next.reset();
  if (l.listed > 0 || l.ended)
    l.next = log.snapshot();
  l.next_listed = std::exchange(l.listed, 0);
  l.next_ended = std::exchange(l.ended, false);
  l.covered = std::exchange(l.uncovered, {});
  orders_.push_back({.what = store_order::kind::save_log, .stream = stream, .ticket = l.saving, .place = {}, .bytes = {}, .due = {}, .json = log.to_json()});
}

void intake::saved(const std::string& stream, std::uint64_t ticket, expected<void> result, steady_time now) {
  auto where = lines_.find(stream);
  if (where == lines_.end() || where->second.saving != ticket || ousted_ || closed_)
    return;
  auto& l = where->second;
  if (!result && result.error().code == error_code::fenced)
    return oust(result.error());
  l.saving = 0;
  if (!result)
    log::error("origin", "log-not-saved", "stream={} error={}", stream, result.error().text);
  // A disk that refuses is still the only one that has this stream: viewers go on, and after a restart its numbers may step back. Where others may have the
  // stream, what could not be saved must never be seen.
  if (result || result.error().code == error_code::io_failed) {
    if (l.next) {
      auto& shown = shown_[stream] = std::move(*l.next);
      l.next.reset();
      if (l.next_ended)
        log::info("origin", "stream-ended", "stream={} instance={} next_msn={}", stream, shown.instance, logs_.at(stream).next_msn());
      show_parts(stream, l, now);
      news_.push_back({stream, l.next_listed, l.next_ended});
    }
    for (auto one : std::exchange(l.covered, {}))
      finish(l, one, {});
  } else {
    l.unsaved = true;
    l.listed += l.next_listed;
    l.ended = l.ended || l.next_ended;
    l.uncovered.insert(l.uncovered.begin(), l.covered.begin(), l.covered.end());
    l.covered.clear();
    l.not_before = now + save_again_after;
  }
  save(stream, l, now);
}

void intake::source_lost(const std::string& stream, timestamp wall) {
  if (auto log = logs_.find(stream); log != logs_.end())
    log->second.source_lost(wall);
}

void intake::source_back(const std::string& stream) {
  if (auto log = logs_.find(stream); log != logs_.end())
    log->second.source_back();
}

void intake::end(const std::string& stream, steady_time now, timestamp wall) {
  auto log = logs_.find(stream);
  if (log == logs_.end() || log->second.ended())
    return;
  auto& l = lines_[stream];
  note(l, log->second.end(edges_, wall));
  save(stream, l, now);
}

void intake::tick(steady_time now, timestamp wall) {
  if (ousted_ || closed_)
    return;
  wall_ = wall;
  if (options_.shelf)
    options_.shelf->tick(now);
  for (auto& [stream, log] : logs_) {
    auto& l = lines_[stream];
    std::vector<std::uint64_t> overdue;
    for (auto& [ticket, u] : l.uploads)
      if (u.at != phase::given_up && now >= u.due)
        overdue.push_back(ticket);
    for (auto ticket : overdue)
      switch (l.uploads.at(ticket).at) {
        case phase::in_log: // it is no gap, but nobody can tell yet whether it will last
          finish(l, ticket, fail(options_.shared ? error_code::unavailable : error_code::timeout, "the stream's log could not be saved in time"));
          break;
        case phase::held:
          std::erase(l.held, ticket);
          held_bytes_ -= l.uploads.at(ticket).segment.bytes->size();
          give_up(stream, l, ticket, wall);
          l.uploads.erase(ticket);
          break;
        default: give_up(stream, l, ticket, wall);
      }
    release(stream, l, now, wall);
    note(l, log.tick(edges_, wall));
    // What goes must not be listed by the log that a restart would find.
    if (!l.unsaved && l.saving == 0)
      for (auto& place : log.take_expired(wall))
        orders_.push_back({.what = store_order::kind::remove, .stream = stream, .ticket = 0, .place = std::move(place), .bytes = {}, .due = {}, .json = {}});
    save(stream, l, now);
  }
}

void intake::oust(const error& why) {
  ousted_ = true;
  if (options_.shared)
    log::warn("origin", "store-taken-over", "error={}", why.text);
  else
    log::critical("origin", "store-claimed-by-another", "error={}", why.text);
  turn_all_away();
}

void intake::close() {
  closed_ = true;
  turn_all_away();
}

void intake::turn_all_away() {
  for (auto& [stream, l] : std::exchange(lines_, {}))
    for (auto& [ticket, u] : l.uploads)
      for (auto& answer : u.answers)
        answer(fail(error_code::unavailable, "this origin takes no segments any more"));
  held_bytes_ = 0;
  if (options_.shelf)
    options_.shelf->clear();
}

void intake::use_widths(const width_list& widths) {
  widths_ = widths;
  if (!widths.known)
    return;
  for (auto& [stream, log] : logs_)
    log.use_width(widths.usual);
  for (auto& wide : widths.wide)
    if (auto log = logs_.find(wide.stream); log != logs_.end())
      log->second.use_width(wide.width);
}

edge_epoch intake::oldest_named() const {
  auto oldest = edges_;
  for (auto& [stream, log] : logs_)
    if (auto named = log.oldest_edges())
      oldest = std::min(oldest, *named);
  for (auto& [stream, shown] : shown_)
    if (!shown.entries.empty())
      oldest = std::min(oldest, shown.entries.front().edges);
  return oldest;
}

std::size_t intake::under_way() const {
  std::size_t count = 0;
  for (auto& [stream, l] : lines_)
    count += static_cast<std::size_t>(std::count_if(l.uploads.begin(), l.uploads.end(), [](auto& u) { return u.second.at != phase::given_up; }));
  return count;
}

void carry_out(std::vector<store_order> orders, store_queue& queue, steady_time now, const std::function<void(store_order::kind, const std::string&, std::uint64_t, expected<void>)>& told) {
  for (auto& order : orders) {
    auto done = [told, what = order.what, stream = order.stream, ticket = order.ticket](expected<void> result) { told(what, stream, ticket, std::move(result)); };
    switch (order.what) {
      case store_order::kind::put: queue.put(std::move(order.stream), std::move(order.place), std::move(order.bytes), steady_clock::now() + (order.due - now), std::move(done)); break;
      case store_order::kind::save_log: queue.save_log(std::move(order.stream), std::move(order.json), std::move(done)); break;
      case store_order::kind::remove: queue.remove(std::move(order.stream), std::move(order.place)); break;
    }
  }
}

} // namespace weir::origin
