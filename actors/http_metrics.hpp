#pragma once
// What Prometheus reads: the cluster as the COORDINATOR sees it, the actor tree, and every answer of the HTTP server.
#include "actors/http_bridge.hpp"
#include "runtime/metrics/metrics.hpp"

#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>

namespace weir {

/// What the COORDINATOR knows of the whole cluster.
void show_cluster(metrics::scrape& out, const cluster_view& view, timestamp now);
/// What this node knows of itself: the actors of its tree, as INTROSPECTION tells them.
void show_node(metrics::scrape& out, const nlohmann::json& actors);

/// Counts restarts of tasks by what one view of the cluster has more of than the one before: their starts, and why the last run ended.
class restart_counter {
public:
  void take(const cluster_view& view, metrics::registry& counts);

private:
  std::map<task_id, std::uint32_t> starts_; ///< since the stream of each went live, as last seen
};

/// Counts each answer of the server: all of them by route, playlists, origin and hooks under names of their own. Before the server starts.
void count_answers(http::server& server, const std::shared_ptr<metrics::registry>& registry);
/// GET /metrics: for whoever is on this machine, and for others with the API token.
void add_metrics_route(http::server& server, const http_bridge_actor& bridge, const http_bridge_setup& setup);

} // namespace weir
