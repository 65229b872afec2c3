#pragma once
#include "actors/interfaces.hpp"
#include "runtime/viewing/viewing.hpp"

#include <memory>
#include <string>

namespace weir {

struct keyring_setup {
  std::shared_ptr<viewing::gate> gate; ///< of this node
  std::string file;                    ///< where the rules are kept for when the coordinator is away; mode 0600
};

/// Lets the gate know what was kept; what is damaged counts as nothing, and is named in the log. Before anybody is spawned who asks the gate: an edge would
/// start without the keys, and read its configuration again a second later.
void load_rules(const keyring_setup& setup);

struct keyring_state {
  static inline const char* name = "keyring";
  keyring_setup setup;
  bool asking = false;
  bool kept = true;    ///< the file holds what is in force; else it is written again each second
  std::string trouble; ///< why the rules are not fresh, or not kept
  caf::actor_clock::time_point started{};

  /// Takes the coordinator's answer; without keys its rules are those that are here.
  void take(viewing_rules news);
};

/// Keeps what this node knows of who may watch what: DIRECTOR's desk, the origin's routes and EDGEs read it at the gate.
///
/// Parent:  the program; its end ends the node.
/// Tells:   nobody; asks COORDINATOR each second.
/// Fails:   never: without the coordinator the rules that it said last stay in force.
/// Numbers: a change is in force after 1 s, on edges after 2 s.
/// Source:  docs/2-how-it-works/4-playlists-and-edges.md
keyring_actor::behavior_type keyring(keyring_actor::stateful_pointer<keyring_state> self, keyring_setup setup, coordinator_actor coordinator);

} // namespace weir
