#include "runtime/steering/liveness.hpp"

#include <gtest/gtest.h>

#include <fmt/format.h>

namespace weir::steering {
namespace {

using namespace std::chrono_literals;
const steady_time zero{};
const probe_result good{true, 5ms, 1s, 4s};

TEST(PhiAccrual, SuspectsOnlyAfterTwoSecondsOfSilence) {
  phi_accrual phi;
  EXPECT_EQ(phi.phi(zero), 0);
  auto now = zero;
  for (int i = 0; i < 60; ++i)
    phi.heartbeat(now += i % 2 == 0 ? 950ms : 1050ms);
  EXPECT_LT(phi.phi(now + 1200ms), 8);
  EXPECT_GT(phi.phi(now + 2400ms), 8);
}

TEST(EdgeWatch, SeesSilenceMissesAndBrownOuts) {
  edge_watch w;
  EXPECT_EQ(w.view(zero), edge_view::unknown);
  w.probe(good);
  EXPECT_EQ(w.view(zero), edge_view::up);
  w.probe({});
  EXPECT_EQ(w.view(zero), edge_view::up);
  w.probe({});
  EXPECT_EQ(w.view(zero), edge_view::suspect);
  w.probe({true, 5ms, 7s, 4s});
  EXPECT_EQ(w.view(zero), edge_view::brown_out) << "it serves an old playlist";
  for (int i = 0; i < 3; ++i)
    w.probe({true, 700ms, 1s, 4s});
  EXPECT_EQ(w.view(zero), edge_view::brown_out);
  for (int i = 0; i < 3; ++i)
    w.probe(good);
  EXPECT_EQ(w.view(zero), edge_view::up);
}

/// Edges and observers that beat, probe and decide on a clock of 100 ms.
struct court {
  std::vector<edge_name> edges;
  std::vector<std::string> observers;
  std::map<std::pair<std::string, std::string>, edge_watch> watches;
  edge_jury jury;
  steady_time now{};
  std::set<std::string> dead;        ///< edges that do not answer
  std::set<std::string> cut_off;     ///< observers that hear nobody
  std::vector<edge_change> changes;
  std::vector<steady_time> at;

  court(std::size_t n, std::vector<std::string> who) : observers(std::move(who)), jury(jury_options{static_cast<std::uint32_t>(observers.size())}) {
    for (std::size_t i = 0; i < n; ++i) {
      edges.emplace_back(fmt::format("e{}", i));
      jury.add(edges.back());
    }
  }
  void run(std::chrono::milliseconds time) {
    for (auto end = now + time; now < end;) {
      now += 100ms;
      auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(now - zero).count();
      for (auto& o : observers)
        for (auto& e : edges) {
          auto& w = watches[{o, e.value}];
          bool heard = !dead.contains(e.value) && !cut_off.contains(o);
          if (heard && ms % 1000 == 0)
            w.heartbeat(now);
          if (ms % 1000 == 500) // sent half a second ago: the time-out is over
            w.probe(heard ? good : probe_result{});
          if (ms % 1000 == 0 || ms % 500 == 0)
            jury.observe(o, e, w.view(now), now);
        }
      for (auto& c : jury.decide(now)) {
        changes.push_back(c);
        at.push_back(now);
      }
    }
  }
};

TEST(EdgeJury, DeclaresADeadEdgeWithinThreeSeconds) { // A8
  court c(10, {"a", "b", "c"});
  c.run(20s);
  ASSERT_EQ(c.changes.size(), 10U);
  c.changes.clear();
  c.at.clear();
  auto death = c.now;
  c.dead.insert("e3");
  c.run(10s);
  ASSERT_FALSE(c.changes.empty());
  EXPECT_LE(c.at.front() - death, 2500ms);
  EXPECT_EQ(c.changes.back().to, edge_phase::dead);
  EXPECT_LE(c.at.back() - death, 3s);
  EXPECT_EQ(c.jury.phase(edge_name("e3")), edge_phase::dead);
}

TEST(EdgeJury, IsNotMovedByAnObserverThatIsCutOff) { // A11
  court c(10, {"a", "b", "c"});
  c.run(20s);
  c.changes.clear();
  c.cut_off.insert("b");
  c.run(600s);
  EXPECT_TRUE(c.changes.empty());
}

TEST(EdgeJury, HoldsTheLastViewWhenHalfOfTheEdgesSeemToDie) { // A17
  court c(10, {"a", "b", "c"});
  c.run(20s);
  c.changes.clear();
  for (int i = 0; i < 6; ++i)
    c.dead.insert(fmt::format("e{}", i));
  c.run(30s);
  for (auto& change : c.changes)
    EXPECT_NE(change.to, edge_phase::dead);
  EXPECT_TRUE(c.jury.panicking());
}

TEST(EdgeJury, TakesAnEdgeBackAfterFiveGoodProbesAndHoldsAFlappingOneOut) {
  court c(4, {"a"});
  c.run(20s);
  for (int i = 0; i < 3; ++i) {
    c.dead.insert("e1");
    c.run(5s);
    EXPECT_EQ(c.jury.phase(edge_name("e1")), edge_phase::dead);
    c.dead.erase("e1");
    c.run(20s);
    EXPECT_EQ(c.jury.phase(edge_name("e1")), i < 2 ? edge_phase::serving : edge_phase::dead);
  }
  c.run(600s);
  EXPECT_EQ(c.jury.phase(edge_name("e1")), edge_phase::serving);
  EXPECT_GT(c.jury.serving_since(edge_name("e1")), zero + 600s);
}

TEST(EdgeJury, LeavesADrainingEdgeAlone) {
  court c(3, {"a"});
  c.run(20s);
  c.jury.drain(edge_name("e0"), true);
  c.dead.insert("e0");
  c.changes.clear();
  c.run(20s);
  EXPECT_TRUE(c.changes.empty());
  EXPECT_EQ(c.jury.phase(edge_name("e0")), edge_phase::draining);
}

} // namespace
} // namespace weir::steering
