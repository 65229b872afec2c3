#pragma once
// What a running pipeline says of itself every 250 ms. Every thread of the pipeline notes its progress here; the heartbeat thread only reads, so
// that it beats whatever libav is stuck in.
#include "runtime/base/clock.hpp"
#include "runtime/media/av.hpp"
#include "runtime/media/channel.hpp"
#include "runtime/media/time_line.hpp"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

namespace weir::media {

class pulse {
public:
  void read(ticks pts);
  void packets_queued(std::size_t n);
  void frames_queued(std::size_t n);
  void dropped(std::size_t frames);
  /// The outputs from now on; what one of the same name has reached is kept.
  void outputs(const std::vector<std::string>& names);
  void put_out(const std::string& name, ticks pts, std::size_t bytes, bool picture);
  /// Calls whose age counts as blocked, until they are forgotten.
  void watch(const call_deadline& calls);
  void forget(const call_deadline& calls);

  heartbeat beat(steady_time now);

private:
  struct moment {
    steady_time at;
    ticks reached;
    std::int64_t pictures;
  };
  std::mutex mutex_;
  heartbeat last_;
  std::optional<steady_time> read_at_;
  std::int64_t pictures_ = 0; ///< of the first output
  std::vector<const call_deadline*> calls_;
  std::deque<moment> history_; ///< of the last 10 s
};

/// Sends a heartbeat every 250 ms while it lives, and one as it ends: totals of the last quarter of a second (pictures left out, bytes) count too.
class heartbeat_thread {
public:
  heartbeat_thread(pulse& source, child_channel& channel);
  ~heartbeat_thread();

private:
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::thread thread_;
};

} // namespace weir::media
