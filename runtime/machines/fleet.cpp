#include "runtime/machines/fleet.hpp"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>
#include <utility>

namespace weir::machines {

using namespace std::chrono_literals;

namespace {

constexpr auto list_every = 60s;
constexpr auto list_again = 10s;         ///< after one that failed
constexpr auto listed_after = 60s;       ///< an accepted machine is in every list; before it may not be yet
constexpr auto unlisted_after = 3min;    ///< an ended one is in no list; else it is ended again
constexpr auto first_retry = 5s;
constexpr auto last_retry = 300s;
constexpr std::uint32_t begin_attempts = 3;
constexpr std::size_t at_once = 4;       ///< orders
constexpr std::int64_t latest = std::int64_t{1} << 33; ///< second since 1970 that is kept
constexpr std::string_view form = "machines 1"; ///< the first line of what is kept

milliseconds delay_after(std::uint32_t attempts) { return std::min<milliseconds>(first_retry * (1 << std::min(attempts - 1, 10U)), last_retry); }

/// Of an edge that is only remembered from before the coordinator's start nothing is known but its name.
std::string machine_of(const edge_spec& edge) { return edge.node.value.empty() ? node_of(edge.name).value : edge.node.value; }

std::int64_t to_seconds(timestamp t) { return std::chrono::duration_cast<seconds>(t.time_since_epoch()).count(); }

} // namespace

fleet::fleet(fleet_options options, std::uint64_t seed)
  : options_(std::move(options)), prefix_(prefix_of(options_.cluster)), backoff_(seed, {.first = 30s, .cap = 15min, .forgiven_after = 0s, .park_after = 0}) {}

// A line each: the form, then "begun SECONDS" and "machine NAME PHASE SECONDS".
std::string fleet::text() const {
  std::string out(form);
  out += '\n';
  for (auto t : begun_)
    out += fmt::format("begun {}\n", to_seconds(t));
  for (auto& [name, one] : machines_)
    out += fmt::format("machine {} {} {}\n", name, to_string(one.status.phase), to_seconds(one.status.begun));
  return out;
}

expected<void> fleet::restore(std::string_view text, steady_time now) {
  auto bad = [](std::string_view line) { return fail(error_code::corrupt, fmt::format("{:?} is no line of kept machines", line)); };
  std::map<std::string, machine> machines;
  std::vector<timestamp> begun;
  bool first = true;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    const auto line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (std::exchange(first, false)) {
      if (line != form)
        return bad(line);
      continue;
    }
    std::vector<std::string_view> words;
    for (std::size_t at = 0; at <= line.size();) {
      const auto blank = std::min(line.find(' ', at), line.size());
      words.push_back(line.substr(at, blank - at));
      at = blank + 1;
    }
    std::int64_t when = 0;
    const auto number = words.back();
    const auto [stop, code] = std::from_chars(number.data(), number.data() + number.size(), when);
    if (code != std::errc{} || stop != number.data() + number.size() || when < 0 || when > latest)
      return bad(line);
    const timestamp at{seconds(when)};
    if (words.size() == 2 && words[0] == "begun") {
      begun.push_back(at);
      continue;
    }
    const auto phase = words.size() == 4 && words[0] == "machine" ? from_string<machine_phase>(words[2]) : std::nullopt;
    if (!phase || !is_name(prefix_, words[1]))
      return bad(line);
    auto& one = machines[std::string(words[1])];
    one.status = {.name = std::string(words[1]), .phase = *phase, .begun = at, .trouble = {}};
    one.accepted = *phase == machine_phase::coming || *phase == machine_phase::there;
    one.since = one.next = now;
  }
  std::ranges::sort(begun);
  machines_ = std::move(machines);
  begun_ = std::move(begun);
  kept_ = revision_;
  return {};
}

void fleet::tell(std::string kind, const machine& one, std::string text) { news_.push_back({std::move(kind), one.status.name, std::move(text)}); }

order fleet::make(order_kind kind, const std::string& name) const { return {kind, name, options_.cluster, prefix_}; }

void fleet::change(machine& one, machine_phase to, steady_time now) {
  one.status.phase = to;
  one.status.trouble.clear();
  one.accepted = false;
  one.attempts = 0;
  one.since = one.next = now;
  ++revision_;
}

std::uint32_t fleet::begun_within(seconds time, timestamp wall) const {
  // What lies ahead counts too: the clock may have been set back.
  return static_cast<std::uint32_t>(std::ranges::count_if(begun_, [&](auto t) { return t > wall - time; }));
}

