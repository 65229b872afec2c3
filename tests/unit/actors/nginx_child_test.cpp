#include "actors/nginx_child.hpp"

#include <gtest/gtest.h>

namespace weir {
namespace {

using namespace std::chrono_literals;

/// An nginx that ends whenever the test says so.
struct Mortal {
  nginx_child child;
  supervise::steady_time now{1h};

  /// The pause after one that ran for so long.
  std::chrono::milliseconds pause_after(std::chrono::milliseconds ran) {
    ++child.starts;
    child.since = now;
    now += ran;
    return child.ended(process_ended{++child.generation, 1, 0}, now).delay;
  }
};

TEST(NginxChild, WaitsLongerWithEachEndUpToTenSeconds) {
  Mortal it;
  std::vector<std::chrono::milliseconds> pauses;
  for (int i = 0; i < 9; ++i)
    pauses.push_back(it.pause_after(30ms));
  EXPECT_EQ(pauses, (std::vector<std::chrono::milliseconds>{100ms, 200ms, 400ms, 800ms, 1600ms, 3200ms, 6400ms, 10s, 10s}));
  EXPECT_EQ(it.child.restarts(), 8U);
  EXPECT_EQ(it.child.trouble, "nginx ended (exit code 1, signal 0)");
}

TEST(NginxChild, IsStartedAgainAtOnceAfterAMinuteHoweverOftenItEndedBefore) {
  Mortal it;
  for (int i = 0; i < 9; ++i)
    it.pause_after(30ms);
  EXPECT_EQ(it.pause_after(59s), 10s);
  EXPECT_EQ(it.pause_after(60s), 100ms);
  EXPECT_EQ(it.pause_after(30ms), 200ms);
}

TEST(NginxChild, ThatCannotBeginIsNoOneThatRan) {
  Mortal it;
  it.pause_after(2min);
  EXPECT_EQ(it.child.ended(process_ended{++it.child.generation, 1, 0}, it.now += 2min).delay, 200ms);
}

} // namespace
} // namespace weir
