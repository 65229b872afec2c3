#pragma once
// A value that one thread replaces now and then and many read all the time.
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>

namespace weir {

/// Null until something was published. Thread-safe.
template <class T>
class read_mostly {
public:
  void publish(std::shared_ptr<const T> value) {
    {
      std::lock_guard lock(guard_);
      value_ = std::move(value);
    }
    // Counted over all values of this type: a thread that reads two of them does not take one for the other.
    static std::atomic<std::uint64_t> publications{0};
    version_.store(publications.fetch_add(1, std::memory_order_relaxed) + 1, std::memory_order_release);
  }

  /// What was published last, valid until this thread reads a value of this type again. It costs one atomic load, not a reference count that all
  /// threads fight for: each thread keeps what it read last, which may therefore live on until that thread reads again or ends.
  const T* read() const {
    thread_local std::uint64_t version = 0;
    thread_local std::shared_ptr<const T> mine;
    const auto now = version_.load(std::memory_order_acquire);
    if (now == 0)
      return nullptr;
    if (version != now) {
      std::lock_guard lock(guard_);
      mine = value_;
      version = now;
    }
    return mine.get();
  }

private:
  std::atomic<std::uint64_t> version_{0};
  mutable std::mutex guard_;
  std::shared_ptr<const T> value_;
};

} // namespace weir
