#include "runtime/steering/liveness.hpp"
#include "runtime/base/phi_accrual.hpp"

#include <gtest/gtest.h>

#include <random>

#include <fmt/format.h>

namespace weir::steering {
namespace {

using namespace std::chrono_literals;
const steady_time zero{};
const probe_result good{true, 5ms, {}}, slow{true, 700ms, {}}, bad{false, 5ms, "status 404"};

TEST(PhiAccrual, SuspectsOnlyAfterTwoSecondsOfSilence) {
  phi_accrual phi;
  EXPECT_EQ(phi.phi(zero), 0);
  auto now = zero;
  for (int i = 0; i < 60; ++i)
    phi.heartbeat(now += i % 2 == 0 ? 950ms : 1050ms);
  EXPECT_LT(phi.phi(now + 1200ms), 8);
  EXPECT_GT(phi.phi(now + 2400ms), 8);
}

TEST(EdgeWatch, SeesMissesAndBrownOuts) {
  edge_watch w;
  EXPECT_EQ(w.view(zero), edge_view::unknown);
  w.probe(good);
  EXPECT_EQ(w.view(zero), edge_view::up);
  w.probe(bad);
  EXPECT_EQ(w.view(zero), edge_view::up);
  w.probe(bad);
  EXPECT_EQ(w.view(zero), edge_view::suspect);
  EXPECT_EQ(w.good_probes(), 0U);
  for (int i = 0; i < 3; ++i)
    w.probe(slow);
  EXPECT_EQ(w.view(zero), edge_view::brown_out);
  for (int i = 0; i < 3; ++i)
    w.probe(good);
  EXPECT_EQ(w.view(zero), edge_view::up);
  EXPECT_EQ(w.good_probes(), 3U);
}

TEST(EdgeWatch, TakesAProbeForMissedAsSoonAsItIsLateAndForSlowWhenItComesAfterAll) {
  edge_watch w;
  w.probe(good);
  w.probe(bad);
  w.asked(zero);
  EXPECT_EQ(w.view(zero + 499ms), edge_view::up);
  EXPECT_EQ(w.view(zero + 500ms), edge_view::suspect) << "nobody waits for its deadline";
  w.probe(slow);
  EXPECT_EQ(w.view(zero + 700ms), edge_view::up);
  edge_watch fresh;
  fresh.asked(zero);
  EXPECT_EQ(fresh.view(zero + 400ms), edge_view::unknown);
}

/// Edges and observers that probe and decide on a clock of 100 ms. A probe is asked on the second, each pair at another tenth.
struct court {
  std::vector<edge_name> edges;
  std::vector<node_name> observers;
  std::map<std::pair<node_name, edge_name>, edge_watch> watches;
  edge_jury jury;
  steady_time now{};
  std::set<std::string> dead;          ///< edges that do not answer
  std::set<std::string> slow_ones;
  std::set<std::string> cut_off;       ///< observers that reach nobody
  std::set<std::string> silent;        ///< observers that nobody hears
  std::set<std::pair<std::string, std::string>> cut; ///< observer, edge: the way between them
  double loss = 0;                     ///< of probes
  std::mt19937_64 chance{1};
  std::vector<edge_change> changes;
  std::vector<steady_time> at;

