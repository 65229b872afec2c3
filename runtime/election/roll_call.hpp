#pragma once
// Which nodes could lead, and which members of etcd serve, as this node sees it. For people and alerts: nothing is decided by it.
//
//   roll_call here(options);           // says each 2 s, on a thread of its own, that this node could lead, and looks who else says so
//   here.seen().candidates;            // {"c1", "c2"}, the one that leads among them
//
// Source: docs/2-how-it-works/5-cluster.md
#include "runtime/election/candidate.hpp"

#include <optional>

namespace weir::election {

struct roll {
  std::vector<member_health> members;                 ///< in the order of the endpoints; empty before the first look
  std::optional<std::vector<std::string>> candidates; ///< names in their order; none: etcd does not tell, or was not asked yet
  std::string trouble;                                ///< why etcd does not tell
};

/// Thread-safe. Has connections of its own to etcd, so that a member that hangs holds up no write of the one that leads.
class roll_call {
public:
  explicit roll_call(election_options options);
  /// Takes this node's name off the roll, if etcd answered the last time; otherwise the name goes with its lease.
  ~roll_call();
  roll_call(const roll_call&) = delete;
  roll_call& operator=(const roll_call&) = delete;

  roll seen() const;
  /// Whether this node says that it could lead, from the next look on; at first it does.
  void stand(bool fit);

private:
  void run();
  /// One look; with this node's name as it should be there.
  expected<std::vector<std::string>> call(bool fit);
  void note(roll news);

  const election_options options_;
  const std::string folder_, key_;
  etcd there_;
  lease_number lease_ = 0; ///< of the thread alone

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  bool fit_ = true;
  roll seen_;
  std::thread thread_;
};

} // namespace weir::election
