#include "runtime/base/phi_accrual.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace weir {

void phi_accrual::heartbeat(steady_time now) {
  if (heard_) {
    // One long silence is an outage, not the rhythm: it must not make the next outage look normal.
    auto interval = std::chrono::duration<double>(now - last_).count();
    auto usual = std::chrono::duration<double>(expected_).count();
    if (interval <= 3 * usual)
      intervals_.push_back(interval);
    if (intervals_.size() > 100)
      intervals_.pop_front();
  }
  last_ = now;
  heard_ = true;
}

double phi_accrual::phi(steady_time now) const {
  if (!heard_)
    return 0;
  auto mean = std::chrono::duration<double>(expected_).count();
  auto deviation = std::chrono::duration<double>(least_deviation_).count();
  if (intervals_.size() >= 5) {
    auto n = static_cast<double>(intervals_.size());
    mean = std::accumulate(intervals_.begin(), intervals_.end(), 0.0) / n;
    double squares = 0;
    for (auto i : intervals_)
      squares += (i - mean) * (i - mean);
    deviation = std::max(deviation, std::sqrt(squares / n));
  }
  auto silent = std::chrono::duration<double>(now - last_).count();
  auto later = 0.5 * std::erfc((silent - mean) / deviation / std::sqrt(2.0));
  return later < 1e-100 ? 100 : std::max(0.0, -std::log10(later));
}

} // namespace weir
