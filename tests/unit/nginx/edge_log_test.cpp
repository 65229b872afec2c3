#include "runtime/nginx/edge_log.hpp"

#include <gtest/gtest.h>

using namespace weir;
using namespace weir::nginx;
using namespace std::chrono_literals;

namespace {

const edge_counter::steady_time start{1000s};

edge_request segment(std::uint64_t viewer, std::int64_t bytes = 1000, cache_result cache = cache_result::hit, int status = 200, std::string_view stream = "talks") {
  return {bytes, status, cache, 1ms, stream, viewer};
}

} // namespace

TEST(EdgeLine, IsReadWithAllItsFields) {
  const auto one = parse_edge_line("<190>Nov 22 15:04:05 weir_edge: 1500360 200 HIT 0.012 talks 192.0.2.1 Mozilla/5.0 (X11; Linux) weir_edge: 1 2");
  ASSERT_TRUE(one);
  EXPECT_EQ(one->bytes, 1500360);
  EXPECT_EQ(one->status, 200);
  EXPECT_EQ(one->cache, cache_result::hit);
  EXPECT_EQ(one->took, 12ms);
  EXPECT_EQ(one->stream, "talks");
  EXPECT_EQ(parse_edge_line("<190>Nov 22 15:04:05 weir_edge: 1 404 - 0.000 - 192.0.2.1 curl")->stream, "");
  EXPECT_FALSE(one->probe);
  EXPECT_TRUE(parse_edge_line("<190>Nov 22 15:04:06 weir_edge: 1 206 HIT 0.000 talks 192.0.2.9 weir-edge-monitor")->probe);
  const auto again = parse_edge_line("<190>Nov 22 15:04:06 weir_edge: 1 404 MISS 1.000 talks 192.0.2.1 Mozilla/5.0 (X11; Linux) weir_edge: 1 2");
  ASSERT_TRUE(again);
  EXPECT_EQ(again->viewer, one->viewer);
  EXPECT_EQ(again->cache, cache_result::miss);
  EXPECT_NE(parse_edge_line("<190>Nov 22 15:04:06 weir_edge: 1 200 HIT 1.000 talks 192.0.2.2 Mozilla/5.0 (X11; Linux) weir_edge: 1 2")->viewer, one->viewer);
}

TEST(EdgeLine, OddResultsCountForWhatTheyAre) {
  const auto cache = [](std::string_view word) { return parse_edge_line("<190>Nov  2 15:04:05 weir_edge: 1 200 " + std::string(word) + " 0.000 s a b")->cache; };
  EXPECT_EQ(cache("UPDATING"), cache_result::hit);
  EXPECT_EQ(cache("STALE"), cache_result::hit);
  EXPECT_EQ(cache("EXPIRED"), cache_result::miss);
  EXPECT_EQ(cache("-"), cache_result::none);
}

TEST(EdgeLine, ForeignAndBrokenLinesAreNone) {
  for (const auto* text : {"", "x", "<190>Nov 22 15:04:05 nginx: 1 200 HIT 0.0 a b", "<190>Nov 22 15:04:05 weir_edge: ", "<190>Nov 22 15:04:05 weir_edge: 1",
                           "<190>Nov 22 15:04:05 weir_edge: -1 200 HIT 0.001 a b", "<190>Nov 22 15:04:05 weir_edge: 1 2000 HIT 0.001 a b",
                           "<190>Nov 22 15:04:05 weir_edge: 1 200 HOT 0.001 a b", "<190>Nov 22 15:04:05 weir_edge: 1 200 HIT 0.01 a b",
                           "<190>Nov 22 15:04:05 weir_edge: 99999999999999999999 200 HIT 0.001 a b", "<190>Nov 22 15:04:05 weir_edge: 1 200 HIT 0.001 ",
                           "<190>Nov 22 15:04:05 weir_edge: 1 200 HIT 0.001 talks", "<190>Nov 22 15:04:05 weir_edge: 1 200 HIT 0.001 talks "})
    EXPECT_FALSE(parse_edge_line(text)) << text;
  EXPECT_FALSE(parse_edge_line("<190>Nov 22 15:04:05 weir_edge: 1 200 HIT 0.001 " + std::string(65, 'x') + " 192.0.2.1 curl"));
}

