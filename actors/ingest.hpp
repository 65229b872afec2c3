#pragma once
#include "actors/interfaces.hpp"
#include "actors/nginx_child.hpp"
#include "runtime/nginx/ingest_config.hpp"

#include <memory>

namespace weir {

namespace http {
class client;
}

struct ingest_setup {
  std::string server;      ///< our name of this RTMP server
  nginx::ingest_config config; ///< hook_url without the start's name, which is added here
  std::string folder;
  std::string program = "/usr/sbin/nginx";
  std::string status_url; ///< base address of its list and of where publishers are cut off
};

struct ingest_state {
  static inline const char* name = "ingest";
  ingest_setup setup;
  nginx_child nginx;
  std::string service; ///< names the present start of nginx in its callbacks
  rtmp_watch_actor watch;
  caf::actor_clock::time_point started{};
};

/// nginx-rtmp on this machine: configured and run. Its RTMP WATCH reads its list.
///
/// Parent:  the program; its end ends the node. Detached: it waits for `nginx -t` and for old processes to end.
/// Tells:   its RTMP WATCH of each start, which has no publishers yet.
/// Fails:   to start when nginx refuses its configuration.
/// Numbers: a dead nginx is started again after 0.1 s, later 0.2 s doubling to 10 s, and after 0.1 s again once it ran for a minute.
/// Source:  docs/2-how-it-works/3-life-of-a-stream.md
ingest_actor::behavior_type ingest(ingest_actor::stateful_pointer<ingest_state> self, ingest_setup setup, std::shared_ptr<http::client> client, coordinator_actor coordinator);

} // namespace weir
