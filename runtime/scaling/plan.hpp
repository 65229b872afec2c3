#pragma once
// How many edges there should be (balancing.md 9 and 10), and which of them begins, goes on or ends. Values in, a decision with its reasons out: who carries it
// out, and whether anybody does, is not known here.
#include "runtime/base/clock.hpp"
#include "schemas/node.hpp"
#include "schemas/units.hpp"

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace weir::scaling {

using std::chrono::milliseconds;

struct options {
  std::uint32_t least = 2;                   ///< edges, whatever is asked of them
  std::uint32_t most = 8;                    ///< edges; beyond it the admission rule holds
  std::int64_t viewer_bps = 3'000'000;       ///< mean rate of a viewer whose traffic is not measured yet, bit/s
  double imbalance = 0.1;                    ///< the fullest edge above the mean
  double growth = 0.0033;                    ///< of the audience, relative, in a second: doubling in five minutes
  double tolerance = 0.1;                    ///< relative deviation from what is wanted that is left alone
  milliseconds boot = std::chrono::seconds(60);       ///< from an order until the edge serves
  milliseconds memory = std::chrono::seconds(300);    ///< in only to what was never too little within it
  milliseconds cool_down = std::chrono::seconds(300); ///< between two steps in
  milliseconds early = std::chrono::seconds(120);     ///< ready before an expected audience comes
  milliseconds given_up = std::chrono::seconds(60);   ///< a dead edge of ours is ended then
  milliseconds serve_out = std::chrono::seconds(40);  ///< from the last playlist that names a drained edge until no player fetches there
  milliseconds deadline = std::chrono::minutes(15);   ///< for whoever goes back in time: a drained edge ends then, though playlists name it
};

struct edge {
  edge_name name;
  edge_phase phase = edge_phase::starting;
  bool ours = false;                ///< begun by a plan: others are never ended. Drained by hand it ends, too
  bool named = false;               ///< by an entry of a playlist
  std::int64_t capacity_bps = 0;    ///< usable egress; 0: without bound
  std::optional<std::int64_t> bps;  ///< egress; nothing when its reports do not come
  std::uint64_t viewers = 0;
};

/// What an operator or the schedule expects.
struct expectation {
  std::string what;
  timestamp from{}, until{};
  std::uint64_t viewers = 0;
};

struct farm {
  std::vector<edge> edges;
  std::uint32_t ordered = 0;              ///< edges that are being started and have not joined yet
  std::vector<expectation> expected;
};

struct decision {
  std::uint32_t want = 0;                 ///< edges
  std::uint32_t have = 0;                 ///< that serve, may serve again in a moment, or are being started
  std::int64_t demand_bps = 0;            ///< that `want` is made of
  std::uint32_t start = 0;                ///< that many new ones
  std::vector<edge_name> keep;            ///< a drain that is taken back
  std::vector<edge_name> drain;
  std::vector<edge_name> end;             ///< drained long enough, or dead for good
  std::string why;                        ///< for people, whether anything is done or not

  bool acts() const { return start > 0 || !keep.empty() || !drain.empty() || !end.empty(); }
};

/// Remembers what was wanted. One step every few seconds, with the farm as it is then.
class planner {
public:
  explicit planner(options wanted) : options_(wanted) {}
  decision decide(const farm& now_there, steady_time now, timestamp wall);

private:
  struct demand {
    double out = 0, in = 0; ///< bit/s; what is not measured counts as nothing, and as a full edge
    std::string why;
  };
  struct sample {
    steady_time at{};
    double bps = 0;
  };
  demand demand_of(const farm& f, double each, steady_time now, timestamp wall);
  /// Drains and deaths that lasted long enough.
  void end_what_is_over(const farm& f, steady_time now, decision& d);

  options options_;
  steady_time began_{}, last_in_{};
  std::deque<std::pair<steady_time, std::uint64_t>> audience_; ///< of the last seconds
  std::deque<sample> peaks_;                                   ///< falling: the largest demand within `memory` first
  struct exit {
    steady_time since{}, named{};
  };
  std::map<edge_name, exit> leaving_;                          ///< drained or dead, and when it was last named
};

} // namespace weir::scaling
