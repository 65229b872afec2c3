#include "actors/director.hpp"

#include <gtest/gtest.h>

namespace weir::testing {
namespace {

using namespace std::chrono_literals;

hls::stream_log log_of(std::uint64_t version, std::uint64_t parts_version) {
  hls::stream_log log;
  log.stream = "conf";
  log.instance = 1;
  log.version = version;
  log.parts_version = parts_version;
  log.target = 4s;
  log.window = 60s;
  log.hold_back = 12s;
  log.part_target = 1s;
  log.rungs.resize(1);
  log.rungs[0].info.name = "180p";
  hls::log_entry entry;
  entry.msn = 10;
  entry.epoch = 7;
  entry.map = 7;
  entry.durations = {360'000};
  log.entries.push_back(entry);
  log.open = {.msn = 11, .epoch = 7, .map = 7, .hint_msn = 11, .hint_part = 0};
  return log;
}

TEST(DirectorParts, TakesTheLogThatSaysMore) {
  director_state state;
  const director_state::time_point now{};
  EXPECT_TRUE(state.take(log_of(5, 100), now));
  EXPECT_FALSE(state.take(log_of(5, 100), now));
  EXPECT_FALSE(state.take(log_of(5, 99), now)) << "a part fewer";
  EXPECT_TRUE(state.take(log_of(5, 101), now));
  EXPECT_FALSE(state.take(log_of(4, 900), now)) << "a segment fewer, whatever its parts";
  EXPECT_TRUE(state.take(log_of(6, 0), now)) << "of an origin that was started anew";
  EXPECT_EQ(state.streams.at("conf~1").stream->log.parts_version, 0u);
}

TEST(DirectorParts, WaitsForTheEdgesOfWhatIsHinted) {
  director_state state;
  auto log = log_of(5, 100);
  EXPECT_TRUE(state.knows_edges_of(log));
  log.open.hint_edges = 3;
  EXPECT_FALSE(state.knows_edges_of(log));
  log.open.hint_edges = 0;
  log.open.edges = 3;
  EXPECT_FALSE(state.knows_edges_of(log));
}

} // namespace
} // namespace weir::testing
