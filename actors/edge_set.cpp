#include "actors/edge_set.hpp"

#include "runtime/base/utf8.hpp"
#include "runtime/steering/localities.hpp"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <numeric>
#include <set>
#include <string_view>
#include <utility>

namespace weir {

using namespace std::chrono_literals;

namespace {

constexpr auto weigh_every = 5s;          ///< T of balancing.md 5.5
constexpr auto shows_after = 4 * weigh_every; ///< a change of weights, in the loads: the delay that the feedback's gain is made for
constexpr auto table_lives = 10min;       ///< at least, after another one replaced it: time for an origin to say after our start what it lists
constexpr std::size_t few_buckets = 4;    ///< 0.4 % of the viewers: not worth a table for balance …
constexpr auto few_wait = 30s;            ///< … unless it has stood off for that long
constexpr double idle_share = 0.01;       ///< below this mean load there is nothing to balance
constexpr auto restored_patience = 10s;   ///< for edges of the run before to be heard again
constexpr auto reports_patience = 3 * weigh_every; ///< for the last known load to count; then the edge is taken for full
constexpr double slowest_pace = 0.125;    ///< a slow edge keeps that much of its weight
constexpr auto observer_fresh = 3s;       ///< a word older than that does not count
constexpr auto observer_kept = 1min;      ///< and after that it need not be remembered that it spoke
constexpr std::uint32_t words_a_second = 10; ///< of one observer: its own one, and changes
constexpr std::size_t watchers_of_an_edge = 5;
constexpr std::size_t text_limit = 200;   ///< of what an observer says
constexpr std::size_t sent_kept = 7;      ///< seconds of an edge's traffic …
constexpr std::size_t sent_now = 2;       ///< … the last of which are compared with those before
constexpr std::uint64_t audience = 20;    ///< below this many viewers traffic comes and goes with single segments
constexpr auto urgent_for = 2s;           ///< observers hear of it within a second
constexpr auto urgent_every = 10s;        ///< at most

/// Of nothing it is 0.
double mean(std::deque<std::int64_t>::const_iterator from, std::deque<std::int64_t>::const_iterator to) {
  return from == to ? 0 : double(std::accumulate(from, to, std::int64_t{0})) / double(to - from);
}

} // namespace

edge_set::edge_set(const director_options& options)
  : options_(options),
    jury_({.wave = options.probe_every * 11 / 10}),
    feedback_({.gain = options.gain_percent / 100.0, .dead_band = options.dead_band_percent / 100.0, .slew = options.slew_percent / 100.0}) {}

void edge_set::restore(std::vector<edge_table> tables, time_point now) {
  std::ranges::sort(tables, {}, &edge_table::epoch);
  for (auto& t : tables)
    if (steering::check(t)) {
      for (auto& e : t.edges)
        newest_with_[e.name] = t.epoch;
      tables_.push_back({std::move(t), now});
    }
  settled_ = now;
  restored_ = tables_.size() > 1;
  for (auto& e : table().edges)
    add({.name = e.name, .node = {}, .url = e.url, .capacity_bps = e.capacity_bps, .locality = e.locality, .networks_only = e.networks_only}, now);
}

void edge_set::add(const edge_spec& spec, time_point) {
  jury_.add(spec.name);
  auto trouble = locality_trouble(spec);
  auto& its = edges_[spec.name];
  its.spec = spec;
  its.locality_trouble = std::move(trouble);
  if (!its.locality_trouble.empty()) {
    its.spec.locality.clear();
    its.spec.networks.clear();
  }
}

std::string edge_set::locality_trouble(const edge_spec& spec) const {
  auto known = edges_.find(spec.name);
  if (spec.locality.empty() && spec.networks.empty())
    return {};
  if (known != edges_.end() && known->second.locality_trouble.empty() && known->second.spec.locality == spec.locality && known->second.spec.networks == spec.networks)
    return {}; // it says so each second
  if (auto all = steering::localities().add(spec.locality, spec.networks); !all)
    return all.error().text;
  std::set<std::string_view> others;
  for (auto& [name, e] : edges_)
    if (name != spec.name && !e.spec.locality.empty())
      others.insert(e.spec.locality);
  if (others.contains(spec.locality) || others.size() < steering::locality_limit)
    return {};
  return fmt::format("locality {} would be one more than the {} that a cluster may have", spec.locality, steering::locality_limit);
}

void edge_set::remove(const edge_name& edge) {
  jury_.remove(edge);
  feedback_.forget(edge);
  edges_.erase(edge);
  reports_.erase(edge);
  newest_with_.erase(edge);
}

void edge_set::drain(const edge_name& edge, bool drain) { jury_.drain(edge, drain); }

bool edge_set::take(const edge_load& load, time_point now) {
  auto known = edges_.find(load.edge);
  if (known == edges_.end())
    return false;
  auto& s = known->second;
  auto& r = reports_[load.edge];
  // Viewers see a fault first. That so many leave at once may have another reason, so it is no verdict, only a reason to look.
  r.sent.push_back(load.bits_per_second);
  if (r.sent.size() > sent_kept)
    r.sent.pop_front();
  if (r.sent.size() == sent_kept && s.load.viewers >= audience && s.phase != edge_phase::draining && now - r.urged >= urgent_every) {
    auto lately = r.sent.end() - sent_now;
    if (mean(lately, r.sent.end()) < mean(r.sent.begin(), lately) / 2) {
      r.urged = now;
      r.urgent_until = now + urgent_for;
    }
  }
  r.last = now;
  if (load.up) // a report that its nginx is gone is no sign of life
    r.beats.heartbeat(now);
  s.load = load;
  s.restarts = static_cast<std::uint32_t>(load.restarts);
  return true;
}

bool edge_set::hear(const node_name& observer, time_point now) {
  std::erase_if(observers_, [&](auto& o) { return now - o.second.heard > observer_kept; });
  auto& o = observers_[observer];
  if (now - o.counted >= 1s) {
    o.counted = now;
    o.said = 0;
  }
  o.heard = now;
  return ++o.said <= words_a_second;
}

void edge_set::observe(const edge_name& edge, edge_sight sight, time_point now) {
  sight.text = to_valid_utf8(std::string_view(sight.text).substr(0, text_limit)); // an edge's own words may be in it
  jury_.observe(edge, std::move(sight), now);
}

void edge_set::forget_observer(const node_name& observer) {
  observers_.erase(observer);
  jury_.forget(observer);
}

std::vector<edge_spec> edge_set::watched_by(const node_name& observer, time_point now) const {
  std::vector<edge_spec> watched;
  for (auto& [name, e] : edges_) {
    std::vector<std::pair<std::size_t, node_name>> others; // in an order of each edge's own, which moves few when an observer comes or goes
    for (auto& [other, o] : observers_)
      if (other != e.spec.node && (other == observer || now - o.heard <= observer_fresh))
        others.emplace_back(std::hash<std::string>{}(other.value + "/" + name.value), other);
    std::ranges::sort(others);
    others.resize(std::min(others.size(), watchers_of_an_edge));
    if (others.empty() ? observer == e.spec.node : std::ranges::find(others, observer, &std::pair<std::size_t, node_name>::second) != others.end())
      watched.push_back(e.spec);
  }
  return watched;
}

std::vector<edge_name> edge_set::urgent(time_point now) const {
  std::vector<edge_name> all;
  for (auto& [name, r] : reports_)
    if (now < r.urgent_until)
      all.push_back(name);
  return all;
}

void edge_set::note_sights(time_point now) {
  for (auto& [name, e] : edges_) {
    auto& r = reports_[name];
    e.phi_milli = static_cast<std::int64_t>(r.beats.phi(now) * 1000);
    std::string doubt;
    if (r.beats.phi(now) >= options_.suspect_phi) {
      if (now - r.last > reports_patience)
        doubt = fmt::format("no report of its load for {} s", std::chrono::duration_cast<std::chrono::seconds>(now - r.last).count());
      else if (!e.load.up)
        doubt = "it says: " + e.load.trouble;
    }
    e.seen = jury_.sights(name, now);
    e.last_error = doubt;
    for (auto& s : e.seen)
      if (s.view == edge_view::suspect || s.view == edge_view::brown_out) {
        e.last_error = fmt::format("{} sees: {}", s.observer.value, s.text.empty() ? to_string(s.view) : std::string_view(s.text));
        break;
      }
    jury_.doubt(name, std::move(doubt));
  }
}

std::vector<edge_target> edge_set::targets(time_point now) const {
  // Until the edges of the run before had time to be heard, the table of the run before holds.
  if (restored_ && now - settled_ < restored_patience && std::ranges::none_of(edges_, [](auto& e) { return e.second.phase == edge_phase::dead; }))
    return table().edges;
  std::int64_t largest = 1;
  for (auto& [name, e] : edges_)
    largest = std::max(largest, e.spec.capacity_bps);
  std::vector<edge_target> all;
  auto take = [&](auto&& which) {
    for (auto& [name, e] : edges_)
      if (which(e)) // a small edge that is full has a weight, too: in its own locality it may be the largest
        all.push_back({.name = name, .url = e.spec.url, .weight_milli = std::max<std::int64_t>(e.weight_milli * e.spec.capacity_bps / largest, 1),
                       .capacity_bps = e.spec.capacity_bps, .locality = e.spec.locality, .networks_only = e.spec.networks_only,
                       .fair_milli = std::max<std::int64_t>(reports_.at(name).fair_milli * e.spec.capacity_bps / largest, 1)});
  };
  auto well = [](auto& e) { return e.phase == edge_phase::serving || e.phase == edge_phase::suspect; };
  take(well);
  // A venue's edges are no help to those outside: without them the last word of a dead farm stands, as it does where there is no other edge at all.
  if (!table().primary.empty() && !all.empty() && std::ranges::all_of(all, &edge_target::networks_only)) {
    all.clear();
    take([&](auto& e) { return well(e) || (!e.spec.networks_only && e.phase == edge_phase::dead); });
  }
  return all;
}

double edge_set::ramp(const edge_name& edge, time_point oldest, time_point now) const {
  auto since = jury_.serving_since(edge);
  if (since - oldest <= options_.slow_start / 2)
    return 1;
  auto part = steering::slow_start(std::chrono::duration_cast<std::chrono::milliseconds>(now - since), options_.slow_start);
  // In quarters: each step is a table, an event and a record, which long playlists keep for hours, and twelve steps a minute warm a cache no better than four.
  return part < 0.25 ? 0.1 : std::floor(part * 4) / 4;
}

edge_set::change edge_set::judge(time_point now, edge_epoch oldest_named) {
  auto made = derive(now, oldest_named);
  note_named(oldest_named);
  return made;
}

void edge_set::note_named(edge_epoch oldest_named) {
  const auto oldest = std::min(oldest_named, table().epoch);
  for (auto& [name, e] : edges_) {
    auto newest = newest_with_.find(name);
    e.named = newest != newest_with_.end() && newest->second >= oldest;
  }
}

edge_set::change edge_set::derive(time_point now, edge_epoch oldest_named) {
  change made;
  note_sights(now);
  made.phases = jury_.decide(now);
  for (auto& p : made.phases)
    edges_[p.edge].phase = p.to;
  for (auto& [name, e] : edges_) // a drain is no verdict of the jury's, but it knows of it
    if (auto phase = jury_.phase(name); phase != e.phase)
      made.phases.push_back({.edge = name, .from = std::exchange(e.phase, phase), .to = phase, .reason = "set by hand"});
  for (auto& p : made.phases)
    made.cause += (made.cause.empty() ? "" : "; ") + fmt::format("{} is {} ({})", p.edge.value, to_string(p.to), p.reason);
  time_point oldest = now;
  for (auto& [name, e] : edges_)
    if (e.phase == edge_phase::serving)
      oldest = std::min(oldest, jury_.serving_since(name));
  if (now - weighed_ >= weigh_every) {
    weighed_ = now;
    std::vector<steering::edge_measure> loads;
    double sum = 0;
    const auto slow = jury_.brown_outs(now);
    for (auto& [name, e] : edges_) {
      auto& r = reports_[name];
      r.pace = slow.contains(name) ? std::max(r.pace / 2, slowest_pace) : std::min(r.pace * 2, 1.0);
      // An edge in its slow start has less than its share because we want it so: the feedback would make up for that, with a table each time; and its last
      // step shows in its load only when players have fetched what was listed before. The same goes for a slow one. Of an edge whose reports are missing
      // the last weight holds. What an edge for its networks only has is no part of what is shared, and no weight changes it.
      const bool settled = e.phase == edge_phase::serving && ramp(name, oldest, now - shows_after) == 1 && r.pace == 1;
      if (!e.spec.networks_only && settled && r.beats.phi(now) < options_.suspect_phi) {
        // Over the whole interval: players fetch a segment at a time, and a single second tells more of that than of the load.
        const auto bps = mean(r.sent.end() - std::min<std::ptrdiff_t>(std::ssize(r.sent), weigh_every / 1s), r.sent.end());
        loads.push_back({name, bps / double(std::max<std::int64_t>(e.spec.capacity_bps, 1))});
        sum += loads.back().load;
      }
    }
    bool idle = loads.size() < 2 || sum / double(loads.size()) < idle_share;
    bool moved = !idle && feedback_.step(loads);
    if (made.cause.empty())
      made.cause = moved ? "loads differ" : "a weight changed";
  }
  forget(made, oldest_named, now);
  if (made.cause.empty())
    return made;

  for (auto& [name, e] : edges_) { // also of an edge that has only just come: else it had its whole share until the next interval
    if (e.phase != edge_phase::serving)
      continue;
    auto milli = [](double part) { return std::max<std::int64_t>(static_cast<std::int64_t>(1000 * part), 1); };
    const auto part = ramp(name, oldest, now) * reports_[name].pace;
    reports_[name].fair_milli = milli(part);
    e.weight_milli = milli(part * feedback_.weight(name));
  }
  auto wanted = targets(now);
  auto& present = table();
  auto same = [](const edge_target& a, const edge_target& b) {
    return a.name == b.name && a.url == b.url && a.locality == b.locality && a.networks_only == b.networks_only;
  };
  bool same_edges = std::ranges::equal(wanted, present.edges, same);
  if (same_edges && wanted.empty())
    return made;
  auto next = steering::make_table(present.epoch + 1, wanted, &present);
  auto moves = steering::moved_places(present, next);
  bool small = made.phases.empty() && moves < few_buckets && now - made_ < few_wait;
  if (!same_edges || (moves != 0 && !small)) {
    tables_.back().replaced = now;
    for (auto& e : next.edges)
      newest_with_[e.name] = next.epoch;
    tables_.push_back({std::move(next), {}});
    made_ = now;
    made.table = true;
  }
  return made;
}

void edge_set::forget(change& made, edge_epoch oldest_named, time_point now) {
  auto unneeded = [&](const dated& t) { return t.table.epoch < oldest_named && now - t.replaced > table_lives; };
  while (tables_.size() > 1 && (tables_.size() > steering::history_limit || unneeded(tables_.front()))) {
    if (tables_.front().table.epoch != 0) { // which never was a table, so nothing is lost with it
      made.overflow = made.overflow || !unneeded(tables_.front());
      made.forgotten.push_back(tables_.front().table.epoch);
    }
    tables_.pop_front();
  }
}

std::vector<edge_table> edge_set::history() const {
  std::vector<edge_table> all;
  for (auto& t : tables_)
    if (t.table.epoch != 0)
      all.push_back(t.table);
  return all;
}

std::vector<edge_status> edge_set::statuses() const {
  std::vector<edge_status> all;
  for (auto& [name, e] : edges_)
    all.push_back(e);
  return all;
}

const edge_status* edge_set::find(const edge_name& edge) const {
  auto found = edges_.find(edge);
  return found == edges_.end() ? nullptr : &found->second;
}

} // namespace weir
