#pragma once
// How streams, tasks, nodes and edges look in the API (contract.md): flat objects, rates as numbers, options as an object, no secrets.
#include "actors/messages.hpp"
#include "schemas/event.hpp"

#include <nlohmann/json.hpp>

namespace weir {

nlohmann::json stream_json(const stream_status& s);
nlohmann::json task_json(const task_status& t);
nlohmann::json node_json(const node_status& n);
nlohmann::json edge_json(const edge_status& e);
nlohmann::json scaling_json(const scaling_status& s);
nlohmann::json rtmp_server_json(const rtmp_server_status& s);
nlohmann::json event_json(const event& e);
/// All of them: {cluster:{name, version, now}, streams, tasks, nodes, edges, edge_epoch}.
nlohmann::json view_json(const cluster_view& view);
/// Two revisions of one object never share it.
std::string etag_of(std::uint64_t revision);

} // namespace weir
