#pragma once
// A look at an edge from outside: it fetches what viewers fetch, and all that a player relies on must be right.
#include "runtime/http/client.hpp"
#include "runtime/steering/liveness.hpp"
#include "schemas/node.hpp"

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

namespace weir::nginx {

/// So much of a segment is fetched: enough to tell a segment from anything else, and little beside what viewers fetch.
inline constexpr std::size_t probe_head = 16 << 10;

/// What the first bytes of a segment are recognised by.
std::string head_digest(std::string_view segment);

struct edge_probe {
  std::string url;                         ///< of the edge
  std::string name;                        ///< of the edge: who answers there in its stead is not it
  probe_target newest;                     ///< without a path any answer will do that a browser would let through
  std::chrono::milliseconds deadline{1000};
  std::string authorities;                 ///< certificates (PEM) that the edge's is checked against; empty: the system's
};

http::client_request probe_request(const edge_probe& probe);

/// In which header an edge with a shared address names itself.
inline constexpr std::string_view edge_name_header = "Weir-Edge";

/// Whether another edge than that one answers at its address, as one does while it is dead; empty: no.
std::string stranger_in(const http::client_response& answer, std::string_view name);

/// What is wrong with an answer: status, CORS header, lengths, cache headers, bytes. Empty: nothing.
std::string fault_of(const http::client_response& answer, const probe_target& newest);

/// `done` runs once, on the client's thread.
void send_probe(http::client& client, const edge_probe& probe, std::function<void(steering::probe_result)> done);

} // namespace weir::nginx
