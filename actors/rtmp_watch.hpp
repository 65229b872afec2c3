#pragma once
#include "actors/interfaces.hpp"
#include "schemas/config.hpp"

#include <map>
#include <memory>
#include <optional>

namespace weir {

namespace http {
class client;
}

struct rtmp_watch_setup {
  std::string server;                  ///< our name of this RTMP server
  rtmp_server_kind kind = rtmp_server_kind::srs;
  std::string url;                     ///< SRS: base address of its HTTP API; nginx-rtmp: of its /stat and /control
  bool ours = false;                   ///< run by our INGEST, which names its starts: nobody publishes before the first
  std::chrono::milliseconds poll_every = std::chrono::seconds(1);
};

struct rtmp_watch_state {
  static inline const char* name = "rtmp-watch";
  rtmp_watch_setup setup;
  std::string service; ///< of the present start, as its callbacks name it; empty: as its list does
  publication_list last;
  std::map<std::string, std::string> vhosts; ///< of SRS: id → name, as it said last
  std::optional<publication_list> unnamed;   ///< SRS's list, while the names of its vhosts are asked for
  bool up = false;
  bool asking = false;
  std::string trouble = "not asked yet";
  std::uint64_t dropped = 0; ///< publishers cut off
  caf::actor_clock::time_point started{};

  /// Takes the answer to the question that is open. Nothing: the list names a vhost whose name must be asked for first.
  expected<std::optional<publication_list>> take(const status_page& page);
};

/// One RTMP server's own list of publishers: the truth that callbacks only hint at.
///
/// Parent:  INGEST for the nginx-rtmp that it runs; COORDINATOR for servers that somebody else runs: of several coordinators only the one that leads reads them.
/// Tells:   COORDINATOR who publishes and whether the server is heard, each second; cuts off at the server whom the coordinator names.
/// Fails:   never: a list that cannot be read changes nothing but the server's health.
/// Numbers: each question waits 0.9 s; whoever is absent twice in a row is gone (STREAM), so a lost callback is repaired within 3 s.
/// Source:  docs/2-how-it-works/3-life-of-a-stream.md
rtmp_watch_actor::behavior_type rtmp_watch(rtmp_watch_actor::stateful_pointer<rtmp_watch_state> self, rtmp_watch_setup setup, std::shared_ptr<http::client> client,
                                           coordinator_actor coordinator);

} // namespace weir
