#include "runtime/steering/weights.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace weir::steering {

double gain_limit(double delay) { return 2 * std::sin(std::numbers::pi / (2 * (2 * delay + 1))); }

bool weight_feedback::step(const std::vector<edge_measure>& loads) {
  auto share = options_.smoothing > 0 ? 1 - std::exp(-1 / options_.smoothing) : 1.0;
  double sum = 0;
  for (auto& l : loads) {
    auto& e = edges_[l.edge.value];
    e.mean = e.seen ? e.mean + share * (l.load - e.mean) : l.load;
    e.seen = true;
    sum += e.mean;
  }
  auto average = loads.empty() ? 0 : sum / static_cast<double>(loads.size());
  if (average <= 0)
    return false;
  bool changed = false;
  for (auto& l : loads) {
    auto& e = edges_[l.edge.value];
    auto off = (e.mean - average) / average;
    if (std::abs(off) <= options_.dead_band)
      continue;
    auto next = std::clamp(e.weight * (1 - std::clamp(options_.gain * off, -options_.slew, options_.slew)), options_.least, options_.most);
    changed = changed || next != e.weight;
    e.weight = next;
  }
  return changed;
}

double weight_feedback::weight(const edge_name& edge) const {
  auto found = edges_.find(edge.value);
  return found == edges_.end() ? 1 : found->second.weight;
}

double slow_start(std::chrono::milliseconds age, std::chrono::milliseconds tau) {
  if (tau.count() <= 0)
    return 1;
  return std::clamp(static_cast<double>(age.count()) / static_cast<double>(tau.count()), 0.1, 1.0);
}

} // namespace weir::steering
