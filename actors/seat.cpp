#include "actors/seat.hpp"

#include "actors/reporting.hpp"
#include "runtime/base/log.hpp"

#include <algorithm>
#include <fmt/format.h>

namespace weir {

using namespace std::chrono_literals;

namespace {

constexpr auto after_trouble = 5s; ///< who could not take over lets the others try first

} // namespace

std::string seat_state::refusal() const {
  auto& me = setup.election.node;
  if (coordinator || term)
    return fmt::format("node {:?} begins or ends to coordinate just now", me);
  return leader.empty() ? fmt::format("node {:?} stands by; nobody coordinates just now", me) : fmt::format("node {:?} stands by; node {:?} coordinates", me, leader);
}

nlohmann::json seat_state::sight() const {
  auto seen = roll->seen();
  nlohmann::json told{{"etcd", nlohmann::json::array()}, {"candidates", nullptr}, {"standbys", nullptr}};
  for (auto& one : seen.members)
    told["etcd"].push_back({{"member", one.endpoint}, {"up", one.trouble.empty()}, {"trouble", one.trouble}});
  if (seen.candidates) {
    auto& leading = leads() ? setup.election.node : leader;
    told["candidates"] = *seen.candidates;
    told["standbys"] = std::ranges::count_if(*seen.candidates, [&](auto& candidate_name) { return candidate_name != leading; });
  }
  return told;
}

caf::behavior seat(caf::stateful_actor<seat_state>* self, seat_setup setup) {
  auto& my = self->state;
  my.setup = std::move(setup);
  my.started = self->clock().now();
  auto me = caf::actor_cast<caf::actor>(self);

  auto stand_by = [=, &my] {
    if (!my.uplink)
      my.uplink = self->spawn<caf::linked + caf::detached>(uplink, my.setup.uplink);
  };
  // The COORDINATOR is gone. The store keeps its mirror, which refuses every change from now on.
  auto leave = [=, &my](std::chrono::milliseconds pause) {
    my.ledger = nullptr;
    my.term = nullptr;
    my.candidate->stand_again(pause);
    stand_by();
  };

  on_end_of_child(self, [=, &my](const caf::actor_addr& who, const caf::error& why) {
    if (my.uplink && my.uplink.address() == who) {
      my.uplink = nullptr;
      stand_by();
      return true;
    }
    if (!my.coordinator || my.coordinator.address() != who)
      return false;
    my.coordinator = nullptr;
    if (my.ending) {
      if (auto shipped = my.ledger->ship({}); !shipped) // what was queued
        log::warn("seat", "not-shipped", "error={}", shipped.error().text);
      self->quit(caf::exit_reason::user_shutdown);
    } else if (my.term->holds()) // by itself: whoever started the node starts it again, meanwhile another one coordinates
      self->quit(why ? why : caf::error{caf::exit_reason::user_shutdown});
    else
      leave(0s);
    return true;
  });
  forward_the_rest(self, [&my] { return my.leads() ? caf::actor_cast<caf::actor>(my.coordinator) : my.uplink; }, {error_code::unavailable, "the coordinator changes just now"});

  stand_by();
  my.etcd = std::make_shared<election::etcd>(my.setup.election.etcd);
  my.roll = std::make_unique<election::roll_call>(my.setup.election);
  my.candidate = std::make_unique<election::candidate>(my.setup.election, my.etcd,
                                                       election::candidate::listener{
                                                         .elected = [me](std::shared_ptr<election::term> term) { tell_anon(me, seat_won{std::move(term)}); },
                                                         .ended = [me](std::string why) { tell_anon(me, seat_lost{std::move(why)}); },
                                                         .follows = [me](std::string leader) { tell_anon(me, seat_news{std::move(leader)}); },
                                                       });
  return {
    [=, &my](const seat_won& news) {
      if (my.ending)
        return;
      my.term = news.term;
      my.leader.clear();
      auto taken = election::take_over(*my.setup.coordinator.store, my.etcd, my.term, my.setup.election, std::chrono::system_clock::now());
      if (!taken) {
        log::error("seat", "not-taken-over", "epoch={} error={}", my.term->epoch(), taken.error().text);
        my.trouble = taken.error().text;
        // Who found no etcd, or another leader, could at the next time; what is wrong with records or store stays until somebody repairs it.
        my.roll->stand(taken.error().code == error_code::unavailable || taken.error().code == error_code::fenced);
        my.term->end("the records could not be taken over"); // the election says so in turn
        return;
      }
      my.trouble.clear();
      my.roll->stand(true);
      my.ledger = std::move(*taken);
      ++my.terms;
      end_child(self, my.uplink);
      my.coordinator = self->spawn<caf::linked + caf::detached>(coordinator, my.setup.coordinator);
      log::info("seat", "coordinates", "node={} epoch={} terms={}", my.setup.election.node, my.term->epoch(), my.terms);
    },
    [=, &my](const seat_lost& news) {
      if (my.ending || !my.term)
        return;
      log::info("seat", "stands-by", "node={} reason={}", my.setup.election.node, news.why);
      if (my.coordinator)
        kill_child(my.coordinator);
      else
        leave(my.trouble.empty() ? 0s : after_trouble);
    },
    [=, &my](seat_news& news) { my.leader = std::move(news.leader); },
    [=, &my](const hello&) -> caf::result<welcome> {
      if (my.leads())
        return welcome{caf::actor_cast<caf::actor>(my.coordinator)};
      return to_caf({error_code::unavailable, my.refusal()});
    },
    [=, &my](const stop&) {
      my.ending = true;
      if (my.coordinator)
        tell(self, my.coordinator, stop{});
      else
        self->quit(caf::exit_reason::user_shutdown);
    },
    [=, &my](const ask_status&) {
      nlohmann::json status{{"leads", my.leads()}, {"leader", my.leads() ? my.setup.election.node : my.leader}, {"epoch", my.term ? my.term->epoch() : 0}, {"terms", my.terms},
                            {"trouble", my.trouble}, {"endpoints", my.setup.election.etcd.endpoints}};
      status.update(my.sight());
      auto child = my.coordinator ? caf::actor_cast<caf::actor>(my.coordinator) : my.uplink;
      return report_of(self, "seat", status, my.started, child ? std::vector{child} : std::vector<caf::actor>{});
    },
  };
}

} // namespace weir
