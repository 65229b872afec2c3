#include "runtime/steering/joins.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace weir::steering {

void join_admission::use(std::shared_ptr<const edge_table> table) {
  table_ = std::move(table);
  counts_.clear();
  buckets_.assign(table_->edges.size(), {});
  all_ = {};
  for (auto& [name, near] : near_)
    near.edges = {};
  std::unordered_map<std::string, edge_count> kept;
  for (auto& e : table_->edges) {
    kept[e.name.value] = std::move(by_name_[e.name.value]);
    auto add = [&](group& to) {
      to.edges.push_back(static_cast<std::uint16_t>(&e - table_->edges.data()));
      to.fair_sum += static_cast<double>(e.fair());
    };
    if (!e.networks_only)
      add(all_);
    if (!e.locality.empty())
      add(near_[e.locality].edges);
  }
  std::erase_if(near_, [](auto& one) { return one.second.edges.edges.empty(); });
  by_name_ = std::move(kept);
  for (auto& e : table_->edges)
    counts_.push_back(&by_name_[e.name.value]);
  for (std::uint32_t b = 0; b < table_->primary.size(); ++b)
    buckets_[table_->primary[b]].push_back(b);
}

void join_admission::report(const edge_name& edge, std::uint64_t sequence, std::int64_t bits_per_second, bool restarted) {
  auto found = by_name_.find(edge.value);
  if (found == by_name_.end() || (sequence <= found->second.sequence && !restarted))
    return;
  auto& c = found->second;
  // One for each that should have come: after a lost one, too, what was assigned is in flight for as long as on other edges.
  const auto passed = restarted ? 1 : std::min<std::uint64_t>(sequence - c.sequence, options_.settle_reports);
  c.sequence = sequence;
  c.reported = static_cast<double>(std::max<std::int64_t>(bits_per_second, 0));
  c.in_flight.resize(c.in_flight.size() + passed);
  while (c.in_flight.size() > options_.settle_reports)
    c.in_flight.pop_front();
}

void join_admission::assigned_elsewhere(const edge_name& edge, std::uint32_t viewers) {
  if (auto found = by_name_.find(edge.value); found != by_name_.end())
    found->second.in_flight.back() += viewers;
}

void join_admission::close(const edge_name& edge, bool closed) {
  if (auto found = by_name_.find(edge.value); found != by_name_.end())
    found->second.closed = closed;
}

double join_admission::estimate(std::size_t edge) const {
  double viewers = 0;
  for (auto n : counts_[edge]->in_flight)
    viewers += n;
  return counts_[edge]->reported + viewers * static_cast<double>(options_.viewer_bps);
}

std::map<std::string, std::uint64_t> join_admission::admitted() const {
  std::map<std::string, std::uint64_t> all;
  for (auto& [name, c] : by_name_)
    all[name] = c.admitted;
  return all;
}

std::map<std::string, join_admission::nearness> join_admission::by_locality() const {
  std::map<std::string, nearness> all;
  for (auto& [name, one] : near_)
    all[name] = {one.near, one.elsewhere};
  return all;
}

join_admission::farm join_admission::whole(const group& of) const {
  farm all;
  bool bounded = true;
  for (auto e : of.edges) {
    all.used += estimate(e);
    all.capacity += static_cast<double>(table_->edges[e].capacity_bps);
    bounded = bounded && table_->edges[e].capacity_bps > 0;
  }
  return bounded ? all : farm{all.used, 0};
}

expected<void> join_admission::ready() const {
  if (!table_ || table_->primary.empty())
    return fail(error_code::unavailable, "no edge serves viewers");
  auto [used, capacity] = whole(all_);
  if (capacity > 0 && used > capacity)
    return fail(error_code::too_many, fmt::format("edges carry {:.0f} of {:.0f} Mbit/s: no room for another viewer", used / 1e6, capacity / 1e6));
  return {};
}

bool join_admission::has_room(std::size_t edge, bool even_closed) const {
  auto& target = table_->edges[edge];
  auto with_one_more = estimate(edge) + static_cast<double>(options_.viewer_bps);
  return (even_closed || !counts_[edge]->closed) && target.weight_milli > 0 && (target.capacity_bps <= 0 || with_one_more <= options_.full * static_cast<double>(target.capacity_bps));
}

std::optional<std::uint32_t> join_admission::bucket_of(std::uint16_t edge, std::string_view locality, std::uint64_t random) const {
  for (std::uint32_t i = 0; i < bucket_count; ++i)
    if (auto bucket = static_cast<std::uint32_t>((random + i) % bucket_count); place_of(*table_, bucket, locality)->primary == edge)
      return bucket;
  return std::nullopt;
}

