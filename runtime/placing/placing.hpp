#pragma once
// Which node takes a task, and which run would be better off elsewhere (cluster.md 6). Values in, a decision with its reason out.
#include "schemas/error.hpp"
#include "schemas/node.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::placing {

/// What a run asks of its node.
struct wish {
  std::string type;                ///< of the task
  std::vector<std::string> needs;  ///< labels of the node: KEY or KEY=VALUE
  std::int64_t cost_milli = 0;     ///< CPU cores × 1000
  node_name avoid;                 ///< it failed or is crowded: only when there is no other
  node_name apart_from;            ///< has the other run of a task with a standby: never
  std::vector<node_name> near;     ///< have the RTMP server that is read from on their machine: preferred among nodes that are about as full
};

using labels = std::map<std::string, std::string>;

/// Whether the labels fulfil one need.
bool has_label(const labels& of_the_node, std::string_view need);
/// Fails: invalid_input for a need that is not KEY or KEY=VALUE.
expected<void> check_need(std::string_view need);
/// Whether a node offers the type and has what the task needs, whatever else is wrong with it now.
bool suits(const node_spec& node, const wish& w);
/// Whether it can take the run now; `avoid` is not looked at.
bool takes(const node_status& node, const wish& w);

struct choice {
  const node_status* node = nullptr;
  std::string why; ///< for people: what speaks for the node and against some others, or why there is none
};
/// The emptiest node by what is granted, of those that can take it. A run that is larger than any node runs alone.
choice choose(const std::vector<const node_status*>& nodes, const wish& w);

/// A run that may be handed over without a seam.
struct run {
  task_id seat;
  node_name node;
  wish asks;
};
struct move {
  task_id seat;
  node_name to;
  std::string why;
};
/// Least fullness of a node that is worth relieving, and how much fuller than the busier of the two nodes after the move it must be.
inline constexpr double crowded = 0.75, worth_a_move = 0.25;
bool is_crowded(const node_status& node);
/// The one move that relieves the fullest node most, when that is worth a hand-over.
std::optional<move> rebalance(const std::vector<const node_status*>& nodes, const std::vector<run>& runs);

} // namespace weir::placing
