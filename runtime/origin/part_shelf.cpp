#include "runtime/origin/part_shelf.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace weir::origin {

using namespace std::chrono_literals;

namespace {

constexpr std::uint32_t far_ahead = 2; ///< parts behind the hint that people may wait for: what is held costs edges, too
constexpr auto longest_kept = 2min; ///< whatever becomes of its stream

/// In front of all parts of a stream.
part_id first_of(const std::string& stream) { return {stream, {}}; }

tl::unexpected<error> absent() { return fail(error_code::not_found, "there is no such part"); }

void answer_all(std::vector<part_shelf::answer>& all, const expected<part_shelf::bytes_ptr>& result) {
  for (auto& one : all)
    one(result);
}

} // namespace

bool part_shelf::may_come(const part_id& id) const {
  auto known = expected_.find(id.stream);
  if (known == expected_.end())
    return false;
  auto& e = known->second;
  auto& p = id.place;
  return p.instance == e.instance && p.epoch == e.epoch && p.msn == e.msn && p.part >= e.part && p.part <= e.part + far_ahead && e.rungs.contains(p.rung);
}

std::map<part_id, std::vector<part_shelf::waiter>>::iterator part_shelf::take(std::map<part_id, std::vector<waiter>>::iterator at, std::vector<answer>& into) {
  for (auto& w : at->second)
    into.push_back(std::move(w.then));
  waiting_ -= at->second.size();
  return waiters_.erase(at);
}

bool part_shelf::put(part_id id, bytes_ptr bytes, steady_time now) {
  std::vector<answer> due;
  {
    std::lock_guard lock(guard_);
    if (bytes_ + bytes->size() > options_.bytes)
      return false;
    if (auto waits = waiters_.find(id); waits != waiters_.end())
      take(waits, due);
    auto [at, fresh] = items_.try_emplace(std::move(id), item{bytes, now + longest_kept});
    if (fresh)
      bytes_ += bytes->size();
    bytes = at->second.bytes;
  }
  answer_all(due, bytes);
  return true;
}

void part_shelf::follow(const hls::stream_log& shown, steady_time now) {
  std::vector<answer> in_vain;
  {
    std::lock_guard lock(guard_);
    if (shown.part_target > 0ms && shown.open.epoch != 0 && shown.open.hint_msn != 0) {
      auto& e = expected_[shown.stream];
      e = {.instance = shown.instance, .epoch = shown.open.epoch, .msn = shown.open.hint_msn, .part = shown.open.hint_part, .rungs = {}, .patience = 3 * shown.target};
      for (auto& r : shown.rungs)
        if (r.active)
          e.rungs.insert(r.info.name);
    } else {
      expected_.erase(shown.stream);
    }
    for (auto at = waiters_.lower_bound(first_of(shown.stream)); at != waiters_.end() && at->first.stream == shown.stream;)
      at = may_come(at->first) ? std::next(at) : take(at, in_vain);
    const auto listed_from = !shown.parts.empty() ? shown.parts.front().msn : !shown.entries.empty() ? shown.entries.back().msn + 1 : 0;
    for (auto at = items_.lower_bound(first_of(shown.stream)); at != items_.end() && at->first.stream == shown.stream; ++at)
      if (at->first.place.instance < shown.instance || at->first.place.msn < listed_from)
        at->second.due = std::min(at->second.due, now + 3 * shown.target);
  }
  answer_all(in_vain, absent());
}

void part_shelf::get(const part_id& id, steady_time now, answer then) {
  expected<bytes_ptr> result = absent();
  {
    std::lock_guard lock(guard_);
    if (auto there = items_.find(id); there != items_.end()) {
      result = there->second.bytes;
    } else if (may_come(id)) {
      if (waiting_ < options_.waiters) {
        ++waiting_;
        waiters_[id].push_back({now + expected_.at(id.stream).patience, std::move(then)});
        return;
      }
      result = fail(error_code::unavailable, fmt::format("{} wait for parts already", options_.waiters));
    }
  }
  then(std::move(result));
}

void part_shelf::tick(steady_time now) {
  std::vector<answer> late;
  {
    std::lock_guard lock(guard_);
    for (auto at = waiters_.begin(); at != waiters_.end();) {
      auto overdue = std::ranges::stable_partition(at->second, [&](auto& w) { return now < w.until; });
      for (auto& w : overdue)
        late.push_back(std::move(w.then));
      waiting_ -= overdue.size();
      at->second.erase(overdue.begin(), overdue.end());
      at = at->second.empty() ? waiters_.erase(at) : std::next(at);
    }
    std::erase_if(items_, [&](auto& one) {
      const bool over = now >= one.second.due;
      bytes_ -= over ? one.second.bytes->size() : 0;
      return over;
    });
  }
  answer_all(late, fail(error_code::timeout, "the part was not made in time"));
}

void part_shelf::clear() {
  std::vector<answer> left;
  {
    std::lock_guard lock(guard_);
    expected_.clear();
    items_.clear();
    bytes_ = 0;
    for (auto at = waiters_.begin(); at != waiters_.end();)
      at = take(at, left);
  }
  answer_all(left, fail(error_code::unavailable, "this origin has the stream no longer"));
}

std::size_t part_shelf::parts() const {
  std::lock_guard lock(guard_);
  return items_.size();
}

std::size_t part_shelf::bytes() const {
  std::lock_guard lock(guard_);
  return bytes_;
}

std::size_t part_shelf::waiting() const {
  std::lock_guard lock(guard_);
  return waiting_;
}

} // namespace weir::origin
