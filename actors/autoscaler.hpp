#pragma once
#include "actors/interfaces.hpp"
#include "runtime/scaling/plan.hpp"
#include "schemas/config.hpp"

#include <deque>
#include <map>
#include <string>
#include <vector>

namespace weir {

/// What an AUTOSCALER knows and decides. Sends nothing.
struct autoscaler_state {
  autoscaler_state() = default; // no aggregate: CAF would make its first member of the actor's pointer
  static inline const char* name = "autoscaler";
  static inline const char* acts_as = "autoscaler"; ///< in events
  using time_point = caf::actor_clock::time_point;

  autoscaler_options options;
  scaling::planner planner{{}};
  std::vector<scaling::expectation> expected;     ///< of the options
  std::map<edge_name, time_point> ordered;        ///< begun, but not seen yet; until when it is waited for
  std::map<edge_name, time_point> ending;         ///< told to end, and when
  std::uint32_t asked = 0;                        ///< orders that are not answered yet
  struct reports {
    std::uint64_t newest = 0;                     ///< its number
    time_point heard{};
    std::deque<std::int64_t> bps;                 ///< of the last ones: a second by itself has a segment of each viewer, or none
  };
  std::map<edge_name, reports> measured;
  scaling_status status;
  std::string told;                               ///< the last news, to say it once
  time_point started{}, decided{};

  void use(const autoscaler_options& wanted, const director_options& steering);

  struct orders {
    std::vector<edge_farm_actor> start;           ///< one edge each
    std::vector<edge_name> keep, drain;
    std::vector<std::pair<edge_name, edge_farm_actor>> end; ///< without a farm: its node is not heard
    std::string kind;                             ///< of the event; empty: nothing new
  };
  /// Each second, so that no report is missed.
  void take(const std::vector<edge_status>& edges, time_point now);
  /// What is to be done about what is seen. Nothing when it runs dry.
  orders decide(const farm_view& seen, time_point now, timestamp wall);
};

/// Starts edges when viewers come, and ends those that it started when they have left.
///
/// Parent:  COORDINATOR; started again when it dies: what it began is known by the edges themselves.
/// Tells:   EDGE FARMs what to start and to end; COORDINATOR what to drain, and what it thinks.
/// Fails:   never; what cannot be done is tried again when it is still wanted.
/// Numbers: reckons each 5 s with what edges sent in the last 10; out at once, in by one edge or a tenth of them in each cool-down.
/// Source:  docs/2-how-it-works/4-playlists-and-edges.md
autoscaler_actor::behavior_type autoscaler(autoscaler_actor::stateful_pointer<autoscaler_state> self, autoscaler_options options, director_options steering, coordinator_actor coordinator);

} // namespace weir
