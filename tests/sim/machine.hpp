#pragma once
// A simulated machine: an actor with NODE's interface that keeps NODE's rules (it decides with the real node_state) and whose processes are lines in a
// book. What a real one does over a network takes time here too, and does not arrive while the machine is cut off.
#include "actors/node.hpp"

#include <fmt/format.h>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace weir::testing {

/// What is true of all machines, seen from outside: who reaches whom, and every process that works for a task.
struct world {
  struct run {
    node_name node;
    lease_epoch epoch = 0;
    task_phase phase = task_phase::starting;
  };

  std::mt19937_64 chance;
  coordinator_actor coordinator;                   ///< null: it is away
  std::map<node_name, const node_state*> machines; ///< that are up
  std::map<node_name, int> sides;                  ///< of the cut; who is not named is on the coordinator's, which is 0
  std::map<task_id, std::vector<run>> runs;        ///< seat → whatever works for it, wherever
  std::map<task_id, lease_epoch> newest;           ///< seat → highest epoch that was ever begun
  std::uint64_t starts = 0;
  std::uint32_t crashes_in_a_thousand = 0;         ///< runs that end by themselves within 20 s
  std::vector<std::string> breaches;
  bool loud = false;

  void say(const char* what, const task_id& seat, const node_name& where, lease_epoch epoch) const {
    if (loud)
      std::fprintf(stderr, "%s %s on %s with epoch %llu\n", what, seat.value.c_str(), where.value.c_str(), static_cast<unsigned long long>(epoch));
  }
  int side_of(const node_name& name) const {
    auto side = sides.find(name);
    return side == sides.end() ? 0 : side->second;
  }
  std::chrono::milliseconds between(std::int64_t least, std::int64_t most) {
    return std::chrono::milliseconds(std::uniform_int_distribution<std::int64_t>(least, most)(chance));
  }
  bool one_in(std::uint32_t count) { return chance() % count == 0; }

  void begin(const task_order& order, const node_name& where) {
    auto& all = runs[order.task];
    auto* type = find_task_type(order.type);
    auto& high = newest[order.task];
    if (type && !type->needs_origin) { // what the origin fences may overlap, and an older order may arrive last
      for (auto& other : all)
        breaches.push_back(fmt::format("two pushes to one target: {} on {} with epoch {}, and on {} with epoch {} ({})", order.task.value, where.value, order.epoch,
                                       other.node.value, other.epoch, to_string(other.phase)));
      if (order.epoch < high)
        breaches.push_back(fmt::format("{} begins on {} with epoch {} after epoch {}", order.task.value, where.value, order.epoch, high));
    }
    high = std::max(high, order.epoch);
    all.push_back({where, order.epoch, task_phase::starting});
    say("begins", order.task, where, order.epoch);
    ++starts;
  }
  run* find(const task_id& seat, const node_name& where, lease_epoch epoch) {
    auto all = runs.find(seat);
    if (all != runs.end())
      for (auto& one : all->second)
        if (one.node == where && one.epoch == epoch)
          return &one;
    return nullptr;
  }
  void end(const task_id& seat, const node_name& where, lease_epoch epoch) {
    auto all = runs.find(seat);
    if (all == runs.end())
      return;
    say("ends", seat, where, epoch);
    std::erase_if(all->second, [&](auto& r) { return r.node == where && r.epoch == epoch; });
    if (all->second.empty())
      runs.erase(all);
  }
  /// The power is cut: its processes are gone, and nobody is told.
  void lose(const node_name& where) {
    machines.erase(where);
    for (auto all = runs.begin(); all != runs.end();) {
      std::erase_if(all->second, [&](auto& r) { return r.node == where; });
      all = all->second.empty() ? runs.erase(all) : std::next(all);
    }
  }
};

