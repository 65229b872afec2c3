#include "actors/address_book.hpp"

#include "runtime/base/utf8.hpp"
#include "schemas/config.hpp"

#include <algorithm>

namespace weir {

using namespace std::chrono_literals;

namespace {

constexpr auto heard_lately = 3s;
constexpr auto patience = 10s;            ///< after the first word: for edges of the run before to be heard
constexpr auto forgotten_for = 1min;      ///< longer than anybody holds the address of an edge that is no more, or reminds us of it
constexpr std::size_t book_limit = 2000;  ///< edges: a table has half of it
constexpr std::size_t steps_at_a_time = 64;
constexpr std::size_t text_limit = 300;

std::string bounded(std::string_view text) { return to_valid_utf8(text.substr(0, text_limit)); }

} // namespace

bool address_book::is_heard(const entry& e, time_point now) const { return e.heard != time_point{} && now - e.heard <= heard_lately; }

std::vector<address_step> address_book::take(const address_word& word, time_point now) {
  began_ = began_.value_or(now);
  std::erase_if(forgotten_, [&](auto& f) { return now - f.second > forgotten_for; });
  forgotten_.erase(word.edge);
  if (word.address.address.empty() || (entries_.size() >= book_limit && !entries_.contains(word.edge)))
    return {};
  auto& its = entries_[word.edge];
  its.address = word.address;
  its.heard = now;
  its.said = word;
  its.said.trouble = bounded(word.trouble);
  its.said.unlisted.clear();
  its.said.steps.clear();
  // Of an edge that died before our start only the others know.
  learn(word.answers_for);
  learn(word.unlisted);
  std::vector<address_step> fresh;
  for (auto& step : word.steps)
    if (step.number > its.steps && fresh.size() < steps_at_a_time) {
      its.steps = step.number;
      fresh.push_back({step.number, bounded(step.kind), bounded(step.text)});
    }
  return fresh;
}

void address_book::learn(const std::vector<held_address>& others) {
  for (auto& other : others)
    if (!forgotten_.contains(other.of) && entries_.size() < book_limit && parse_machine_address(other.address.address))
      if (auto [its, added] = entries_.try_emplace(other.of); added)
        its->second.address = other.address;
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
    auto phase = known ? known->phase : heard ? edge_phase::starting : edge_phase::dead;
    if (phase == edge_phase::starting && !heard && began_ && now - *began_ >= patience)
      phase = edge_phase::dead; // it may have died before our start: nobody has judged it. ARP knows better
    all.push_back({.edge = name, .address = e.address, .phase = phase, .wants = heard && e.said.wants, .able = heard && e.said.able,
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
      status.address_trouble = "nothing is heard of its address";
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
