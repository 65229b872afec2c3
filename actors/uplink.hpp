#pragma once
#include "actors/interfaces.hpp"
#include "runtime/cluster/transport.hpp"

#include <map>
#include <string>
#include <vector>

namespace weir {

/// What an UPLINK needs to start.
struct uplink_setup {
  std::vector<std::string> addresses; ///< "host:port" of coordinators, tried in turn
  hello us;
  bool tls = false;
};

struct uplink_state {
  uplink_state() = default; // no aggregate: CAF would make its first member of the actor's pointer
  static inline const char* name = "uplink";

  uplink_setup setup;
  caf::actor coordinator; ///< null while it is not reached
  std::size_t next = 0;   ///< address to try
  std::uint32_t failures = 0;
  std::uint64_t connections = 0;
  std::string trouble = "not tried yet";
  std::map<std::string, std::string> told; ///< address → its trouble that the log has
  caf::actor_clock::time_point started{};

  /// Wait before the next try: 0.25 s, after forty of them doubling to 5 s.
  std::chrono::milliseconds patience() const;
};

/// The COORDINATOR as a node sees it that has none: passes everything on to it, over the connection that it keeps and makes anew for ever.
///
/// Parent:  the program. Detached: it probes addresses before it dials.
/// Tells:   COORDINATOR, in the name of whoever sent the message; answers go straight back.
/// Fails:   never: while the coordinator is not reached, requests are answered `unavailable` and messages are dropped, as a broken line would.
/// Numbers: dials each 0.25 s, after ten seconds doubling to each 5 s; a probe waits 0.5 s, a handshake 5 s, 2 s where there are other addresses to try.
/// Source:  docs/2-how-it-works/5-cluster.md
caf::behavior uplink(caf::stateful_actor<uplink_state>* self, uplink_setup setup);

} // namespace weir