struct machine_state : node_state {
  machine_state() = default; // no aggregate: CAF would make its first member of the actor's pointer
  std::multimap<time_point, std::function<void()>> due; ///< what takes its time: messages on their way, processes that start or end
  time_point next_look{};
  bool broken = false;       ///< something was lost on the wire
  std::set<task_id> unheard; ///< whose last report was lost: a real runner says each second how it is
};

inline node_actor::behavior_type machine(node_actor::stateful_pointer<machine_state> self, node_setup setup, std::shared_ptr<world> all) {
  using namespace std::chrono_literals;
  auto& my = self->state;
  my.setup = std::move(setup);
  const auto name = my.setup.spec.name;
  my.started = my.last_answer = self->clock().now();
  all->machines[name] = &my;
  auto me = node_actor{self};
  auto now = [self] { return self->clock().now(); };
  const auto way = all->between(1, 30);

  auto later = [=, &my](std::chrono::milliseconds wait, std::function<void()> what) {
    my.due.emplace(now() + wait, std::move(what));
    tell_after(self, wait, me, tick{});
  };
  auto connected = [=] { return all->coordinator && all->side_of(name) == 0; };
  // In both directions: in order, and lost only with the connection, after which the machine has to join anew.
  auto over_the_wire = [=, &my](std::function<void()> arrives, std::function<void()> lost) {
    my.broken |= !connected();
    if (!connected())
      return later(node_state::answer_within, std::move(lost));
    later(way, [=, &my] {
      my.broken |= !connected();
      connected() ? arrives() : lost();
    });
  };
  auto nothing = [] {};
  auto say = [=, &my](const world::run& run, task_report report, const task_actor& teller) {
    report.phase = report.ended ? report.phase : run.phase;
    over_the_wire([=] { tell(self, teller, report); }, [=, &my] { my.unheard.insert(report.task); });
  };
  auto end = [=, &my](const task_id& seat, lease_epoch epoch, end_cause cause, const char* text) {
    auto run = my.runs.find(seat);
    if (run == my.runs.end() || run->second.order.epoch != epoch)
      return;
    auto last = run->second.last;
    last.phase = task_phase::waiting;
    last.cause = cause;
    last.text = text;
    last.ended = true;
    auto teller = run->second.teller;
    my.runs.erase(run);
    all->end(seat, name, epoch);
    say({}, last, teller);
  };
  auto stop_run = [=](const task_id& seat, lease_epoch epoch) {
    auto* run = all->find(seat, name, epoch);
    if (!run || run->phase == task_phase::stopping)
      return;
    run->phase = task_phase::stopping; // it works until it has ended
    all->say("is to end:", seat, name, epoch);
    later(all->one_in(20) ? 3000ms : all->between(50, 600), [=] { end(seat, epoch, end_cause::requested, "as ordered"); });
  };
  auto start_run = [=, &my](const assign& wish) {
    auto& run = my.runs[wish.order.task];
    run.order = wish.order;
    run.teller = wish.teller;
    run.last = {.task = wish.order.task, .epoch = wish.order.epoch, .phase = task_phase::starting, .attempts = 1, .cause = end_cause::none, .text = {}, .progress = {}, .log_tail = {}, .ended = false};
    run.last.progress.speed_milli = 1000;
    all->begin(wish.order, name);
    say({}, run.last, run.teller);
    later(all->between(200, 1000), [=, &my, seat = wish.order.task, epoch = wish.order.epoch] {
      auto* here = all->find(seat, name, epoch);
      if (!here || here->phase != task_phase::starting)
        return;
      here->phase = task_phase::running;
      auto& mine = my.runs.at(seat);
      mine.last.phase = task_phase::running;
      say(*here, mine.last, mine.teller);
      if (all->chance() % 1000 < all->crashes_in_a_thousand)
        later(all->between(500, 20'000), [=] { end(seat, epoch, end_cause::crashed, "the simulation says so"); });
    });
  };
  auto take_order = [=, &my](const assign& wish) {
    auto& order = wish.order;
    auto present = my.runs.find(order.task);
    if (present == my.runs.end())
      return start_run(wish);
    auto& run = present->second;
    if (run.order.epoch == order.epoch) { // its TASK is another one, or reached over another connection
      run.teller = wish.teller;
      run.order = order;
      say(*all->find(order.task, name, order.epoch), run.last, run.teller);
    } else if (run.order.epoch < order.epoch)
      say({}, {.task = order.task, .epoch = order.epoch, .phase = task_phase::waiting, .attempts = 0, .cause = end_cause::requested, .text = "an older run still ends here", .progress = {}, .log_tail = {}, .ended = true},
          wish.teller);
  };
  auto unanswered = [=, &my] { my.asking = my.joined = false; };
  auto ask_to_join = [=, &my] {
    my.asking = true;
    auto arrives = [=, &my, news = my.make_join(me)] {
      ask(self, 2s, all->coordinator, news)
        .then(
          [=, &my](const joined& in) {
            over_the_wire(
              [=, &my] {
                my.take(in, now());
              },
              unanswered);
          },
          [=](const caf::error&) { unanswered(); });
    };
    over_the_wire(arrives, unanswered);
  };
  auto renew = [=, &my] {
    my.asking = true;
    auto arrives = [=, &my, asked = my.make_beat()] {
      ask(self, node_state::answer_within, all->coordinator, asked)
        .then(
          [=, &my](const beat_answer& answer) {
            over_the_wire(
              [=, &my] {
                for (auto& seat : my.take(asked, answer, now()))
                  stop_run(seat, my.runs.at(seat).order.epoch);
              },
              unanswered);
          },
          [=](const caf::error&) { unanswered(); });
    };
    over_the_wire(arrives, unanswered);
  };
  auto ask_others = [=, &my] {
    my.round = {my.round.number + 1, now(), 1};
    for (auto& other : my.roster.nodes)
      if (auto there = all->machines.find(other.name); other.name != name && there != all->machines.end() && all->side_of(other.name) == all->side_of(name))
        my.take(witness_answer{my.round.number, there->second->misses_the_coordinator(now())});
  };

  later(all->between(0, 250), nothing); // machines do not beat in step
  my.next_look = my.due.begin()->first;
  return {
    [=](const assign& wish) { over_the_wire([=] { take_order(wish); }, nothing); },
    [=](const revoke& wish) { over_the_wire([=] { stop_run(wish.task, wish.epoch); }, nothing); },
    [](const retry_task&) {},
    [](const task_report&) {},
    [](const witness_answer&) {},
    [](const witness_question&) {},
    [](const use_tools&) {},
    [=, &my](const tick&) {
      while (!my.due.empty() && my.due.begin()->first <= now()) {
        auto what = std::move(my.due.begin()->second);
        my.due.erase(my.due.begin());
        what();
      }
      if (now() < my.next_look)
        return;
      my.next_look = now() + node_state::look_every;
      if (my.broken && connected())
        my.broken = my.joined = false;
      if (auto lost = my.must_end(now()); !lost.empty()) {
        for (auto& seat : lost)
          end(seat, my.runs.at(seat).order.epoch, end_cause::lease_lost, "the coordinator was not reached");
        my.stopped_by_itself += lost.size();
        my.last_answer = now();
      }
      if (my.must_ask_others(now()))
        ask_others();
      if (!my.asking && now() >= my.next_beat) {
        my.next_beat = now() + my.setup.beat_every;
        my.joined ? renew() : ask_to_join();
        for (auto& seat : std::exchange(my.unheard, {}))
          if (auto run = my.runs.find(seat); run != my.runs.end())
            say(*all->find(seat, name, run->second.order.epoch), run->second.last, run->second.teller);
      }
      tell_after(self, node_state::look_every, me, tick{});
    },
    [=](const stop&) { self->quit(caf::exit_reason::user_shutdown); },
    [](const ask_status&) { return actor_report{}; },
  };
}

} // namespace weir::testing
