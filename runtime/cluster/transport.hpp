#pragma once
// How nodes of a cluster reach each other: CAF's BASP over TCP, with mutual TLS wherever the network is not the machine's own. Only this room knows caf/io.
//
// Rules that keep it standing (docs/6-decisions.md): direct connections only, never CAF's automatic ones; each end watches the line (1 s, 4 s); a peer is asked
// for nothing before its version is known (actors/door.hpp); control messages only, no media.
#include "schemas/error.hpp"

#include <caf/fwd.hpp>

#include <chrono>
#include <cstdint>
#include <string>

namespace weir::cluster {

/// What a node shows on its connections. All empty: no TLS.
struct identity {
  std::string ca, certificate, key; ///< PEM files; CAF reads them for each connection and ends the process when they do not fit: hand it copies of its own
  bool tls() const { return !ca.empty(); }
};

/// Whether this program carries the replacements that make CAF's network code safe to expose (replacements/). Fails: internal, naming those that are missing.
expected<void> check_replacements();

/// Before the actor system is made: loads CAF's network modules and sets their time-outs.
void prepare(caf::actor_system_config& config, const identity& who);

/// Lets others reach an actor at "host:port"; returns the port (the kernel's choice for 0). Fails: unavailable.
expected<std::uint16_t> publish(caf::actor_system& system, const caf::actor& who, const std::string& listen, bool tls);

/// Whether anybody listens at "host:port". Waits no longer than `patience`: CAF's own connect would wait for minutes, and all others with it.
expected<void> probe(const std::string& address, std::chrono::milliseconds patience);

/// Waits (2 s at most) until CAF's broker has handled what it was sent. Of an actor that other nodes know it hears when the actor ends, by a message that holds the
/// actor; one that is still unread when the actor system ends is never freed, and the system waits for a detached actor for ever. So: before the system ends.
void settle(caf::actor_system& system);

/// The actor that makes connections: (connect_atom, host, port) → (node, actor, interface).
caf::actor dialler(caf::actor_system& system, bool tls);

} // namespace weir::cluster
