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

/// Whoever has machines; it answers at once.
class stand_in_driver : public machines::driver {
public:
  std::vector<std::string> orders, present;
  bool refuses = false;

  void send(const machines::order& o, callback done) override {
    if (o.kind != machines::order_kind::list)
      orders.push_back(machines::key_of(o));
    if (refuses && o.kind != machines::order_kind::list)
      return done(fail(error_code::unavailable, "refused: the quota is used up"));
    if (o.kind == machines::order_kind::begin)
      present.push_back(o.machine);
    if (o.kind == machines::order_kind::end)
      std::erase(present, o.machine);
    std::ranges::sort(present);
    done(machines::answer{o.kind == machines::order_kind::list ? present : std::vector<std::string>{}});
  }
};

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
  void begin(autoscaler_options wanted = {}, director_options steering = {}) {
    wanted.driver = scaling_driver::process;
    for (auto* node : {"n1", "n2"})
      script->farms.farms.push_back({node_name{node}, spawn(stand_in_farm, orders, node), {edge_name{fmt::format("{}-8", node)}, edge_name{fmt::format("{}-9", node)}}});
    auto coordinator = spawn(stand_in_coordinator, log, script);
    scaler = spawn(autoscaler, wanted, std::move(steering), machines_setup{}, coordinator);
  }
  void begin_with_machines(autoscaler_options wanted = {}, std::string kept = {}) {
    wanted.driver = scaling_driver::exec;
    scaler = spawn(autoscaler, wanted, director_options{}, machines_setup{cloud, "live", std::move(kept)}, spawn(stand_in_coordinator, log, script));
  }
  std::vector<std::string> kinds() const {
    std::vector<std::string> all;
    for (auto& news : log->scaling)
      if (!news.kind.empty())
        all.push_back(news.kind);
    return all;
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
  std::shared_ptr<stand_in_driver> cloud = std::make_shared<stand_in_driver>();
  autoscaler_actor scaler;
  bool reporting = true;
};

TEST_F(Autoscaler, EdgesForTheirNetworksOnlyAreNoPartOfThePlan) {
  put("n1-1", false, 300);
  put("n2-1", false, 300);
  auto& hall = put("hall-1", false, 990);
  hall.spec.locality = "hall";
  hall.spec.networks_only = true;
  begin();
  live(10s);
  EXPECT_TRUE(orders->empty()) << "a full hall cannot be helped by edges elsewhere: " << last().why;
  EXPECT_EQ(last().have, 2u);
  EXPECT_EQ(last().want, 2u);
}

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

