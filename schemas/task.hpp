#pragma once
// A task: one wanted job on one stream, the order that a node gets for it, and what is seen of it.
#include "schemas/error.hpp"
#include "schemas/field.hpp"
#include "schemas/ids.hpp"
#include "schemas/units.hpp"

#include <array>
#include <string>
#include <vector>

namespace weir {

enum class task_phase : std::uint8_t {
  waiting,       ///< not wanted now (stream offline, disabled) or no node can take it
  placed,        ///< a node was ordered to run it
  starting,      ///< its process starts
  running,       ///< output advances
  backing_off,   ///< ended with an error, waits for the next attempt
  crash_looping, ///< too many errors in a window: parked, tried again every 30 s or by hand
  stopping,      ///< ordered to stop
  done,          ///< ended as it should
  failed,        ///< cannot run as configured; tried again only after a change or by hand
};
constexpr auto enum_names(task_phase) {
  using sv = std::string_view;
  return std::array{std::pair{task_phase::waiting, sv("waiting")},         std::pair{task_phase::placed, sv("placed")},
                    std::pair{task_phase::starting, sv("starting")},       std::pair{task_phase::running, sv("running")},
                    std::pair{task_phase::backing_off, sv("backing_off")}, std::pair{task_phase::crash_looping, sv("crash_looping")},
                    std::pair{task_phase::stopping, sv("stopping")},       std::pair{task_phase::done, sv("done")},
                    std::pair{task_phase::failed, sv("failed")}};
}

/// Why a run of a task ended (cluster.md 3). Each has its own reaction.
enum class end_cause : std::uint8_t {
  none,
  requested,          ///< ordered to stop
  source_ended,       ///< the publication is over
  source_stalled,     ///< the input is silent
  encoder_error,      ///< decoding, encoding or muxing failed
  crashed,            ///< the process died by a signal
  hung,               ///< no output progress, killed by the watchdog
  overloaded,         ///< slower than real time
  target_refused,     ///< the target of a restream does not accept us
  target_unreachable, ///< the target of a restream cannot be reached
  bad_options,        ///< cannot run as configured
  fenced,             ///< a newer epoch has taken over
  lease_lost,         ///< not renewed in time
};
constexpr auto enum_names(end_cause) {
  using sv = std::string_view;
  return std::array{std::pair{end_cause::none, sv("none")},
                    std::pair{end_cause::requested, sv("requested")},
                    std::pair{end_cause::source_ended, sv("source_ended")},
                    std::pair{end_cause::source_stalled, sv("source_stalled")},
                    std::pair{end_cause::encoder_error, sv("encoder_error")},
                    std::pair{end_cause::crashed, sv("crashed")},
                    std::pair{end_cause::hung, sv("hung")},
                    std::pair{end_cause::overloaded, sv("overloaded")},
                    std::pair{end_cause::target_refused, sv("target_refused")},
                    std::pair{end_cause::target_unreachable, sv("target_unreachable")},
                    std::pair{end_cause::bad_options, sv("bad_options")},
                    std::pair{end_cause::fenced, sv("fenced")},
                    std::pair{end_cause::lease_lost, sv("lease_lost")}};
}

/// A configured task, as it is persisted. `options` is the JSON text of the task type's options struct.
struct task_spec {
  task_id id;
  stream_id stream;
  std::string type;
  std::string options = "{}";
  bool enabled = true;
  std::string name;
  std::string comment;
  std::vector<std::string> needs; ///< labels of the node that runs it
  std::uint64_t revision = 0;
  timestamp created{};

  static constexpr auto fields() {
    using o = task_spec;
    return std::tuple{
      field("id", &o::id, "Identifier of the task.", read_only),
      field("stream_id", &o::stream, "Stream that the task works on.", read_only),
      field("type", &o::type, {1, 64}, "Task type: hls, restream, …"),
      field("options", &o::options, "Options of the task type.", json_text),
      field("enabled", &o::enabled, "Whether the task runs while its stream is live."),
      field("name", &o::name, {0, 100}, "Name for people.", cosmetic),
      field("comment", &o::comment, {0, 2000}, "Note for the organisers.", cosmetic),
      field("needs", &o::needs, {0, 16}, "Labels that its node must have, each KEY or KEY=VALUE.", cosmetic),
      field("revision", &o::revision, "Grows with each change.", read_only),
      field("created", &o::created, "When the task was added.", read_only),
    };
  }
};

/// How far a run has come. Rates are integers in thousandths because CAF 0.17.6 cannot carry floating point.
struct task_progress {
  timestamp since{};                ///< start of this run
  std::int64_t speed_milli = 0;     ///< media seconds a second × 1000
  std::int64_t fps_milli = 0;       ///< frames a second × 1000
  bit_rate bitrate;                 ///< of the output, all rungs together
  timestamp last_output_at{};       ///< epoch start when nothing came yet
  std::uint64_t output_bytes = 0;
  std::uint64_t dropped_frames = 0;
  std::int64_t cpu_milliseconds = 0; ///< user + system of the process

