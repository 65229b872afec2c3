#pragma once
// What the COORDINATOR thinks of all edges together: who serves, with which weight, and the table by which directors steer.
#include "runtime/base/phi_accrual.hpp"
#include "runtime/steering/liveness.hpp"
#include "runtime/steering/table.hpp"
#include "runtime/steering/weights.hpp"
#include "schemas/config.hpp"
#include "schemas/node.hpp"

#include <chrono>
#include <deque>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace weir {

class edge_set {
public:
  using time_point = std::chrono::steady_clock::time_point;

  explicit edge_set(const director_options& options = {});
  /// Takes the tables of the run before: what they name is steered to until it proves dead, and their epochs are never given again.
  void restore(std::vector<edge_table> tables, time_point now);

  /// What its locality and networks cannot be is left away: it then serves like any other edge, or, with networks_only, nobody; its status says why.
  void add(const edge_spec& spec, time_point now);
  void drain(const edge_name& edge, bool drain);
  /// It does not come back.
  void remove(const edge_name& edge);
  /// An edge's own report: of its load, and no proof of its life. False when the edge is not known.
  bool take(const edge_load& load, time_point now);
  /// Whether an observer may speak now: not more often than it has reason to.
  bool hear(const node_name& observer, time_point now);
  /// What sight.observer thinks of one edge; nothing for an edge that is not known.
  void observe(const edge_name& edge, edge_sight sight, time_point now);
  /// It was stopped or removed: nobody waits for its word.
  void forget_observer(const node_name& observer);
  /// What `observer` should watch: of the observers that are heard five watch each edge, none that of its own node while another one is there.
  std::vector<edge_spec> watched_by(const node_name& observer, time_point now) const;
  /// Of them those whose viewers have just become far fewer.
  std::vector<edge_name> urgent(time_point now) const;

  struct change {
    std::vector<steering::edge_change> phases; ///< for the event log
    bool table = false;                        ///< table() is new
    std::string cause;                         ///< of the new table
    std::vector<edge_epoch> forgotten;         ///< tables that nobody needs any more
    bool overflow = false;                     ///< some of them had to go before that, since there are too many
  };
  static constexpr auto no_epoch = std::numeric_limits<edge_epoch>::max();
  /// Derives phases, weights and the table from what was observed. `oldest_named`: of a listed entry; tables from there on are kept. no_epoch: nothing is listed.
  change judge(time_point now, edge_epoch oldest_named = no_epoch);

  const edge_table& table() const { return tables_.back().table; }
  /// Of the oldest table that is kept; 0: all are that there ever were.
  edge_epoch oldest() const { return tables_.front().table.epoch; }
  /// Oldest first; listed segments may carry any of these epochs.
  std::vector<edge_table> history() const;
  std::vector<edge_status> statuses() const;
  const edge_status* find(const edge_name& edge) const;

private:
  change derive(time_point now, edge_epoch oldest_named);
  struct dated {
    edge_table table;
    time_point replaced{};
  };
  /// What is known of an edge by its own reports.
  struct reports {
    phi_accrual beats; ///< of those that say that nginx answers
    time_point last{};
    std::deque<std::int64_t> sent; ///< bit/s of the last seconds
    time_point urgent_until{}, urged{};
    double pace = 1; ///< part of its weight that a slow edge is left
    std::int64_t fair_milli = 1000; ///< its weight without the feedback's part
  };
  struct listened {
    time_point heard{};
    std::uint32_t said = 0; ///< since `counted`
    time_point counted{};
  };
  std::vector<edge_target> targets(time_point now) const;
  /// Why what it says of whom it is near to cannot be used; empty: it can, or it says nothing.
  std::string locality_trouble(const edge_spec& spec) const;
  /// Notes what observers and reports say of each edge.
  void note_sights(time_point now);
  /// Part of its weight that an edge has which came to others that serve already; 1: all.
  double ramp(const edge_name& edge, time_point oldest, time_point now) const;
  void forget(change& made, edge_epoch oldest_named, time_point now);
  /// Which edges viewers may still fetch from.
  void note_named(edge_epoch oldest_named);

  director_options options_;
  steering::edge_jury jury_;
  steering::weight_feedback feedback_;
  std::map<edge_name, edge_status> edges_;
  std::map<edge_name, reports> reports_;
  std::map<node_name, listened> observers_;
  std::deque<dated> tables_{1};
  std::map<edge_name, edge_epoch> newest_with_; ///< the newest table that has the edge
  time_point weighed_{};
  time_point made_{}; ///< the present table
  time_point settled_{};
  bool restored_ = false;
};

} // namespace weir
