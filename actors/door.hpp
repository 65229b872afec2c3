#pragma once
#include "actors/interfaces.hpp"

namespace weir {

struct door_state {
  door_state() = default; // no aggregate: CAF would make its first member of the actor's pointer
  static inline const char* name = "door";
  std::uint64_t let_in = 0;
  std::uint64_t turned_away = 0;
  std::string last_refusal;
  caf::actor_clock::time_point started{};
};

/// What a guest must share with us; the error names both sides.
expected<void> admit(const hello& guest, const hello& us);

/// What other nodes reach first: lets in who belongs to this cluster and speaks its form of messages.
///
/// Parent:  the program, which publishes it at cluster.listen.
/// Tells:   nobody.
/// Fails:   never: who does not belong here is answered with a sentence that names both versions.
/// Numbers: a SEAT is given 2 s to say who coordinates.
/// Source:  docs/2-how-it-works/5-cluster.md
///
/// `seat`: decides whether this node coordinates; null: it always does.
door_actor::behavior_type door(door_actor::stateful_pointer<door_state> self, hello us, coordinator_actor coordinator, caf::actor seat);

} // namespace weir
