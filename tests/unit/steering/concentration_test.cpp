#include "runtime/steering/concentration.hpp"

#include "runtime/steering/joins.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <set>

#include <fmt/format.h>

namespace weir::steering {
namespace {

using namespace std::chrono_literals;

constexpr std::int64_t giga = 1'000'000'000;

std::vector<edge_target> edges(std::size_t n, std::size_t skip = 1000) {
  std::vector<edge_target> all;
  for (std::size_t i = 0; i < n; ++i)
    if (i != skip)
      all.push_back({edge_name(fmt::format("edge{}", i)), fmt::format("http://10.0.0.{}:8080", i), 1000, 8 * giga});
  return all;
}

std::uint64_t seed(int stream) { return stream_seed(fmt::format("stream{}~1", stream)); }

std::set<std::string> names(const edge_table& t, stream_reach reach) {
  std::set<std::string> all;
  for (auto e : edges_of(t, reach))
    all.insert(t.edges[e].name.value);
  return all;
}

std::string primary(const edge_table& t, std::uint32_t bucket, stream_reach reach) { return t.edges[place_of(t, bucket, {}, reach)->primary].name.value; }

TEST(Concentration, AStreamHasSoManyEdgesAndAnotherOneOthers) {
  const auto t = make_table(1, edges(10));
  std::map<std::string, int> used;
  for (int s = 0; s < 1000; ++s) {
    std::set<std::string> seen;
    for (std::uint32_t b = 0; b < bucket_count; ++b) {
      const auto at = *place_of(t, b, {}, {seed(s), 2});
      EXPECT_NE(at.primary, at.backup);
      seen.insert({t.edges[at.primary].name.value, t.edges[at.backup].name.value});
    }
    ASSERT_EQ(seen, names(t, {seed(s), 2})) << s;
    ASSERT_EQ(seen.size(), 2U);
    for (auto& name : seen)
      ++used[name];
  }
  for (auto& [name, streams] : used)
    EXPECT_NEAR(streams, 200, 50) << name;
  for (std::uint32_t all : {0U, 10U, 11U})
    for (std::uint32_t b = 0; b < bucket_count; ++b)
      ASSERT_EQ(place_of(t, b, {}, {seed(1), all})->primary, t.primary[b]);
}

TEST(Concentration, EdgesOfAStreamShareItsViewers) {
  const auto t = make_table(1, edges(10));
  for (std::uint32_t width : {2U, 3U, 5U, 9U}) {
    double worst = 0;
    for (int s = 0; s < 20; ++s) {
      std::map<std::string, double> count;
      for (std::uint32_t b = 0; b < bucket_count; ++b)
        count[primary(t, b, {seed(s), width})] += width / double(bucket_count);
      ASSERT_EQ(count.size(), width);
      worst = std::max(worst, std::ranges::max_element(count, {}, [](auto& c) { return c.second; })->second);
    }
    EXPECT_LT(worst, 1.25) << width;
  }
}

TEST(Concentration, LargeEdgesServeMoreStreams) {
  auto mixed = edges(10);
  for (std::size_t e = 0; e < 10; ++e)
    mixed[e].fair_milli = e < 5 ? 250 : 1000;
  for (auto& e : mixed)
    e.weight_milli = e.name.value == "edge9" ? 3000 : 1000; // the feedback's: it makes no difference
  const auto t = make_table(1, mixed);
  std::map<std::string, int> used;
  for (int s = 0; s < 2000; ++s)
    for (auto& name : names(t, {seed(s), 2}))
      ++used[name];
  EXPECT_LT(used["edge0"], 250);
  EXPECT_NEAR(used["edge9"], used["edge8"], 120);
  EXPECT_GT(used["edge8"], 500);
}

TEST(Concentration, OneMoreEdgeTakesItsPartAndMovesNobodyElse) {
  const auto t = make_table(1, edges(10));
  for (std::uint32_t width = 1; width < 10; ++width)
    for (int s = 0; s < 20; ++s) {
      auto before = names(t, {seed(s), width});
      auto after = width < 9 ? names(t, {seed(s), width + 1}) : std::set<std::string>{};
      ASSERT_TRUE(after.empty() || std::ranges::includes(after, before)) << "the order stays";
      std::size_t moved = 0;
      for (std::uint32_t b = 0; b < bucket_count; ++b) {
        auto from = primary(t, b, {seed(s), width}), to = primary(t, b, {seed(s), width + 1});
        if (from == to)
          continue;
        ++moved;
        ASSERT_FALSE(before.contains(to)) << "from one of the former to another one";
      }
      EXPECT_NEAR(double(moved) / bucket_count, 1.0 / (width + 1), 0.08) << width;
    }
}

TEST(Concentration, AnEdgeThatLeavesIsReplacedWhereItWas) {
  const auto before = make_table(1, edges(10));
  for (std::size_t leaving = 0; leaving < 10; ++leaving) {
    const auto after = make_table(2, edges(10, leaving), &before);
    const auto gone = fmt::format("edge{}", leaving);
    for (int s = 0; s < 30; ++s) {
      auto had = names(before, {seed(s), 3}), has = names(after, {seed(s), 3});
      const bool was_there = had.erase(gone) > 0;
      ASSERT_EQ(has.size(), 3U);
      EXPECT_TRUE(std::ranges::includes(has, had));
      std::size_t others = 0;
      for (std::uint32_t b = 0; b < bucket_count; ++b)
        if (auto from = primary(before, b, {seed(s), 3}); from != gone && from != primary(after, b, {seed(s), 3}))
          ++others;
      EXPECT_LT(others, was_there ? bucket_count / 4 : bucket_count / 20) << "the one that takes its place takes its share, of all; else the table's own moves";
    }
  }
}

TEST(Concentration, WhoHasANearEdgeKeepsIt) {
  auto venue = edges(6);
  venue.push_back({.name = edge_name("hall"), .url = "http://hall:8080", .capacity_bps = giga, .locality = "hall", .networks_only = true});
  const auto t = make_table(1, venue);
  for (int s = 0; s < 20; ++s) {
    EXPECT_FALSE(names(t, {seed(s), 2}).contains("hall"));
    const auto at = *place_of(t, 5, "hall", {seed(s), 2});
    EXPECT_TRUE(at.near);
    EXPECT_TRUE(names(t, {seed(s), 2}).contains(t.edges[at.backup].name.value)) << "and spills to the stream's own";
  }
}

TEST(Concentration, HistoryAnswersForEachEpoch) {
  table_history history;
  ASSERT_TRUE(history.add(make_table(1, edges(10))));
  auto other = make_table(1, edges(10));
  other.edges[3].fair_milli = 500;
  EXPECT_EQ(history.add(other).error().code, error_code::conflict) << "it has other orders";
  for (std::uint32_t b = 0; b < 64; ++b)
    EXPECT_EQ(history.base_url(1, b, false, {}, {seed(1), 2}), history.newest()->edges[place_of(*history.newest(), b, {}, {seed(1), 2})->primary].url);
}

TEST(Width, IsWhatTheDemandNeedsAndOneMore) {
  EXPECT_EQ(width_for(0, giga), 2U);
  EXPECT_EQ(width_for(0.7 * giga, giga), 2U);
  EXPECT_EQ(width_for(0.71 * giga, giga), 3U);
  EXPECT_EQ(width_for(7.0 * giga, giga), 11U);
  EXPECT_EQ(width_for(1e30, 1), 1000U);
}

class Widths : public ::testing::Test {
public:
  stream_widths::time_point now{1h};
  stream_widths widths{now};
  edge_table table = make_table(1, edges(10));
  stream_widths::demands seen;

