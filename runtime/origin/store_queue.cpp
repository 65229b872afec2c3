#include "runtime/origin/store_queue.hpp"

#include "runtime/base/log.hpp"

#include <array>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include <fmt/format.h>

namespace weir::origin {

namespace {

enum list : std::size_t { segments_list, logs_list, removals_list };

struct job {
  std::string key; ///< of a segment or a log: one at a time, in order
  std::uint64_t number = 0;
  std::size_t bytes = 0;
  steady_time due = steady_time::max();
  bool removal = false;
  std::shared_ptr<segment_store> store = nullptr; ///< that it was asked of
  std::function<expected<void>(segment_store&)> act;
  std::vector<store_queue::done> tell; ///< empty for removals
};

std::string key_of(std::string_view stream, const hls::segment_place& p) { return fmt::format("{}/{}/{}/{}/{}", stream, p.instance, p.epoch, p.rung, hls::segment_name(p.kind, p.msn)); }

void tell_all(const job& j, const expected<void>& result) {
  for (auto& told : j.tell)
    told(result);
}

} // namespace

/// Shared with the threads: one that hangs in a dead disk outlives the queue.
struct store_queue::core {
  std::shared_ptr<segment_store> store;
  queue_limits limits;

  mutable std::mutex mutex;
  std::condition_variable work, rest;
  std::array<std::deque<job>, 3> waiting;
  std::map<std::string, std::deque<std::uint64_t>, std::less<>> order; ///< by key: numbers of its jobs, the one under way first
  std::uint64_t numbers = 0;
  std::size_t segments = 0, bytes = 0, removals = 0;                  ///< waiting and under way
  std::size_t acting = 0, telling = 0;                                 ///< threads that are in the store, and in a done()
  bool closed = false, left_behind = false;

  void enter(list where, job j) {
    j.number = ++numbers;
    j.store = store;
    order[j.key].push_back(j.number);
    waiting[where].push_back(std::move(j));
    work.notify_all(); // those who have other work to do sleep on it too
  }

  /// The first job of the list whose turn it is.
  std::optional<job> next(list where) {
    auto& jobs = waiting[where];
    for (auto at = jobs.begin(); at != jobs.end(); ++at)
      if (order.find(at->key)->second.front() == at->number) {
        auto found = std::move(*at);
        jobs.erase(at);
        return found;
      }
    return std::nullopt;
  }

  void leave(const job& j) {
    auto turn = order.find(j.key);
    std::erase(turn->second, j.number);
    if (turn->second.empty())
      order.erase(turn);
    else
      work.notify_all();
    if (j.removal)
      --removals;
    else if (j.bytes > 0) {
      --segments;
      bytes -= j.bytes;
    }
  }

  /// Takes out the segments for which it is too late already: they only keep others from coming in.
  std::vector<job> overdue(steady_time now) {
    std::vector<job> found;
    auto& jobs = waiting[segments_list];
    for (auto at = jobs.begin(); at != jobs.end();)
      if (now >= at->due) {
        leave(*at);
        found.push_back(std::move(*at));
        at = jobs.erase(at);
      } else {
        ++at;
      }
    return found;
  }

  std::optional<job> next_log_or_removal() {
    auto found = next(logs_list);
    return found ? std::move(found) : next(removals_list);
  }

