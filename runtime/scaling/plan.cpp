#include "runtime/scaling/plan.hpp"

#include <algorithm>
#include <cmath>
#include <ranges>

#include <fmt/format.h>

namespace weir::scaling {

using namespace std::chrono_literals;

namespace {

constexpr double nobody = 0.01;         ///< of an edge's capacity: probes, and no audience
constexpr milliseconds slope_over = 10s; ///< what an audience did within it is taken to go on

double seconds(milliseconds t) { return std::chrono::duration<double>(t).count(); }

/// For people: three digits.
std::string about(double bps) {
  if (bps < 1)
    return "0 bit/s";
  auto step = std::pow(10, std::floor(std::log10(bps)) - 2);
  return to_string(bit_rate{static_cast<std::int64_t>(std::round(bps / step) * step)}) + "bit/s";
}

/// Serves, may do so again in a moment, or is about to.
bool counts(const edge& e) { return e.phase == edge_phase::serving || e.phase == edge_phase::suspect || e.phase == edge_phase::starting; }

std::uint64_t audience_of(const farm& f) {
  std::uint64_t all = 0;
  for (auto& e : f.edges)
    all += e.viewers;
  return all;
}

/// What one more edge can carry: the mean of those that are there; 0: without bound, or unknown.
double size_of_a_new_one(const farm& f) {
  double all = 0;
  std::size_t known = 0;
  for (auto& e : f.edges)
    if (e.capacity_bps > 0) {
      all += double(e.capacity_bps);
      ++known;
    }
  return known == 0 ? 0 : all / double(known);
}

/// What is left when the largest is lost, with some more of one size.
double room_of(const std::vector<const edge*>& edges, std::uint32_t more, double each) {
  double all = more * each, largest = more > 0 ? each : 0;
  for (auto* e : edges) {
    auto own = e->capacity_bps > 0 ? double(e->capacity_bps) : each;
    all += own;
    largest = std::max(largest, own);
  }
  return all - largest;
}

} // namespace

planner::demand planner::demand_of(const farm& f, double each, steady_time now, timestamp wall) {
  const auto& o = options_;
  double seen = 0, unseen = 0; // bit/s
  for (auto& e : f.edges)
    if (e.bps)
      seen += double(*e.bps);
    else if (counts(e) || e.phase == edge_phase::draining)
      unseen += e.capacity_bps > 0 ? double(e.capacity_bps) : each;

  const auto viewers = audience_of(f);
  while (!audience_.empty() && now - audience_.front().first > slope_over)
    audience_.pop_front();
  audience_.emplace_back(now, viewers);
  auto growth = 1 + o.growth * seconds(o.boot);
  std::string because;
  const auto [then, before] = audience_.front();
  // Who counts distinct viewers of some seconds counts by chance: what two counts differ by at four standard deviations is no trend.
  if (const auto more = double(viewers) - double(before); now - then >= slope_over / 2 && more > 4 * std::sqrt(2 * double(viewers))) {
    const auto a_second = more / seconds(std::chrono::duration_cast<milliseconds>(now - then));
    const auto then_there = double(viewers) + a_second * seconds(o.boot);
    if (before > 0 && then_there / double(viewers) > growth) {
      growth = then_there / double(viewers);
      because = fmt::format(", {:.0f} more come each second", a_second);
    }
  }
  demand d{.out = seen * (1 + o.imbalance) * growth, .in = (seen + unseen) * (1 + o.imbalance) * growth, .why = {}};
  d.why = fmt::format("{} to {} viewers{}", about(seen), viewers, because);
  if (unseen > 0)
    d.why += ", some edges not measured";

  constexpr std::uint64_t enough = 50; // viewers, for a mean rate
  const auto rate = viewers >= enough && seen > 0 ? seen / double(viewers) : double(o.viewer_bps);
  for (auto& e : f.expected) {
    if (wall < e.from - o.boot - o.early || wall >= e.until)
      continue;
    const auto wanted = double(e.viewers) * rate * (1 + o.imbalance);
    if (wanted > d.out)
      d.why += fmt::format(", {} expected for {}", e.viewers, e.what);
    d.out = std::max(d.out, wanted);
    d.in = std::max(d.in, wanted);
  }
  return d;
}

void planner::end_what_is_over(const farm& f, steady_time now, decision& d) {
  std::erase_if(leaving_, [&](auto& one) {
    auto still = std::ranges::find(f.edges, one.first, &edge::name);
    return still == f.edges.end() || counts(*still);
  });
  for (auto& e : f.edges) {
    if (!e.ours || counts(e))
      continue;
    auto& its = leaving_.try_emplace(e.name, exit{now, now}).first->second;
    if (e.named)
      its.named = now;
    const bool drained = e.phase == edge_phase::draining && (now - its.named >= options_.serve_out || now - its.since >= options_.deadline);
    const bool lost = e.phase == edge_phase::dead && now - its.since >= options_.given_up;
    if (drained || lost || e.phase == edge_phase::stopped)
      d.end.push_back(e.name);
  }
}

decision planner::decide(const farm& f, steady_time now, timestamp wall) {
  const auto& o = options_;
  if (began_ == steady_time{})
    began_ = now;
  decision d;
  end_what_is_over(f, now, d);

  std::vector<const edge*> there, leaving;
  for (auto& e : f.edges)
    if (counts(e))
      there.push_back(&e);
    else if (e.phase == edge_phase::draining && e.ours)
      leaving.push_back(&e);
  d.have = static_cast<std::uint32_t>(there.size()) + f.ordered;

  const auto each = size_of_a_new_one(f);
  const auto asked = demand_of(f, each, now, wall);
  while (!peaks_.empty() && (now - peaks_.front().at > o.memory))
    peaks_.pop_front();
  while (!peaks_.empty() && peaks_.back().bps <= asked.in)
    peaks_.pop_back();
  peaks_.push_back({now, asked.in});
  const auto peak = peaks_.front().bps;

  d.demand_bps = static_cast<std::int64_t>(asked.out);
  const auto room = room_of(there, f.ordered, each);
  const bool measurable = each > 0 && std::ranges::all_of(there, [](auto* e) { return e->capacity_bps > 0; });
  const bool too_little = measurable && asked.out > std::max(room * (1 + o.tolerance), each * nobody);
  d.want = d.have;
  if (d.have < o.least || (too_little && d.have < o.most)) {
    auto missing = measurable && asked.out > room ? static_cast<std::uint32_t>(std::min(std::ceil((asked.out - room) / each), 1e6)) : 0;
    if (d.have == 0 && asked.out > 0)
      ++missing; // the one that may be lost
    d.want = std::clamp(d.have + missing, o.least, std::max(o.least, o.most));
    auto more = d.want - d.have;
    std::ranges::sort(leaving, std::ranges::greater{}, &edge::capacity_bps);
    for (auto* e : leaving | std::views::take(more)) {
      d.keep.push_back(e->name);
      std::erase(d.end, e->name); // though its time is over
    }
    d.start = more - static_cast<std::uint32_t>(d.keep.size());
    d.why = fmt::format("{}: {} edges are too few for {} with one of them lost", asked.why, d.have, about(asked.out));
    if (d.have < o.least)
      d.why = fmt::format("{}: there are to be {} edges at least", asked.why, o.least);
    if (d.want == o.most)
      d.why += fmt::format("; more than {} are not allowed", o.most);
    return d;
  }
  if (too_little) {
    d.why = fmt::format("{}: {} edges are too few for {}, and more are not allowed", asked.why, d.have, about(asked.out));
    return d;
  }

  // In: slowly, and never by what was not seen.
  auto stays = [&](std::string why) {
    d.why = fmt::format("{}: {}", asked.why, why);
    return d;
  };
  if (!measurable)
    return stays("edges without a capacity cannot be reckoned with (edge.capacity)");
  if (peak > room * (1 - o.tolerance) || d.have <= o.least)
    return stays(fmt::format("{} edges are enough", d.have));
  std::vector<const edge*> may_go;
  for (auto* e : there)
    if (e->ours && e->phase == edge_phase::serving)
      may_go.push_back(e);
  std::ranges::sort(may_go, {}, &edge::viewers);
  const auto step = std::max<std::size_t>(1, d.have / 10);
  auto left = there;
  for (auto* e : may_go) {
    if (d.drain.size() == step || d.have - d.drain.size() <= o.least)
      break;
    std::erase(left, e);
    if (room_of(left, f.ordered, each) < peak) {
      left.push_back(e);
      break;
    }
    d.drain.push_back(e->name);
  }
  if (d.drain.empty())
    return stays(fmt::format("{} edges are enough", d.have));
  auto waits = [&](std::string why) {
    d.drain.clear();
    return stays(std::move(why));
  };
  if (now - began_ < o.memory)
    return waits("fewer edges would do, which is watched for a while before one is ended");
  if (leaving.size() > d.end.size() || (last_in_ != steady_time{} && now - last_in_ < o.cool_down))
    return waits("fewer edges would do; one is being ended already or was a moment ago");
  if (f.ordered > 0 || std::ranges::any_of(there, [](auto* e) { return e->phase != edge_phase::serving; }))
    return waits("fewer edges would do, but not all of them serve now");
  last_in_ = now;
  d.want = d.have - static_cast<std::uint32_t>(d.drain.size());
  return stays(fmt::format("for {} s {} edges were enough for {} with one of them lost", o.memory / 1s, d.want, about(peak)));
}

} // namespace weir::scaling
