#include "runtime/origin/succession.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace weir::origin {

namespace {

const candidate* find(const std::vector<candidate>& origins, std::string_view name) {
  auto found = std::ranges::find(origins, name, [](auto& o) -> auto& { return o.place.name; });
  return found == origins.end() ? nullptr : &*found;
}

/// Whoever writes now, if it can; else the next one in the order of the members, so that a second try is another one's.
const candidate* next_holder(const succession& now, const replica_view& next, const std::vector<candidate>& origins) {
  auto& members = next.members;
  auto present = std::ranges::find(members, now.present.mark.holder, &replica::name);
  const auto first = present == members.end() ? 0 : static_cast<std::size_t>(present - members.begin());
  const candidate* last_resort = nullptr;
  for (std::size_t i = 0; i < members.size(); ++i)
    if (auto* one = find(origins, members[(first + i) % members.size()].name); one && one->alive && !one->instance.empty()) {
      if (!one->fails)
        return one;
      last_resort = one;
    }
  return last_resort;
}

} // namespace

replica_view with_addresses(replica_view view, const std::vector<candidate>& origins) {
  for (auto& m : view.members)
    if (auto* one = find(origins, m.name))
      m = one->place;
  return view;
}

std::vector<std::string> newcomers(const succession& now) {
  std::vector<std::string> names;
  if (!now.in_force && !now.former.empty())
    for (auto& m : now.present.members)
      if (!now.former.front().has(m.name))
        names.push_back(m.name);
  return names;
}

std::vector<replica> learners(const succession& now, const std::vector<candidate>& origins, std::size_t copies) {
  std::vector<replica> all;
  if (now.present.mark.term == 0)
    return all;
  const auto stay = static_cast<std::size_t>(std::ranges::count_if(now.present.members, [&](auto& m) {
    auto* one = find(origins, m.name);
    return !one || !one->gone;
  }));
  for (bool last : {false, true})
    for (auto& one : origins)
      if (one.last == last && one.alive && !one.instance.empty() && !now.present.has(one.place.name) && stay + all.size() < std::min(copies, most_members))
        all.push_back(one.place);
  return all;
}

succession_decision decide(const succession& now, const std::vector<candidate>& origins, std::size_t copies, std::uint64_t highest) {
  using enum succession_verdict;
  auto alive = [&](const replica& m) {
    auto* one = find(origins, m.name);
    return one && one->alive;
  };
  auto alive_in = [&](const replica_view& v) { return static_cast<std::size_t>(std::ranges::count_if(v.members, alive)); };

  succession_decision to;
  if (now.present.mark.term == 0) {
    auto& members = to.next.present.members;
    for (auto& one : origins)
      if (one.alive && !one.instance.empty() && members.size() < std::min(copies, most_members))
        members.push_back(one.place);
    if (copies == 0 || members.size() < std::min(copies, most_members))
      return {stays, now, fmt::format("{} of {} origins have joined", members.size(), copies)};
    to.next.present.mark.holder = members.front().name;
    to.next.instance = find(origins, members.front().name)->instance;
    to.verdict = next;
    to.why = fmt::format("{} origins have joined", members.size());
    return to;
  }

  const auto& present = now.present;
  const auto there = alive_in(present);
  auto* holder = find(origins, present.mark.holder);
  const bool well = there >= present.needed();
  const auto who = std::string(node_of(present.mark.holder));
  if (!holder || !holder->alive)
    to.why = who + " is not heard any more";
  else if (!well)
    to.why = fmt::format("{} of {} origins are heard, {} are needed to write", there, present.members.size(), present.needed());
  else if (!holder->instance.empty() && holder->instance != now.instance)
    to.why = who + " was started anew";
  else if (holder->fails)
    to.why = who + " cannot take over";
  else if (highest > present.mark.term && !holder->instance.empty() && !holder->holds) // only of views that the store of who decides has lost
    to.why = fmt::format("term {} was accepted already", highest);

  to.next.present = with_addresses(present, origins);
  auto& members = to.next.present.members;
  if (to.why.empty()) {
    if (!now.in_force || !holder->holds)
      return {stays, now, {}};
    std::vector<std::string> changes;
    // A thing may be at the one that is gone and just enough others: of those that stay a smaller number is to have it, or to be asked for it.
    const bool all_have_it = std::ranges::none_of(present.members, [&](auto& m) {
      auto* one = find(origins, m.name);
      return one && one->behind && !one->gone && m.name != present.mark.holder;
    });
    std::erase_if(members, [&](auto& m) {
      auto* one = find(origins, m.name);
      if (!one || !one->gone || !all_have_it)
        return false;
      changes.push_back(fmt::format("{} is gone", node_of(m.name)));
      return true;
    });
    for (auto& one : origins)
      if (one.steady && one.alive && !present.has(one.place.name) && members.size() < std::min(copies, most_members)) {
        members.push_back(one.place);
        changes.push_back(fmt::format("{} has everything", node_of(one.place.name)));
      }
    if (changes.empty() || alive_in(to.next.present) < to.next.present.needed())
      return {stays, now, {}};
    to.why = fmt::format("{}", fmt::join(changes, ", "));
  } else {
    if (holder && holder->fails) // whatever hinders it: who is new can wait
      for (auto& name : newcomers(now))
        std::erase_if(members, [&](auto& m) { return m.name == name; });
    if (alive_in(to.next.present) < to.next.present.needed())
      std::erase_if(members, [&](auto& m) { return !alive(m); });
  }
  to.next.former = now.in_force ? std::vector<replica_view>{} : now.former;
  // Of views with the same members the word of so many of them counts for all: only the newest is needed.
  std::erase_if(to.next.former, [&](auto& old) { return old.same_members(present); });
  to.next.former.push_back(present);
  for (auto& old : to.next.former)
    old = with_addresses(std::move(old), origins);
  for (auto& old : to.next.former)
    if (alive_in(old) < old.to_claim())
      return {lost, now, fmt::format("{}; {} of {} origins are heard, {} are needed to take over", to.why, alive_in(old), old.members.size(), old.to_claim())};
  auto* taker = next_holder(now, to.next.present, origins);
  if (!taker)
    return {stays, now, to.why + "; no other one has said yet that it is there"};
  to.next.present.mark = {0, taker->place.name};
  to.next.instance = taker->instance;
  to.verdict = next;
  return to;
}

} // namespace weir::origin
