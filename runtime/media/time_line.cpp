#include "runtime/media/time_line.hpp"

#include <algorithm>

namespace weir::media {
namespace {

std::int64_t microseconds_of(ticks t) { return t * 100 / 9; }

} // namespace

ticks unwrapper::operator()(ticks raw) {
  if (modulus_ > 0 && last_) {
    // The distance modulo 2^n, taken as the shorter way round.
    auto distance = (raw - *last_) % modulus_;
    if (distance < -modulus_ / 2)
      distance += modulus_;
    else if (distance >= modulus_ / 2)
      distance -= modulus_;
    raw = *last_ + distance;
  }
  last_ = raw;
  return raw;
}

jump_detector::verdict jump_detector::take(int stream, ticks dts) {
  if (!newest_ || near(dts, *newest_)) {
    newest_ = newest_ ? std::max(*newest_, dts) : dts;
    held_.erase(stream);
    return verdict::pass;
  }
  if (stragglers_ > 0 && near(dts, before_jump_)) {
    --stragglers_;
    return verdict::drop;
  }
  auto held = held_.find(stream);
  if (held == held_.end() || !near(dts, held->second)) {
    held_[stream] = dts;
    return verdict::hold;
  }
  before_jump_ = *newest_;
  stragglers_ = 200;
  newest_ = std::max(held->second, dts);
  held_.clear();
  return verdict::jump;
}

void capture_clock::saw(ticks pts, wall now) {
  if (turned_ == wall{} || now - turned_ > std::chrono::seconds(30) || now < turned_) {
    lows_ = {low{}, lows_[0]};
    turned_ = now;
  }
  auto offset = std::chrono::duration_cast<std::chrono::microseconds>(now.time_since_epoch()).count() - microseconds_of(pts);
  auto& lowest = lows_[0].microseconds;
  lowest = lowest ? std::min(*lowest, offset) : offset;
}

capture_clock::wall capture_clock::at(ticks pts) const {
  auto offset = lows_[0].microseconds;
  if (lows_[1].microseconds)
    offset = offset ? std::min(*offset, *lows_[1].microseconds) : lows_[1].microseconds;
  return wall{std::chrono::duration_cast<wall::duration>(std::chrono::microseconds{offset.value_or(0) + microseconds_of(pts)})};
}

} // namespace weir::media
