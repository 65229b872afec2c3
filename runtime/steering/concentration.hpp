#pragma once
// Small streams concentrate (balancing.md 5.7): a stream with few viewers is served by few edges, so that its origin is pulled by few. Which ones is the stream's
// own order of the edges; how many is its *width*. Viewers find the width in each listed entry, so that what is listed keeps its address when it changes.
#include "runtime/steering/table.hpp"
#include "schemas/stream.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weir::steering {

/// What a stream's order of edges is made of: "name~instance".
std::uint64_t stream_seed(std::string_view stream_and_instance);

/// The edges that serve a stream, as indices into the table, in no order: of those for everybody the first `width` in the stream's weighted rendezvous order, which
/// knows what an edge should carry and not what the feedback made of it. Empty: all of them do. An edge that leaves moves only what was on it, one more takes a part of
/// what each has. No allocation, and one hash an edge; valid until the next call in this thread.
std::span<const std::uint16_t> edges_of(const edge_table& table, stream_reach reach);

/// Where a bucket fetches among these edges, of which there is one at least: at the table's own edge if it is one of them, else at the one that it prefers.
place place_among(const edge_table& table, std::span<const std::uint16_t> edges, std::uint32_t bucket);

struct width_options {
  bool concentrate = true;              ///< false: all edges serve all streams
  std::uint32_t least = 2;              ///< edges, whatever the audience: a backup needs another one
  double fill = 0.7;                    ///< of an edge's egress: what one stream may take
  std::int64_t viewer_bps = 3'000'000;  ///< expected mean rate of a viewer
  std::chrono::seconds patience{60};    ///< fewer would be enough for that long, before there are fewer
  double margin = 1.2;                  ///< and for so many times the demand
  std::chrono::seconds arrival{5};      ///< until whom a director sent is seen at an edge, time constant
  std::chrono::seconds smoothing{10};   ///< of what edges send, time constant
  std::chrono::seconds silence{30};     ///< after the start: what was seen until then is not all
};

/// ⌈demand / (fill · egress)⌉ + 1, not fewer than `least`.
std::uint32_t width_for(double demand_bps, double egress_bps, const width_options& options = {});

/// What is seen of a stream's audience.
struct stream_demand {
  std::uint64_t viewers = 0;  ///< at all edges
  std::uint64_t sessions = 0; ///< that directors began since their starts
  std::int64_t bits_per_second = 0; ///< sent in the last second
};

/// How wide each stream is. Grows at once, and falls when it could for a minute: each change moves viewers.
class stream_widths {
public:
  using time_point = std::chrono::steady_clock::time_point;
  using demands = std::map<std::string, stream_demand, std::less<>>;

  explicit stream_widths(time_point started, width_options options = {}) : options_(options), started_(started) {}

  /// For each second or so. Streams that are not in `seen` are forgotten.
  void step(const demands& seen, const edge_table& table, time_point now);
  /// What the last step came to.
  width_list list() const;
  /// Edges that serve this stream's new entries; 0: all.
  std::uint32_t width(std::string_view stream) const;

private:
  struct one {
    std::uint32_t width = 0;     ///< as if there were any number of edges
    std::uint64_t sessions = 0;
    double arriving = 0, bps = 0;
    time_point since{};          ///< fewer would be enough …
    std::uint32_t most = 0;      ///< … namely these at most; 0: they would not
  };
  std::uint32_t among(std::uint32_t width) const { return width >= edges_ ? 0 : width; }

  width_options options_;
  time_point started_, stepped_{};
  std::map<std::string, one, std::less<>> streams_;
  std::uint32_t edges_ = 0; ///< for everybody; 0: all serve all
  bool known_ = false;
};

} // namespace weir::steering
