// The rows of balancing.md 12 that are about who goes where and how many edges there are, each with its bound: figures hold in 95 of 100 seeds. A run takes 20 of them,
// WEIR_SIM_SEEDS more. docs/2-how-it-works/4-playlists-and-edges.md has the table of all rows.
#include "tests/sim/balancing/farm.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace weir::balancing {
namespace {

/// A figure of each seed. Prints what was seen, since how far a bound is away says more than that it holds.
class figures {
public:
  explicit figures(const char* what) : what_(what) {}
  ~figures() {
    if (!seen_.empty())
      std::printf("%s: median %.4g, of 95 in 100 %.4g, worst %.4g (%zu seeds)\n", what_, at(0.5), of_95(), at(1), seen_.size());
  }
  void add(double value) { seen_.push_back(value); }
  double of_95() const { return at(0.95); } ///< what 95 of 100 do not exceed
private:
  double at(double part) const {
    auto sorted = seen_;
    std::ranges::sort(sorted);
    return sorted[static_cast<std::size_t>(std::max(std::ceil(part * double(sorted.size())) - 1, 0.0))];
  }
  const char* what_;
  std::vector<double> seen_;
};

const std::uint64_t all_seeds = [] {
  auto* wanted = std::getenv("WEIR_SIM_SEEDS");
  return wanted == nullptr ? 20 : std::strtoull(wanted, nullptr, 10);
}();

/// The farms that a row is to hold on, one after the other: 3, 10 and 30 edges, TD 2, 4 and 6 s. Edges report each second, as EDGE does, up to a second late.
farm_options any(std::uint64_t seed) {
  static constexpr std::size_t edges[]{10, 3, 30};
  farm_options o;
  o.capacities.assign(edges[seed % 3], 8 * giga);
  o.target = seconds(2 + 2 * (seed / 3 % 3));
  o.seed = seed;
  return o;
}
std::size_t audience(const farm_options& o, std::uint64_t seed) { return o.capacities.size() == 30 || (o.capacities.size() == 10 && seed % 2 == 0) ? 20'000 : 4000; }

TEST(Balancing, A1_ASteadyAudienceIsSpreadEvenlyAndStays) {
  figures mean("A1 mean max/mean"), worst("A1 worst max/mean"), switches("A1 switches a viewer and minute");
  for (std::uint64_t seed = 1; seed <= all_seeds; ++seed) {
    auto o = any(seed);
    farm f(o);
    f.fill(audience(o, seed));
    f.steady(600s);
    auto& t = f.counted();
    mean.add(t.mean());
    worst.add(t.worst);
    switches.add(t.switches_a_minute());
    EXPECT_EQ(t.changed, 0U) << "A18";
  }
  EXPECT_LE(mean.of_95(), 1.05);
  EXPECT_LE(worst.of_95(), 1.10);
  EXPECT_LE(switches.of_95(), 0.05);
}

/// 400 viewers a second for 20 s upon 4,000, on edges that are four fifths full by then.
farm_options crowd(std::uint64_t seed) {
  farm_options o;
  o.capacities.assign(10, 35 * giga / 10);
  o.seed = seed;
  return o;
}

TEST(Balancing, A2_AFlashCrowdIsSpreadAlthoughReportsAreOld) {
  figures worst("A2 worst max/mean"), fullest("A2 fullest edge");
  for (std::uint64_t seed = 1; seed <= all_seeds; ++seed) {
    farm f(crowd(seed));
    f.fill(4000);
    f.run(20s, 400);
    worst.add(f.counted().worst);
    fullest.add(f.fullest());
    EXPECT_EQ(f.counted().overloaded, 0s) << seed;
    f.steady(60s);
    EXPECT_EQ(f.counted().changed, 0U) << "A18";
  }
  EXPECT_LE(worst.of_95(), 1.10);
}

TEST(Balancing, A3_AFlashCrowdIsSpreadWhileOneDirectorIsHeardLate) {
  figures late("A3 counters 5 s late, worst max/mean"), later("A3 late from the crowd's first second on"), silent("A3 none for 5 s");
  for (std::uint64_t seed = 1; seed <= all_seeds; ++seed)
    for (auto* one : {&late, &later, &silent}) {
      farm f(crowd(seed));
      if (one == &late)
        f.delay_counters(0, 5s);
      f.fill(4000);
      if (one == &later)
        f.delay_counters(0, 5s);
      f.run(5s, 400);
      f.silence(0, one == &silent);
      f.run(5s, 400);
      f.silence(0, false);
      f.run(10s, 400);
      one->add(f.counted().worst);
    }
  EXPECT_LE(late.of_95(), 1.25);
  EXPECT_LE(later.of_95(), 1.25);
  EXPECT_LE(silent.of_95(), 1.25);
}

TEST(Balancing, A4_WhoIsOnADrainedEdgeMovesAndNobodyElse) {
  figures moved("A4 moved, of the edge's share"), twice("A4 buckets that moved twice");
  for (std::uint64_t seed = 1; seed <= all_seeds; ++seed) {
    auto o = any(seed);
    farm f(o);
    f.fill(audience(o, seed));
    const auto share = double(f.viewers()) / double(f.size());
    f.drain(seed % f.size());
    f.steady(60s);
    moved.add(double(f.counted().all_moved()) / share);
    twice.add(double(f.counted().moved_twice()));
    EXPECT_EQ(f.viewers_at(seed % f.size()), 0U) << seed;
    EXPECT_EQ(f.counted().changed, 0U) << "A18";
  }
  EXPECT_LE(moved.of_95(), 1.2);
  EXPECT_EQ(twice.of_95(), 0);
}

TEST(Balancing, A5_ANewEdgeGetsItsShareSlowlyAndNoMore) {
  figures moved("A5 moved, of the new edge's share"), sooner("A5 seconds short of a minute");
  for (std::uint64_t seed = 1; seed <= all_seeds; ++seed) {
    auto o = any(seed);
    farm f(o);
    f.fill(audience(o, seed));
    const auto share = double(f.viewers()) / double(f.size() + 1);
    f.join(8 * giga);
    f.steady(120s);
    auto& t = f.counted();
    moved.add(double(t.all_moved()) / share);
    sooner.add(60 - std::chrono::duration<double>(t.last_move - t.first_move).count());
    EXPECT_GT(double(f.viewers_at(f.size() - 1)), 0.8 * share) << seed;
    EXPECT_EQ(t.changed, 0U) << "A18";
  }
  EXPECT_LE(moved.of_95(), 1.2);
  EXPECT_LE(sooner.of_95(), 0);
}

TEST(Balancing, A6_ASmallerWeightMovesItsShare) {
  figures moved("A6 moved, of the ideal");
  for (std::uint64_t seed = 1; seed <= all_seeds; ++seed) {
    auto o = any(seed);
    farm f(o);
    f.fill(audience(o, seed));
    const auto n = double(f.size());
    const auto ideal = (1 / n - 0.8 / (n - 0.2)) * double(f.viewers());
    f.resize(seed % f.size(), 8 * giga * 8 / 10);
    f.steady(60s);
    moved.add(double(f.counted().all_moved()) / ideal);
  }
  EXPECT_LE(moved.of_95(), 1.5);
}

TEST(Balancing, A7_EdgesOfManySizesAreEquallyFull) {
  figures worst("A7 worst load/capacity max/mean"), mean("A7 mean");
  for (std::uint64_t seed = 1; seed <= all_seeds; ++seed) {
    auto o = any(seed);
    o.capacities = {10 * giga, 10 * giga, 10 * giga, 5 * giga / 2, 5 * giga / 2, 5 * giga / 2, giga, giga, giga, giga};
    farm f(o);
    f.fill(12'000);
    f.steady(300s);
    worst.add(f.counted().worst);
    mean.add(f.counted().mean());
  }
  EXPECT_LE(worst.of_95(), 1.10);
}

scaling::options plan_of(std::uint32_t most = 30) { // as AUTOSCALER makes it of the defaults
  return {.most = most, .serve_out = 30s + 10s};
}

TEST(Balancing, A10_A14_EdgesEndOneAtATimeAndNobodyNoticesWhenTheAudienceHalves) {
  figures late("A14 first drain after, s"), takes("A10 from drain to stop, s");
  double earliest = 1e9;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    farm_options o;
    o.capacities.assign(2, 8 * giga);
    o.target = seconds(2 + 2 * (seed % 3));
    o.seed = seed;
    farm f(o);
    f.scale(plan_of());
    f.fill(4000);
    f.run(120s, 16'000 / 120.0);
    f.steady(900s);
    f.begin_counting();
    const auto before = f.serving(), there = f.viewers();
    f.dismiss(there / 2);
    const auto begun = f.now();
    f.steady(2400s);
    auto& t = f.counted();
    ASSERT_FALSE(t.drains.empty());
    earliest = std::min(earliest, std::chrono::duration<double>(t.drains.front() - begun).count());
    late.add(std::chrono::duration<double>(t.drains.front() - begun).count());
    for (std::size_t n = 1; n < t.drains.size(); ++n)
      EXPECT_GE(t.drains[n] - t.drains[n - 1], 300s);
    for (std::size_t n = 0; n < t.ends.size(); ++n)
      takes.add(std::chrono::duration<double>(t.ends[n] - t.drains[n]).count());
    EXPECT_LT(f.serving(), before);
    EXPECT_EQ(t.errors, 0U);
    EXPECT_EQ(t.overloaded, 0s);
    EXPECT_EQ(t.changed, 0U) << "A18";
  }
  EXPECT_GE(earliest, 300);
}

TEST(Balancing, A13_EnoughEdgesServeWhenTheAudienceDoublesInAMinute) {
  figures took("A13 s from the last of them until N* serve"), refused("A13 refused"), few("A13 offered two rungs");
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    farm_options o;
    o.capacities.assign(2, 8 * giga);
    o.seed = seed;
    farm f(o);
    f.scale(plan_of());
    f.fill(4000);
    f.run(60s, 80);
    f.steady(600s);
    f.begin_counting();
    const auto there = double(f.viewers());
    f.run(60s, there / 60 + there / 600);
    const auto full = f.now();
    const auto wanted = std::ceil(2 * there * double(mean_rate) * 1.1 * (1 + 0.0033 * 60) / (8.0 * giga)) + 1;
    while (double(f.serving()) < wanted && f.now() - full < 300s)
      f.steady(1s);
    took.add(std::chrono::duration<double>(f.now() - full).count());
    f.steady(120s);
    refused.add(double(f.counted().refused));
    few.add(double(f.counted().few_rungs));
    EXPECT_LE(f.counted().overloaded, 10s) << seed;
    EXPECT_TRUE(f.counted().drains.empty());
    EXPECT_EQ(f.counted().changed, 0U) << "A18";
  }
  EXPECT_LE(took.of_95(), 60 + 15);
}

TEST(Balancing, A16_WithoutReportsNoEdgeEndsAndNobodyIsFlooded) {
  figures worst("A16 worst max/mean");
  for (std::uint64_t seed = 1; seed <= all_seeds; ++seed) {
    auto o = any(seed);
    farm f(o);
    f.fill(audience(o, seed));
    f.scale({.least = 1});
    f.steady(60s);
    f.begin_counting();
    f.lose_reports(true);
    f.steady(300s);
    worst.add(f.counted().worst);
    EXPECT_TRUE(f.counted().drains.empty());
  }
  EXPECT_LE(worst.of_95(), 1.25);
}

TEST(Balancing, A20_ADecisionIsCheap) {
  farm_options o;
  o.capacities.assign(100, 8 * giga);
  o.directors = 1;
  farm f(o);
  auto from = std::chrono::steady_clock::now();
  steering::join_admission admission;
  admission.use(std::make_shared<const edge_table>(f.table()));
  std::mt19937_64 random(1);
  for (int n = 0; n < 1000; ++n)
    ASSERT_TRUE(admission.admit(random));
  auto took = std::chrono::duration<double>(std::chrono::steady_clock::now() - from).count() / 1000;
  std::printf("A20 a decision: %.3g us\n", took * 1e6);
  EXPECT_LE(took, 50e-6);
}

} // namespace
} // namespace weir::balancing
