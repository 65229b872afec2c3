// Edges that share a network, on a simulated clock: what each of them does by what the coordinator says and by what ARP says.
#include "runtime/steering/take_over.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <map>
#include <set>

namespace weir::testing {
namespace {

using namespace std::chrono_literals;
using steering::take_over;

shared_address address_of(const std::string& host) { return {.address = host + "/24", .network = {}, .service = "http:8081"}; }

/// A machine with one edge.
struct machine {
  shared_address own;
  take_over keeper;
  bool runs = true;    ///< the machine: its kernel answers for what is on its interface
  bool process = true; ///< weir
  bool linked = true;
  bool serves = true;
  bool hears = true;   ///< the coordinator
  bool refuses = false; ///< its kernel puts no address on the interface
  bool apart = false;  ///< behind a cut that its interface does not see
  std::set<std::string> addresses; ///< on its interface

  machine(const std::string& name, shared_address address) : own(address), keeper(edge_name{name}, address) {}
  bool is_up() const { return runs && process; }
};

class TakeOver : public ::testing::Test {
protected:
  std::map<std::string, machine> all;
  std::map<std::string, edge_phase> phases;
  steady_time t{std::chrono::hours(1)};
  std::set<std::string> wanting; ///< edges that are heard to want their address, whatever else
  bool forgetful = false;       ///< the coordinator: it does not know who has what, as just after its start
  int announced = 0;
  int duplicates = 0; ///< steps in which an address was on two machines that reach each other
  std::vector<std::string> told;