  static constexpr auto fields() {
    using o = task_progress;
    return std::tuple{
      field("since", &o::since, "Start of this run."),
      field("speed_milli", &o::speed_milli, "Media seconds a second, in thousandths."),
      field("fps_milli", &o::fps_milli, "Frames a second, in thousandths."),
      field("bitrate", &o::bitrate, "Of all output together."),
      field("last_output_at", &o::last_output_at, "When output last advanced."),
      field("output_bytes", &o::output_bytes, "Bytes put out by this run."),
      field("dropped_frames", &o::dropped_frames, "Frames dropped by this run."),
      field("cpu_milliseconds", &o::cpu_milliseconds, "CPU time of this run."),
    };
  }
};

/// What a node is ordered to run.
struct task_order {
  task_id task;
  stream_id stream;
  std::string stream_name;
  std::string type;
  std::string options;    ///< JSON text; may hold secrets
  lease_epoch epoch = 0;
  std::string input_url;  ///< where to read the stream
  std::string publication; ///< names the publication; two orders with the same value read the same source time line
  std::string origin_url; ///< where segments are PUT
  std::string origin_token;
  std::vector<std::string> more_inputs; ///< where else the same stream can be read, best first
  bool standby = false;   ///< the origin lists what this run writes only when the other run's is missing

  static constexpr auto fields() {
    using o = task_order;
    return std::tuple{
      field("task", &o::task, "Task."),
      field("stream", &o::stream, "Stream."),
      field("stream_name", &o::stream_name, "Public name of the stream."),
      field("type", &o::type, "Task type."),
      field("options", &o::options, "Options of the task type.", secret),
      field("epoch", &o::epoch, "Lease epoch."),
      field("input_url", &o::input_url, "Where to read the stream.", secret),
      field("publication", &o::publication, "Publication that is read."),
      field("origin_url", &o::origin_url, "Where segments are put."),
      field("origin_token", &o::origin_token, "Bearer token for the origin.", secret),
      field("more_inputs", &o::more_inputs, {0, 16}, "Where else the same stream can be read.", secret),
      field("standby", &o::standby, "Writes what is listed only when the other run's is missing."),
    };
  }
};

/// What is seen of a task.
struct task_status {
  task_spec spec;
  task_phase phase = task_phase::waiting;
  std::string reason; ///< in words: why it is in this phase ("stream is offline", "no node offers hls")
  node_name node;
  lease_epoch epoch = 0;
  std::uint32_t attempts = 0; ///< starts since the stream went live
  end_cause last_cause = end_cause::none;
  std::string last_error;
  task_progress progress;
  std::vector<std::string> log_tail; ///< last lines of its process's log, secrets masked
  std::string placed_because;        ///< why on this node
  node_name standby_node;            ///< that runs its standby
  task_phase standby_phase = task_phase::waiting;
  std::string standby_reason;

  static constexpr auto fields() {
    using o = task_status;
    return std::tuple{
      field("spec", &o::spec, "As configured."),
      field("phase", &o::phase, "Phase."),
      field("reason", &o::reason, "Why it is in this phase."),
      field("node", &o::node, "Node that runs it."),
      field("epoch", &o::epoch, "Lease epoch."),
      field("attempts", &o::attempts, "Starts since the stream went live."),
      field("last_cause", &o::last_cause, "Why the last run ended."),
      field("last_error", &o::last_error, "Last error in words."),
      field("progress", &o::progress, "How far the run has come."),
      field("log_tail", &o::log_tail, "Last lines of its log."),
      field("placed_because", &o::placed_because, "Why it runs on that node."),
      field("standby_node", &o::standby_node, "Node that runs its standby."),
      field("standby_phase", &o::standby_phase, "Phase of its standby; waiting where it has none."),
      field("standby_reason", &o::standby_reason, "Why its standby is in this phase."),
    };
  }
};

/// A task with a standby has two runs, each with a lease of its own: one in the task's own seat, one in this.
inline task_id standby_seat(const task_id& task) { return task_id{task.value + "~standby"}; }
inline bool is_standby_seat(const task_id& seat) { return seat.value.ends_with("~standby"); }
/// The task whose run sits there.
inline task_id task_of(const task_id& seat) { return is_standby_seat(seat) ? task_id{seat.value.substr(0, seat.value.size() - 8)} : seat; }

} // namespace weir
