#pragma once
// What Prometheus reads: the cluster as the COORDINATOR sees it, the actor tree, and every answer of the HTTP server.
#include "actors/http_bridge.hpp"
#include "runtime/metrics/metrics.hpp"

#include <memory>

namespace weir {

/// Counts each answer of the server: all of them by route, playlists, origin and hooks under names of their own. Before the server starts.
void count_answers(http::server& server, const std::shared_ptr<metrics::registry>& registry);
/// GET /metrics: for whoever is on this machine, and for others with the API token.
void add_metrics_route(http::server& server, const http_bridge_actor& bridge, const http_bridge_setup& setup);

} // namespace weir
