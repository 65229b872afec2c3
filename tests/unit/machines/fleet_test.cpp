#include "runtime/machines/fleet.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace weir::machines {
namespace {

using namespace std::chrono_literals;

const timestamp noon{std::chrono::sys_days{std::chrono::year{2026} / 11 / 28} + 12h};

class Fleet : public ::testing::Test {
protected:
  fleet_options options{.cluster = "live", .per_hour = 3, .per_day = 5, .join_within = 100s};
  machines::fleet f{options, 7};
  steady_time now{1h};
  timestamp wall = noon;
  std::vector<std::string> present; ///< what there is

  void pass(seconds time) {
    now += time;
    wall += time;
  }
  void again() { f = fleet(options, 7); }
  std::vector<order> due() { return f.due(now); }
  static std::vector<std::string> keys(const std::vector<order>& orders) {
    std::vector<std::string> all;
    for (auto& o : orders)
      all.push_back(key_of(o));
    return all;
  }
  void accept(const order& o) {
    answer said;
    if (o.kind == order_kind::begin && std::ranges::find(present, o.machine) == present.end())
      present.push_back(o.machine);
    if (o.kind == order_kind::end)
      std::erase(present, o.machine);
    if (o.kind == order_kind::list)
      said.machines = present;
    std::ranges::sort(said.machines);
    f.take(o, said, now, wall);
  }
  void refuse(const order& o, std::string why = "refused: no") { f.take(o, fail(error_code::unavailable, std::move(why)), now, wall); }
  /// Time with whoever has machines at work; what was ordered.
  std::vector<std::string> live(seconds time) {
    std::vector<std::string> ordered;
    for (auto end = now + time; now < end; pass(1s)) {
      f.kept(f.revision());
      for (auto& o : due()) {
        if (o.kind != order_kind::list)
          ordered.push_back(key_of(o));
        accept(o);
      }
      for (auto& name : f.gone())
        f.forgotten(name);
    }
    return ordered;
  }
  /// One that is kept and that its edge is seen of.
  std::string one_that_is_there() {
    live(1s);
    auto name = f.begin(1, now, wall).at(0);
    live(2s);
    f.see({edge_of(name)}, now);
    return name;
  }
  static edge_spec edge_of(const std::string& machine) { return {.name = edge_name{machine + "-1"}, .node = node_name{machine}}; }
  machine_phase phase(const std::string& name) {
    for (auto& one : f.statuses())
      if (one.name == name)
        return one.phase;
    ADD_FAILURE() << name << " is not known";
    return {};
  }
  std::vector<std::string> kinds() {
    std::vector<std::string> all;
    for (auto& n : f.news())
      all.push_back(n.kind);
    return all;
  }
};

TEST_F(Fleet, BeginsNothingBeforeItKnowsWhatThereIs) {
  EXPECT_EQ(f.may_begin(now, wall), 0u);
  EXPECT_NE(f.held_back(now, wall).find("could not be listed: not listed yet"), std::string::npos) << f.held_back(now, wall);
  auto asked = due();
  ASSERT_EQ(keys(asked), (std::vector<std::string>{"list"}));
  EXPECT_TRUE(due().empty()) << "one at a time";
  refuse(asked[0], "no route");
  EXPECT_EQ(f.may_begin(now, wall), 0u);
  EXPECT_EQ(f.trouble(), "no route");
  EXPECT_EQ(kinds(), (std::vector<std::string>{"edge-machines-not-listed"}));
  pass(10s);
  asked = due();
  refuse(asked.at(0), "no route");
  EXPECT_TRUE(f.news().empty()) << "said once";
  pass(10s);
  accept(due().at(0));
  EXPECT_EQ(f.may_begin(now, wall), 3u);
  EXPECT_EQ(f.held_back(now, wall), "");
}

TEST_F(Fleet, OrdersAMachineOnlyWhenItIsKept) {
  live(1s);
  auto names = f.begin(1, now, wall);
  ASSERT_EQ(names.size(), 1u);
  EXPECT_TRUE(due().empty());
  f.kept(f.revision());
  auto orders = due();
  ASSERT_EQ(keys(orders), (std::vector<std::string>{"begin " + names[0]}));
  EXPECT_EQ(orders[0].cluster, "live");
  EXPECT_EQ(orders[0].prefix, "live-edge-");
  EXPECT_TRUE(due().empty()) << "it is not answered yet";
  EXPECT_EQ(phase(names[0]), machine_phase::wanted);
  accept(orders[0]);
  EXPECT_EQ(phase(names[0]), machine_phase::coming);
  EXPECT_EQ(f.coming(), 1u);
  f.see({edge_of(names[0])}, now);
  EXPECT_EQ(phase(names[0]), machine_phase::there);
  EXPECT_EQ(f.coming(), 0u);
}

TEST_F(Fleet, OrdersTheSameOnesAgainAfterItWasKilled) {
  live(1s);
  auto names = f.begin(2, now, wall);
  f.kept(f.revision());
  auto text = f.text();
  auto orders = due();
  ASSERT_EQ(orders.size(), 2u);
  present.push_back(names[0]); // it was made, and nobody heard the answer
  again();
  ASSERT_TRUE(f.restore(text, now));
  EXPECT_EQ(f.coming(), 2u);
  auto ordered = live(3s);
  std::ranges::sort(ordered);
  std::ranges::sort(names);
  EXPECT_EQ(ordered, (std::vector<std::string>{"begin " + names[0], "begin " + names[1]}));
  EXPECT_EQ(present.size(), 2u);
  EXPECT_EQ(f.begun_within(1h, wall), 2u);

  f.end(names[0], now);
  text = f.text();
  again();
  ASSERT_TRUE(f.restore(text, now));
  EXPECT_EQ(live(2s), (std::vector<std::string>{"end " + names[0]}));
  EXPECT_EQ(present, (std::vector<std::string>{names[1]}));
}

TEST_F(Fleet, TakesOverWhatIsListedAndEndsItWhenItDoesNotCome) {
  const auto stray = make_name("live-edge-");
  present = {stray, "live-edge-database", "live-edge-databases2", make_name("other-edge-")};
  const std::vector<std::string> others(present.begin() + 1, present.end());
  live(2s);
  EXPECT_EQ(kinds(), (std::vector<std::string>{"edge-machine-found"}));
  EXPECT_EQ(f.statuses().size(), 1u);
  EXPECT_EQ(live(105s), (std::vector<std::string>{"end " + stray}));
  live(70s);
  EXPECT_TRUE(f.statuses().empty());
  EXPECT_EQ(present, others) << "of other people";
}

TEST_F(Fleet, EndsWhatDoesNotJoinInTimeAndWaitsLongerEachTime) {
  options.per_hour = options.per_day = 100;
  again();
  live(1s);
  seconds waited{};
  for (int round = 0; round < 3; ++round) {
    auto name = f.begin(1, now, wall).at(0);
    live(99s);
    EXPECT_EQ(phase(name), machine_phase::coming);
    EXPECT_EQ(live(4s), (std::vector<std::string>{"end " + name}));
    auto news = f.news();
    ASSERT_EQ(news.size(), 1u);
    EXPECT_EQ(news[0].kind, "edge-machine-failed");
    EXPECT_NE(news[0].text.find("its edge did not join within 100 s"), std::string::npos) << news[0].text;
    EXPECT_EQ(f.may_begin(now, wall), 0u);
    EXPECT_NE(f.held_back(now, wall).find("did not join"), std::string::npos);
    seconds wait{};
    for (; f.may_begin(now, wall) == 0; wait += 1s)
      live(1s);
    EXPECT_GT(wait, waited) << round;
    waited = wait;
  }
  auto name = f.begin(1, now, wall).at(0);
  live(5s);
  f.see({edge_of(name)}, now);
  EXPECT_GT(f.may_begin(now, wall), 0u);
}

TEST_F(Fleet, TriesARefusedOrderAgainAndThenGivesItUp) {
  live(1s);
  auto name = f.begin(1, now, wall).at(0);
  f.kept(f.revision());
  refuse(due().at(0), "refused: quota");
  EXPECT_EQ(f.statuses().at(0).trouble, "refused: quota");
  EXPECT_TRUE(due().empty());
  pass(5s);
  refuse(due().at(0), "refused: quota");
  pass(5s);
  EXPECT_TRUE(due().empty()) << "twice as long";
  pass(5s);
  refuse(due().at(0), "refused: quota");
  EXPECT_EQ(phase(name), machine_phase::ending) << "an answer may have been lost before";
  EXPECT_EQ(kinds(), (std::vector<std::string>{"edge-machine-failed"}));
  EXPECT_EQ(keys(due()), (std::vector<std::string>{"end " + name}));
}

TEST_F(Fleet, NeverForgetsWhatCouldNotBeEnded) {
  auto name = one_that_is_there();
  f.end(name, now);
  f.kept(f.revision());
  EXPECT_EQ(f.of(edge_of(name))->phase, machine_phase::ending);
  std::uint32_t tried = 0;
  for (auto end = now + 3h; now < end; pass(1s))
    for (auto& o : due()) {
      if (o.kind == order_kind::end)
        ++tried;
      o.kind == order_kind::end ? refuse(o, "timeout") : accept(o);
    }
  EXPECT_GT(tried, 30u);
  EXPECT_LT(tried, 50u) << "in the end each five minutes";
  EXPECT_EQ(kinds(), (std::vector<std::string>{"edge-machine-not-ended"})) << "said once";
  EXPECT_EQ(f.statuses().at(0).trouble, "timeout");
  live(302s);
  EXPECT_TRUE(present.empty());
  live(65s);
  EXPECT_TRUE(f.statuses().empty());
}

TEST_F(Fleet, EndsAgainWhatIsListedStill) {
  auto name = one_that_is_there();
  f.end(name, now);
  auto orders = due();
  ASSERT_EQ(keys(orders), (std::vector<std::string>{"end " + name}));
  accept(orders[0]);
  present.push_back(name); // whoever said so did not do it
  EXPECT_TRUE(f.gone().empty());
  EXPECT_TRUE(live(170s).empty());
  EXPECT_EQ(live(80s), (std::vector<std::string>{"end " + name}));
  live(65s);
  EXPECT_TRUE(f.statuses().empty());
}

TEST_F(Fleet, IsGoneOnlyWhenAListSaysSoAndTheNodeIsForgotten) {
  auto name = one_that_is_there();
  f.end(name, now);
  accept(due().at(0));
  EXPECT_TRUE(f.gone().empty());
  f.forgotten(name);
  EXPECT_EQ(f.statuses().size(), 1u);
  for (int i = 0; i < 60; ++i, pass(1s))
    for (auto& o : due())
      accept(o);
  ASSERT_EQ(f.gone(), (std::vector<std::string>{name}));
  EXPECT_NE(f.of(edge_of(name)), nullptr);
  f.forgotten(name);
  EXPECT_TRUE(f.statuses().empty());
  EXPECT_EQ(f.of(edge_of(name)), nullptr);
}

TEST_F(Fleet, EndsAMachineWhoseEdgeIsSeenNoMore) {
  auto name = one_that_is_there();
  for (int i = 0; i < 300; ++i) {
    EXPECT_TRUE(live(1s).empty());
    f.see({edge_of(name)}, now);
  }
  EXPECT_TRUE(live(95s).empty());
  EXPECT_EQ(live(10s), (std::vector<std::string>{"end " + name}));
  EXPECT_EQ(kinds(), (std::vector<std::string>{"edge-machine-lost"}));
}

TEST_F(Fleet, KnowsAnEdgeThatIsOnlyRemembered) {
  auto name = one_that_is_there();
  EXPECT_NE(f.of({.name = edge_name{name + "-1"}, .node = {}}), nullptr);
  EXPECT_EQ(f.of({.name = edge_name{name + "-x"}, .node = {}}), nullptr);
  EXPECT_EQ(f.of({.name = edge_name{name + "-1"}, .node = node_name{"other"}}), nullptr);
}

TEST_F(Fleet, BeginsNoMoreThanIsAllowedInAnHourAndADay) {
  live(1s);
  EXPECT_EQ(f.begin(10, now, wall).size(), 3u);
  EXPECT_EQ(f.may_begin(now, wall), 0u);
  EXPECT_NE(f.held_back(now, wall).find("autoscaler.per_hour"), std::string::npos);
  auto text = f.text();
  again();
  ASSERT_TRUE(f.restore(text, now));
  live(1s);
  EXPECT_EQ(f.may_begin(now, wall), 0u) << "a restart is no new hour";
  EXPECT_EQ(f.may_begin(now, wall - 20min), 0u) << "nor a clock that was set back";
  pass(61min);
  EXPECT_EQ(f.begin(10, now, wall).size(), 2u);
  EXPECT_NE(f.held_back(now, wall).find("autoscaler.per_day"), std::string::npos);
  pass(2h);
  EXPECT_EQ(f.may_begin(now, wall), 0u);
  pass(21h);
  EXPECT_EQ(f.may_begin(now, wall), 3u);
}

TEST_F(Fleet, OnlyListsWhenItRunsDry) {
  const auto stray = make_name("live-edge-");
  options.dry_run = true;
  again();
  present = {stray};
  EXPECT_TRUE(live(1h).empty());
  EXPECT_EQ(present.size(), 1u);
  EXPECT_EQ(f.may_begin(now, wall), 3u) << "what would be begun is said";
}

TEST_F(Fleet, RefusesWhatItDidNotKeep) {
  const auto good = make_name("live-edge-");
  EXPECT_TRUE(f.restore("", now));
  EXPECT_TRUE(f.restore("machines 1\nbegun 1764331200\nmachine " + good + " there 1764331200\n", now));
  EXPECT_EQ(phase(good), machine_phase::there);
  for (auto text : {std::string("machines 2\n"), std::string("machines 1\nbegun x\n"), std::string("machines 1\nbegun -5\n"), std::string("machines 1\n\n"),
                    "machines 1\nmachine " + good + " asleep 1764331200\n", std::string("machines 1\nmachine other there 1764331200\n"),
                    "machines 1\nmachine " + good + " there 99999999999999\n"}) {
    auto read = f.restore(text, now);
    ASSERT_FALSE(read) << text;
    EXPECT_EQ(read.error().code, error_code::corrupt);
    EXPECT_EQ(f.statuses().size(), 1u) << "what was there stays";
  }
}

/// Whoever has machines fails at random, answers get lost, and we are killed again and again: in the end nothing is left that nobody knows of.
TEST_F(Fleet, LosesNothingThatCostsMoney) {
  for (unsigned seed = 1; seed <= 60; ++seed) {
    std::mt19937 chance(seed);
    auto one_in = [&](unsigned n) { return chance() % n == 0; };
    options = {.cluster = "live", .per_hour = 20, .per_day = 200, .join_within = 100s};
    f = fleet(options, seed);
    present.clear();
    std::string kept;
    std::vector<order> under_way;
    for (int i = 0; i < 3000; ++i, pass(1s)) {
      if (one_in(40) && f.coming() < 3)
        f.begin(1, now, wall);
      if (one_in(60) && !f.statuses().empty())
        f.end(f.statuses()[chance() % f.statuses().size()].name, now);
      if (one_in(2)) {
        kept = f.text();
        f.kept(f.revision());
      }
      for (auto& o : due())
        under_way.push_back(o);
      if (!under_way.empty() && one_in(3)) {
        auto o = under_way[chance() % under_way.size()];
        std::erase(under_way, o);
        if (one_in(3)) {
          if (one_in(2) && o.kind == order_kind::begin && std::ranges::find(present, o.machine) == present.end())
            present.push_back(o.machine); // and the answer is lost
          refuse(o, "timeout");
        } else
          accept(o);
      }
      std::vector<edge_spec> seen;
      for (auto& name : present)
        if (name.back() < 'x') // the others never join
          seen.push_back(edge_of(name));
      f.see(seen, now);
      for (auto& name : f.gone())
        f.forgotten(name);
      if (one_in(500)) {
        again();
        under_way.clear();
        ASSERT_TRUE(f.restore(kept, now));
      }
      ASSERT_LE(f.begun_within(1h, wall), 20u);
    }
    for (auto& o : under_way)
      refuse(o, "timeout");
    for (auto& one : f.statuses())
      f.end(one.name, now);
    live(700s);
    for (auto& one : f.statuses()) // that were found only now
      f.end(one.name, now);
    live(700s);
    EXPECT_TRUE(present.empty()) << "seed " << seed;
    EXPECT_TRUE(f.statuses().empty()) << "seed " << seed;
  }
}

} // namespace
} // namespace weir::machines
