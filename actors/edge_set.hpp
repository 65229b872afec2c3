#pragma once
// What the COORDINATOR thinks of all edges together: who serves, with which weight, and the table by which directors steer.
#include "runtime/steering/liveness.hpp"
#include "runtime/steering/table.hpp"
#include "runtime/steering/weights.hpp"
#include "schemas/config.hpp"
#include "schemas/node.hpp"

#include <chrono>
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

  void add(const edge_spec& spec, time_point now);
  void drain(const edge_name& edge, bool drain);
  /// It does not come back.
  void remove(const edge_name& edge);
  /// One observer's view; true when it is of an edge that is known.
  bool observe(const edge_name& edge, steering::edge_view view, const std::string& text, const edge_load& load, std::int64_t phi_milli, time_point now);

  struct change {
    std::vector<steering::edge_change> phases; ///< for the event log
    bool table = false;                        ///< table() is new
    std::string cause;                         ///< of the new table
    std::vector<edge_epoch> forgotten;         ///< tables that nobody needs any more
  };
  /// Derives phases, weights and the table from what was observed.
  change judge(time_point now);

  const edge_table& table() const { return tables_.back().table; }
  /// Oldest first; listed segments may carry any of these epochs.
  std::vector<edge_table> history() const;
  std::vector<edge_status> statuses() const;
  const edge_status* find(const edge_name& edge) const;

private:
  struct dated {
    edge_table table;
    time_point replaced{};
  };
  std::vector<edge_target> targets(time_point now) const;

  director_options options_;
  steering::edge_jury jury_;
  steering::weight_feedback feedback_;
  std::map<edge_name, edge_status> edges_;
  std::vector<dated> tables_{1};
  time_point weighed_{};
  time_point settled_{};
  bool restored_ = false;
};

} // namespace weir
