#pragma once
// One broadcast, read from one server or from several that have it. The pipeline sees one time line whatever is lost: the copies that are not in use are
// read beside the one that is, for their last seconds, and when that one stops, the next goes on behind the last packet that was taken.
//
//   Copies of one encoder carry the same bytes: three pictures in a row that are equal tell how far their clocks are apart, and not a packet is missing.
//   Copies of two encoders are laid side by side by when they arrive, and the next begins with a key frame.
#include "runtime/media/feed.hpp"

#include <memory>
#include <unordered_map>

namespace weir::media {

struct source_options {
  std::vector<std::string> urls; ///< the first one is preferred at the start
  bool realtime = true;          ///< false: a file, one only
  milliseconds open_deadline{10'000};
  milliseconds read_deadline{3'000};
  milliseconds patience{10'000};
  bool decodes = true;              ///< pictures before the last one taken help to decode those after it
  milliseconds switch_after{1'000}; ///< silence of the copy in use while another one delivers
  milliseconds seamless_after{500}; ///< the same where the other one is of the same encoder: going over costs nobody anything
};

/// Tells how far the clocks of two copies of one encoding are apart, by pictures of equal bytes: each pair is a vote for its distance.
class copy_matcher {
public:
  /// A picture of the copy in use, or of the other.
  void saw(bool in_use, std::uint64_t fingerprint, ticks dts);
  /// What is to be added to the other's time stamps; nothing before three pictures agreed. `about` is what arrival times say: still pictures
  /// are equal at many distances.
  std::optional<ticks> offset() const;
  void expect(ticks about) { about_ = about; }
  void reset() { *this = {}; }

private:
  static constexpr int needed = 3;
  static constexpr ticks span = 10 * ticks_per_second;
  struct memory {
    std::unordered_multimap<std::uint64_t, ticks> by_print;
    std::deque<std::pair<ticks, std::uint64_t>> order;
    void add(std::uint64_t print, ticks dts);
  };
  memory used_, other_;
  struct vote {
    ticks apart = 0;
    int count = 0;
  };
  std::vector<vote> votes_;
  std::optional<ticks> about_;
};

/// Of a packet's bytes.
std::uint64_t fingerprint(const AVPacket& packet);

class source {
public:
  /// `complain`: something is wrong, reading goes on. From any thread.
  source(source_options options, pulse& progress, std::function<void(end_cause, std::string)> complain);
  ~source();
  source(const source&) = delete;

  /// The next item; waits for it. After stop() an end at once, whatever is queued. One thread only.
  source_item next();
  /// The same; nothing when none has come by `until`.
  std::optional<source_item> next(steady_time until);
  /// Time from the oldest to the newest packet that waits. For next()'s thread.
  ticks backlog() const;
  /// Where the broadcast can be read from now on. From any thread.
  void use(std::vector<std::string> urls);
  void stop();

private:
  struct copy {
    std::string url;
    std::unique_ptr<feed> reader; ///< null: ended, tried again at `again`
    steady_time again{};
    // While it is not in use: its last seconds, on its own time line.
    std::deque<source_item> kept;
    std::size_t kept_bytes = 0;
    source_item streams;          ///< what its packets are, from the last item that said so
    copy_matcher match;
    // Of its time line.
    ticks offset = 0;             ///< to ours
    bool wait_for_key = false;    ///< it took over between two key frames of another encoder's
    std::optional<std::int64_t> lowest; ///< least (arrival − time stamp) seen, ms: where it lies against the others
    void forget();
  };

  std::optional<source_item> wait_for_next(std::optional<steady_time> until);
  std::unique_ptr<feed> open(const std::string& url);
  void apply_wishes();
  void keep_up(copy& c);
  void close(copy& c);
  void remember(copy& c, source_item item);
  std::optional<source_item> deliver(source_item item);
  bool may_take_over(const copy& c) const;
  bool only_silent() const;
  bool lost() const;
  bool switch_over(const std::string& why);
  void note_arrival(copy& c, const source_item& item) const;

  const source_options options_;
  pulse& progress_;
  std::function<void(end_cause, std::string)> complain_;

  std::mutex mutex_; ///< of what other threads touch: the next four, and the list of copies itself
  std::condition_variable changed_;
  bool stopped_ = false;
  bool news_ = false;
  std::optional<std::vector<std::string>> wanted_;

  std::vector<std::unique_ptr<copy>> copies_; ///< changed by next()'s thread only
  copy* used_ = nullptr;
  std::deque<source_item> pending_;           ///< of the copy in use, from before it was
  std::array<std::optional<ticks>, 2> last_;  ///< dts of the last packet delivered: sound, picture
};

} // namespace weir::media
