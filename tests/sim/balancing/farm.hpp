#pragma once
// A farm of edges with its audience on a simulated clock (balancing.md 12): viewers who come and go, edges that carry, report, drain and die, an origin that lists
// segments, directors that admit viewers by what they hear of edges and of each other. All decisions are those of production: join_admission, edge_set, planner.
#include "actors/edge_set.hpp"
#include "runtime/scaling/plan.hpp"
#include "runtime/steering/joins.hpp"

#include <array>
#include <chrono>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace weir::balancing {

using namespace std::chrono_literals;
using std::chrono::seconds;

inline constexpr std::int64_t giga = 1'000'000'000;
/// Ladder, bit/s, and what a viewer takes of it in the mean.
inline constexpr std::array<std::int64_t, 5> rates{400'000, 800'000, 1'500'000, 3'000'000, 6'000'000};
inline constexpr std::int64_t mean_rate = 2'340'000;

struct farm_options {
  std::vector<std::int64_t> capacities = std::vector<std::int64_t>(10, 8 * giga); ///< of each edge, bit/s
  std::size_t directors = 2;
  seconds target{4};        ///< TD
  seconds window{60};       ///< of playlists
  double lost = 0.01;       ///< part of the reports
  seconds stays{600};       ///< a viewer, in the mean; 0: for ever
  director_options steering;
  std::uint64_t seed = 1;
};

/// One second a step. Edges are numbered from 0 in the order in which they came.
class farm {
public:
  using time_point = edge_set::time_point;

  explicit farm(farm_options options);

  void run(seconds time, double joins_a_second = 0);
  /// So many viewers within 40 s, and half a minute to settle.
  void fill(std::size_t viewers);
  /// As many come as go, in the mean.
  void steady(seconds time) { run(time, double(viewers()) / double(options_.stays.count())); }

  // What may happen to it.
  /// So many viewers leave at once.
  void dismiss(std::size_t many);
  void join(std::int64_t capacity_bps, bool ours = false);
  void resize(std::size_t edge, std::int64_t capacity_bps);
  void drain(std::size_t edge, bool draining = true);
  void lose_reports(bool lost) { reports_lost_ = lost; }
  /// Counters of that director come so much later to the others; `silent`: not at all until it is false again, and then those of that time together.
  void delay_counters(std::size_t director, seconds by) { directors_[director].delay = by; }
  void silence(std::size_t director, bool silent) { directors_[director].silent = silent; }
  /// A plan decides how many edges there are from now on, each 5 s; an edge that it orders serves after options.boot.
  void scale(const scaling::options& plan);

  // What it looks like now.
  std::size_t viewers() const { return audience_.size(); }
  std::size_t viewers_at(std::size_t edge) const;
  std::size_t size() const { return edges_.size(); }
  edge_phase phase(std::size_t edge) const;
  std::size_t serving() const;
  const edge_table& table() const { return set_.table(); }
  /// Load of the fullest edge by its capacity, relative to that of all that serve.
  double imbalance() const;
  /// Of what edges can carry.
  double fullest() const;
  time_point now() const { return now_; }

  // What happened since begin_counting().
  struct tally {
    double worst = 0;                 ///< of imbalance()
    double sum = 0;                   ///< of it
    std::size_t steps = 0;
    std::uint64_t switches = 0;       ///< viewers whose edge became another one, each time
    double viewer_seconds = 0;
    std::size_t refused = 0;          ///< viewers for whom there was no place
    std::size_t few_rungs = 0;        ///< who were offered the two cheapest rungs
    std::array<std::uint8_t, steering::bucket_count> moves{}; ///< of each bucket
    std::vector<std::size_t> moved;   ///< viewers, by edge that they came to
    time_point first_move{}, last_move{};
    seconds overloaded{};             ///< longest time that one edge had more to carry than it can
    std::size_t errors = 0;           ///< seconds in which a playlist named an edge that was ended, or somebody still fetched there
    std::size_t changed = 0;          ///< listed entries whose address changed for a viewer (A18)
    std::vector<time_point> drains, ends; ///< by the plan

    double mean() const { return sum / double(steps); }
    double switches_a_minute() const { return double(switches) / (viewer_seconds / 60); }
    std::uint64_t all_moved() const;
    std::size_t moved_twice() const; ///< buckets
  };
  void begin_counting();
  const tally& counted() const { return tally_; }

private:
  struct machine {
    edge_spec spec;
    bool ended = false;
    double load = 0;
    std::uint64_t sequence = 0;
    std::uint32_t good = 0;            ///< probes in a row, of each observer
    edge_load reported;                ///< that the coordinator and the directors have
    std::deque<std::pair<time_point, edge_load>> under_way;
    std::deque<std::int64_t> measured; ///< the last ten, for the plan
    time_point heard{};
    seconds over{};
  };
  struct viewer {
    std::uint32_t rate = 0;   ///< bit/s
    std::uint16_t bucket = 0;
    edge_epoch joined = 0;
  };
  /// Viewers of a bucket. Who joined before its last move fetches what is listed already from the former edge.
  struct seats {
    std::uint32_t viewers = 0;
    double bps = 0, former_bps = 0;
    std::size_t edge = 0, former = 0;
    edge_epoch moved = 0;
    time_point at{};
  };
  struct decider {
    steering::join_admission admission;
    std::map<edge_name, std::uint32_t> joins;    ///< of this second
    std::deque<std::pair<time_point, std::map<edge_name, std::uint32_t>>> told; ///< and when the others hear of it
    time_point heard{};                          ///< by the others
    seconds delay{1};
    bool silent = false;
    std::map<edge_name, std::uint64_t> reported;
  };
  struct entry {
    std::uint64_t msn = 0;
    edge_epoch edges = 0;
    time_point listed{};
  };
  void step(double joins_a_second);
  void arrive();
  void leave();
  void carry();
  void report();
  void exchange_counters();
  void list();
  void coordinate();
  void use_table();
  void tell_directors();
  void follow_plan();
  void count();
  void check_addresses();
  std::size_t index_of(const edge_name& name) const { return by_name_.at(name); }
  double part_moved(const seats& b) const;

  farm_options options_;
  std::mt19937_64 random_;
  time_point now_{std::chrono::hours(1)};
  std::vector<machine> edges_;
  std::map<edge_name, std::size_t> by_name_;
  std::vector<viewer> audience_;
  std::vector<seats> buckets_{steering::bucket_count};
  std::vector<decider> directors_;
  edge_set set_;
  steering::table_history tables_;
  std::deque<entry> listed_;
  edge_epoch oldest_named_ = edge_set::no_epoch; ///< that the origin told last
  std::map<std::pair<std::uint32_t, edge_epoch>, std::map<std::uint64_t, std::string>> seen_; ///< what some viewers saw: bucket, joined → address of each entry
  std::optional<scaling::planner> plan_;
  scaling::options plan_options_;
  std::multimap<time_point, std::int64_t> ordered_; ///< when it comes, capacity
  tally tally_;
  bool reports_lost_ = false;
};

} // namespace weir::balancing
