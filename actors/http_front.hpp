#pragma once
#include "actors/certificate_watch.hpp"
#include "actors/interfaces.hpp"
#include "actors/nginx_child.hpp"
#include "runtime/nginx/http_front_config.hpp"

namespace weir {

struct http_front_setup {
  nginx::http_front_config config;
  std::string folder;
  std::string program = "/usr/sbin/nginx";
  nginx::certificate_files certificate; ///< the operator's
};

struct http_front_state {
  static inline const char* name = "http-front";
  http_front_setup setup;
  nginx_child nginx;
  certificate_watch certificate;
  caf::actor_clock::time_point started{};

  /// Makes its folder and what nginx reads there. Errors: those of prefix::prepare(), certificate_keeper::take() and prefix::install().
  expected<void> prepare();
  /// Takes over a renewed certificate and lets nginx read it; what it refuses stands in the log and in its status.
  void look_at_certificate(caf::actor_clock::time_point now);
};

/// nginx with TLS and HTTP/2 before this node's HTTP listener: configured, run, restarted at its address.
///
/// Parent:  the program; its end ends the node. Detached: it waits for `nginx -t` and for old processes to end.
/// Tells:   nobody.
/// Fails:   to start when nginx refuses its configuration or the certificate; nginx's own words are in the log.
/// Numbers: a dead nginx is started again after 0.1 s, later 0.2 s doubling to 10 s, after 0.1 s again once it ran for a minute; a renewed certificate is in use
///          after 5 to 12 s; when the node is stopped, answers under way have 1 s to end.
/// Source:  docs/2-how-it-works/4-playlists-and-edges.md
http_front_actor::behavior_type http_front(http_front_actor::stateful_pointer<http_front_state> self, http_front_setup setup);

} // namespace weir