  court(std::size_t n, const std::vector<std::string>& who) {
    for (auto& w : who)
      observers.emplace_back(w);
    for (std::size_t i = 0; i < n; ++i) {
      edges.emplace_back(fmt::format("e{}", i));
      jury.add(edges.back());
    }
  }
  void run(std::chrono::milliseconds time) {
    for (auto end = now + time; now < end;) {
      now += 100ms;
      auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(now - zero).count();
      long pair = 0;
      for (auto& o : observers)
        for (auto& e : edges) {
          auto& w = watches[{o, e}];
          auto phase = (ms + 300 * pair++ + 200 * std::distance(&observers.front(), &o)) % 1000;
          const bool heard = !dead.contains(e.value) && !cut_off.contains(o.value) && !cut.contains({o.value, e.value}) &&
                             (loss == 0 || std::bernoulli_distribution(1 - loss)(chance));
          if (phase == 0) {
            w.asked(now);
            if (heard && !slow_ones.contains(e.value))
              w.probe(good);
            else
              waiting_.insert({o, e});
          } else if (phase == 900 && waiting_.erase({o, e}) != 0) {
            w.probe(heard && slow_ones.contains(e.value) ? slow : bad);
          }
          if (!silent.contains(o.value))
            jury.observe(e, {.observer = o, .view = w.view(now), .good = w.good_probes(), .milliseconds = 5, .text = {}}, now);
        }
      for (auto& c : jury.decide(now)) {
        changes.push_back(c);
        at.push_back(now);
      }
    }
  }
  void forget_changes() {
    changes.clear();
    at.clear();
  }
  edge_phase phase(const std::string& edge) const { return jury.phase(edge_name(edge)); }
  std::size_t moves() const { // changes of the edge set
    return static_cast<std::size_t>(std::ranges::count_if(changes, [](auto& c) { return c.to == edge_phase::dead || c.from == edge_phase::dead; }));
  }

private:
  std::set<std::pair<node_name, edge_name>> waiting_; ///< probes that are under way
};

TEST(EdgeJury, DeclaresADeadEdgeWithinThreeSeconds) { // A8
  for (auto start = 20000ms; start < 21000ms; start += 100ms) {
    court c(10, {"a", "b", "c"});
    c.run(start);
    ASSERT_EQ(c.changes.size(), 10U);
    c.forget_changes();
    auto death = c.now;
    c.dead.insert("e3");
    c.run(10s);
    ASSERT_FALSE(c.changes.empty());
    EXPECT_LE(c.at.front() - death, 2500ms);
    EXPECT_EQ(c.changes.back().to, edge_phase::dead);
    EXPECT_LE(c.at.back() - death, 3s);
    EXPECT_EQ(c.phase("e3"), edge_phase::dead);
  }
}

TEST(EdgeJury, IsNotMovedByAnObserverThatIsCutOff) { // A11
  court c(10, {"a", "b", "c"});
  c.run(20s);
  c.forget_changes();
  c.cut_off.insert("b");
  c.run(600s);
  EXPECT_TRUE(c.changes.empty());
}

TEST(EdgeJury, HoldsWithMostWhereOneOfThreeDoesNotReachAnEdge) {
  court c(4, {"a", "b", "c"});
  c.run(20s);
  c.forget_changes();
  c.cut.insert({"a", "e1"});
  c.run(600s);
  EXPECT_TRUE(c.changes.empty());
  EXPECT_EQ(c.jury.sights(edge_name("e1"), c.now).size(), 3U);
}

TEST(EdgeJury, OneOfTwoClosesAnEdgeToNewViewersAndNoMore) {
  court c(4, {"a", "b"});
  c.run(20s);
  c.cut.insert({"a", "e1"});
  c.run(600s);
  EXPECT_EQ(c.phase("e1"), edge_phase::suspect);
  EXPECT_EQ(c.moves(), 0U);
  c.cut.clear();
  c.run(3s);
  EXPECT_EQ(c.phase("e1"), edge_phase::serving);
}

TEST(EdgeJury, OneThatIsLeftDoesNotDecideAlone) {
  court c(4, {"a", "b", "c"});
  c.run(20s);
  c.silent = {"b", "c"};
  c.run(10s);
  c.dead.insert("e1");
  c.run(30s);
  EXPECT_EQ(c.phase("e1"), edge_phase::suspect);
  c.jury.forget(node_name("b")); // it was stopped
  c.run(2s);
  EXPECT_EQ(c.phase("e1"), edge_phase::suspect) << "c may still be there, cut off from us";
  c.jury.forget(node_name("c"));
  c.run(1s);
  EXPECT_EQ(c.phase("e1"), edge_phase::dead) << "there is no other";
  c.dead.clear();
  c.run(10s);
  EXPECT_EQ(c.phase("e1"), edge_phase::serving);
}

TEST(EdgeJury, KeepsTheLastViewWhileNobodyIsHeard) {
  court c(4, {"a", "b", "c"});
  c.run(20s);
  c.forget_changes();
  c.silent = {"a", "b", "c"};
  c.dead.insert("e1");
  c.run(60s);
  EXPECT_TRUE(c.changes.empty());
}

TEST(EdgeJury, HoldsTheLastViewWhenHalfOfTheEdgesSeemToDie) { // A17
  court c(10, {"a", "b", "c"});
  c.run(20s);
  c.forget_changes();
  for (int i = 0; i < 6; ++i)
    c.dead.insert(fmt::format("e{}", i));
  c.run(30s);
  EXPECT_EQ(c.moves(), 0U);
  EXPECT_TRUE(c.jury.panicking());
  for (auto& e : c.edges)
    EXPECT_EQ(c.jury.phase(e), edge_phase::serving) << "closed to nobody";
  c.dead.erase("e0");
  c.dead.erase("e1");
  c.run(10s);
  EXPECT_EQ(std::ranges::count_if(c.edges, [&](auto& e) { return c.jury.phase(e) == edge_phase::dead; }), 4) << "fewer than half may die";
}

TEST(EdgeJury, TakesTheFirstDeathOfAWaveBack) {
  edge_jury jury;
  auto t = zero + 1h;
  auto see = [&](int edge, edge_view view) { jury.observe(edge_name(fmt::format("e{}", edge)), {.observer = node_name("a"), .view = view, .good = 9, .milliseconds = 5, .text = {}}, t); };
  for (int i = 0; i < 4; ++i) {
    jury.add(edge_name(fmt::format("e{}", i)));
    see(i, edge_view::up);
  }
  EXPECT_EQ(jury.decide(t).size(), 4U);
  see(0, edge_view::suspect);
  EXPECT_EQ(jury.decide(t).size(), 1U);
  EXPECT_EQ(jury.phase(edge_name("e0")), edge_phase::dead);
  t += 500ms;
  see(1, edge_view::suspect);
  see(2, edge_view::suspect);
  jury.decide(t);
  for (int i = 0; i < 4; ++i)
    EXPECT_EQ(jury.phase(edge_name(fmt::format("e{}", i))), edge_phase::serving) << i;
}

TEST(EdgeJury, TakesSeveralEdgesOfOneMachineOutTogether) {
  court c(10, {"a", "b", "c"});
  c.run(20s);
  c.forget_changes();
  auto death = c.now;
  c.dead = {"e1", "e2", "e3", "e4"};
  c.run(10s);
  std::set<steady_time> tables;
  for (std::size_t i = 0; i < c.changes.size(); ++i)
    if (c.changes[i].to == edge_phase::dead)
      tables.insert(c.at[i]);
  EXPECT_EQ(c.moves(), 4U);
  EXPECT_LE(tables.size(), 2U) << "the first one, at most, before it is known that there are more";
  EXPECT_LE(*tables.rbegin() - death, 4500ms);
}

TEST(EdgeJury, IsNotHeldUpByALinkThatComesAndGoes) {
  court c(10, {"a", "b", "c"});
  c.run(20s);
  c.dead.insert("e3");
  for (int i = 0; i < 20; ++i) {
    c.cut = i % 2 == 0 ? std::set<std::pair<std::string, std::string>>{{"a", "e5"}, {"b", "e7"}} : std::set<std::pair<std::string, std::string>>{{"a", "e6"}};
    c.run(500ms);
  }
  EXPECT_EQ(c.phase("e3"), edge_phase::dead);
  EXPECT_EQ(c.phase("e5"), edge_phase::serving);
}

TEST(EdgeJury, DoesNotFlapWithLostProbes) { // A12
  court c(4, {"a", "b", "c"});
  c.run(20s);
  c.forget_changes();
  c.loss = 0.01;
  c.run(std::chrono::hours(1));
  EXPECT_EQ(c.moves(), 0U);
}

TEST(EdgeJury, TakesMissingReportsForNoSignOfDeath) {
  court c(4, {"a", "b", "c"});
  c.run(20s);
  c.jury.doubt(edge_name("e1"), "no report of its load for 15 s");
  c.run(60s);
  EXPECT_EQ(c.phase("e1"), edge_phase::suspect);
  c.jury.doubt(edge_name("e1"), {});
  c.run(1s);
  EXPECT_EQ(c.phase("e1"), edge_phase::serving);
  EXPECT_EQ(c.moves(), 0U);
}

TEST(EdgeJury, SeesBrownOutsUnlessMostAreSlow) {
  court c(4, {"a", "b", "c"});
  c.run(20s);
  c.slow_ones = {"e1", "e2"};
  c.run(10s);
  EXPECT_EQ(c.jury.brown_outs(c.now), (std::set<edge_name>{edge_name("e1"), edge_name("e2")}));
  c.slow_ones.insert("e3");
  c.run(10s);
  EXPECT_TRUE(c.jury.brown_outs(c.now).empty()) << "more likely the origin";
  EXPECT_EQ(c.moves(), 0U);
}

TEST(EdgeJury, TakesAnEdgeBackAfterFiveGoodProbesAndHoldsAFlappingOneOut) {
  court c(4, {"a", "b", "c"});
  c.run(20s);
  for (int i = 0; i < 3; ++i) {
    c.dead.insert("e1");
    c.run(5s);
    EXPECT_EQ(c.phase("e1"), edge_phase::dead);
    c.dead.erase("e1");
    c.run(20s);
    EXPECT_EQ(c.phase("e1"), i < 2 ? edge_phase::serving : edge_phase::dead);
  }
  c.run(600s);
  EXPECT_EQ(c.phase("e1"), edge_phase::serving);
  EXPECT_GT(c.jury.serving_since(edge_name("e1")), zero + 600s);
}

TEST(EdgeJury, LeavesADrainingEdgeAlone) {
  court c(3, {"a"});
  c.run(20s);
  c.jury.drain(edge_name("e0"), true);
  c.dead.insert("e0");
  c.forget_changes();
  c.run(20s);
  EXPECT_TRUE(c.changes.empty());
  EXPECT_EQ(c.phase("e0"), edge_phase::draining);
}

} // namespace
} // namespace weir::steering
