#pragma once
// Whether an edge lives (balancing.md 8). edge_watch: what one observer thinks of one edge. edge_jury: what all observers together decide, with
// panic rule, recovery and flap guard. Times are any steady clock.
#include "runtime/base/phi_accrual.hpp"
#include "schemas/node.hpp"

#include <array>
#include <chrono>
#include <deque>
#include <map>
#include <string>
#include <vector>

namespace weir::steering {

struct probe_result {
  bool answered = false;                    ///< 2xx within the time-out of 0.5 s
  std::chrono::milliseconds first_byte{};
  std::chrono::milliseconds playlist_age{}; ///< of the newest live playlist that it serves; 0: no live stream to ask for
  std::chrono::milliseconds target{};       ///< that playlist's target duration
};

enum class edge_view : std::uint8_t { unknown, up, brown_out, suspect };
constexpr auto enum_names(edge_view) {
  using sv = std::string_view;
  return std::array{std::pair{edge_view::unknown, sv("unknown")}, std::pair{edge_view::up, sv("up")}, std::pair{edge_view::brown_out, sv("brown_out")},
                    std::pair{edge_view::suspect, sv("suspect")}};
}

struct watch_options {
  double phi = 8;                                    ///< from here on the silence is suspicious
  std::uint32_t misses = 2;                          ///< probes in a row that make it suspect
  std::chrono::milliseconds slow{500};               ///< first byte later than that in 3 of 5 probes is a brown-out
};

/// One observer's view of one edge.
class edge_watch {
public:
  explicit edge_watch(watch_options options = {}) : options_(options) {}
  void heartbeat(steady_time now) { beats_.heartbeat(now); }
  void probe(const probe_result& result);
  /// unknown before any word of it.
  edge_view view(steady_time now) const;
  double phi(steady_time now) const { return beats_.phi(now); }
  std::uint32_t good_probes() const { return good_; } ///< in a row

private:
  watch_options options_;
  phi_accrual beats_;
  std::deque<bool> slow_; ///< of the last five answers
  std::uint32_t missed_ = 0;
  std::uint32_t good_ = 0;
  bool stale_ = false;
  bool probed_ = false;
};

struct jury_options {
  std::uint32_t observers = 1;                              ///< expected; more than half must agree on a death
  std::chrono::milliseconds fresh = std::chrono::seconds(3); ///< an older view does not count
  std::uint32_t recovery = 5;                               ///< good views in a row from a quorum before it serves again
  std::uint32_t deaths = 3;                                 ///< in `flap_window` → held out for `held_out`
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
  void observe(const std::string& observer, const edge_name& edge, edge_view view, steady_time now);
  /// What changes now. While the panic rule holds (more than half of the edges would be down) nothing changes.
  std::vector<edge_change> decide(steady_time now);

  edge_phase phase(const edge_name& edge) const;
  /// Since when it serves: for slow_start(). time_point{} while it does not.
  steady_time serving_since(const edge_name& edge) const;
  /// A quorum sees it answer, but stale or slow: its weight is halved each interval.
  bool brown_out(const edge_name& edge, steady_time now) const;
  bool panicking() const { return panicking_; }

private:
  struct sighting {
    edge_view view = edge_view::unknown;
    steady_time at{};
    std::uint32_t good = 0; ///< in a row
  };
  struct state {
    edge_phase phase = edge_phase::starting;
    std::map<std::string, sighting> views;
    std::deque<steady_time> deaths;
    steady_time serving_since{};
    steady_time held_until{};
  };
  struct count {
    std::uint32_t up = 0, brown_out = 0, suspect = 0, recovered = 0;
  };
  std::map<std::string, bool> abstaining(steady_time now) const;
  count count_of(const state& s, const std::map<std::string, bool>& abstains, steady_time now) const;
  std::uint32_t quorum() const { return options_.observers / 2 + 1; }

  jury_options options_;
  std::map<std::string, state> edges_;
  bool panicking_ = false;
};

} // namespace weir::steering
