#pragma once
// What every driver of segment_store must bear: a world is a store with the faults that can befall it. A new driver brings a world and stands in conformance_test's list.
#include "runtime/origin/segment_store.hpp"

#include <functional>
#include <memory>
#include <string>

namespace weir::origin {

class store_world {
public:
  virtual ~store_world() = default;

  /// Another handle of the same store, as another process or a later start has it. Nothing is claimed yet.
  virtual std::shared_ptr<segment_store> open() = 0;
  /// Waits until what was acknowledged is everywhere where it is going to be.
  virtual void settle() {}
  /// Before each fork: nobody has a handle. From then on those that are opened, here or in a child, are of one writer that begins anew.
  virtual void stand_apart() {}
  /// Takes all room; what is put now fails with is_full(). False: this machine does not let us.
  virtual bool fill() = 0;
  /// From now on each put takes at least so long; 0: as usual.
  virtual void slow(std::chrono::milliseconds each) = 0;
  /// From now on half of what it stands on is not reached. False: it stands on one thing only.
  virtual bool cut_half() = 0;
  /// Takes back fill(), slow() and cut_half().
  virtual void mend() = 0;
  /// Leaves what a writer that dies within a put, and one within save_log, may leave. Returns how many pieces a sweep should find.
  virtual std::uint64_t leave_halves() = 0;
};

struct driver {
  std::string name;
  std::function<std::unique_ptr<store_world>()> make;
};
inline void PrintTo(const driver& d, std::ostream* out) { *out << d.name; }

/// Waits until no other thread is left in this process, but the log's: one that ends may hold a lock that a forked child would wait for. False: one goes on.
bool comes_alone();

std::unique_ptr<store_world> make_fs_world();
std::unique_ptr<store_world> make_replicated_world();
std::unique_ptr<store_world> make_s3_world();

} // namespace weir::origin
