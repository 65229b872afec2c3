#include "runtime/media/time_line.hpp"

#include <cmath>
#include <gtest/gtest.h>

namespace weir::media {
namespace {

using verdict = jump_detector::verdict;
constexpr ticks s = ticks_per_second;

TEST(Grid, CountsSlotsOnTheAbsoluteClock) {
  grid g{2 * s, 6 * s, 0};
  EXPECT_EQ(g.slot(0), 0);
  EXPECT_EQ(g.slot(6 * s), 1);
  EXPECT_EQ(g.slot(6 * s - 180), 1) << "2 ms early is the rounding of a clock in ms";
  EXPECT_EQ(g.slot(6 * s - 181), 0);
  EXPECT_EQ(g.slot(-181), -1);
  EXPECT_EQ(g.slot_start(g.slot(1'000'000 * s)), 999'996 * s);
}

TEST(Grid, MovesByItsOffset) {
  grid g{2 * s, 6 * s, 3000};
  EXPECT_EQ(g.slot(3000), 0);
  EXPECT_EQ(g.slot(6 * s + 2000), 0);
  EXPECT_EQ(g.slot(6 * s + 3000), 1);
  EXPECT_EQ(g.past_point(2 * s + 3090), 90);
  EXPECT_EQ(g.interval(4 * s + 3000), 2);
}

TEST(Grid, IsTheSameForWhoeverJoinsWhen) {
  grid g{2 * s, 6 * s, 0};
  // 29.97 pictures a second in ms: two that join at different pictures see the first picture of each interval at the same time.
  auto first_of_intervals = [&](int from) {
    std::map<std::int64_t, ticks> firsts;
    for (int i = from; i < 3000; ++i)
      firsts.emplace(g.interval(i * 1001 / 30 * 90), i * 1001 / 30 * 90);
    firsts.erase(firsts.begin());
    return firsts;
  };
  auto early = first_of_intervals(0), late = first_of_intervals(777);
  for (auto& [interval, pts] : late)
    EXPECT_EQ(early.at(interval), pts);
}

TEST(Unwrapper, GoesOnBeyondTheWrap) {
  unwrapper ts(1LL << 33);
  EXPECT_EQ(ts((1LL << 33) - 90), (1LL << 33) - 90);
  EXPECT_EQ(ts(0), 1LL << 33);
  EXPECT_EQ(ts((1LL << 33) - 10), (1LL << 33) - 10) << "a packet from before the wrap";
  EXPECT_EQ(ts(3600), (1LL << 33) + 3600);
  unwrapper flv((1LL << 32) * 90);
  EXPECT_EQ(flv(((1LL << 32) - 1) * 90), ((1LL << 32) - 1) * 90);
  EXPECT_EQ(flv(39 * 90), ((1LL << 32) + 39) * 90);
  unwrapper none(0);
  EXPECT_EQ(none(1LL << 50), 1LL << 50);
  EXPECT_EQ(none(5), 5);
}

TEST(JumpDetector, LetsInterleavingAndHolesPass) {
  jump_detector d;
  EXPECT_EQ(d.take(0, 100 * s), verdict::pass);
  EXPECT_EQ(d.take(1, 98 * s), verdict::pass);
  EXPECT_EQ(d.take(0, 109 * s), verdict::pass);
}

TEST(PartTarget, IsOfWholePicturesAndNoLongerThanWasAskedFor) {
  using std::chrono::milliseconds;
  struct row {
    std::int64_t part, fps_milli, pictures, announced;
  };
  for (auto [part, fps_milli, pictures, announced] : {row{1000, 25'000, 25, 1000}, row{333, 25'000, 8, 333}, row{333, 30'000, 9, 333}, row{333, 23'976, 7, 333}, row{1000, 29'970, 29, 1000},
                                                      row{200, 59'940, 11, 200}, row{200, 29'970, 5, 167}, row{2000, 24'000, 48, 2000}, row{500, 23'976, 11, 500}, row{1000, 46'875, 46, 1000}, row{200, 2'000, 1, 500}}) {
    const auto target = part_target(milliseconds(part), fps_milli);
    EXPECT_NEAR(double(target), double(pictures) * 90'000'000.0 / double(fps_milli), 1.0) << part << " ms at " << fps_milli;
    EXPECT_EQ(announced_target(milliseconds(part), target), milliseconds(announced)) << part << " ms at " << fps_milli;
    EXPECT_LE(target, to_ticks(announced_target(milliseconds(part), target)));
  }
  EXPECT_EQ(announced_target(milliseconds(0), 0), milliseconds(0));
}

TEST(PartTarget, OfSoundApartHasRoomForWholeFramesAtEitherRate) {
  using std::chrono::milliseconds;
  struct row {
    std::int64_t part, fps_milli, announced;
  };
  // 1000 ms are 46.9 frames at 48 kHz, and 43.1 at 44.1: 44 of those last 1021.7.
  for (auto [part, fps_milli, announced] : {row{1000, 25'000, 1022}, row{1000, 50'000, 1022}, row{1000, 29'970, 1000}, row{333, 25'000, 333}, row{200, 25'000, 214}, row{200, 30'000, 214}}) {
    SCOPED_TRACE(part);
    const auto target = part_target(milliseconds(part), fps_milli);
    const auto said = announced_target(milliseconds(part), target, true);
    EXPECT_EQ(said, milliseconds(announced)) << fps_milli;
    for (auto rate : {44'100.0, 48'000.0}) {
      const auto frames = double(target) / 90'000 * rate / 1024;
      EXPECT_LE(std::ceil(frames - 1e-9) * 1024 / rate, double(said.count()) / 1000);
      EXPECT_GE(std::floor(frames) * 1024 / rate, double(said.count()) * 0.85 / 1000);
    }
  }
  EXPECT_EQ(announced_target(milliseconds(0), 0, true), milliseconds(0));
}

TEST(JumpDetector, NeedsASecondPacketToBelieveAJump) {
  jump_detector d;
  EXPECT_EQ(d.take(0, 100 * s), verdict::pass);
  EXPECT_EQ(d.take(0, 9'000 * s), verdict::hold);
  EXPECT_EQ(d.take(0, 100 * s + 3600), verdict::pass) << "one wild stamp";
  EXPECT_EQ(d.take(0, 1 * s), verdict::hold);
  EXPECT_EQ(d.take(1, 100 * s + 3700), verdict::pass) << "the other stream has not jumped yet";
  EXPECT_EQ(d.take(0, 1 * s + 3600), verdict::jump);
  EXPECT_EQ(d.take(1, 100 * s + 7200), verdict::drop) << "and comes late";
  EXPECT_EQ(d.take(1, 1 * s + 3600), verdict::pass);
}

TEST(CaptureClock, TakesTheLeastDelayedPacket) {
  capture_clock c;
  const capture_clock::wall start{std::chrono::hours(500'000)};
  auto at = [&](int ms) { return start + std::chrono::milliseconds(ms); };
  c.saw(0, at(900)); // a burst after connecting
  c.saw(1 * s, at(1'050));
  c.saw(2 * s, at(2'200));
  EXPECT_EQ(c.at(3 * s), at(3'050));
  // It follows a drift once the low is older than a minute.
  for (int i = 3; i < 200; ++i)
    c.saw(i * s, at(i * 1000 + 80));
  EXPECT_EQ(c.at(200 * s), at(200'080));
}

} // namespace
} // namespace weir::media
