#pragma once
// Bytes of parts (low latency), for whoever fetches them: those that are listed, those that were for a while, and the next one, for which people may wait.
// Shared by the ORIGIN, which puts parts there and says what viewers see, and the threads of HTTP.
#include "runtime/base/clock.hpp"
#include "runtime/hls/live_parts.hpp"
#include "runtime/hls/stream_log.hpp"
#include "schemas/error.hpp"

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

namespace weir::origin {

struct part_id {
  std::string stream;
  hls::part_place place;
  auto operator<=>(const part_id&) const = default;
};

struct shelf_options {
  std::size_t bytes = std::size_t{512} << 20; ///< of all parts
  std::size_t waiters = 4'096;                ///< an edge asks once for each part
};

class part_shelf {
public:
  using bytes_ptr = std::shared_ptr<const std::string>;
  /// Called once, in whichever thread comes to it, and without a lock.
  using answer = std::function<void(expected<bytes_ptr>)>;

  explicit part_shelf(shelf_options options = {}) : options_(options) {}

  /// Answers who waits for it. A part that is there already stays as it is. False: there is no room.
  bool put(part_id id, bytes_ptr bytes, steady_time now);
  /// What viewers of a stream see now. Who waits for a part that will not come any more is answered; what is listed no longer goes three target durations later.
  void follow(const hls::stream_log& shown, steady_time now);
  /// The part, at once or, where it is the one that comes next or one behind it, when it comes; for three target durations at most.
  /// Fails: not_found (also when its segment was listed without it), timeout, unavailable (too many wait; the shelf was cleared).
  void get(const part_id& id, steady_time now, answer then);
  /// A few times a second: retention, and who has waited for long enough.
  void tick(steady_time now);
  /// Another origin has the streams, or this one ends: nothing is there and nothing is awaited any more.
  void clear();

  std::size_t parts() const;
  std::size_t bytes() const;
  std::size_t waiting() const;

private:
  struct item {
    bytes_ptr bytes;
    steady_time due{};
  };
  struct waiter {
    steady_time until{};
    answer then;
  };
  /// Which parts of a stream are still to come.
  struct expectation {
    std::uint64_t instance = 0;
    lease_epoch epoch = 0;
    std::uint64_t msn = 0; ///< of the hint
    std::uint32_t part = 0;
    std::set<std::string, std::less<>> rungs;
    milliseconds patience{};
  };
  bool may_come(const part_id& id) const;
  std::map<part_id, std::vector<waiter>>::iterator take(std::map<part_id, std::vector<waiter>>::iterator at, std::vector<answer>& into);

  const shelf_options options_;
  mutable std::mutex guard_;
  std::map<part_id, item> items_;
  std::map<part_id, std::vector<waiter>> waiters_;
  std::map<std::string, expectation> expected_; ///< by stream
  std::size_t bytes_ = 0, waiting_ = 0;
};

} // namespace weir::origin
