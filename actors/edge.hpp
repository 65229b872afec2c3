#pragma once
#include "actors/address_keeper.hpp"
#include "actors/certificate_watch.hpp"
#include "actors/interfaces.hpp"
#include "actors/nginx_child.hpp"
#include "runtime/nginx/edge_config.hpp"
#include "runtime/nginx/edge_log.hpp"
#include "runtime/nginx/part_front.hpp"
#include "runtime/viewing/viewing.hpp"

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
  nginx::certificate_files certificate; ///< the operator's; without names it speaks plain HTTP
  bool finds_origins = false; ///< as the cluster has them; until it says so those that it said last, and those of `config`
  std::shared_ptr<const viewing::gate> gate; ///< whose tokens open signed streams; null: nobody's
  shared_address address;     ///< that others of its network take over when it is dead; empty: it has none
  std::string interface;      ///< where that is put
};

struct edge_state {
  static inline const char* name = "edge";
  edge_setup setup;
  nginx_child nginx;
  std::optional<nginx::edge_log_reader> log;
  std::unique_ptr<nginx::part_front> front;
  certificate_watch certificate;
  std::uint64_t sequence = 0;
  nginx::stub_status status;
  bool up = false;
  std::vector<std::string> refused_origins; ///< that nginx does not take
  caf::actor_clock::time_point refused{};   ///< when it said so last: a name may be known later
  bool asking_for_origins = false;
  std::shared_ptr<network::network_interface> interface; ///< null: its address is none of ours
  address_keeper_actor keeper;
  caf::actor_clock::time_point started{};

  /// Makes its folder and what nginx reads there. Errors: those of prefix::prepare(), part_front::open(), certificate_keeper::take(), prefix::install() and
  /// network_interface::open(), io_failed.
  expected<void> prepare();
  /// Opens the interface of its shared address, where it has one.
  expected<void> open_interface();
  /// Lets nginx judge the configuration as it is, and puts it in place. Errors as prepare().
  expected<void> configure();
  /// Lets nginx ask the origins that the cluster has now. Where it names none they stay as they are; while it does not know all, none is dropped. What nginx refuses is
  /// tried again after 15 s.
  void use_origins(const origin_list& told, caf::actor_clock::time_point now);
  /// Lets nginx know the keys that viewing tokens are signed with now.
  void look_at_keys();
  /// Takes over a renewed certificate and lets nginx read it; what it refuses stands in the log and in the reports.
  void look_at_certificate(caf::actor_clock::time_point now);
};

/// nginx as one caching edge: configured, run, measured, restarted at its address; beside it the front that it fetches parts from.
///
/// Parent:  the program; its end ends the node. Detached: it waits for `nginx -t` and for old processes to end.
/// Tells:   COORDINATOR each second: that it is there, and its load; each other second it asks where the origins are. Its ADDRESS KEEPER whether it serves.
/// Fails:   to start when nginx refuses its configuration, as it does without its JavaScript module; nginx's own words are in the log. Or when it has a shared
///          address and may not put it on its interface.
/// Numbers: a dead nginx is started again after 0.1 s, later 0.2 s doubling to 10 s, after 0.1 s again once it ran for a minute; a renewed certificate is in use
///          after 5 to 12 s; when the edge is stopped, downloads under way have 4 s to end.
/// Source:  docs/2-how-it-works/4-playlists-and-edges.md
edge_actor::behavior_type edge(edge_actor::stateful_pointer<edge_state> self, edge_setup setup, std::shared_ptr<http::client> client, coordinator_actor coordinator);

} // namespace weir