TEST_F(Autoscaler, ADrainedEdgeServesForAsLongAsASteeringManifestHoldsAfterItsLastName) {
  for (auto* name : {"n1-1", "n2-1"})
    put(name, false, 100);
  put("n1-2", true, 50).phase = edge_phase::draining;
  begin({}, {.steering_ttl = 60s});
  live(10s); // it looks each 5 s: a playlist names the edge now
  edge("n1-2").named = false;
  live(69s);
  EXPECT_TRUE(orders->empty()) << "a player may hear of it after 60 s, and fetch there with what it has";
  live(6s);
  EXPECT_EQ(*orders, (std::vector<std::string>{"end n1-2"}));
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

TEST_F(Autoscaler, BeginsMachinesThatItHasKeptAndWaitsForThem) {
  put("n1-1", false, 950);
  put("n2-1", false, 950);
  begin_with_machines();
  live(7s);
  ASSERT_EQ(cloud->orders.size(), 2u) << last().why;
  ASSERT_FALSE(log->machines.empty());
  for (auto& name : cloud->present)
    EXPECT_NE(log->machines[0].find(name), std::string::npos) << "kept before it was ordered";
  EXPECT_EQ(kinds(), (std::vector<std::string>{"edges-scale-out"}));
  EXPECT_NE(last().last.find("2 more are started"), std::string::npos) << last().last;
  live(10s);
  EXPECT_EQ(cloud->orders.size(), 2u);
  EXPECT_EQ(last().have, 4u);
  EXPECT_EQ(last().machines.size(), 2u);
  EXPECT_EQ(last().machines[0].phase, machine_phase::coming);
  EXPECT_EQ(last().begun_last_day, 2u);
  EXPECT_EQ(last().free, 8u) << "of ten within an hour";
  for (auto& name : std::vector(cloud->present))
    put(name + "-1", false, 450).load.viewers = 0; // nobody who came: else more were expected
  for (auto* name : {"n1-1", "n2-1"})
    edge(name).load.bits_per_second = 450'000'000;
  live(120s);
  EXPECT_EQ(cloud->orders.size(), 2u);
  EXPECT_EQ(last().machines[0].phase, machine_phase::there);
}

TEST_F(Autoscaler, SaysWhatKeepsMachinesFromBeingBegun) {
  put("n1-1", false, 950);
  put("n2-1", false, 950);
  cloud->refuses = true;
  begin_with_machines();
  live(30s);
  ASSERT_GE(cloud->orders.size(), 6u) << "two, three times each, and ended in the end";
  EXPECT_GE(std::ranges::count(kinds(), "edge-machine-failed"), 2);
  EXPECT_NE(last().last.find("the quota is used up"), std::string::npos) << last().last;
  EXPECT_EQ(last().free, 0u);
  EXPECT_TRUE(std::ranges::any_of(last().machines, [](auto& m) { return m.trouble == "refused: the quota is used up"; }));
}

TEST_F(Autoscaler, DrainsEndsAndForgetsAMachineWhenViewersHaveLeft) {
  for (auto* name : {"n1-1", "n2-1"})
    put(name, false, 100);
  const auto machine = machines::make_name(machines::prefix_of("live"));
  cloud->present = {machine};
  put(machine + "-1", false, 50);
  begin_with_machines({.cool_down = 60s}, "machines 1\nmachine " + machine + " there 1764331200\n");
  live(70s);
  ASSERT_EQ(log->drained.size(), 1u) << last().why;
  EXPECT_EQ(log->drained[0].name.value, machine + "-1");
  edge(machine + "-1").phase = edge_phase::draining;
  edge(machine + "-1").named = false;
  live(40s);
  EXPECT_TRUE(cloud->orders.empty()) << "players have such playlists";
  live(15s);
  EXPECT_EQ(cloud->orders, (std::vector<std::string>{"end " + machine}));
  EXPECT_EQ(last().ended, 1u);
  live(65s);
  ASSERT_EQ(log->forgotten_nodes.size(), 1u) << "a list says that it is gone";
  EXPECT_EQ(log->forgotten_nodes[0].name.value, machine);
  EXPECT_TRUE(log->forgotten_nodes[0].dead);
  EXPECT_TRUE(last().machines.empty());
  EXPECT_EQ(log->machines.back().find(machine), std::string::npos);
  EXPECT_EQ(cloud->orders.size(), 1u);
}

TEST_F(Autoscaler, EndsAMachineOnlyWithTheLastOfItsEdges) {
  for (auto* name : {"n1-1", "n2-1", "n3-1"})
    put(name, false, 100);
  const auto machine = machines::make_name(machines::prefix_of("live"));
  cloud->present = {machine};
  put(machine + "-1", false, 0).phase = edge_phase::draining;
  put(machine + "-2", false, 100);
  edge(machine + "-1").named = false;
  begin_with_machines({.least = 3}, "machines 1\nmachine " + machine + " there 1764331200\n");
  live(120s);
  EXPECT_TRUE(cloud->orders.empty());
  edge(machine + "-2").phase = edge_phase::dead;
  live(70s);
  EXPECT_EQ(std::ranges::count(cloud->orders, "end " + machine), 1);
}

TEST_F(Autoscaler, GoesOnWithWhatWasOrderedBeforeItDied) {
  put("n1-1", false, 500);
  put("n2-1", false, 500);
  const auto wanted = machines::make_name(machines::prefix_of("live")), ending = machines::make_name(machines::prefix_of("live"));
  cloud->present = {ending};
  put(ending + "-1", false, 0);
  begin_with_machines({}, fmt::format("machines 1\nmachine {} wanted 1764331200\nmachine {} ending 1764331200\n", wanted, ending));
  live(6s);
  std::ranges::sort(cloud->orders);
  EXPECT_EQ(cloud->orders, (std::vector<std::string>{"begin " + wanted, "end " + ending}));
  ASSERT_FALSE(log->drained.empty());
  EXPECT_EQ(log->drained[0].name.value, ending + "-1") << "it goes, whatever is needed";
}

TEST_F(Autoscaler, BeginsAndEndsNoMachineWhenItRunsDry) {
  put("n1-1", false, 950);
  put("n2-1", false, 950);
  const auto machine = machines::make_name(machines::prefix_of("live"));
  cloud->present = {machine};
  put(machine + "-1", false, 950).phase = edge_phase::dead;
  begin_with_machines({.dry_run = true}, "machines 1\nmachine " + machine + " there 1764331200\n");
  live(300s);
  EXPECT_TRUE(cloud->orders.empty() && log->drained.empty() && log->forgotten_nodes.empty());
  EXPECT_NE(last().last.find("would be started"), std::string::npos) << last().last;
  EXPECT_EQ(last().trouble, "") << "what there is is listed";
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