  void SetUp() override {
    for (auto name : {"a", "b", "c"})
      add(name, address_of(fmt::format("10.0.0.{}", 5 + all.size())));
    run(3s);
    ASSERT_EQ(holders(), "a:10.0.0.5 b:10.0.0.6 c:10.0.0.7");
    told.clear();
    announced = 0;
  }
  void add(const std::string& name, shared_address address) {
    all.emplace(name, machine(name, address));
    phases[name] = edge_phase::serving;
  }
  std::string holders() const {
    std::string text;
    for (auto& [name, m] : all)
      for (auto& a : m.addresses)
        text += fmt::format("{}{}:{}", text.empty() ? "" : " ", name, a);
    return text;
  }
  std::vector<edge_neighbour> neighbours() const {
    std::vector<edge_neighbour> list;
    for (auto& [name, m] : all) {
      edge_neighbour n{.edge = edge_name{name}, .address = m.own, .phase = phases.at(name), .wants = wanting.contains(name) || (m.is_up() && m.hears && m.keeper.wants_own()),
                       .able = m.is_up() && m.hears && m.keeper.able(), .held_by = {}};
      for (auto& [other, o] : all)
        if (o.is_up() && o.hears && !forgetful)
          for (auto& [of, address] : o.keeper.answers_for())
            if (of == n.edge)
              n.held_by = edge_name{other};
      list.push_back(std::move(n));
    }
    return list;
  }
  static bool reach(const machine& one, const machine& other) { return one.runs && other.runs && one.linked && other.linked && one.apart == other.apart; }
  void say(machine& by, steering::address_act what, const std::string& address) {
    announced += what == steering::address_act::announce;
    for (auto& [name, other] : all) {
      if (&other == &by || !reach(by, other))
        continue;
      if (other.is_up())
        other.keeper.heard(address, what == steering::address_act::probe, "02:00", t);
      if (what == steering::address_act::probe && other.addresses.contains(address))
        by.keeper.heard(address, false, "02:" + name, t);
    }
  }
  void act(const std::string& name, machine& m) {
    if (!m.is_up())
      return;
    auto orders = m.keeper.decide(m.linked, m.serves, t);
    const auto held = m.keeper.held();
    std::erase_if(m.addresses, [&](auto& a) { return std::ranges::find(held, a) == held.end(); });
    for (auto& [what, address] : orders)
      if (what == steering::address_act::add && m.refuses)
        m.keeper.refused(address, "the kernel says no", t);
      else if (what == steering::address_act::add)
        m.addresses.insert(address);
      else
        say(m, what, address);
    for (auto& n : m.keeper.news())
      told.push_back(fmt::format("{} {} {}", name, n.kind, n.address));
  }
  void step() {
    t += 100ms;
    const auto news = neighbours();
    const bool ask = t.time_since_epoch() % 500ms == 0ms;
    for (auto& [name, m] : all) {
      if (m.is_up() && m.hears && (ask || m.keeper.uneasy()))
        m.keeper.learn(news, t);
      if (t.time_since_epoch() % 200ms == 0ms)
        act(name, m);
    }
    std::vector<std::pair<std::string, const machine*>> seen;
    for (auto& [name, m] : all)
      for (auto& address : m.addresses) {
        duplicates += std::ranges::any_of(seen, [&](auto& s) { return s.first == address && reach(*s.second, m); });
        seen.emplace_back(address, &m);
      }
  }
  void run(milliseconds d) {
    for (auto until = t + d; t < until;)
      step();
  }
  /// Seconds until it is so; very many when it is not within a minute.
  template <class F>
  double until(F&& so) {
    const auto from = t;
    while (!so()) {
      if (t - from > 60s)
        return 1e9;
      step();
    }
    return std::chrono::duration<double>(t - from).count();
  }
  bool has(const std::string& name, const std::string& address) const { return all.at(name).addresses.contains(address); }
  std::string heir_of(const std::string& name) const {
    const auto list = neighbours();
    auto of = std::ranges::find(list, edge_name{name}, &edge_neighbour::edge);
    return steering::successor(*of, list).value_or(edge_name{}).value;
  }
  /// As observers and coordinator find it: suspect after 1.7 s, dead after 2.8 s.
  void die(const std::string& name) {
    all.at(name).runs = false;
    run(1700ms);
    phases[name] = edge_phase::suspect;
    run(1100ms);
    phases[name] = edge_phase::dead;
  }
  std::string other_than(const std::string& one, const std::string& two) const {
    for (auto& [name, m] : all)
      if (name != one && name != two)
        return name;
    return {};
  }
  long count(const std::string& what) const {
    return std::ranges::count_if(told, [&](auto& line) { return line.find(what) != line.npos; });
  }
};

TEST_F(TakeOver, OfADeadMachineIsDoneWithinThreeTenthsOfItsVerdictByItsSuccessorAlone) {
  const auto heir = heir_of("a");
  die("a");
  EXPECT_FALSE(has(heir, "10.0.0.5")) << "a suspicion alone takes nothing";
  const auto took = until([&] { return has(heir, "10.0.0.5"); });
  EXPECT_LE(took, 0.3);
  run(10s);
  EXPECT_FALSE(has(other_than("a", heir), "10.0.0.5"));
  EXPECT_EQ(count(heir + " address-taken 10.0.0.5"), 1);
  EXPECT_EQ(announced, 5);
  EXPECT_EQ(told.size(), 1u);
}

TEST_F(TakeOver, IsUndoneWhenTheMachineIsBackWithNoMomentInWhichTwoHaveTheAddress) {
  const auto heir = heir_of("a");
  die("a");
  ASSERT_LE(until([&] { return has(heir, "10.0.0.5"); }), 1);
  run(20s);
  auto& a = all.at("a"); // booted anew: nothing on its interface
  a = machine("a", a.own);
  const auto back = until([&] { return has("a", "10.0.0.5"); });
  EXPECT_LE(back, 2.5) << "the heir hears that it is wanted, and it asks again a second after it was answered";
  EXPECT_FALSE(has(heir, "10.0.0.5"));
  run(5s);
  phases["a"] = edge_phase::serving;
  run(5s);
  EXPECT_EQ(holders(), "a:10.0.0.5 b:10.0.0.6 c:10.0.0.7");
  EXPECT_EQ(duplicates, 0);
  EXPECT_EQ(count("address-in-use"), 0) << "that it answers before it counts as alive is as it should be";
}

TEST_F(TakeOver, IsNotDoneForAnEdgeThatIsBackAlready) {
  const auto heir = heir_of("a");
  wanting = {"a"};
  die("a");
  run(5s);
  EXPECT_EQ(count("address-taken"), 0);
  wanting.clear();
  EXPECT_LE(until([&] { return has(heir, "10.0.0.5"); }), 1);
  phases["a"] = edge_phase::serving; // seen by others, and it does not say itself what it has
  EXPECT_LE(until([&] { return !has(heir, "10.0.0.5"); }), 0.7);
}

TEST_F(TakeOver, WaitsForAnEdgeThatDoesNotServeYet) {
  const auto heir = heir_of("a");
  die("a");
  run(1s);
  all.at("a") = machine("a", all.at("a").own);
  all.at("a").serves = false;
  run(10s);
  EXPECT_TRUE(has(heir, "10.0.0.5")) << "it is heard, but its nginx does not answer";
  all.at("a").keeper.heard("10.0.0.5", false, "02:" + heir, t);
  EXPECT_EQ(count("a "), 0) << "it does not even ask, and has nothing to say of who has it";
  EXPECT_EQ(all.at("a").keeper.trouble(), "");
  EXPECT_TRUE(all.at("a").keeper.news().empty());
}

TEST_F(TakeOver, IsDoneForAnEdgeWhoseNginxIsGone) {
  const auto heir = heir_of("a");
  all.at("a").serves = false;
  run(3s);
  EXPECT_TRUE(has("a", "10.0.0.5")) << "as long as others get answers from it";
  phases["a"] = edge_phase::dead;
  EXPECT_LE(until([&] { return has(heir, "10.0.0.5"); }), 2);
  EXPECT_FALSE(has("a", "10.0.0.5"));
  run(5s);
  all.at("a").serves = true;
  const auto back = until([&] { return has("a", "10.0.0.5"); });
  EXPECT_GE(back, 5) << "it proves first that it goes on";
  EXPECT_LE(back, 7.5);
  EXPECT_FALSE(has(heir, "10.0.0.5"));
  EXPECT_EQ(duplicates, 0);
}

TEST_F(TakeOver, FlapsLessAndLessWithAnNginxThatCrashesAgainAndAgain) {
  auto& a = all.at("a");
  auto crash = [&] {
    phases["a"] = edge_phase::dead;
    a.serves = false;
    run(2s);
    EXPECT_FALSE(has("a", "10.0.0.5"));
    a.serves = true;
    return until([&] { return has("a", "10.0.0.5"); });
  };
  crash();
  EXPECT_GE(crash(), 10);
  EXPECT_GE(crash(), 20);
  a.serves = false;
  run(2s);
  a.serves = true;
  run(30s);
  a.serves = false;
  run(1s);
  a.serves = true;
  run(35s);
  EXPECT_FALSE(has("a", "10.0.0.5")) << "forty seconds without a break";
  EXPECT_LE(until([&] { return has("a", "10.0.0.5"); }), 8);
  phases["a"] = edge_phase::serving;
  run(601s);
  EXPECT_LE(crash(), 7.5) << "it was well for long";
}

TEST_F(TakeOver, StaysWhereItIsWhenTheCoordinatorStartsAnew) {
  const auto heir = heir_of("a"), last = other_than("a", heir);
  die("a");
  run(2s);
  ASSERT_TRUE(has(heir, "10.0.0.5"));
  for (auto& [name, phase] : phases)
    phase = edge_phase::starting;
  forgetful = true;
  run(1s);
  phases[last] = edge_phase::serving; // that one is seen first
  run(2s);
  EXPECT_TRUE(has(heir, "10.0.0.5")) << "nobody has said yet who has it";
  forgetful = false;
  run(5s);
  EXPECT_TRUE(has(heir, "10.0.0.5")) << "who has it goes on, seen or not";
  phases["a"] = edge_phase::dead;
  run(2s);
  EXPECT_EQ(heir_of("a"), heir);
  phases[heir] = edge_phase::serving;
  run(5s);
  EXPECT_TRUE(has(heir, "10.0.0.5"));
  EXPECT_FALSE(has(last, "10.0.0.5"));
  EXPECT_EQ(count("address-given-back"), 0);
  EXPECT_EQ(count("address-taken"), 1);
}

TEST_F(TakeOver, RemindsForAWhileOfWhoIsMissingInTheNews) {
  auto& b = all.at("b").keeper;
  add("far", address_of("10.0.1.5"));
  run(1s);
  EXPECT_TRUE(b.unlisted().empty());
  all.erase("a");
  all.erase("far");
  run(1s);
  const std::vector<std::pair<edge_name, shared_address>> lost{{edge_name{"a"}, address_of("10.0.0.5")}};
  EXPECT_EQ(b.unlisted(), lost) << "and of nobody elsewhere";
  add("a", address_of("10.0.0.5"));
  run(1s);
  EXPECT_TRUE(b.unlisted().empty());
  all.erase("a");
  run(29s);
  EXPECT_EQ(b.unlisted(), lost);
  run(3s);
  EXPECT_TRUE(b.unlisted().empty());
}

TEST_F(TakeOver, PassesOverAnEdgeThatCannotDoIt) {
  const auto heir = heir_of("a"), last = other_than("a", heir);
  all.at(heir).refuses = true;
  die("a");
  EXPECT_LE(until([&] { return has(last, "10.0.0.5"); }), 3);
  EXPECT_FALSE(all.at(heir).keeper.able());
  all.at(heir).refuses = false;
  run(70s);
  EXPECT_TRUE(all.at(heir).keeper.able());
  EXPECT_TRUE(has(last, "10.0.0.5"));
  EXPECT_EQ(count("address-given-back"), 0) << "who does it goes on";
}

TEST_F(TakeOver, PassesOverAnEdgeThatIsNotHeard) {
  const auto heir = heir_of("a"), last = other_than("a", heir);
  all.at(heir).hears = false;
  die("a");
  EXPECT_LE(until([&] { return has(last, "10.0.0.5"); }), 1);
}

TEST_F(TakeOver, StaysWithTheHeirWhileTheOwnerCannotHaveIt) {
  const auto heir = heir_of("a");
  die("a");
  run(2s);
  auto& a = all.at("a");
  a = machine("a", a.own);
  a.refuses = true;
  ASSERT_LE(until([&] { return !has(heir, "10.0.0.5"); }), 2) << "it wants it";
  EXPECT_LE(until([&] { return has(heir, "10.0.0.5"); }), 4) << "and cannot have it";
  EXPECT_FALSE(a.keeper.wants_own());
  EXPECT_EQ(a.keeper.trouble(), "the kernel says no");
  milliseconds nobody{0};
  for (const auto end = t + 120s; t < end; step())
    nobody += has(heir, "10.0.0.5") ? 0ms : 100ms;
  EXPECT_LE(nobody, 10s) << "it tries again once a minute";
  EXPECT_GT(nobody, 0s);
  a.refuses = false;
  run(10s);
  EXPECT_LE(until([&] { return has("a", "10.0.0.5"); }), 60);
  run(2s);
  EXPECT_FALSE(has(heir, "10.0.0.5"));
  EXPECT_EQ(duplicates, 0);
}

TEST_F(TakeOver, IsDoneAnewWithWhatOtherHandsTookOff) {
  auto& b = all.at("b");
  b.addresses.clear();
  b.keeper.lost("10.0.0.6", t);
  b.keeper.lost("10.0.0.99", t); // it never had that
  EXPECT_FALSE(b.keeper.holds_own());
  EXPECT_EQ(b.keeper.trouble(), "other hands have taken it off the interface");
  EXPECT_LE(until([&] { return has("b", "10.0.0.6"); }), 1.2);
  EXPECT_EQ(b.keeper.trouble(), "");
}

TEST_F(TakeOver, CountsAnAddressInUseFromItsLastTryOnly) {
  auto& b = all.at("b");
  b.linked = false;
  run(1s);
  add("x", address_of("10.0.0.30"));
  all.at("x").process = false;
  all.at("x").addresses = {"10.0.0.6"};
  b.linked = true;
  run(2s);
  b.linked = false;
  run(20s);
  told.clear();
  b.linked = true;
  run(5s);
  EXPECT_EQ(count("b address-in-use"), 0) << "it was answered for 5 s only";
  run(10s);
  EXPECT_EQ(count("b address-in-use"), 1);
}

TEST_F(TakeOver, GoesOnWithTheNextOneWhenTheSuccessorDiesToo) {
  const auto heir = heir_of("a"), last = other_than("a", heir);
  die("a");
  run(2s);
  ASSERT_TRUE(has(heir, "10.0.0.5"));
  die(heir);
  EXPECT_TRUE(has(last, "10.0.0.5")) << "it did not wait for the verdict on one that is not heard";
  EXPECT_LE(until([&] { return has(last, all.at(heir).keeper.own()); }), 1);
  EXPECT_EQ(all.at(last).addresses.size(), 3u);
}

TEST_F(TakeOver, GoesToTheNextOneWhenTheSuccessorCountsAsDeadAndIsNot) {
  const auto heir = heir_of("a"), last = other_than("a", heir);
  die("a");
  run(2s);
  phases[heir] = edge_phase::dead;
  EXPECT_LE(until([&] { return has(last, "10.0.0.5"); }), 2);
  EXPECT_EQ(all.at(heir).addresses.size(), 1u) << "its own: it answers when it is asked";
  run(5s);
  EXPECT_EQ(all.at(last).addresses.size(), 2u);
  EXPECT_EQ(duplicates, 0);
}

TEST_F(TakeOver, LeavesTheAddressOfAMachineThatAnswersForIt) {
  const auto heir = heir_of("a");
  all.at("a").process = false; // the machine lives: connections to it are refused at once
  run(3s);
  phases["a"] = edge_phase::dead;
  run(20s);
  EXPECT_TRUE(has("a", "10.0.0.5"));
  EXPECT_FALSE(has(heir, "10.0.0.5"));
  EXPECT_EQ(count(heir + " address-in-use 10.0.0.5"), 1) << "said once";
  all.at("a").runs = false;
  const auto took = until([&] { return has(heir, "10.0.0.5"); });
  EXPECT_LE(took, 2) << "it asks again each second";
  EXPECT_EQ(duplicates, 0);
}

TEST_F(TakeOver, TakesNothingByOldNews) {
  const auto heir = heir_of("a");
  die("a");
  all.at(heir).hears = false;
  all.at(heir).keeper.learn(neighbours(), t - 4s); // it was told, long ago
  run(20s);
  EXPECT_FALSE(has(heir, "10.0.0.5"));
}

TEST_F(TakeOver, KeepsWhatItHasThroughAnAbsenceOfTheCoordinatorAndGivesItBackAfterHalfAMinute) {
  const auto heir = heir_of("a");
  die("a");
  run(1s);
  all.at(heir).hears = false;
  run(25s);
  EXPECT_TRUE(has(heir, "10.0.0.5"));
  const auto own = all.at(heir).own.address;
  EXPECT_LE(until([&] { return !has(heir, "10.0.0.5"); }), 7);
  EXPECT_EQ(all.at(heir).addresses.size(), 1u) << "its own stays";
}

TEST_F(TakeOver, TakesEverythingOffAnInterfaceWithoutALink) {
  const auto heir = heir_of("a");
  die("a");
  run(1s);
  all.at(heir).linked = false;
  run(300ms);
  EXPECT_TRUE(all.at(heir).addresses.empty());
  all.at(heir).linked = true; // before anybody has missed it
  EXPECT_LE(until([&] { return all.at(heir).addresses.size() == 2; }), 1.5);
  EXPECT_EQ(duplicates, 0);
}

TEST_F(TakeOver, EndsWithOneHolderAfterACutThatNoInterfaceSaw) {
  const auto heir = heir_of("a");
  auto& a = all.at("a");
  a.apart = true;
  a.hears = false;
  run(2800ms);
  phases["a"] = edge_phase::dead;
  ASSERT_LE(until([&] { return has(heir, "10.0.0.5"); }), 2);
  EXPECT_TRUE(has("a", "10.0.0.5")) << "it does not know";
  run(10s);
  a.apart = false;
  const auto mended = until([&] { return !has("a", "10.0.0.5"); });
  EXPECT_LE(mended, 1.3) << "who hears nothing asks each second whether somebody has its address, too";
  EXPECT_TRUE(has(heir, "10.0.0.5"));
  EXPECT_EQ(count("a address-given-back"), 1);
  a.hears = true;
  EXPECT_LE(until([&] { return has("a", "10.0.0.5"); }), 3);
  phases["a"] = edge_phase::serving;
  run(5s);
  EXPECT_EQ(holders(), "a:10.0.0.5 b:10.0.0.6 c:10.0.0.7");
}

TEST_F(TakeOver, EndsWithItsOwnerAfterACutThroughWhichTheCoordinatorWasHeard) {
  const auto heir = heir_of("a");
  auto& a = all.at("a");
  a.apart = true;
  run(2800ms);
  phases["a"] = edge_phase::dead;
  run(10s);
  EXPECT_TRUE(has(heir, "10.0.0.5"));
  EXPECT_TRUE(has("a", "10.0.0.5"));
  a.apart = false;
  EXPECT_LE(until([&] { return !has("a", "10.0.0.5"); }), 1.3) << "who counts as dead asks each second, too";
  EXPECT_LE(until([&] { return has("a", "10.0.0.5") && !has(heir, "10.0.0.5"); }), 3);
  const auto before = duplicates;
  run(5s);
  EXPECT_EQ(duplicates, before);
}

TEST_F(TakeOver, IsDoneByOneOfTwoThatBothThinkThatItIsTheirs) {
  die("a");
  for (auto name : {"b", "c"}) { // each was told that the other one is dead, too
    auto list = neighbours();
    for (auto& n : list)
      if (n.edge.value != name)
        n.phase = edge_phase::dead;
    all.at(name).hears = false;
    all.at(name).keeper.learn(list, t);
  }
  run(2s);
  EXPECT_LE(has("b", "10.0.0.5") + has("c", "10.0.0.5"), 1);
  EXPECT_EQ(duplicates, 0);
}

TEST_F(TakeOver, DoesNotTakeSilenceForAnAnswerWhereItCouldNotAsk) {
  const auto heir = heir_of("a");
  die("a");
  for (int i = 0; i < 50; ++i) {
    step();
    all.at(heir).keeper.unasked("10.0.0.5");
  }
  EXPECT_FALSE(has(heir, "10.0.0.5"));
}

TEST_F(TakeOver, TriesAgainWhatTheKernelRefused) {
  auto& b = all.at("b");
  b.linked = false;
  run(1s);
  b.linked = b.refuses = true;
  told.clear();
  run(5s);
  EXPECT_FALSE(b.keeper.holds_own());
  EXPECT_FALSE(b.keeper.wants_own()) << "who wants it keeps others from it";
  EXPECT_FALSE(b.keeper.able());
  EXPECT_EQ(b.keeper.trouble(), "the kernel says no");
  EXPECT_EQ(count("b "), 0) << "that it had the address was not so";
  b.refuses = false;
  const auto took = until([&] { return has("b", "10.0.0.6"); });
  EXPECT_GE(took, 50);
  EXPECT_LE(took, 59);
  EXPECT_EQ(b.keeper.trouble(), "");
  b.linked = false;
  b.refuses = true;
  run(1s);
  b.linked = true;
  run(2s);
  ASSERT_FALSE(b.keeper.holds_own());
  b.linked = b.refuses = false; // it is made anew
  run(1s);
  b.linked = true;
  EXPECT_LE(until([&] { return has("b", "10.0.0.6"); }), 2);
}

TEST_F(TakeOver, StaysWithWhoDoesItWhenABetterOneComes) {
  die("a");
  run(1s);
  const auto heir = has("b", "10.0.0.5") ? "b" : "c";
  for (int i = 0; i < 8; ++i)
    add(fmt::format("new{}", i), address_of(fmt::format("10.0.0.{}", 20 + i)));
  run(10s);
  EXPECT_TRUE(has(heir, "10.0.0.5"));
  EXPECT_EQ(count("address-given-back"), 0);
}

TEST_F(TakeOver, EndsWhenTheEdgeIsForgotten) {
  const auto heir = heir_of("a");
  die("a");
  run(1s);
  all.erase("a");
  run(4s);
  EXPECT_TRUE(has(heir, "10.0.0.5"));
  run(3s);
  EXPECT_FALSE(has(heir, "10.0.0.5"));
}

TEST_F(TakeOver, StaysWhileADeadEdgeIsDrained) {
  const auto heir = heir_of("a");
  die("a");
  run(1s);
  phases["a"] = edge_phase::draining;
  run(20s);
  EXPECT_TRUE(has(heir, "10.0.0.5")) << "what is listed there is still fetched";
}

TEST_F(TakeOver, SaysWhoseSettingsKeepThemApart) {
  add("d", {.address = "10.0.0.8/24", .network = {}, .service = "https:8081"});
  add("e", address_of("10.0.0.5"));
  add("f", {.address = "10.0.0.9/24", .network = "hall-2", .service = "http:8081"});
  add("g", address_of("10.0.1.5"));
  run(2s);
  EXPECT_EQ(count("b address-settings-differ"), 1) << "of d, once; f and g are elsewhere";
  EXPECT_EQ(count("a address-settings-differ"), 2) << "of d, and of e that has its address";
  for (auto name : {"d", "f", "g"}) {
    phases[name] = edge_phase::dead;
    all.at(name).runs = false;
  }
  run(5s);
  EXPECT_EQ(count("address-taken"), 0);
}

TEST_F(TakeOver, GivesAllBackWhenItIsStopped) {
  const auto heir = heir_of("a");
  die("a");
  run(1s);
  all.at(heir).keeper.give_all_back();
  EXPECT_TRUE(all.at(heir).keeper.held().empty());
  EXPECT_FALSE(all.at(heir).keeper.wants_own());
  EXPECT_EQ(all.at(heir).keeper.news().size(), 2u);
}

TEST(Successor, IsAnotherOneForEachAndMovesOnlyWhenItGoes) {
  std::vector<edge_neighbour> all;
  for (int i = 0; i < 30; ++i)
    all.push_back({.edge = edge_name{fmt::format("edge-{}", i)}, .address = address_of(fmt::format("10.0.0.{}", i + 1)), .phase = edge_phase::serving, .wants = false, .able = true, .held_by = {}});
  std::map<std::string, std::string> before;
  std::map<std::string, int> burden;
  for (auto& of : all)
    ++burden[before[of.edge.value] = steering::successor(of, all)->value];
  for (auto& [name, n] : burden)
    EXPECT_LE(n, 6) << name;
  all.front().phase = edge_phase::dead;
  for (auto& of : all)
    if (before[of.edge.value] != "edge-0")
      EXPECT_EQ(steering::successor(of, all)->value, before[of.edge.value]);
    else
      EXPECT_NE(steering::successor(of, all)->value, "edge-0");
  EXPECT_NE(before.at("edge-1"), "edge-1");
}

TEST(Successor, IsNobodyWhereThereIsNoOther) {
  const std::vector<edge_neighbour> all{{.edge = edge_name{"a"}, .address = address_of("10.0.0.5"), .phase = edge_phase::dead, .wants = false, .able = true, .held_by = {}},
                                        {.edge = edge_name{"b"}, .address = {"nonsense", "", "http:8081"}, .phase = edge_phase::serving, .wants = false, .able = true, .held_by = {}}};
  EXPECT_EQ(steering::successor(all[0], all), std::nullopt);
  EXPECT_EQ(steering::successor(all[1], all), std::nullopt);
}

} // namespace
} // namespace weir::testing
