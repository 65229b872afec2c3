#pragma once
#include "actors/interfaces.hpp"
#include "actors/known_keys.hpp"
#include "runtime/http/auth.hpp"
#include "runtime/http/server.hpp"
#include "runtime/metrics/metrics.hpp"
#include "schemas/config.hpp"

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace weir {

/// What the HTTP BRIDGE needs to start.
struct http_bridge_setup {
  coordinator_actor coordinator;
  introspection_actor introspection;
  std::string api_token;
  std::shared_ptr<metrics::registry> metrics;
  hook_options hooks;
  std::string known_keys_file;                      ///< where keys are kept for when the coordinator is away; empty: not at all
  std::vector<rtmp_server_options> foreign_servers; ///< whose callbacks carry a secret of their own
  /// Base addresses of all edges that playlists may name, for the player page's policy; thread-safe. Without it, as on a node without a director, the
  /// coordinator is asked.
  std::function<std::vector<std::string>()> edge_urls;
  std::vector<std::string> own_edges;               ///< base addresses of this node's edges
  std::vector<std::string> edge_hosts;              ///< director.edge_hosts
  /// What is not ready, in words; empty when all is.
  std::function<std::vector<std::string>(const cluster_view&)> not_ready;
};

/// What the HTTP BRIDGE knows.
struct http_bridge_state {
  static inline const char* name = "http-bridge";

  struct follower {
    http::event_stream stream;
    bool state = false;          ///< wants the cluster's state, not only events
    std::uint64_t last_event = 0;
    std::uint64_t version = 0;   ///< of the state that it has
  };

  using edge_urls_wanted = std::function<void(const std::vector<std::string>&)>;
  /// What the coordinator said of the edges, for pages.
  struct known_edges {
    std::vector<std::string> urls;
    std::optional<caf::actor_clock::time_point> heard;
    bool asked = false; ///< an answer is awaited
    std::vector<edge_urls_wanted> waiting;
  };

  http_bridge_setup setup;
  known_edges edges;
  std::vector<follower> followers;
  std::uint64_t rounds = 0;     ///< of the feed, half a second each
  std::uint64_t hooks = 0;
  std::uint64_t late_hooks = 0; ///< answered without the coordinator
  key_cache keys;
  bool asks_keys = false;       ///< an answer is awaited
  std::uint64_t ticks = 0;
  caf::actor_clock::time_point started{};
};

using http_bridge_self = http_bridge_actor::stateful_pointer<http_bridge_state>;

/// Takes callbacks and API requests from the HTTP threads, asks the COORDINATOR, answers within a deadline.
///
/// Parent:  the program; its end ends the node.
/// Tells:   COORDINATOR; followers of the event stream.
/// Fails:   never: what cannot be answered in time is answered with the reason.
/// Numbers: callbacks within 0.9 s; API requests within 5 s; state to followers at most twice a second.
/// Source:  docs/2-how-it-works/3-life-of-a-stream.md
http_bridge_actor::behavior_type http_bridge(http_bridge_self self, http_bridge_setup setup);

/// Runs `work` inside the bridge; called from HTTP threads.
void in_bridge(const http_bridge_actor& bridge, std::function<void(http_bridge_self)> work);

// The routes, each group in a file of its own; all before the server starts.
void add_hook_routes(http::server& server, const http_bridge_actor& bridge, const http_bridge_setup& setup);
void add_api_routes(http::server& server, const http_bridge_actor& bridge, const http_bridge_setup& setup);
void add_page_routes(http::server& server, const http_bridge_actor& bridge, const http_bridge_setup& setup);

/// The content security policy of our pages: no inline script or style, nothing from elsewhere but what the edges serve. `hosts` are named as they stand.
/// Where the edges are so many that servers on the way would refuse the header, or have addresses that a policy cannot name (IPv6), their schemes are named
/// instead.
std::string page_policy(const std::vector<std::string>& edge_urls, const std::vector<std::string>& hosts);

/// Who may use the API, the dashboard and introspection: the bearer token, or the cookie made from it at sign-in.
class api_access {
public:
  explicit api_access(std::string token);
  /// Empty: go on. Otherwise 401, 403 or 429. Requests that change something with a cookie must come from our own page.
  std::optional<http::response> check(const http::request& r);
  /// The Set-Cookie value for a right token.
  expected<std::string> sign_in(std::string_view token, const std::string& address, std::chrono::system_clock::time_point now);

private:
  bool cookie_is_ours(std::string_view cookie, std::chrono::system_clock::time_point now) const;
  std::string token_;
  std::string cookie_key_;
  http::rate_limiter failures_;
};

} // namespace weir
