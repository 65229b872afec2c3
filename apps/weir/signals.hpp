#pragma once
#include <chrono>
#include <csignal>
#include <ctime>

namespace weir {

/// Takes TERM, INT and HUP away from all threads that start later and gives them to whoever waits here.
class signals {
public:
  signals() {
    sigemptyset(&set_);
    for (int s : {SIGTERM, SIGINT, SIGHUP})
      sigaddset(&set_, s);
    pthread_sigmask(SIG_BLOCK, &set_, nullptr);
    std::signal(SIGPIPE, SIG_IGN); // a peer that goes away is an error of one write
  }
  /// The signal that came, or 0 at the deadline.
  int wait(std::chrono::milliseconds deadline) const {
    timespec left{static_cast<time_t>(deadline.count() / 1000), static_cast<long>(deadline.count() % 1000) * 1'000'000};
    int signal = sigtimedwait(&set_, nullptr, &left);
    return signal > 0 ? signal : 0;
  }

private:
  sigset_t set_;
};

} // namespace weir
