#include "runtime/scaling/plan.hpp"

#include <algorithm>
#include <cmath>
#include <random>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace weir::scaling {
namespace {

using namespace std::chrono_literals;

constexpr std::int64_t giga = 1'000'000'000;
const steady_time zero{1h};
const timestamp noon{std::chrono::sys_days{std::chrono::year{2026} / 11 / 28} + 12h};

edge one(int n, std::int64_t bps, std::uint64_t viewers = 0, bool ours = true) {
  return {.name = edge_name{fmt::format("edge-{:02}", n)}, .phase = edge_phase::serving, .ours = ours, .named = true, .capacity_bps = 8 * giga, .bps = bps, .viewers = viewers};
}
farm of(int edges, std::int64_t bps, std::uint64_t viewers, bool ours = true) {
  farm f;
  for (int n = 1; n <= edges; ++n)
    f.edges.push_back(one(n, bps / edges, viewers / static_cast<std::uint64_t>(edges), ours));
  return f;
}
/// The same farm for a while, a step each five seconds.
decision after(planner& p, const farm& f, steady_time& now, std::chrono::milliseconds time) {
  decision last;
  for (auto end = now + time; now < end; now += 5s)
    last = p.decide(f, now, noon);
  return last;
}

TEST(Plan, ReckonsWithGrowthImbalanceAndTheLossOfAnEdge) {
  planner p({.most = 20});
  auto d = p.decide(of(2, 30 * giga, 10'000), zero, noon); // the example of balancing.md 10
  EXPECT_EQ(d.want, 6u) << d.why;
  EXPECT_EQ(d.start, 4u);
  EXPECT_TRUE(d.drain.empty() && d.end.empty() && d.keep.empty());
  EXPECT_NEAR(double(d.demand_bps), 30e9 * 1.1 * 1.198, 1e8);
  EXPECT_NE(d.why.find("30Gbit/s to 10000 viewers"), std::string::npos) << d.why;
}

TEST(Plan, StartsTheLeastAndNoMoreThanTheMost) {
  EXPECT_EQ(planner({.least = 3}).decide({}, zero, noon).start, 3u);
  auto d = planner({.most = 4}).decide(of(2, 30 * giga, 10'000), zero, noon);
  EXPECT_EQ(d.start, 2u);
  EXPECT_NE(d.why.find("more than 4 are not allowed"), std::string::npos) << d.why;
  d = planner({.most = 4}).decide(of(4, 31 * giga, 10'000), zero, noon);
  EXPECT_FALSE(d.acts());
  EXPECT_NE(d.why.find("not allowed"), std::string::npos) << d.why;
}

TEST(Plan, CountsWhatIsBeingStarted) {
  auto f = of(2, 30 * giga, 10'000);
  f.ordered = 3;
  f.edges.push_back(one(3, 0));
  f.edges.back().phase = edge_phase::starting;
  EXPECT_FALSE(planner({.most = 20}).decide(f, zero, noon).acts());
}

TEST(Plan, LeavesSmallDeviationsAlone) {
  planner p({.most = 20, .imbalance = 0, .growth = 0});
  EXPECT_EQ(p.decide(of(5, 35 * giga, 10'000), zero, noon).start, 0u) << "32 Gbit/s are there without the fifth, and a tenth more is no reason";
  EXPECT_EQ(p.decide(of(5, 36 * giga, 10'000), zero + 5s, noon).start, 1u);
}

TEST(Plan, LooksAheadWhenAnAudienceComesAndNotAtChance) {
  planner p({.most = 60});
  auto now = zero;
  std::mt19937 chance(7);
  std::poisson_distribution<std::uint64_t> crowd(10'000);
  for (int step = 0; step < 200; ++step, now += 5s) {
    auto f = of(7, 30 * giga, 0);
    f.edges[0].viewers = crowd(chance);
    EXPECT_EQ(p.decide(f, now, noon).start, 0u) << step;
  }
  decision d;
  std::uint64_t viewers = 10'000;
  for (int step = 0; step < 3; ++step, now += 5s, viewers += 2000) // 400 come each second
    d = p.decide(of(7, static_cast<std::int64_t>(viewers) * 3'000'000, viewers), now, noon);
  EXPECT_NEAR(double(d.demand_bps), (14'000 + 400 * 60) * 3e6 * 1.1, 2e9) << d.why;
  EXPECT_NE(d.why.find("400 more come each second"), std::string::npos) << d.why;
}

TEST(Plan, IsReadyBeforeAnExpectedAudience) {
  planner p({.most = 20});
  auto f = of(2, giga, 300);
  f.expected = {{.what = "keynote", .from = noon + 10min, .until = noon + 70min, .viewers = 10'000}};
  EXPECT_FALSE(p.decide(f, zero, noon).acts());
  auto d = p.decide(f, zero + 7min, noon + 7min); // a minute to start, two to be early
  EXPECT_EQ(d.want, 6u) << d.why;
  EXPECT_NE(d.why.find("10000 expected for keynote"), std::string::npos) << d.why;
  EXPECT_FALSE(p.decide(f, zero + 71min, noon + 71min).start > 0);
}

TEST(Plan, EndsOneAtATimeAndOnlyAfterAWhile) {
  planner p({});
  auto now = zero;
  auto f = of(6, 4 * giga, 1200);
  f.edges[3].viewers = 1;
  EXPECT_FALSE(after(p, f, now, 295s).acts());
  auto d = after(p, f, now, 10s);
  ASSERT_EQ(d.drain, (std::vector{edge_name{"edge-04"}})) << d.why << "; the one with the fewest viewers";
  EXPECT_EQ(d.want, 5u);
  auto& going = f.edges[3];
  going.phase = edge_phase::draining;
  EXPECT_FALSE(after(p, f, now, 60s).acts()) << "playlists name it";
  going.named = false;
  EXPECT_FALSE(after(p, f, now, 35s).acts()) << "players have such playlists";
  EXPECT_EQ(after(p, f, now, 10s).end, (std::vector{edge_name{"edge-04"}}));
  f.edges.erase(f.edges.begin() + 3);
  d = after(p, f, now, 180s);
  EXPECT_FALSE(d.acts()) << d.why;
  d = after(p, f, now, 15s);
  EXPECT_EQ(d.drain.size(), 1u) << d.why;
}

TEST(Plan, EndsADrainedEdgeThoughItIsNamedWhenItsTimeIsOver) {
  planner p({});
  auto now = zero;
  auto f = of(3, giga, 300);
  f.edges[0].phase = edge_phase::draining;
  EXPECT_TRUE(after(p, f, now, 895s).end.empty());
  EXPECT_EQ(after(p, f, now, 10s).end, (std::vector{edge_name{"edge-01"}}));
}

TEST(Plan, EndsNoMoreThanALittlePartAtOnce) {
  planner p({.most = 100});
  auto now = zero;
  auto d = after(p, of(60, 4 * giga, 6000), now, 305s);
  EXPECT_EQ(d.drain.size(), 6u) << d.why;
}

TEST(Plan, NeverEndsWhatItDidNotStart) {
  planner p({});
  auto now = zero;
  EXPECT_FALSE(after(p, of(6, giga, 300, false), now, 30min).acts());
  auto f = of(3, giga, 300, false);
  f.edges[0].phase = edge_phase::dead;
  f.edges[1].phase = edge_phase::draining; // by hand
  EXPECT_EQ(after(p, f, now, 10min).start, 1u) << "but it makes up for them";
  EXPECT_TRUE(p.decide(f, now, noon).end.empty());
}

TEST(Plan, NeverEndsBlindly) {
  planner p({});
  auto now = zero;
  auto f = of(6, giga, 300);
  for (auto& e : f.edges)
    e.bps.reset();
  EXPECT_FALSE(after(p, f, now, 30min).acts()) << "and starts nothing either: what is not seen is no reason";
  f = of(6, giga, 300);
  EXPECT_FALSE(after(p, f, now, 290s).acts()) << "full edges are remembered";
  f.edges[0].phase = edge_phase::suspect;
  EXPECT_FALSE(after(p, f, now, 30min).acts());
  f.edges[0].phase = edge_phase::serving;
  EXPECT_TRUE(p.decide(f, now, noon).acts());
}

TEST(Plan, TakesADrainBackBeforeItStartsAnother) {
  planner p({.most = 20});
  auto f = of(6, 30 * giga, 10'000);
  f.edges[2].phase = f.edges[3].phase = f.edges[4].phase = edge_phase::draining;
  f.edges[4].ours = false; // whoever drained that one has a reason
  auto d = p.decide(f, zero, noon);
  EXPECT_EQ(d.keep, (std::vector{edge_name{"edge-03"}, edge_name{"edge-04"}})) << d.why;
  EXPECT_EQ(d.want - d.have, 2u + d.start);
}

TEST(Plan, TakesADrainBackThatIsJustOver) {
  planner p({.most = 20});
  auto now = zero;
  auto f = of(3, giga, 300);
  f.edges[2].phase = edge_phase::draining;
  f.edges[2].named = false;
  p.decide(f, now, noon);
  for (auto& e : f.edges)
    e.bps = 5 * giga;
  auto d = p.decide(f, now + 41s, noon);
  EXPECT_EQ(d.keep, (std::vector{edge_name{"edge-03"}})) << d.why;
  EXPECT_TRUE(d.end.empty());
}

TEST(Plan, TakesProbesForNoAudience) {
  auto d = planner({.least = 1}).decide(of(1, 5000, 0), zero, noon);
  EXPECT_FALSE(d.acts()) << d.why;
  EXPECT_EQ(planner({.least = 1}).decide(of(1, giga, 300), zero, noon).start, 1u) << "whoever watches is to survive the loss of an edge";
}

TEST(Plan, ReplacesADeadEdgeAtOnceAndGivesItUpLater) {
  planner p({.most = 20});
  auto now = zero;
  auto f = of(6, 36 * giga, 12'000);
  f.edges[5].phase = edge_phase::dead;
  f.edges[5].bps.reset();
  auto d = p.decide(f, now, noon);
  EXPECT_EQ(d.start, 1u) << d.why;
  EXPECT_TRUE(d.end.empty()) << "it may be back in a moment";
  f.ordered = 1;
  EXPECT_EQ(after(p, f, now, 70s).end, (std::vector{edge_name{"edge-06"}}));
}

TEST(Plan, SaysWhatItCannotReckonWith) {
  planner p({});
  auto f = of(3, 30 * giga, 10'000);
  for (auto& e : f.edges)
    e.capacity_bps = 0;
  auto d = p.decide(f, zero, noon);
  EXPECT_FALSE(d.acts());
  EXPECT_NE(d.why.find("edge.capacity"), std::string::npos) << d.why;
}

TEST(Plan, ReckonsWithTheLossOfTheLargest) {
  planner p({.most = 20, .imbalance = 0, .growth = 0});
  farm f;
  for (int n = 1; n <= 3; ++n)
    f.edges.push_back(one(n, 3 * giga, 1000));
  f.edges[0].capacity_bps = 20 * giga;
  f.edges[1].capacity_bps = f.edges[2].capacity_bps = 2 * giga;
  EXPECT_EQ(p.decide(f, zero, noon).start, 1u) << "4 Gbit/s are left without it, 9 are asked for, and a new one has 8";
}

/// A farm that does what it is told: a start takes a minute, traffic spreads over who serves, a drained edge is named for a minute.
class Farm : public ::testing::Test {
public:
  planner plan{{.most = 30}};
  farm f = of(4, 0, 0);
  steady_time now = zero;
  std::multimap<steady_time, int> comes;
  int made = 4;
  double worst = 0; ///< load of an edge by its capacity
  std::uint32_t drained = 0;
  steady_time first_drain{}, last_drain{};
  std::chrono::milliseconds shortest_pause = 24h;

  std::size_t serving() const {
    return static_cast<std::size_t>(std::ranges::count(f.edges, edge_phase::serving, &edge::phase));
  }
  void step(double viewers) {
    for (; !comes.empty() && comes.begin()->first <= now; comes.erase(comes.begin()))
      f.edges.push_back(one(comes.begin()->second, 0));
    for (auto& e : f.edges) {
      const bool serves = e.phase == edge_phase::serving;
      e.viewers = serves ? static_cast<std::uint64_t>(viewers / double(serving())) : 0;
      e.bps = static_cast<std::int64_t>(e.viewers) * 3'000'000;
      e.named = serves || now - last_drain < 60s;
      worst = std::max(worst, double(*e.bps) / double(e.capacity_bps));
    }
    f.ordered = static_cast<std::uint32_t>(comes.size());
    auto d = plan.decide(f, now, noon + (now - zero));
    for (std::uint32_t n = 0; n < d.start; ++n)
      comes.emplace(now + 60s, ++made);
    for (auto& name : d.keep) {
      auto& e = *std::ranges::find(f.edges, name, &edge::name);
      e.phase = edge_phase::serving;
    }
    for (auto& name : d.drain) {
      auto& e = *std::ranges::find(f.edges, name, &edge::name);
      e.phase = edge_phase::draining;
      if (drained++ > 0)
        shortest_pause = std::min(shortest_pause, std::chrono::duration_cast<milliseconds>(now - last_drain));
      else
        first_drain = now;
      last_drain = now;
    }
    std::erase_if(f.edges, [&](auto& e) { return std::ranges::find(d.end, e.name) != d.end.end(); });
    now += 5s;
  }
  template <class Audience>
  void live_for(std::chrono::seconds time, Audience audience) {
    for (auto begun = now; now < begun + time;)
      step(audience(std::chrono::duration<double>(now - begun).count()));
  }
};

TEST_F(Farm, FollowsAnAudienceThatDoublesWithinAMinute) { // A13
  live_for(600s, [](double) { return 8000.0; });
  EXPECT_EQ(serving(), 5u);
  worst = 0;
  const auto begun = now;
  live_for(60s, [](double t) { return 8000 + 8000 * t / 60; });
  steady_time enough{};
  live_for(300s, [&](double) {
    if (enough == steady_time{} && serving() >= 9)
      enough = now;
    return 16'000.0;
  });
  EXPECT_LE((enough - begun) / 1s, 60 + 60 + 15) << "what 16,000 viewers need, a minute and a quarter after they are there";
  EXPECT_GE(serving(), 9u);
  EXPECT_LE(worst, 1.3) << "while the first of them start";
  EXPECT_EQ(drained, 0u);
}

TEST_F(Farm, FollowsAnAudienceThatLeavesSlowly) { // A14
  live_for(900s, [](double) { return 16'000.0; });
  const auto before = serving();
  const auto begun = now;
  worst = 0;
  live_for(3600s, [](double) { return 8000.0; });
  EXPECT_GE((first_drain - begun) / 1s, 295);
  EXPECT_GE(shortest_pause, 300s);
  EXPECT_LT(serving(), before);
  EXPECT_GE(serving(), 5u);
  EXPECT_LE(serving(), 6u);
  EXPECT_LE(worst, 0.9);
  EXPECT_EQ(std::ranges::count(f.edges, edge_phase::draining, &edge::phase), 0);
}

TEST_F(Farm, ComesToRestUnderChance) {
  std::mt19937 chance(11);
  std::poisson_distribution<int> crowd(8000);
  live_for(1200s, [&](double) { return double(crowd(chance)); });
  const auto made_by_then = made;
  const auto drained_by_then = drained;
  live_for(7200s, [&](double) { return double(crowd(chance)); });
  EXPECT_EQ(made, made_by_then);
  EXPECT_EQ(drained, drained_by_then);
}

} // namespace
} // namespace weir::scaling