std::optional<std::uint16_t> join_admission::roomiest(const group& among, bool even_closed) const {
  std::optional<std::uint16_t> best;
  for (auto e : among.edges)
    if (has_room(e, even_closed) && (!best || relative(e) < relative(*best)))
      best = e;
  return best;
}

/// The bound counts whole viewers, so that the first few of an evening find a place.
bool join_admission::open(std::size_t edge, const group& among) const {
  if (!has_room(edge))
    return false;
  double total = 0;
  for (auto e : among.edges)
    total += estimate(e);
  auto viewer = static_cast<double>(options_.viewer_bps);
  auto fair = static_cast<double>(table_->edges[edge].fair()) / among.fair_sum * (total + viewer);
  return estimate(edge) + viewer <= std::ceil((1 + options_.epsilon) * fair / viewer) * viewer;
}

/// The more likely, the more their loads differ. These are a second old and in part estimated: if the least difference decided, the edge that looks
/// emptiest would take twice its share of a crowd until it is heard of again.
bool join_admission::prefers_other(std::size_t a, std::size_t b, std::uint64_t random) const {
  const auto of_a = relative(a), of_b = relative(b), sum = of_a + of_b;
  return sum > 0 && static_cast<double>(random >> 52) * 0x1p-12 < 0.5 + options_.pull * (of_a - of_b) / sum;
}

double join_admission::relative(std::size_t edge) const { return estimate(edge) / static_cast<double>(std::max<std::int64_t>(table_->edges[edge].fair(), 1)); }

std::size_t join_admission::least_loaded() const {
  std::size_t best = counts_.size();
  for (bool even_closed : {false, true}) { // a viewer on a suspect edge is better than a viewer turned away
    for (std::size_t e = 0; e < counts_.size(); ++e)
      if (!buckets_[e].empty() && (even_closed || !counts_[e]->closed) && (best == counts_.size() || relative(e) < relative(best)))
        best = e;
    if (best != counts_.size())
      break;
  }
  return best;
}

/// Draws edges in proportion to the room below the common level (Dahlin's load interpretation).
std::size_t join_admission::by_interpretation(std::uint64_t random) const {
  double top = 0;
  auto level = [&](std::size_t e) { return counts_[e]->reported / static_cast<double>(std::max<std::int64_t>(table_->edges[e].fair(), 1)); };
  auto usable = [&](std::size_t e) { return !buckets_[e].empty() && !counts_[e]->closed; };
  for (std::size_t e = 0; e < counts_.size(); ++e)
    if (!buckets_[e].empty())
      top = std::max(top, level(e));
  auto room = [&](std::size_t e) {
    auto w = static_cast<double>(table_->edges[e].fair());
    return usable(e) ? (top - level(e)) * w + 0.1 * w * (top + 1) : 0.0; // the tenth: nobody is shut out on old news
  };
  double sum = 0;
  for (std::size_t e = 0; e < counts_.size(); ++e)
    sum += room(e);
  auto at = static_cast<double>(random >> 11) * 0x1p-53 * sum;
  for (std::size_t e = 0; e < counts_.size(); ++e)
    if (at < room(e))
      return e;
    else
      at -= room(e);
  return least_loaded();
}

void join_admission::calm_down() {
  const double stays = 0.875, nobody = 0.5;
  for (auto& [stream, viewers] : crowds_)
    viewers *= stays;
  std::erase_if(crowds_, [&](auto& c) { return c.second < nobody; });
}

double join_admission::unnoticed() const {
  double capacity = 0;
  for (auto e : all_.edges)
    capacity += static_cast<double>(table_->edges[e].capacity_bps);
  return options_.calm_share * capacity / static_cast<double>(all_.edges.size()) / static_cast<double>(options_.viewer_bps);
}

join join_admission::take(std::uint32_t bucket, std::uint16_t edge) {
  ++counts_[edge]->in_flight.back();
  ++counts_[edge]->admitted;
  auto [used, capacity] = whole(all_);
  return {bucket, table_->epoch, edge, capacity > 0 && used > 0.95 * capacity};
}

/// An edge that is open has room: all rungs, however full the others are.
join join_admission::take(std::uint32_t bucket, std::uint16_t edge, near_group& near) {
  ++counts_[edge]->in_flight.back();
  ++counts_[edge]->admitted;
  ++near.near;
  return {.bucket = bucket, .epoch = table_->epoch, .edge = edge, .near = true};
}

} // namespace weir::steering
