// RESTREAM: sends the stream as it is to another server: remux, no transcode.
#include "actors/reporting.hpp"
#include "actors/task_types.hpp"
#include "actors/transcoder.hpp"
#include "runtime/base/log.hpp"
#include "runtime/http/url.hpp"

namespace weir::tasks::restream {
namespace {

using namespace std::chrono_literals;

struct options {
  static constexpr bool needs_origin = false;

  std::string url;
  media::target_format format = media::target_format::flv;

  static constexpr auto fields() {
    return std::tuple{
      field("url", &options::url, {1, 2000}, "Where to send: rtmp://, rtmps:// or srt:// with host, and the stream key as its last part.", secret),
      field("format", &options::format, "Container: flv for rtmp and rtmps, mpegts for srt."),
    };
  }

  std::vector<complaint> check() const {
    auto bad = [](std::string why) { return std::vector{complaint{"url", std::move(why)}}; };
    // A target is a parsed address, never text that becomes part of a command or a configuration.
    auto parsed = http::parse_url(url);
    if (!parsed)
      return bad("is not an address (write it like rtmp://host/app/key)");
    bool rtmp = parsed->scheme == "rtmp" || parsed->scheme == "rtmps";
    if (!rtmp && parsed->scheme != "srt")
      return bad("begins with something else than rtmp://, rtmps:// or srt://");
    if (parsed->host.empty())
      return bad("names no host");
    if (rtmp && parsed->path.size() < 2)
      return bad("names no application (write it like rtmp://host/app/key)");
    if (rtmp != (format == media::target_format::flv))
      return {complaint{"format", rtmp ? "rtmp carries flv only" : "srt carries mpegts only"}};
    return {};
  }

  std::int64_t cost_milli() const { return 30; } ///< a copy of 8 Mbit/s costs 0.005 cores; the rest is its process
};

struct state {
  state() = default; // no aggregate: CAF would make its first member of the actor's pointer
  static inline const char* name = "task-restream";
  transcoder_actor engine;
  task_report last;
};

task_runner_actor::behavior_type run(task_runner_actor::stateful_pointer<state> self, node_actor node, task_order order, options wanted, runner_tools tools) {
  auto& my = self->state;
  auto started = self->clock().now();
  my.last = {.task = order.task, .epoch = order.epoch, .phase = task_phase::starting, .attempts = 0, .cause = end_cause::none, .text = {}, .progress = {}, .log_tail = {},
             .ended = false};
  engine_plan plan;
  plan.what.kind = media::pipeline_kind::restream;
  plan.what.input_url = order.input_url;
  plan.what.more_inputs = order.more_inputs;
  plan.what.target_url = wanted.url;
  plan.what.format = wanted.format;
  plan.label = order.task.value;
  plan.secrets = {wanted.url, wanted.url.substr(wanted.url.rfind('/') + 1)};
  plan.output_patience = 5s;
  plan.program = tools.program;
  plan.retry = tools.retry;
  plan.niceness = tools.niceness;
  plan.may_outlive_us = false; // two must never push to one target
  my.engine = self->spawn<caf::linked>(transcoder, std::move(plan), engine_owner_actor{task_runner_actor{self}});
  on_end_of_child(self, [=, &my](const caf::actor_addr& who, const caf::error& why) {
    if (my.engine.address() != who)
      return false;
    self->quit(my.last.ended ? caf::error{caf::exit_reason::user_shutdown} : why);
    return true;
  });
  return {
    [](const engine_rungs&) {},   // a copy has no rungs
    [](const engine_segment&) {}, // and no segments
    [](const engine_part&) {},
    [=, &my](const engine_report& news) {
      my.last = {.task = order.task, .epoch = order.epoch, .phase = news.phase, .attempts = news.run, .cause = news.cause, .text = news.text, .progress = news.progress,
                 .log_tail = news.log_tail, .ended = news.ended};
      tell(self, node, my.last);
    },
    [=, &my](const engine_retry& retry) { tell(self, my.engine, retry); },
    [=, &my](const use_inputs& news) { tell(self, my.engine, news); },
    [](const use_origin&) {},
    [](const upload_result&) {},
    [=, &my](const stop& order_to_stop) { tell(self, my.engine, order_to_stop); },
    [=, &my](const ask_status&) {
      return report_of(self, "run/" + order.task.value, my.last, started, {caf::actor_cast<caf::actor>(my.engine)});
    },
  };
}

} // namespace

WEIR_TASK_TYPE(restream, options, run, "Sends the stream unchanged to another server (RTMP, RTMPS or SRT).")

} // namespace weir::tasks::restream
