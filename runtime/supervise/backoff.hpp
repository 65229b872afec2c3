#pragma once
// When a failed task or service is started again (cluster.md 2). Pure decisions: they take `now` and say what changed.
#include <chrono>
#include <cstdint>
#include <deque>

namespace weir::supervise {

using steady_time = std::chrono::steady_clock::time_point;

struct backoff_rule {
  std::chrono::milliseconds first{500};                          ///< delay after the first failure; doubles with each one
  std::chrono::milliseconds cap{std::chrono::seconds(30)};       ///< longest delay
  unsigned jitter_percent = 20;                                  ///< each delay varies by ± this much
  std::chrono::milliseconds forgiven_after{std::chrono::seconds(60)}; ///< of good output: the next failure counts as the first
  unsigned park_after = 5;                                       ///< failures within `park_window`; 0 never parks (unreachable targets)
  std::chrono::milliseconds park_window{std::chrono::seconds(60)};
  std::chrono::milliseconds parked_retry{std::chrono::seconds(30)}; ///< a parked task is tried again after each such time
};

/// The back-off of one task. It is fed failures and good output and answers when to try next.
class backoff {
public:
  struct retry {
    std::chrono::milliseconds delay{}; ///< from now, jitter included
    steady_time at{};                  ///< now + delay
    unsigned attempt = 0;              ///< failures in a row, this one included
    bool parked = false;               ///< crash_looping: failing again and again
    bool newly_parked = false;         ///< this failure parked it
  };

  explicit backoff(std::uint64_t seed, backoff_rule rule = {}) : rule_(rule), random_(seed) {}

  /// The task failed at `now`.
  retry failed(steady_time now);
  /// The task makes good output at `now`; told at least every few seconds. True when this forgave the failures before.
  bool good(steady_time now);
  /// A person asked for another try, or the task's settings changed: everything is forgiven.
  void reset();

  bool parked() const { return parked_; }
  unsigned attempts() const { return attempts_; }

private:
  std::chrono::milliseconds jittered(std::chrono::milliseconds delay);

  backoff_rule rule_;
  std::uint64_t random_;
  std::deque<steady_time> recent_; ///< failures within the window
  unsigned attempts_ = 0;
  bool parked_ = false;
  bool is_good_ = false;
  steady_time good_since_{};
};

/// Restart intensity of a service: more than `most` restarts within `period` mean that restarting does not help.
class restart_intensity {
public:
  explicit restart_intensity(unsigned most = 3, std::chrono::milliseconds period = std::chrono::seconds(30)) : most_(most), period_(period) {}

  /// A restart is wanted at `now`. False when it would be one too many: the fault rises a level.
  bool allow(steady_time now);

private:
  unsigned most_;
  std::chrono::milliseconds period_;
  std::deque<steady_time> recent_;
};

} // namespace weir::supervise
