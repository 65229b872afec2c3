#pragma once
#include "actors/interfaces.hpp"

#include <chrono>
#include <optional>

namespace weir {

/// What a TASK knows and decides. Sends nothing.
struct task_state {
  static inline const char* name = "task";
  using time_point = caf::actor_clock::time_point;

  task_status status;            ///< as the parent was last told
  task_wish wish;
  std::uint64_t wish_number = 0; ///< grows with every change of what is wanted: what is granted to an older one is given back
  std::uint64_t turns = 0;       ///< questions for a place, ever
  std::uint64_t turn = 0;        ///< of the question for a place that waits or is under way, of which there is never more than one; 0: there is none
  lease_epoch given_back = 0;    ///< a later question may have been answered with it before it was
  std::optional<placement> run;  ///< the lease in force
  std::vector<std::string> run_servers; ///< that its order was made for
  bool renewing = false;         ///< its order is asked for again
  bool renew_later = false;      ///< a timer runs: the coordinator did not know all servers yet
  bool revoked = false;          ///< its end was ordered
  /// The standby: a second run in the other seat, for when the first one ends.
  struct second {
    std::optional<placement> run;
    std::vector<std::string> servers;
    std::uint64_t turn = 0;
    bool renewing = false;
    bool revoked = false;
    std::uint32_t refusals = 0;
  } spare;
  std::uint32_t refusals = 0;    ///< placements refused in a row
  std::uint32_t earlier_attempts = 0; ///< starts under former leases since the stream went live
  time_point started{};

  bool wanted() const { return wish.wanted && status.spec.enabled && status.phase != task_phase::failed; }
  /// Whether a running process reads something that `wish` no longer names, or runs options that are no longer configured.
  bool outdated() const { return run && outdated(*run); }

  /// Each takes a fact; true when the parent should hear of it.
  bool take(task_wish news);
  bool take(task_spec spec);
  bool take(placement where);
  bool take_refusal(const error& why);
  bool take_spare(placement where);
  bool take_spare_refusal(const error& why);
  bool take(const task_report& report);
  bool take(const lease_over& over);
  /// By hand: forgets that it failed.
  bool retry();

  /// What to do next. At most one of each pair is set.
  struct action {
    bool place = false;            ///< ask the coordinator
    bool revoke = false;           ///< tell the node
    bool renew = false;            ///< ask for the order again: the stream can be read elsewhere now
    bool place_spare = false, revoke_spare = false, renew_spare = false;
  };
  action next() const;
  bool wants_standby() const;
  /// Where the next run sits: a task's own seat, or its standby's when that one is taken.
  task_id free_seat() const;
  std::uint64_t& turn_of(bool the_spare) { return the_spare ? spare.turn : turn; }
  std::chrono::milliseconds spare_patience() const;
  /// How long to wait before asking for a place again.
  std::chrono::milliseconds patience() const;

private:
  /// The standby becomes the run; true when there was one.
  bool promote();
  bool outdated(const placement& p) const;
};

/// The servers that the order was made for; none when it lacks one of them, so that it is asked for again.
std::vector<std::string> servers_of(const task_order& order, const std::vector<std::string>& wanted);

/// One wanted job: asks for a place, follows the run, asks again when the run is over and still wanted.
///
/// Parent:  STREAM, one for each configured task; restarted with the same specification.
/// Tells:   STREAM of every change; COORDINATOR for a place; NODE to end a run.
/// Fails:   never.
/// Numbers: a place is asked for again after 0.25 s doubling to 5 s; a run's process restarts under the same lease (TRANSCODER).
/// Source:  docs/2-how-it-works/3-life-of-a-stream.md
task_actor::behavior_type task(task_actor::stateful_pointer<task_state> self, task_spec spec, stream_actor parent, coordinator_actor coordinator);

} // namespace weir
