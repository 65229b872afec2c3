#include "runtime/metrics/metrics.hpp"

#include "runtime/base/log.hpp"
#include "runtime/base/process_load.hpp"
#include "runtime/base/utf8.hpp"
#include "runtime/base/version.hpp"

#include <algorithm>
#include <list>
#include <map>
#include <mutex>
#include <prometheus/text_serializer.h>
#include <sstream>
#include <unistd.h>
#include <variant>
#include <vector>

namespace weir::metrics {
namespace {

constexpr std::array quick_bounds{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5};
constexpr std::array media_bounds{0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 20.0, 30.0, 60.0};

std::span<const double> bounds_of(scale s) { return s == scale::quick ? std::span<const double>(quick_bounds) : media_bounds; }

using label_values = std::vector<std::string>;

label_values clean(std::span<const std::string_view> labels) {
  label_values result;
  for (auto& l : labels)
    result.push_back(to_valid_utf8(l.substr(0, label_limit)));
  return result;
}

// The series of the labels, or the one that all others share when the family is full.
template <class Map>
label_values fold(const Map& series, label_values labels, bool& folded) {
  folded = !labels.empty() && series.size() >= series_limit && !series.contains(labels);
  return folded ? label_values(labels.size(), "other") : labels;
}

std::vector<prometheus::ClientMetric::Label> named(family f, const label_values& values) {
  std::vector<prometheus::ClientMetric::Label> result;
  for (std::size_t i = 0; i < values.size(); ++i)
    result.push_back({std::string(describe(f).labels[i]), values[i]});
  return result;
}

prometheus::ClientMetric sample(family f, double value) {
  prometheus::ClientMetric m;
  (describe(f).type == kind::counter ? m.counter.value : m.gauge.value) = value;
  return m;
}

prometheus::ClientMetric sample(family f, const tally& counted) {
  prometheus::ClientMetric m;
  auto bounds = bounds_of(describe(f).buckets);
  for (std::size_t i = 0; i < bounds.size(); ++i) {
    m.histogram.sample_count += counted.buckets[i];
    m.histogram.bucket.push_back({m.histogram.sample_count, bounds[i]});
  }
  m.histogram.sample_count += counted.buckets.back();
  m.histogram.sample_sum = counted.sum;
  return m;
}

// Of the process, as what is read from /proc.
std::atomic<int> last_reload_taken{-1}; ///< -1: its configuration was not read from a file
std::atomic<double> last_taken_at{0};

class collected final : public scrape {
public:
  std::map<family, std::map<label_values, double>> values;
  std::map<family, std::map<label_values, tally>> tallies;
  std::map<family, std::uint64_t> folded;

private:
  // Only what is folded adds up; a collector that names a series twice means the second value.
  template <class T>
  std::pair<T*, bool> place(std::map<label_values, T>& series, family f, std::span<const std::string_view> labels) {
    bool over = false;
    auto wanted = fold(series, clean(labels), over);
    if (over)
      ++folded[f];
    return {&series[wanted], over};
  }
  void put(family f, double value, std::span<const std::string_view> labels) override {
    auto [kept, over] = place(values[f], f, labels);
    *kept = over ? *kept + value : value;
  }
  void put(family f, const tally& counted, std::span<const std::string_view> labels) override {
    if (counted.buckets.size() != bounds_of(describe(f).buckets).size() + 1)
      return;
    auto [kept, over] = place(tallies[f], f, labels);
    if (!over || kept->buckets.empty())
      *kept = {std::vector<std::uint64_t>(counted.buckets.size()), 0};
    for (std::size_t i = 0; i < counted.buckets.size(); ++i)
      kept->buckets[i] += counted.buckets[i];
    kept->sum += counted.sum;
  }
};

void collect_own(scrape& out) {
  out.set<family::build_info>(1, version(), commit());
  if (auto load = read_process_load(getpid())) {
    out.set<family::process_cpu_seconds>(static_cast<double>(load->cpu_milliseconds) / 1000);
    out.set<family::process_resident_memory>(static_cast<double>(load->resident.bytes));
    out.set<family::process_virtual_memory>(static_cast<double>(load->virtual_size.bytes));
    out.set<family::process_start_time>(std::chrono::duration<double>(load->started.time_since_epoch()).count());
  }
  if (auto files = count_open_files())
    out.set<family::process_open_files>(*files);
  if (auto taken = last_reload_taken.load(); taken >= 0)
    out.set<family::config_reload_success>(taken);
  if (auto at = last_taken_at.load(); at > 0)
    out.set<family::config_reload_time>(at);
  for (auto& c : log::counts())
    if (c.severity >= log::level::error)
      out.set<family::errors>(static_cast<double>(c.lines), c.event, c.component);
}

} // namespace

histogram::histogram(scale s) : bounds_(bounds_of(s)) { static_assert(quick_bounds.size() < 16 && media_bounds.size() < 16); }

void histogram::observe(double v) noexcept {
  auto at = static_cast<std::size_t>(std::lower_bound(bounds_.begin(), bounds_.end(), v) - bounds_.begin());
  buckets_[at].fetch_add(1, std::memory_order_relaxed);
  sum_.fetch_add(v, std::memory_order_relaxed);
}

tally histogram::now() const {
  tally result;
  // The buckets first: a value that comes meanwhile is then missing in all of them rather than in some.
  for (std::size_t i = 0; i <= bounds_.size(); ++i)
    result.buckets.push_back(in_bucket(i));
  result.sum = sum();
  return result;
}

std::uint64_t histogram::count() const noexcept {
  std::uint64_t n = 0;
  for (auto& b : buckets_)
    n += b.load(std::memory_order_relaxed);
  return n;
}

void note_reload(bool taken, std::chrono::system_clock::time_point now) noexcept {
  last_reload_taken = taken;
  if (taken)
    last_taken_at = std::chrono::duration<double>(now.time_since_epoch()).count();
}

struct registry::state {
  using series = std::variant<std::unique_ptr<metrics::counter>, std::unique_ptr<metrics::gauge>, std::unique_ptr<metrics::histogram>>;
  mutable std::mutex mutex;
  std::map<family, std::map<label_values, series>> families;
  // Held by their owners; a scrape calls those that are still alive.
  std::list<std::weak_ptr<std::function<void(scrape&)>>> collectors;

