#include "runtime/media/pulse.hpp"

#include <algorithm>
#include <cstdio>
#include <sys/resource.h>
#include <unistd.h>

namespace weir::media {
namespace {

std::int64_t cpu_milliseconds() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  auto ms = [](const timeval& t) { return std::int64_t{t.tv_sec} * 1000 + t.tv_usec / 1000; };
  return ms(used.ru_utime) + ms(used.ru_stime);
}

std::int64_t resident_bytes() {
  long pages = 0, resident = 0;
  if (auto* f = std::fopen("/proc/self/statm", "re")) {
    if (std::fscanf(f, "%ld %ld", &pages, &resident) != 2)
      resident = 0;
    std::fclose(f);
  }
  return std::int64_t{resident} * ::sysconf(_SC_PAGESIZE);
}

} // namespace

void pulse::read(ticks pts) {
  std::lock_guard lock(mutex_);
  last_.last_read_pts = pts;
  ++last_.packets_read;
  read_at_ = steady_clock::now();
}

void pulse::packets_queued(std::size_t n) {
  std::lock_guard lock(mutex_);
  last_.packets_queued = static_cast<std::int64_t>(n);
}

void pulse::frames_queued(std::size_t n) {
  std::lock_guard lock(mutex_);
  last_.frames_queued = static_cast<std::int64_t>(n);
}

void pulse::dropped(std::size_t frames) {
  std::lock_guard lock(mutex_);
  last_.dropped_frames += static_cast<std::int64_t>(frames);
}

void pulse::outputs(const std::vector<std::string>& names) {
  std::lock_guard lock(mutex_);
  std::vector<output_pulse> next;
  for (auto& name : names) {
    auto old = std::find_if(last_.outputs.begin(), last_.outputs.end(), [&](auto& o) { return o.name == name; });
    next.push_back(old != last_.outputs.end() ? *old : output_pulse{name});
  }
  last_.outputs = std::move(next);
}

void pulse::put_out(const std::string& name, ticks pts, std::size_t bytes, bool picture) {
  std::lock_guard lock(mutex_);
  last_.output_bytes += static_cast<std::int64_t>(bytes);
  for (auto& o : last_.outputs)
    if (o.name == name) {
      o.last_pts = std::max(o.last_pts, pts);
      o.bytes += static_cast<std::int64_t>(bytes);
    }
  if (picture && !last_.outputs.empty() && last_.outputs.front().name == name)
    ++pictures_;
}

void pulse::watch(const call_deadline& calls) {
  std::lock_guard lock(mutex_);
  calls_.push_back(&calls);
}

void pulse::forget(const call_deadline& calls) {
  std::lock_guard lock(mutex_);
  std::erase(calls_, &calls);
}

heartbeat pulse::beat(steady_time now) {
  std::lock_guard lock(mutex_);
  auto h = last_;
  h.cpu_milliseconds = cpu_milliseconds();
  h.resident_bytes = resident_bytes();
  if (read_at_)
    h.last_read_age = std::max<std::int64_t>(0, std::chrono::duration_cast<milliseconds>(now - *read_at_).count());
  for (auto* c : calls_)
    h.blocked_milliseconds = std::max(h.blocked_milliseconds, c->blocked_milliseconds());

  // The slowest output counts: a ladder is as fast as its last rung.
  ticks reached = -1;
  for (auto& o : h.outputs)
    if (o.last_pts >= 0)
      reached = reached < 0 ? o.last_pts : std::min(reached, o.last_pts);
  if (reached >= 0)
    history_.push_back({now, reached, pictures_});
  while (!history_.empty() && now - history_.front().at > seconds(10))
    history_.pop_front();
  if (history_.size() > 1) {
    auto& from = history_.front();
    auto& to = history_.back();
    if (auto passed = std::chrono::duration_cast<milliseconds>(to.at - from.at).count(); passed > 0) {
      h.speed_milli = std::max<std::int64_t>(0, (to.reached - from.reached) * 1000 / 90 / passed);
      h.fps_milli = (to.pictures - from.pictures) * 1'000'000 / passed;
    }
  }
  return h;
}

heartbeat_thread::heartbeat_thread(pulse& source, child_channel& channel) {
  thread_ = std::thread([this, &source, &channel] {
    std::unique_lock lock(mutex_);
    bool last = false;
    do {
      last = stopping_;
      // A parent that is gone is noticed by whoever watches the channel.
      (void)channel.send(source.beat(steady_clock::now()));
      wake_.wait_for(lock, milliseconds(250), [this] { return stopping_; });
    } while (!last);
  });
}

heartbeat_thread::~heartbeat_thread() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

} // namespace weir::media
