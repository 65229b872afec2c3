#pragma once
#include "actors/interfaces.hpp"
#include "runtime/base/standstill.hpp"
#include "runtime/steering/liveness.hpp"

#include <map>
#include <memory>
#include <random>

namespace weir {

namespace http {
class client;
}

/// What an OBSERVER knows and decides. Sends nothing.
struct observer_state {
  static inline const char* name = "observer";
  using time_point = caf::actor_clock::time_point;

  struct watched {
    edge_spec spec;
    steering::edge_watch watch;
    edge_view told = edge_view::unknown;
    std::uint64_t probe = 0;   ///< number of the last one; over all edges, so that none of a former address counts
    bool probing = false;
    time_point due{};
    time_point hurried_until{};
    std::int64_t milliseconds = 0;
    std::string trouble;
  };

  node_name node;
  probe_orders orders;
  std::string authorities;    ///< PEM
  std::map<edge_name, watched> edges;
  std::mt19937_64 chance;     ///< observers that start together must not probe together
  std::uint64_t probes = 0;
  std::size_t probing = 0;
  bool asking = false;        ///< the coordinator
  time_point ordered{}, told{}, started{};
  standstill still;           ///< after one of our own nobody is judged for a while

  /// What to watch from now on.
  void take(const probe_orders& news, time_point now);
  /// Edges whose probe begins now; without fresh orders none, since nobody would hear of it.
  std::vector<edge_name> begin_probes(time_point now);
  void take(const probe_ended& news);
  /// What the coordinator should hear: each second, and at once when a view changed.
  std::optional<edge_sighting> say(time_point now);
};

/// One node's eye on edges: it probes those that the coordinator names, as viewers would, and says what it thinks of them.
///
/// Parent:  the program, on each node with the role coordinator, origin, director or edge; its end ends the node.
/// Tells:   COORDINATOR each second and when a view changed; the answer says what to watch.
/// Fails:   never; without the coordinator's word for 3 s it watches nothing.
/// Numbers: a probe of each edge every director.probe_every, up to a tenth earlier; ten in a second when the coordinator is in a hurry; at most 32 at a time.
/// Source:  docs/2-how-it-works/4-playlists-and-edges.md
observer_actor::behavior_type observer(observer_actor::stateful_pointer<observer_state> self, node_name node, std::shared_ptr<http::client> client, coordinator_actor coordinator);

} // namespace weir
