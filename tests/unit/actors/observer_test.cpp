#include "actors/observer.hpp"
#include "runtime/http/client.hpp"
#include "tests/unit/actors/cast.hpp"
#include "tests/unit/actors/virtual_time.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace weir::testing {
namespace {

using namespace std::chrono_literals;

class Observer : public ::testing::Test {
public:
  observer_state state;
  observer_state::time_point t{std::chrono::hours(1)};
  probe_orders orders;

  Observer() {
    state.node = node_name{"n1"};
    orders.every = 1s;
    orders.timeout = 500ms;
    orders.newest.path = "/s/a";
  }
  void watch(std::size_t n) {
    for (std::size_t i = 0; i < n; ++i)
      orders.edges.push_back({.name = edge_name{fmt::format("e{}", i)}, .node = {}, .url = fmt::format("http://e{}", i)});
    state.take(orders, t);
  }
  void end(const edge_name& edge, bool good = true) {
    state.take(probe_ended{edge, state.edges.at(edge).probe, {good, 5ms, good ? "" : "status 404"}});
  }
  /// The coordinator answers each word; returns how often each edge was probed.
  std::map<std::string, int> live(std::chrono::milliseconds d, const std::set<std::string>& bad = {}) {
    std::map<std::string, int> probed;
    for (auto until = t + d; t < until; t += 100ms) {
      for (auto& edge : state.begin_probes(t)) {
        ++probed[edge.value];
        end(edge, !bad.contains(edge.value));
      }
      if (auto news = state.say(t)) {
        said.push_back(*news);
        state.take(orders, t);
      }
    }
    return probed;
  }
  edge_sight last(const std::string& edge) {
    for (auto& e : said.back().edges)
      if (e.edge.value == edge)
        return e.sight;
    return {};
  }
  std::vector<edge_sighting> said;
};

TEST_F(Observer, ProbesEachEdgeOnceASecondAndSaysSoInOneMessage) {
  watch(3);
  auto probed = live(20s);
  for (auto& [edge, n] : probed) {
    EXPECT_GE(n, 18) << edge;
    EXPECT_LE(n, 23) << edge;
  }
  EXPECT_EQ(probed.size(), 3u);
  EXPECT_LE(said.size(), 24u) << "one a second, and each first view";
  EXPECT_EQ(said.back().edges.size(), 3u);
  EXPECT_EQ(last("e1").view, edge_view::up);
  EXPECT_GE(last("e1").good, 17u);
  EXPECT_EQ(last("e1").text, "");
}

TEST_F(Observer, SaysAtOnceWhatChangedAndWhy) {
  watch(3);
  live(10s);
  auto before = said.size();
  live(2500ms, {"e1"});
  EXPECT_EQ(last("e1").view, edge_view::suspect);
  EXPECT_EQ(last("e1").text, "status 404");
  EXPECT_EQ(last("e0").view, edge_view::up);
  EXPECT_GE(said.size() - before, 3u);
}

TEST_F(Observer, WatchesNothingWithoutTheCoordinatorsWord) {
  watch(3);
  t += 2s;
  EXPECT_EQ(state.begin_probes(t).size(), 3u);
  for (auto& [edge, w] : state.edges)
    end(edge);
  t += 2s;
  EXPECT_TRUE(state.begin_probes(t).empty());
}

TEST_F(Observer, ProbesNoMoreThanSoManyAtATimeAndTheOthersSoonAfter) {
  watch(100);
  t += 2s;
  auto first = state.begin_probes(t);
  EXPECT_EQ(first.size(), 32u);
  EXPECT_TRUE(state.begin_probes(t).empty());
  for (auto& edge : first)
    end(edge);
  auto second = state.begin_probes(t);
  EXPECT_EQ(second.size(), 32u);
  for (auto& edge : second)
    EXPECT_EQ(std::ranges::find(first, edge), first.end());
}

TEST_F(Observer, ForgetsWhatItSawAtAFormerAddress) {
  watch(2);
  live(5s, {"e0"});
  t += 2s;
  ASSERT_EQ(state.begin_probes(t).size(), 2u);
  auto old = state.edges.at(edge_name{"e0"}).probe;
  orders.edges[0].url = "http://moved";
  state.take(orders, t);
  state.take(probe_ended{edge_name{"e0"}, old, {false, 5ms, "status 404"}});
  EXPECT_EQ(state.edges.at(edge_name{"e0"}).watch.view(t), edge_view::unknown);
  EXPECT_EQ(state.probing, 1u);
  orders.edges.clear();
  state.take(orders, t);
  EXPECT_EQ(state.probing, 0u);
  EXPECT_TRUE(state.edges.empty());
}

TEST_F(Observer, LooksOftenWhereTheCoordinatorIsInAHurry) {
  watch(2);
  live(10s);
  orders.urgent = {edge_name{"e1"}};
  state.take(orders, t);
  orders.urgent.clear();
  auto probed = live(1s);
  EXPECT_GE(probed["e1"], 9);
  EXPECT_LE(probed["e0"], 2);
}

TEST_F(Observer, KeepsAuthoritiesUntilThereAreOthers) {
  orders.authorities = "digest";
  orders.authorities_text = "PEM";
  watch(1);
  EXPECT_EQ(state.say(t)->authorities, "digest");
  orders.authorities_text.clear();
  state.take(orders, t);
  EXPECT_EQ(state.authorities, "PEM");
  orders.authorities.clear();
  state.take(orders, t);
  EXPECT_EQ(state.authorities, "");
}

class ObserverActor : public virtual_time {};

TEST_F(ObserverActor, SpeaksFirstAndDoesWhatItIsToldEachSecond) {
  auto log = std::make_shared<heard>();
  auto script = std::make_shared<coordinator_script>();
  auto coordinator = spawn(stand_in_coordinator, log, script);
  auto seen = spawn(observer, node_name{"n1"}, std::make_shared<http::client>(http::client_options{}), coordinator);
  advance(5s);
  ASSERT_GE(log->sightings.size(), 4u);
  EXPECT_LE(log->sightings.size(), 6u);
  EXPECT_EQ(log->sightings[0].observer, node_name{"n1"});
  EXPECT_TRUE(log->sightings[0].edges.empty());
  caf::anon_send(seen, weir::stop{});
  caf::anon_send_exit(coordinator, caf::exit_reason::kill);
}

} // namespace
} // namespace weir::testing
