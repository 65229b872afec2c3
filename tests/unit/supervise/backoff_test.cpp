#include "runtime/supervise/backoff.hpp"

#include <gtest/gtest.h>

using namespace std::chrono_literals;
using namespace weir::supervise;

namespace {

const steady_time start{1000s};

bool within(std::chrono::milliseconds delay, std::chrono::milliseconds nominal) { return delay >= nominal * 8 / 10 && delay <= nominal * 12 / 10; }

} // namespace

TEST(Backoff, DoublesFromHalfASecondUpToItsCapWithJitter) {
  backoff b(7, {.park_after = 0});
  auto now = start;
  for (const auto nominal : {500ms, 1000ms, 2000ms, 4000ms, 8000ms, 16000ms, 30000ms, 30000ms}) {
    const auto next = b.failed(now);
    EXPECT_TRUE(within(next.delay, nominal)) << next.delay.count() << " beside " << nominal.count();
    EXPECT_EQ(next.at, now + next.delay);
    EXPECT_FALSE(next.parked);
    now = next.at;
  }
}

TEST(Backoff, NeverOverflowsHoweverOftenItFails) {
  backoff b(7, {.park_after = 0});
  for (int i = 0; i < 1000; ++i)
    EXPECT_LE(b.failed(start + i * 1s).delay, 36s);
  EXPECT_EQ(b.attempts(), 1000u);
}

TEST(Backoff, JitterDiffersBetweenSeedsAndRepeatsWithOne) {
  backoff a(1), again(1), other(2);
  const auto first = a.failed(start).delay;
  EXPECT_EQ(first, again.failed(start).delay);
  EXPECT_NE(first, other.failed(start).delay);
}

TEST(Backoff, ParksAtTheFifthFailureInAMinuteAndTriesEachHalfMinute) {
  backoff b(3);
  auto now = start;
  for (int i = 0; i < 4; ++i) {
    const auto next = b.failed(now);
    EXPECT_FALSE(next.parked);
    now = next.at;
  }
  const auto fifth = b.failed(now);
  EXPECT_TRUE(fifth.newly_parked);
  EXPECT_TRUE(fifth.parked);
  EXPECT_TRUE(within(fifth.delay, 30s));
  const auto sixth = b.failed(fifth.at);
  EXPECT_TRUE(sixth.parked);
  EXPECT_FALSE(sixth.newly_parked);
  EXPECT_TRUE(within(sixth.delay, 30s));
}

TEST(Backoff, DoesNotParkWhenTheFailuresAreFarApart) {
  backoff b(3);
  for (int i = 0; i < 20; ++i)
    EXPECT_FALSE(b.failed(start + i * 15s).parked);
}

TEST(Backoff, AMinuteOfGoodOutputForgivesAndUnparks) {
  backoff b(3);
  for (int i = 0; i < 5; ++i)
    b.failed(start + i * 1s);
  ASSERT_TRUE(b.parked());
  EXPECT_FALSE(b.good(start + 40s));
  EXPECT_FALSE(b.good(start + 99s));
  EXPECT_TRUE(b.good(start + 100s));
  EXPECT_FALSE(b.parked());
  EXPECT_FALSE(b.good(start + 200s)) << "there was nothing left to forgive";
  EXPECT_TRUE(within(b.failed(start + 201s).delay, 500ms));
}

TEST(Backoff, GoodOutputMustBeUnbroken) {
  backoff b(3);
  b.failed(start);
  b.good(start + 1s);
  b.failed(start + 50s);
  EXPECT_FALSE(b.good(start + 70s)) << "the clock of good output starts anew after a failure";
  EXPECT_TRUE(b.good(start + 130s));
}

TEST(Backoff, APersonsRetryStartsAfresh) {
  backoff b(3);
  for (int i = 0; i < 6; ++i)
    b.failed(start);
  b.reset();
  EXPECT_FALSE(b.parked());
  EXPECT_TRUE(within(b.failed(start + 1s).delay, 500ms));
}

TEST(RestartIntensity, RefusesTheFourthRestartInHalfAMinute) {
  restart_intensity service;
  EXPECT_TRUE(service.allow(start));
  EXPECT_TRUE(service.allow(start + 1s));
  EXPECT_TRUE(service.allow(start + 2s));
  EXPECT_FALSE(service.allow(start + 29s));
  EXPECT_TRUE(service.allow(start + 30s));
}
