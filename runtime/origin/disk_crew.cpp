#include "runtime/origin/disk_crew.hpp"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

namespace weir::origin {

/// Shared with the threads: one that hangs in a dead disk outlives the crew.
struct disk_crew::core {
  std::mutex guard;
  std::condition_variable wake, rest;
  std::deque<std::function<void()>> jobs;
  std::size_t most_waiting = 0;
  std::size_t acting = 0;
  bool closed = false;

  void work() {
    std::unique_lock lock(guard);
    for (;;) {
      wake.wait(lock, [&] { return closed || !jobs.empty(); });
      if (closed)
        return;
      auto job = std::move(jobs.front());
      jobs.pop_front();
      ++acting;
      lock.unlock();
      job();
      job = nullptr; // what it holds may end here, without the lock
      lock.lock();
      --acting;
      rest.notify_all();
    }
  }
};

disk_crew::disk_crew(unsigned threads, std::size_t most_waiting) : core_(std::make_shared<core>()) {
  core_->most_waiting = most_waiting;
  for (unsigned i = 0; i < std::max(threads, 1U); ++i)
    std::thread([core = core_] { core->work(); }).detach(); // close() waits for them, but not for ever
}

disk_crew::~disk_crew() { close(milliseconds(0)); }

bool disk_crew::run(std::function<void()> job) {
  {
    std::lock_guard lock(core_->guard);
    if (core_->jobs.size() >= core_->most_waiting || core_->closed)
      return false;
    core_->jobs.push_back(std::move(job));
  }
  core_->wake.notify_one();
  return true;
}

bool disk_crew::close(milliseconds patience) {
  std::deque<std::function<void()>> dropped;
  std::unique_lock lock(core_->guard);
  core_->closed = true;
  dropped.swap(core_->jobs);
  core_->wake.notify_all();
  auto at_rest = core_->rest.wait_for(lock, patience, [&] { return core_->acting == 0; });
  lock.unlock(); // before what was dropped ends
  return at_rest;
}

} // namespace weir::origin
