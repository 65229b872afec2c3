#include "runtime/steering/take_over.hpp"

#include "runtime/steering/table.hpp"
#include "schemas/config.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace weir::steering {

namespace {

std::string host_of(const shared_address& address) { return address.address.substr(0, address.address.find('/')); }

bool same_network(const shared_address& one, const shared_address& other) {
  if (one.network != other.network)
    return false;
  const auto a = parse_machine_address(one.address), b = parse_machine_address(other.address);
  return a && b && a->network == b->network;
}

/// A suspect edge may be well: what it holds stays with it until it is dead.
bool alive(edge_phase phase) { return phase == edge_phase::serving || phase == edge_phase::suspect || phase == edge_phase::draining; }

} // namespace

bool can_stand_in(const shared_address& one, const shared_address& other) { return one.service == other.service && same_network(one, other); }

std::optional<edge_name> successor(const edge_neighbour& of, const std::vector<edge_neighbour>& all) {
  const edge_neighbour* first = nullptr;
  auto order = [&](const edge_neighbour& e) { return std::pair(preference(0, of.edge.value + "/" + e.edge.value, 1), e.edge.value); };
  for (auto& e : all) {
    if (e.edge == of.edge || !can_stand_in(e.address, of.address))
      continue;
    if (e.edge == of.held_by && e.phase != edge_phase::dead) // also one that is `starting`, as after a restart of the coordinator
      return e.edge;
    if (alive(e.phase) && e.able && (!first || order(e) > order(*first)))
      first = &e;
  }
  return first ? std::optional(first->edge) : std::nullopt;
}

take_over::take_over(edge_name self, shared_address own, take_over_options options) : self_(std::move(self)), options_(options), own_(host_of(own)) {
  places_[own_] = {.of = self_, .address = std::move(own), .missing = {}, .refused = {}};
}

const edge_neighbour* take_over::find(const edge_name& edge) const {
  auto found = std::ranges::find(all_, edge, &edge_neighbour::edge);
  return found == all_.end() ? nullptr : &*found;
}

void take_over::learn(std::vector<edge_neighbour> all, steady_time now) {
  all_ = std::move(all);
  learned_ = now;
  note_strangers();
  for (auto& [edge, its] : known_)
    its.unlisted = its.unlisted.value_or(now);
  for (auto& e : all_)
    if (e.edge != self_ && same_network(e.address, places_.at(own_).address))
      known_[e.edge] = {.address = e.address, .unlisted = {}};
  std::erase_if(known_, [&](auto& k) { return k.second.unlisted && now - *k.second.unlisted > options_.reminded; });
  for (auto& e : all_)
    if (e.edge != self_ && can_stand_in(e.address, places_.at(own_).address) && need_of(e, now) != need::none)
      if (auto [at, added] = places_.try_emplace(host_of(e.address)); added)
        at->second = {.of = e.edge, .address = e.address, .next = now, .missing = {}, .refused = {}};
}

void take_over::note_strangers() {
  const auto& own = places_.at(own_).address;
  for (auto& e : all_) {
    if (e.edge == self_)
      continue;
    const bool clash = same_network(e.address, own) && host_of(e.address) == own_;
    if (!clash && (!same_network(e.address, own) || e.address.service == own.service))
      strangers_.erase(e.edge);
    else if (strangers_.insert(e.edge).second)
      news_.push_back({"address-settings-differ",
                       clash ? fmt::format("Edge {} has the same address, {}: each needs one of its own.", e.edge.value, own_)
                             : fmt::format("Edge {} of its network is served as {}, itself as {}: neither answers for the other.", e.edge.value, e.address.service,
                                           own.service)});
  }
}

bool take_over::doubted(steady_time now) const {
  auto* us = find(self_);
  return !fresh(now) || !us || (us->phase != edge_phase::serving && us->phase != edge_phase::draining);
}

