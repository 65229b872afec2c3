#include "actors/address_book.hpp"

#include "runtime/base/utf8.hpp"

#include <algorithm>

namespace weir {

using namespace std::chrono_literals;

namespace {

constexpr auto heard_lately = 3s;
constexpr auto forgotten_for = 1min;      ///< longer than anybody holds the address of an edge that is no more
constexpr std::size_t book_limit = 2000;  ///< edges: a table has half of it
constexpr std::size_t steps_at_a_time = 64;
constexpr std::size_t text_limit = 300;

std::string bounded(std::string_view text) { return to_valid_utf8(text.substr(0, text_limit)); }

} // namespace

bool address_book::is_heard(const entry& e, time_point now) const { return e.heard != time_point{} && now - e.heard <= heard_lately; }

std::vector<address_step> address_book::take(const address_word& word, time_point now) {
  std::erase_if(forgotten_, [&](auto& f) { return now - f.second > forgotten_for; });
  forgotten_.erase(word.edge);
  if (word.address.address.empty() || (entries_.size() >= book_limit && !entries_.contains(word.edge)))
    return {};
  auto& its = entries_[word.edge];
  its.address = word.address;
  its.heard = now;
  its.said = word;
  its.said.trouble = bounded(word.trouble);
  its.said.steps.clear();
  // Of an edge that died before our start only those know that answer for it.
  for (auto& held : word.answers_for)
    if (!forgotten_.contains(held.of) && entries_.size() < book_limit)
      if (auto [other, added] = entries_.try_emplace(held.of); added)
        other->second.address = held.address;
  std::vector<address_step> fresh;
  for (auto& step : word.steps)
    if (step.number > its.steps && fresh.size() < steps_at_a_time) {
      its.steps = step.number;
      fresh.push_back({step.number, bounded(step.kind), bounded(step.text)});
    }
  return fresh;
}

void address_book::forget(const edge_name& edge, time_point now) {
  if (entries_.erase(edge) != 0)
    forgotten_[edge] = now;
}

std::vector<edge_neighbour> address_book::neighbours(const edge_set& edges, time_point now) const {
  std::map<edge_name, edge_name> holders; // by whose address it is
  for (auto& [name, e] : entries_)
    if (is_heard(e, now))
      for (auto& held : e.said.answers_for)
        holders[held.of] = name;
  std::vector<edge_neighbour> all;
  for (auto& [name, e] : entries_) {
    const bool heard = is_heard(e, now);
    auto* known = edges.find(name);
    auto holder = holders.find(name);
    all.push_back({.edge = name, .address = e.address, .phase = known ? known->phase : heard ? edge_phase::starting : edge_phase::dead, .wants = heard && e.said.wants,
                   .held_by = holder == holders.end() ? edge_name{} : holder->second});
  }
  return all;
}

void address_book::decorate(std::vector<edge_status>& edges, time_point now) const {
  for (auto& status : edges) {
    auto found = entries_.find(status.spec.name);
    if (found == entries_.end())
      continue;
    auto& e = found->second;
    status.address = e.address.address;
    if (!is_heard(e, now)) {
      status.address_trouble = "its word on that is missing";
      continue;
    }
    status.address_trouble = e.said.holds ? "" : e.said.trouble.empty() ? "it does not have it yet" : e.said.trouble;
    for (auto& held : e.said.answers_for)
      status.answers_for.push_back(held.of);
  }
}

std::uint64_t address_book::steps_of(const edge_name& edge) const {
  auto found = entries_.find(edge);
  return found == entries_.end() ? 0 : found->second.steps;
}

} // namespace weir
