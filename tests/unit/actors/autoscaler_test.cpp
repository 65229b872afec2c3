#include "actors/autoscaler.hpp"
#include "tests/unit/actors/cast.hpp"
#include "tests/unit/actors/virtual_time.hpp"

#include <algorithm>
#include <fmt/format.h>

namespace weir::testing {
namespace {

using namespace std::chrono_literals;

edge_farm_actor::behavior_type stand_in_farm(edge_farm_actor::pointer, std::shared_ptr<std::vector<std::string>> orders, std::string node) {
  return {
    [=](const run_edge&) -> caf::result<edge_begun> {
      orders->push_back("start on " + node);
      return edge_begun{edge_name{fmt::format("{}-{}", node, 10 + orders->size())}};
    },
    [=](const end_edge& wish) { orders->push_back("end " + wish.name.value); },
    [](const tick&) {},
    [](const stop&) {},
    [](const ask_status&) { return actor_report{}; },
  };
}

class Autoscaler : public virtual_time {
protected:
  edge_status& put(const std::string& name, bool spare, std::int64_t mbit) {
    edge_status e;
    e.spec = {.name = edge_name{name}, .node = node_name{name.substr(0, name.rfind('-'))}, .url = "http://" + name, .capacity_bps = 1'000'000'000, .spare = spare};
    e.phase = edge_phase::serving;
    e.named = true;
    e.load.up = true;
    e.load.bits_per_second = mbit * 1'000'000;
    e.load.viewers = static_cast<std::uint64_t>(mbit / 2);
    script->farms.edges.push_back(e);
    return script->farms.edges.back();
  }
  edge_status& edge(const std::string& name) { return *std::ranges::find(script->farms.edges, name, [](auto& e) { return e.spec.name.value; }); }
  void begin(autoscaler_options wanted = {}) {
    wanted.driver = scaling_driver::process;
    for (auto* node : {"n1", "n2"})
      script->farms.farms.push_back({node_name{node}, spawn(stand_in_farm, orders, node), {edge_name{fmt::format("{}-8", node)}, edge_name{fmt::format("{}-9", node)}}});
    auto coordinator = spawn(stand_in_coordinator, log, script);
    scaler = spawn(autoscaler, wanted, director_options{}, machines_setup{}, coordinator);
  }
  /// Edges report each second.
  void live(std::chrono::seconds time) {
    for (auto end = now() + time; now() < end;) {
      for (auto& e : script->farms.edges)
        e.load.sequence += reporting;
      advance(1s);
    }
  }
  const scaling_status& last() const { return log->scaling.back().status; }

  heard_ptr log = std::make_shared<heard>();
  std::shared_ptr<coordinator_script> script = std::make_shared<coordinator_script>();
  std::shared_ptr<std::vector<std::string>> orders = std::make_shared<std::vector<std::string>>();
  autoscaler_actor scaler;
  bool reporting = true;
};

TEST_F(Autoscaler, StartsWhatIsMissingSpreadOverTheNodesAndWaitsForIt) {
  put("n1-1", false, 950);
  put("n2-1", false, 950);
  begin();
  live(5s);
  ASSERT_EQ(*orders, (std::vector<std::string>{"start on n1", "start on n2"})) << last().why; // 1.9 Gbit/s and reserves, without one of four
  ASSERT_EQ(log->scaling.size(), 1u);
  EXPECT_EQ(log->scaling[0].kind, "edges-scale-out");
  EXPECT_NE(last().last.find("2 more are started"), std::string::npos) << last().last;
  EXPECT_EQ(last().want, 4u);
  EXPECT_EQ(last().started, 2u);
  live(30s);
  EXPECT_EQ(orders->size(), 2u) << "they are on their way";
  EXPECT_EQ(last().have, 4u);
  EXPECT_EQ(log->scaling.back().kind, "") << "no more events";
  live(30s);
  EXPECT_EQ(orders->size(), 4u) << "they never came";
}

TEST_F(Autoscaler, CountsAnEdgeThatIsThere) {
  put("n1-1", false, 950);
  put("n2-1", false, 950);
  begin();
  live(5s);
  put("n1-11", true, 0).phase = edge_phase::starting;
  put("n2-12", true, 0).phase = edge_phase::starting;
  live(120s);
  EXPECT_EQ(orders->size(), 2u);
}

TEST_F(Autoscaler, SaysOnceThatNoNodeHasMore) {
  put("n1-1", false, 900);
  put("n2-1", false, 900);
  begin();
  for (auto& farm : script->farms.farms)
    farm.idle.clear();
  live(60s);
  EXPECT_TRUE(orders->empty());
  EXPECT_EQ(std::ranges::count(log->scaling, "edges-short", &scaling_news::kind), 1);
  EXPECT_NE(last().last.find("no node has an instance to spare (edge.spare)"), std::string::npos) << last().last;
}

TEST_F(Autoscaler, DrainsAndEndsASpareOneWhenViewersHaveLeft) {
  for (auto* name : {"n1-1", "n2-1"})
    put(name, false, 100);
  put("n1-2", true, 50);
  put("n2-2", true, 100);
  begin({.cool_down = 60s});
  live(60s);
  EXPECT_TRUE(log->drained.empty());
  live(10s);
  ASSERT_EQ(log->drained.size(), 1u) << last().why;
  EXPECT_EQ(log->drained[0].name.value, "n1-2");
  EXPECT_TRUE(log->drained[0].drain);
  EXPECT_EQ(log->drained[0].actor, "autoscaler");
  edge("n1-2").phase = edge_phase::draining;
  live(60s);
  EXPECT_TRUE(orders->empty()) << "playlists name it";
  edge("n1-2").named = false;
  live(45s);
  EXPECT_EQ(*orders, (std::vector<std::string>{"end n1-2"}));
  std::erase_if(script->farms.edges, [](auto& e) { return e.spec.name.value == "n1-2"; });
  live(20s);
  ASSERT_EQ(log->drained.size(), 2u);
  EXPECT_EQ(last().ended, 1u);
  EXPECT_EQ(log->drained[1].name.value, "n2-2");
  edge("n2-2").phase = edge_phase::draining;
  for (auto* name : {"n1-1", "n2-1"})
    edge(name).load.bits_per_second = 600'000'000;
  live(15s);
  ASSERT_GE(log->drained.size(), 3u) << last().why;
  EXPECT_FALSE(log->drained[2].drain) << "viewers came back";
}

TEST_F(Autoscaler, EndsNothingWhileReportsAreMissing) {
  for (auto* name : {"n1-1", "n2-1"})
    put(name, false, 10);
  put("n1-2", true, 10);
  begin({.cool_down = 30s});
  reporting = false;
  live(600s);
  EXPECT_TRUE(log->drained.empty());
  EXPECT_TRUE(orders->empty());
  EXPECT_NE(last().why.find("not measured"), std::string::npos) << last().why;
  reporting = true;
  live(40s);
  EXPECT_EQ(log->drained.size(), 1u) << last().why;
}

TEST_F(Autoscaler, TellsOfADeadSpareOneItselfWhenItsNodeIsNotHeard) {
  for (auto* name : {"n1-1", "n2-1"})
    put(name, false, 10);
  put("n1-2", true, 10).phase = edge_phase::dead;
  put("gone-2", true, 10).phase = edge_phase::dead;
  begin();
  live(55s);
  EXPECT_TRUE(orders->empty() && log->forgotten.empty());
  live(15s);
  EXPECT_EQ(log->forgotten.at(0), edge_name{"gone-2"});
  EXPECT_EQ(orders->at(0), "end n1-2");
}

TEST_F(Autoscaler, RunsDry) {
  put("n1-1", false, 900);
  put("n2-1", false, 900);
  put("n1-2", true, 900).phase = edge_phase::dead;
  begin({.dry_run = true});
  live(120s);
  EXPECT_TRUE(orders->empty() && log->drained.empty() && log->forgotten.empty());
  EXPECT_EQ(std::ranges::count(log->scaling, "edges-would-scale", &scaling_news::kind), 1) << "said once";
  EXPECT_NE(last().last.find("would be started"), std::string::npos) << last().last;
  EXPECT_EQ(last().started, 0u);
}

TEST_F(Autoscaler, GoesOnWithoutAnAnswer) {
  put("n1-1", false, 950);
  put("n2-1", false, 950);
  begin();
  script->farms.farms[0].farm = nullptr;
  script->farms.farms[1].farm = nullptr;
  live(30s);
  EXPECT_GE(log->scaling.size(), 5u);
}

} // namespace
} // namespace weir::testing
