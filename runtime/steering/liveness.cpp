#include "runtime/steering/liveness.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace weir::steering {

void edge_watch::probe(const probe_result& result) {
  probed_ = true;
  asked_.reset();
  missed_ = result.good ? 0 : missed_ + 1;
  slow_.push_back(result.good && result.took > options_.slow);
  if (slow_.size() > 5)
    slow_.pop_front();
  good_ = result.good && !slow_.back() ? good_ + 1 : 0;
}

edge_view edge_watch::view(steady_time now) const {
  const bool late = asked_ && now - *asked_ >= options_.slow;
  if (!probed_ && !late)
    return edge_view::unknown;
  if (missed_ + (late ? 1 : 0) >= options_.misses)
    return edge_view::suspect;
  return std::count(slow_.begin(), slow_.end(), true) >= 3 ? edge_view::brown_out : edge_view::up;
}

void edge_jury::add(const edge_name& edge) { edges_.try_emplace(edge); }
void edge_jury::remove(const edge_name& edge) { edges_.erase(edge); }

void edge_jury::drain(const edge_name& edge, bool draining) {
  if (auto found = edges_.find(edge); found != edges_.end()) {
    auto& s = found->second;
    if (draining)
      s.phase = edge_phase::draining;
    else if (s.phase == edge_phase::draining)
      s.phase = edge_phase::starting;
  }
}

void edge_jury::observe(const edge_name& edge, edge_sight sight, steady_time now) {
  auto found = edges_.find(edge);
  if (found == edges_.end() || sight.view == edge_view::unknown)
    return;
  auto& v = found->second.views[sight.observer];
  if (sight.view == edge_view::suspect && v.sight.view != edge_view::suspect)
    v.suspected = now;
  v.sight = std::move(sight);
  v.at = now;
}

void edge_jury::forget(const node_name& observer) {
  for (auto& [name, s] : edges_)
    s.views.erase(observer);
}

void edge_jury::doubt(const edge_name& edge, std::string why) {
  if (auto found = edges_.find(edge); found != edges_.end())
    found->second.doubt = std::move(why);
}

/// Whoever sees more than half of the edges down is more likely cut off itself.
std::set<node_name> edge_jury::abstaining(steady_time now) const {
  std::map<node_name, std::pair<std::size_t, std::size_t>> down; // suspect, all
  for (auto& [name, s] : edges_)
    for (auto& [observer, v] : s.views)
      if (now - v.at <= options_.fresh) {
        down[observer].first += v.sight.view == edge_view::suspect ? 1 : 0;
        ++down[observer].second;
      }
  std::set<node_name> out;
  for (auto& [observer, n] : down)
    if (n.second > 1 && 2 * n.first > n.second)
      out.insert(observer);
  return out;
}

bool edge_jury::rising(const edge_name& beside, steady_time now) const {
  for (auto& [name, s] : edges_)
    if (name != beside && s.phase != edge_phase::dead)
      for (auto& [observer, v] : s.views)
        if (v.sight.view == edge_view::suspect && now - v.at <= options_.fresh && now - v.suspected < options_.wave)
          return true;
  return false;
}

std::size_t edge_jury::speaking(steady_time now) const {
  std::set<node_name> all;
  for (auto& [name, s] : edges_)
    for (auto& [observer, v] : s.views)
      if (now - v.at <= options_.fresh)
        all.insert(observer);
  return all.size();
}

edge_jury::count edge_jury::count_of(const state& s, const std::set<node_name>& abstain, steady_time now) const {
  count c;
  for (auto& [observer, v] : s.views) {
    c.known += now - v.at <= options_.remembered ? 1 : 0;
    if (now - v.at > options_.fresh)
      continue;
    ++c.heard;
    if (abstain.contains(observer))
      continue;
    c.up += v.sight.view == edge_view::up ? 1 : 0;
    c.brown_out += v.sight.view == edge_view::brown_out ? 1 : 0;
    c.recovered += v.sight.good >= options_.recovery ? 1 : 0;
    if (v.sight.view != edge_view::suspect)
      continue;
    ++c.suspect;
    c.trouble = v.sight.text.empty() ? c.trouble : v.sight.text;
  }
  return c;
}

