#pragma once
// What an edge does, measured from its access log (datagrams on a unix socket of ours) and its stub_status page.
#include "schemas/error.hpp"
#include "schemas/node.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace weir::nginx {

/// nginx's log_format and the syslog tag in front of each line. The agent, which a viewer chooses, stands last. $weir_stream is made by our configuration:
/// the stream that the address belongs to, "-" for any other address. So is $weir_cache: what the cache did, or our front where it keeps parts. The address itself may be
/// longer than a line, and would cut off what follows.
inline constexpr std::string_view edge_log_format = "$bytes_sent $status $weir_cache $request_time $weir_stream $remote_addr $http_user_agent";
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
  std::string_view stream;  ///< empty: of none; points into the datagram
  std::uint64_t viewer = 0; ///< hash of address and agent
  bool probe = false;       ///< from an OBSERVER
};

/// Reads one datagram. Empty when it is not a line of ours.
std::optional<edge_request> parse_edge_line(std::string_view datagram);

/// Requests since the start, by what the cache did.
struct edge_totals {
  std::uint64_t hits = 0;
  std::uint64_t misses = 0;
  std::uint64_t uncached = 0; ///< of no cached path
};

/// What was delivered of one stream since the edge's log was opened.
struct stream_totals {
  std::uint64_t bytes = 0;
  std::uint64_t hits = 0;
  std::uint64_t misses = 0;
};

/// Streams that are counted by themselves. Whatever is delivered of further ones counts under the empty name: together, not lost.
inline constexpr std::size_t most_counted_streams = 256;

/// Adds requests up and tells the load of each interval. Pure: time is given. Memory is bounded by `most_viewers`, twice: in all and by stream.
class edge_counter {
public:
  using steady_time = std::chrono::steady_clock::time_point;

  explicit edge_counter(edge_name edge, std::size_t most_viewers = 65536) : most_viewers_(most_viewers) { load_.edge = std::move(edge); }

  void add(const edge_request& request, steady_time now);
  /// The load since the last call, as rates of one second; meant for each second. Connections, writing and up are filled in by whoever asks stub_status.
  edge_load sample(steady_time now);
  const edge_totals& totals() const { return totals_; }
  /// By stream. One that nobody fetched from for ten minutes is left out, and would begin again at zero.
  std::map<std::string, stream_totals, std::less<>> totals_by_stream() const;

private:
  static constexpr std::chrono::seconds viewer_window{15};
  static constexpr std::chrono::minutes stream_kept{10};

  struct stream_count {
    stream_totals totals, before; ///< now, and at the last sample
    steady_time last{};
    std::unordered_map<std::uint64_t, steady_time> viewers; ///< last segment of each
  };
  void add_to_stream(const edge_request& request, steady_time now);
  std::vector<stream_load> sample_streams(steady_time now, std::int64_t ms);

  edge_load load_; ///< sums since `since_`; bits_per_second holds bytes
  std::optional<steady_time> since_;
  edge_totals totals_;
  std::size_t most_viewers_;
  std::unordered_map<std::uint64_t, steady_time> viewers_; ///< last segment of each
  std::map<std::string, stream_count, std::less<>> streams_;
  std::size_t stream_viewers_ = 0; ///< in all of `streams_`
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
  std::map<std::string, stream_totals, std::less<>> totals_by_stream() const;
  /// Datagrams that were not lines of ours.
  std::uint64_t unreadable() const;

private:
  struct state;
  explicit edge_log_reader(std::unique_ptr<state> s);
  std::unique_ptr<state> state_;
};

} // namespace weir::nginx
