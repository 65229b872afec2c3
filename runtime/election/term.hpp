#pragma once
// One leadership: from the moment that etcd made our key until the first doubt about it.
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>

namespace weir::election {

/// Time that goes on while the machine sleeps (CLOCK_BOOTTIME): a lease at etcd does.
struct wakeful_clock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<wakeful_clock>;
  static constexpr bool is_steady = true;
  static time_point now();
};

/// Thread-safe. Once it does not hold it never holds again.
class term {
public:
  /// `epoch`: the create revision of the leader's key, which fences all writes. `asked`: when the lease was asked for, so that it is over at etcd no sooner than
  /// `ttl` after it; the term gives up after four fifths of that. Changes are fenced by the revision at etcd itself; the rest is for what asks holds() first.
  term(std::int64_t epoch, std::chrono::milliseconds ttl, wakeful_clock::time_point asked);

  std::int64_t epoch() const { return epoch_; }
  /// Whether nobody else can lead now, by our own clock.
  bool holds();
  /// The lease was renewed by a request that was sent at `asked`. What does not hold any more is not renewed.
  void renew(wakeful_clock::time_point asked);
  /// Ends it; the first reason stays.
  void end(std::string why);
  std::string why();
  /// Waits until it does not hold, at most for so long; returns whether it holds.
  bool wait_for(std::chrono::milliseconds patience);
  std::chrono::milliseconds left();

private:
  bool holds_locked();

  const std::int64_t epoch_;
  const std::chrono::milliseconds trusted_;
  std::mutex mutex_;
  std::condition_variable changed_;
  wakeful_clock::time_point until_;
  bool ended_ = false;
  std::string why_;
};

} // namespace weir::election
