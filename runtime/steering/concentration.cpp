#include "runtime/steering/concentration.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include <xxhash.h>

namespace weir::steering {

std::uint64_t stream_seed(std::string_view stream_and_instance) { return XXH3_64bits(stream_and_instance.data(), stream_and_instance.size()); }

std::span<const std::uint16_t> edges_of(const edge_table& table, stream_reach reach) {
  thread_local std::vector<std::pair<double, std::uint16_t>> best; // a heap, the least wanted in front
  thread_local std::vector<std::uint16_t> chosen;
  chosen.clear();
  if (reach.width == 0 || table.primary.empty() || reach.width >= table.edges.size())
    return chosen;
  best.clear();
  std::size_t open = 0;
  for (std::size_t e = 0; e < table.edges.size(); ++e) {
    auto& edge = table.edges[e];
    if (edge.networks_only)
      continue;
    ++open;
    const auto hash = XXH3_64bits_withSeed(edge.name.value.data(), edge.name.value.size(), reach.stream);
    const auto uniform = (static_cast<double>(hash >> 11) + 0.5) * 0x1p-53;
    const auto weight = static_cast<double>(std::max<std::int64_t>(edge.fair(), 1));
    if (best.size() == reach.width) {
      if (weight <= best.front().first * (1 - uniform)) // −ln u > 1 − u: most need no logarithm
        continue;
      if (const auto wish = -weight / std::log(uniform); wish > best.front().first) {
        std::ranges::pop_heap(best, std::greater{});
        best.back() = {wish, static_cast<std::uint16_t>(e)};
        std::ranges::push_heap(best, std::greater{});
      }
      continue;
    }
    best.emplace_back(-weight / std::log(uniform), static_cast<std::uint16_t>(e));
    std::ranges::push_heap(best, std::greater{});
  }
  if (open > reach.width)
    for (auto& [wish, e] : best)
      chosen.push_back(e);
  return chosen;
}

place place_among(const edge_table& table, std::span<const std::uint16_t> edges, std::uint32_t bucket) {
  const auto own = table.primary[bucket];
  constexpr double first = HUGE_VAL;
  auto best = edges.front(), next = edges.front();
  double best_wish = -1, next_wish = -1;
  for (auto e : edges) {
    const auto wish = e == own ? first : preference(bucket, table.edges[e].name.value, std::max<std::int64_t>(table.edges[e].weight_milli, 1));
    if (wish > best_wish) {
      next = std::exchange(best, e);
      next_wish = std::exchange(best_wish, wish);
    } else if (wish > next_wish) {
      next = e;
      next_wish = wish;
    }
  }
  if (edges.size() == 1)
    next = own != best ? own : table.backup[bucket];
  return {best, next};
}

std::uint32_t width_for(double demand_bps, double egress_bps, const width_options& options) {
  const auto needed = std::ceil(std::max(demand_bps, 0.0) / (options.fill * egress_bps)) + 1;
  return std::max(static_cast<std::uint32_t>(std::min(needed, static_cast<double>(edge_limit))), options.least);
}

void stream_widths::step(const demands& seen, const edge_table& table, time_point now) {
  const auto passed = stepped_ == time_point{} ? 0.0 : std::chrono::duration<double>(now - stepped_).count();
  stepped_ = now;
  edges_ = 0;
  double egress = 0;
  bool bounded = true;
  for (auto& e : table.edges)
    if (!e.networks_only) {
      ++edges_;
      egress += static_cast<double>(e.capacity_bps);
      bounded = bounded && e.capacity_bps > 0;
    }
  if (!options_.concentrate || !bounded)
    edges_ = 0;
  known_ = now - started_ >= options_.silence;
  std::erase_if(streams_, [&](auto& s) { return !seen.contains(s.first); });
  if (edges_ == 0)
    return;
  egress /= edges_;
  const auto gone = std::exp(-passed / std::chrono::duration<double>(options_.arrival).count());
  const auto stays = std::exp(-passed / std::chrono::duration<double>(options_.smoothing).count());
  for (auto& [name, demand] : seen) {
    auto [at, fresh] = streams_.try_emplace(name);
    auto& s = at->second;
    const auto before = fresh && !known_ ? demand.sessions : s.sessions; // those from before our start are at the edges by now
    s.arriving = s.arriving * gone + (demand.sessions > before ? static_cast<double>(demand.sessions - before) : 0);
    s.sessions = demand.sessions;
    s.bps = fresh ? static_cast<double>(demand.bits_per_second) : s.bps * stays + static_cast<double>(demand.bits_per_second) * (1 - stays);
    const auto each = static_cast<double>(options_.viewer_bps);
    const auto wanted = std::max(static_cast<double>(demand.viewers) * each, s.bps) + s.arriving * each;
    const auto needed = width_for(wanted, egress, options_), with_margin = width_for(wanted * options_.margin, egress, options_);
    if (needed >= s.width || with_margin >= s.width) {
      s.width = std::max(s.width, needed);
      s.most = 0;
      continue;
    }
    if (s.most == 0)
      s.since = now;
    s.most = std::max(s.most, with_margin);
    if (now - s.since >= options_.patience)
      s.width = std::exchange(s.most, 0);
  }
}

std::uint32_t stream_widths::width(std::string_view stream) const {
  auto found = streams_.find(stream);
  return among(found == streams_.end() ? options_.least : found->second.width);
}

width_list stream_widths::list() const {
  width_list all{.usual = among(options_.least), .wide = {}, .known = known_};
  for (auto& [name, s] : streams_)
    if (auto its = among(s.width); its != all.usual)
      all.wide.push_back({name, its});
  return all;
}

} // namespace weir::steering
