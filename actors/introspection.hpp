#pragma once
#include "actors/interfaces.hpp"

#include <string>
#include <vector>

namespace weir {

struct introspection_state {
  static inline const char* name = "introspection";
  std::vector<caf::actor> roots;
};

/// Asks every actor of this node for its status, from the roots down, and answers one tree; when asked to, with the trees of all other nodes beside it.
///
/// Parent:  the program.
/// Asks:    COORDINATOR where the others are, and their INTROSPECTIONs.
/// Fails:   never: an actor that does not answer within 1 s stands in the tree as "silent", a node that does not within 3 s is named in `silent`.
/// Source:  docs/4-extend.md
introspection_actor::behavior_type introspection(introspection_actor::stateful_pointer<introspection_state> self, std::string node, coordinator_actor coordinator);

} // namespace weir
