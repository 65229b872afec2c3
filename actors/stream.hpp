#pragma once
#include "actors/interfaces.hpp"
#include "actors/task.hpp"

#include <chrono>
#include <map>
#include <set>

namespace weir {

/// What a STREAM knows and decides. Sends nothing.
struct stream_state {
  static inline const char* name = "stream";
  using time_point = caf::actor_clock::time_point;

  struct entry {
    task_status status;
    task_actor actor;
    std::uint32_t restarts = 0; ///< of the TASK actor itself
  };

  stream_status status;
  std::map<task_id, entry> tasks;
  std::map<std::string, std::uint32_t> missed; ///< publisher → sweeps of its server in a row that did not list it
  std::uint64_t leaving = 0;                   ///< number of the last leaving: its grace timer carries it
  time_point started{};
  std::string left_because;                    ///< what ended the last publisher

  /// Each takes a fact about publishers; true when something changed.
  bool take(const publisher& who);
  bool take(const unpublished& gone);
  bool take(const reconcile& list);
  bool take(const server_silent& news);
  /// What runs was made for this publication; believed while no publisher of our own records was confirmed.
  bool take(const publication_found& news);
  /// The publishers that were known before the coordinator's restart count as live until their servers say otherwise.
  void resume();
  /// Sets phase and chosen publisher from the set of publishers. True when the grace must be started.
  bool settle();
  /// The grace of that leaving is over; true when the stream went offline.
  bool end_grace(std::uint64_t which);
  /// What every task is told now.
  task_wish wish() const;
  /// Whether no task runs any more.
  bool idle() const;

private:
  std::string chosen_; ///< identity of the publisher that tasks read
  std::string chosen_server_;
  bool confirmed_ = false; ///< a publisher was told of since our start
  std::set<std::string> silent_; ///< servers whose word is old
  bool silent(const publisher& who) const { return silent_.contains(who.server); }
};

/// Names one publisher: "server/service/client".
std::string identity(const publisher& who);

/// One stream: who publishes it on which server, its phase, its tasks.
///
/// Parent:  COORDINATOR, one for each configured stream; restarted with the publishers and tasks that are known.
/// Tells:   COORDINATOR of every change; its TASKs what is wanted, only when that changed.
/// Fails:   never.
/// Numbers: after the last publisher's leaving tasks go on for the grace (30 s by default); a publisher that its server does not list
///          in 2 sweeps in a row is gone.
/// Source:  docs/2-how-it-works/3-life-of-a-stream.md
stream_actor::behavior_type stream(stream_actor::stateful_pointer<stream_state> self, stream_status known, std::chrono::milliseconds grace,
                                   coordinator_actor coordinator);

} // namespace weir
