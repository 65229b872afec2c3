#pragma once
#include "actors/interfaces.hpp"
#include "runtime/machines/driver.hpp"
#include "runtime/machines/fleet.hpp"
#include "runtime/scaling/plan.hpp"
#include "schemas/config.hpp"

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace weir {

/// Where machines come from, and what was kept of those that were ordered before.
struct machines_setup {
  std::shared_ptr<machines::driver> driver; ///< null: nodes have edges to spare
  std::string cluster;
  std::string kept;
};

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
  bool by_machines = false;                       ///< instead of by what nodes have to spare
  machines::fleet fleet;
  std::uint64_t keeping = 0;                      ///< revision of the fleet that is being kept; 0: none
  std::uint64_t kept = 0;                         ///< that was
  std::set<std::string> forgetting;               ///< machines whose nodes the COORDINATOR is asked to forget
  struct answered {
    machines::order order;
    weir::expected<machines::answer> said;
  };
  scaling_status status;
  std::string told;                               ///< the last news, to say it once
  time_point started{}, decided{};

  void use(const autoscaler_options& wanted, const director_options& steering);
  /// The machines that were ordered before; what cannot be read is found again in their list.
  void use(const machines_setup& setup, std::uint64_t seed, time_point now);

  struct orders {
    std::vector<edge_farm_actor> start;           ///< one edge each
    std::uint32_t begin = 0;                      ///< machines: the fleet has them
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
/// Parent:  COORDINATOR; started again when it dies: what it began is known by the edges themselves, and by COORDINATOR, who keeps which machines were ordered.
///          Detached in production: it starts programs and reads files.
/// Tells:   EDGE FARMs, or a driver (runtime/machines), what to start and to end; COORDINATOR what to drain, which node is gone, and what it thinks.
/// Fails:   never; what cannot be done is tried again when it is still wanted.
/// Numbers: reckons each 5 s with what edges sent in the last 10; out at once, in by one edge or a tenth of them in each cool-down.
/// Source:  docs/2-how-it-works/4-playlists-and-edges.md
autoscaler_actor::behavior_type autoscaler(autoscaler_actor::stateful_pointer<autoscaler_state> self, autoscaler_options options, director_options steering, machines_setup machines,
                                           coordinator_actor coordinator);

} // namespace weir
