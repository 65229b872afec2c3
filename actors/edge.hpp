#pragma once
#include "actors/interfaces.hpp"
#include "runtime/nginx/edge_config.hpp"
#include "runtime/nginx/edge_log.hpp"
#include "runtime/nginx/server.hpp"
#include "runtime/supervise/backoff.hpp"

#include <memory>
#include <optional>

namespace weir {

namespace http {
class client;
}

struct edge_setup {
  edge_spec spec;
  nginx::edge_config config;
  std::string folder;
  std::string program = "/usr/sbin/nginx";
  std::string status_url; ///< where its stub_status answers
};

struct edge_state {
  static inline const char* name = "edge";
  edge_setup setup;
  std::optional<nginx::prefix> folder;
  std::optional<nginx::edge_log_reader> log;
  supervise::process nginx;
  supervise::backoff failures{1, {.first = std::chrono::milliseconds(100), .cap = std::chrono::seconds(10), .jitter_percent = 0, .park_after = 0}};
  std::uint64_t generation = 0;
  std::uint64_t starts = 0;
  std::uint64_t sequence = 0;
  nginx::stub_status status;
  bool up = false;
  std::string trouble;
  bool stopping = false;
  caf::actor_clock::time_point started{};
};

/// nginx as one caching edge: configured, run, measured, restarted at its address.
///
/// Parent:  the program; its end ends the node. Detached: it waits for `nginx -t` and for old processes to end.
/// Tells:   COORDINATOR each second: that it is there, and its load.
/// Fails:   to start when nginx refuses its configuration; nginx's own words are in the log.
/// Numbers: a dead nginx is started again after 0.1 s, later 0.2 s doubling to 10 s.
/// Source:  docs/2-how-it-works/4-playlists-and-edges.md
edge_actor::behavior_type edge(edge_actor::stateful_pointer<edge_state> self, edge_setup setup, std::shared_ptr<http::client> client, coordinator_actor coordinator);

} // namespace weir
