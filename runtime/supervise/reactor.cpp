#include "runtime/supervise/reactor.hpp"

#include <array>
#include <cassert>
#include <csignal>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

namespace weir::supervise {

reactor& reactor::instance() {
  static reactor* const one = new reactor; // deliberately never destroyed
  return *one;
}

reactor::reactor() : epoll_(epoll_create1(EPOLL_CLOEXEC)), wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  assert(epoll_ >= 0 && wake_ >= 0);
  watch(wake_, [this] {
    std::uint64_t count = 0;
    while (read(wake_, &count, sizeof count) > 0) {}
  });
  // Signals of the program belong to its own threads.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread([this] { run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_setname_np(thread.native_handle(), "weir-children");
  thread_id_ = thread.get_id();
  thread.detach();
}

void reactor::wake() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = write(wake_, &one, sizeof one); // fails only when it is awake already
}

void reactor::post(action f) {
  {
    const std::lock_guard lock(mutex_);
    posted_.push_back(std::move(f));
  }
  wake();
}

void reactor::at(clock::time_point when, action f) {
  {
    const std::lock_guard lock(mutex_);
    timed_.emplace(when, std::move(f));
  }
  wake();
}

void reactor::watch(int fd, action f) {
  watched_[fd] = std::make_shared<action>(std::move(f));
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  [[maybe_unused]] const int added = epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
  assert(added == 0);
}

void reactor::forget(int fd) {
  epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr);
  watched_.erase(fd);
}

void reactor::run() {
  for (;;) {
    int wait_ms = -1;
    {
      const std::lock_guard lock(mutex_);
      if (!timed_.empty())
        wait_ms = static_cast<int>(std::max<std::int64_t>(0, std::chrono::ceil<std::chrono::milliseconds>(timed_.begin()->first - clock::now()).count()));
    }
    std::array<epoll_event, 32> events;
    const int ready = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), wait_ms);
    for (int i = 0; i < ready; ++i)
      // An action may forget another descriptor of this batch, or its own: look each one up and keep it alive while it runs.
      if (const auto found = watched_.find(events[static_cast<std::size_t>(i)].data.fd); found != watched_.end()) {
        const auto f = found->second;
        (*f)();
      }
    std::vector<action> due;
    {
      const std::lock_guard lock(mutex_);
      due.swap(posted_);
      const auto now = clock::now();
      while (!timed_.empty() && timed_.begin()->first <= now) {
        due.push_back(std::move(timed_.begin()->second));
        timed_.erase(timed_.begin());
      }
    }
    for (auto& f : due)
      f();
  }
}

} // namespace weir::supervise
