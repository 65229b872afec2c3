#pragma once
// One copy of a source, read from one server in a thread of its own into a bounded queue: a pipeline that is slower than its source must notice a silent
// source at once, and a source must never wait for the pipeline (media.md 6). Packets come out on the publisher's unwrapped time line in 90 kHz ticks.
#include "runtime/media/av.hpp"
#include "runtime/media/pulse.hpp"
#include "schemas/task.hpp"

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

namespace weir::media {

struct feed_options {
  std::string url;
  bool realtime = true;
  milliseconds open_deadline{10'000};
  milliseconds read_deadline{3'000};
  milliseconds patience{10'000};
};

/// A packet, or what happened between two packets.
struct source_item {
  enum class kind : std::uint8_t {
    packet,
    streams, ///< the elementary streams that follow: at the start, when one appears late, after reopening
    jump,    ///< the publisher's clock jumped
    end,
  };
  kind what = kind::end;
  av<AVPacket> packet; ///< pts and dts in ticks; both are set
  bool video = false;
  std::chrono::system_clock::time_point read_at{};
  av<AVCodecParameters> video_stream, audio_stream; ///< empty: there is none
  bool reopened = false;                             ///< packets between these and the ones before are lost, or were another encoder's
  std::int64_t fps_milli = 0;                        ///< as the container has it; 0: unknown
  end_cause cause = end_cause::none;
  int code = 0;
  std::string text;
};

class feed {
public:
  /// From the reading thread: `complain` when the server is silent or lost and is tried again, `wake` when there is something new to take.
  feed(feed_options options, pulse& progress, std::function<void(end_cause, std::string)> complain, std::function<void()> wake);
  ~feed();
  feed(const feed&) = delete;

  const std::string& url() const { return options_.url; }
  /// The oldest item that waits; nothing when none does.
  std::optional<source_item> take();
  /// Time from the oldest to the newest packet that waits.
  ticks backlog() const;
  /// Since the last packet was read, or since the start.
  milliseconds silent_for() const;
  /// For how long packets have come without a pause of half a second.
  milliseconds flowing_for() const;
  /// Whether its server is lost or silent, and looked for again.
  bool troubled() const { return troubled_; }
  /// Whether the pipeline works on it: how much waits here is shown then.
  void in_use(bool yes) { in_use_ = yes; }
  /// An end follows at once, whatever is queued.
  void stop();

private:
  struct input;
  void run();
  end_cause read_from(input& in, std::string& why, int& code);
  void push(source_item item);
  void finish(end_cause cause, int code, std::string text);
  void take(input& in, av<AVPacket> packet);
  void enqueue(av<AVPacket> packet, bool video);
  bool stopping() const;

  const feed_options options_;
  pulse& progress_;
  std::function<void(end_cause, std::string)> complain_;
  std::function<void()> wake_;
  call_deadline deadline_;
  std::atomic<bool> in_use_{false}, troubled_{false};
  std::atomic<std::int64_t> heard_ms_; ///< steady clock, of the last packet or the start
  std::atomic<std::int64_t> flows_since_ms_{0}; ///< of the first packet after the last pause

  // Of the reading thread.
  jump_detector jumps_;
  std::optional<ticks> newest_;
  bool dropping_ = false;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<source_item> queue_;
  std::size_t bytes_ = 0;
  bool stopped_ = false;

  std::thread thread_;
};

} // namespace weir::media
