#include "runtime/placing/placing.hpp"

#include <algorithm>
#include <gtest/gtest.h>

namespace weir::placing {
namespace {

class Placement : public ::testing::Test {
public:
  std::vector<node_status> farm;

  node_status& node(std::string name, std::int64_t granted, std::int64_t capacity = 4000) {
    node_status n;
    n.spec.name = node_name{std::move(name)};
    n.spec.task_types = {"hls"};
    n.spec.capacity_milli = capacity;
    n.granted_milli = granted;
    n.phase = node_phase::ready;
    return farm.emplace_back(std::move(n));
  }
  std::vector<const node_status*> nodes() const {
    std::vector<const node_status*> all;
    for (auto& n : farm)
      all.push_back(&n);
    return all;
  }
  std::string chosen(const wish& w) const {
    auto c = choose(nodes(), w);
    return c.node ? c.node->spec.name.value : "";
  }
  static wish hls(std::int64_t cost = 1000) {
    wish w;
    w.type = "hls";
    w.cost_milli = cost;
    return w;
  }
};

TEST_F(Placement, TakesTheEmptiestByWhatIsGranted) {
  node("a", 2000);
  node("b", 1000);
  node("c", 1500, 8000);
  auto c = choose(nodes(), hls());
  ASSERT_NE(c.node, nullptr);
  EXPECT_EQ(c.node->spec.name.value, "c");
  EXPECT_EQ(c.why, "6.5 of 8.0 cores free, it needs 1.00; a is 50 % full, b is 25 % full");
}

TEST_F(Placement, NeedsLabels) {
  node("a", 0);
  node("b", 2000).spec.labels = {{"gpu", "nvenc"}, {"room", "main-hall"}};
  auto w = hls();
  w.needs = {"gpu"};
  EXPECT_EQ(chosen(w), "b");
  w.needs = {"gpu=nvenc", "room=main-hall"};
  EXPECT_EQ(chosen(w), "b");
  w.needs = {"gpu=qsv"};
  auto none = choose(nodes(), w);
  EXPECT_EQ(none.node, nullptr);
  EXPECT_EQ(none.why, "no node can take it: a has no label gpu=qsv, b has no label gpu=qsv");
}

TEST_F(Placement, ALabelMayBeEmptyOrHoldAnEqualsSign) {
  labels l{{"dark", ""}, {"a", "b=c"}};
  EXPECT_TRUE(has_label(l, "dark"));
  EXPECT_TRUE(has_label(l, "dark="));
  EXPECT_FALSE(has_label(l, "dark=yes"));
  EXPECT_TRUE(has_label(l, "a=b=c"));
  EXPECT_FALSE(has_label(l, "b"));
  for (auto* bad : {"", "=x", "a b", "a\nb"})
    EXPECT_FALSE(check_need(bad)) << bad;
  EXPECT_FALSE(check_need(std::string(200, 'x')));
  EXPECT_TRUE(check_need("room=main-hall"));
}

TEST_F(Placement, PrefersTheNodeOfTheRtmpServerUnlessItIsMuchFuller) {
  node("a", 0);
  node("b", 400);
  auto w = hls();
  w.near = {node_name{"b"}};
  EXPECT_EQ(chosen(w), "b");
  EXPECT_NE(choose(nodes(), w).why.find("near the RTMP server"), std::string::npos);
  farm[1].granted_milli = 1000;
  EXPECT_EQ(chosen(w), "a");
}

TEST_F(Placement, AvoidsANodeOnlyWhereThereIsAnotherAndNeverBringsTwoRunsTogether) {
  node("a", 0);
  node("b", 3000);
  auto w = hls();
  w.avoid = node_name{"a"};
  EXPECT_EQ(chosen(w), "b");
  farm[1].phase = node_phase::cordoned;
  EXPECT_EQ(chosen(w), "a");
  w.apart_from = node_name{"a"};
  EXPECT_EQ(chosen(w), "");
  EXPECT_EQ(choose(nodes(), w).why, "no node can take it: a has the other run, b is cordoned");
}

TEST_F(Placement, ARunLargerThanAnyNodeRunsAlone) {
  node("a", 100);
  node("b", 0);
  EXPECT_EQ(chosen(hls(9000)), "b");
  farm[1].granted_milli = 100;
  EXPECT_EQ(chosen(hls(9000)), "");
  EXPECT_NE(choose(nodes(), hls(9000)).why.find("a has 0.1 of 4.0 cores granted, 9.0 are needed"), std::string::npos);
}

TEST_F(Placement, SaysThatNobodyOffersIt) {
  node("a", 0);
  auto w = hls();
  w.type = "record";
  EXPECT_EQ(choose(nodes(), w).why, "no node offers record");
}

TEST_F(Placement, NamesFewOfManyNodes) {
  for (int i = 0; i < 200; ++i)
    node("n" + std::to_string(i), 100 + i);
  auto why = choose(nodes(), hls()).why;
  EXPECT_LT(why.size(), 200u);
  EXPECT_NE(why.find("and 195 more"), std::string::npos) << why;
}

class Rebalance : public Placement {
public:
  std::vector<run> runs;
  void has(std::string seat, std::string on, std::int64_t cost = 1000) { runs.push_back({task_id{std::move(seat)}, node_name{std::move(on)}, hls(cost)}); }
};

TEST_F(Rebalance, RelievesACrowdedNodeByTheRunThatEvensMost) {
  node("a", 4000);
  node("b", 0);
  has("small", "a", 500);
  has("right", "a", 2000);
  has("large", "a", 3800);
  auto m = rebalance(nodes(), runs);
  ASSERT_TRUE(m);
  EXPECT_EQ(m->seat.value, "right");
  EXPECT_EQ(m->to.value, "b");
  EXPECT_EQ(m->why, "node a is 100 % full and b 0 %: afterwards neither is above 50 %");
}

TEST_F(Rebalance, LeavesWhatIsNotWorthAHandOver) {
  node("a", 2900);
  node("b", 0);
  has("t", "a", 1500);
  EXPECT_FALSE(rebalance(nodes(), runs)) << "not crowded";
  farm[0].granted_milli = 4000;
  EXPECT_TRUE(rebalance(nodes(), runs));
  farm[1].granted_milli = 1600;
  EXPECT_FALSE(rebalance(nodes(), runs)) << "the other would be as full";
  farm[1].granted_milli = 0;
  farm[1].phase = node_phase::draining;
  EXPECT_FALSE(rebalance(nodes(), runs));
}

TEST_F(Rebalance, AfterTheMoveNothingIsLeftToMove) {
  node("a", 4000);
  node("b", 0);
  node("c", 0);
  for (int i = 0; i < 8; ++i)
    has("t" + std::to_string(i), "a", 500);
  int moves = 0;
  for (std::optional<move> m; (m = rebalance(nodes(), runs)); ++moves) {
    ASSERT_LT(moves, 20) << "runs go to and fro";
    auto r = std::ranges::find(runs, m->seat, &run::seat);
    for (auto& n : farm)
      n.granted_milli += n.spec.name == m->to ? r->asks.cost_milli : n.spec.name == r->node ? -r->asks.cost_milli : 0;
    r->node = m->to;
  }
  EXPECT_LE(farm[0].granted_milli, 4000 * crowded + 1000);
}

TEST_F(Rebalance, KeepsToWhatARunAsks) {
  node("a", 4000);
  node("b", 0);
  has("t", "a", 2000);
  runs[0].asks.needs = {"gpu"};
  EXPECT_FALSE(rebalance(nodes(), runs));
  runs[0].asks.needs.clear();
  runs[0].asks.apart_from = node_name{"b"};
  EXPECT_FALSE(rebalance(nodes(), runs));
}

} // namespace
} // namespace weir::placing
