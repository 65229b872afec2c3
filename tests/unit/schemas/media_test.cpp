#include "schemas/media.hpp"

#include <gtest/gtest.h>

using namespace weir;
using namespace std::chrono_literals;

TEST(HlsTiming, IsWhatTheProfilesSay) {
  struct row {
    hls_profile profile;
    hls_timing timing;
  };
  const row rows[] = {
    {hls_profile::standard, {6s, 2s, 60s, 18s}},
    {hls_profile::quick, {4s, 2s, 60s, 12s}},
    {hls_profile::brief, {2s, 2s, 60s, 10s}},
    {hls_profile::low_latency, {4s, 2s, 60s, 12s}},
  };
  EXPECT_EQ(std::size(rows), enum_names(hls_profile{}).size());
  for (auto& [profile, expected] : rows) {
    const auto timing = timing_of(profile);
    EXPECT_EQ(timing.target, expected.target) << to_string(profile);
    EXPECT_EQ(timing.gop, expected.gop) << to_string(profile);
    EXPECT_EQ(timing.window, expected.window) << to_string(profile);
    EXPECT_EQ(timing.hold_back, expected.hold_back) << to_string(profile);
  }
}

// Players of parts stand nearer (three parts): they stall once when an edge dies, which operators are told.
TEST(HlsTiming, LeavesPlayersTimeForTheLossOfAnEdge) {
  for (auto& [profile, name] : enum_names(hls_profile{})) {
    const auto timing = timing_of(profile);
    EXPECT_GE(timing.hold_back, 3 * timing.target) << name;
    EXPECT_GE(timing.hold_back, timing.target + 7200ms) << name << ": its address is taken over, and the newest segment fetched from a cold edge";
    EXPECT_GE(timing.window, 6 * timing.target) << name;
    EXPECT_GT(timing.window, timing.hold_back) << name;
    EXPECT_EQ(timing.target % timing.gop, 0ms) << name << ": segments begin with an IDR frame";
  }
}
