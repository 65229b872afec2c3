#include "actors/edge_set.hpp"

#include <gtest/gtest.h>
#include <set>

namespace weir::testing {
namespace {

using namespace std::chrono_literals;
using time_point = edge_set::time_point;
using steering::edge_view;

class EdgeSet : public ::testing::Test {
public:
  edge_set set;
  time_point t{std::chrono::hours(1)};

  void add(const std::string& name) { set.add({.name = edge_name{name}, .node = {}, .url = "http://" + name + ":80", .capacity_bps = 1'000'000'000}, t); }
  /// Each edge is seen as its view says, four times a second; the changes are added up.
  std::vector<std::string> run(std::chrono::milliseconds d, const std::map<std::string, edge_view>& views, const std::map<std::string, std::int64_t>& bps = {}) {
    std::vector<std::string> changes;
    for (auto until = t + d; t < until;) {
      t += 250ms;
      for (auto& [name, view] : views) {
        edge_load load;
        load.edge = edge_name{name};
        load.bits_per_second = bps.contains(name) ? bps.at(name) : 0;
        set.observe(edge_name{name}, view, "", load, 0, t);
      }
      auto change = set.judge(t);
      for (auto& p : change.phases)
        changes.push_back(p.edge.value + " " + std::string(to_string(p.to)));
      if (change.table)
        changes.push_back("table");
    }
    return changes;
  }
  std::set<std::string> names() const {
    std::set<std::string> all;
    for (auto& e : set.table().edges)
      all.insert(e.name.value);
    return all;
  }
};

TEST_F(EdgeSet, EdgesServeOnceTheyAreSeenUp) {
  add("a");
  add("b");
  run(10s, {{"a", edge_view::up}, {"b", edge_view::up}});
  EXPECT_EQ(names(), (std::set<std::string>{"a", "b"}));
  EXPECT_EQ(set.table().primary.size(), steering::bucket_count);
}

TEST_F(EdgeSet, ADeadEdgeIsOutWithinThreeSeconds) {
  add("a");
  add("b");
  add("c");
  run(10s, {{"a", edge_view::up}, {"b", edge_view::up}, {"c", edge_view::up}});
  auto before = set.table().epoch;
  run(1s, {{"a", edge_view::suspect}, {"b", edge_view::up}, {"c", edge_view::up}});
  EXPECT_EQ(names(), (std::set<std::string>{"b", "c"}));
  EXPECT_GT(set.table().epoch, before);
  // Those that are not concerned stay: what is listed keeps its address, and most viewers keep their edge.
  auto tables = set.history();
  EXPECT_GE(tables.size(), 2u);
}

TEST_F(EdgeSet, ASteadyStateMakesNoNewTables) {
  add("a");
  add("b");
  run(30s, {{"a", edge_view::up}, {"b", edge_view::up}});
  auto epoch = set.table().epoch;
  run(10min, {{"a", edge_view::up}, {"b", edge_view::up}}, {{"a", 300'000'000}, {"b", 300'000'000}});
  EXPECT_EQ(set.table().epoch, epoch);
}

TEST_F(EdgeSet, LoadMovesBucketsAwayFromTheLoadedEdge) {
  add("a");
  add("b");
  run(70s, {{"a", edge_view::up}, {"b", edge_view::up}});
  auto share = [&] { return std::ranges::count_if(set.table().primary, [&](auto i) { return set.table().edges[i].name.value == "a"; }); };
  auto before = share();
  run(60s, {{"a", edge_view::up}, {"b", edge_view::up}}, {{"a", 800'000'000}, {"b", 200'000'000}});
  EXPECT_LT(share(), before - 50);
}

TEST_F(EdgeSet, ADrainedEdgeGetsNoNewEntries) {
  add("a");
  add("b");
  run(10s, {{"a", edge_view::up}, {"b", edge_view::up}});
  set.drain(edge_name{"a"}, true);
  run(1s, {{"a", edge_view::up}, {"b", edge_view::up}});
  EXPECT_EQ(names(), (std::set<std::string>{"b"}));
  set.drain(edge_name{"a"}, false);
  run(10s, {{"a", edge_view::up}, {"b", edge_view::up}});
  EXPECT_EQ(names(), (std::set<std::string>{"a", "b"}));
}

TEST_F(EdgeSet, ARestartKeepsTheTableAndNeverRepeatsAnEpoch) {
  add("a");
  add("b");
  run(10s, {{"a", edge_view::up}, {"b", edge_view::up}});
  auto history = set.history();
  edge_set again;
  again.restore(history, t);
  EXPECT_EQ(again.table().epoch, set.table().epoch);
  EXPECT_EQ(again.table().primary, set.table().primary);
  set = again;
  run(20s, {{"a", edge_view::up}, {"b", edge_view::up}});
  EXPECT_EQ(names(), (std::set<std::string>{"a", "b"}));
}

} // namespace
} // namespace weir::testing
