#include "actors/edge_set.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <set>

namespace weir::testing {
namespace {

using namespace std::chrono_literals;
using time_point = edge_set::time_point;

class EdgeSet : public ::testing::Test {
public:
  edge_set set;
  time_point t{std::chrono::hours(1)};

  void add(const std::string& name) { set.add({.name = edge_name{name}, .node = {}, .url = "http://" + name + ":80", .capacity_bps = 1'000'000'000}, t); }
  std::vector<std::string> observers{"one"};
  std::set<std::string> silent; ///< edges whose reports are missing

  void see(const std::string& name, edge_view view) {
    for (auto& o : observers)
      see(o, name, view);
  }
  void see(const std::string& observer, const std::string& name, edge_view view) {
    auto& good = good_[observer + name];
    good = view == edge_view::up ? good + 1 : 0;
    set.observe(edge_name{name}, {.observer = node_name{observer}, .view = view, .good = good, .milliseconds = 5, .text = view == edge_view::suspect ? "status 502" : ""}, t);
  }
  void report(const std::string& name, std::int64_t bps, std::uint64_t viewers = 0, bool up = true) {
    edge_load load;
    load.edge = edge_name{name};
    load.up = up;
    load.bits_per_second = bps;
    load.viewers = viewers;
    load.trouble = up ? "" : "nginx ended";
    set.take(load, t);
  }
  /// Each edge is seen as its view says, four times a second, and reports each second; the changes are added up.
  std::vector<std::string> run(std::chrono::milliseconds d, const std::map<std::string, edge_view>& views, const std::map<std::string, std::int64_t>& bps = {}) {
    std::vector<std::string> changes;
    for (auto until = t + d; t < until;) {
      t += 250ms;
      for (auto& [name, view] : views) {
        if (t.time_since_epoch() % 1s == 0s && !silent.contains(name))
          report(name, bps.contains(name) ? bps.at(name) : 0);
        see(name, view);
      }
      auto change = set.judge(t);
      for (auto& p : change.phases)
        changes.push_back(p.edge.value + " " + std::string(to_string(p.to)));
      if (change.table)
        changes.push_back("table");
    }
    return changes;
  }
  std::map<std::string, std::uint32_t> good_;
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

TEST_F(EdgeSet, EdgesForTheirNetworksOnlyGetNobodyElseAndHaveNoPartInTheBalance) {
  add("a");
  add("b");
  set.add({.name = edge_name{"h"}, .node = {}, .url = "http://h:80", .capacity_bps = 1'000'000'000, .locality = "hall-1", .networks = {"10.20.0.0/16"}, .networks_only = true}, t);
  std::map<std::string, edge_view> views{{"a", edge_view::up}, {"b", edge_view::up}, {"h", edge_view::up}};
  run(70s, views);
  ASSERT_EQ(names(), (std::set<std::string>{"a", "b", "h"}));
  EXPECT_EQ(set.table().edges.back().locality, "hall-1");
  EXPECT_TRUE(std::ranges::none_of(set.table().primary, [](auto i) { return i == 2; }));
  const auto epoch = set.table().epoch;
  run(60s, views, {{"a", 100'000'000}, {"b", 100'000'000}, {"h", 900'000'000}});
  EXPECT_EQ(set.table().epoch, epoch) << "a full hall is no reason to move anybody";
  EXPECT_EQ(set.find(edge_name{"h"})->weight_milli, 1000);
  views["h"] = edge_view::suspect;
  run(5s, views);
  EXPECT_EQ(names(), (std::set<std::string>{"a", "b"}));
  EXPECT_GT(set.table().epoch, epoch) << "its viewers go elsewhere";
}

TEST_F(EdgeSet, AVenuesEdgesAreNoHelpToThoseOutsideWhenAllOthersAreDead) {
  add("a");
  add("b");
  for (std::string name : {"h1", "h2", "h3", "h4", "h5"})
    set.add({.name = edge_name{name}, .node = {}, .url = "http://" + name + ":80", .capacity_bps = 1'000'000, .locality = "hall-1", .networks = {"10.20.0.0/16"}, .networks_only = true}, t);
  std::map<std::string, edge_view> views{{"a", edge_view::up}, {"b", edge_view::up}, {"h1", edge_view::up}, {"h2", edge_view::up}, {"h3", edge_view::up}, {"h4", edge_view::up}, {"h5", edge_view::up}};
  run(70s, views);
  ASSERT_EQ(names().size(), 7u);
  ASSERT_FALSE(set.table().primary.empty());
  EXPECT_TRUE(std::ranges::all_of(set.table().edges, [](auto& e) { return e.weight_milli > 0; })) << "a thousandth of the largest, and it serves its own all the same";
  views["a"] = views["b"] = edge_view::suspect;
  run(30s, views);
  EXPECT_FALSE(set.table().primary.empty()) << "the last word stands: nobody is better";
  EXPECT_TRUE(names().contains("a") || names().contains("b"));
}

TEST_F(EdgeSet, ATableOfTheRunBeforeStillSaysWhoIsNearToWhom) {
  set.add({.name = edge_name{"h"}, .node = {}, .url = "http://h:80", .capacity_bps = 1'000'000'000, .locality = "hall-1", .networks = {"10.20.0.0/16"}, .networks_only = true}, t);
  add("a");
  run(10s, {{"a", edge_view::up}, {"h", edge_view::up}});
  edge_set next;
  next.restore(set.history(), t);
  auto change = next.judge(t + 1s);
  EXPECT_FALSE(change.table);
  ASSERT_NE(next.find(edge_name{"h"}), nullptr);
  EXPECT_EQ(next.find(edge_name{"h"})->spec.locality, "hall-1");
  EXPECT_TRUE(next.find(edge_name{"h"})->spec.networks_only);
}

TEST_F(EdgeSet, WhomAnEdgeIsNearToMustBeSoundAndOfFewLocalities) {
  auto put = [&](const std::string& name, const std::string& locality, std::vector<std::string> networks) {
    set.add({.name = edge_name{name}, .node = {}, .url = "http://" + name + ":80", .capacity_bps = 1, .locality = locality, .networks = std::move(networks)}, t);
    return set.find(edge_name{name})->locality_trouble;
  };
  EXPECT_NE(put("bad", "hall-1", {"10.0.0.1/8"}).find("10.0.0.1/8"), std::string::npos);
  EXPECT_TRUE(set.find(edge_name{"bad"})->spec.locality.empty()) << "it serves like any other edge";
  EXPECT_TRUE(set.find(edge_name{"bad"})->spec.networks.empty());
  EXPECT_NE(put("bad", "a/b", {"10.0.0.0/8"}), "");
  EXPECT_EQ(put("bad", "hall-0", {"10.0.0.0/8"}), "");
  for (int i = 1; i < 16; ++i)
    EXPECT_EQ(put(fmt::format("e{}", i), fmt::format("hall-{}", i), {fmt::format("10.{}.0.0/16", i)}), "");
  EXPECT_NE(put("late", "hall-16", {"192.0.2.0/24"}).find("one more than the 16"), std::string::npos);
  EXPECT_EQ(put("late", "hall-3", {"192.0.2.0/24"}), "") << "of a locality that is there";
  EXPECT_NE(put("late", "hall-16", {"192.0.2.0/24"}), "");
  set.remove(edge_name{"e7"});
  EXPECT_EQ(put("late", "hall-16", {"192.0.2.0/24"}), "") << "it says so each second";
}

TEST_F(EdgeSet, KeepsEveryTableThatAListedEntryNames) {
  add("a");
  add("b");
  std::map<std::string, edge_view> views{{"a", edge_view::up}, {"b", edge_view::up}};
  run(10s, views);
  for (bool drain : {true, false, true, false}) {
    set.drain(edge_name{"a"}, drain);
    run(10s, views);
  }
  auto tables = set.history();
  ASSERT_GE(tables.size(), 4u);
  auto named = tables[1].epoch;
  t += 5h;
  EXPECT_TRUE(set.judge(t, tables[0].epoch).forgotten.empty());
  auto forgotten = set.judge(t, named).forgotten;
  EXPECT_EQ(forgotten, std::vector{tables[0].epoch});
  EXPECT_EQ(set.oldest(), named);
  // A restarted coordinator has not heard yet what is listed.
  edge_set again;
  again.restore(set.history(), t);
  EXPECT_TRUE(again.judge(t + 9min).forgotten.empty());
  EXPECT_TRUE(again.judge(t + 11min, named).forgotten.empty());
  EXPECT_FALSE(again.judge(t + 11min).forgotten.empty());
  EXPECT_GT(again.oldest(), named);
  EXPECT_FALSE(again.history().empty());
}

TEST_F(EdgeSet, DropsTheOldestTablesWhenThereAreTooManyAndSaysSo) {
  std::vector<edge_table> many;
  for (edge_epoch epoch = 1; epoch <= steering::history_limit + 2; ++epoch)
    many.push_back({.epoch = epoch, .edges = {}, .primary = {}, .backup = {}}); // without edges: small
  set.restore(many, t);
  auto change = set.judge(t, 1);
  EXPECT_TRUE(change.overflow);
  EXPECT_EQ(change.forgotten, (std::vector<edge_epoch>{1, 2}));
  EXPECT_FALSE(set.judge(t, 1).overflow);
  EXPECT_EQ(set.history().size(), steering::history_limit);
}

TEST_F(EdgeSet, LosesNothingWithTheTimeBeforeTheFirstTable) {
  std::vector<edge_table> many;
  for (edge_epoch epoch = 1; epoch <= steering::history_limit; ++epoch)
    many.push_back({.epoch = epoch, .edges = {}, .primary = {}, .backup = {}});
  set.restore(many, t);
  auto change = set.judge(t, 0); // an origin lists entries of before the first edge, or has only just started
  EXPECT_FALSE(change.overflow) << "who logs what was dropped looks for the newest of them";
  EXPECT_TRUE(change.forgotten.empty());
  EXPECT_EQ(set.oldest(), 1u);
  EXPECT_EQ(set.history().size(), steering::history_limit);
}

TEST_F(EdgeSet, ASlowStartMakesFourTablesAndNoneForBalance) {
  std::map<std::string, edge_view> views{{"a", edge_view::up}, {"b", edge_view::up}};
  add("a");
  add("b");
  run(70s, views, {{"a", 400'000'000}, {"b", 400'000'000}});
  add("c");
  views["c"] = edge_view::up;
  auto share = [&] { return std::ranges::count_if(set.table().primary, [&](auto i) { return set.table().edges[i].name.value == "c"; }); };
  std::vector<std::string> changes;
  std::vector<std::ptrdiff_t> shares;
  for (int second = 0; second < 80; ++second) {
    // It carries what its share brings.
    auto of_c = share() * 800'000'000 / 1024;
    for (auto& c : run(1s, views, {{"a", (800'000'000 - of_c) / 2}, {"b", (800'000'000 - of_c) / 2}, {"c", of_c}}))
      changes.push_back(c);
    if (shares.empty() || share() != shares.back())
      shares.push_back(share());
  }
  EXPECT_LE(std::ranges::count(changes, "table"), 8) << "one as it comes, one a quarter, and what balance asks for in the end";
  EXPECT_TRUE(std::ranges::is_sorted(shares)) << "only ever more";
  ASSERT_GE(shares.size(), 5u);
  EXPECT_LT(shares[1], 1024 / 10) << "it begins with little";
  EXPECT_NEAR(static_cast<double>(shares.back()), 1024.0 / 3, 34) << "and ends with its share: balance does not push it up while it is held down";
}

TEST_F(EdgeSet, AWeightThatMovesNearlyNothingMakesNoTable) {
  director_options options;
  options.gain_percent = 1;
  options.dead_band_percent = 1;
  set = edge_set{options};
  add("a");
  add("b");
  std::map<std::string, edge_view> views{{"a", edge_view::up}, {"b", edge_view::up}};
  run(90s, views);
  auto before = set.table().epoch;
  run(30s, views, {{"a", 520'000'000}, {"b", 480'000'000}});
  auto after = set.table().epoch;
  EXPECT_LE(after, before + 2) << "each step moves less than a bucket";
  run(10min, views, {{"a", 520'000'000}, {"b", 480'000'000}});
  EXPECT_GT(set.table().epoch, after) << "but what stays is followed in the end";
}

TEST_F(EdgeSet, StaysWithMostObserversWhenOneIsCutOff) { // A11
  observers = {"one", "two"};
  for (auto name : {"a", "b", "c"})
    add(name);
  std::map<std::string, edge_view> views{{"a", edge_view::up}, {"b", edge_view::up}, {"c", edge_view::up}};
  auto live = [&](std::chrono::seconds d, const std::set<std::string>& unreached) {
    for (auto until = t + d; t < until;) {
      for (auto& [name, view] : views)
        see("three", name, unreached.contains(name) ? edge_view::suspect : edge_view::up);
      run(250ms, views);
    }
  };
  live(90s, {});
  const auto epoch = set.table().epoch;
  live(600s, {"a", "b", "c"});
  EXPECT_EQ(set.table().epoch, epoch);
  live(600s, {"b"}); // only its way to one edge
  EXPECT_EQ(set.table().epoch, epoch);
  auto* b = set.find(edge_name{"b"});
  EXPECT_EQ(b->phase, edge_phase::serving);
  EXPECT_EQ(b->seen.size(), 3u);
  EXPECT_EQ(b->last_error, "three sees: status 502") << "but an operator is told";
}

TEST_F(EdgeSet, MovesNobodyWhenMostEdgesSeemToDie) { // A17
  observers = {"one", "two", "three"};
  std::map<std::string, edge_view> views;
  for (int i = 0; i < 10; ++i) {
    add("e" + std::to_string(i));
    views["e" + std::to_string(i)] = edge_view::up;
  }
  run(90s, views);
  const auto epoch = set.table().epoch;
  for (int i = 0; i < 6; ++i)
    views["e" + std::to_string(i)] = edge_view::suspect;
  run(60s, views);
  EXPECT_EQ(set.table().epoch, epoch);
  EXPECT_EQ(names().size(), 10u);
}

TEST_F(EdgeSet, TakesMissingReportsForFullAndNotForDead) {
  add("a");
  add("b");
  std::map<std::string, edge_view> views{{"a", edge_view::up}, {"b", edge_view::up}};
  run(90s, views);
  const auto epoch = set.table().epoch;
  silent = {"a"};
  run(14s, views);
  EXPECT_EQ(set.find(edge_name{"a"})->phase, edge_phase::serving) << "its last load holds for a while";
  run(10min, views);
  EXPECT_EQ(set.find(edge_name{"a"})->phase, edge_phase::suspect);
  EXPECT_TRUE(set.find(edge_name{"a"})->last_error.starts_with("no report of its load for ")) << set.find(edge_name{"a"})->last_error;
  EXPECT_EQ(set.table().epoch, epoch);
  silent.clear();
  run(3s, views);
  EXPECT_EQ(set.find(edge_name{"a"})->phase, edge_phase::serving);
}

TEST_F(EdgeSet, ClosesAnEdgeThatSaysThatItsNginxIsGone) {
  add("a");
  add("b");
  std::map<std::string, edge_view> views{{"a", edge_view::up}, {"b", edge_view::up}};
  run(90s, views);
  silent = {"a"};
  for (int i = 0; i < 16; ++i) {
    if (i % 4 == 0)
      report("a", 0, 0, false);
    run(250ms, views);
  }
  EXPECT_EQ(set.find(edge_name{"a"})->phase, edge_phase::suspect);
  EXPECT_EQ(set.find(edge_name{"a"})->last_error, "it says: nginx ended");
}

TEST_F(EdgeSet, HalvesTheWeightOfASlowEdgeInEachInterval) {
  for (auto name : {"a", "b", "c"})
    add(name);
  std::map<std::string, edge_view> views{{"a", edge_view::up}, {"b", edge_view::up}, {"c", edge_view::up}};
  run(90s, views);
  views["a"] = edge_view::brown_out;
  std::vector<std::int64_t> weights;
  auto weigh = [&] {
    for (int i = 0; i < 30; ++i) {
      run(1s, views);
      if (auto now = set.find(edge_name{"a"})->weight_milli; weights.empty() || weights.back() != now)
        weights.push_back(now);
    }
  };
  weigh();
  EXPECT_EQ(weights, (std::vector<std::int64_t>{500, 250, 125})) << "it is not dead";
  weights.clear();
  views["a"] = edge_view::up;
  weigh();
  EXPECT_EQ(weights, (std::vector<std::int64_t>{250, 500, 1000}));
}

TEST_F(EdgeSet, LetsFiveObserversWatchAnEdgeAndNoneItsOwnWhileOthersAreThere) {
  for (int i = 0; i < 20; ++i)
    set.add({.name = edge_name{"e" + std::to_string(i)}, .node = node_name{"n" + std::to_string(i % 10)}, .url = "http://e", .capacity_bps = 1}, t);
  set.hear(node_name{"n1"}, t);
  EXPECT_EQ(set.watched_by(node_name{"n1"}, t).size(), 20u) << "there is nobody else";
  for (int i = 0; i < 10; ++i)
    set.hear(node_name{"n" + std::to_string(i)}, t);
  std::map<std::string, std::size_t> watchers;
  for (int i = 0; i < 10; ++i) {
    auto mine = set.watched_by(node_name{"n" + std::to_string(i)}, t);
    EXPECT_LT(mine.size(), 20u);
    for (auto& spec : mine) {
      ++watchers[spec.name.value];
      EXPECT_NE(spec.node.value, "n" + std::to_string(i));
    }
  }
  EXPECT_EQ(watchers.size(), 20u);
  for (auto& [edge, n] : watchers)
    EXPECT_EQ(n, 5u) << edge;
  t += 4s;
  set.hear(node_name{"n1"}, t);
  EXPECT_EQ(set.watched_by(node_name{"n1"}, t).size(), 20u) << "the others are silent";
}

TEST_F(EdgeSet, LetsTheOnlyObserverWatchItsOwnEdge) {
  set.add({.name = edge_name{"e"}, .node = node_name{"n"}, .url = "http://e", .capacity_bps = 1}, t);
  set.hear(node_name{"n"}, t);
  EXPECT_EQ(set.watched_by(node_name{"n"}, t).size(), 1u);
  set.hear(node_name{"m"}, t);
  EXPECT_TRUE(set.watched_by(node_name{"n"}, t).empty());
  EXPECT_EQ(set.watched_by(node_name{"m"}, t).size(), 1u);
}

TEST_F(EdgeSet, HearsNobodyTooOften) {
  int heard = 0;
  for (int i = 0; i < 1000; ++i)
    heard += set.hear(node_name{"n"}, t);
  EXPECT_EQ(heard, 10);
  t += 1s;
  EXPECT_TRUE(set.hear(node_name{"n"}, t));
}

TEST_F(EdgeSet, LooksAtOnceWhereViewersBecomeFewer) { // balancing.md 8.4
  add("a");
  run(10s, {{"a", edge_view::up}});
  auto live = [&](int n, std::int64_t bps, std::uint64_t viewers) {
    for (int i = 0; i < n; ++i) {
      t += 1s;
      report("a", bps, viewers);
    }
  };
  live(10, 400'000'000, 200);
  EXPECT_TRUE(set.urgent(t).empty());
  live(2, 100'000'000, 60);
  EXPECT_EQ(set.urgent(t), std::vector{edge_name{"a"}});
  live(4, 100'000'000, 60);
  EXPECT_TRUE(set.urgent(t).empty()) << "a look, and no more";
  live(20, 5'000'000, 3);
  live(10, 0, 3);
  EXPECT_TRUE(set.urgent(t).empty()) << "three viewers are no measure";
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