take_over::need take_over::need_of(const edge_neighbour& other, steady_time now) const {
  if (!fresh(now) || other.wants || (other.phase != edge_phase::dead && other.phase != edge_phase::suspect) || successor(other, all_) != self_)
    return need::none;
  return other.phase == edge_phase::dead ? need::take : need::watch;
}

take_over::need take_over::need_of(const place& p, bool proven, steady_time now) const {
  if (ours(p))
    return proven ? need::take : need::none;
  auto* other = find(p.of);
  return other && other->address == p.address ? need_of(*other, now) : need::none;
}

std::string take_over::unfit(bool serves, steady_time now) const {
  auto* us = find(self_);
  return !serves && fresh(now) && us && us->phase == edge_phase::dead ? "the edge does not serve, and counts as dead" : "";
}

std::string take_over::ended(place& p, steady_time now) const {
  if (!fresh(now))
    return now - *learned_ > options_.forsaken ? "the coordinator has said nothing for too long" : "";
  auto* other = find(p.of);
  if (!other || other->address != p.address) {
    p.missing = p.missing.value_or(now);
    return now - *p.missing > options_.forgotten ? "there is no such edge any more" : "";
  }
  p.missing.reset();
  if (other->wants)
    return "that is back";
  if (other->phase == edge_phase::serving)
    return "that serves";
  // A coordinator that was started anew does not know at once that it is here.
  if (auto next = successor(*other, all_); next && *next != self_ && !other->held_by.value.empty())
    return fmt::format("edge {} does", next->value);
  return {};
}

bool take_over::proven(bool serves, steady_time now) {
  serves_since_ = serves ? serves_since_.value_or(now) : std::optional<steady_time>();
  return serves && now - *serves_since_ >= proof_;
}

void take_over::demand_proof(steady_time now) {
  proof_ = now - taken_ > options_.calm ? options_.proof : std::clamp(2 * proof_, options_.proof, options_.longest_proof);
}

void take_over::take(const std::string& address, place& p, steady_time now) {
  p.held = true;
  p.answered.reset();
  p.told = false;
  p.asked = 0;
  p.announced = 1;
  p.next = now + options_.probe_every;
  order(address_act::add, address);
  order(address_act::announce, address);
  if (ours(p)) {
    trouble_.clear();
    taken_ = now;
    news_.push_back({"address-held", fmt::format("It answers at its address {}.", address), address});
  } else {
    news_.push_back({"address-taken", fmt::format("It answers at {}, the address of edge {}, which is dead: no machine has it.", address, p.of.value), address});
  }
}

void take_over::drop(const std::string& address, place& p, std::string_view why, steady_time again) {
  p.held = false;
  p.asked = 0;
  p.next = again;
  news_.push_back({"address-given-back", ours(p) ? fmt::format("It does not answer at its address {}: {}.", address, why)
                                                 : fmt::format("It answers at {} for edge {} no more: {}.", address, p.of.value, why), address});
  if (ours(p))
    trouble_ = why;
}

void take_over::heard(std::string_view address, bool asks, std::string_view who, steady_time now) {
  auto found = places_.find(address);
  if (found == places_.end())
    return;
  auto& p = found->second;
  const auto again = now + options_.again;
  if (p.held) {
    if (!asks) // the kernel has answered who asks
      drop(found->first, p, fmt::format("{} has it, too", who), again);
    return;
  }
  if (p.asked == 0)
    return; // nobody here has asked
  p.asked = 0;
  p.next = again;
  if (ours(p))
    trouble_ = fmt::format("{} has the address {}", who, address);
  p.answered = p.answered.value_or(now);
  if (now - *p.answered >= options_.worth_telling && !std::exchange(p.told, true))
    news_.push_back({"address-in-use",
                     ours(p) ? fmt::format("{} has its address {}; it asks again each second.", who, address)
                             : fmt::format("{} answers for {}, the address of edge {}, which is dead or suspect: it is left there.", who, address, p.of.value),
                     found->first});
}

