#include "runtime/election/term.hpp"

#include <algorithm>
#include <ctime>
#include <fmt/format.h>

namespace weir::election {

using std::chrono::milliseconds;

wakeful_clock::time_point wakeful_clock::now() {
  timespec t{};
  ::clock_gettime(CLOCK_BOOTTIME, &t); // fails for no valid clock
  return time_point(std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec));
}

term::term(std::int64_t epoch, milliseconds ttl, wakeful_clock::time_point asked) : epoch_(epoch), trusted_(ttl * 4 / 5), until_(asked + trusted_) {}

bool term::holds_locked() {
  if (ended_)
    return false;
  if (wakeful_clock::now() < until_)
    return true;
  ended_ = true;
  why_ = fmt::format("etcd did not renew the lease for {} ms", trusted_.count());
  changed_.notify_all();
  return false;
}

bool term::holds() {
  std::lock_guard lock(mutex_);
  return holds_locked();
}

void term::renew(wakeful_clock::time_point asked) {
  std::lock_guard lock(mutex_);
  if (holds_locked())
    until_ = std::max(until_, asked + trusted_);
}

void term::end(std::string why) {
  std::lock_guard lock(mutex_);
  if (!holds_locked())
    return;
  ended_ = true;
  why_ = std::move(why);
  changed_.notify_all();
}

std::string term::why() {
  std::lock_guard lock(mutex_);
  return why_;
}

bool term::wait_for(milliseconds patience) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, std::max(patience, milliseconds(0)), [&] { return ended_; });
  return holds_locked();
}

milliseconds term::left() {
  std::lock_guard lock(mutex_);
  return holds_locked() ? std::chrono::duration_cast<milliseconds>(until_ - wakeful_clock::now()) : milliseconds(0);
}

} // namespace weir::election
