#pragma once
#include "actors/interfaces.hpp"

#include <string>
#include <vector>

namespace weir {

struct introspection_state {
  static inline const char* name = "introspection";
  std::vector<caf::actor> roots;
};

/// Asks every actor of this node for its status, from the roots down, and answers one tree.
///
/// Parent:  the program.
/// Fails:   never: an actor that does not answer within 1 s stands in the tree as "silent".
/// Source:  docs/4-extend.md
introspection_actor::behavior_type introspection(introspection_actor::stateful_pointer<introspection_state> self, std::vector<caf::actor> roots, std::string node);

} // namespace weir
