#include "runtime/base/standstill.hpp"

#include <gtest/gtest.h>

using namespace weir;
using namespace std::chrono_literals;

namespace {

const steady_time t0 = steady_time{} + 1h;

TEST(Standstill, IsALateTickAfterWhichNobodysSilenceCountsForAWhile) {
  standstill still;
  EXPECT_EQ(still.ticked(t0), 0s) << "the first one is never late";
  EXPECT_EQ(still.ticked(t0 + 1s), 0s);
  EXPECT_FALSE(still.listens(t0 + 1s));
  EXPECT_EQ(still.ticked(t0 + 1h), 1h - 1s) << "a machine that slept";
  EXPECT_TRUE(still.listens(t0 + 1h + 1499ms));
  EXPECT_FALSE(still.listens(t0 + 1h + 1500ms));
}

TEST(Standstill, InARowSilencesNobodysJudgeForLongerThanALease) {
  standstill still;
  still.ticked(t0);
  int excused = 0;
  for (auto now = t0 + 1200ms; now <= t0 + 60s; now += 1200ms) {
    bool late = still.ticked(now, 6s) > 0s;
    EXPECT_EQ(late, now < t0 + 1200ms + 6s) << (now - t0) / 1ms;
    EXPECT_EQ(still.listens(now), late);
    EXPECT_FALSE(still.listens(std::max(now, t0 + 1200ms + 6s))) << (now - t0) / 1ms;
    excused += late;
  }
  EXPECT_EQ(excused, 5);
}

TEST(Standstill, IsAnotherOneAfterATickInTimeWhenAllWasHeard) {
  standstill still;
  still.ticked(t0);
  auto now = t0;
  for (int n = 0; n < 10; ++n)
    still.ticked(now += 1200ms, 6s);
  EXPECT_FALSE(still.listens(now));
  EXPECT_EQ(still.ticked(now += 250ms, 6s), 0s);
  EXPECT_EQ(still.ticked(now += 2s, 6s), 2s);
  EXPECT_TRUE(still.listens(now));
}

TEST(Standstill, NowAndThenCountsAsInARowWhileItIsNotHeardOut) {
  standstill still;
  still.ticked(t0);
  auto judged = 0;
  auto now = t0;
  for (int n = 0; n < 60; ++n) { // of each 1.35 s a tick in time, which alone ends nothing
    still.ticked(now += 1100ms, 6s);
    judged += !still.listens(now);
    still.ticked(now += 250ms, 6s);
    judged += !still.listens(now);
  }
  EXPECT_GE(judged, 60 * 1350 / 8000) << "once in eight seconds at least";
}

} // namespace
