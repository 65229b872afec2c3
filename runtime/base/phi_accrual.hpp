#pragma once
// The silence of somebody who should speak regularly, as a number: who speaks irregularly is given more time.
// Source: Hayashibara et al., The φ accrual failure detector, 2004; balancing.md 8.
#include "runtime/base/clock.hpp"

#include <chrono>
#include <deque>

namespace weir {

/// φ = −log10(probability that a heartbeat comes even later than now).
class phi_accrual {
public:
  explicit phi_accrual(std::chrono::milliseconds expected = std::chrono::seconds(1), std::chrono::milliseconds least_deviation = std::chrono::milliseconds(150))
      : expected_(expected), least_deviation_(least_deviation) {}
  void heartbeat(steady_time now);
  /// 0 before the first heartbeat; at most 100.
  double phi(steady_time now) const;
  bool heard() const { return heard_; }

private:
  std::chrono::milliseconds expected_, least_deviation_;
  std::deque<double> intervals_; ///< seconds, the last hundred
  steady_time last_{};
  bool heard_ = false;
};

} // namespace weir