TEST(EdgeCounter, TellsTheRatesOfTheLastSecond) {
  edge_counter counter(edge_name("edge-1"));
  counter.sample(start);
  for (std::uint64_t i = 0; i < 8; ++i)
    counter.add(segment(i % 3), start + 100ms);
  counter.add(segment(9, 500, cache_result::miss), start + 200ms);
  counter.add(segment(9, 0, cache_result::miss, 502), start + 300ms);
  const auto load = counter.sample(start + 1s);
  EXPECT_EQ(load.edge, edge_name("edge-1"));
  EXPECT_EQ(load.sequence, 2u);
  EXPECT_EQ(load.bits_per_second, 8500 * 8);
  EXPECT_EQ(load.requests, 10u);
  EXPECT_EQ(load.hits, 8u);
  EXPECT_EQ(load.misses, 2u);
  EXPECT_EQ(load.errors, 1u);
  EXPECT_EQ(load.viewers, 4u);
  const auto quiet = counter.sample(start + 2s);
  EXPECT_EQ(quiet.bits_per_second, 0);
  EXPECT_EQ(quiet.requests, 0u);
  EXPECT_EQ(quiet.viewers, 4u);
}

TEST(EdgeCounter, TotalsGoOnOverTheSamples) {
  edge_counter counter(edge_name("e"));
  for (int i = 0; i < 3; ++i) {
    counter.add(segment(1), start);
    counter.add(segment(1, 100, cache_result::miss), start);
    counter.add(segment(1, 100, cache_result::none, 404), start);
    counter.sample(start + 1s);
    counter.add(segment(2), start);
  }
  EXPECT_EQ(counter.totals().hits, 6u);
  EXPECT_EQ(counter.totals().misses, 3u);
  EXPECT_EQ(counter.totals().uncached, 3u);
}

TEST(EdgeCounter, RatesDoNotDependOnWhenTheSampleIsTaken) {
  edge_counter counter(edge_name("e"));
  counter.sample(start);
  for (int i = 0; i < 20; ++i)
    counter.add(segment(1), start + 1s);
  const auto late = counter.sample(start + 2s);
  EXPECT_EQ(late.requests, 10u);
  EXPECT_EQ(late.bits_per_second, 20 * 1000 * 8 / 2);
}

TEST(EdgeCounter, AViewerCountsForFifteenSecondsAfterItsLastSegment) {
  edge_counter counter(edge_name("e"));
  counter.add(segment(1), start);
  counter.add(segment(2), start + 10s);
  EXPECT_EQ(counter.sample(start + 14s).viewers, 2u);
  EXPECT_EQ(counter.sample(start + 15s).viewers, 1u);
  counter.add(segment(2), start + 20s);
  EXPECT_EQ(counter.sample(start + 34s).viewers, 1u);
  EXPECT_EQ(counter.sample(start + 35s).viewers, 0u);
}

TEST(EdgeCounter, OnlyDeliveredSegmentsMakeAViewer) {
  edge_counter counter(edge_name("e"));
  counter.add(segment(1, 100, cache_result::hit, 404), start);
  counter.add(segment(2, 100, cache_result::none, 200), start);
  auto probe = segment(3);
  probe.probe = true;
  counter.add(probe, start);
  EXPECT_EQ(counter.sample(start + 1s).viewers, 0u);
}

TEST(EdgeCounter, InventedAgentsCannotExhaustMemory) {
  edge_counter counter(edge_name("e"), 100);
  for (std::uint64_t i = 0; i < 10000; ++i)
    counter.add(segment(i), start);
  EXPECT_EQ(counter.sample(start + 1s).viewers, 100u);
}

