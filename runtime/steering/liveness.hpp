#pragma once
// Whether an edge lives (balancing.md 8). edge_watch: what one observer thinks of one edge. edge_jury: what all observers together decide, with
// quorum, panic rule, recovery and flap guard. Times are any steady clock.
#include "runtime/base/clock.hpp"
#include "schemas/node.hpp"

#include <array>
#include <chrono>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace weir::steering {

struct probe_result {
  bool good = false;                ///< what came is what should have come
  std::chrono::milliseconds took{}; ///< until all of it was there
  std::string trouble;              ///< what was wrong
};

struct watch_options {
  std::uint32_t misses = 2;            ///< probes in a row that make it suspect
  std::chrono::milliseconds slow{500}; ///< a probe without its answer by then is missed; when the answer comes after all, it was slow: 3 of 5 are a brown-out
};

/// One observer's view of one edge.
class edge_watch {
public:
  explicit edge_watch(watch_options options = {}) : options_(options) {}
  /// A probe begins; probe() says how it ended.
  void asked(steady_time now) { asked_ = now; }
  void probe(const probe_result& result);
  /// unknown before any word of it.
  edge_view view(steady_time now) const;
  std::uint32_t good_probes() const { return good_; } ///< in a row

private:
  watch_options options_;
  std::deque<bool> slow_; ///< of the last five
  std::optional<steady_time> asked_;
  std::uint32_t missed_ = 0;
  std::uint32_t good_ = 0;
  bool probed_ = false;
};

struct jury_options {
  std::chrono::milliseconds fresh = std::chrono::seconds(3);       ///< an older view does not count
  std::chrono::milliseconds remembered = std::chrono::minutes(10); ///< an observer that is silent for so long is taken for gone; until then those that are left do not decide alone
  std::chrono::milliseconds wave{1100};                            ///< no death within that of a suspicion of another edge: a fault of the observers' comes edge by edge …
  std::chrono::milliseconds longest_wave = std::chrono::seconds(3); ///< … but somebody is always suspicious, so not for longer than that
  std::uint32_t recovery = 5;                                      ///< good probes in a row for most observers before it serves again
  std::uint32_t deaths = 3;                                        ///< in `flap_window` → held out for `held_out`
  std::chrono::milliseconds flap_window = std::chrono::minutes(10);
  std::chrono::milliseconds held_out = std::chrono::minutes(10);
};

struct edge_change {
  edge_name edge;
  edge_phase from = edge_phase::starting;
  edge_phase to = edge_phase::starting;
  std::string reason;
};

/// All observers' views of all edges → phases. A new phase `dead`, or `serving` after it, means a new edge epoch.
class edge_jury {
public:
  explicit edge_jury(jury_options options = {}) : options_(options) {}

  void add(const edge_name& edge);
  void remove(const edge_name& edge);
  /// By an operator or the edge itself; a draining edge is judged no more until it is undrained.
  void drain(const edge_name& edge, bool draining);
  /// What sight.observer thinks of an edge; nothing for an edge that is not known.
  void observe(const edge_name& edge, edge_sight sight, steady_time now);
  /// The observer ended on purpose: it has no say any more, and nobody waits for its word.
  void forget(const node_name& observer);
  /// Why its load is not known, empty when it is. That is no sign of death, but it gets no new viewers.
  void doubt(const edge_name& edge, std::string why);
  /// What changes now. While the panic rule holds (more than half of the edges would be down) the last good view stays in force.
  std::vector<edge_change> decide(steady_time now);

  edge_phase phase(const edge_name& edge) const;
  /// Since when it serves: for slow_start(). time_point{} while it does not.
  steady_time serving_since(const edge_name& edge) const;
  /// Edges that most observers see answer slowly. None when that is more than half of all: then the fault is the origin's, or the observers' own.
  std::set<edge_name> brown_outs(steady_time now) const;
  /// Views that count now.
  std::vector<edge_sight> sights(const edge_name& edge, steady_time now) const;
  bool panicking() const { return panicking_; }

private:
  struct sighting {
    edge_sight sight;
    steady_time at{};
    steady_time suspected{}; ///< since when the view is suspect
  };
  struct state {
    edge_phase phase = edge_phase::starting;
    std::map<node_name, sighting> views;
    std::string doubt;
    std::deque<steady_time> deaths;
    steady_time serving_since{};
    steady_time held_until{};
    steady_time accused{}; ///< since when a quorum does not get from it what it should
  };
  struct count {
    std::uint32_t heard = 0;                             ///< observers with a view that counts, or who abstain
    std::uint32_t known = 0;                             ///< observers that there are, heard or not
    std::uint32_t up = 0, brown_out = 0, suspect = 0, recovered = 0;
    std::string trouble;                                 ///< of one that suspects it
    std::uint32_t most() const { return heard / 2 + 1; }
    std::uint32_t quorum() const { return std::max(most(), std::min(known, 2U)); } ///< for a death: one alone decides only where there is no other
  };
  std::set<node_name> abstaining(steady_time now) const;
  /// Whether another edge has only just become suspect to somebody.
  bool rising(const edge_name& beside, steady_time now) const;
  std::size_t speaking(steady_time now) const;
  count count_of(const state& s, const std::set<node_name>& abstain, steady_time now) const;

  jury_options options_;
  std::map<edge_name, state> edges_;
  bool panicking_ = false;
};

} // namespace weir::steering
