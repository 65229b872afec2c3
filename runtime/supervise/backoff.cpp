#include "runtime/supervise/backoff.hpp"

#include <algorithm>

namespace weir::supervise {
namespace {

void forget_before(std::deque<steady_time>& times, steady_time start) {
  while (!times.empty() && times.front() <= start)
    times.pop_front();
}

} // namespace

backoff::retry backoff::failed(steady_time now) {
  is_good_ = false;
  forget_before(recent_, now - rule_.park_window);
  recent_.push_back(now);
  if (rule_.park_after != 0 && recent_.size() > rule_.park_after)
    recent_.pop_front();
  const bool parks = !parked_ && rule_.park_after != 0 && recent_.size() >= rule_.park_after;
  parked_ |= parks;
  // 2^16 half seconds is far beyond any cap and far from overflow.
  const auto doubled = rule_.first * (std::int64_t{1} << std::min(attempts_, 16U));
  const auto delay = jittered(parked_ ? rule_.parked_retry : std::min(doubled, rule_.cap));
  ++attempts_;
  return {delay, now + delay, attempts_, parked_, parks};
}

bool backoff::good(steady_time now) {
  if (!is_good_) {
    is_good_ = true;
    good_since_ = now;
  }
  if (attempts_ == 0 || now - good_since_ < rule_.forgiven_after)
    return false;
  attempts_ = 0;
  parked_ = false;
  recent_.clear();
  return true;
}

void backoff::reset() {
  attempts_ = 0;
  parked_ = false;
  is_good_ = false;
  recent_.clear();
}

std::chrono::milliseconds backoff::jittered(std::chrono::milliseconds delay) {
  // splitmix64: one addition and three mixes, the same numbers for a seed on every platform.
  auto z = random_ += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  z ^= z >> 31;
  const auto span = delay.count() * rule_.jitter_percent / 100;
  return delay - std::chrono::milliseconds(span) + std::chrono::milliseconds(static_cast<std::int64_t>(z % static_cast<std::uint64_t>(2 * span + 1)));
}

bool restart_intensity::allow(steady_time now) {
  forget_before(recent_, now - period_);
  if (recent_.size() >= most_)
    return false;
  recent_.push_back(now);
  return true;
}

} // namespace weir::supervise