  /// A second after the other.
  std::uint32_t after(std::chrono::seconds time, const std::string& stream = "s") {
    for (; time > 0s; time -= 1s) {
      now += 1s;
      widths.step(seen, table, now);
    }
    return widths.width(stream);
  }
};

TEST_F(Widths, GrowAtOnceAndFallLater) {
  seen["s"].viewers = 100;
  EXPECT_EQ(after(60s), 2U);
  seen["s"].viewers = 4000; // 12 Gbit/s, on edges of 8
  EXPECT_EQ(after(1s), 4U);
  seen["s"].viewers = 3700; // 11.1: three would do, but not with a fifth more
  EXPECT_EQ(after(200s), 4U);
  seen["s"].viewers = 100;
  EXPECT_EQ(after(59s), 4U);
  seen["s"].viewers = 4000;
  EXPECT_EQ(after(1s), 4U);
  seen["s"].viewers = 100;
  EXPECT_EQ(after(60s), 4U) << "that minute begins anew";
  EXPECT_EQ(after(1s), 2U);
}

TEST_F(Widths, CountWhomDirectorsSentThereAndWhatEdgesSend) {
  seen["s"].sessions = 100'000; // of the time before our start
  EXPECT_EQ(after(40s), 2U);
  seen["s"].sessions += 4000;
  EXPECT_EQ(after(1s), 4U);
  EXPECT_EQ(after(63s), 3U) << "if they are seen nowhere: as many as were wanted in that minute";
  EXPECT_EQ(after(61s), 2U);
  seen["s"].bits_per_second = 20 * giga;
  EXPECT_EQ(after(1s), 2U) << "a second in which all fetch says little";
  EXPECT_EQ(after(60s), 5U);
}

TEST_F(Widths, AreTellingOnlyWhoNeedsOthers) {
  seen["small"].viewers = 5;
  seen["large"].viewers = 4000;
  seen["all"].viewers = 100'000;
  after(1s);
  EXPECT_FALSE(widths.list().known) << "there may be more";
  after(30s);
  EXPECT_EQ(widths.list(), (width_list{.usual = 2, .wide = {{"all", 0}, {"large", 4}}, .known = true}));
  table = make_table(2, edges(4), &table);
  after(1s);
  EXPECT_EQ(widths.list(), (width_list{.usual = 2, .wide = {{"all", 0}, {"large", 0}}, .known = true}));
  table = make_table(3, edges(2), &table);
  after(1s);
  EXPECT_EQ(widths.list(), (width_list{.usual = 0, .wide = {}, .known = true})) << "two are all";
  seen.clear();
  table = make_table(4, edges(10), &table);
  after(1s);
  EXPECT_EQ(widths.width("large"), 2U) << "it is over";
}

TEST_F(Widths, AreAllEdgesWhereNobodyKnowsWhatAnEdgeCan) {
  auto unbounded = edges(10);
  unbounded[3].capacity_bps = 0;
  table = make_table(2, unbounded, &table);
  seen["s"].viewers = 5;
  EXPECT_EQ(after(60s), 0U);
  table = make_table(3, edges(10), &table);
  EXPECT_EQ(after(1s), 2U);
  stream_widths off{now, {.concentrate = false}};
  off.step(seen, table, now + 1h);
  EXPECT_EQ(off.width("s"), 0U);
  EXPECT_EQ(off.list(), (width_list{.usual = 0, .wide = {}, .known = true}));
}

class FewEdges : public ::testing::Test {
public:
  std::mt19937_64 random{7};
  join_admission admission{{.viewer_bps = 1'000'000}};
  std::shared_ptr<const edge_table> table = std::make_shared<const edge_table>(make_table(1, edges(10)));

