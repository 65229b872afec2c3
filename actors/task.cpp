#include "actors/task.hpp"

#include "actors/reporting.hpp"
#include "actors/task_types.hpp"
#include "runtime/base/log.hpp"

#include <algorithm>

namespace weir {

using namespace std::chrono_literals;

bool task_state::outdated() const {
  return run && (run->order.publication != wish.publication || run->order.options != status.spec.options || run->order.type != status.spec.type);
}

bool task_state::take(task_wish news) {
  if (news.wanted && !wish.wanted)
    earlier_attempts = 0;
  wish = std::move(news);
  ++wish_number;
  placing = false;
  refusals = 0;
  if (!wish.wanted && status.phase == task_phase::failed)
    status.phase = task_phase::waiting;
  if (!run && !wish.wanted && status.phase != task_phase::done)
    status.phase = task_phase::waiting;
  status.reason = wish.wanted ? std::string{} : wish.reason;
  return true;
}

bool task_state::take(task_spec spec) {
  bool process = spec.options != status.spec.options || spec.type != status.spec.type || spec.enabled != status.spec.enabled;
  status.spec = std::move(spec);
  if (process) {
    ++wish_number;
    placing = false;
    refusals = 0;
    if (status.phase == task_phase::failed)
      status.phase = task_phase::waiting;
    status.reason = status.spec.enabled ? wish.reason : "the task is disabled";
  }
  return true;
}

bool task_state::take(placement where) {
  placing = false;
  refusals = 0;
  revoked = false;
  status.phase = task_phase::placed;
  status.reason.clear();
  status.node = where.node;
  status.epoch = where.order.epoch;
  status.progress = {};
  run = std::move(where);
  return true;
}

bool task_state::take_refusal(const error& why) {
  placing = false;
  ++refusals;
  bool news = status.reason != why.text || status.phase != task_phase::waiting;
  status.phase = task_phase::waiting;
  status.reason = why.text;
  return news;
}

bool task_state::take(const task_report& report) {
  if (!run || report.epoch != run->order.epoch)
    return false; // of a lease that is over
  status.attempts = earlier_attempts + report.attempts;
  status.progress = report.progress;
  status.log_tail = report.log_tail;
  if (report.cause != end_cause::none) {
    status.last_cause = report.cause;
    status.last_error = report.text;
  }
  if (!report.ended) {
    status.phase = revoked ? task_phase::stopping : report.phase;
    return true;
  }
  earlier_attempts = status.attempts;
  run.reset();
  revoked = false;
  ++wish_number;
  if (report.cause == end_cause::bad_options || report.phase == task_phase::failed) {
    status.phase = task_phase::failed;
    status.reason = report.text;
  } else {
    status.phase = task_phase::waiting;
    status.reason = !status.spec.enabled ? "the task is disabled" : wish.wanted ? "between two runs" : wish.reason;
    if (report.cause != end_cause::requested)
      ++refusals; // an end that nobody asked for must not become a tight loop
  }
  return true;
}

bool task_state::take(const lease_over& over) {
  if (!run || over.epoch != run->order.epoch)
    return false;
  earlier_attempts = status.attempts;
  run.reset();
  revoked = false;
  ++wish_number;
  status.phase = task_phase::waiting;
  status.last_cause = end_cause::lease_lost;
  status.last_error = over.why;
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
  if (run)
    return {.place = false, .revoke = !revoked && (!wanted() || outdated())};
  return {.place = wanted() && !placing, .revoke = false};
}

std::chrono::milliseconds task_state::patience() const {
  return refusals == 0 ? 0ms : std::min<std::chrono::milliseconds>(5s, 125ms * (1 << std::min(refusals, 6u)));
}

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
  // Acts on the difference between what is wanted and what runs; harmless to call at any time.
  auto act = [=, &my] {
    auto todo = my.next();
    if (todo.revoke) {
      my.revoked = true;
      my.status.phase = task_phase::stopping;
      my.status.reason = !my.status.spec.enabled ? "the task is disabled" : my.wish.wanted ? "its options or its source changed" : my.wish.reason;
      tell(self, my.run->where, revoke{my.status.spec.id, my.run->order.epoch});
      tell_news(true);
    }
    if (todo.place) {
      my.placing = true;
      if (auto wait = my.patience(); wait > 0ms)
        tell_after(self, wait, me, place_again{my.wish_number});
      else
        self->send(self, place_again{my.wish_number});
    }
  };

  auto ask_for_place = [=, &my](node_name avoid) {
    return ask(self, 5s, coordinator, place_task{my.status.spec.id, my.wish.server, my.wish.publication, std::move(avoid)});
  };

  tell_news(true);
  return {
    [=, &my](task_wish& wish) {
      tell_news(my.take(std::move(wish)));
      act();
    },
    [=, &my](use_task_spec& news) {
      tell_news(my.take(std::move(news.spec)));
      act();
    },
    [=, &my](const retry_task&) {
      tell_news(my.retry());
      if (my.run)
        tell(self, my.run->where, retry_task{my.status.spec.id, {}});
      else
        my.placing = false;
      act();
    },
    [=, &my](const task_report& report) {
      auto epoch = my.run ? my.run->order.epoch : 0;
      bool changed = my.take(report);
      if (changed && report.ended)
        tell(self, coordinator, release_task{my.status.spec.id, epoch});
      tell_news(changed);
      act();
    },
    [=, &my](const lease_over& over) {
      tell_news(my.take(over));
      act();
    },
    [=, &my](const node_back& news) {
      if (!my.run || my.run->node != news.name)
        return;
      ask_for_place({}).then(
        [=, &my](placement& where) {
          if (!my.run || my.run->order.epoch != where.order.epoch)
            return tell(self, coordinator, release_task{my.status.spec.id, where.order.epoch});
          my.run = std::move(where);
          my.revoked = false; // the order to end may have gone to the dead connection
          tell(self, my.run->where, assign{my.run->order, me});
          act();
        },
        [](const caf::error& why) { log::warn("task", "not-taken-over", "error={}", from_caf(why).text); });
    },
    [=, &my](const place_again& again) {
      if (again.wish != my.wish_number || my.run || !my.wanted())
        return;
      auto avoid = my.status.last_cause == end_cause::lease_lost ? my.status.node : node_name{};
      ask_for_place(avoid)
        .then(
          [=, &my](placement& where) {
            if (again.wish != my.wish_number || my.run) { // wanted something else meanwhile
              tell(self, coordinator, release_task{my.status.spec.id, where.order.epoch});
              return;
            }
            tell_news(my.take(std::move(where)));
            tell(self, my.run->where, assign{my.run->order, me});
            act();
          },
          [=, &my](caf::error& why) {
            if (again.wish != my.wish_number)
              return;
            tell_news(my.take_refusal(from_caf(why)));
            act();
          });
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