std::uint32_t fleet::may_begin(steady_time now, timestamp wall) const {
  if (!options_.dry_run && (!listed_once_ || now < not_before_))
    return 0;
  auto left = [](std::uint32_t limit, std::uint32_t used) { return limit > used ? limit - used : 0; };
  return std::min(left(options_.per_hour, begun_within(1h, wall)), left(options_.per_day, begun_within(24h, wall)));
}

std::string fleet::held_back(steady_time now, timestamp wall) const {
  if (begun_within(24h, wall) >= options_.per_day)
    return fmt::format("{} machines were begun within a day, and more are not allowed (autoscaler.per_day)", begun_within(24h, wall));
  if (begun_within(1h, wall) >= options_.per_hour)
    return fmt::format("{} machines were begun within an hour, and more are not allowed (autoscaler.per_hour)", begun_within(1h, wall));
  if (!options_.dry_run && !listed_once_)
    return fmt::format("the machines that there are could not be listed: {}", trouble_);
  if (!options_.dry_run && now < not_before_)
    return fmt::format("the last one failed ({}), and another one is tried in {} s", held_by_, std::chrono::ceil<seconds>(not_before_ - now) / 1s);
  return {};
}

std::vector<std::string> fleet::begin(std::uint32_t count, steady_time now, timestamp wall) {
  std::vector<std::string> names;
  std::erase_if(begun_, [&](auto t) { return t <= wall - 24h; });
  for (count = std::min(count, may_begin(now, wall)); count > 0; --count) {
    auto name = make_name(prefix_);
    auto& one = machines_[name];
    one.status = {.name = name, .phase = machine_phase::wanted, .begun = wall, .trouble = {}};
    one.since = one.next = now;
    one.revision = ++revision_;
    begun_.push_back(wall);
    names.push_back(std::move(name));
  }
  return names;
}

void fleet::end(const std::string& name, steady_time now) {
  auto found = machines_.find(name);
  if (found != machines_.end() && found->second.status.phase != machine_phase::ending)
    change(found->second, machine_phase::ending, now);
}

const machine_status* fleet::of(const edge_spec& edge) const {
  auto found = machines_.find(machine_of(edge));
  return found == machines_.end() ? nullptr : &found->second.status;
}

void fleet::see(const std::vector<edge_spec>& edges, steady_time now) {
  for (auto& e : edges) {
    auto found = machines_.find(machine_of(e));
    if (found == machines_.end())
      continue;
    auto& one = found->second;
    if (one.status.phase == machine_phase::wanted || one.status.phase == machine_phase::coming) {
      change(one, machine_phase::there, now); // also when the answer to its order was lost
      one.accepted = true;
      backoff_.reset();
      not_before_ = {};
    }
    if (one.status.phase == machine_phase::there)
      one.since = now;
  }
}

std::uint32_t fleet::coming() const {
  auto comes = [](auto& m) { return m.second.status.phase == machine_phase::wanted || m.second.status.phase == machine_phase::coming; };
  return static_cast<std::uint32_t>(std::ranges::count_if(machines_, comes));
}

void fleet::failed(machine& one, std::string why, steady_time now) {
  if (now >= not_before_) // several that were ordered together fail together, for one reason
    not_before_ = backoff_.failed(now).at;
  held_by_ = fmt::format("{}: {}", one.status.name, why);
  tell("edge-machine-failed", one, fmt::format("Machine {} is given up: {}. It is ended; another one is not begun before {} s are over.", one.status.name, why,
                                               std::chrono::ceil<seconds>(not_before_ - now) / 1s));
  change(one, machine_phase::ending, now);
  one.status.trouble = std::move(why);
}

std::vector<order> fleet::due(steady_time now) {
  std::vector<order> orders;
  auto under_way = static_cast<std::size_t>(std::ranges::count_if(machines_, [](auto& m) { return m.second.asked; }));
  if (!listing_ && (listed_ == steady_time{} || now - listed_ >= (trouble_.empty() ? seconds(list_every) : seconds(list_again)))) {
    listing_ = true;
    list_asked_ = now;
    orders.push_back(make(order_kind::list, {}));
  }
  if (options_.dry_run)
    return orders;
  for (auto& [name, one] : machines_) {
    auto late = now - one.since >= options_.join_within;
    if (one.status.phase == machine_phase::coming && late)
      failed(one, fmt::format("its edge did not join within {} s", options_.join_within / 1s), now);
    else if (one.status.phase == machine_phase::there && late) {
      change(one, machine_phase::ending, now);
      tell("edge-machine-lost", one, fmt::format("The edge of machine {} is not there any more, and the machine is ended.", name));
    }
    const bool begins = one.status.phase == machine_phase::wanted, ends = one.status.phase == machine_phase::ending && !one.gone;
    if ((!begins && !ends) || one.asked || one.accepted || now < one.next || (begins && one.revision > kept_) || under_way >= at_once)
      continue;
    one.asked = true;
    ++under_way;
    orders.push_back(make(begins ? order_kind::begin : order_kind::end, name));
  }
  return orders;
}

