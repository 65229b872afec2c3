#include "tests/unit/hls/writer.hpp"

#include <gtest/gtest.h>

namespace weir::hls {
namespace {

TEST(Addresses, AreTakenApartExactlyAsTheyAreMade) {
  playlist_address p{{1023, 7, true}, "my.show-1", 3, "720p"};
  auto path = path_of(p); // the parsed parts point into it
  EXPECT_EQ(path, "/p/1023.7.b/my.show-1~3/720p.m3u8");
  auto back = parse_playlist_path(path);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->viewer, p.viewer);
  EXPECT_EQ(back->stream, p.stream);
  EXPECT_EQ(back->rung, p.rung);
  segment_address s{"show", 2, 9, "v1.m3u8", 123};
  auto segment = parse_segment_path(path_of(s));
  ASSERT_TRUE(segment);
  EXPECT_EQ(segment->msn, 123U);
  EXPECT_EQ(segment->kind, segment_kind::ts);
  for (auto [kind, tail] : {std::pair{segment_kind::fmp4, "/v1.m3u8/123.m4s"}, std::pair{segment_kind::map, "/v1.m3u8/init.mp4"}}) {
    s.kind = kind;
    s.msn = kind == segment_kind::map ? 0 : 123;
    path = path_of(s);
    EXPECT_TRUE(path.ends_with(tail)) << path;
    segment = parse_segment_path(path);
    ASSERT_TRUE(segment) << path;
    EXPECT_EQ(segment->kind, kind);
    EXPECT_EQ(segment->msn, s.msn);
  }
  s.kind = segment_kind::part;
  s.msn = 123;
  s.part = 999;
  path = path_of(s);
  EXPECT_TRUE(path.ends_with("/v1.m3u8/123.999.m4s")) << path;
  segment = parse_segment_path(path);
  ASSERT_TRUE(segment);
  EXPECT_EQ(segment->kind, segment_kind::part);
  EXPECT_EQ(segment->msn, 123U);
  EXPECT_EQ(segment->part, 999U);
  EXPECT_FALSE(parse_segment_name("123.999.m4s")) << "no part has a file";
  EXPECT_EQ(multivariant_path("a"), "/hls/a/index.m3u8");
  EXPECT_EQ(parse_multivariant_path("/hls/a/index.m3u8").value().stream, "a");
  EXPECT_FALSE(parse_multivariant_path("/hls/a/index.m3u8").value().dvr);
  EXPECT_EQ(multivariant_path("a", true), "/hls/a/dvr.m3u8");
  EXPECT_EQ(parse_multivariant_path("/hls/a/dvr.m3u8").value().stream, "a");
  EXPECT_TRUE(parse_multivariant_path("/hls/a/dvr.m3u8").value().dvr);
  EXPECT_EQ(parse_steering_path("/steer/5.1/show").value().viewer.bucket, 5U);
}

TEST(Addresses, CarryTheViewersLocality) {
  playlist_address p{{12, 7, true, "hall.1_b-2"}, "show", 3, "720p"};
  auto path = path_of(p);
  EXPECT_EQ(path, "/p/12.7.b~hall.1_b-2/show~3/720p.m3u8");
  EXPECT_EQ(parse_playlist_path(path).value().viewer, p.viewer);
  p.viewer.backup = false;
  path = path_of(p);
  EXPECT_EQ(path, "/p/12.7~hall.1_b-2/show~3/720p.m3u8");
  EXPECT_EQ(parse_playlist_path(path).value().viewer, p.viewer);
  path = path_of(steering_address{p.viewer, "show"});
  EXPECT_EQ(path, "/steer/12.7~hall.1_b-2/show");
  EXPECT_EQ(parse_steering_path(path).value().viewer, p.viewer);
  EXPECT_EQ(parse_steering_path(path).value().stream, "show");
  for (auto bad : {"/p/1.1~/s~1/r.m3u8", "/p/1.1~../s~1/r.m3u8", "/p/1.1~a b/s~1/r.m3u8", "/p/1.1~a~b/s~1/r.m3u8", "/p/1.1~a", "/p/1.1~a/", "/p/1.1~a.b"})
    EXPECT_FALSE(parse_playlist_path(bad)) << bad;
  EXPECT_FALSE(parse_playlist_path("/p/1.1~" + std::string(65, 'a') + "/s~1/r.m3u8"));
  EXPECT_FALSE(parse_steering_path("/steer/1.1~a/b/c"));
  bench b;
  b.slots(1, 1, 5);
  auto text = multivariant(b.log.snapshot(), {3, 1, false, "hall-1"}).value();
  for (auto part : {"SERVER-URI=\"/steer/3.1~hall-1/", "\n/p/3.1~hall-1/", "\n/p/3.1.b~hall-1/"})
    EXPECT_NE(text.find(part), std::string::npos) << part;
  EXPECT_EQ(text.find("/p/3.1/"), std::string::npos);
}

TEST(Addresses, CarryHowManyEdgesTheViewerWants) {
  for (std::uint32_t width : {0U, 2U, 1000U}) {
    const auto wide = fmt::format(".w{}", width);
    playlist_address p{{12, 7, true, "hall", true, width}, "show", 3, "720p"};
    EXPECT_EQ(path_of(p), "/p/12.7.b.d" + wide + "~hall/show~3/720p.m3u8");
    EXPECT_EQ(parse_playlist_path(path_of(p)).value().viewer, p.viewer);
    const steering_address s{{12, 7, false, {}, false, width}, "show"};
    EXPECT_EQ(path_of(s), "/steer/12.7" + wide + "/show");
    EXPECT_EQ(parse_steering_path(path_of(s)).value().viewer, s.viewer);
  }
  for (auto bad : {"/p/1.1.w1/s~1/r.m3u8", "/p/1.1.w1001/s~1/r.m3u8", "/p/1.1.w/s~1/r.m3u8", "/p/1.1.w02/s~1/r.m3u8", "/p/1.1.w2.b/s~1/r.m3u8", "/p/1.1.w4294967298/s~1/r.m3u8",
                   "/p/1.1~a.w2~b/s~1/r.m3u8"})
    EXPECT_FALSE(parse_playlist_path(bad)) << bad;
  EXPECT_EQ(wider(2, 3), 3U);
  EXPECT_EQ(wider(3, 0), 0U);
  EXPECT_EQ(wider(0, 1), 0U);
}

TEST(Playlist, HasEachEntryWhereItsWidthAndTheViewersOwnPutIt) {
  bench b;
  b.log.use_width(2);
  b.slots(1, 1, 5);
  b.log.use_width(5);
  b.slots(1, 6, 7);
  b.log.use_width(0);
  b.slots(1, 8, 8);
  const prepared_playlist prepared(b.log.snapshot(), 0);
  auto asked = [&](std::uint32_t own) {
    std::vector<std::uint32_t> all;
    (void)prepared.text(1, [&](edge_epoch, std::uint32_t width) { return all.push_back(width), std::string_view("http://e"); }, {}, own);
    return all;
  };
  EXPECT_EQ(asked(1), (std::vector<std::uint32_t>{2, 5, 0}));
  EXPECT_EQ(asked(4), (std::vector<std::uint32_t>{4, 5, 0}));
  EXPECT_EQ(asked(8), (std::vector<std::uint32_t>{8, 0}));
  EXPECT_EQ(asked(0), (std::vector<std::uint32_t>{0}));
}

TEST(Addresses, RefuseEverythingElse) {
  for (auto path : {"/p/1024.1/s~1/r.m3u8", "/p/01.1/s~1/r.m3u8", "/p/1.1/../r.m3u8", "/p/1.1/s~1/..m3u8", "/p/1.1/s~1/a/b.m3u8", "/p/1.1.c/s~1/r.m3u8",
                    "/p/1.1/s~1/r.m3u8 ", "/p/1.-1/s~1/r.m3u8", "/p/1.99999999999999999999/s~1/r.m3u8", "", "/", "/p/", "/p/1.1/s~1/.m3u8"})
    EXPECT_FALSE(parse_playlist_path(path)) << path;
  for (auto path : {"/s/a~1/1/r/1.ts/", "/s/a~1/1/r/01.ts", "/s/a~1/1//1.ts", "/s/..~1/1/r/1.ts", "/s/a%2f~1/1/r/1.ts", "/s/a~1/1/r/1.mp4", "/s/a~/1/r/1.ts",
                    "/s/a~1/1/r/init.m4s", "/s/a~1/1/r/init.mp4/", "/s/a~1/1/init.mp4", "/s/a~1/1/r/01.m4s", "/s/a~1/1/r/1.m4s.ts", "/s/a~1/1/r/1.01.m4s",
                    "/s/a~1/1/r/01.1.m4s", "/s/a~1/1/r/1.1000.m4s", "/s/a~1/1/r/1.1.ts", "/s/a~1/1/r/1..m4s", "/s/a~1/1/r/1.1.1.m4s", "/s/a~1/1/r/.1.m4s"})
    EXPECT_FALSE(parse_segment_path(path)) << path;
  EXPECT_FALSE(parse_multivariant_path("/hls/a/b/index.m3u8"));
}

TEST(Addresses, CarryWhetherTheViewerWindsBack) {
  for (auto backup : {false, true}) {
    playlist_address p{{12, 7, backup, "hall", true}, "show", 3, "720p"};
    auto path = path_of(p);
    EXPECT_EQ(path, backup ? "/p/12.7.b.d~hall/show~3/720p.m3u8" : "/p/12.7.d~hall/show~3/720p.m3u8");
    EXPECT_EQ(parse_playlist_path(path).value().viewer, p.viewer);
  }
  EXPECT_FALSE(parse_playlist_path("/p/12.7.d.b/show~3/720p.m3u8")) << "each has one address";
  EXPECT_FALSE(parse_multivariant_path("/hls/a/DVR.m3u8"));
  EXPECT_FALSE(parse_multivariant_path("/hls/a/dvr.m3u8x"));
}

TEST(Playlist, ListsTheNewestOfALongWindowAndAllOfItForTimeShift) {
  log_options options;
  options.live_window = 40s;
  segment_log log("show", options);
  auto timing = timing_of(hls_profile::quick);
  timing.window = 120s;
  ASSERT_TRUE(log.begin_writer(1, "pub1", two_rungs(), timing));
  linter live{{100ms, 2, 2}}, dvr{{100ms, 2, 2}};
  auto now = bench().now;
  std::uint64_t first = 0;
  for (std::uint64_t n = 1; n <= 60; ++n) {
    if (n == 20) {
      ASSERT_TRUE(log.begin_writer(2, "pub1", two_rungs(), timing)); // with a discontinuity that leaves the live playlist long before the other
    }
    now += 4s;
    for (auto* rung : {"720p", "360p"})
      ASSERT_EQ(log.offer(n < 20 ? 1 : 2, make_segment(rung, n, now - 4s), 1, now), offer_result::accepted);
    auto s = log.snapshot();
    if (s.entries.empty())
      continue;
    auto text = render(s, 0, {1, 1}), all = render(for_time_shift(s), 0, {1, 1});
    live.media("live", text, now);
    dvr.media("dvr", all, now);
    auto number = [](std::string_view of, std::string_view tag) { return std::stoull(std::string(of.substr(of.find(tag) + tag.size(), 12))); };
    auto count = [](std::string_view of) {
      std::size_t n_ = 0;
      for (auto at = of.find("#EXTINF"); at != std::string_view::npos; at = of.find("#EXTINF", at + 1))
        ++n_;
      return n_;
    };
    const auto begins = number(text, "#EXT-X-MEDIA-SEQUENCE:");
    EXPECT_GE(begins, first) << "it moves forward only";
    first = begins;
    EXPECT_EQ(count(text), std::min<std::size_t>(s.entries.size(), 10));
    EXPECT_EQ(count(all), s.entries.size());
    EXPECT_EQ(text.substr(text.find("#EXT-X-PROGRAM-DATE-TIME")), all.substr(all.size() - (text.size() - text.find("#EXT-X-PROGRAM-DATE-TIME")))) << "the same entries";
    if (n == 40) {
      EXPECT_EQ(number(text, "#EXT-X-DISCONTINUITY-SEQUENCE:"), 1U);
      EXPECT_EQ(number(all, "#EXT-X-DISCONTINUITY-SEQUENCE:"), 0U);
      EXPECT_NE(all.find("#EXT-X-DISCONTINUITY\n"), std::string::npos);
    }
  }
  EXPECT_EQ(log.snapshot().entries.size(), 30U);
  EXPECT_TRUE(live.findings().empty()) << show(live.findings());
  EXPECT_TRUE(dvr.findings().empty()) << show(dvr.findings());
  auto text = multivariant(log.snapshot(), {.bucket = 3, .joined = 1, .dvr = true}).value();
  for (auto part : {"\n/p/3.1.d/show~1/", "\n/p/3.1.b.d/show~1/"})
    EXPECT_NE(text.find(part), std::string::npos) << part;
}

TEST(Playlist, ObeysTheLinter) {
  bench b;
  linter lint{{100ms, 2, 2}};
  b.slots(1, 1, 5);
  auto text = multivariant(b.log.snapshot(), {3, 1, false});
  ASSERT_TRUE(text);
  lint.multivariant("m", *text);
  for (std::uint64_t n = 6; n < 60; ++n) {
    if (n == 30)
      b.begin(2, "pub1");
    b.slot(n >= 30 ? 2 : 1, n);
    for (std::size_t rung : {0U, 1U})
      lint.media(fmt::format("r{}", rung), render(b.log.snapshot(), rung, {3, 1, false}), b.now);
  }
  EXPECT_EQ(show(lint.findings()), "");
}

/// A log of these rungs at their nominal rates.
stream_log log_of(const std::vector<rung_info>& rungs) {
  segment_log log("show");
  EXPECT_TRUE(log.begin_writer(1, "pub1", rungs, timing_of(hls_profile::quick)));
  auto now = start_time;
  for (std::uint64_t n = 1; n <= 5; ++n) {
    now += 4s;
    for (auto& r : rungs) {
      auto s = make_segment(r.name, n, now - 4s);
      s.bytes = static_cast<std::uint64_t>(r.nominal.bits_per_second) * 4 / 8;
      EXPECT_EQ(log.offer(1, s, 1, now), offer_result::accepted);
    }
  }
  return log.snapshot();
}

TEST(Playlist, ListsTheVariantNearestTo2000KbitFirstOnBothPathways) {
  const auto log = log_of({make_rung("1080p", 1080, 6'000'000), make_rung("540p", 540, 1'900'000), make_rung("360p", 360, 800'000)});
  auto p = parse_multivariant_playlist(multivariant(log, {7, 2, false}).value());
  ASSERT_TRUE(p);
  std::vector<std::string> uris;
  for (auto& v : p->variants)
    uris.push_back(v.uri);
  EXPECT_EQ(uris, (std::vector<std::string>{"/p/7.2/show~1/540p.m3u8", "/p/7.2/show~1/1080p.m3u8", "/p/7.2/show~1/360p.m3u8",
                                            "/p/7.2.b/show~1/540p.m3u8", "/p/7.2.b/show~1/1080p.m3u8", "/p/7.2.b/show~1/360p.m3u8"}));
  EXPECT_EQ(p->variants[0].attributes.at("BANDWIDTH"), "2068548") << "what an encoder's buffer may add, until it is measured";
  EXPECT_EQ(p->variants[0].attributes.at("AVERAGE-BANDWIDTH"), "1900000");
  EXPECT_EQ(p->variants[0].attributes.at("FRAME-RATE"), "25.000");
  EXPECT_EQ(p->steering.at("SERVER-URI"), "/steer/7.2/show");
}

TEST(Playlist, SaysTheRateOfTheHeaviestSegmentAndTheMeanOfAll) {
  bench b;
  std::uint64_t n = 0;
  auto offer = [&](std::uint64_t megabytes, std::chrono::milliseconds duration = 4s) {
    b.now += duration;
    ++n;
    for (auto* rung : {"720p", "360p"}) {
      auto s = make_segment(rung, n, b.now - duration, duration);
      if (s.rung == "720p")
        s.bytes = megabytes * 1'000'000;
      ASSERT_EQ(b.log.offer(1, s, 1, b.now), offer_result::accepted);
    }
  };
  auto said = [&](const char* attribute) {
    auto p = parse_multivariant_playlist(multivariant(b.log.snapshot(), {7, 2}).value()).value();
    auto its = std::find_if(p.variants.begin(), p.variants.end(), [](auto& v) { return v.uri.ends_with("/720p.m3u8"); });
    return its->attributes.at(attribute);
  };
  for (std::uint64_t megabytes : {1U, 3U, 1U})
    offer(megabytes);
  EXPECT_EQ(said("BANDWIDTH"), "6000000");
  EXPECT_EQ(said("AVERAGE-BANDWIDTH"), "3333333");
  offer(3, 1900ms);
  EXPECT_EQ(said("BANDWIDTH"), "6000000") << "shorter than half a target duration: no peak";
  EXPECT_EQ(said("AVERAGE-BANDWIDTH"), "4604316") << "but part of the mean";
  offer(2, 2s);
  EXPECT_EQ(said("BANDWIDTH"), "8000000");
}

TEST(Playlist, SaysNoHigherVersionThanItNeeds) {
  for (auto* maps : {"", "m1"}) {
    bench b(maps);
    b.slots(1, 1, 5);
    auto log = b.log.snapshot();
    auto versions = [&] {
      return std::pair{parse_multivariant_playlist(multivariant(log, {3, 1}).value()).value().version, parse_media_playlist(render(log, 0, {3, 1})).value().version};
    };
    EXPECT_EQ(versions().first, 6U) << maps;
    EXPECT_EQ(versions().second, 6U) << maps;
    log.part_target = 1s;
    EXPECT_EQ(versions().first, 9U) << "deltas";
    EXPECT_EQ(versions().second, 9U);
    log = for_time_shift(log);
    EXPECT_EQ(versions().first, 6U);
  }
}

TEST(Playlist, ListsTheCheapestVariantsOnlyWhereTheFarmIsNearlyFull) {
  bench b;
  b.slots(1, 1, 5);
  auto log = b.log.snapshot();
  log.rungs.push_back(log.rungs.front());
  log.rungs.back().info.name = "180p";
  log.rungs.back().peak = log.rungs.back().average = {300'000};
  auto named = [&](std::size_t most) {
    auto p = parse_multivariant_playlist(multivariant(log, {7, 2, false}, most).value()).value();
    std::string names;
    for (auto& v : p.variants)
      names += v.uri.substr(v.uri.rfind('/') + 1) + ' ';
    return names;
  };
  EXPECT_EQ(named(max_rungs), "720p.m3u8 360p.m3u8 180p.m3u8 720p.m3u8 360p.m3u8 180p.m3u8 ");
  EXPECT_EQ(named(2), "360p.m3u8 180p.m3u8 360p.m3u8 180p.m3u8 ") << "on both pathways";
  log.rungs.front().active = false; // 720p
  EXPECT_EQ(named(1), "180p.m3u8 180p.m3u8 ");
}

TEST(Playlist, TakesEachEntrysEdgeFromTheLaterOfStampAndJoin) {
  bench b;
  b.slots(1, 1, 5);
  b.edges = 4;
  b.slots(1, 6, 7);
  auto text = prepared_playlist(b.log.snapshot(), 0).text(3, [](edge_epoch e) { return e == 3 ? std::string_view("http://old") : std::string_view("http://new"); });
  auto p = parse_media_playlist(text);
  ASSERT_TRUE(p);
  EXPECT_EQ(p->entries[4].uri, "http://old/s/show~1/1/720p/4.ts");
  EXPECT_EQ(p->entries[5].uri, "http://new/s/show~1/1/720p/5.ts");
}

TEST(Playlist, CarriesAPrefixIntoEveryAddressAndNowhereElse) {
  bench b;
  b.slots(1, 1, 5);
  const auto log = b.log.snapshot();
  auto without = [](std::string text) {
    for (std::size_t at = 0; (at = text.find("/t/TOKEN")) != std::string::npos;)
      text.erase(at, 8);
    return text;
  };
  auto edge = [](edge_epoch) { return std::string_view("http://edge"); };
  const prepared_playlist prepared(log, 0);
  const auto media = prepared.text(1, edge, "/t/TOKEN");
  for (auto& entry : log.entries)
    EXPECT_NE(media.find("\nhttp://edge/t/TOKEN" + path_of(segment_address{log.stream, log.instance, entry.epoch, log.rungs[0].info.name, entry.msn}) + "\n"), std::string::npos) << media;
  EXPECT_EQ(without(media), prepared.text(1, edge));
  const auto whole = *multivariant(log, {3, 1, false}, max_rungs, "/t/TOKEN");
  EXPECT_NE(whole.find("SERVER-URI=\"/t/TOKEN/steer/3.1/"), std::string::npos) << whole;
  EXPECT_EQ(whole.find("\n/p/"), std::string::npos) << whole;
  EXPECT_EQ(without(whole), *multivariant(log, {3, 1, false}));
}

// --- maps ---------------------------------------------------------------------------------------------------------------------------------------
TEST(Playlist, NamesTheMapBeforeTheFirstSegmentAndAtEachDiscontinuity) {
  bench b("m1");
  linter lint{{100ms, 2, 2}};
  for (std::uint64_t n = 1; n < 60; ++n) {
    if (n == 30) // an encoder that makes the same
      b.begin_with_maps(2, "pub1", "m1");
    if (n == 40)
      b.begin_with_maps(3, "pub1", "m2");
    b.slot(n >= 40 ? 3 : n >= 30 ? 2 : 1, n);
    if (b.log.snapshot().entries.empty())
      continue;
    for (std::size_t rung : {0U, 1U})
      lint.media(fmt::format("r{}", rung), render(b.log.snapshot(), rung, {3, 1, false}), b.now);
    auto p = parse_media_playlist(render(b.log.snapshot(), 0, {3, 1, false})).value();
    for (auto& e : p.entries)
      EXPECT_EQ(e.map, edge_url(1, {3, 1, false}) + fmt::format("/s/show~1/{}/720p/init.mp4", e.msn >= 39 ? 3 : 1)) << e.uri;
    EXPECT_TRUE(p.entries.back().uri.ends_with(fmt::format("{}.m4s", p.entries.back().msn)));
  }
  EXPECT_EQ(show(lint.findings()), "");
  auto text = render(b.log.snapshot(), 0, {3, 1, false});
  EXPECT_NE(text.find("#EXT-X-VERSION:6\n"), std::string::npos);
  EXPECT_EQ(b.log.snapshot().instance, 1U);
}

TEST(Playlist, LetsTheMapLieOnTheEdgeOfItsSegmentsForAsLongAsTheyAreListed) {
  bench b("m1");
  b.slots(1, 1, 5);
  b.edges = 4;
  b.slots(1, 6, 7);
  auto base = [](edge_epoch e) { return e == 3 ? std::string_view("http://old") : std::string_view("http://new"); };
  auto text = prepared_playlist(b.log.snapshot(), 0).text(3, base, "/t/TOKEN");
  auto p = parse_media_playlist(text).value();
  EXPECT_EQ(p.entries[4].map, "http://old/t/TOKEN/s/show~1/1/720p/init.mp4");
  EXPECT_EQ(p.entries[4].uri, "http://old/t/TOKEN/s/show~1/1/720p/4.m4s");
  EXPECT_EQ(p.entries[5].map, "http://new/t/TOKEN/s/show~1/1/720p/init.mp4");
  EXPECT_EQ(p.entries[5].uri, "http://new/t/TOKEN/s/show~1/1/720p/5.m4s");
  linter lint;
  lint.media("u", text, b.now);
  b.slots(1, 8, 22); // the entries of the old edge leave
  lint.media("u", prepared_playlist(b.log.snapshot(), 0).text(3, base, "/t/TOKEN"), b.now);
  for (auto& f : lint.findings())
    EXPECT_NE(f.rule, "S1") << f.text;
}

TEST(Playlist, BeginsWithTheMapOfWhatFollowsItsGaps) {
  bench b("m1");
  linter lint{{100ms, 2, 2}};
  b.slots(1, 1, 4);
  for (std::uint64_t n = 5; n < 30; ++n) { // 360p alone, then both
    b.now += 4s;
    if (n > 27)
      b.offer(1, "720p", n);
    b.offer(1, "360p", n);
    b.now += 100ms;
    b.log.tick(b.edges, b.now + 5s);
  }
  auto text = render(b.log.snapshot(), 0, {3, 1, false});
  lint.media("u", text, b.now);
  for (auto& f : lint.findings())
    EXPECT_TRUE(f.rule != "P15" && f.rule != "S3" && f.rule != "P11" && f.rule != "syntax") << f.rule << " " << f.text;
  auto p = parse_media_playlist(text).value();
  ASSERT_TRUE(p.entries.front().gap);
  EXPECT_EQ(p.entries.front().map, p.entries.back().map);
  EXPECT_FALSE(p.entries.back().gap);
  EXPECT_NE(p.entries.back().map, "");
  b.log.end(1, b.now);
  EXPECT_TRUE(parse_media_playlist(render(b.log.snapshot(), 0, {3, 1, false})).value().ended);
}

TEST(Linter, FindsMapsThatPlayersReject) {
  bench b("m1");
  b.slots(1, 1, 8);
  auto good = render(b.log.snapshot(), 0, {});
  auto found = [&](std::string_view from, std::string_view to) {
    linter lint;
    auto changed = good;
    auto at = changed.find(from);
    if (at == std::string::npos)
      return std::string("not in the playlist");
    changed.replace(at, from.size(), to);
    lint.media("u", changed, b.now);
    std::string rules;
    for (auto& f : lint.findings())
      rules += rules.find(f.rule) == std::string::npos ? f.rule + " " : "";
    return rules;
  };
  auto line = [&](std::string_view begin) { return good.substr(good.find(begin), good.find('\n', good.find(begin)) + 1 - good.find(begin)); };
  EXPECT_EQ(found("#EXTM3U", "#EXTM3U"), "");
  EXPECT_EQ(found(line("#EXT-X-MAP"), ""), "P15 ");
  EXPECT_EQ(found("VERSION:6", "VERSION:5"), "V9 ");
  EXPECT_EQ(found("#EXT-X-MAP:URI=\"http://edge", "#EXT-X-MAP:URI=\"http://other"), "S3 ");
  EXPECT_EQ(found("/5.m4s", "/5.ts"), "P15 ");
  EXPECT_EQ(found("URI=", "X="), "syntax ");
  // Another one in the middle.
  auto at = good.find("/4.m4s\n") + 7;
  auto changed = good.substr(0, at) + "#EXT-X-MAP:URI=\"" + edge_url(1, {}) + "/s/show~1/9/720p/init.mp4\"\n" + good.substr(at);
  linter lint;
  lint.media("u", good, b.now);
  lint.media("u", changed, b.now);
  std::set<std::string> rules;
  for (auto& f : lint.findings())
    rules.insert(f.rule);
  EXPECT_EQ(rules, (std::set<std::string>{"P11", "S1"})) << show(lint.findings());
}

TEST(Linter, FindsWhatPlayersReject) {
  bench b;
  b.slots(1, 1, 8);
  auto good = render(b.log.snapshot(), 0, {});
  auto found = [&](std::string_view from, std::string_view to) {
    linter lint;
    auto changed = good;
    auto at = changed.find(from);
    if (at == std::string::npos)
      return std::string("not in the playlist");
    changed.replace(at, from.size(), to);
    lint.media("u", good, b.now);
    lint.media("u", changed, b.now);
    return lint.findings().empty() ? std::string() : lint.findings().front().rule;
  };
  EXPECT_EQ(found("TARGETDURATION:4", "TARGETDURATION:5"), "P14"); // the hold-back is too short for it; P1 follows
  EXPECT_EQ(found("EXTINF:4.00000", "EXTINF:4.50000"), "P2");
  EXPECT_EQ(found("EXTINF:4.00000", "EXTINF:4.01000"), "P4");
  EXPECT_EQ(found("http://edge", "http://other"), "S1");
  EXPECT_EQ(found("#EXTINF", "#EXT-X-GAP\n#EXTINF"), "P13");
  EXPECT_EQ(found("MEDIA-SEQUENCE:0", "MEDIA-SEQUENCE:1"), "S1") << "the same number, another address";
  EXPECT_EQ(found("#EXT-X-DISCONTINUITY-SEQUENCE:0\n", ""), "P8");
  EXPECT_EQ(found("HOLD-BACK=12", "HOLD-BACK=11"), "P14");
  EXPECT_EQ(found("#EXTM3U", "#EXTM3"), "syntax");
  EXPECT_EQ(found("12:00:04.000Z", "12:00:09.000Z"), "P12");
  linter lint;
  lint.media("u", good, b.now);
  lint.media("u", good, b.now + 6100ms);
  ASSERT_EQ(lint.findings().size(), 1U);
  EXPECT_EQ(lint.findings()[0].rule, "P6");
}

TEST(Linter, FindsASteppedBackPlaylistAndUnequalRungs) {
  bench b;
  b.slots(1, 1, 8);
  auto before = b.log.snapshot();
  b.slots(1, 9, 9);
  linter lint;
  lint.media("a", render(b.log.snapshot(), 0, {}), b.now);
  lint.media("a", render(before, 0, {}), b.now);
  EXPECT_EQ(lint.findings().at(0).rule, "S2");
  linter siblings;
  siblings.media("a", render(b.log.snapshot(), 0, {}), b.now);
  auto shifted = b.log.snapshot();
  shifted.entries[3].time += 120ms;
  siblings.media("b", render(shifted, 1, {}), b.now);
  EXPECT_EQ(siblings.findings().at(0).rule, "P12");
}

} // namespace
} // namespace weir::hls
