#pragma once
// Viewers as numbers: how many came to a stream, how long they waited for the first picture, how often it
// stood still. Player pages tell it in beacons, which anybody can send: so nothing is steered by them, and each is bounded by what one viewer can mean.
#include "runtime/metrics/metrics.hpp"
#include "schemas/error.hpp"
#include "schemas/field.hpp"
#include "schemas/stream.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace weir::audience {

inline constexpr std::size_t beacon_limit = 1024; ///< bytes of a body

/// What a player page says of the time since its last word.
struct beacon {
  std::uint32_t join_ms = 0;    ///< from asking for the stream to its first picture; 0: told before, or there is none yet
  std::uint32_t stalls = 0;     ///< times that a running picture stood still
  std::uint32_t stalled_ms = 0; ///< in all
  std::uint32_t played_ms = 0;
  std::string edge;             ///< base address that the last segment came from; empty: none

  static constexpr auto fields() {
    using o = beacon;
    return std::tuple{
      field("join_ms", &o::join_ms, {0, 300'000}, "From asking for the stream to its first picture, ms; 0: told before."),
      field("stalls", &o::stalls, {0, 100}, "Times that a running picture stood still."),
      field("stalled_ms", &o::stalled_ms, {0, 120'000}, "How long in all, ms."),
      field("played_ms", &o::played_ms, {0, 120'000}, "How long it ran, ms."),
      field("edge", &o::edge, {0, 256}, "Address of the edge, without a path."),
    };
  }
};

/// Fails: invalid_input, too_large.
expected<beacon> parse_beacon(std::string_view json);

/// How one stream is watched, as one director hears it since its start.
struct stream_book {
  std::uint64_t sessions = 0;  ///< multivariant playlists given out
  std::uint64_t beacons = 0;
  metrics::histogram joins{metrics::scale::media}; ///< seconds
  struct smoothness {
    std::uint64_t stalls = 0, stalled_ms = 0, played_ms = 0;
  };
  std::map<std::string, smoothness, std::less<>> by_edge; ///< by name; empty: of none that is known
};

/// Gathers sessions and beacons, from all HTTP threads.
class books {
public:
  using steady_time = std::chrono::steady_clock::time_point;
  static constexpr std::size_t most_streams = 1024;      ///< further ones are not counted
  static constexpr std::size_t most_edges = 256;         ///< of a stream; further ones count under the empty name
  static constexpr std::uint32_t most_from_one = 100;    ///< beacons a second from one address: a hall behind one router has hundreds of viewers, each of which speaks twice a minute
  static constexpr std::size_t most_addresses = 16384;   ///< a second

  /// A viewer was given its playlists.
  void begun(std::string_view stream);
  /// Fails: too_many.
  expected<void> add(std::string_view stream, std::string_view edge, const beacon& word, std::string_view address, steady_time now);
  /// Of each stream, over all edges. Viewers and bytes are not known here.
  std::vector<stream_audience> sums() const;
  /// Runs `f(name, book)` for each stream, under the lock.
  template <class F>
  void each(F f) const {
    std::lock_guard lock(guard_);
    for (auto& [name, book] : streams_)
      f(name, book);
  }
  /// Forgets the streams that `there` says no to.
  void forget(const std::function<bool(std::string_view stream)>& there);

private:
  stream_book* of(std::string_view stream);

  mutable std::mutex guard_;
  std::map<std::string, stream_book, std::less<>> streams_;
  std::unordered_map<std::string, std::uint32_t> from_; ///< beacons of this second, by address
  steady_time second_{};
};

} // namespace weir::audience
