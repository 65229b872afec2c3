#include "runtime/origin/succession.hpp"

#include "runtime/describe/decode.hpp"
#include "runtime/describe/encode.hpp"

#include <gtest/gtest.h>

#include <fmt/format.h>

namespace weir::origin {
namespace {

using enum succession_verdict;

/// Origins o1, o2… that are all well, and what was decided of them.
class Succession : public ::testing::Test {
protected:
  std::vector<candidate> there;
  succession now;
  std::uint64_t terms = 0;

  void origins(std::size_t count) {
    for (std::size_t i = 1; i <= count; ++i)
      there.push_back({.place = {fmt::format("o{}", i), fmt::format("http://o{}", i), "token"}, .instance = fmt::format("o{}-1", i), .alive = true, .holds = false, .fails = false});
  }
  candidate& o(std::size_t i) { return there[i - 1]; }
  void lose(std::size_t i) {
    o(i).alive = false;
    o(i).steady = false;
  }
  /// Follows the rule, as the COORDINATOR does.
  succession_verdict step(std::size_t copies = 3, std::uint64_t highest = 0) {
    auto decision = decide(now, there, copies, highest);
    if (decision.verdict == next) {
      EXPECT_EQ(decision.next.present.mark.term, 0U) << "the term is given by who stores it";
      decision.next.present.mark.term = ++terms;
      EXPECT_TRUE(check(decision.next.present)) << check(decision.next.present).error().text;
      EXPECT_FALSE(decision.next.in_force);
      now = std::move(decision.next);
    } else {
      EXPECT_EQ(decision.next, now);
    }
    return decision.verdict;
  }
  void took_over() {
    now.in_force = true;
    for (auto& one : there)
      one.holds = one.place.name == now.present.mark.holder;
  }
  std::string learning(std::size_t copies) const {
    std::string names;
    for (auto& m : learners(now, there, copies))
      names += m.name + " ";
    return names;
  }
  std::string members() const {
    std::string names;
    for (auto& m : now.present.members)
      names += m.name + " ";
    return names;
  }
};

TEST_F(Succession, BeginsWhenEnoughOriginsAreThere) {
  EXPECT_EQ(step(), stays);
  origins(2);
  EXPECT_EQ(step(), stays) << "two of three: with one gone what is stored would be at one";
  origins(0);
  there.push_back({.place = {"o3", "http://o3", "token"}, .instance = {}, .alive = true, .holds = false, .fails = false});
  EXPECT_EQ(step(), stays) << "it has not said yet that it is there";
  o(3).instance = "o3-1";
  EXPECT_EQ(step(0), stays) << "nobody keeps copies";
  EXPECT_EQ(step(), next);
  EXPECT_EQ(members(), "o1 o2 o3 ");
  EXPECT_EQ(now.present.mark.holder, "o1");
  EXPECT_EQ(now.instance, "o1-1");
  EXPECT_TRUE(now.former.empty());
  EXPECT_EQ(step(), stays);
}

TEST_F(Succession, KeepsWhoWritesWhileItIsAliveAndCan) {
  origins(3);
  step();
  took_over();
  o(2).alive = false;
  EXPECT_EQ(step(), stays) << "two of three are enough to write";
  o(2).alive = true;
  o(2).instance = "o2-2";
  EXPECT_EQ(step(), stays) << "it only keeps copies";
  o(1).instance.clear();
  EXPECT_EQ(step(), stays) << "the coordinator was started anew and has not heard it yet";
}

TEST_F(Succession, AnotherGoesOnWhenWhoWritesIsGone) {
  origins(3);
  step();
  took_over();
  auto before = now.present;
  o(1).alive = false;
  EXPECT_EQ(step(), next);
  EXPECT_EQ(now.present.mark, (claim_mark{2, "o2"}));
  EXPECT_EQ(now.instance, "o2-1");
  EXPECT_EQ(members(), "o1 o2 o3 ") << "it is caught up when it is back";
  EXPECT_EQ(now.former, std::vector{before});
  took_over();
  o(1).alive = true;
  EXPECT_EQ(step(), stays) << "it does not take it back";
}

TEST_F(Succession, AnotherStartOfWhoWritesHasAnotherTerm) {
  origins(3);
  step();
  took_over();
  o(1).instance = "o1-2";
  EXPECT_EQ(step(), next);
  EXPECT_EQ(now.present.mark, (claim_mark{2, "o1"})) << "what the former start still sends is refused";
  EXPECT_EQ(now.instance, "o1-2");
}

TEST_F(Succession, ALostQuorumChangesNothing) {
  origins(3);
  step();
  took_over();
  o(1).alive = o(2).alive = false;
  EXPECT_EQ(step(), lost) << "one of three does not know all that two of them have acknowledged";
  o(1).alive = true;
  o(3).alive = false;
  EXPECT_EQ(step(), lost) << "who writes is there, and cannot";
  o(3).alive = true;
  EXPECT_EQ(step(), stays);
  EXPECT_EQ(now.present.mark.term, 1U);
}

TEST_F(Succession, ThoseThatAreThereGoOnAloneWhenTheyKnowAll) {
  origins(4);
  step(4);
  took_over();
  o(1).alive = o(2).alive = false;
  EXPECT_EQ(step(4), next) << "three of four had it: one of any two knows";
  EXPECT_EQ(members(), "o3 o4 ");
  EXPECT_EQ(now.former.size(), 1U);
  took_over();
  o(4).alive = false;
  EXPECT_EQ(step(4), next) << "two of two";
  EXPECT_EQ(members(), "o3 ");
  took_over();
  o(1).alive = o(2).alive = true;
  EXPECT_EQ(step(4), stays) << "who is back has not been caught up";
  o(3).alive = false;
  EXPECT_EQ(step(4), lost);
}

TEST_F(Succession, AViewCarriesAllThatMayHaveBeenInForce) {
  origins(4);
  step(4);
  auto first = now.present;
  o(1).alive = false;
  EXPECT_EQ(step(4), next); // o1 may have taken over, and nobody has heard of it
  ASSERT_EQ(now.former.size(), 1U);
  EXPECT_EQ(now.former[0].mark.term, 1U);
  o(2).alive = false;
  EXPECT_EQ(step(4), next);
  EXPECT_EQ(members(), "o3 o4 ");
  ASSERT_EQ(now.former.size(), 1U) << "of the same four members: three of them are needed for both";
  EXPECT_EQ(now.former[0].mark.term, 2U);
  o(3).alive = false;
  EXPECT_EQ(step(4), lost) << "o4 has the word of the two, but not of the four";
  o(2).alive = true;
  EXPECT_EQ(step(4), next);
  EXPECT_EQ(members(), "o4 ");
  ASSERT_EQ(now.former.size(), 2U);
  EXPECT_EQ(now.former[0].mark.term, 2U) << "the oldest first";
  EXPECT_EQ(now.former[1].mark.term, 3U);
  took_over();
  o(4).instance = "o4-2";
  EXPECT_EQ(step(4), next);
  ASSERT_EQ(now.former.size(), 1U) << "it was in force: whatever was before it is over";
  EXPECT_EQ(now.former[0].mark.term, 4U);
}

TEST_F(Succession, WhoCannotTakeOverIsFollowedByTheNextOne) {
  origins(3);
  step();
  o(1).fails = true;
  EXPECT_EQ(step(), next);
  EXPECT_EQ(now.present.mark.holder, "o2");
  o(1).fails = false;
  o(2).fails = true;
  EXPECT_EQ(step(), next);
  EXPECT_EQ(now.present.mark.holder, "o3");
  o(3).fails = o(2).alive = false;
  o(1).instance.clear();
  EXPECT_EQ(step(), stays);
  o(3).fails = true;
  EXPECT_EQ(step(), next) << "nobody else: it tries again, under another term";
  EXPECT_EQ(now.present.mark.holder, "o3");
}

TEST_F(Succession, GoesAboveWhatWasAcceptedByAStoreThatIsLost) {
  origins(3);
  step();
  took_over();
  EXPECT_EQ(step(3, 77), stays) << "it writes all the same: too few have heard of that";
  o(1).holds = false;
  EXPECT_EQ(step(3, 77), next);
}

TEST_F(Succession, FollowsAddressesAndSurvivesItsStore) {
  origins(3);
  step();
  took_over();
  o(1).alive = false;
  o(3).place.url = "http://elsewhere";
  step();
  EXPECT_EQ(now.present.members[2].url, "http://elsewhere");
  EXPECT_EQ(now.former[0].members[2].url, "http://elsewhere");
  auto text = describe::to_json(now);
  EXPECT_EQ(text.find("token\""), std::string::npos) << text;
  auto read = describe::from_json<succession>(text);
  ASSERT_TRUE(read) << read.error().text;
  EXPECT_EQ(with_addresses(read->present, there), now.present);
  EXPECT_EQ(read->former.size(), 1U);
  EXPECT_EQ(read->instance, now.instance);
}

TEST_F(Succession, WhoComesBackLearnsBeforeItCounts) {
  origins(2);
  EXPECT_EQ(learning(2), "") << "there is nothing to learn yet";
  step(2);
  took_over();
  lose(1);
  ASSERT_EQ(step(2), next);
  took_over();
  EXPECT_EQ(members(), "o2 ");
  EXPECT_EQ(learning(2), "") << "it is not there";
  o(1).alive = true;
  EXPECT_EQ(learning(2), "o1 ");
  EXPECT_EQ(learning(1), "");
  EXPECT_EQ(step(2), stays);
  o(1).steady = true;
  now.in_force = false;
  EXPECT_EQ(step(2), stays) << "who writes has not even taken over";
  now.in_force = true;
  EXPECT_EQ(step(1), stays) << "one is enough";
  const auto alone = now.present;
  ASSERT_EQ(step(2), next);
  EXPECT_EQ(members(), "o2 o1 ");
  EXPECT_EQ(now.present.mark.holder, "o2") << "viewers notice nothing";
  EXPECT_EQ(now.former, std::vector{alone});
  EXPECT_EQ(newcomers(now), std::vector<std::string>{"o1"});
  EXPECT_EQ(learning(2), "");
  took_over();
  EXPECT_TRUE(newcomers(now).empty());
  lose(2);
  ASSERT_EQ(step(2), next) << "and now the other one";
  EXPECT_EQ(members(), "o1 ");
}

TEST_F(Succession, WhoIsGoneMakesRoom) {
  origins(4);
  step();
  took_over();
  EXPECT_EQ(learning(3), "") << "o4 is not needed";
  lose(3);
  EXPECT_EQ(learning(3), "") << "o3 may come back";
  EXPECT_EQ(step(), stays);
  o(3).gone = true;
  EXPECT_EQ(learning(3), "o4 ");
  ASSERT_EQ(step(), next);
  EXPECT_EQ(members(), "o1 o2 ");
  EXPECT_EQ(now.present.needed(), 2U);
  took_over();
  o(4).steady = true;
  ASSERT_EQ(step(), next);
  EXPECT_EQ(members(), "o1 o2 o4 ");
  took_over();
  o(3) = {.place = o(3).place, .instance = "o3-2", .alive = true, .holds = false, .fails = false};
  EXPECT_EQ(learning(3), "");
  EXPECT_EQ(step(), stays) << "there are enough";
  EXPECT_EQ(learning(5), "o3 ") << "more are wanted";
}

/// A segment may be at o1 and o3 alone: of {o1 o2} o2 could go on without it.
TEST_F(Succession, WhoIsGoneStaysUntilTheOthersHaveEverything) {
  origins(3);
  step();
  took_over();
  lose(3);
  o(3).gone = o(2).behind = true;
  EXPECT_EQ(step(), stays);
  o(1).behind = true; // who writes fetches what it lacks when it takes over
  o(2).behind = false;
  ASSERT_EQ(step(), next);
  EXPECT_EQ(members(), "o1 o2 ");
}

TEST_F(Succession, OneThatLearnsInVainLeavesItsPlaceToAnother) {
  origins(4);
  o(3).alive = o(4).alive = false;
  step(2);
  took_over();
  o(3).alive = o(4).alive = true;
  EXPECT_EQ(learning(3), "o3 ");
  o(3).last = true;
  EXPECT_EQ(learning(3), "o4 ");
  EXPECT_EQ(learning(4), "o4 o3 ");
  o(4).alive = false;
  EXPECT_EQ(learning(3), "o3 ") << "there is nobody else";
}

TEST_F(Succession, WhoIsReplacedLeavesAsItsPlaceIsTaken) {
  origins(3);
  step();
  took_over();
  lose(2);
  o(2).gone = true;
  there.push_back({.place = {"o2.0123abcd", "http://o2", "token"}, .instance = "o2-2", .alive = true, .holds = false, .fails = false, .gone = false, .steady = true});
  ASSERT_EQ(step(), next);
  EXPECT_EQ(members(), "o1 o3 o2.0123abcd ");
}

TEST_F(Succession, AViewThatANewcomerHindersGoesOnWithoutIt) {
  origins(3);
  o(3).alive = false;
  step(2);
  took_over();
  o(3).alive = o(3).steady = true;
  ASSERT_EQ(step(3), next);
  EXPECT_EQ(members(), "o1 o2 o3 ");
  o(1).fails = true; // o3 lacks something, say
  ASSERT_EQ(step(3), next);
  EXPECT_EQ(members(), "o1 o2 ");
  EXPECT_EQ(now.former.size(), 2U) << "it may have come into force all the same";
  o(1).fails = false;
  took_over();
  lose(3);
  lose(1);
  EXPECT_EQ(step(3), next);
  EXPECT_EQ(members(), "o2 ");
}

TEST_F(Succession, ANewcomerThatIsLostHoldsNobodyUp) {
  origins(2);
  o(2).alive = false;
  step(1);
  took_over();
  o(2).alive = o(2).steady = true;
  ASSERT_EQ(step(2), next);
  lose(2);
  ASSERT_EQ(step(2), next);
  EXPECT_EQ(members(), "o1 ");
  EXPECT_EQ(now.present.mark.holder, "o1");
  took_over();
  o(2).alive = o(2).steady = true;
  ASSERT_EQ(step(2), next);
  lose(1);
  EXPECT_EQ(step(2), lost) << "nobody has heard that o2 has all: o1 alone is known to";
}

} // namespace
} // namespace weir::origin