  void serve(bool writes_segments) {
    std::unique_lock lock(mutex);
    for (;;) {
      std::optional<job> mine;
      work.wait(lock, [&] { return closed || (mine = writes_segments ? next(segments_list) : next_log_or_removal()).has_value(); });
      if (!mine)
        return;
      ++acting;
      lock.unlock();
      const bool late = steady_clock::now() >= mine->due;
      auto result = late ? fail(error_code::timeout, "the store had no time for it") : mine->act(*mine->store);
      mine->act = {}; // its bytes
      lock.lock();
      --acting;
      leave(*mine);
      if (left_behind)
        return;
      ++telling;
      lock.unlock();
      tell_all(*mine, result);
      mine.reset();
      lock.lock();
      --telling;
      rest.notify_all();
    }
  }
};

store_queue::store_queue(std::shared_ptr<segment_store> store, unsigned threads, queue_limits limits) : core_(std::make_shared<core>()) {
  core_->store = std::move(store);
  core_->limits = limits;
  for (unsigned i = 0; i < std::max(threads, 1U); ++i)
    for (bool writes_segments : {true, false})
      std::thread([core = core_, writes_segments] { core->serve(writes_segments); }).detach(); // close() waits for them, but not for ever
}

store_queue::~store_queue() { close(); }

void store_queue::use(std::shared_ptr<segment_store> store) {
  std::lock_guard lock(core_->mutex);
  core_->store = std::move(store);
}

void store_queue::put(std::string stream, hls::segment_place place, std::shared_ptr<const std::string> bytes, steady_time due, done told) {
  job j{.key = key_of(stream, place), .bytes = std::max<std::size_t>(bytes->size(), 1), .due = due};
  j.act = [stream = std::move(stream), place = std::move(place), bytes = std::move(bytes)](segment_store& store) { return store.put(stream, place, std::as_bytes(std::span(*bytes))); };
  j.tell.push_back(std::move(told));
  std::vector<job> late;
  std::optional<error> refused;
  {
    std::lock_guard lock(core_->mutex);
    auto full = [&] { return core_->segments >= core_->limits.segments || core_->bytes + j.bytes > core_->limits.bytes; };
    if (full())
      late = core_->overdue(steady_clock::now());
    if (core_->closed)
      refused = error{error_code::unavailable, "this origin is stopping"};
    else if (full())
      refused = error{error_code::unavailable, fmt::format("{} segments of {} bytes wait for the store already", core_->segments, core_->bytes)};
    else {
      ++core_->segments;
      core_->bytes += j.bytes;
      core_->enter(segments_list, std::move(j));
    }
  }
  for (auto& other : late)
    tell_all(other, fail(error_code::timeout, "the store had no time for it"));
  if (refused)
    tell_all(j, fail(*refused));
}

void store_queue::save_log(std::string stream, std::string json, done told) {
  job j{.key = stream};
  j.act = [stream = std::move(stream), json = std::move(json)](segment_store& store) { return store.save_log(stream, json); };
  j.tell.push_back(std::move(told));
  {
    std::lock_guard lock(core_->mutex);
    if (!core_->closed) {
      auto& jobs = core_->waiting[logs_list];
      auto same = std::find_if(jobs.begin(), jobs.end(), [&](auto& other) { return other.key == j.key; });
      if (same != jobs.end()) {
        same->act = std::move(j.act);
        same->store = core_->store;
        same->tell.push_back(std::move(j.tell.front()));
      } else {
        core_->enter(logs_list, std::move(j));
      }
      return;
    }
  }
  tell_all(j, fail(error_code::unavailable, "this origin is stopping"));
}

void store_queue::remove(std::string stream, hls::segment_place place) {
  job j{.key = key_of(stream, place), .removal = true};
  j.act = [stream = std::move(stream), place = std::move(place)](segment_store& store) {
    auto gone = store.remove(stream, place);
    if (!gone)
      log::warn("origin", "segment-not-removed", "stream={} error={}", stream, gone.error().text);
    return gone;
  };
  std::lock_guard lock(core_->mutex);
  if (core_->closed)
    return;
  if (core_->removals >= core_->limits.removals) {
    log::warn("origin", "segment-not-removed", "stream={} error={}", j.key.substr(0, j.key.find('/')), "too many removals wait for the store");
    return;
  }
  ++core_->removals;
  core_->enter(removals_list, std::move(j));
}

std::size_t store_queue::segments() const {
  std::lock_guard lock(core_->mutex);
  return core_->segments;
}

std::size_t store_queue::bytes() const {
  std::lock_guard lock(core_->mutex);
  return core_->bytes;
}

void store_queue::close(milliseconds patience) {
  std::vector<job> dropped;
  {
    std::lock_guard lock(core_->mutex);
    if (std::exchange(core_->closed, true))
      return;
    for (auto& jobs : core_->waiting)
      for (auto& j : std::exchange(jobs, {})) {
        core_->leave(j);
        dropped.push_back(std::move(j));
      }
    core_->work.notify_all();
  }
  for (auto& j : dropped)
    tell_all(j, fail(error_code::unavailable, "this origin is stopping"));
  std::unique_lock lock(core_->mutex);
  if (!core_->rest.wait_for(lock, patience, [&] { return core_->acting == 0; }))
    log::warn("origin", "store-hangs", "calls={} patience_ms={}", core_->acting, patience.count());
  core_->left_behind = true;
  core_->rest.wait(lock, [&] { return core_->telling == 0; });
}

} // namespace weir::origin
