#pragma once
// What an edge does, measured from its access log (datagrams on a unix socket of ours) and its stub_status page.
#include "schemas/error.hpp"
#include "schemas/node.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace weir::nginx {

/// nginx's log_format and the syslog tag in front of each line. The agent, which a viewer chooses, stands last.
inline constexpr std::string_view edge_log_format = "$bytes_sent $status $upstream_cache_status $request_time $remote_addr $http_user_agent";
inline constexpr std::string_view edge_log_tag = "weir_edge";
inline constexpr std::string_view edge_probe_agent = "weir-edge-monitor"; ///< User-Agent of who looks after edges: no viewer

enum class cache_result : std::uint8_t {
  none, ///< not a cached path
  hit,  ///< HIT, STALE, UPDATING, REVALIDATED: no viewer waited for the origin
  miss, ///< MISS, EXPIRED, BYPASS
};

/// One request, as its log line says.
struct edge_request {
  std::int64_t bytes = 0;
  int status = 0;
  cache_result cache = cache_result::none;
  std::chrono::milliseconds took{};
  std::uint64_t viewer = 0; ///< hash of address and agent
  bool probe = false;       ///< from an EDGE MONITOR
};

/// Reads one datagram. Empty when it is not a line of ours.
std::optional<edge_request> parse_edge_line(std::string_view datagram);

/// Requests since the start, by what the cache did.
struct edge_totals {
  std::uint64_t hits = 0;
  std::uint64_t misses = 0;
  std::uint64_t uncached = 0; ///< of no cached path
};

/// Adds requests up and tells the load of each interval. Pure: time is given. Memory is bounded by `most_viewers`.
class edge_counter {
public:
  using steady_time = std::chrono::steady_clock::time_point;

  explicit edge_counter(edge_name edge, std::size_t most_viewers = 65536) : most_viewers_(most_viewers) { load_.edge = std::move(edge); }

  void add(const edge_request& request, steady_time now);
  /// The load since the last call, as rates of one second; meant for each second. Connections, writing and up are filled in by whoever asks stub_status.
  edge_load sample(steady_time now);
  const edge_totals& totals() const { return totals_; }

private:
  static constexpr std::chrono::seconds viewer_window{15};

  edge_load load_; ///< sums since `since_`; bits_per_second holds bytes
  std::optional<steady_time> since_;
  edge_totals totals_;
  std::size_t most_viewers_;
  std::unordered_map<std::uint64_t, steady_time> viewers_; ///< last segment of each
};

/// nginx's stub_status page.
struct stub_status {
  std::uint64_t active = 0; ///< open connections
  std::uint64_t accepted = 0;
  std::uint64_t handled = 0;
  std::uint64_t requests = 0;
  std::uint64_t reading = 0;
  std::uint64_t writing = 0;
  std::uint64_t waiting = 0;
};
/// Errors: invalid_input.
expected<stub_status> parse_stub_status(std::string_view text);

/// Receives an edge's log and counts it, in a thread of its own. Opened before nginx starts.
class edge_log_reader {
public:
  /// Binds `path` (a leftover socket is replaced). `open_to_all` lets a worker of another user write. Errors: invalid_config (path too long), io_failed.
  static expected<edge_log_reader> open(const std::string& path, edge_name edge, bool open_to_all = false);

  edge_log_reader(edge_log_reader&&) noexcept;
  edge_log_reader& operator=(edge_log_reader&&) noexcept;
  ~edge_log_reader();

  /// The load since the last call.
  edge_load sample();
  edge_totals totals() const;
  /// Datagrams that were not lines of ours.
  std::uint64_t unreadable() const;

private:
  struct state;
  explicit edge_log_reader(std::unique_ptr<state> s);
  std::unique_ptr<state> state_;
};

} // namespace weir::nginx
