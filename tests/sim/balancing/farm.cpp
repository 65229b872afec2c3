#include "tests/sim/balancing/farm.hpp"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

namespace weir::balancing {

namespace {

constexpr seconds origin_tells{5};  ///< what it lists, as ORIGIN does
constexpr seconds plan_every{5};
constexpr auto peer_patience = 2s;  ///< then a director takes its peers' counters for missing
constexpr auto report_patience = 3s; ///< of the plan
constexpr std::size_t watched_viewers = 16;

} // namespace

std::uint64_t farm::tally::all_moved() const { return std::accumulate(moved.begin(), moved.end(), std::uint64_t{0}); }
std::size_t farm::tally::moved_twice() const {
  return static_cast<std::size_t>(std::ranges::count_if(moves, [](auto n) { return n > 1; }));
}

farm::farm(farm_options options) : options_(std::move(options)), random_(options_.seed), set_(options_.steering) {
  steering::join_options joins;
  joins.epsilon = options_.steering.slack_percent / 100.0;
  joins.viewer_bps = mean_rate;
  for (std::size_t d = 0; d < options_.directors; ++d) {
    directors_.emplace_back().admission = steering::join_admission(joins);
    directors_.back().heard = now_;
  }
  for (auto c : options_.capacities)
    join(c);
  run(8s); // five good probes
  begin_counting();
}

void farm::join(std::int64_t capacity_bps, bool ours) {
  auto& e = edges_.emplace_back();
  e.spec.name = edge_name{fmt::format("edge-{:03}", edges_.size())};
  e.spec.url = fmt::format("http://{}.example.org:8080", e.spec.name.value);
  e.spec.capacity_bps = capacity_bps;
  e.spec.spare = ours;
  e.reported.edge = e.spec.name;
  by_name_[e.spec.name] = edges_.size() - 1;
  set_.add(e.spec, now_);
}

void farm::resize(std::size_t edge, std::int64_t capacity_bps) {
  edges_[edge].spec.capacity_bps = capacity_bps;
  set_.add(edges_[edge].spec, now_);
}

void farm::drain(std::size_t edge, bool draining) { set_.drain(edges_[edge].spec.name, draining); }

void farm::scale(const scaling::options& plan) {
  plan_options_ = plan;
  plan_.emplace(plan);
}

void farm::run(seconds time, double joins_a_second) {
  for (auto end = now_ + time; now_ < end;)
    step(joins_a_second);
}

void farm::fill(std::size_t viewers) {
  const auto stays = std::exchange(options_.stays, 0s);
  run(40s, double(viewers) / 40);
  options_.stays = stays;
  steady(30s);
  begin_counting();
}

void farm::step(double joins_a_second) {
  now_ += 1s;
  const auto joins = joins_a_second > 0 ? std::poisson_distribution<std::size_t>(joins_a_second)(random_) : 0;
  for (std::size_t n = 0; n < joins; ++n)
    arrive();
  leave();
  carry();
  report();
  list();
  coordinate();
  exchange_counters();
  tell_directors();
  if (plan_ && now_.time_since_epoch() % plan_every == 0s)
    follow_plan();
  count();
}

void farm::arrive() {
  auto& mine = directors_[random_() % directors_.size()];
  viewer v;
  v.rate = static_cast<std::uint32_t>(rates[random_() % rates.size()]);
  auto drawn = mine.admission.admit(random_);
  if (!drawn) {
    ++tally_.refused;
    return;
  }
  v.bucket = static_cast<std::uint16_t>(drawn->bucket);
  v.joined = drawn->epoch;
  if (drawn->lowest_rungs_only) {
    ++tally_.few_rungs;
    v.rate = std::min(v.rate, static_cast<std::uint32_t>(rates[1]));
  }
  ++mine.joins[tables_.newest()->edges[drawn->edge].name];
  auto& b = buckets_[v.bucket];
  ++b.viewers;
  b.bps += v.rate;
  audience_.push_back(v);
}

void farm::leave() {
  if (options_.stays != 0s && !audience_.empty())
    dismiss(std::poisson_distribution<std::size_t>(double(audience_.size()) / double(options_.stays.count()))(random_));
}

void farm::dismiss(std::size_t many) {
  for (many = std::min(many, audience_.size()); many > 0; --many) {
    auto& v = audience_[random_() % audience_.size()];
    auto& b = buckets_[v.bucket];
    --b.viewers;
    b.bps -= v.rate;
    if (v.joined < b.moved)
      b.former_bps -= v.rate;
    v = audience_.back();
    audience_.pop_back();
  }
}

/// A new entry is listed within a target duration, and players look within another one.
double farm::part_moved(const seats& b) const {
  return std::clamp(std::chrono::duration<double>(now_ - b.at) / (2.0 * options_.target), 0.0, 1.0);
}

void farm::carry() {
  for (auto& e : edges_)
    e.load = 0;
  if (tables_.empty() || tables_.newest()->edges.empty())
    return;
  auto& newest = *tables_.newest();
  for (std::size_t n = 0; n < buckets_.size(); ++n) {
    auto& b = buckets_[n];
    const auto backup = index_of(newest.edges[newest.backup[n]].name);
    auto fetch = [&](std::size_t edge, double bps) { // players go to the other pathway by themselves
      if (edges_[edge].ended && bps > 1)
        ++tally_.errors;
      edges_[edges_[edge].ended ? backup : edge].load += bps;
    };
    const auto still = (1 - part_moved(b)) * b.former_bps;
    fetch(b.former, still);
    fetch(b.edge, b.bps - still);
  }
}

void farm::report() {
  for (std::size_t n = 0; n < edges_.size(); ++n) {
    auto& e = edges_[n];
    if (!e.ended) {
      edge_load news;
      news.edge = e.spec.name;
      news.sequence = ++e.sequence;
      news.bits_per_second = static_cast<std::int64_t>(e.load);
      news.viewers = viewers_at(n);
      news.up = true;
      const auto late = seconds(random_() % 2);
      if (!reports_lost_ && !std::bernoulli_distribution(options_.lost)(random_))
        e.under_way.emplace_back(now_ + late, news);
    }
    for (; !e.under_way.empty() && e.under_way.front().first <= now_; e.under_way.pop_front()) {
      e.reported = e.under_way.front().second;
      e.heard = now_;
      set_.take(e.reported, now_);
      e.measured.push_back(e.reported.bits_per_second);
      if (e.measured.size() > 10)
        e.measured.pop_front();
    }
  }
}

/// The origin lists a segment each target duration, under the newest table that it knows.
void farm::list() {
  if (now_.time_since_epoch() % options_.target == 0s)
    listed_.push_back({listed_.empty() ? 1 : listed_.back().msn + 1, tables_.newest_epoch(), now_});
  while (!listed_.empty() && now_ - listed_.front().listed > options_.window)
    listed_.pop_front();
  if (now_.time_since_epoch() % origin_tells == 0s)
    oldest_named_ = listed_.empty() ? edge_set::no_epoch : listed_.front().edges;
  check_addresses();
}

void farm::check_addresses() {
  for (std::size_t n = 0; n < watched_viewers && seen_.size() < watched_viewers && !audience_.empty(); ++n) {
    auto& v = audience_[random_() % audience_.size()];
    seen_[{v.bucket, v.joined}];
  }
  for (auto& [who, addresses] : seen_) {
    for (auto& e : listed_) {
      const std::string url{tables_.base_url(std::max(e.edges, who.second), who.first, false)};
      auto [known, first] = addresses.try_emplace(e.msn, url);
      if (url.empty() || known->second != url)
        ++tally_.changed;
    }
    if (!listed_.empty())
      addresses.erase(addresses.begin(), addresses.lower_bound(listed_.front().msn));
  }
}

void farm::coordinate() {
  for (auto& e : edges_) {
    if (e.ended)
      continue;
    ++e.good;
    for (auto* observer : {"o1", "o2", "o3"})
      set_.observe(e.spec.name, {.observer = node_name{observer}, .view = edge_view::up, .good = e.good, .milliseconds = 5, .text = ""}, now_);
  }
  auto made = set_.judge(now_, oldest_named_);
  if (made.table)
    use_table();
  if (!made.forgotten.empty())
    tables_.forget_before(set_.oldest());
}

void farm::use_table() {
  auto added = tables_.add(set_.table());
  if (!added)
    throw std::logic_error(added.error().text);
  auto table = tables_.newest();
  for (auto& d : directors_)
    d.admission.use(table);
  if (table->primary.empty())
    return;
  const bool first = tables_.size() == 1;
  tally_.moved.resize(edges_.size());
  for (std::size_t n = 0; n < buckets_.size(); ++n) {
    auto& b = buckets_[n];
    const auto edge = index_of(table->edges[table->primary[n]].name);
    if (first)
      b.edge = b.former = edge;
    if (edge == b.edge)
      continue;
    b.former = std::exchange(b.edge, edge);
    b.former_bps = b.bps;
    b.moved = table->epoch;
    b.at = now_;
    if (b.viewers == 0)
      continue;
    tally_.switches += b.viewers;
    tally_.moved[edge] += b.viewers;
    ++tally_.moves[n];
    if (tally_.first_move == time_point{})
      tally_.first_move = now_;
    tally_.last_move = now_;
  }
}

/// Each director's joins of a second reach the others a second later, by way of the coordinator.
void farm::exchange_counters() {
  for (auto& d : directors_)
    d.told.emplace_back(now_ + d.delay, std::exchange(d.joins, {}));
  for (auto& d : directors_)
    for (; !d.silent && !d.told.empty() && d.told.front().first <= now_; d.told.pop_front()) {
      d.heard = now_;
      for (auto& other : directors_)
        if (&other != &d)
          for (auto& [edge, viewers] : d.told.front().second)
            other.admission.assigned_elsewhere(edge, viewers);
    }
  for (auto& d : directors_)
    d.admission.counters_lost(std::ranges::any_of(directors_, [&](auto& other) { return &other != &d && now_ - other.heard > peer_patience; }));
}

void farm::tell_directors() {
  for (auto& d : directors_)
    for (auto& e : edges_) {
      auto& seen = d.reported[e.spec.name];
      if (e.reported.sequence != seen)
        d.admission.report(e.spec.name, e.reported.sequence, e.reported.bits_per_second);
      seen = e.reported.sequence;
      d.admission.close(e.spec.name, phase(by_name_.at(e.spec.name)) != edge_phase::serving);
    }
}

void farm::follow_plan() {
  for (; !ordered_.empty() && ordered_.begin()->first <= now_; ordered_.erase(ordered_.begin()))
    join(ordered_.begin()->second, true);
  scaling::farm f;
  for (std::size_t n = 0; n < edges_.size(); ++n) {
    auto& e = edges_[n];
    if (e.ended)
      continue;
    std::optional<std::int64_t> mean;
    if (!e.measured.empty() && now_ - e.heard <= report_patience)
      mean = std::accumulate(e.measured.begin(), e.measured.end(), std::int64_t{0}) / static_cast<std::int64_t>(e.measured.size());
    auto* status = set_.find(e.spec.name);
    f.edges.push_back({.name = e.spec.name, .phase = status->phase, .ours = e.spec.spare, .named = status->named, .capacity_bps = e.spec.capacity_bps, .bps = mean,
                       .viewers = e.reported.viewers});
  }
  f.ordered = static_cast<std::uint32_t>(ordered_.size());
  const auto d = plan_->decide(f, now_, timestamp{now_.time_since_epoch()});
  for (std::uint32_t n = 0; n < d.start; ++n)
    ordered_.emplace(now_ + plan_options_.boot - 5s, options_.capacities.front()); // five good probes more, and it serves
  for (auto& name : d.keep)
    set_.drain(name, false);
  for (auto& name : d.drain) {
    set_.drain(name, true);
    tally_.drains.push_back(now_);
  }
  for (auto& name : d.end) {
    edges_[index_of(name)].ended = true;
    set_.remove(name);
    tally_.ends.push_back(now_);
  }
}

std::size_t farm::viewers_at(std::size_t edge) const {
  std::size_t all = 0;
  for (auto& b : buckets_)
    all += b.edge == edge ? b.viewers : 0;
  return all;
}

edge_phase farm::phase(std::size_t edge) const {
  auto* status = set_.find(edges_[edge].spec.name);
  return status == nullptr ? edge_phase::stopped : status->phase;
}

std::size_t farm::serving() const {
  std::size_t all = 0;
  for (std::size_t n = 0; n < edges_.size(); ++n)
    all += phase(n) == edge_phase::serving ? 1 : 0;
  return all;
}

double farm::imbalance() const {
  double carried = 0, capacity = 0, top = 0;
  for (std::size_t n = 0; n < edges_.size(); ++n)
    if (phase(n) == edge_phase::serving) {
      carried += edges_[n].load;
      capacity += double(edges_[n].spec.capacity_bps);
      top = std::max(top, edges_[n].load / double(edges_[n].spec.capacity_bps));
    }
  return carried > 0 ? top / (carried / capacity) : 1;
}

double farm::fullest() const {
  double top = 0;
  for (auto& e : edges_)
    top = std::max(top, e.load / double(e.spec.capacity_bps));
  return top;
}

void farm::begin_counting() {
  tally_ = {};
  tally_.moved.resize(edges_.size());
}

void farm::count() {
  const auto off = imbalance();
  tally_.worst = std::max(tally_.worst, off);
  tally_.sum += off;
  ++tally_.steps;
  tally_.viewer_seconds += double(audience_.size());
  for (auto& e : edges_) {
    e.over = e.load > double(e.spec.capacity_bps) ? e.over + 1s : 0s;
    tally_.overloaded = std::max(tally_.overloaded, e.over);
    // Who watches from the past fetches what is listed, not only what is new.
    if (e.ended && tables_.newest_with(std::set{e.spec.name}) >= (listed_.empty() ? tables_.newest_epoch() : listed_.front().edges))
      ++tally_.errors;
  }
}

} // namespace weir::balancing
