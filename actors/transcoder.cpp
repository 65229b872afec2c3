#include "actors/transcoder.hpp"

#include "actors/reporting.hpp"
#include "runtime/base/log.hpp"
#include "runtime/media/child_main.hpp"
#include "runtime/media/ladder.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <random>
#include <sys/resource.h>

namespace weir {

using namespace std::chrono_literals;

namespace {

constexpr auto start_patience = 10s;
constexpr auto heartbeat_patience = 3s;
constexpr auto word_every = 1s;       ///< to a child that must not outlive us
constexpr auto word_lasts = 4s;       ///< it ends by itself without one: before a lease of 6 s is over
constexpr auto slow_patience = 10s;
constexpr auto source_pause = 500ms;  ///< before an ended or silent source is looked for again
constexpr auto refused_pause = 30s;
constexpr auto stop_patience = 3s;    ///< for the last segments after a stop order
constexpr std::int64_t too_slow_milli = 970;

/// For as long as somebody needs it.
std::shared_ptr<const int> shared(media::owned_fd file) {
  return {new int(file.release()), [](const int* fd) {
            media::owned_fd closes(*fd);
            delete fd;
          }};
}

} // namespace

void transcoder_state::begin(time_point now, timestamp wall) {
  now_running = life{.run = ++runs, .started = now, .last_heartbeat = now, .first_read = {}, .outputs = {}, .said = {}, .killed_for = {}, .exit = {}, .channel_closed = false};
  phase = task_phase::starting;
  progress = {};
  progress.since = wall;
  slow_since = keeps_up_since = {};
}

bool transcoder_state::take(const media::heartbeat& h, time_point now, timestamp wall) {
  auto& l = *now_running;
  l.last_heartbeat = now;
  if (l.first_read == time_point{} && h.packets_read > 0)
    l.first_read = now;
  bool advanced = false;
  for (auto& out : h.outputs) {
    auto [known, fresh] = l.outputs.try_emplace(out.name, -1, now);
    if (out.last_pts != known->second.first) {
      known->second = {out.last_pts, now};
      advanced = true;
    }
  }
  // A silent source is no fault of the process: the clocks of its outputs wait with it.
  if (h.last_read_age > 1000)
    for (auto& [name_, seen] : l.outputs)
      seen.second = now;
  auto age = std::chrono::duration<double>(now - l.started).count();
  progress.speed_milli = h.speed_milli;
  progress.fps_milli = h.fps_milli;
  progress.dropped_frames = static_cast<std::uint64_t>(h.dropped_frames);
  progress.cpu_milliseconds = h.cpu_milliseconds;
  progress.output_bytes = static_cast<std::uint64_t>(h.output_bytes);
  progress.bitrate = {age > 1 ? static_cast<std::int64_t>(double(h.output_bytes) * 8 / age) : 0};
  if (advanced) {
    progress.last_output_at = wall;
    failures.good(now);
    unreachable.good(now);
  }
  // A pipeline that can leave out another rung says itself what it does about it.
  const auto rungs = static_cast<std::size_t>(std::ranges::count_if(h.outputs, [](auto& o) { return o.name != media::audio_rung; }));
  const bool helps_itself = plan.what.leave_out_rungs && media::most_left_out(rungs, plan.what.ladder.pass_top) > 0;
  bool slow = plan.what.kind == media::pipeline_kind::hls && !helps_itself && advanced && h.speed_milli > 0 && h.speed_milli < too_slow_milli && h.last_read_age < 1000;
  slow_since = slow ? (slow_since == time_point{} ? now : slow_since) : time_point{};
  if (slow && now - slow_since > slow_patience)
    last = {end_cause::overloaded, fmt::format("slower than real time: {:.2f} times", double(h.speed_milli) / 1000)};
  const bool keeps_up = plan.what.kind == media::pipeline_kind::hls && !helps_itself && advanced && h.speed_milli >= too_slow_milli;
  keeps_up_since = !keeps_up ? time_point{} : keeps_up_since == time_point{} ? now : keeps_up_since;
  if (keeps_up && now - keeps_up_since > slow_patience && last.cause == end_cause::overloaded)
    last = {};
  if (advanced && phase == task_phase::starting && h.output_bytes > 0) {
    phase = task_phase::running;
    return true;
  }
  return false;
}

void transcoder_state::ticked(time_point now) {
  if (auto late = still.ticked(now); late > late.zero() && now_running) {
    auto& l = *now_running;
    l.last_heartbeat += late;
    l.started += late;
    if (l.first_read != time_point{})
      l.first_read += late;
    for (auto& [name_, seen] : l.outputs)
      seen.second += late;
  }
}

std::string transcoder_state::watch(time_point now) const {
  if (!now_running || now_running->exit || !now_running->killed_for.empty())
    return {};
  auto& l = *now_running;
  // The first one comes when the program is loaded, which takes a while on a machine that starts many at once.
  if (now - l.last_heartbeat > (l.last_heartbeat == l.started ? start_patience : heartbeat_patience))
    return fmt::format("no heartbeat for {}", to_string(std::chrono::floor<std::chrono::milliseconds>(now - l.last_heartbeat)));
  if (l.first_read == time_point{})
    return now - l.started > start_patience + plan.what.source_patience ? "no packet of the source was read" : "";
  if (phase == task_phase::starting) {
    const auto patience = start_patience + (plan.what.kind == media::pipeline_kind::restream ? plan.what.target_patience : 0ms);
    return now - l.first_read > patience ? fmt::format("no output {} after the source's first packet", to_string(patience)) : "";
  }
  for (auto& [output, seen] : l.outputs)
    if (now - seen.second > plan.output_patience)
      return fmt::format("output {} made no progress for {} while the source delivered", output, to_string(plan.output_patience));
  return {};
}

transcoder_state::verdict transcoder_state::judge() const {
  auto& l = *now_running;
  if (!l.killed_for.empty())
    return {end_cause::hung, "killed: " + l.killed_for};
  if (l.said && (!stopping || l.said->cause == end_cause::requested))
    return {l.said->cause, l.said->text};
  if (stopping)
    return {end_cause::requested, "stopped"};
  if (l.exit->signal != 0)
    return {end_cause::crashed, fmt::format("the process died by signal {}", l.exit->signal)};
  return {end_cause::crashed, fmt::format("the process ended without a word, exit code {}", l.exit->exit_code)};
}

std::optional<std::chrono::milliseconds> transcoder_state::next(const verdict& v, time_point now) {
  last = v;
  now_running.reset();
  ++waiting;
  if (stopping || v.cause == end_cause::requested) {
    phase = task_phase::done;
    return std::nullopt;
  }
  switch (v.cause) {
    case end_cause::bad_options:
      phase = task_phase::failed;
      return std::nullopt;
    case end_cause::source_ended:
    case end_cause::source_stalled: // the publication decides whether the task is wanted, not we
      phase = task_phase::starting;
      return source_pause;
    case end_cause::target_refused:
      phase = task_phase::crash_looping;
      return refused_pause;
    case end_cause::target_unreachable: {
      phase = task_phase::backing_off;
      return unreachable.failed(now).delay;
    }
    default: {
      auto retry = failures.failed(now);
      phase = retry.parked ? task_phase::crash_looping : task_phase::backing_off;
      return retry.delay;
    }
  }
}

transcoder_actor::behavior_type transcoder(transcoder_actor::stateful_pointer<transcoder_state> self, engine_plan plan, engine_owner_actor owner) {
  auto& my = self->state;
  my.plan = std::move(plan);
  my.started = self->clock().now();
  std::random_device random;
  my.failures = supervise::backoff{random(), my.plan.retry};
  auto for_ever = my.plan.retry;
  for_ever.park_after = 0;
  my.unreachable = supervise::backoff{random(), for_ever};
  auto me = transcoder_actor{self};
  auto now = [self] { return self->clock().now(); };
  auto wall = [] { return std::chrono::system_clock::now(); };

  auto report = [=, &my](bool ended) {
    auto lines = my.now_running ? my.child.last_lines() : my.last_lines;
    auto run = my.runs;
    tell(self, owner, engine_report{my.phase, run, my.last.cause, my.last.text, my.progress, std::move(lines), ended});
  };
  auto start = [=, &my] {
    my.begin(now(), wall());
    auto generation = ++my.generation;
    auto fail_start = [=, &my](const error& why) {
      my.now_running->said = media::end_report{end_cause::crashed, 0, "it could not be started: " + why.text};
      my.now_running->channel_closed = true;
      self->send(me, process_ended{generation, 1, 0});
    };
    auto pair = media::make_channel();
    if (!pair)
      return fail_start(pair.error());
    supervise::launch how;
    how.program = my.plan.program;
    how.name = "weir-pipeline";
    how.arguments = {std::string(media::pipeline_word)};
    how.descriptors = {pair->child.get()};
    how.mask = [secrets = my.plan.secrets](std::string_view line) { return log::mask(line, secrets); };
    // The handle is weak: a callback must not keep an actor alive whose end kills the process.
    how.on_exit = [weak = caf::actor_cast<caf::actor_addr>(me), generation](const supervise::exit_status& end) {
      if (auto strong = caf::actor_cast<transcoder_actor>(caf::actor_cast<caf::strong_actor_ptr>(weak)))
        tell_anon(strong, process_ended{generation, end.code, end.signal});
    };
    auto child = supervise::process::spawn(std::move(how));
    if (!child)
      return fail_start(child.error());
    my.child = std::move(*child);
    // The process waits for its configuration with one thread, so all that it starts afterwards inherit this.
    if (::setpriority(PRIO_PROCESS, static_cast<id_t>(my.child.pid()), my.plan.niceness) != 0)
      log::warn("transcoder", "niceness-refused", "task={} niceness={} error={}", my.plan.label, my.plan.niceness, std::strerror(errno));
    my.channel = std::make_shared<media::parent_channel>(std::move(pair->parent));
    my.reader = std::jthread([channel = my.channel, me, generation](std::stop_token stop) {
      while (!stop.stop_requested()) {
        auto record = channel->receive(250ms);
        if (record)
          tell_anon(me, engine_record{generation, std::make_shared<media::received>(std::move(*record))});
        else if (record.error().code == error_code::invalid_input || record.error().code == error_code::too_large)
          log::warn("transcoder", "record-refused", "error={}", record.error().text);
        else if (record.error().code != error_code::timeout)
          break;
      }
      tell_anon(me, engine_record{generation, nullptr});
    });
    if (auto sent = my.channel->send(my.plan.what); !sent)
      log::warn("transcoder", "configure-failed", "task={} error={}", my.plan.label, sent.error().text);
    log::info("transcoder", "started", "task={} run={} pid={}", my.plan.label, my.runs, my.child.pid());
    report(false);
  };
  auto finish = [=, &my] {
    if (!my.now_running || !my.now_running->over())
      return;
    auto v = my.judge();
    my.last_lines = my.child ? my.child.last_lines() : std::vector<std::string>{};
    log::info("transcoder", "ended", "task={} run={} cause={} text={}", my.plan.label, my.runs, to_string(v.cause), v.text);
    auto pause = my.next(v, now());
    report(!pause);
    if (pause)
      tell_after(self, *pause, me, engine_retry{my.waiting});
    else
      self->quit(caf::exit_reason::user_shutdown);
  };

  start();
  tell_after(self, 250ms, me, tick{});
  return {
    [=, &my](const engine_record& record) {
      if (record.generation != my.generation || !my.now_running)
        return;
      if (!record.what) {
        my.now_running->channel_closed = true;
        if (!my.now_running->exit) // a child without a channel can do nothing useful
          my.child.stop(500ms);
        return finish();
      }
      // The reader made it for this actor alone.
      auto& got = *std::const_pointer_cast<media::received>(std::static_pointer_cast<const media::received>(record.what));
      if (auto* beat = std::get_if<media::heartbeat>(&got.what)) {
        if (my.take(*beat, now(), wall()))
          report(false);
      } else if (auto* rungs = std::get_if<media::rungs_report>(&got.what)) {
        my.plan.what.grid_offset = rungs->grid_offset; // later runs on this publication cut at the same instants
        tell(self, owner, engine_rungs{my.runs, rungs->rungs, rungs->maps, rungs->part});
      } else if (auto* segment = std::get_if<media::segment_report>(&got.what)) {
        segment->segment.keys = std::move(segment->keys);
        tell(self, owner, engine_segment{my.runs, std::move(segment->segment), shared(std::move(got.media))});
      } else if (auto* part = std::get_if<media::part_report>(&got.what)) {
        tell(self, owner, engine_part{my.runs, part->part, shared(std::move(got.media))});
      } else if (auto* trouble = std::get_if<media::trouble>(&got.what)) {
        my.last = {trouble->cause, trouble->text};
        log::warn("transcoder", "trouble", "task={} cause={} text={}", my.plan.label, to_string(trouble->cause), trouble->text);
      } else if (auto* end = std::get_if<media::end_report>(&got.what)) {
        my.now_running->said = *end;
      } else if (auto* input = std::get_if<media::input_report>(&got.what)) {
        log::info("transcoder", "input", "task={} video={} width={} height={} fps={} audio={}", my.plan.label, input->video, input->width, input->height,
                  double(input->fps_milli) / 1000, input->audio);
      }
    },
    [=, &my](const process_ended& end) {
      if (end.generation != my.generation || !my.now_running)
        return;
      my.now_running->exit = end;
      finish();
    },
    [=, &my](const tick&) {
      my.ticked(now());
      if (!my.plan.may_outlive_us && my.now_running && my.channel && now() - my.last_word >= word_every) {
        my.last_word = now();
        if (auto sent = my.channel->send(media::go_on{word_lasts}); !sent)
          log::debug("transcoder", "word-unsent", "task={} error={}", my.plan.label, sent.error().text);
      }
      if (auto why = my.watch(now()); !why.empty()) {
        my.now_running->killed_for = why;
        log::warn("transcoder", "hung", "task={} run={} reason={}", my.plan.label, my.runs, why);
        my.child.stop(500ms);
      }
      if (my.stopping && my.now_running && now() > my.stop_by)
        my.child.stop(500ms);
      if (my.now_running && (now() - my.started) / 250ms % 4 == 0)
        report(false);
      tell_after(self, 250ms, me, tick{});
    },
    [=, &my](const use_inputs& news) {
      if (news.urls.empty() || news.urls == my.plan.what.inputs())
        return;
      my.plan.what.input_url = news.urls.front();
      my.plan.what.more_inputs.assign(news.urls.begin() + 1, news.urls.end());
      log::info("transcoder", "inputs", "task={} inputs={}", my.plan.label, news.urls.size());
      if (my.now_running && my.channel)
        if (auto sent = my.channel->send(media::use_inputs_order{news.urls}); !sent) // its next start reads them from its configuration
          log::debug("transcoder", "inputs-unsent", "task={} error={}", my.plan.label, sent.error().text);
    },
    [=, &my](const engine_retry& retry) {
      if (my.now_running || my.stopping || (retry.generation != 0 && retry.generation != my.waiting))
        return;
      if (retry.generation == 0) { // by hand: what was before is forgiven
        my.failures.reset();
        my.unreachable.reset();
      }
      start();
    },
    [=, &my](const stop&) {
      if (my.stopping)
        return;
      my.stopping = true;
      if (!my.now_running) {
        my.phase = task_phase::done;
        my.last = {end_cause::requested, "stopped"};
        report(true);
        return self->quit(caf::exit_reason::user_shutdown);
      }
      my.phase = task_phase::stopping;
      if (my.channel)
        if (auto sent = my.channel->send(media::stop_order{"stopped"}); !sent)
          log::debug("transcoder", "stop-unsent", "task={} error={}", my.plan.label, sent.error().text);
      my.stop_by = now() + stop_patience;
    },
    [=, &my](const ask_status&) {
      nlohmann::json status{{"phase", to_string(my.phase)}, {"run", my.runs}, {"pid", my.now_running ? my.child.pid() : 0}, {"cause", to_string(my.last.cause)},
                            {"text", my.last.text}, {"progress", describe::to_json(my.progress)}};
      return report_of(self, "transcoder/" + my.plan.label, status, my.started, {}, my.runs ? my.runs - 1 : 0);
    },
  };
}

} // namespace weir