void fleet::take(const order& o, const expected<answer>& said, steady_time now, timestamp wall) {
  if (o.kind == order_kind::list) {
    listing_ = false;
    listed_ = now;
    if (said)
      return take_list(said->machines, now, wall);
    if (trouble_ != said.error().text)
      news_.push_back({"edge-machines-not-listed", {}, fmt::format("The edges' machines cannot be listed: {}.", said.error().text)});
    trouble_ = said.error().text;
    return;
  }
  auto found = machines_.find(o.machine);
  if (found == machines_.end())
    return;
  auto& one = found->second;
  one.asked = false;
  const bool of_its_phase = one.status.phase == (o.kind == order_kind::begin ? machine_phase::wanted : machine_phase::ending);
  if (!of_its_phase)
    return; // it came before the answer, or is to end meanwhile
  if (said) {
    if (o.kind == order_kind::begin)
      change(one, machine_phase::coming, now);
    one.status.trouble.clear();
    one.accepted = true;
    one.since = now;
    return;
  }
  ++one.attempts;
  if (o.kind == order_kind::begin && one.attempts >= begin_attempts)
    return failed(one, said.error().text, now); // also when it was refused: an answer may have been lost before
  if (o.kind == order_kind::end && one.attempts == 1)
    tell("edge-machine-not-ended", one, fmt::format("Machine {} could not be ended, which is tried again until it is: {}.", one.status.name, said.error().text));
  one.status.trouble = said.error().text;
  one.next = now + delay_after(one.attempts);
}

void fleet::take_list(const std::vector<std::string>& listed, steady_time now, timestamp wall) {
  trouble_.clear();
  listed_once_ = true;
  for (auto& [name, one] : machines_) {
    const bool in_it = std::ranges::binary_search(listed, name);
    const bool settled = one.accepted && list_asked_ - one.since >= listed_after;
    switch (one.status.phase) {
      case machine_phase::wanted: break; // ordered again until it is accepted
      case machine_phase::coming:
        if (!in_it && settled)
          failed(one, "it is in the list of machines no more", now);
        break;
      case machine_phase::there:
        if (!in_it && settled) { // no edge of it was seen for as long
          change(one, machine_phase::ending, now);
          tell("edge-machine-lost", one, fmt::format("Machine {} is not there any more.", name));
        }
        break;
      case machine_phase::ending:
        if (one.accepted && !in_it && list_asked_ >= one.since)
          one.gone = true;
        else if (one.accepted && list_asked_ - one.since >= unlisted_after) {
          one.accepted = false;
          one.status.trouble = "it is in the list of machines still";
        }
        break;
    }
  }
  for (auto& name : listed) {
    if (!is_name(prefix_, name) || machines_.contains(name))
      continue;
    auto& one = machines_[name];
    one.status = {.name = name, .phase = machine_phase::coming, .begun = wall, .trouble = {}};
    one.accepted = true;
    one.since = one.next = now;
    ++revision_;
    tell("edge-machine-found", one, fmt::format("Machine {} is in the list and was not known: it is ended when its edge does not join.", name));
  }
}

std::vector<std::string> fleet::gone() const {
  std::vector<std::string> names;
  for (auto& [name, one] : machines_)
    if (one.gone)
      names.push_back(name);
  return names;
}

void fleet::forgotten(const std::string& name) {
  if (auto found = machines_.find(name); found != machines_.end() && found->second.gone) {
    machines_.erase(found);
    ++revision_;
  }
}

std::vector<machine_news> fleet::news() { return std::exchange(news_, {}); }

std::vector<machine_status> fleet::statuses() const {
  std::vector<machine_status> all;
  for (auto& [name, one] : machines_)
    all.push_back(one.status);
  return all;
}

} // namespace weir::machines
