#pragma once
// How an edge's share follows its measured load, slowly enough not to swing (balancing.md 5.5, 5.6, 7).
#include "schemas/ids.hpp"

#include <chrono>
#include <map>
#include <string>
#include <vector>

namespace weir::steering {

/// Largest gain that is stable when a change shows after `delay` report intervals: 2 sin(π / (2 (2 d + 1))).
double gain_limit(double delay);
/// The gain that is used: half of the limit.
inline double stable_gain(double delay) { return gain_limit(delay) / 2; }

struct feedback_options {
  double gain = 0.17;      ///< stable_gain(4): T 5 s, director at TD 4 s
  double dead_band = 0.1;  ///< relative deviation that is left alone
  double slew = 0.2;       ///< largest relative change in one step
  double least = 0.2;      ///< of the nominal weight
  double most = 3.0;       ///< of the nominal weight
  double smoothing = 3.0;  ///< time constant of the load's mean, in steps
};

struct edge_measure {
  edge_name edge;
  double load = 0;         ///< egress relative to capacity, any unit that is the same for all
};

/// One step per report interval. Weights are relative to nominal (1.0).
class weight_feedback {
public:
  explicit weight_feedback(feedback_options options = {}) : options_(options) {}
  /// Takes the loads of one interval; edges that are missing keep their weight, unknown ones start at 1. Returns whether a weight changed.
  bool step(const std::vector<edge_measure>& loads);
  double weight(const edge_name& edge) const;
  void forget(const edge_name& edge) { edges_.erase(edge.value); }

private:
  struct state {
    double weight = 1;
    double mean = 0;
    bool seen = false;
  };
  feedback_options options_;
  std::map<std::string, state> edges_;
};

/// Share of its weight that a new or recovered edge has after `age`: from 0.1 to 1 over `tau` (Envoy's slow start, a = 1).
double slow_start(std::chrono::milliseconds age, std::chrono::milliseconds tau = std::chrono::seconds(60));

} // namespace weir::steering