void take_over::unasked(std::string_view address) {
  if (auto found = places_.find(address); found != places_.end())
    found->second.asked = 0;
}

void take_over::lost(std::string_view address, steady_time now) {
  if (auto found = places_.find(address); found != places_.end() && found->second.held)
    drop(found->first, found->second, "other hands have taken it off the interface", now);
}

void take_over::refused(std::string_view address, std::string_view why, steady_time now) {
  auto found = places_.find(address);
  if (found == places_.end())
    return;
  auto& p = found->second;
  p.held = false;
  p.refused = refused_ = now;
  std::erase_if(news_, [&](auto& n) { return n.address == address; }); // that it was taken
  if (ours(p))
    trouble_ = why;
}

void take_over::ask(const std::string& address, place& p, need wish, steady_time now) {
  if (now < p.next || rests(p.refused, now)) // who asks keeps others from taking it
    return;
  if (p.asked >= options_.probes && wish == need::take)
    return take(address, p, now);
  order(address_act::probe, address); // while it is only watched the silence is kept fresh
  ++p.asked;
  p.next = now + options_.probe_every;
}

void take_over::keep(const std::string& address, place& p, steady_time now) {
  if (now < p.next)
    return;
  if (p.announced < options_.announcements) {
    ++p.announced;
    p.next = now + options_.probe_every;
    return order(address_act::announce, address);
  }
  p.next = now + options_.again;
  if (doubted(now)) // as after a time in which we were cut off: others may have it now
    order(address_act::probe, address);
}

std::vector<address_order> take_over::decide(bool linked, bool serves, steady_time now) {
  const bool fit = proven(serves, now);
  if (!linked)
    refused_.reset(); // it is another one when it is back
  able_ = linked && !rests(refused_, now);
  for (auto at = places_.begin(); at != places_.end();) {
    auto& [address, p] = *at;
    const auto wish = need_of(p, fit, now);
    if (!linked)
      p.refused.reset();
    if (p.held) {
      if (!linked)
        drop(address, p, "the interface has no link", now);
      else if (auto why = ours(p) ? unfit(serves, now) : ended(p, now); !why.empty()) {
        drop(address, p, why, now);
        if (ours(p))
          demand_proof(now);
      } else
        keep(address, p, now);
    } else if (linked && wish != need::none) {
      ask(address, p, wish, now);
    } else {
      p.asked = 0;
      p.answered.reset();
    }
    at = !p.held && !ours(p) && wish == need::none ? places_.erase(at) : std::next(at);
  }
  wants_ = linked && fit && !holds_own() && !rests(places_.at(own_).refused, now);
  return std::exchange(orders_, {});
}

void take_over::give_all_back() {
  for (auto& [address, p] : places_)
    if (p.held)
      drop(address, p, "the edge is stopped", {});
  wants_ = false;
}

bool take_over::holds_own() const { return places_.at(own_).held; }

std::vector<std::pair<edge_name, shared_address>> take_over::answers_for() const {
  std::vector<std::pair<edge_name, shared_address>> all;
  for (auto& [address, p] : places_)
    if (p.held && !ours(p))
      all.emplace_back(p.of, p.address);
  return all;
}

std::vector<std::pair<edge_name, shared_address>> take_over::unlisted() const {
  std::vector<std::pair<edge_name, shared_address>> all;
  for (auto& [edge, its] : known_)
    if (its.unlisted)
      all.emplace_back(edge, its.address);
  return all;
}

std::vector<std::string> take_over::held() const {
  std::vector<std::string> all;
  for (auto& [address, p] : places_)
    if (p.held)
      all.push_back(address);
  return all;
}

bool take_over::uneasy() const {
  return std::ranges::any_of(all_, [&](auto& e) { return e.phase == edge_phase::suspect && can_stand_in(e.address, places_.at(own_).address); });
}

} // namespace weir::steering
