#include "runtime/media/rung_guard.hpp"

#include <gtest/gtest.h>

namespace weir::media {
namespace {

using namespace std::chrono_literals;

constexpr ticks ms = 90;

/// A pipeline that asks at 25 pictures a second, and whose ladder follows at once unless told otherwise.
struct RungGuard : testing::Test {
  rung_guard guard;
  steady_time now{1h};
  std::size_t most = 3;
  std::size_t left_out = 0;
  int changes = 0;

  void ask(ticks backlog) {
    now += 40ms;
    if (auto wanted = guard.behind(backlog, most, now); wanted != left_out) {
      left_out = wanted;
      ++changes;
      guard.applied(left_out, now);
    }
  }
  void run(milliseconds time, ticks backlog) {
    for (const auto until = now + time; now < until;)
      ask(backlog);
  }
  /// How long it takes until the decision changes, at most.
  milliseconds until_change(ticks backlog, milliseconds at_most = 2h) {
    const auto before = changes;
    const auto from = now;
    while (changes == before && now - from < at_most)
      ask(backlog);
    return std::chrono::duration_cast<milliseconds>(now - from);
  }
};

TEST_F(RungGuard, KeepsEverythingWhileItKeepsUp) {
  run(10min, 0);
  run(10min, 1'500 * ms);
  EXPECT_EQ(changes, 0);
}

TEST_F(RungGuard, LeavesOneOutAfterFiveSecondsTooFarBehind) {
  const auto took = until_change(1'600 * ms);
  EXPECT_EQ(left_out, 1u);
  EXPECT_GE(took, 5s);
  EXPECT_LE(took, 5s + 80ms);
}

TEST_F(RungGuard, ABurstThatIsWorkedOffChangesNothing) {
  for (int i = 0; i < 100; ++i) {
    run(4s, 3'000 * ms);
    ask(900 * ms);
  }
  EXPECT_EQ(changes, 0);
}

TEST_F(RungGuard, SeesThroughABacklogThatLeavingOutPicturesHoldsAtTheLimit) {
  // That is how a machine looks that is a little too slow: above the limit pictures are left out, so it is never above for long.
  for (int i = 0; i < 200 && changes == 0; ++i)
    ask((i % 2 ? 1'520 : 1'480) * ms);
  EXPECT_EQ(left_out, 1u);
}

TEST_F(RungGuard, WaitsForWhatAChangeBringsBeforeTheNext) {
  until_change(2'000 * ms);
  auto took = until_change(2'000 * ms);
  EXPECT_EQ(left_out, 2u);
  EXPECT_GE(took, 10s);
  EXPECT_LE(took, 10s + 80ms);
  until_change(2'000 * ms);
  EXPECT_EQ(left_out, 3u);
  run(10min, 5'000 * ms);
  EXPECT_EQ(left_out, 3u) << "the last rung stays";
}

TEST_F(RungGuard, DecidesNothingWhileAChangeIsUnderWay) {
  run(4s, 2'000 * ms);
  for (int i = 0; i < 1'000; ++i) { // the segment takes long to end
    now += 40ms;
    EXPECT_LE(guard.behind(2'000 * ms, most, now), 1u);
  }
  guard.applied(1, now);
  for (const auto until = now + 9s; now < until; now += 40ms)
    EXPECT_EQ(guard.behind(2'000 * ms, most, now), 1u) << "counted from when it took effect";
  for (const auto until = now + 2s; now < until; now += 40ms)
    left_out = guard.behind(2'000 * ms, most, now);
  EXPECT_EQ(left_out, 2u);
}

TEST_F(RungGuard, TakesOneBackAfterTwoCalmMinutes) {
  until_change(2'000 * ms);
  until_change(2'000 * ms);
  ASSERT_EQ(left_out, 2u);
  run(10s, 800 * ms);
  for (int i = 0; i < 10; ++i) {
    run(110s, 100 * ms);
    ask(600 * ms); // not calm
  }
  EXPECT_EQ(left_out, 2u);
  auto took = until_change(100 * ms);
  EXPECT_EQ(left_out, 1u);
  EXPECT_NEAR(double(took.count()), 120'000, 100);
  took = until_change(100 * ms);
  EXPECT_EQ(left_out, 0u);
  EXPECT_NEAR(double(took.count()), 120'000, 100) << "one at a time";
  run(2h, 0);
  EXPECT_EQ(left_out, 0u);
}

TEST_F(RungGuard, WaitsLongerEachTimeThatItWasTooEarly) {
  until_change(2'000 * ms);
  for (auto wait : {2min, 4min, 8min, 16min, 32min, 32min}) {
    auto took = until_change(0);
    EXPECT_EQ(left_out, 0u);
    EXPECT_NEAR(double(took.count()), double(milliseconds(wait).count()), 100);
    run(20s, 0);
    until_change(2'000 * ms);
    ASSERT_EQ(left_out, 1u);
  }
  // Long after, it is another reason.
  until_change(0);
  run(33min, 0);
  until_change(2'000 * ms);
  EXPECT_NEAR(double(until_change(0).count()), 120'000, 100);
}

TEST_F(RungGuard, AFurtherRungIsNoEarlyReturn) {
  until_change(2'000 * ms);
  until_change(2'000 * ms);
  ASSERT_EQ(left_out, 2u);
  EXPECT_NEAR(double(until_change(0).count()), 120'000, 100);
}

TEST_F(RungGuard, FollowsALadderThatBecomesShorter) {
  until_change(2'000 * ms);
  until_change(2'000 * ms);
  most = 1;
  ask(0);
  EXPECT_EQ(left_out, 1u);
  most = 0;
  ask(0);
  EXPECT_EQ(left_out, 0u);
  run(1min, 5'000 * ms);
  EXPECT_EQ(left_out, 0u);
}

} // namespace
} // namespace weir::media