  series make(const description& d) {
    switch (d.type) {
      case kind::counter: return std::make_unique<metrics::counter>();
      case kind::gauge: return std::make_unique<metrics::gauge>();
      case kind::histogram: break;
    }
    return std::make_unique<metrics::histogram>(d.buckets);
  }

  series& find(family f, label_values labels) {
    auto& all = families[f];
    bool folded = false;
    labels = fold(all, std::move(labels), folded);
    if (folded)
      std::get<std::unique_ptr<metrics::counter>>(find(family::series_folded, {std::string(describe(f).name)}))->add();
    auto found = all.find(labels);
    return found != all.end() ? found->second : all.emplace(std::move(labels), make(describe(f))).first->second;
  }
};

registry::registry() : state_(std::make_unique<state>()) {}
registry::~registry() = default;

void* registry::find(family f, std::span<const std::string_view> labels) {
  auto wanted = clean(labels);
  std::lock_guard lock(state_->mutex);
  return std::visit([](auto& x) -> void* { return x.get(); }, state_->find(f, std::move(wanted)));
}

std::shared_ptr<void> registry::collect_with(std::function<void(scrape&)> f) {
  auto kept = std::make_shared<std::function<void(scrape&)>>(std::move(f));
  std::lock_guard lock(state_->mutex);
  state_->collectors.remove_if([](auto& c) { return c.expired(); });
  state_->collectors.push_back(kept);
  return kept;
}

std::string registry::text() const {
  std::vector<std::shared_ptr<std::function<void(scrape&)>>> collectors;
  {
    std::lock_guard lock(state_->mutex);
    for (auto& c : state_->collectors)
      if (auto alive = c.lock())
        collectors.push_back(std::move(alive));
  }
  collected now;
  collect_own(now);
  for (auto& c : collectors) // without the lock: a collector may look up metrics
    (*c)(now);

  std::vector<prometheus::MetricFamily> result;
  {
    std::lock_guard lock(state_->mutex);
    for (auto& [f, n] : now.folded)
      std::get<std::unique_ptr<metrics::counter>>(state_->find(family::series_folded, {std::string(describe(f).name)}))->add(static_cast<double>(n));
    for (auto& d : table) {
      prometheus::MetricFamily out{std::string(d.name), std::string(d.help), {}, {}};
      out.type = d.type == kind::counter ? prometheus::MetricType::Counter : d.type == kind::gauge ? prometheus::MetricType::Gauge : prometheus::MetricType::Histogram;
      auto& kept = state_->families[d.id];
      for (auto& [labels, one] : kept) {
        out.metric.push_back(d.type == kind::counter ? sample(d.id, std::get<std::unique_ptr<metrics::counter>>(one)->value())
                             : d.type == kind::gauge ? sample(d.id, std::get<std::unique_ptr<metrics::gauge>>(one)->value())
                                                     : sample(d.id, std::get<std::unique_ptr<metrics::histogram>>(one)->now()));
        out.metric.back().label = named(d.id, labels);
      }
      for (auto& [labels, value] : now.values[d.id])
        if (!kept.contains(labels)) { // a series must not stand twice; the one that is counted here wins
          out.metric.push_back(sample(d.id, value));
          out.metric.back().label = named(d.id, labels);
        }
      for (auto& [labels, counted] : now.tallies[d.id])
        if (!kept.contains(labels)) {
          out.metric.push_back(sample(d.id, counted));
          out.metric.back().label = named(d.id, labels);
        }
      if (!out.metric.empty())
        result.push_back(std::move(out));
    }
  }
  std::ostringstream text;
  prometheus::TextSerializer().Serialize(text, result);
  return text.str();
}

} // namespace weir::metrics
