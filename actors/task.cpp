#include "actors/task.hpp"

#include "actors/reporting.hpp"
#include "actors/task_types.hpp"
#include "runtime/base/log.hpp"

#include <algorithm>

namespace weir {

using namespace std::chrono_literals;

namespace {
constexpr auto renew_lacking_after = 1s;
}

bool task_state::outdated(const placement& p) const {
  if (p.order.publication != wish.publication || p.order.type != status.spec.type)
    return true;
  auto* type = find_task_type(p.order.type);
  return p.order.options != status.spec.options && (!type || type->process(p.order.options) != type->process(status.spec.options));
}

bool task_state::wants_standby() const {
  auto* type = find_task_type(status.spec.type);
  return type && wanted() && type->standby(status.spec.options);
}

std::vector<std::string> servers_of(const task_order& order, const std::vector<std::string>& wanted) {
  return order.more_inputs.size() + 1 < wanted.size() ? std::vector<std::string>{} : wanted;
}

task_id task_state::free_seat() const {
  auto& other = run ? run : spare.run;
  return other && !is_standby_seat(other->order.task) ? standby_seat(status.spec.id) : status.spec.id;
}

bool task_state::promote() {
  if (!spare.run || spare.revoked)
    return false;
  run = std::move(spare.run);
  run_servers = std::move(spare.servers);
  renewing = spare.renewing;
  revoked = false;
  spare = {};
  refusals = 0;
  status.node = run->node;
  status.epoch = run->order.epoch;
  status.phase = status.standby_phase;
  status.placed_because = run->why;
  status.reason = "its standby took over";
  status.standby_node = {};
  status.standby_phase = task_phase::waiting;
  status.standby_reason.clear();
  return true;
}

bool task_state::take(task_wish news) {
  if (news.wanted && !wish.wanted)
    earlier_attempts = 0;
  wish = std::move(news);
  ++wish_number;
  turn = spare.turn = 0;
  refusals = spare.refusals = 0;
  if (!wish.wanted && status.phase == task_phase::failed)
    status.phase = task_phase::waiting;
  if (!run && !wish.wanted && status.phase != task_phase::done)
    status.phase = task_phase::waiting;
  status.reason = wish.wanted ? std::string{} : wish.reason;
  return true;
}

bool task_state::take(task_spec spec) {
  auto* kind = find_task_type(spec.type);
  bool process = !kind || kind->process(spec.options) != kind->process(status.spec.options) || spec.type != status.spec.type || spec.enabled != status.spec.enabled;
  status.spec = std::move(spec);
  if (process) {
    ++wish_number;
    turn = spare.turn = 0;
    refusals = spare.refusals = 0;
    if (status.phase == task_phase::failed)
      status.phase = task_phase::waiting;
    status.reason = status.spec.enabled ? wish.reason : "the task is disabled";
  }
  return true;
}

bool task_state::take(placement where) {
  turn = 0;
  refusals = 0;
  revoked = false;
  status.phase = task_phase::placed;
  status.reason.clear();
  status.node = where.node;
  status.epoch = where.order.epoch;
  status.progress = {};
  status.placed_because = where.why;
  run = std::move(where);
  run_servers = servers_of(run->order, wish.servers);
  return true;
}

bool task_state::take_spare(placement where) {
  spare = {.run = std::move(where), .servers = {}};
  spare.servers = servers_of(spare.run->order, wish.servers);
  status.standby_node = spare.run->node;
  status.standby_phase = task_phase::placed;
  status.standby_reason = spare.run->why;
  return true;
}

bool task_state::take_spare_refusal(const error& why) {
  spare.turn = 0;
  ++spare.refusals;
  return std::exchange(status.standby_reason, why.text) != why.text;
}

bool task_state::take_refusal(const error& why) {
  turn = 0;
  ++refusals;
  bool news = status.reason != why.text || status.phase != task_phase::waiting;
  status.phase = task_phase::waiting;
  status.reason = why.text;
  return news;
}

bool task_state::take(const task_report& report) {
  if (spare.run && report.epoch == spare.run->order.epoch) {
    status.standby_phase = report.phase;
    status.standby_reason = report.cause != end_cause::none ? report.text : spare.run->why;
    if (report.ended) {
      auto again = report.cause == end_cause::requested && report.attempts != 0 ? 0 : spare.refusals + 1;
      spare = {.refusals = again};
      ++wish_number;
      status.standby_phase = task_phase::waiting;
      status.standby_node = {};
    }
    return true;
  }
  if (!run || report.epoch != run->order.epoch)
    return false; // of a lease that is over
  status.attempts = earlier_attempts + report.attempts;
  status.progress = report.progress;
  status.log_tail = report.log_tail;
  if (report.cause != end_cause::none) {
    status.last_cause = report.cause;
    status.last_error = report.text;
  } else if (report.phase == task_phase::running && status.last_cause == end_cause::overloaded) { // said of a run that goes on, and it is over
    status.last_cause = end_cause::none;
    status.last_error.clear();
  }
  if (!report.ended) {
    status.phase = revoked ? task_phase::stopping : report.phase;
    return true;
  }
  earlier_attempts = status.attempts;
  run.reset();
  revoked = renewing = false;
  ++wish_number;
  if (report.cause == end_cause::bad_options || report.phase == task_phase::failed) {
    status.phase = task_phase::failed;
    status.reason = report.text;
  } else if (wanted() && report.cause != end_cause::requested && promote()) {
    // nothing to wait for
  } else {
    status.phase = task_phase::waiting;
    status.reason = !status.spec.enabled ? "the task is disabled" : wish.wanted ? "between two runs" : wish.reason;
    if (report.cause != end_cause::requested || report.attempts == 0)
      ++refusals; // an end that nobody asked for, or an order that the node refused, must not become a tight loop
  }
  return true;
}

bool task_state::take(const lease_over& over) {
  if (spare.run && over.epoch == spare.run->order.epoch) {
    spare = {};
    ++wish_number;
    status.standby_phase = task_phase::waiting;
    status.standby_node = {};
    status.standby_reason = over.why;
    return true;
  }
  if (!run && wanted()) { // what stood in the way of a place is over
    refusals = 0;
    turn = 0;
    ++wish_number;
    return false;
  }
  if (!run || over.epoch != run->order.epoch)
    return false;
  earlier_attempts = status.attempts;
  run.reset();
  revoked = renewing = false;
  ++wish_number;
  status.last_cause = end_cause::lease_lost;
  status.last_error = over.why;
  if (wanted() && promote())
    return true;
  status.phase = task_phase::waiting;
  status.reason = over.why;
  return true;
}

bool task_state::retry() {
  refusals = 0;
  if (status.phase != task_phase::failed)
    return false;
  status.phase = task_phase::waiting;
  ++wish_number;
  return true;
}

task_state::action task_state::next() const {
  action todo;
  if (run) {
    todo.revoke = !revoked && (!wanted() || outdated());
    todo.renew = !revoked && !todo.revoke && !renewing && run_servers != wish.servers;
  } else
    todo.place = wanted() && turn == 0;
  if (spare.run) {
    todo.revoke_spare = !spare.revoked && (!wants_standby() || outdated(*spare.run));
    todo.renew_spare = !spare.revoked && !todo.revoke_spare && !spare.renewing && spare.servers != wish.servers;
  } else
    todo.place_spare = run && !revoked && !todo.revoke && wants_standby() && spare.turn == 0;
  return todo;
}

namespace {
std::chrono::milliseconds patience_after(std::uint32_t refusals) {
  return refusals == 0 ? 0ms : std::min<std::chrono::milliseconds>(5s, 125ms * (1 << std::min(refusals, 6u)));
}
} // namespace

std::chrono::milliseconds task_state::patience() const { return patience_after(refusals); }
std::chrono::milliseconds task_state::spare_patience() const { return patience_after(spare.refusals); }

task_actor::behavior_type task(task_actor::stateful_pointer<task_state> self, task_spec spec, stream_actor parent, coordinator_actor coordinator) {
  auto& my = self->state;
  my.status.spec = std::move(spec);
  my.status.reason = "the stream is offline";
  my.started = self->clock().now();
  auto me = task_actor{self};

  auto tell_news = [self, &my, parent](bool changed) {
    if (changed)
      tell(self, parent, task_news{my.status});
  };
  auto ask_for_place = [=, &my](const task_id& seat, node_name avoid) {
    return ask(self, 5s, coordinator, place_task{seat, my.wish.servers, my.wish.publication, std::move(avoid)});
  };
  auto give_back = [=, &my](const placement& where) {
    my.given_back = std::max(my.given_back, where.order.epoch);
    tell(self, coordinator, release_task{where.order.task, where.order.epoch});
  };
  auto act_again = [=] { self->send(me, place_again{}); };
  // The order of a run as it should be now: where the stream is read, over which connection its node is reached.
  auto renew = [=, &my](bool of_spare) {
    auto& run = of_spare ? my.spare.run : my.run;
    (of_spare ? my.spare.renewing : my.renewing) = true;
    ask_for_place(run->order.task, {})
      .then(
        [=, &my, servers = my.wish.servers](placement& where) {
          // By its epoch, not by its part: the standby may have become the run meanwhile.
          for (bool spare : {false, true}) {
            auto& present = spare ? my.spare.run : my.run;
            if (!present || present->order.epoch != where.order.epoch)
              continue;
            auto why = std::move(present->why);
            present = std::move(where);
            present->why = std::move(why);
            (spare ? my.spare.servers : my.run_servers) = servers_of(present->order, servers);
            (spare ? my.spare.renewing : my.renewing) = false;
            (spare ? my.spare.revoked : my.revoked) = false; // an order to end may have gone to a dead connection
            tell(self, present->where, assign{present->order, me});
            return act_again();
          }
          my.renewing = my.spare.renewing = false; // of a run that is over, or will be in a moment
          (of_spare ? my.spare.servers : my.run_servers).clear();
          give_back(where);
          act_again();
        },
        [=, &my](const caf::error& why) {
          my.renewing = my.spare.renewing = false;
          (of_spare ? my.spare.servers : my.run_servers).clear(); // asked again in a while
          act_again();
          log::warn("task", "not-taken-over", "task={} error={}", my.status.spec.id.value, from_caf(why).text);
        });
  };
  // Acts on the difference between what is wanted and what runs; harmless to call at any time.
  auto act = [=, &my] {
    auto todo = my.next();
    if (todo.revoke) {
      my.revoked = true;
      my.status.phase = task_phase::stopping;
      my.status.reason = !my.status.spec.enabled ? "the task is disabled" : my.wish.wanted ? "its options or its source changed" : my.wish.reason;
      tell(self, my.run->where, revoke{my.run->order.task, my.run->order.epoch});
      tell_news(true);
    }
    if (todo.revoke_spare) {
      my.spare.revoked = true;
      tell(self, my.spare.run->where, revoke{my.spare.run->order.task, my.spare.run->order.epoch});
    }
    // A server's publishers may be known before its node has joined.
    const bool lacking = (todo.renew && my.run_servers.empty()) || (todo.renew_spare && my.spare.servers.empty());
    if (lacking && !my.renew_later) {
      my.renew_later = true;
      tell_after(self, renew_lacking_after, me, place_again{.renew = true});
    }
    if (todo.renew && !my.run_servers.empty())
      renew(false);
    if (todo.renew_spare && !my.spare.servers.empty())
      renew(true);
    if (todo.place || todo.place_spare) {
      const bool spare = todo.place_spare;
      const auto wait = spare ? my.spare_patience() : my.patience();
      place_again question{.turn = my.turn_of(spare) = ++my.turns, .of_spare = spare};
      wait > 0ms ? tell_after(self, wait, me, question) : tell(self, me, question);
    }
  };
  auto place = [=, &my](bool spare) {
    const auto wish = my.wish_number, turn = my.turn_of(spare) = ++my.turns;
    auto answered = [=, &my] { // without a run that came of it
      if (my.turn_of(spare) == turn)
        my.turn_of(spare) = 0;
      act();
    };
    auto avoid = spare || my.status.last_cause != end_cause::lease_lost ? node_name{} : my.status.node;
    ask_for_place(my.free_seat(), std::move(avoid))
      .then(
        [=, &my](placement& where) {
          auto& present = spare ? my.spare.run : my.run;
          if (present && present->order.epoch == where.order.epoch)
            return answered(); // asked for twice
          if (where.order.epoch == my.given_back)
            return answered(); // it was in force when this question was answered
          if (spare && my.run && my.run->order.epoch == where.order.epoch) { // the coordinator had not heard yet that we have it
            tell_news(my.take_spare_refusal({error_code::conflict, "its standby is placed when the run is known"}));
            return act();
          }
          bool stands_by = spare;
          if (wish != my.wish_number || (spare ? my.spare.run || !my.run : my.run.has_value())) { // wanted something else meanwhile
            // What runs already is taken up first, and ended in order if it is not wanted: given back, it could be started elsewhere while it still runs.
            if (!where.in_force || (my.run && my.spare.run)) {
              give_back(where);
              return answered();
            }
            stands_by = my.run.has_value();
          }
          tell(self, where.where, assign{where.order, me});
          tell_news(stands_by ? my.take_spare(std::move(where)) : my.take(std::move(where)));
          act();
        },
        [=, &my](caf::error& why) {
          if (my.turn_of(spare) != turn)
            return;
          tell_news(spare ? my.take_spare_refusal(from_caf(why)) : my.take_refusal(from_caf(why)));
          act();
        });
  };

  // A run that we know nothing of may be held for us: the order to end it never arrived, or we are another TASK than the one that wanted it.
  auto end_unwanted = [=, &my] {
    if (!my.run && !my.wanted())
      for (auto& seat : {my.status.spec.id, standby_seat(my.status.spec.id)})
        tell(self, coordinator, release_task{seat, 0});
  };

  tell_news(true);
  return {
    [=, &my](task_wish& wish) {
      tell_news(my.take(std::move(wish)));
      end_unwanted();
      act();
    },
    [=, &my](use_task_spec& news) {
      tell_news(my.take(std::move(news.spec)));
      end_unwanted();
      act();
    },
    [=, &my](const retry_task&) {
      tell_news(my.retry());
      for (auto* one : {&my.run, &my.spare.run})
        if (*one)
          tell(self, (*one)->where, retry_task{(*one)->order.task, {}});
      if (!my.run)
        my.turn = 0;
      act();
    },
    [=, &my](const task_report& report) {
      auto& whose = my.spare.run && my.spare.run->order.epoch == report.epoch ? my.spare.run : my.run;
      auto seat = whose ? whose->order.task : task_id{};
      bool changed = my.take(report);
      if (changed && report.ended)
        tell(self, coordinator, release_task{seat, report.epoch});
      tell_news(changed);
      act();
    },
    [=, &my](const lease_over& over) {
      tell_news(my.take(over));
      act();
    },
    [=, &my](const node_back& news) {
      if (my.run && my.run->node == news.name)
        renew(false);
      if (my.spare.run && my.spare.run->node == news.name)
        renew(true);
      if (!my.run && my.wanted()) // it may have come back with ours: not when our patience ends, but now
        place(false);
      end_unwanted();
    },
    [=, &my](const place_again& again) {
      if (again.renew) {
        my.renew_later = false;
        if (my.run && my.run_servers.empty() && !my.renewing)
          renew(false);
        if (my.spare.run && my.spare.servers.empty() && !my.spare.renewing)
          renew(true);
      } else if (again.turn != 0) {
        auto& turn = my.turn_of(again.of_spare);
        if (turn != again.turn)
          return;
        if (again.of_spare ? my.run && !my.spare.run && my.wants_standby() : !my.run && my.wanted())
          return place(again.of_spare);
        turn = 0; // it is not wanted any more
      }
      act();
    },
    [=, &my](const ask_status&) {
      auto shown = my.status; // its type alone knows which of its options are secret
      auto* type = find_task_type(shown.spec.type);
      shown.spec.options = type ? type->masked(shown.spec.options) : "{}";
      return report_of(self, "task/" + shown.spec.id.value, shown, my.started);
    },
  };
}

} // namespace weir
