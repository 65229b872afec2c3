#include "runtime/steering/liveness.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace weir::steering {

void edge_watch::probe(const probe_result& result) {
  probed_ = true;
  missed_ = result.answered ? 0 : missed_ + 1;
  stale_ = result.answered && result.target.count() > 0 && result.playlist_age > result.target * 3 / 2;
  slow_.push_back(result.answered && result.first_byte > options_.slow);
  if (slow_.size() > 5)
    slow_.pop_front();
  good_ = result.answered && !stale_ && !slow_.back() ? good_ + 1 : 0;
}

edge_view edge_watch::view(steady_time now) const {
  if (!probed_ && !beats_.heard())
    return edge_view::unknown;
  if (missed_ >= options_.misses || beats_.phi(now) >= options_.phi)
    return edge_view::suspect;
  if (stale_ || std::count(slow_.begin(), slow_.end(), true) >= 3)
    return edge_view::brown_out;
  return edge_view::up;
}

void edge_jury::add(const edge_name& edge) { edges_.try_emplace(edge.value); }
void edge_jury::remove(const edge_name& edge) { edges_.erase(edge.value); }

void edge_jury::drain(const edge_name& edge, bool draining) {
  if (auto found = edges_.find(edge.value); found != edges_.end()) {
    auto& s = found->second;
    if (draining)
      s.phase = edge_phase::draining;
    else if (s.phase == edge_phase::draining)
      s.phase = edge_phase::starting;
  }
}

void edge_jury::observe(const std::string& observer, const edge_name& edge, edge_view view, steady_time now) {
  auto found = edges_.find(edge.value);
  if (found == edges_.end() || view == edge_view::unknown)
    return;
  auto& s = found->second.views[observer];
  s.good = view == edge_view::up ? s.good + 1 : 0;
  s.view = view;
  s.at = now;
}

/// Whoever sees more than half of the edges down is more likely cut off itself.
std::map<std::string, bool> edge_jury::abstaining(steady_time now) const {
  std::map<std::string, std::pair<std::size_t, std::size_t>> down; // suspect, all
  for (auto& [name, s] : edges_)
    for (auto& [observer, v] : s.views)
      if (now - v.at <= options_.fresh) {
        down[observer].first += v.view == edge_view::suspect ? 1 : 0;
        ++down[observer].second;
      }
  std::map<std::string, bool> out;
  for (auto& [observer, n] : down)
    out[observer] = n.second > 1 && 2 * n.first > n.second;
  return out;
}

edge_jury::count edge_jury::count_of(const state& s, const std::map<std::string, bool>& abstains, steady_time now) const {
  count c;
  for (auto& [observer, v] : s.views) {
    auto known = abstains.find(observer);
    if (now - v.at > options_.fresh || (known != abstains.end() && known->second))
      continue;
    c.up += v.view == edge_view::up ? 1 : 0;
    c.brown_out += v.view == edge_view::brown_out ? 1 : 0;
    c.suspect += v.view == edge_view::suspect ? 1 : 0;
    c.recovered += v.good >= options_.recovery ? 1 : 0;
  }
  return c;
}

std::vector<edge_change> edge_jury::decide(steady_time now) {
  auto abstains = abstaining(now);
  std::vector<edge_change> changes;
  std::size_t down = 0;
  for (auto& [name, s] : edges_) {
    auto c = count_of(s, abstains, now);
    auto to = s.phase;
    std::string reason;
    switch (s.phase) {
      case edge_phase::serving:
      case edge_phase::suspect:
        if (c.suspect >= quorum()) {
          to = edge_phase::dead;
          reason = fmt::format("{} of {} observers do not hear it", c.suspect, options_.observers);
        } else if (c.suspect > 0) {
          to = edge_phase::suspect;
          reason = fmt::format("{} of {} observers do not hear it", c.suspect, options_.observers);
        } else if (c.up + c.brown_out > 0) {
          to = edge_phase::serving;
          reason = "it is heard again";
        }
        break;
      case edge_phase::starting:
      case edge_phase::dead:
        if (c.recovered >= quorum() && now >= s.held_until) {
          to = edge_phase::serving;
          reason = fmt::format("{} good probes in a row", options_.recovery);
        }
        break;
      case edge_phase::draining:
      case edge_phase::stopped: break;
    }
    down += to == edge_phase::dead ? 1 : 0;
    if (to != s.phase)
      changes.push_back({edge_name(name), s.phase, to, std::move(reason)});
  }
  // An observer's fault looks like the death of many: then the last good view stays in force.
  bool new_death = std::any_of(changes.begin(), changes.end(), [](auto& c) { return c.to == edge_phase::dead; });
  bool all_abstain = !abstains.empty() && std::all_of(abstains.begin(), abstains.end(), [](auto& a) { return a.second; });
  panicking_ = all_abstain || (new_death && 2 * down > edges_.size());
  if (panicking_)
    return {};
  for (auto& c : changes) {
    auto& s = edges_[c.edge.value];
    s.phase = c.to;
    if (c.to == edge_phase::dead) {
      s.deaths.push_back(now);
      while (!s.deaths.empty() && now - s.deaths.front() > options_.flap_window)
        s.deaths.pop_front();
      if (s.deaths.size() >= options_.deaths)
        s.held_until = now + options_.held_out;
      s.serving_since = {};
      for (auto& [observer, v] : s.views)
        v.good = 0;
    }
    if (c.to == edge_phase::serving && c.from != edge_phase::suspect)
      s.serving_since = now;
  }
  return changes;
}

edge_phase edge_jury::phase(const edge_name& edge) const {
  auto found = edges_.find(edge.value);
  return found == edges_.end() ? edge_phase::stopped : found->second.phase;
}

steady_time edge_jury::serving_since(const edge_name& edge) const {
  auto found = edges_.find(edge.value);
  return found == edges_.end() ? steady_time{} : found->second.serving_since;
}

bool edge_jury::brown_out(const edge_name& edge, steady_time now) const {
  auto found = edges_.find(edge.value);
  return found != edges_.end() && count_of(found->second, abstaining(now), now).brown_out >= quorum();
}

} // namespace weir::steering
