#pragma once
#include "actors/interfaces.hpp"
#include "runtime/base/standstill.hpp"
#include "runtime/media/channel.hpp"
#include "runtime/supervise/backoff.hpp"
#include "runtime/supervise/process.hpp"

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <thread>

namespace weir {

/// What a TRANSCODER is to run.
struct engine_plan {
  media::configure what;
  std::string program = "/proc/self/exe"; ///< that knows the hidden mode
  std::string label;                      ///< for logs: the task's id
  std::vector<std::string> secrets;       ///< that must not be seen in its log lines
  std::chrono::milliseconds output_patience = std::chrono::seconds(3); ///< without output while the source delivers
  supervise::backoff_rule retry;          ///< of a process that fails; a target that cannot be reached never parks
  int niceness = 0;                       ///< of the process, 0 to 19
  bool may_outlive_us = true;             ///< false: nothing can fence its output off, so it ends by itself when we hang
};

/// What a TRANSCODER knows and decides. Sends nothing and starts nothing.
struct transcoder_state {
  static inline const char* name = "transcoder";
  using time_point = caf::actor_clock::time_point;

  /// One life of the child.
  struct life {
    std::uint32_t run = 0;
    time_point started{};
    time_point last_heartbeat{};
    time_point first_read{};                ///< the source's first packet
    std::map<std::string, std::pair<std::int64_t, time_point>> outputs; ///< name → last PTS, when it last advanced
    std::optional<media::end_report> said;  ///< the child's own last word
    std::string killed_for;                 ///< the watchdog's reason
    std::optional<process_ended> exit;
    bool channel_closed = false;
    bool over() const { return exit.has_value() && channel_closed; }
  };
  struct verdict {
    end_cause cause = end_cause::none;
    std::string text;
  };

  engine_plan plan;
  std::optional<life> now_running;
  std::uint32_t runs = 0;
  bool stopping = false;
  time_point stop_by{}; ///< until then a stopping child may deliver its last segments
  task_phase phase = task_phase::starting;
  verdict last;
  task_progress progress;
  supervise::backoff failures{1};
  supervise::backoff unreachable{1};
  std::uint64_t waiting = 0; ///< number of the back-off in force
  time_point slow_since{};
  time_point keeps_up_since{};
  standstill still;
  time_point last_word{}; ///< to the child
  time_point started{};

  void begin(time_point now, timestamp wall);
  /// Takes a heartbeat; true when the phase changed.
  bool take(const media::heartbeat& h, time_point now, timestamp wall);
  /// Why the child must be killed now; empty when it is well.
  std::string watch(time_point now) const;
  /// Notes a tick. Where we stood still ourselves, nobody's silence during that time counts.
  void ticked(time_point now);
  /// Why the life that is over ended.
  verdict judge() const;
  /// What follows: nothing when the engine has ended for good, else how long to wait for the next life.
  std::optional<std::chrono::milliseconds> next(const verdict& v, time_point now);

  // Held for the life of the child.
  supervise::process child;
  std::shared_ptr<media::parent_channel> channel;
  std::jthread reader;
  std::uint64_t generation = 0;
  std::vector<std::string> last_lines; ///< of the child before, while none runs
};

/// One libav pipeline in a process of its own: started, fed, watched on output progress, killed, restarted.
///
/// Parent:  a RUNNER; its end ends the process.
/// Tells:   its owner of rungs, parts, segments, and of phase and progress each second.
/// Fails:   never: every end of the process is told with its cause.
/// Numbers: no output for 3 s (5 s to a target) while the source delivers, or no heartbeat for 3 s: killed; start-up 10 s; back-off 0.5 s
///          doubling to 30 s; 5 failures in 60 s: crash_looping, tried each 30 s.
/// Source:  docs/2-how-it-works/3-life-of-a-stream.md
transcoder_actor::behavior_type transcoder(transcoder_actor::stateful_pointer<transcoder_state> self, engine_plan plan, engine_owner_actor owner);

} // namespace weir