  FewEdges() { admission.use(table); }
  join arrive(int stream) {
    auto joined = admission.admit(random, {}, {seed(stream), 2}).value();
    const auto width = joined.width == 0 ? 0 : std::max(joined.width, 2U);
    EXPECT_EQ(place_of(*table, joined.bucket, {}, {seed(stream), width})->primary, joined.edge) << "what its addresses will say";
    return joined;
  }
};

TEST_F(FewEdges, TakeThoseWhoComeOneByOne) {
  for (int stream = 0; stream < 200; ++stream)
    for (int viewer = 0; viewer < 5; ++viewer)
      EXPECT_EQ(arrive(stream).width, 1U);
}

TEST_F(FewEdges, AreNotEnoughForACrowd) {
  std::map<std::uint16_t, int> count;
  std::map<std::uint32_t, int> widths;
  for (int viewer = 0; viewer < 5000; ++viewer) {
    auto joined = arrive(1);
    ++count[joined.edge];
    ++widths[joined.width];
  }
  ASSERT_EQ(count.size(), 10U);
  for (auto& [edge, viewers] : count)
    EXPECT_NEAR(viewers, 500, 60) << edge;
  EXPECT_GT(widths[4], 0);
  EXPECT_GT(widths[8], 0);
  EXPECT_GT(widths[0], 500);
  EXPECT_EQ(widths[2], 0) << "that it has anyhow";
  for (int second = 0; second < 60; ++second)
    admission.calm_down();
  EXPECT_EQ(arrive(1).width, 1U) << "when the crowd is over, it is a small stream again";
}

TEST_F(FewEdges, GiveWayWhenTheyAreClosed) {
  for (auto e : edges_of(*table, {seed(1), 2}))
    admission.close(table->edges[e].name, true);
  for (int viewer = 0; viewer < 5; ++viewer)
    EXPECT_NE(arrive(1).width, 1U);
}

} // namespace
} // namespace weir::steering
