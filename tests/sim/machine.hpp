#pragma once
// A simulated machine: an actor with NODE's interface that keeps NODE's rules (it decides with the real node_state) and whose processes are lines in a
// book. What a real one does over a network takes time here too, waits while a cable is out, and is lost when that takes too long. The program, or the whole
// machine, may stand still for a while and go on.
#include "tests/sim/ladder.hpp"

#include <set>

namespace weir::testing {

struct machine_state : node_state {
  machine_state() = default; // no aggregate: CAF would make its first member of the actor's pointer

  struct packet {
    time_point due{};
    std::function<void()> arrives;
  };
  /// The connection to the coordinator, as CAF keeps it: in order both ways, closed after a silence.
  struct connection {
    coordinator_actor to; ///< null: there is none
    std::uint64_t number = 0;
    std::deque<packet> up, down;
    time_point up_works{}, down_works{};
  };
  /// What takes its time.
  using agenda = std::multimap<time_point, std::function<void()>>;

  connection line;
  agenda program, processes;
  std::vector<std::function<void()>> unread; ///< what came while the program stood still
  bool stood_still = false, machine_stood_still = false;
  bool leaving = false, left = false; ///< ends when its runs have
  std::uint64_t question = 0;     ///< number of the join or beat that is unanswered
  time_point next_look{}, next_list{}, next_word{}, next_segment{};
  std::set<task_id> unheard;      ///< whose last report was lost: a real runner says each second how it is
  std::set<task_id> stopping;
  std::map<task_id, std::shared_ptr<ladder>> ladders;
};

inline node_actor::behavior_type machine(node_actor::stateful_pointer<machine_state> self, node_setup setup, std::shared_ptr<world> all) {
  using namespace std::chrono_literals;
  constexpr auto line_silence = 4s;   // runtime/cluster/transport.cpp
  constexpr auto word_every = 1s, word_lasts = 4s; // actors/transcoder.cpp
  constexpr auto witness_within = 800ms;
  auto& my = self->state;
  my.setup = std::move(setup);
  const auto name = my.setup.spec.name;
  my.started = my.last_answer = self->clock().now();
  all->machines[name] = &my;
  auto me = node_actor{self};
  auto now = [self] { return self->clock().now(); };
  const auto way = all->between(1, 30);

  auto later_in = [=](machine_state::agenda& which, std::chrono::milliseconds wait, std::function<void()> what) {
    which.emplace(now() + wait, std::move(what));
    tell_after(self, wait, me, tick{});
  };
  auto later = [=, &my](std::chrono::milliseconds wait, std::function<void()> what) { later_in(my.program, wait, std::move(what)); };
  auto process_later = [=, &my](std::chrono::milliseconds wait, std::function<void()> what) { later_in(my.processes, wait, std::move(what)); };
  auto work = [=](machine_state::agenda& which) {
    while (!which.empty() && which.begin()->first <= now()) {
      auto what = std::move(which.begin()->second);
      which.erase(which.begin());
      what();
    }
  };

  // --- the connection ---
  auto over = [=, &my] { return all->over.contains(my.setup.spec.instance); };
  auto unanswered = [=, &my] { my.asking = my.joined = false; };
  auto up = [=, &my](std::function<void()> arrives) {
    my.line.up.push_back({now() + way, std::move(arrives)});
    tell_after(self, way, me, tick{});
  };
  auto down = [=, &my](std::function<void()> arrives) {
    if (!my.line.to || over())
      return;
    my.line.down.push_back({now() + way, std::move(arrives)});
    tell_after(self, way, me, tick{});
  };
  auto frozen = [=] { return over() || all->program_stands_still(name); };
  auto lost = [=, &my] {
    for (auto& [seat, run] : my.runs)
      my.unheard.insert(seat);
    unanswered();
  };
  auto carry = [=, &my] {
    auto& line = my.line;
    if (!line.to)
      return;
    const bool there = line.to == all->coordinator, speaks = all->hears(all->boss, name), hears = all->hears(name, all->boss);
    while (speaks && there && !line.up.empty() && line.up.front().due <= now()) {
      auto arrives = std::move(line.up.front().arrives);
      line.up.pop_front();
      arrives();
    }
    while (hears && !line.down.empty() && line.down.front().due <= now()) {
      auto arrives = std::move(line.down.front().arrives);
      line.down.pop_front();
      if (frozen())
        my.unread.push_back(std::move(arrives));
      else
        arrives();
    }
    if (speaks && !frozen())
      line.up_works = now();
    if (hears && there)
      line.down_works = now();
    const bool refused = !there && speaks && hears;
    if (!refused && now() - line.up_works <= line_silence && now() - line.down_works <= line_silence)
      return;
    if (!over())
      all->note(name.value + " loses its connection to the coordinator");
    if (there)
      caf::anon_send(caf::actor_cast<caf::actor>(line.to), caf::down_msg{me.address(), caf::exit_reason::remote_link_unreachable});
    line.to = nullptr;
    line.up.clear();
    line.down.clear();
    if (!frozen())
      lost();
  };
  auto connect = [=, &my] {
    if (my.line.to || !all->coordinator || !all->reaches(all->boss, name))
      return;
    my.line.to = all->coordinator;
    ++my.line.number;
    my.line.up_works = my.line.down_works = now();
  };
  // A question and its answer, which may come too late.
  auto question = [=, &my](std::chrono::milliseconds patience) {
    my.asking = true;
    later(patience, [=, &my, number = ++my.question] {
      if (my.asking && my.question == number)
        unanswered();
    });
  };
  auto answer = [=, &my](std::uint64_t number, std::uint64_t connection, std::function<void()> take) {
    if (connection == my.line.number)
      down([=, &my] {
        if (my.asking && my.question == number)
          take();
      });
  };

  // --- runs and their processes ---
  auto say = [=, &my](const task_report& report, const task_actor& teller) {
    if (my.line.to)
      up([=] { tell(self, teller, report); });
    else
      my.unheard.insert(report.task);
  };
  auto show = [=, &my](const task_id& seat, lease_epoch epoch, task_phase phase) {
    auto run = my.runs.find(seat);
    if (run == my.runs.end() || run->second.order.epoch != epoch)
      return;
    if (auto* process = all->find(seat, name, epoch))
      process->phase = phase;
    run->second.last.phase = phase;
    say(run->second.last, run->second.teller);
  };
  auto end = [=, &my](const task_id& seat, lease_epoch epoch, end_cause cause, const char* text) {
    all->end(seat, name, epoch);
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
    my.ladders.erase(seat);
    my.stopping.erase(seat);
    my.remember_revoked({seat, epoch}); // it does not begin again, however late an order comes
    say(last, teller);
  };
  auto works_on = [=, &my](const task_id& seat, lease_epoch epoch) {
    auto run = my.runs.find(seat);
    return run != my.runs.end() && run->second.order.epoch == epoch && !my.stopping.contains(seat);
  };
  // As ordered, by and by. It works until it has ended.
  auto stop_run = [=, &my](const task_id& seat, lease_epoch epoch) {
    if (!works_on(seat, epoch))
      return;
    my.stopping.insert(seat);
    show(seat, epoch, task_phase::stopping);
    all->say("is to end:", seat, name, epoch);
    if (auto encoder = my.ladders.find(seat); encoder != my.ladders.end())
      return encoder->second->stop();
    process_later(!all->find(seat, name, epoch) ? 0ms : all->one_in(20) ? 3000ms : all->between(50, 600), [=] {
      all->end(seat, name, epoch);
      later(0ms, [=] { end(seat, epoch, end_cause::requested, "as ordered"); });
    });
  };
  // Those of restreams must not outlive us.
  auto tell_to_go_on = [=, &my](const task_id& seat, lease_epoch epoch) {
    auto* type = find_task_type(my.runs.at(seat).order.type);
    if (auto* process = all->find(seat, name, epoch); process && type && !type->needs_origin)
      process->told_until = now() + word_lasts;
  };
  // The process is gone; TRANSCODER starts it again under the same lease.
  auto start_again = [=, &my](const task_id& seat, lease_epoch epoch, auto begin) {
    later(0ms, [=, &my] { // when the program hears of it
      later(all->between(400, 600), [=, &my] {
        if (works_on(seat, epoch) && !all->find(seat, name, epoch))
          begin(my.runs.at(seat).order, begin);
      });
    });
  };
  auto begin_process = [=, &my](const task_order& order, auto begin) -> void {
    const auto seat = order.task;
    const auto epoch = order.epoch;
    all->begin(order, name);
    show(seat, epoch, task_phase::starting);
    tell_to_go_on(seat, epoch);
    process_later(all->between(200, 1000), [=] {
      if (auto* process = all->find(seat, name, epoch); process && process->phase == task_phase::starting)
        later(0ms, [=] {
          if (works_on(seat, epoch))
            show(seat, epoch, task_phase::running);
        });
    });
    if (all->chance() % 1000 >= all->crashes_in_a_thousand)
      return;
    process_later(all->between(700, 20'000), [=, &my] {
      if (!works_on(seat, epoch) || !all->find(seat, name, epoch) || all->crashes_in_a_thousand == 0)
        return;
      if (all->one_in(2)) {
        all->note(fmt::format("the runner of {} on {} dies", seat.value, name.value));
        return end(seat, epoch, end_cause::crashed, "the simulation says so");
      }
      all->note(fmt::format("the process of {} on {} dies", seat.value, name.value));
      if (auto encoder = my.ladders.find(seat); encoder != my.ladders.end())
        return encoder->second->crash();
      all->end(seat, name, epoch);
      later(0ms, [=] { show(seat, epoch, task_phase::backing_off); });
      start_again(seat, epoch, begin);
    });
  };
  auto start_run = [=, &my](const assign& wish) {
    auto& run = my.runs[wish.order.task];
    run.order = wish.order;
    run.teller = wish.teller;
    run.last = {.task = wish.order.task, .epoch = wish.order.epoch, .phase = task_phase::starting, .attempts = 1, .cause = end_cause::none, .text = {}, .progress = {}, .log_tail = {}, .ended = false};
    run.last.progress.speed_milli = 1000;
    if (auto* type = find_task_type(wish.order.type); all->origin && type && type->needs_origin)
      my.ladders[wish.order.task] = std::make_shared<ladder>(wish.order, name, all);
    begin_process(wish.order, begin_process);
  };
  auto take_order = [=, &my](const assign& wish) {
    auto& order = wish.order;
    auto refuse = [&](std::string text) {
      all->say("refuses", order.task, name, order.epoch);
      my.remember_revoked({order.task, order.epoch}); // its TASK hears that it is over
      say({.task = order.task, .epoch = order.epoch, .phase = task_phase::waiting, .attempts = 0, .cause = end_cause::requested, .text = std::move(text), .progress = {}, .log_tail = {}, .ended = true},
          wish.teller);
    };
    auto present = my.runs.find(order.task);
    if (present == my.runs.end()) {
      if (my.leaving)
        return refuse("the node is stopping");
      if (auto why = my.refuses(order, now()); !why.empty())
        return refuse(why);
      return start_run(wish);
    }
    auto& run = present->second;
    if (run.order.epoch == order.epoch) { // its TASK is another one, or reached over another connection
      run.teller = wish.teller;
      run.order = order;
      if (auto encoder = my.ladders.find(order.task); encoder != my.ladders.end())
        encoder->second->use(order);
      say(run.last, run.teller);
    } else if (run.order.epoch < order.epoch)
      refuse("an older run still ends here");
  };
  auto take_back = [=, &my](const revoke& wish) {
    if (auto run = my.runs.find(wish.task); run == my.runs.end() || run->second.order.epoch < wish.epoch)
      my.remember_revoked(wish);
    else
      stop_run(wish.task, wish.epoch);
  };
  auto heed_words = [=, &my] {
    for (auto& [seat, run] : my.runs)
      if (auto* process = all->find(seat, name, run.order.epoch); process && process->told_until <= now()) {
        all->note(fmt::format("the process of {} on {} was not told to go on", seat.value, name.value));
        all->end(seat, name, run.order.epoch);
        start_again(seat, run.order.epoch, begin_process);
      }
  };

  // --- NODE ---
  auto ask_to_join = [=, &my] {
    if (!my.line.to)
      return unanswered();
    question(2s);
    up([=, &my, asked_at = now(), news = my.make_join(me), number = my.question, connection = my.line.number] {
      ask(self, 2s, my.line.to, news)
        .then([=, &my](const joined& in) { answer(number, connection, [=, &my] { my.take(in, asked_at); }); }, [=](const caf::error&) { answer(number, connection, unanswered); });
    });
  };
  auto renew = [=, &my] {
    if (!my.line.to)
      return unanswered();
    question(node_state::answer_within);
    up([=, &my, asked_at = now(), asked = my.make_beat(), number = my.question, connection = my.line.number] {
      ask(self, 2s, my.line.to, asked)
        .then(
          [=, &my](const beat_answer& in) {
            answer(number, connection, [=, &my] {
              for (auto& seat : my.take(asked, in, asked_at)) {
                auto& order = my.runs.at(seat).order;
                auto* type = find_task_type(order.type);
                type && type->needs_origin ? stop_run(seat, order.epoch) : end(seat, order.epoch, end_cause::lease_lost, "its lease is over");
              }
            });
          },
          [](const caf::error&) {});
    });
  };
  auto ask_others = [=, &my] {
    const auto number = my.begin_round(now());
    for (auto& other : my.roster.nodes)
      if (other.name != name)
        later(all->between(1, 300), [=, &my, whom = other.name, asked_at = now()] {
          auto hears_us = [=] { return all->machines.contains(whom) && all->reaches(name, whom) && !all->program_stands_still(whom); };
          if (!hears_us())
            return;
          later(all->machines.at(whom)->holds_question(now()), [=, &my] {
            if (!hears_us())
              return;
            later(all->between(1, 300), [=, &my, misses = all->machines.at(whom)->misses_the_coordinator(now())] {
              if (now() - asked_at <= witness_within && all->reaches(name, whom) && my.take(witness_answer{number, misses}))
                all->note(name.value + " has the word of a majority");
            });
          });
        });
  };
  // RTMP WATCH of the servers on this machine.
  auto tell_lists = [=, &my] {
    for (auto& [server, one] : all->servers)
      if (one.node == name && my.line.to) {
        publication_list list{.server = server, .service_id = std::to_string(one.start), .items = {}};
        for (auto& [stream, who] : one.publishers)
          list.items.push_back({.app = "live", .stream = stream, .client_id = who.client, .address = "10.1.1.1"});
        up([=, &my, to = my.line.to] {
          ask(self, 2s, to, list).then([](const drop_list&) {}, [](const caf::error&) {});
          tell(self, to, rtmp_health{list.server, true, {}, static_cast<std::uint32_t>(list.items.size())});
        });
      }
  };
  auto wake = [=, &my] {
    all->note(name.value + " goes on");
    if (std::exchange(my.machine_stood_still, false)) {
      heed_words(); // before they push anything
      for (auto& [seat, run] : my.runs)
        if (!my.ladders.contains(seat) && all->find(seat, name, run.order.epoch))
          if (auto* type = find_task_type(run.order.type); type && !type->needs_origin)
            all->judge(seat, name, run.order.epoch, "goes on");
    }
    my.stood_still = false;
    // What its system has taken meanwhile, the clock, the end of the connection: whichever comes first.
    auto unread = std::exchange(my.unread, {});
    const bool clock_first = all->one_in(2);
    if (clock_first)
      work(my.program);
    if (my.line.to || all->one_in(2))
      for (auto& arrives : unread)
        arrives();
    if (!my.line.to)
      lost();
  };

  later(all->between(0, 250), [] {}); // machines do not beat in step
  my.next_look = my.program.begin()->first;
  return {
    [=](const assign& wish) { down([=] { take_order(wish); }); },
    [=](const revoke& wish) { down([=] { take_back(wish); }); },
    [](const retry_task&) {},
    [](const task_report&) {},
    [](const witness_answer&) {},
    [](const witness_question&) {},
    [](const use_tools&) {},
    [=, &my](const tick&) {
      carry();
      const bool look = now() >= my.next_look;
      if (look) {
        my.next_look = now() + node_state::look_every;
        tell_after(self, node_state::look_every, me, tick{});
      }
      if (over()) { // and the other end of its connection need not know
        if (!my.line.to)
          self->quit(caf::exit_reason::user_shutdown);
        return;
      }
      my.stood_still |= all->program_stands_still(name);
      my.machine_stood_still |= all->stands_still(name);
      if (all->stands_still(name))
        return;
      if (my.stood_still && !all->program_stands_still(name))
        wake();
      work(my.processes);
      heed_words();
      for (auto& [seat, encoder] : my.ladders) {
        encoder->encode();
        encoder->end_encoder();
      }
      if (!my.ladders.empty() && now() >= my.next_segment) {
        my.next_segment = now() + 50ms;
        tell_after(self, 50ms, me, tick{});
      }
      if (all->program_stands_still(name))
        return;
      work(my.program);
      for (auto ladders = my.ladders; auto& [seat, encoder] : ladders) {
        encoder->deliver();
        if (encoder->over())
          end(seat, my.runs.at(seat).order.epoch, encoder->fenced() ? end_cause::fenced : end_cause::requested, encoder->fenced() ? "a newer writer has taken over" : "as ordered");
      }
      if (!look)
        return;
      connect();
      if (now() >= my.next_word) {
        my.next_word = now() + word_every;
        for (auto& [seat, run] : my.runs)
          tell_to_go_on(seat, run.order.epoch);
      }
      if (auto lost_leases = my.must_end(now()); !lost_leases.empty()) {
        for (auto& seat : lost_leases)
          end(seat, my.runs.at(seat).order.epoch, end_cause::lease_lost, "the coordinator was not reached");
        my.stopped_by_itself += lost_leases.size();
      }
      if (my.leaving && my.runs.empty() && !std::exchange(my.left, true)) {
        if (my.line.to)
          up([=, to = my.line.to, &my] { tell(self, to, leaving{name, my.setup.spec.instance}); });
        later(way + 1ms, [=, &my] {
          all->note(name.value + " has ended");
          all->lose(name);
          my.line.to = nullptr;
        });
      }
      if (my.must_ask_others(now()))
        ask_others();
      if (!my.asking && !my.leaving && now() >= my.next_beat) {
        my.next_beat = now() + my.setup.beat_every;
        my.joined ? renew() : ask_to_join();
        for (auto& seat : std::exchange(my.unheard, {}))
          if (auto run = my.runs.find(seat); run != my.runs.end())
            say(run->second.last, run->second.teller);
      }
      if (now() >= my.next_list) {
        my.next_list = now() + 1s;
        tell_lists();
      }
    },
    [=, &my](const stop&) {
      my.leaving = true;
      for (auto runs = my.runs; auto& [seat, run] : runs)
        stop_run(seat, run.order.epoch);
    },
    [](const ask_status&) { return actor_report{}; },
  };
}

} // namespace weir::testing
