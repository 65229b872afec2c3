#pragma once
#include "actors/edge.hpp"

#include <map>
#include <memory>
#include <vector>

namespace weir {

struct edge_farm_state {
  static inline const char* name = "edge-farm";
  struct place {
    edge_setup setup;
    edge_actor edge; ///< null: it is free
    bool ending = false;
  };
  node_name node;
  std::vector<place> places;
  bool stopping = false;
  caf::actor_clock::time_point started{};

  /// The places that are free.
  std::vector<edge_name> idle() const;
  /// Null: there is none of that name.
  place* find(const edge_name& edge);
};

/// The edges of this node that are there only while they are needed.
///
/// Parent:  the program; its end ends the node.
/// Tells:   COORDINATOR each second which edges it could start, and of each that is no more.
/// Fails:   never; an edge that ends by itself is told as ended, and its place is free again.
/// Source:  docs/2-how-it-works/4-playlists-and-edges.md
edge_farm_actor::behavior_type edge_farm(edge_farm_actor::stateful_pointer<edge_farm_state> self, node_name node, std::vector<edge_setup> places, std::shared_ptr<http::client> client,
                                         coordinator_actor coordinator);

} // namespace weir
