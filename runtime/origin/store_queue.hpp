#pragma once
// A store's calls on threads of its own: whoever owns it never waits for a disk or a network.
//
// Segments have one set of threads, logs and removals another, so that neither waits for the other. What concerns one segment, or one stream's log, is done in
// the order in which it was asked for, one at a time; everything else in any order.
#include "runtime/base/clock.hpp"
#include "runtime/origin/segment_store.hpp"

#include <functional>
#include <memory>

namespace weir::origin {

/// What may wait or be under way at a time.
struct queue_limits {
  std::size_t segments = 1024;
  std::size_t bytes = std::size_t{512} << 20; ///< of segments
  std::size_t removals = 65'536;              ///< more are forgotten: the sweep at the next start finds them
};

class store_queue {
public:
  /// Called once: on a thread of the queue, or at once where the queue is full. Must not block and not throw.
  using done = std::function<void(expected<void>)>;

  /// `threads` (at least 1) write segments, as many again logs and removals.
  store_queue(std::shared_ptr<segment_store> store, unsigned threads, queue_limits limits = {});
  /// close().
  ~store_queue();

  /// What is asked for from now on is done by this store, what waits still by the former one.
  void use(std::shared_ptr<segment_store> store);

  /// Fails as the store does, with `timeout` when no thread came to it before `due`, and with `unavailable` when the queue is full or closed.
  void put(std::string stream, hls::segment_place place, std::shared_ptr<const std::string> bytes, steady_time due, done);
  /// One that still waits is replaced by a newer one of the same stream; both are told how the newer one went. Fails also with `unavailable` (closed).
  void save_log(std::string stream, std::string json, done);
  /// What it cannot remove it logs.
  void remove(std::string stream, hls::segment_place place);

  /// Segments that wait or are under way, and their bytes.
  std::size_t segments() const;
  std::size_t bytes() const;

  /// Takes nothing more, tells `unavailable` for what has not begun, and gives what has begun `patience`. A call that hangs even then is left behind with its
  /// thread, which keeps the store and tells nobody; the queue is done with.
  void close(milliseconds patience = seconds(5));

private:
  struct core;
  std::shared_ptr<core> core_;
};

} // namespace weir::origin
