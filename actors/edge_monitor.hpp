#pragma once
#include "actors/interfaces.hpp"
#include "runtime/base/standstill.hpp"
#include "runtime/steering/liveness.hpp"
#include "schemas/config.hpp"

#include <memory>

namespace weir {

namespace http {
class client;
}

/// What an EDGE MONITOR knows and decides. Sends nothing.
struct edge_monitor_state {
  static inline const char* name = "edge-monitor";
  using time_point = caf::actor_clock::time_point;

  edge_spec spec;
  steering::edge_watch watch;
  edge_news news;            ///< as the parent was last told
  std::string path;          ///< of the newest listed segment
  std::string trouble;
  bool probing = false;
  std::uint64_t probes = 0;
  time_point probed{}, told{}, started{};
  standstill still;                     ///< after one of our own nobody is judged for a while

  void take(const edge_load& load, time_point now);
  void take(const probe_result& result);
  /// True when the parent must hear: the view changed, or a second has passed.
  bool judge(time_point now);
};

/// Watches one edge: its reports, its silence, and probes that fetch what viewers fetch.
///
/// Parent:  COORDINATOR, one for each edge; restarted when it dies.
/// Tells:   COORDINATOR each second and when its view changed.
/// Fails:   never.
/// Numbers: reports come every 1 s, phi 8 is reached 1.6 to 2.4 s after the last one; probes every 1 s with a time-out of 0.5 s, 2 misses.
/// Source:  docs/2-how-it-works/4-playlists-and-edges.md
edge_monitor_actor::behavior_type edge_monitor(edge_monitor_actor::stateful_pointer<edge_monitor_state> self, edge_spec spec, director_options options,
                                               std::shared_ptr<http::client> client, coordinator_actor coordinator);

} // namespace weir
