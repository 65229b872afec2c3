#include "actors/node.hpp"

#include "actors/reporting.hpp"
#include "runtime/base/log.hpp"
#include "runtime/base/secret.hpp"
#include "runtime/http/client.hpp"
#include "runtime/http/server.hpp"
#include "runtime/http/url.hpp"

#include <algorithm>

namespace weir {

using namespace std::chrono_literals;

namespace {

constexpr auto ask_others_after = 1500ms; ///< of the coordinator's silence
constexpr auto missed_after = 2500ms;     ///< longer than the gap in our beats up to which the coordinator counts us as hearing it
constexpr auto witness_within = 800ms;
constexpr auto question_held = 500ms;     ///< at most: shorter than witness_within by more than what the way takes
constexpr std::size_t rounds_kept = 4;    ///< more than begin within witness_within
constexpr std::string_view token_header = "Weir-Cluster-Token";
constexpr std::size_t revoked_kept = 1000;

} // namespace

void node_state::measure() {
  std::int64_t spent = 0;
  for (auto& [task, one] : runs)
    spent += one.last.progress.cpu_milliseconds;
  // A run that ended takes its share of the sum away: that second counts as none.
  load.task_cpu_milli = std::max<std::int64_t>(0, spent - task_cpu_spent) * 1000 / setup.beat_every.count();
  task_cpu_spent = spent;
  if (auto used = cpu.read_milli())
    load.cpu_milli = *used;
  if (auto memory = read_machine_memory()) {
    load.memory_used = memory->used;
    load.memory_total = memory->total;
  }
}

beat node_state::make_beat() {
  load.tasks = static_cast<std::uint32_t>(runs.size());
  beat b{.node = setup.spec.name, .instance = setup.spec.instance, .load = load, .leases = {}, .roster = roster.version, .as_of = as_of};
  for (auto& [task, one] : runs)
    b.leases.push_back(one.order.epoch);
  return b;
}

void node_state::take(const weir::joined& in, time_point asked_at) {
  asking = false;
  joined = true;
  trouble.clear();
  lease_ttl = in.lease_ttl;
  roster = in.roster;
  last_answer = std::max(last_answer, asked_at);
  as_of = in.as_of;
}

std::vector<task_id> node_state::take(const beat& asked, const beat_answer& answer, time_point asked_at) {
  asking = false;
  if (!answer.known) {
    joined = false;
    return {};
  }
  last_answer = std::max(last_answer, asked_at);
  as_of = answer.as_of;
  if (answer.roster.version != 0)
    roster = answer.roster;
  std::vector<task_id> gone;
  auto names = [](const std::vector<lease_epoch>& all, lease_epoch epoch) { return std::ranges::find(all, epoch) != all.end(); };
  for (auto& [task, mine] : runs)
    if (names(asked.leases, mine.order.epoch) && !names(answer.renewed, mine.order.epoch))
      gone.push_back(task);
  return gone;
}

join node_state::make_join(const node_actor& me) const {
  join news{setup.spec, me, setup.rtmp_servers, setup.origins, {}, setup.tree, as_of};
  for (auto& [task, one] : runs)
    news.runs.push_back(one.order);
  return news;
}

void node_state::woke(std::chrono::nanoseconds for_) {
  last_answer -= std::chrono::duration_cast<time_point::duration>(for_);
  witnessed -= std::chrono::duration_cast<time_point::duration>(for_);
}

std::string node_state::refuses(const task_order& order, time_point now) const {
  if (auto ended = revoked.find(order.task); ended != revoked.end() && ended->second >= order.epoch)
    return "its lease is over already";
  auto* type = find_task_type(order.type);
  return type && !type->needs_origin && may_be_over(now) ? "the coordinator has not been heard for so long that its lease may be over" : "";
}

void node_state::remember_revoked(const revoke& wish) {
  auto& newest = revoked[wish.task];
  newest = std::max(newest, wish.epoch);
  if (revoked.size() > revoked_kept)
    revoked.erase(revoked.begin()->first == wish.task ? std::next(revoked.begin()) : revoked.begin());
}

bool node_state::must_ask_others(time_point now) const { return !runs.empty() && now - last_answer > ask_others_after && (rounds.empty() || now - rounds.back().began >= 2 * look_every); }

std::uint64_t node_state::begin_round(time_point now) {
  rounds.push_back({rounds.empty() ? 1 : rounds.back().number + 1, now});
  if (rounds.size() > rounds_kept)
    rounds.pop_front();
  return rounds.back().number;
}

bool node_state::misses_the_coordinator(time_point now) const { return now - last_answer > missed_after; }

// Who was answered last misses it a heartbeat after who asks: answered "no" and asked again later, it would say "yes" when the other's lease is all but over.
std::chrono::milliseconds node_state::holds_question(time_point now) const {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(last_answer + missed_after - now) + 1ms;
  return misses_the_coordinator(now) || left > question_held ? 0ms : left;
}

bool node_state::take(const witness_answer& answer) {
  auto round = std::ranges::find(rounds, answer.round, &question_round::number);
  if (round == rounds.end() || !answer.misses_it_too)
    return false;
  // More than half, of all that it knew: the coordinator gives nothing away while it hears half of them.
  if (2 * ++round->agree <= roster.nodes.size() || 2 * (round->agree - 1) > roster.nodes.size())
    return false;
  witnessed = std::max(witnessed, round->began);
  ++rounds_won;
  return true;
}

// What is killed after two thirds of the lease is dead before anyone else may start it.
std::vector<task_id> node_state::must_end(time_point now) const {
  std::vector<task_id> found;
  if (may_be_over(now))
    for (auto& [task, one] : runs)
      if (auto* type = find_task_type(one.order.type); !one.last.ended && (!type || !type->needs_origin)) // the origin refuses a writer that was replaced: such a run may go on
        found.push_back(task);
  return found;
}

node_actor::behavior_type node(node_actor::stateful_pointer<node_state> self, node_setup setup, coordinator_actor coordinator) {
  auto& my = self->state;
  my.setup = std::move(setup);
  my.started = my.last_answer = self->clock().now();
  my.slept = machine_slept();
  auto me = node_actor{self};
  auto now = [self] { return self->clock().now(); };
  auto stopping = std::make_shared<bool>(false);

  auto stop_run = [=, &my](const task_id& id) {
    if (auto run = my.runs.find(id); run != my.runs.end())
      tell(self, run->second.runner, stop{});
  };
  // At once, not by and by: its process must be dead before somebody else starts it.
  auto kill_run = [=, &my](const task_id& id, std::string why) {
    auto& run = my.runs.at(id);
    run.last.phase = task_phase::waiting;
    run.last.cause = end_cause::lease_lost;
    run.last.text = std::move(why);
    run.last.ended = true;
    kill_child(run.runner);
  };
  auto finish = [=, &my] {
    if (!*stopping || !my.runs.empty())
      return;
    tell(self, coordinator, leaving{my.setup.spec.name, my.setup.spec.instance});
    self->quit(caf::exit_reason::user_shutdown);
  };
  auto ask_to_join = [=, &my] {
    my.asking = true;
    const auto asked_at = now();
    ask(self, 2s, coordinator, my.make_join(me))
      .then(
        [=, &my](const joined& in) {
          my.take(in, asked_at);
          log::info("node", "joined", "node={} cluster={}", my.setup.spec.name.value, in.cluster);
        },
        [=, &my](const caf::error& why) {
          my.asking = false;
          auto text = from_caf(why).text;
          if (my.trouble != text) // it is tried each second
            log::warn("node", "join-failed", "node={} error={}", my.setup.spec.name.value, text);
          my.trouble = text;
        });
  };
  auto renew = [=, &my] {
    my.asking = true;
    my.measure();
    const auto asked_at = now();
    auto asked = my.make_beat();
    ask(self, node_state::answer_within, coordinator, asked)
      .then(
        [=, &my](const beat_answer& answer) {
          for (auto& id : my.take(asked, answer, asked_at)) {
            auto* type = find_task_type(my.runs.at(id).order.type);
            type && type->needs_origin ? stop_run(id) : kill_run(id, "its lease is over");
          }
        },
        [=, &my](const caf::error& why) {
          my.asking = false;
          my.joined = false; // whatever is there when it answers again must first be told what runs here
          log::warn("node", "beat-unanswered", "node={} error={}", my.setup.spec.name.value, from_caf(why).text);
        });
  };

  // The coordinator is gone, or we are cut off: the others know which.
  auto ask_others = [=, &my] {
    const auto number = my.begin_round(now());
    for (auto& other : my.roster.nodes) {
      if (other.name == my.setup.spec.name)
        continue;
      http::client_request request;
      request.url = fmt::format("{}/cluster/v1/nodes/{}/coordinator-missed", other.http_url, http::percent_encode(other.name.value));
      request.headers.set(token_header, my.roster.token);
      request.deadline = request.connect_deadline = witness_within;
      request.response_limit = 4096;
      my.setup.tools.http->send(std::move(request), [weak = caf::actor_cast<caf::actor_addr>(me), number](expected<http::client_response> answer) {
        if (answer && answer->status == 200)
          tell_anon(caf::actor_cast<node_actor>(caf::actor_cast<caf::strong_actor_ptr>(weak)), witness_answer{number, answer->body == "yes"});
      });
    }
  };

  on_end_of_child(self, [=, &my](const caf::actor_addr& who, const caf::error& why) {
    for (auto& [id, run] : my.runs)
      if (run.runner.address() == who) {
        auto last = run.last;
        if (!last.ended) { // it died: a bug of ours, not an end of the job
          last = {.task = id, .epoch = run.order.epoch, .phase = task_phase::waiting, .attempts = last.attempts, .cause = end_cause::crashed,
                  .text = "the runner's actor died: " + caf::to_string(why), .progress = last.progress, .log_tail = last.log_tail, .ended = true};
          log::error("node", "runner-died", "task={} epoch={} reason={}", id.value, run.order.epoch, caf::to_string(why));
        }
        tell(self, run.teller, std::move(last));
        my.runs.erase(id);
        finish();
        return true;
      }
    return false;
  });

  self->send(me, tick{});
  return {
    [=, &my](assign& wish) {
      auto& order = wish.order;
      auto refuse = [&](end_cause cause, std::string text) {
        log::warn("node", "order-refused", "task={} epoch={} reason={}", order.task.value, order.epoch, text);
        tell(self, wish.teller, task_report{.task = order.task, .epoch = order.epoch, .phase = cause == end_cause::bad_options ? task_phase::failed : task_phase::waiting,
                                            .attempts = 0, .cause = cause, .text = std::move(text), .progress = {}, .log_tail = {}, .ended = true});
      };
      auto* type = find_task_type(order.type);
      if (*stopping)
        return refuse(end_cause::requested, "the node is stopping");
      if (!type)
        return refuse(end_cause::bad_options, "this node has no task type " + order.type);
      if (auto present = my.runs.find(order.task); present != my.runs.end()) {
        if (present->second.order.epoch == order.epoch) { // its TASK is another one, or reached over another connection
          present->second.teller = wish.teller;
          present->second.order = order;
          use_inputs inputs{{order.input_url}};
          inputs.urls.insert(inputs.urls.end(), order.more_inputs.begin(), order.more_inputs.end());
          tell(self, present->second.runner, std::move(inputs));
          if (!order.origin_url.empty())
            tell(self, present->second.runner, use_origin{order.origin_url, order.origin_token});
          tell(self, wish.teller, present->second.last);
        }
        if (present->second.order.epoch >= order.epoch)
          return; // a doubled or late order
        return refuse(end_cause::requested, fmt::format("epoch {} of the task still ends here", present->second.order.epoch));
      }
      if (auto why = my.refuses(order, now()); !why.empty())
        return refuse(end_cause::requested, why);
      log::info("node", "run-starts", "task={} type={} stream={} epoch={}", order.task.value, order.type, order.stream_name, order.epoch);
      auto& run = my.runs[order.task];
      run.order = order;
      run.teller = wish.teller;
      run.last.task = order.task;
      run.last.epoch = order.epoch;
      run.runner = type->spawn(self, me, std::move(order), my.setup.tools);
    },
    [=, &my](const revoke& wish) {
      if (auto run = my.runs.find(wish.task); run == my.runs.end() || run->second.order.epoch < wish.epoch)
        my.remember_revoked(wish);
      else if (run->second.order.epoch == wish.epoch)
        stop_run(wish.task);
    },
    [=, &my](const retry_task& wish) {
      if (auto run = my.runs.find(wish.id); run != my.runs.end())
        tell(self, run->second.runner, engine_retry{});
    },
    [=, &my](task_report& report) {
      auto run = my.runs.find(report.task);
      if (run == my.runs.end() || run->second.order.epoch != report.epoch || run->second.last.ended) // the last word on it was spoken
        return;
      run->second.last = report;
      if (!report.ended) // the last one is passed on when the runner has really ended
        tell(self, run->second.teller, std::move(report));
    },
    [=, &my](const use_tools& news) { my.setup.tools = *news.tools; },
    [=, &my](witness_question& question) {
      if (my.roster.token.empty() || !constant_time_equal(question.token, my.roster.token))
        return question.answer(fail(error_code::unauthorized, "only nodes of this cluster are told"));
      if (question.whom != my.setup.spec.name.value) // one address of several nodes: each of them would be asked for all
        return question.answer(fail(error_code::not_found, "this is node " + my.setup.spec.name.value));
      if (auto wait = my.holds_question(now()); wait > 0ms && !std::exchange(question.held, true))
        return tell_after(self, wait, me, std::move(question));
      question.answer(my.misses_the_coordinator(now()));
    },
    [=, &my](const witness_answer& answer) {
      if (my.take(answer) && my.rounds_won % 20 == 1)
        log::warn("node", "goes-on-without-coordinator", "node={} of={}", my.setup.spec.name.value, my.roster.nodes.size());
    },
    [=, &my](const tick&) {
      if (auto slept = machine_slept(); slept - my.slept > 100ms) // less is the time between two readings
        my.woke(slept - std::exchange(my.slept, slept));
      if (auto lost = my.must_end(now()); !lost.empty()) {
        log::error("node", "lease-lost", "node={} runs={} lease={}", my.setup.spec.name.value, lost.size(), to_string(my.lease_ttl));
        for (auto& id : lost)
          kill_run(id, "the coordinator was not reached");
        my.stopped_by_itself += lost.size();
      }
      if (my.must_ask_others(now()))
        ask_others();
      if (!my.asking && !*stopping && now() >= my.next_beat) {
        my.next_beat = now() + my.setup.beat_every;
        my.joined ? renew() : ask_to_join();
      }
      tell_after(self, std::min<std::chrono::milliseconds>(my.setup.beat_every, node_state::look_every), me, tick{});
    },
    [=, &my](const stop&) {
      *stopping = true;
      for (auto& [id, run] : my.runs)
        stop_run(id);
      finish();
    },
    [=, &my](const ask_status&) {
      std::vector<caf::actor> children;
      for (auto& [id, run] : my.runs)
        children.push_back(caf::actor_cast<caf::actor>(run.runner));
      nlohmann::json status{{"spec", describe::to_json(my.setup.spec)}, {"load", describe::to_json(my.load)}, {"joined", my.joined}, {"trouble", my.trouble},
                            {"runs", my.runs.size()}, {"stopped_by_itself", my.stopped_by_itself}, {"goes_on_without_coordinator", my.witnessed > my.last_answer}};
      return report_of(self, "node/" + my.setup.spec.name.value, status, my.started, std::move(children));
    },
  };
}

void add_witness_route(http::server& server, const node_actor& node) {
  server.route("GET", "/cluster/v1/nodes/{name}/coordinator-missed", {}, [node](const http::request& r, http::responder answer) {
    tell_anon(node, witness_question{std::string(r.header(token_header).value_or("")), std::string(r.param("name")), [answer](expected<bool> misses) {
                misses ? answer(http::text_response(200, *misses ? "yes" : "no")) : answer.fail(misses.error());
              }});
  });
}

} // namespace weir
