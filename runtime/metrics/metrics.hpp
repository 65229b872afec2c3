#pragma once
// Numbers for Prometheus. Families stand in families.hpp; a wrong type or number of labels does not compile.
//
//   auto& accepted = registry.counter<family::hook_decisions>("srs", "publish", "accepted"); // looked up once, lives as long as the registry
//   accepted.add();                                                                          // one atomic instruction
//   registry.collect_with([this](auto& out) {                                                // what is known elsewhere, asked at each scrape
//     out.template set<family::streams>(live, "live");
//   });
//   registry.text();                                                                         // GET /metrics
//
// A family holds at most `series_limit` series; further label values share the series "other".
#include "runtime/metrics/families.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weir::metrics {

inline constexpr std::size_t series_limit = 500;
inline constexpr std::size_t label_limit = 128; ///< bytes of a label value; the rest is cut off
inline constexpr std::string_view content_type = "text/plain; version=0.0.4; charset=utf-8";

/// Only grows.
class counter {
public:
  void add(double n = 1) noexcept { value_.fetch_add(n > 0 ? n : 0, std::memory_order_relaxed); }
  double value() const noexcept { return value_.load(std::memory_order_relaxed); }

private:
  std::atomic<double> value_{0};
};

/// Goes up and down.
class gauge {
public:
  void set(double v) noexcept { value_.store(v, std::memory_order_relaxed); }
  void add(double n) noexcept { value_.fetch_add(n, std::memory_order_relaxed); }
  double value() const noexcept { return value_.load(std::memory_order_relaxed); }

private:
  std::atomic<double> value_{0};
};

/// A histogram as of one moment.
struct tally {
  std::vector<std::uint64_t> buckets; ///< values in each, the last one above all bounds
  double sum = 0;
};

/// Counts values by size.
class histogram {
public:
  explicit histogram(scale s);
  void observe(double v) noexcept;
  std::uint64_t count() const noexcept;
  double sum() const noexcept { return sum_.load(std::memory_order_relaxed); }
  std::span<const double> bounds() const noexcept { return bounds_; }
  std::uint64_t in_bucket(std::size_t i) const noexcept { return buckets_[i].load(std::memory_order_relaxed); } ///< i == bounds().size(): above all bounds
  tally now() const;

private:
  std::span<const double> bounds_;
  std::array<std::atomic<std::uint64_t>, 16> buckets_{};
  std::atomic<double> sum_{0};
};

/// Takes the values of one scrape. Series that a collector no longer names are gone.
class scrape {
public:
  /// Of a gauge, or the total of a counter that is counted elsewhere.
  template <family F, class... L>
  void set(double value, const L&... labels) {
    static_assert(describe(F).type != kind::histogram, "a histogram has more than one value: tell()");
    static_assert(sizeof...(L) == describe(F).label_count(), "as many label values as the family has labels");
    std::array<std::string_view, sizeof...(L)> values{std::string_view(labels)...};
    put(F, value, values);
  }
  /// A histogram that is counted elsewhere, by the same bounds; with another number of buckets it says nothing.
  template <family F, class... L>
  void tell(const tally& counted, const L&... labels) {
    static_assert(describe(F).type == kind::histogram, "not a histogram");
    static_assert(sizeof...(L) == describe(F).label_count(), "as many label values as the family has labels");
    std::array<std::string_view, sizeof...(L)> values{std::string_view(labels)...};
    put(F, counted, values);
  }

  virtual ~scrape() = default;

private:
  virtual void put(family f, double value, std::span<const std::string_view> labels) = 0;
  virtual void put(family f, const tally& counted, std::span<const std::string_view> labels) = 0;
};

/// Notes that this process read its configuration, at its start or again, and whether it was taken. Every registry tells it.
void note_reload(bool taken, std::chrono::system_clock::time_point now) noexcept;

class registry {
public:
  registry();
  ~registry();
  registry(const registry&) = delete;
  registry& operator=(const registry&) = delete;

  template <family F, class... L>
  metrics::counter& counter(const L&... labels) {
    static_assert(describe(F).type == kind::counter, "not a counter");
    return *static_cast<metrics::counter*>(find<F>(labels...));
  }
  template <family F, class... L>
  metrics::gauge& gauge(const L&... labels) {
    static_assert(describe(F).type == kind::gauge, "not a gauge");
    return *static_cast<metrics::gauge*>(find<F>(labels...));
  }
  template <family F, class... L>
  metrics::histogram& histogram(const L&... labels) {
    static_assert(describe(F).type == kind::histogram, "not a histogram");
    return *static_cast<metrics::histogram*>(find<F>(labels...));
  }

  /// The function is called by each text(), on its thread, until the returned handle is destroyed. The handle must not outlive the registry.
  [[nodiscard]] std::shared_ptr<void> collect_with(std::function<void(scrape&)> f);

  /// Prometheus text format 0.0.4, with the metrics of the process, the build and the log.
  std::string text() const;

private:
  template <family F, class... L>
  void* find(const L&... labels) {
    static_assert(sizeof...(L) == describe(F).label_count(), "as many label values as the family has labels");
    std::array<std::string_view, sizeof...(L)> values{std::string_view(labels)...};
    return find(F, values);
  }
  void* find(family f, std::span<const std::string_view> labels);
  struct state;
  std::unique_ptr<state> state_;
};

} // namespace weir::metrics