TEST(EdgeCounter, TellsWhatWasOfWhichStream) {
  edge_counter counter(edge_name("e"));
  counter.sample(start);
  for (std::uint64_t viewer : {1, 2, 3})
    counter.add(segment(viewer, 1000, cache_result::hit, 200, "hall-1"), start + 100ms);
  counter.add(segment(3, 500, cache_result::miss, 200, "hall-2"), start + 200ms); // the same person watches both
  counter.add(segment(4, 700, cache_result::miss, 404, "hall-3"), start + 200ms); // which does not exist
  const auto load = counter.sample(start + 1s);
  EXPECT_EQ(load.viewers, 3u);
  ASSERT_EQ(load.streams.size(), 2u);
  EXPECT_EQ(load.streams[0].stream, "hall-1");
  EXPECT_EQ(load.streams[0].bits_per_second, 3000 * 8);
  EXPECT_EQ(load.streams[0].hits, 3u);
  EXPECT_EQ(load.streams[0].misses, 0u);
  EXPECT_EQ(load.streams[0].viewers, 3u);
  EXPECT_EQ(load.streams[1].stream, "hall-2");
  EXPECT_EQ(load.streams[1].bits_per_second, 500 * 8);
  EXPECT_EQ(load.streams[1].misses, 1u);
  EXPECT_EQ(load.streams[1].viewers, 1u);

  const auto quiet = counter.sample(start + 2s);
  ASSERT_EQ(quiet.streams.size(), 2u);
  EXPECT_EQ(quiet.streams[0].bits_per_second, 0);
  EXPECT_EQ(quiet.streams[0].viewers, 3u);
  EXPECT_TRUE(counter.sample(start + 20s).streams.empty());
  const auto totals = counter.totals_by_stream();
  ASSERT_EQ(totals.size(), 2u);
  EXPECT_EQ(totals.at("hall-1").bytes, 3000u);
  EXPECT_EQ(totals.at("hall-1").hits, 3u);
  EXPECT_EQ(totals.at("hall-2").misses, 1u);
  counter.sample(start + 11min);
  EXPECT_TRUE(counter.totals_by_stream().empty());
}

TEST(EdgeCounter, ManyStreamsAreNamedAsFarAsAReportGoesAndCountedInAll) {
  edge_counter counter(edge_name("e"));
  counter.sample(start);
  constexpr std::uint64_t streams = 300;
  for (std::uint64_t i = 0; i < streams; ++i)
    for (std::uint64_t viewer = 0; viewer < (i == 7 ? 5u : 1u); ++viewer)
      counter.add(segment(1000 * i + viewer, 100, cache_result::hit, 200, "s" + std::to_string(i)), start + 1ms);
  EXPECT_EQ(counter.totals_by_stream().size(), most_counted_streams + 1);
  const auto load = counter.sample(start + 1s);
  ASSERT_EQ(load.streams.size(), 64u);
  EXPECT_EQ(load.streams.front().stream, "s7");
  EXPECT_EQ(load.streams.front().viewers, 5u);
  EXPECT_EQ(load.streams.back().stream, "");
  std::uint64_t viewers = 0;
  std::int64_t bits = 0;
  for (auto& one : load.streams) {
    viewers += one.viewers;
    bits += one.bits_per_second;
  }
  EXPECT_EQ(viewers, streams + 4);
  EXPECT_EQ(bits, load.bits_per_second);
}

TEST(EdgeCounter, InventedAgentsCannotExhaustMemoryByStreamEither) {
  edge_counter counter(edge_name("e"), 100);
  for (std::uint64_t i = 0; i < 10000; ++i)
    counter.add(segment(i, 1, cache_result::hit, 200, i % 2 ? "a" : "b"), start);
  auto load = counter.sample(start + 1s);
  ASSERT_EQ(load.streams.size(), 2u);
  EXPECT_EQ(load.streams[0].viewers + load.streams[1].viewers, 100u);
  EXPECT_TRUE(counter.sample(start + 16s).streams.empty());
  counter.add(segment(1), start + 17s); // there is room again
  load = counter.sample(start + 18s);
  ASSERT_EQ(load.streams.size(), 1u);
  EXPECT_EQ(load.streams[0].viewers, 1u);
}

TEST(StubStatus, IsRead) {
  const auto status = parse_stub_status("Active connections: 291 \nserver accepts handled requests\n 16630948 16630947 31070465 \nReading: 6 Writing: 179 Waiting: 106 \n");
  ASSERT_TRUE(status) << status.error().text;
  EXPECT_EQ(status->active, 291u);
  EXPECT_EQ(status->accepted, 16630948u);
  EXPECT_EQ(status->handled, 16630947u);
  EXPECT_EQ(status->requests, 31070465u);
  EXPECT_EQ(status->reading, 6u);
  EXPECT_EQ(status->writing, 179u);
  EXPECT_EQ(status->waiting, 106u);
}

TEST(StubStatus, OtherTextIsAnError) {
  for (const auto* text : {"", "<html>", "Active connections: x", "Active connections: 1 \nserver accepts handled requests\n 1 1", "Active connections:"})
    EXPECT_FALSE(parse_stub_status(text)) << text;
}