std::vector<edge_change> edge_jury::decide(steady_time now) {
  auto abstain = abstaining(now);
  std::vector<edge_change> changes;
  std::size_t down = 0;
  for (auto& [name, s] : edges_) {
    std::erase_if(s.views, [&](auto& v) { return now - v.second.at > options_.remembered; });
    auto c = count_of(s, abstain, now);
    auto to = s.phase;
    std::string reason;
    auto accused = [&] { return fmt::format("{} of {} observers do not get from it what they should{}{}", c.suspect, c.heard, c.trouble.empty() ? "" : ": ", c.trouble); };
    switch (s.phase) {
      case edge_phase::serving:
      case edge_phase::suspect:
        if (c.suspect < c.quorum())
          s.accused = {};
        else if (s.accused == steady_time{})
          s.accused = now;
        if (c.suspect > 0 && 2 * c.suspect >= c.heard) {
          const bool waits = s.accused == steady_time{} || (rising(name, now) && now - s.accused < options_.longest_wave);
          to = waits ? edge_phase::suspect : edge_phase::dead;
          reason = accused();
        } else if (!s.doubt.empty()) {
          to = edge_phase::suspect;
          reason = s.doubt;
        } else if (c.up + c.brown_out > 0) {
          to = edge_phase::serving;
          reason = fmt::format("{} of {} observers get from it what they should", c.up + c.brown_out, c.heard);
        }
        break;
      case edge_phase::starting:
      case edge_phase::dead:
        if (c.recovered >= c.most() && now >= s.held_until) {
          to = edge_phase::serving;
          reason = fmt::format("{} good probes in a row", options_.recovery);
        }
        break;
      case edge_phase::draining:
      case edge_phase::stopped: break;
    }
    down += to == edge_phase::dead ? 1 : 0;
    if (to != s.phase)
      changes.push_back({name, s.phase, to, std::move(reason)});
  }
  // An observer's fault looks like the death of many: then the last good view stays in force.
  bool new_death = std::any_of(changes.begin(), changes.end(), [](auto& c) { return c.to == edge_phase::dead; });
  bool all_abstain = !abstain.empty() && abstain.size() == speaking(now);
  panicking_ = all_abstain || (new_death && 2 * down > edges_.size());
  if (panicking_) {
    changes.clear();
    for (auto& [name, s] : edges_) {
      // The first one of a wave dies before anybody can know that it is one.
      const bool withdrawn = s.phase == edge_phase::dead && !s.deaths.empty() && now - s.deaths.back() <= options_.longest_wave;
      if (withdrawn)
        s.deaths.pop_back();
      if (withdrawn || (s.phase == edge_phase::suspect && s.doubt.empty()))
        changes.push_back({name, s.phase, edge_phase::serving, "most edges look down: more likely a fault of the observers"});
    }
  }
  for (auto& c : changes) {
    auto& s = edges_[c.edge];
    s.phase = c.to;
    if (c.to == edge_phase::dead) {
      s.deaths.push_back(now);
      while (!s.deaths.empty() && now - s.deaths.front() > options_.flap_window)
        s.deaths.pop_front();
      if (s.deaths.size() >= options_.deaths)
        s.held_until = now + options_.held_out;
      s.serving_since = {};
    }
    if (c.to == edge_phase::serving && c.from != edge_phase::suspect)
      s.serving_since = now;
  }
  return changes;
}

edge_phase edge_jury::phase(const edge_name& edge) const {
  auto found = edges_.find(edge);
  return found == edges_.end() ? edge_phase::stopped : found->second.phase;
}

steady_time edge_jury::serving_since(const edge_name& edge) const {
  auto found = edges_.find(edge);
  return found == edges_.end() ? steady_time{} : found->second.serving_since;
}

std::set<edge_name> edge_jury::brown_outs(steady_time now) const {
  auto abstain = abstaining(now);
  std::set<edge_name> slow;
  for (auto& [name, s] : edges_)
    if (auto c = count_of(s, abstain, now); c.brown_out >= c.most())
      slow.insert(name);
  if (2 * slow.size() > edges_.size())
    slow.clear();
  return slow;
}

std::vector<edge_sight> edge_jury::sights(const edge_name& edge, steady_time now) const {
  std::vector<edge_sight> all;
  if (auto found = edges_.find(edge); found != edges_.end())
    for (auto& [observer, v] : found->second.views)
      if (now - v.at <= options_.fresh)
        all.push_back(v.sight);
  return all;
}

} // namespace weir::steering
