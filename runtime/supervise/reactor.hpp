#pragma once
// The one thread that spawns, reads and reaps all children. Internal to runtime/supervise.
#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace weir::supervise {

class reactor {
public:
  using clock = std::chrono::steady_clock;
  using action = std::function<void()>;

  /// Started at first use and never ended: the parent-death signal of every child hangs on this thread.
  static reactor& instance();

  /// Runs `f` on the thread, soon.
  void post(action f);
  /// Runs `f` on the thread and waits for its result; from the thread itself, at once.
  template <class F>
  auto call(F f) {
    if (std::this_thread::get_id() == thread_id_)
      return f();
    auto task = std::make_shared<std::packaged_task<decltype(f())()>>(std::move(f));
    auto result = task->get_future();
    post([task] { (*task)(); });
    return result.get();
  }
  /// Runs `f` on the thread at `when`.
  void at(clock::time_point when, action f);

  /// Calls `f` whenever `fd` can be read or has ended. Only from the thread.
  void watch(int fd, action f);
  /// Stops that; before the descriptor is closed. Only from the thread.
  void forget(int fd);

private:
  reactor();
  void run();
  void wake();

  int epoll_;
  int wake_;
  std::map<int, std::shared_ptr<action>> watched_;
  std::mutex mutex_;
  std::vector<action> posted_;
  std::multimap<clock::time_point, action> timed_;
  std::thread::id thread_id_;
};

} // namespace weir::supervise
