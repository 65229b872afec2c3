#pragma once
#include "actors/coordinator.hpp"
#include "actors/interfaces.hpp"
#include "actors/uplink.hpp"
#include "runtime/election/ledger.hpp"
#include "runtime/election/roll_call.hpp"

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace weir {

/// What a SEAT needs to start. The store is open.
struct seat_setup {
  coordinator_setup coordinator;
  uplink_setup uplink; ///< to the other coordinators
  election::election_options election;
};

/// INTERNAL to seat, from the election's thread: etcd has this node's key.
struct seat_won {
  std::shared_ptr<election::term> term;
};
/// INTERNAL to seat: the term does not hold any more.
struct seat_lost {
  std::string why;
};
/// INTERNAL to seat: who leads now; empty: nobody.
struct seat_news {
  std::string leader;
};

struct seat_state {
  seat_state() = default; // no aggregate: CAF would make its first member of the actor's pointer
  static inline const char* name = "seat";

  seat_setup setup;
  std::shared_ptr<election::etcd> etcd;
  std::shared_ptr<election::term> term; ///< of this node; null while it stands by
  std::shared_ptr<election::ledger> ledger;
  coordinator_actor coordinator; ///< while this node leads
  caf::actor uplink;             ///< while it stands by
  std::string leader;            ///< another node's name
  std::string trouble;           ///< why this node could not take over
  std::uint64_t terms = 0;
  bool ending = false;
  caf::actor_clock::time_point started{};
  std::unique_ptr<election::roll_call> roll;
  std::unique_ptr<election::candidate> candidate; ///< destroyed first: it gives the key back, and its thread speaks to the actor

  /// Whether the COORDINATOR here may act now.
  bool leads() const { return coordinator && term && term->holds(); }
  /// What a node hears that wants in while this node does not lead.
  std::string refusal() const;
  /// What this node sees of etcd and of the others: {etcd: [{member, up, trouble}], candidates: [NODE…] or null, standbys: number or null}.
  nlohmann::json sight() const;
};

/// One of several nodes that can coordinate: while etcd has its key it has a COORDINATOR, else it passes everything on to the node that has.
/// It takes whatever the coordinator takes, so it is known to others as a coordinator_actor; and `hello`, from the DOOR.
///
/// Parent:  the program. Detached: it reads the records from etcd and writes them to the disk.
/// Tells:   COORDINATOR here, or over its UPLINK, in the name of whoever sent the message; answers go straight back.
/// Fails:   when its COORDINATOR ends by itself.
/// Numbers: a key lives 5 s and is renewed each 0.7 s; who could not renew it for 4 s ends its COORDINATOR; who stands by looks each 0.5 s. Who else
///          could lead and how etcd's members are is looked at each 2 s.
/// Source:  docs/2-how-it-works/5-cluster.md
caf::behavior seat(caf::stateful_actor<seat_state>* self, seat_setup setup);

} // namespace weir

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(weir::seat_won)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(weir::seat_lost)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(weir::seat_news)
