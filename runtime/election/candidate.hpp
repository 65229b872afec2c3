#pragma once
// Who leads is who holds a key in etcd; the key goes with a lease that its holder renews. The consensus is etcd's.
//
//   candidate me(options, {.elected = […], .ended = […], .follows = […]});   // callbacks come on a thread of its own and must not block
//   …ended came, whatever led is gone: me.stand_again(0s);
//
// Source: docs/2-how-it-works/5-cluster.md
#include "runtime/election/etcd.hpp"
#include "runtime/election/term.hpp"

#include <condition_variable>
#include <functional>
#include <thread>

namespace weir::election {

struct election_options {
  std::string cluster;
  std::string node;
  std::string address; ///< at which the node lets others in, for people
  etcd_options etcd;
  /// Of the lease: who leads is dead for so long before another one may. When etcd has lost its own leader at the same time, the new one first counts
  /// all leases from their beginning, and a second more; its election takes up to two: eight seconds and a look, all in all.
  std::chrono::seconds ttl{5};
  std::chrono::milliseconds renew_every{700}; ///< leaves 3.3 of the 4 s for which a term holds to an etcd that elects a leader: 1 to 2 s, 3 with a split vote
  std::chrono::milliseconds look_every{500};  ///< at who leads, while another one does
};

/// "/weir/CLUSTER/": below it are `leader`, `candidates`, `sequence`, `initialised` and the records.
std::string prefix_of(const std::string& cluster);
std::string leader_key(const std::string& prefix);
/// Below it each node that could lead has its key.
std::string candidates_key(const std::string& prefix);
/// "NODE ADDRESS" or NODE → the node's name, as far as it may stand in a log line.
std::string name_in(const std::string& value);

class candidate {
public:
  struct listener {
    std::function<void(std::shared_ptr<term>)> elected;
    std::function<void(std::string why)> ended;     ///< that term does not hold any more; `stand_again` must follow
    std::function<void(std::string leader)> follows; ///< who leads now (empty: nobody); told when it changes
  };

  candidate(election_options options, std::shared_ptr<election::etcd> there, listener tell);
  /// Whatever led is gone by now: gives the key back, so that another one need not wait for its end.
  ~candidate();
  candidate(const candidate&) = delete;
  candidate& operator=(const candidate&) = delete;

  /// What led is gone: the key is given back; after `pause` this node stands again.
  void stand_again(std::chrono::milliseconds pause);

private:
  void run();
  /// One look at the key, and a try to make it when there is none; null: another one leads.
  expected<std::shared_ptr<term>> stand();
  void serve(term& mine);
  void give_back();
  /// Whether to go on.
  bool pause(std::chrono::milliseconds patience);

  const election_options options_;
  const std::string key_;
  std::shared_ptr<election::etcd> there_;
  listener tell_;
  // Of the thread alone.
  lease_number lease_ = 0;
  wakeful_clock::time_point asked_{}; ///< when the lease was asked for
  std::string leader_ = "?";
  std::string trouble_;

  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  bool released_ = false;
  std::chrono::milliseconds hold_off_{0};
  std::shared_ptr<term> mine_;
  std::thread thread_;
};

} // namespace weir::election
