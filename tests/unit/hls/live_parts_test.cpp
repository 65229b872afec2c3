#include "runtime/hls/log_news.hpp"

#include <gtest/gtest.h>

#include "tests/unit/hls/part_writer.hpp"

#include <set>

namespace weir::hls {
namespace {

/// Slots 0 to 4 are listed, without the parts of the first three.
struct LiveParts : testing::Test, part_bench {
  LiveParts() {
    for (std::uint64_t n = 0; n < 3; ++n)
      segment(1, n);
    live_slots(1, 3, 4);
  }
  std::string lines(std::string_view begin, std::size_t rung = 0) const {
    std::string out, all = text(rung);
    for (std::size_t at = 0; at < all.size();) {
      auto end = all.find('\n', at);
      if (auto line = all.substr(at, end - at); line.starts_with(begin))
        out += line + '\n';
      at = end + 1;
    }
    return out;
  }
};

// --- which parts are listed ---------------------------------------------------------------------------------------------------------------------
TEST_F(LiveParts, AreListedWhenAllActiveRungsHaveThem) {
  EXPECT_EQ(listed(), "3.0 3.1 3.2 3.3 4.0 4.1 4.2 4.3 ");
  ASSERT_TRUE(part(1, "720p", 5, 0));
  EXPECT_EQ(shown.open.hint_msn, 5U);
  EXPECT_EQ(shown.open.hint_part, 0U);
  EXPECT_EQ(shown.parts.back().msn, 4U) << "the other rung has not";
  ASSERT_TRUE(part(1, "360p", 5, 1));
  EXPECT_EQ(shown.parts.back().msn, 4U);
  ASSERT_TRUE(part(1, "360p", 5, 0));
  EXPECT_EQ(shown.parts.back().msn, 5U);
  EXPECT_EQ(shown.parts.back().part, 0U);
  ASSERT_TRUE(part(1, "720p", 5, 1));
  EXPECT_EQ(shown.parts.back().part, 1U);
  EXPECT_EQ(shown.open.hint_part, 2U);
}

TEST_F(LiveParts, WaitForNoRungThatIsNotActive) {
  for (std::uint64_t n = 5; n < 9; ++n) { // 360p fails
    now = start_time + static_cast<std::int64_t>(n + 1) * 4s;
    offer(1, "720p", n);
    now += 4100ms;
    log.tick(edges, now);
    show();
  }
  ASSERT_FALSE(shown.rungs[1].active);
  EXPECT_TRUE(shown.open.epoch != 0);
  ASSERT_TRUE(part(1, "720p", 9, 0));
  EXPECT_EQ(shown.parts.back().msn, 9U);
  EXPECT_EQ(shown.parts.back().gaps, 2U);
  EXPECT_NE(text(0).find("/720p/9.0.m4s"), std::string::npos);
  EXPECT_TRUE(lines("#EXT-X-PART:", 1).ends_with("/s/show~1/1/360p/9.0.m4s\",GAP=YES\n")) << lines("#EXT-X-PART:", 1);
  EXPECT_EQ(lines("#EXT-X-PART:", 0).find("GAP"), std::string::npos);
  EXPECT_EQ(text(1).find("PRELOAD-HINT"), std::string::npos);
  EXPECT_EQ(part(1, "360p", 9, 0).error().code, error_code::conflict) << "it is listed without it";
  EXPECT_EQ(shown.parts.back().gaps, 2U);
}

TEST_F(LiveParts, OfTheSegmentAfterNextWaitUntilTheNextOneIsListed) {
  for (std::uint32_t k = 0; k < 4; ++k)
    both(1, 5, k);
  both(1, 6, 0);
  both(1, 6, 1);
  EXPECT_EQ(shown.parts.back().msn, 5U);
  EXPECT_EQ(shown.open.hint_msn, 6U);
  EXPECT_EQ(shown.open.hint_part, 0U);
  segment(1, 5);
  EXPECT_EQ(listed(), "3.0 3.1 3.2 3.3 4.0 4.1 4.2 4.3 5.0 5.1 5.2 5.3 6.0 6.1 ");
  EXPECT_EQ(shown.open.hint_msn, 6U);
  EXPECT_EQ(shown.open.hint_part, 2U);
}

TEST_F(LiveParts, AreNoneBehindADiscontinuityOrOfIt) {
  auto p = make_part("720p", 5, 0, now);
  p.discontinuity = true;
  auto place = part(1, p);
  ASSERT_TRUE(place);
  EXPECT_FALSE(*place) << "nobody needs its bytes";
  EXPECT_EQ(shown.parts.back().msn, 4U);
  // The writer's numbers jump: what it sent before is of another time line.
  both(1, 5, 0);
  auto jumped = make_segment("720p", 500, now);
  jumped.discontinuity = true;
  jumped.first_pts = 0;
  ASSERT_EQ(log.offer(1, jumped, edges, now), offer_result::accepted);
  EXPECT_EQ(part(1, "720p", 500, 3).error().code, error_code::conflict) << "that number was shown as another segment's";
  show();
  EXPECT_EQ(shown.open.hint_msn, 0U) << "nothing is promised";
  EXPECT_EQ(shown.parts.back().msn, 5U) << "what is seen stays until viewers hear of the jump";
  jumped.rung = "360p";
  log.offer(1, jumped, edges, now);
  show();
  ASSERT_TRUE(shown.entries.back().discontinuity);
  EXPECT_EQ(shown.parts.back().msn, 4U);
  both(1, 501, 0);
  EXPECT_EQ(shown.parts.back().msn, 6U) << "the next one goes on from it";
}

TEST_F(LiveParts, AreNoneWhereTheWriterChanges) {
  both(1, 5, 0);
  begin_with_maps(2, "pub1", "m1");
  EXPECT_EQ(part(2, "720p", 5, 0).error().code, error_code::conflict) << "it is not in charge";
  offer(2, "720p", 5);
  show(); // nothing new is listed
  EXPECT_EQ(shown.open.hint_msn, 0U) << "the one that began it will not end it";
  EXPECT_EQ(shown.open.epoch, 1U);
  EXPECT_EQ(shown.parts.back().msn, 5U) << "what is seen stays until viewers hear of the other one";
  EXPECT_EQ(part(1, "360p", 5, 1).error().code, error_code::conflict);
  EXPECT_EQ(part(2, "360p", 5, 1).error().code, error_code::conflict) << "its address would be right, but its number was shown as the other's";
  offer(2, "360p", 5);
  show();
  ASSERT_EQ(shown.entries.back().epoch, 2U);
  EXPECT_EQ(shown.parts.back().msn, 4U);
  both(2, 6, 0);
  EXPECT_EQ(shown.parts.back().msn, 6U);
  EXPECT_NE(text().find("/s/show~1/2/720p/6.0.m4s"), std::string::npos);
}

TEST_F(LiveParts, AreNoneOfASegmentThatAStandbyBrings) {
  begin_with_maps(2, "pub1", "m1", two_rungs(), true);
  both(1, 5, 0);
  both(1, 5, 1);
  EXPECT_EQ(shown.parts.back().msn, 5U);
  now = start_time + 24s;
  offer(2, "720p", 5);
  offer(2, "360p", 5);
  now += 1500ms;
  log.tick(edges, now);
  show();
  ASSERT_EQ(shown.entries.back().epoch, 2U);
  EXPECT_FALSE(shown.entries.back().discontinuity);
  EXPECT_EQ(shown.parts.back().msn, 4U);
}

TEST_F(LiveParts, AreNoneBehindAGap) {
  both(1, 5, 0);
  now = start_time + 20s + 5700ms;
  log.tick(edges, now); // the clock makes a gap
  show();
  ASSERT_EQ(shown.entries.back().msn, 5U);
  ASSERT_EQ(shown.entries.back().gaps, 3U);
  EXPECT_EQ(lines("#EXT-X-PART:").find("/5.0.m4s"), std::string::npos) << "a gap has no parts";
  EXPECT_EQ(shown.open.epoch, 0U);
  EXPECT_EQ(lines("#EXT-X-PRELOAD-HINT"), "");
}

TEST_F(LiveParts, ThatAreLostLeaveWhatIsListedAsItIs) {
  both(1, 5, 0);
  both(1, 5, 2);
  ASSERT_TRUE(part(1, "360p", 5, 1)); // 720p's is lost
  both(1, 5, 3);
  EXPECT_EQ(shown.open.hint_part, 1U);
  segment(1, 5);
  EXPECT_EQ(listed(), "3.0 3.1 3.2 3.3 4.0 4.1 4.2 4.3 5.0 ");
  EXPECT_EQ(part(1, "720p", 5, 1).error().code, error_code::conflict) << "too late";
  EXPECT_EQ(shown.open.hint_msn, 6U);
  // Of one that nobody has seen a part of none is listed.
  ASSERT_TRUE(part(1, "360p", 6, 0));
  both(1, 6, 1);
  segment(1, 6);
  EXPECT_EQ(shown.parts.back().msn, 5U);
}

TEST_F(LiveParts, LeaveTheListThreeTargetsBehindTheEndAndInOrder) {
  std::string before = listed();
  for (std::uint64_t n = 5; n < 30; ++n)
    for (std::uint32_t k = 0; k < 5; ++k) {
      if (k < 4)
        both(1, n, k);
      else
        segment(1, n);
      auto after = listed();
      auto oldest = fmt::format("{}.{} ", shown.parts.front().msn, shown.parts.front().part);
      auto at = before.find(oldest);
      ASSERT_NE(at, std::string::npos) << before << "then " << after;
      ASSERT_TRUE(after.starts_with(before.substr(at))) << before << "then " << after;
      EXPECT_EQ(shown.parts.front().part, 0U);
      // All of the last 12 s, and of what is older than that one segment at most.
      std::int64_t behind = 0;
      for (auto& e : shown.entries)
        behind += e.msn >= shown.parts.front().msn ? e.duration(0) : 0;
      for (auto& p : shown.parts)
        behind += p.msn > shown.entries.back().msn ? p.duration(0) : 0;
      EXPECT_TRUE(behind >= 12 * 90'000 || shown.parts.front().msn == 3) << behind;
      EXPECT_LE(behind, 16 * 90'000);
      before = after;
    }
}

TEST_F(LiveParts, OfWritersThatCannotBeAreRefused) {
  auto code = [&](lease_epoch epoch, part_info p) {
    auto place = parts.locate(epoch, p, log, undecided());
    return place ? error_code::none : place.error().code;
  };
  const auto good = make_part("720p", 5, 0, now);
  auto with = [&](auto change) {
    auto p = good;
    change(p);
    return code(1, p);
  };
  EXPECT_EQ(code(1, good), error_code::none);
  EXPECT_EQ(code(9, good), error_code::not_found);
  ASSERT_TRUE(log.begin_writer(9, "pub1", two_rungs(), timing_of(hls_profile::low_latency), false, "m1"));
  EXPECT_EQ(code(9, good), error_code::unsupported);
  EXPECT_EQ(with([](auto& p) { p.duration = 90'000 + 1; }), error_code::invalid_input) << "longer than it has said";
  EXPECT_EQ(with([](auto& p) { p.duration = 0; }), error_code::invalid_input);
  EXPECT_EQ(with([](auto& p) { p.part = parts_of_a_segment; }), error_code::invalid_input);
  EXPECT_EQ(with([](auto& p) { p.rung = "../x"; }), error_code::invalid_input);
  EXPECT_EQ(with([](auto& p) { p.bytes = 0; }), error_code::invalid_input);
  EXPECT_EQ(with([](auto& p) { p.first_pts = std::numeric_limits<std::int64_t>::max(); }), error_code::invalid_input);
  EXPECT_EQ(with([](auto& p) { p.slot = 4; }), error_code::conflict) << "listed";
  EXPECT_EQ(with([](auto& p) { p.slot = 7; }), error_code::none);
  EXPECT_EQ(with([](auto& p) { p.slot = 8; }), error_code::conflict) << "far ahead";
  EXPECT_EQ(with([](auto& p) { p.slot = std::numeric_limits<std::uint64_t>::max(); }), error_code::conflict);
  ASSERT_TRUE(part(1, good));
  EXPECT_EQ(code(1, good), error_code::already_exists);
}

// Players that have loaded a playlist go by its PART-TARGET and PART-HOLD-BACK for as long as they play it.
TEST_F(LiveParts, OfAnotherTargetOrNoneAreOfANewInstance) {
  EXPECT_EQ(shown.part_target, 1s);
  EXPECT_EQ(lines("#EXT-X-PART-INF"), "#EXT-X-PART-INF:PART-TARGET=1.000\n");
  lease_epoch writer = 1;
  std::uint64_t instance = 1, slot = 5;
  for (auto target : {500ms, 1200ms, 0ms, 1000ms}) {
    SCOPED_TRACE(target.count());
    timing.part = target;
    const auto before = shown.part_target;
    begin_with_maps(++writer, "pub1", "m1");
    log.maps_stored(writer, instance + 1);
    offer(writer, "720p", slot);
    EXPECT_EQ(log.snapshot().instance, instance + 1);
    EXPECT_EQ(shown.part_target, before) << "what is seen stays until viewers hear of the other one";
    for (; slot < 5 + writer * 4; ++slot)
      segment(writer, slot);
    EXPECT_EQ(shown.instance, ++instance);
    EXPECT_EQ(shown.part_target, target);
    EXPECT_EQ(lines("#EXT-X-PART-INF").empty(), target == 0ms);
    EXPECT_EQ(shown.open.hint_msn, target == 0ms ? 0 : shown.entries.back().msn + 1);
  }
  begin_with_maps(++writer, "pub1", "m1"); // of the same target
  segment(writer, slot++);
  live_slots(writer, slot, slot + 2);
  EXPECT_EQ(shown.instance, instance);
  EXPECT_EQ(shown.part_target, 1s);
  EXPECT_EQ(shown.parts.back().msn, shown.entries.back().msn);
}

TEST_F(LiveParts, KeepTheirTargetWhenTheLogIsReadAgain) {
  const auto text = log.to_json();
  auto again = segment_log::from_json(text);
  ASSERT_TRUE(again) << again.error().text;
  EXPECT_EQ(again->to_json(), text);
  EXPECT_EQ(again->snapshot().part_target, 1s);
  EXPECT_EQ(again->part_target_of(1), 1s);
  log = std::move(*again);
  parts = {};
  show();
  both(1, 5, 0);
  EXPECT_EQ(shown.parts.back().msn, 5U) << "its writer need not say it again";
  // Within a run it stays what it is. Of a log that was saved without, it is what the writer says.
  timing.part = 500ms;
  EXPECT_EQ(log.begin_writer(1, "pub1", two_rungs(), timing, false, "m1").error().code, error_code::conflict);
  timing.part = 0ms;
  EXPECT_TRUE(log.begin_writer(1, "pub1", two_rungs(), timing, false, "m1"));
  EXPECT_EQ(log.snapshot().part_target, 1s);
  bench before("m1");
  before.slots(1, 1, 4);
  before.timing.part = 1s;
  before.begin_with_maps(1, "pub1", "m1");
  EXPECT_EQ(before.log.snapshot().part_target, 1s);
  EXPECT_EQ(before.log.snapshot().instance, 1U);
}

TEST_F(LiveParts, CountTheirOwnVersion) {
  const auto before = shown.parts_version;
  EXPECT_GE(before, static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(start_time.time_since_epoch()).count())) << "larger than that of any start before";
  ASSERT_TRUE(part(1, "720p", 5, 0));
  EXPECT_EQ(shown.parts_version, before) << "nobody sees anything else";
  ASSERT_TRUE(part(1, "360p", 5, 0));
  EXPECT_GT(shown.parts_version, before);
  const auto version = shown.parts_version;
  EXPECT_FALSE(parts.fill(shown, log, edges, now));
  EXPECT_EQ(shown.parts_version, version);
}

// --- promises -----------------------------------------------------------------------------------------------------------------------------------
TEST_F(LiveParts, AreHintedAtTheAddressThatTheyGet) {
  auto hint = [&] {
    auto line = lines("#EXT-X-PRELOAD-HINT");
    return line.substr(line.find("URI="), line.rfind('"') + 1 - line.find("URI="));
  };
  for (std::uint64_t n = 5; n < 40; ++n)
    for (std::uint32_t k = 0; k < 4; ++k) {
      const auto promised = hint();
      if (n % 5 == 0 && k == 1)
        ++edges; // in the middle of a segment
      if (n % 7 == 0 && k == 0)
        ++edges; // after its hint
      if (n % 3 == 0 && k == n / 3 % 4)
        log.use_width(n % 2 == 0 ? 0 : 2);
      both(1, n, k);
      EXPECT_NE(lines("#EXT-X-PART:").find(promised), std::string::npos) << promised << " became\n" << lines("#EXT-X-PART:");
      if (k == 3)
        segment(1, n);
      for (std::size_t rung : {0U, 1U}) {
        auto p = prepared_playlist(shown, rung);
        EXPECT_EQ(p.low_latency(), true);
      }
    }
}

TEST_F(LiveParts, PinTheEdgesAndTheDateOfTheirSegment) {
  both(1, 5, 0);
  EXPECT_EQ(shown.open.edges, 1U);
  const auto time = shown.open.time;
  edges = 4;
  log.use_width(3);
  both(1, 5, 1);
  EXPECT_EQ(shown.open.edges, 1U);
  EXPECT_EQ(shown.open.width, 0U);
  both(1, 5, 2);
  both(1, 5, 3);
  EXPECT_EQ(shown.open.hint_msn, 6U);
  EXPECT_EQ(shown.open.hint_edges, 4U);
  EXPECT_EQ(shown.open.hint_width, 3U);
  edges = 6;
  log.use_width(5);
  now = start_time + 24s;
  auto late = make_segment("360p", 5, start_time + 20s + 70ms); // the other rung's clock would say so
  log.offer(1, late, edges, now);
  offer(1, "720p", 5);
  show();
  ASSERT_EQ(shown.entries.back().msn, 5U);
  EXPECT_EQ(shown.entries.back().edges, 1U);
  EXPECT_EQ(shown.entries.back().width, 0U);
  EXPECT_EQ(shown.entries.back().time, time);
  both(1, 6, 0);
  EXPECT_EQ(shown.open.edges, 4U);
  EXPECT_EQ(shown.open.width, 3U);
  segment(1, 6);
  EXPECT_EQ(shown.entries.back().edges, 4U);
  EXPECT_EQ(shown.entries.back().width, 3U);
  segment(1, 7); // hinted since 6 is listed
  EXPECT_EQ(shown.entries.back().edges, 6U);
}

TEST_F(LiveParts, ArePromisedOfAGapToo) {
  both(1, 5, 0);
  edges = 9;
  now = start_time + 20s + 5700ms;
  log.tick(edges, now);
  EXPECT_EQ(log.snapshot().entries.back().edges, 1U) << "whoever saw its part knows its host";
}

// --- the playlist -------------------------------------------------------------------------------------------------------------------------------
TEST_F(LiveParts, AreInThePlaylistAsPlayersWantThem) {
  both(1, 5, 0);
  EXPECT_EQ(text(), "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-DISCONTINUITY-SEQUENCE:0\n#EXT-X-INDEPENDENT-SEGMENTS\n"
                    "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=3.000,CAN-SKIP-UNTIL=24.000,HOLD-BACK=12.000\n"
                    "#EXT-X-PART-INF:PART-TARGET=1.000\n"
                    "#EXT-X-MAP:URI=\"http://a/s/show~1/1/720p/init.mp4\"\n"
                    "#EXT-X-PROGRAM-DATE-TIME:2026-11-22T12:00:00.000Z\n#EXTINF:4.00000,\nhttp://a/s/show~1/1/720p/0.m4s\n"
                    "#EXT-X-PROGRAM-DATE-TIME:2026-11-22T12:00:04.000Z\n#EXTINF:4.00000,\nhttp://a/s/show~1/1/720p/1.m4s\n"
                    "#EXT-X-PROGRAM-DATE-TIME:2026-11-22T12:00:08.000Z\n#EXTINF:4.00000,\nhttp://a/s/show~1/1/720p/2.m4s\n"
                    "#EXT-X-PROGRAM-DATE-TIME:2026-11-22T12:00:12.000Z\n"
                    "#EXT-X-PART:DURATION=1.00000,URI=\"http://a/s/show~1/1/720p/3.0.m4s\",INDEPENDENT=YES\n"
                    "#EXT-X-PART:DURATION=1.00000,URI=\"http://a/s/show~1/1/720p/3.1.m4s\"\n"
                    "#EXT-X-PART:DURATION=1.00000,URI=\"http://a/s/show~1/1/720p/3.2.m4s\",INDEPENDENT=YES\n"
                    "#EXT-X-PART:DURATION=1.00000,URI=\"http://a/s/show~1/1/720p/3.3.m4s\"\n"
                    "#EXTINF:4.00000,\nhttp://a/s/show~1/1/720p/3.m4s\n"
                    "#EXT-X-PROGRAM-DATE-TIME:2026-11-22T12:00:16.000Z\n"
                    "#EXT-X-PART:DURATION=1.00000,URI=\"http://a/s/show~1/1/720p/4.0.m4s\",INDEPENDENT=YES\n"
                    "#EXT-X-PART:DURATION=1.00000,URI=\"http://a/s/show~1/1/720p/4.1.m4s\"\n"
                    "#EXT-X-PART:DURATION=1.00000,URI=\"http://a/s/show~1/1/720p/4.2.m4s\",INDEPENDENT=YES\n"
                    "#EXT-X-PART:DURATION=1.00000,URI=\"http://a/s/show~1/1/720p/4.3.m4s\"\n"
                    "#EXTINF:4.00000,\nhttp://a/s/show~1/1/720p/4.m4s\n"
                    "#EXT-X-PROGRAM-DATE-TIME:2026-11-22T12:00:20.000Z\n"
                    "#EXT-X-PART:DURATION=1.00000,URI=\"http://a/s/show~1/1/720p/5.0.m4s\",INDEPENDENT=YES\n"
                    "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"http://a/s/show~1/1/720p/5.1.m4s\"\n"
                    "#EXT-X-RENDITION-REPORT:URI=\"360p.m3u8\",LAST-MSN=5,LAST-PART=0\n");
  EXPECT_NE(multivariant(shown, {}).value().find("#EXT-X-VERSION:9\n"), std::string::npos) << "not below that of its media playlists (V9)";
}

TEST_F(LiveParts, AreReportedOfEveryOtherActiveRung) {
  EXPECT_EQ(lines("#EXT-X-RENDITION-REPORT", 0), "#EXT-X-RENDITION-REPORT:URI=\"360p.m3u8\",LAST-MSN=4,LAST-PART=3\n");
  EXPECT_EQ(lines("#EXT-X-RENDITION-REPORT", 1), "#EXT-X-RENDITION-REPORT:URI=\"720p.m3u8\",LAST-MSN=4,LAST-PART=3\n");
  shown.rungs[0].active = false;
  EXPECT_EQ(lines("#EXT-X-RENDITION-REPORT", 1), "");
  shown.rungs[0].active = true;
  shown.parts.clear();
  EXPECT_EQ(lines("#EXT-X-RENDITION-REPORT", 1), "#EXT-X-RENDITION-REPORT:URI=\"720p.m3u8\",LAST-MSN=4\n");
}

TEST_F(LiveParts, OfAStreamThatIsOverPromiseNothing) {
  both(1, 5, 0);
  log.end(edges, now);
  show();
  auto all = text();
  EXPECT_TRUE(all.ends_with("#EXT-X-ENDLIST\n"));
  EXPECT_EQ(all.find("PRELOAD-HINT"), std::string::npos);
  EXPECT_EQ(all.find("RENDITION-REPORT"), std::string::npos);
  EXPECT_EQ(all.find("5.0.m4s"), std::string::npos);
  EXPECT_NE(all.find("CAN-BLOCK-RELOAD=YES"), std::string::npos) << "SERVER-CONTROL never changes (P14)";
  EXPECT_EQ(prepared_playlist(shown, 0, true).text(1, [](edge_epoch) { return std::string_view("http://a"); }), all) << "directives count no more";
  EXPECT_TRUE(prepared_playlist(shown, 0).reached(99, 3));
}

TEST_F(LiveParts, SayWhatABlockingRequestWaitsFor) {
  auto reached = [&](std::uint64_t msn, std::optional<std::uint32_t> part) { return prepared_playlist(shown, 0).reached(msn, part); };
  EXPECT_EQ(prepared_playlist(shown, 0).last_point(), (point{4, -1}));
  EXPECT_TRUE(reached(0, {}));
  EXPECT_TRUE(reached(0, 77)) << "older than the window, or within it: all of it is there";
  EXPECT_TRUE(reached(3, 9)) << "part 0 of 4 is listed";
  EXPECT_TRUE(reached(4, {}));
  EXPECT_TRUE(reached(4, 3));
  EXPECT_FALSE(reached(4, 4)) << "behind the last part: part 0 of 5";
  EXPECT_FALSE(reached(5, {}));
  EXPECT_FALSE(reached(5, 0));
  both(1, 5, 0);
  EXPECT_EQ(prepared_playlist(shown, 0).last_point(), (point{5, 0}));
  EXPECT_TRUE(reached(4, 4));
  EXPECT_TRUE(reached(4, 99));
  EXPECT_TRUE(reached(5, 0));
  EXPECT_FALSE(reached(5, 1));
  EXPECT_FALSE(reached(5, {})) << "not the whole of it";
  EXPECT_FALSE(reached(6, {}));
  EXPECT_FALSE(reached(6, 0));
  segment(1, 5); // its other parts are lost
  EXPECT_TRUE(reached(5, {}));
  EXPECT_TRUE(reached(5, 0));
  EXPECT_FALSE(reached(5, 1));
  segment(1, 6); // it has none
  EXPECT_TRUE(reached(6, 0));
  EXPECT_TRUE(reached(6, 3)) << "all of it is there, and no part of it comes any more";
  EXPECT_FALSE(reached(7, 0));
}

TEST_F(LiveParts, MakeDeltas) {
  live_slots(1, 5, 16);
  both(1, 17, 0);
  auto whole = text(), delta = text(0, true);
  // 24 s and no less: the part, and segments 16 down to 11.
  const auto first = whole.find("#EXT-X-PROGRAM-DATE-TIME:2026-11-22T12:00:44.000Z");
  ASSERT_NE(first, std::string::npos);
  EXPECT_TRUE(delta.ends_with(whole.substr(first))) << delta;
  EXPECT_EQ(delta.substr(0, delta.size() - (whole.size() - first)),
            "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:2\n#EXT-X-DISCONTINUITY-SEQUENCE:0\n#EXT-X-INDEPENDENT-SEGMENTS\n"
            "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=3.000,CAN-SKIP-UNTIL=24.000,HOLD-BACK=12.000\n#EXT-X-PART-INF:PART-TARGET=1.000\n"
            "#EXT-X-SKIP:SKIPPED-SEGMENTS=9\n#EXT-X-MAP:URI=\"http://a/s/show~1/1/720p/init.mp4\"\n");
  part_bench shorter;
  for (std::uint64_t n = 0; n < 6; ++n)
    shorter.segment(1, n);
  EXPECT_EQ(shorter.text(0, true), shorter.text(0, false)) << "nothing to leave out";
}

TEST_F(LiveParts, RepeatInADeltaWhatItsFirstSegmentNeeds) {
  live_slots(1, 5, 7);
  begin_with_maps(2, "pub1", "m2");
  segment(2, 8); // of the discontinuity there are none
  live_slots(2, 9, 11);
  std::set<std::uint64_t> first_kept;
  for (std::uint64_t n = 12; n <= 20; ++n) {
    live_slot(2, n);
    const auto whole = parse_media_playlist(text()), delta = parse_media_playlist(text(0, true));
    ASSERT_TRUE(whole && delta);
    ASSERT_GT(delta->skipped, 0U);
    EXPECT_EQ(delta->first_msn, whole->first_msn);
    EXPECT_EQ(delta->first_dsn, whole->first_dsn);
    EXPECT_EQ(delta->skipped + delta->entries.size(), whole->entries.size());
    first_kept.insert(delta->entries.front().msn);
    for (std::size_t i = 0; i < delta->entries.size(); ++i) {
      auto &told = delta->entries[i], &same = whole->entries[delta->skipped + i];
      EXPECT_EQ(told.msn, same.msn);
      EXPECT_EQ(told.uri, same.uri);
      EXPECT_EQ(told.map, same.map) << "whose map is told behind those that are left out: MSN " << told.msn;
      EXPECT_TRUE(told.map.ends_with(fmt::format("/s/show~1/{}/720p/init.mp4", told.msn < 8 ? 1 : 2))) << told.map;
      EXPECT_TRUE(told.date.has_value());
      EXPECT_EQ(told.date, same.date);
      EXPECT_EQ(told.discontinuity, same.discontinuity);
    }
  }
  EXPECT_EQ(*first_kept.begin(), 7U) << "the discontinuity was kept, was the first one, and was left out";
  EXPECT_EQ(first_kept.size(), 9U);
}

TEST_F(LiveParts, LeaveEverythingAsItWasWhereThereAreNone) {
  bench plain("m1");
  plain.slots(1, 1, 20);
  auto usual = plain.log.snapshot();
  auto base = [](edge_epoch) { return std::string_view("http://a"); };
  const auto before = prepared_playlist(usual, 0).text(1, base);
  live_parts none;
  EXPECT_FALSE(none.fill(usual, plain.log, 1, plain.now));
  EXPECT_EQ(usual, plain.log.snapshot());
  EXPECT_EQ(prepared_playlist(usual, 0, true).text(1, base), before) << "there are no deltas";
  for (auto tag : {"PART", "SKIP", "BLOCK", "HINT", "REPORT", "VERSION:9"})
    EXPECT_EQ(before.find(tag), std::string::npos) << tag;
  EXPECT_FALSE(prepared_playlist(usual, 0).low_latency());
}

TEST_F(LiveParts, TravelAsTheyAre) {
  both(1, 5, 0);
  log_news news("b1");
  news.add(shown);
  auto page = parse_log_page(news.page({}, now));
  ASSERT_TRUE(page) << page.error().text;
  EXPECT_EQ(page->logs.at(0), shown);
  auto refused = [&](auto change) {
    auto other = shown;
    change(other);
    log_news told("b1");
    told.add(other);
    return !parse_log_page(told.page({}, now)).has_value();
  };
  EXPECT_FALSE(refused([](auto&) {}));
  EXPECT_TRUE(refused([](auto& l) { l.part_target = 0ms; }));
  EXPECT_TRUE(refused([](auto& l) { l.part_target = 5s; }));
  EXPECT_TRUE(refused([](auto& l) { l.part_target = 999ms; })) << "a part is longer";
  EXPECT_TRUE(refused([](auto& l) { l.parts[1].part = 2; }));
  EXPECT_TRUE(refused([](auto& l) { l.parts[0].part = 1; }));
  EXPECT_TRUE(refused([](auto& l) { std::swap(l.parts[0], l.parts[4]); }));
  EXPECT_TRUE(refused([](auto& l) { l.parts.back().msn = 7; }));
  EXPECT_TRUE(refused([](auto& l) { l.parts.front().durations = {}; }));
  EXPECT_TRUE(refused([](auto& l) { l.parts.front().durations = {1, 2, 3}; }));
  EXPECT_TRUE(refused([](auto& l) { l.parts.front().durations = {-1}; }));
  EXPECT_TRUE(refused([](auto& l) { l.entries.clear(); }));
  EXPECT_TRUE(refused([](auto& l) { l.open.msn = 6; }));
  EXPECT_TRUE(refused([](auto& l) { l.open.hint_part = 2; })) << "a hint is of the part that comes next";
  EXPECT_TRUE(refused([](auto& l) { l.open.hint_msn = 7; }));
  EXPECT_TRUE(refused([](auto& l) { l.open.time = timestamp{} - 1s; }));
  EXPECT_TRUE(refused([](auto& l) { l.open.epoch = 0; })) << "of what is not made there are no parts";
  EXPECT_TRUE(refused([](auto& l) {
    l.parts.clear();
    for (std::uint32_t k = 0; k < parts_of_a_log + 1; ++k)
      l.parts.push_back({.msn = k / 100, .part = k % 100, .durations = {1}});
  }));
}

} // namespace
} // namespace weir::hls
