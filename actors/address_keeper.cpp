#include "actors/address_keeper.hpp"

#include "actors/reporting.hpp"
#include "runtime/base/file.hpp"
#include "runtime/base/log.hpp"

#include <algorithm>
#include <sstream>

#include <fmt/ranges.h>

namespace weir {

using namespace std::chrono_literals;

namespace {

constexpr auto act_every = 200ms;
constexpr auto ask_every = 500ms;
constexpr auto look_every = 1s;
constexpr auto restart_patience = 5s; ///< with an nginx that is started again
constexpr std::size_t untold_limit = 32;

} // namespace

expected<void> address_keeper_state::prepare(time_point now, timestamp wall) {
  started = now;
  steps = static_cast<std::uint64_t>(std::max<std::int64_t>(unix_seconds(wall), 0)) * 1000; // above those of the start before
  takes.emplace(setup.edge, setup.address);
  auto left = read_file(setup.file, 64 << 10);
  if (!left && left.error().code != error_code::not_found)
    return fail(left.error());
  std::istringstream lines(left ? *left : std::string());
  for (std::string line; std::getline(lines, line);)
    there.insert(line);
  if (!there.empty())
    log::warn("address-keeper", "left-addresses", "edge={} addresses={}", setup.edge.value, fmt::join(there, ","));
  take_off_what_is_not_held();
  return {};
}

expected<void> address_keeper_state::keep_file() const { return write_file_atomically(setup.file, fmt::format("{}\n", fmt::join(there, "\n")), 0644, sync::no); }

void address_keeper_state::fail_once(const error& why) {
  failed = true;
  if (!std::exchange(failing, true))
    log::error("address-keeper", "not-done", "edge={} error={}", setup.edge.value, why.text);
}

expected<void> address_keeper_state::put(const std::string& address) {
  auto parsed = network::parse_ipv4(address);
  WEIR_TRY(parsed);
  there.insert(address);
  if (auto kept = keep_file(); !kept) { // first: what is not written down would stay after a kill -9
    if (address != takes->own())
      return fail(kept.error());
    fail_once(kept.error()); // its own may: the next start wants it there, too
  }
  return setup.interface->add(*parsed);
}

void address_keeper_state::take_off_what_is_not_held() {
  const auto held = takes->held();
  const auto before = there.size();
  std::erase_if(there, [&](const std::string& address) {
    if (std::ranges::find(held, address) != held.end())
      return false;
    auto parsed = network::parse_ipv4(address);
    auto done = parsed ? setup.interface->remove(*parsed) : expected<void>{}; // what is no address is not there
    if (!done)
      fail_once(done.error());
    return done.has_value();
  });
  if (there.size() != before)
    if (auto kept = keep_file(); !kept) // it costs the next start one question more
      fail_once(kept.error());
}

void address_keeper_state::carry_out(const std::vector<steering::address_order>& orders, time_point now) {
  using act = steering::address_act;
  take_off_what_is_not_held();
  for (auto& [what, address] : orders) {
    if (what == act::announce && !std::ranges::count(takes->held(), address))
      continue; // it was refused
    auto parsed = network::parse_ipv4(address);
    expected<void> done = parsed ? expected<void>{} : fail(parsed.error());
    if (parsed && what == act::add)
      done = put(address);
    else if (parsed && (what == act::probe || what == act::announce))
      done = setup.interface->send(what == act::probe ? network::arp_probe(setup.interface->mac(), *parsed) : network::arp_announcement(setup.interface->mac(), *parsed));
    if (done)
      continue;
    fail_once(done.error());
    if (what == act::add)
      takes->refused(address, done.error().text, now);
    else if (what == act::probe)
      takes->unasked(address);
  }
  note();
}

void address_keeper_state::note() {
  for (auto& one : takes->news()) {
    log::info("address-keeper", "step", "edge={} kind={} text={}", setup.edge.value, one.kind, one.text);
    untold.push_back({++steps, std::move(one.kind), std::move(one.text)});
  }
  while (untold.size() > untold_limit)
    untold.pop_front();
}

void address_keeper_state::look_for_what_is_held(time_point now) {
  if (now - looked < look_every)
    return;
  looked = now;
  auto found = setup.interface->addresses();
  if (!found)
    return fail_once(found.error());
  for (auto& address : takes->held())
    if (auto parsed = network::parse_ipv4(address); parsed && !std::ranges::count(*found, *parsed))
      takes->lost(address, now);
}

void address_keeper_state::act(time_point now) {
  failed = false;
  for (auto& packet : setup.interface->receive()) {
    const auto who = network::to_string(packet.sender);
    if (packet.is_probe())
      takes->heard(network::to_string(packet.target_address), true, who, now);
    else
      takes->heard(network::to_string(packet.sender_address), false, who, now);
  }
  linked = setup.interface->linked();
  if (linked) // else all of it goes anyway
    look_for_what_is_held(now);
  auto orders = takes->decide(linked, served && now - *served <= restart_patience, now);
  carry_out(orders, now);
  failing = failed; // after a round without a failure the next one is news
}

void address_keeper_state::give_all_back() {
  takes->give_all_back();
  take_off_what_is_not_held();
  note();
}

address_word address_keeper_state::word() const {
  address_word says{.edge = setup.edge, .address = setup.address, .holds = takes->holds_own(), .wants = takes->wants_own(), .able = takes->able(),
                    .trouble = takes->trouble(), .answers_for = {}, .unlisted = {}, .steps = {}};
  for (auto& [of, address] : takes->answers_for())
    says.answers_for.push_back({of, address});
  for (auto& [of, address] : takes->unlisted())
    says.unlisted.push_back({of, address});
  says.steps.assign(untold.begin(), untold.end());
  return says;
}

std::optional<address_word> address_keeper_state::say(time_point now) {
  if (asking || (now - asked < ask_every && untold.empty() && !takes->uneasy()))
    return std::nullopt;
  asking = true;
  asked = now;
  return word();
}

void address_keeper_state::take(const neighbour_list& news, time_point now) {
  if (news.steps > steps) { // the clock was set back over our restart: they have heard of none of these
    steps = news.steps;
    for (auto& step : untold)
      step.number = ++steps;
  }
  std::erase_if(untold, [&](auto& step) { return step.number <= news.steps; });
  takes->learn(news.edges, now);
}

address_keeper_actor::behavior_type address_keeper(address_keeper_actor::stateful_pointer<address_keeper_state> self, address_keeper_setup setup,
                                                   coordinator_actor coordinator) {
  auto& my = self->state;
  my.setup = std::move(setup);
  auto me = address_keeper_actor{self};
  auto now = [self] { return self->clock().now(); };
  if (auto ready = my.prepare(now(), std::chrono::system_clock::now()); !ready) {
    log::critical("address-keeper", "not-started", "edge={} error={}", my.setup.edge.value, ready.error().text);
    self->quit(to_caf(ready.error()));
    return address_keeper_actor::behavior_type::make_empty_behavior();
  }
  self->send(me, tick{});
  return {
    [=, &my](const tick&) {
      my.act(now());
      if (auto word = my.say(now()))
        ask(self, 1s, coordinator, std::move(*word))
          .then(
            [=, &my](const neighbour_list& news) {
              my.asking = false;
              my.take(news, now());
            },
            [&my](const caf::error&) { my.asking = false; }); // news that does not come grows old
      tell_after(self, act_every, me, tick{});
    },
    [=, &my](const address_wish& news) {
      if (news.serves)
        my.served = now();
    },
    [=, &my](const stop&) {
      my.give_all_back();
      tell_anon(coordinator, my.word()); // nobody waits for the answer
      self->quit(caf::exit_reason::user_shutdown);
    },
    [=, &my](const ask_status&) {
      nlohmann::json answers_for = nlohmann::json::object();
      for (auto& [of, address] : my.takes->answers_for())
        answers_for[of.value] = address.address;
      nlohmann::json status{{"address", my.setup.address.address}, {"interface", my.setup.interface->name()}, {"linked", my.linked}, {"holds", my.takes->holds_own()},
                            {"trouble", my.takes->trouble()}, {"answers_for", std::move(answers_for)}};
      return report_of(self, "address-keeper/" + my.setup.edge.value, status, my.started);
    },
  };
}

} // namespace weir
