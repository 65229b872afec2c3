// I-frame playlists (trick play): what the log keeps of key frames, and what is rendered from it.
#include <gtest/gtest.h>

#include "runtime/hls/log_news.hpp"
#include "runtime/hls/reload.hpp"
#include "tests/unit/hls/part_writer.hpp"

#include <functional>

namespace weir::hls {
namespace {

/// Key frames at even distances, as many bytes apart, each a twentieth of that long.
std::vector<key_frame> even_keys(std::size_t n, const segment_info& s) {
  std::vector<key_frame> keys;
  for (std::size_t i = 0; i < n; ++i)
    keys.push_back({static_cast<std::int64_t>(i) * s.duration / static_cast<std::int64_t>(n), 564 + i * (s.bytes / n), s.bytes / n / 20});
  return keys;
}

segment_info keyed(std::string rung, std::uint64_t slot, timestamp captured, std::size_t keys) {
  auto s = make_segment(std::move(rung), slot, captured);
  s.keys = even_keys(keys, s);
  return s;
}

struct key_bench : bench {
  using bench::bench;
  std::vector<std::size_t> keys{2, 2}; ///< in a segment of each rung; 0: not known
  offer_result offer(lease_epoch epoch, const std::string& rung, std::uint64_t n) {
    return log.offer(epoch, keyed(rung, n, now - 4s, keys[rung == "720p" ? 0 : 1]), edges, now);
  }
  void slot(lease_epoch epoch, std::uint64_t n) {
    now += 4s;
    for (auto* rung : {"720p", "360p"})
      ASSERT_EQ(offer(epoch, rung, n), offer_result::accepted) << n;
  }
  void slots(lease_epoch epoch, std::uint64_t from, std::uint64_t to) {
    for (auto n = from; n <= to; ++n)
      slot(epoch, n);
  }
};

std::string render_iframes(const stream_log& log, std::size_t rung, viewer_key v = {3, 1}) {
  std::map<edge_epoch, std::string> urls;
  return prepared_playlist::iframes(log, rung).text(v.joined, [&](edge_epoch e) { return std::string_view(urls[e] = edge_url(e, v)); });
}

parsed_media parsed(const stream_log& log, std::size_t rung) {
  auto p = parse_media_playlist(render_iframes(log, rung));
  EXPECT_TRUE(p) << p.error().text;
  return p.value_or(parsed_media{});
}

/// The first line that begins so, with its end.
std::string line_of(const std::string& text, std::string_view begin) {
  const auto at = text.find(begin);
  return text.substr(at, text.find('\n', at) + 1 - at);
}

/// Follows a log as hls_watch would.
struct follower {
  linter lint{{.frame = 100ms, .variants = 2, .pathways = 2, .iframes = true}};
  void look(const stream_log& log, timestamp now) {
    if (log.entries.empty())
      return;
    lint.multivariant("m", multivariant(log, {3, 1}).value_or(""));
    for (std::size_t rung = 0; rung < log.rungs.size(); ++rung) {
      const auto at = "http://director/p/3.1/show~1/" + log.rungs[rung].info.name;
      lint.media(at + ".m3u8", render(log, rung, {3, 1}), now);
      if (has_iframes(log, rung))
        lint.media(at + "/iframes.m3u8", render_iframes(log, rung), now);
    }
  }
};

TEST(IframeAddresses, StandBesideTheirRungs) {
  for (auto backup : {false, true})
    for (auto dvr : {false, true}) {
      playlist_address p{{12, 7, backup, "hall", dvr}, "show", 3, "v1.m3u8", true};
      const auto path = path_of(p);
      EXPECT_EQ(path, fmt::format("/p/12.7{}{}~hall/show~3/v1.m3u8/iframes.m3u8", backup ? ".b" : "", dvr ? ".d" : ""));
      auto back = parse_playlist_path(path);
      ASSERT_TRUE(back) << path;
      EXPECT_TRUE(back->iframes);
      EXPECT_EQ(back->rung, "v1.m3u8");
      EXPECT_EQ(back->viewer, p.viewer);
    }
  EXPECT_FALSE(parse_playlist_path("/p/12.7/show~3/720p.m3u8").value().iframes);
  const auto plain = parse_playlist_path("/p/12.7/show~3/iframes.m3u8");
  ASSERT_TRUE(plain) << "a rung may be called so";
  EXPECT_FALSE(plain->iframes);
  for (auto path : {"/p/1.1/s~1//iframes.m3u8", "/p/1.1/s~1/a/b/iframes.m3u8", "/p/1.1/s~1/../iframes.m3u8", "/p/1.1/s~1/r/iframes.m3u8/", "/p/1.1/s~1/r/Iframes.m3u8",
                    "/p/1.1/s~1/r/iframes.m3u8/iframes.m3u8", "/p/1.1/s~1/12345678901234567/iframes.m3u8"})
    EXPECT_FALSE(parse_playlist_path(path)) << path;
}

TEST(Iframes, AreListedAsRangesOfTheSegments) {
  key_bench b;
  b.keys = {3, 2};
  b.slots(1, 1, 2);
  b.now += 4s;
  ASSERT_EQ(b.log.offer(1, keyed("720p", 3, b.now - 4s, 3), 1, b.now), offer_result::accepted);
  ASSERT_EQ(b.offer(1, "360p", 3), offer_result::accepted);
  b.edges = 2;
  b.slot(1, 4);
  auto log = b.log.snapshot();
  log.entries[1].gaps = 1;
  log.entries[1].keys.clear();
  log.entries[1].add_keys(1, even_keys(2, make_segment("360p", 2, b.now)));
  EXPECT_EQ(render_iframes(log, 0), "#EXTM3U\n"
                                    "#EXT-X-VERSION:6\n"
                                    "#EXT-X-TARGETDURATION:4\n"
                                    "#EXT-X-MEDIA-SEQUENCE:0\n"
                                    "#EXT-X-DISCONTINUITY-SEQUENCE:0\n"
                                    "#EXT-X-I-FRAMES-ONLY\n"
                                    "#EXT-X-INDEPENDENT-SEGMENTS\n"
                                    "#EXT-X-SERVER-CONTROL:HOLD-BACK=12.000\n"
                                    "#EXT-X-PROGRAM-DATE-TIME:2026-11-22T12:00:00.000Z\n"
                                    "#EXTINF:1.33333,\n"
                                    "#EXT-X-BYTERANGE:25000@564\n"
                                    "http://edge0:80/s/show~1/1/720p/0.ts\n"
                                    "#EXTINF:1.33333,\n"
                                    "#EXT-X-BYTERANGE:25000@500564\n"
                                    "http://edge0:80/s/show~1/1/720p/0.ts\n"
                                    "#EXTINF:1.33333,\n"
                                    "#EXT-X-BYTERANGE:25000@1000564\n"
                                    "http://edge0:80/s/show~1/1/720p/0.ts\n"
                                    "#EXT-X-PROGRAM-DATE-TIME:2026-11-22T12:00:04.000Z\n"
                                    "#EXT-X-GAP\n"
                                    "#EXTINF:4.00000,\n"
                                    "http://edge0:80/s/show~1/1/720p/1.ts\n"
                                    "#EXT-X-PROGRAM-DATE-TIME:2026-11-22T12:00:08.000Z\n"
                                    "#EXTINF:1.33333,\n"
                                    "#EXT-X-BYTERANGE:25000@564\n"
                                    "http://edge0:80/s/show~1/1/720p/2.ts\n"
                                    "#EXTINF:1.33333,\n"
                                    "#EXT-X-BYTERANGE:25000@500564\n"
                                    "http://edge0:80/s/show~1/1/720p/2.ts\n"
                                    "#EXTINF:1.33333,\n"
                                    "#EXT-X-BYTERANGE:25000@1000564\n"
                                    "http://edge0:80/s/show~1/1/720p/2.ts\n"
                                    "#EXT-X-PROGRAM-DATE-TIME:2026-11-22T12:00:12.000Z\n"
                                    "#EXTINF:1.33333,\n"
                                    "#EXT-X-BYTERANGE:25000@564\n"
                                    "http://edge2:80/s/show~1/1/720p/3.ts\n"
                                    "#EXTINF:1.33333,\n"
                                    "#EXT-X-BYTERANGE:25000@500564\n"
                                    "http://edge2:80/s/show~1/1/720p/3.ts\n"
                                    "#EXTINF:1.33333,\n"
                                    "#EXT-X-BYTERANGE:25000@1000564\n"
                                    "http://edge2:80/s/show~1/1/720p/3.ts\n");
  log.ended = true;
  EXPECT_TRUE(render_iframes(log, 0).ends_with("#EXT-X-ENDLIST\n"));
}

TEST(Iframes, NameTheirMapAndTheDiscontinuity) {
  key_bench b("m1");
  b.slots(1, 1, 4);
  b.begin_with_maps(2, "pub1", "m2");
  b.slots(2, 5, 6);
  const auto p = parsed(b.log.snapshot(), 0);
  ASSERT_EQ(p.entries.size(), 12U);
  for (auto& e : p.entries) {
    EXPECT_EQ(e.map, fmt::format("http://edge0:80/s/show~1/{}/720p/init.mp4", e.msn < 8 ? 1 : 2));
    EXPECT_EQ(e.uri, fmt::format("http://edge0:80/s/show~1/{}/720p/{}.m4s", e.msn < 8 ? 1 : 2, e.msn / 2));
    EXPECT_EQ(e.discontinuity, e.msn == 8) << "before the first one of its segment only";
    EXPECT_EQ(e.duration, 2s);
  }
}

TEST(Iframes, AreOfferedWithPicturesAloneOnBothPathways) {
  key_bench b;
  b.keys = {2, 0};
  b.slots(1, 1, 5);
  const auto text = multivariant(b.log.snapshot(), {3, 1}, max_rungs, "/t/TOKEN").value();
  // 37 500 bytes in each 2 s.
  const std::string what = "#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=150000,CODECS=\"avc1.64001f\",RESOLUTION=1280x720";
  EXPECT_TRUE(text.ends_with('\n' + what + ",PATHWAY-ID=\"edge\",STABLE-VARIANT-ID=\"720p-iframes\",URI=\"/t/TOKEN/p/3.1/show~1/720p/iframes.m3u8\"\n" + what +
                             ",PATHWAY-ID=\"backup\",STABLE-VARIANT-ID=\"720p-iframes\",URI=\"/t/TOKEN/p/3.1.b/show~1/720p/iframes.m3u8\"\n"))
    << text;
  EXPECT_NE(multivariant(b.log.snapshot(), {.bucket = 3, .joined = 1, .dvr = true}).value().find("URI=\"/p/3.1.b.d/show~1/720p/iframes.m3u8\""), std::string::npos);
  bench without;
  without.slots(1, 1, 5);
  EXPECT_EQ(multivariant(without.log.snapshot(), {3, 1}).value().find("I-FRAME"), std::string::npos);
  EXPECT_FALSE(has_iframes(without.log.snapshot(), 0));
  auto sound = b.log.snapshot();
  sound.rungs[0].info.width = 0;
  EXPECT_FALSE(has_iframes(sound, 0));
}

TEST(Iframes, TheirRateIsThatOfTheWorstRunThatCounts) {
  bench b;
  auto offer = [&](std::uint64_t n, std::vector<key_frame> keys) {
    b.now += 4s;
    for (auto* rung : {"720p", "360p"}) {
      auto s = make_segment(rung, n, b.now - 4s);
      s.keys = keys;
      ASSERT_EQ(b.log.offer(1, s, 1, b.now), offer_result::accepted);
    }
  };
  for (std::uint64_t n = 1; n <= 3; ++n)
    offer(n, {{0, 0, 50'000}, {90'000, 100'000, 10'000}, {180'000, 200'000, 30'000}});
  EXPECT_EQ(b.log.snapshot().rungs[0].keys_peak.bits_per_second, 240'000) << "the first two in 2 s, rather than the first one alone in 1 s";
  offer(4, {{0, 0, 20'000}, {358'000, 100'000, 90'000}});
  EXPECT_EQ(b.log.snapshot().rungs[0].keys_peak.bits_per_second, 240'000) << "the last one lasts too short to count";
  offer(5, {{0, 0, 80'000}, {180'000, 100'000, 10'000}});
  EXPECT_EQ(b.log.snapshot().rungs[0].keys_peak.bits_per_second, 672'527) << "with the last one of the segment before: 170,000 bytes in 2.02 s";
}

TEST(Iframes, ObeyTheLinterAndCountOnWhateverHappens) {
  log_options options;
  options.live_window = 40s;
  key_bench b;
  b.log = segment_log("show", options);
  auto timing = timing_of(hls_profile::quick);
  timing.window = 80s;
  ASSERT_TRUE(b.log.begin_writer(1, "pub1", two_rungs(), timing));
  auto other = segment_log::from_json(b.log.to_json(), options).value(); // an origin that never restarts
  follower live, dvr;
  lease_epoch epoch = 1;
  for (std::uint64_t n = 1; n <= 90; ++n) {
    if (n == 30 || n == 60) {
      ++epoch;
      b.keys = n == 30 ? std::vector<std::size_t>{1, 4} : std::vector<std::size_t>{2, 2};
      auto rungs = two_rungs();
      rungs[0].nominal.bits_per_second += n == 60 ? 1 : 0; // another encoder, which is measured anew
      for (auto* log : {&b.log, &other})
        ASSERT_TRUE(log->begin_writer(epoch, n == 30 ? "pub1" : "pub2", rungs, timing));
    }
    b.now += 4s;
    for (auto* log : {&b.log, &other})
      for (std::size_t rung = 0; rung < 2; ++rung)
        if (auto name = two_rungs()[rung].name; n == 45 && rung == 0)
          log->lost(epoch, keyed(name, n, b.now - 4s, 1), b.edges, b.now);
        else
          ASSERT_EQ(log->offer(epoch, keyed(name, n, b.now - 4s, b.keys[rung]), b.edges, b.now), offer_result::accepted) << n;
    b.log = segment_log::from_json(b.log.to_json(), options).value(); // or another origin goes on with it
    const auto s = b.log.snapshot();
    ASSERT_EQ(s, other.snapshot()) << n;
    live.look(s, b.now);
    dvr.look(for_time_shift(s), b.now);
  }
  EXPECT_EQ(show(live.lint.findings()), "");
  EXPECT_EQ(show(dvr.lint.findings()), "");
  // 80 s are 20 segments: 70 went, of which 29 had two, 30 one, or four in the other rung (of which one was a gap here), and 11 two again.
  const auto s = b.log.snapshot();
  ASSERT_EQ(s.entries.size(), 20U);
  EXPECT_EQ(s.rungs[0].keys_gone, 29 * 2 + 30 + 11 * 2U);
  EXPECT_EQ(s.rungs[1].keys_gone, 29 * 2 + 30 * 4 + 11 * 2U);
  EXPECT_EQ(parsed(for_time_shift(s), 1).first_msn, s.rungs[1].keys_gone);
  EXPECT_EQ(parsed(s, 1).first_msn, s.rungs[1].keys_gone + 20) << "ten segments later";
}

TEST(Iframes, GoOnCountingWhereARungComesBack) {
  for (std::size_t leaves : {0U, 1U}) {
    key_bench b;
    b.keys = {2, 4};
    follower f;
    lease_epoch epoch = 1;
    std::uint64_t n = 0;
    auto run = [&](std::size_t slots, bool both) {
      for (std::size_t i = 0; i < slots; ++i) {
        b.now += 4s;
        ++n;
        for (std::size_t rung = 0; rung < 2; ++rung)
          if (both || rung != leaves)
            b.offer(epoch, two_rungs()[rung].name, n);
        b.log.tick(1, b.now);
        f.look(b.log.snapshot(), b.now);
      }
    };
    run(30, true);
    ASSERT_TRUE(b.log.begin_writer(++epoch, "pub1", {two_rungs()[1 - leaves]}, timing_of(hls_profile::quick)));
    run(40, false);
    const auto alone = b.log.snapshot();
    ASSERT_EQ(alone.rungs.size(), 1U) << "the other one is gone";
    for (auto& e : alone.entries)
      EXPECT_EQ(e.keys.size(), e.keys_of(0).size() * 4);
    EXPECT_EQ(alone.entries.back().keys_of(0).size(), b.keys[1 - leaves]);
    EXPECT_EQ(segment_log::from_json(b.log.to_json()).value().snapshot(), alone);
    ASSERT_TRUE(b.log.begin_writer(++epoch, "pub1", two_rungs(), timing_of(hls_profile::quick)));
    run(30, true);
    std::string stepped_back;
    for (auto& found : f.lint.findings())
      if (found.url.ends_with("iframes.m3u8") && (found.rule == "P8" || found.rule == "S2" || found.rule == "S1"))
        stepped_back += found.text + '\n';
    EXPECT_EQ(stepped_back, "");
  }
}

TEST(Iframes, BeginWithTheFirstSegmentOfWhichTheyAreKnown) {
  key_bench b;
  b.keys = {0, 0};
  b.slots(1, 1, 8);
  const auto old = b.log.to_json();
  EXPECT_NE(old.find("\"schema\":1"), std::string::npos) << "which an older Weir reads";
  EXPECT_EQ(old.find("key"), std::string::npos);
  b.log = segment_log::from_json(old).value();
  b.keys = {2, 2};
  b.slot(1, 9);
  EXPECT_EQ(b.log.snapshot().keys_from, 8U);
  EXPECT_EQ(parsed(b.log.snapshot(), 0).entries.size(), 2U);
  EXPECT_EQ(multivariant(b.log.snapshot(), {3, 1}).value().find("I-FRAME"), std::string::npos) << "not before it reaches as far back as the others";
  b.slots(1, 10, 30);
  EXPECT_NE(multivariant(b.log.snapshot(), {3, 1}).value().find("I-FRAME"), std::string::npos);
}

TEST(Iframes, ComeBackFromTheStateExactly) {
  for (bool maps : {false, true}) {
    key_bench b = maps ? key_bench("m1") : key_bench();
    b.slots(1, 1, 30);
    b.now += 4s;
    b.offer(1, "720p", 31); // waits for the other rung
    const auto json = b.log.to_json();
    EXPECT_NE(json.find("\"schema\":3"), std::string::npos);
    auto back = segment_log::from_json(json);
    ASSERT_TRUE(back) << back.error().text;
    EXPECT_EQ(back->to_json(), json);
    EXPECT_EQ(back->snapshot(), b.log.snapshot());
    const auto oldest = b.log.snapshot().keys_from.value();
    ASSERT_EQ(oldest, b.log.snapshot().entries.front().msn);
    b.log = std::move(*back);
    b.offer(1, "360p", 31);
    EXPECT_EQ(b.log.snapshot().entries.back().keys_of(0), even_keys(2, make_segment("720p", 31, b.now)));
    auto with = [&](std::string_view from, std::string_view to) {
      auto changed = json;
      changed.replace(changed.find(from), from.size(), to);
      return segment_log::from_json(changed).has_value();
    };
    EXPECT_FALSE(with("\"keys\":[0,0,", "\"keys\":[0,")) << "not four numbers each";
    EXPECT_FALSE(with("\"keys\":[0,0,", "\"keys\":[2,0,")) << "no such rung";
    EXPECT_FALSE(with("\"keys\":[0,0,", "\"keys\":[0,1,")) << "not from the first frame on";
    EXPECT_FALSE(with("\"keys\":[0,0,", "\"keys\":[0,-1,"));
    EXPECT_FALSE(with("\"keys\":[0,564,", "\"keys\":[0,9999999999,")) << "of what is waiting: outside of the segment";
    EXPECT_FALSE(with("\"keys_from\":", "\"keys_from\":9"));
    const auto keys_from = [&](std::uint64_t n) { return fmt::format("\"keys_from\":{},", n); };
    EXPECT_FALSE(with(keys_from(oldest), keys_from(oldest - 1))) << "tells of entries that are gone";
    EXPECT_FALSE(with("\"keys_gone\":", "\"keys_gone\":-"));
  }
}

TEST(Iframes, NobodyTakesKeyFramesThatCannotBe) {
  bench b;
  const auto refused = [&](std::vector<key_frame> keys) {
    auto s = make_segment("720p", 1, b.now);
    s.keys = std::move(keys);
    const auto place = b.log.locate(1, s, b.now);
    return !place && place.error() == offer_result::malformed;
  };
  EXPECT_FALSE(refused({}));
  EXPECT_FALSE(refused({{0, 0, 100}, {1, 100, 1'499'900}}));
  EXPECT_TRUE(refused({{0, 0, 100}, {1, 100, 1'499'901}})) << "longer than the segment";
  EXPECT_TRUE(refused({{0, 1'500'000, 1}}));
  EXPECT_TRUE(refused({{0, std::numeric_limits<std::uint64_t>::max(), 2}}));
  EXPECT_TRUE(refused({{0, 2, std::numeric_limits<std::uint64_t>::max()}}));
  EXPECT_TRUE(refused({{0, 0, 0}}));
  EXPECT_TRUE(refused({{1, 0, 100}})) << "not from the first frame on";
  EXPECT_TRUE(refused({{0, 0, 100}, {0, 100, 100}})) << "no later";
  EXPECT_TRUE(refused({{0, 0, 100}, {1, 99, 100}})) << "within another one";
  EXPECT_TRUE(refused({{0, 0, 100}, {360'000, 100, 100}})) << "behind the segment's end";
  EXPECT_TRUE(refused(even_keys(65, make_segment("720p", 1, b.now))));
  EXPECT_FALSE(refused(even_keys(64, make_segment("720p", 1, b.now))));
}

TEST(Iframes, OfALongWindowTheOldestAreForgotten) {
  key_bench b;
  b.keys = {64, 64};
  auto timing = timing_of(hls_profile::quick);
  timing.window = 600s;
  log_options options;
  options.live_window = 60s;
  b.log = segment_log("show", options);
  ASSERT_TRUE(b.log.begin_writer(1, "pub1", two_rungs(), timing));
  follower live, dvr;
  for (std::uint64_t n = 1; n <= 120; ++n) {
    b.slot(1, n);
    if (n % 10 != 0)
      continue;
    live.look(b.log.snapshot(), b.now);
    dvr.look(for_time_shift(b.log.snapshot()), b.now);
  }
  EXPECT_EQ(show(live.lint.findings()), "");
  std::string wrong;
  for (auto& f : dvr.lint.findings())
    if (f.rule != "V6") // they no longer reach as far back as the others, and are not offered to whoever comes
      wrong += f.text + '\n';
  EXPECT_EQ(wrong, "");
  const auto s = b.log.snapshot();
  EXPECT_EQ(s.entries.size(), 120U);
  EXPECT_EQ(s.keys_from, 120 - log_keys_limit / 128);
  EXPECT_EQ(s.rungs[0].keys_gone, *s.keys_from * 64);
  EXPECT_EQ(parsed(for_time_shift(s), 0).entries.size(), log_keys_limit / 2);
  log_news news("b1");
  news.add(s);
  const auto page = parse_log_page(news.page({}, b.now));
  ASSERT_TRUE(page) << page.error().text;
  EXPECT_EQ(page->logs, std::vector{s});
}

TEST(Iframes, DirectorsTakeOnlyWhatCanBeRendered) {
  key_bench b;
  b.slots(1, 1, 30);
  const auto good = b.log.snapshot();
  const auto taken = [&](const std::function<void(stream_log&)>& spoil) {
    auto log = good;
    spoil(log);
    log_news news("b1");
    news.add(log);
    auto page = parse_log_page(news.page({}, b.now));
    return page && page->logs == std::vector{log};
  };
  EXPECT_TRUE(taken([](auto&) {}));
  EXPECT_TRUE(taken([](auto& l) { // of an origin that does not know key frames
    l.keys_from.reset();
    for (auto& e : l.entries)
      e.keys.clear();
  }));
  EXPECT_FALSE(taken([](auto& l) { l.keys_from.reset(); }));
  EXPECT_FALSE(taken([](auto& l) { l.keys_from = l.entries.back().msn + 2; }));
  EXPECT_FALSE(taken([](auto& l) { l.entries[1].keys.pop_back(); }));
  EXPECT_FALSE(taken([](auto& l) { l.entries[1].keys[0] = 1; })) << "not by rung";
  EXPECT_FALSE(taken([](auto& l) { l.entries[1].keys[0] = -1; }));
  EXPECT_FALSE(taken([](auto& l) { l.entries[1].keys[1] = 5; }));
  EXPECT_FALSE(taken([](auto& l) { l.entries[1].keys[2] = -5; }));
  EXPECT_FALSE(taken([](auto& l) { l.entries[1].keys[7] = std::int64_t{1} << 40; }));
  EXPECT_FALSE(taken([](auto& l) { l.entries[1].gaps = 2; }));
  EXPECT_FALSE(taken([](auto& l) { l.rungs[0].keys_gone = std::numeric_limits<std::uint64_t>::max(); }));
  EXPECT_FALSE(taken([](auto& l) { l.rungs[0].keys_peak = {-1}; }));
}

TEST(Iframes, OfALowLatencyStreamAreOfWholeSegmentsAndCanBeWaitedFor) {
  part_bench b;
  for (std::uint64_t n = 1; n <= 8; ++n) {
    for (std::uint32_t k = 0; n > 3 && k < 4; ++k) // once it is listed
      b.both(1, n, k);
    b.now = start_time + static_cast<std::int64_t>(n + 1) * 4s;
    for (auto* rung : {"720p", "360p"})
      ASSERT_EQ(b.log.offer(1, keyed(rung, n, b.now - 4s, 2), 1, b.now), offer_result::accepted);
    b.show();
  }
  b.both(1, 9, 0);
  ASSERT_NE(b.shown.open.epoch, 0U);
  const auto text = render_iframes(b.shown, 0), media = render(b.shown, 0, {3, 1});
  EXPECT_EQ(text.find("PART:"), std::string::npos);
  EXPECT_EQ(text.find("PART-INF"), std::string::npos);
  EXPECT_EQ(text.find("HINT"), std::string::npos);
  EXPECT_EQ(line_of(text, "#EXT-X-SERVER-CONTROL"), line_of(media, "#EXT-X-SERVER-CONTROL")) << "the same in all (P14)";
  follower f;
  f.look(b.shown, b.now);
  EXPECT_EQ(show(f.lint.findings()), "");
  const auto prepared = prepared_playlist::iframes(b.shown, 0);
  EXPECT_EQ(prepared.last_msn(), 15U) << "two of each segment";
  EXPECT_TRUE(has(prepared, {.msn = 15}).value());
  EXPECT_FALSE(has(prepared, {.msn = 16}).value());
  EXPECT_FALSE(has(prepared, {.msn = 18})) << "too far ahead";
}

// --- the linter's rules -------------------------------------------------------------------------------------------------------------------------
std::string lint_media(std::string text) {
  linter l;
  l.media("iframes", text, start_time);
  return show(l.findings());
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  EXPECT_NE(text.find(from), std::string::npos) << from;
  return text.replace(text.find(from), from.size(), to);
}

TEST(LinterOfIframes, FindsWhatBreaksAMediaPlaylist) {
  key_bench b("m1");
  b.slots(1, 1, 5);
  const auto good = render_iframes(b.log.snapshot(), 0);
  EXPECT_EQ(lint_media(good), "");
  const auto finds = [&](std::string_view rule, const std::string& text) {
    const auto found = lint_media(text);
    EXPECT_TRUE(found.starts_with(rule)) << rule << " not in: " << found;
  };
  finds("V9", replaced(good, "VERSION:6", "VERSION:3"));
  finds("P2", replaced(good, "#EXTINF:2.00000", "#EXTINF:9.00000"));
  finds("P4", replaced(good, "@750564", "@564"));
  finds("P4", replaced(good, "@750564", "@600"));
  finds("P4", replaced(good, "#EXT-X-BYTERANGE:37500@750564\n", ""));
  finds("V6", replaced(good, "BYTERANGE:37500@750564", "BYTERANGE:0@750564"));
  finds("V6", replaced(good, "#EXT-X-BYTERANGE:37500@750564\n", "#EXT-X-BYTERANGE:37500@750564\n#EXT-X-GAP\n"));
  finds("syntax", replaced(good, "BYTERANGE:37500@564", "BYTERANGE:37500"));
  finds("syntax", replaced(good, "BYTERANGE:37500@564", "BYTERANGE:x@564"));
  finds("syntax", replaced(good, "#EXT-X-BYTERANGE:37500@564\n", "#EXT-X-BYTERANGE:37500@564\n#EXT-X-BYTERANGE:37500@564\n"));
  finds("syntax", replaced(good, "37500@750564\n", "37500\nanother-"));
  const auto follows = parse_media_playlist(replaced(good, "37500@750564", "37500")).value();
  EXPECT_EQ(follows.entries[1].range, (std::pair{std::uint64_t{38'064}, std::uint64_t{37'500}})) << "without a number it follows the one before";
  const auto against = [&](const std::string& next) {
    linter l;
    l.media("iframes", good, start_time);
    l.media("iframes", next, start_time + 1s);
    return show(l.findings());
  };
  EXPECT_NE(against(replaced(good, "37500@750564", "37501@750564")).find("S1 "), std::string::npos);
  EXPECT_NE(against(replaced(good, "#EXT-X-I-FRAMES-ONLY\n", "")).find("V6 "), std::string::npos);
  EXPECT_NE(against(replaced(good, "MEDIA-SEQUENCE:0", "MEDIA-SEQUENCE:1")).find("S1 "), std::string::npos);
  linter siblings;
  siblings.media("720p", render(b.log.snapshot(), 0, {3, 1}), start_time);
  siblings.media("iframes", replaced(good, "TARGETDURATION:4", "TARGETDURATION:5"), start_time);
  EXPECT_NE(show(siblings.findings()).find("P1 "), std::string::npos);
}

TEST(LinterOfIframes, FindsWhatBreaksTheMultivariant) {
  key_bench b;
  b.slots(1, 1, 5);
  const auto good = multivariant(b.log.snapshot(), {3, 1}).value();
  const auto found = [](const std::string& text) {
    linter l{{.frame = 100ms, .variants = 2, .pathways = 2, .iframes = true}};
    l.multivariant("m", text);
    return show(l.findings());
  };
  EXPECT_EQ(found(good), "");
  const auto line = line_of(good, "#EXT-X-I-FRAME-STREAM-INF");
  const std::string codecs = "CODECS=\"avc1.64001f\",", size = "RESOLUTION=1280x720,PATH", id = "STABLE-VARIANT-ID=\"720p-iframes\"";
  const std::string uri = "URI=\"/p/3.1/show~1/720p/iframes.m3u8\"";
  for (auto [from, to] : {std::pair{"BANDWIDTH=150000," + codecs + size, codecs + size},
                          {codecs + size, size},
                          {codecs + size, "CODECS=\"avc1.64001f,mp4a.40.2\"," + size},
                          {size, std::string("RESOLUTION=1280,PATH")},
                          {"PATHWAY-ID=\"edge\"," + id, id},
                          {uri, std::string("NAME=\"none\"")},
                          {uri, std::string("URI=\"/p/3.1/show~1/360p/iframes.m3u8\"")}})
    EXPECT_TRUE(found(replaced(good, from, to)).starts_with("V6 ")) << to << found(replaced(good, from, to));
  EXPECT_TRUE(found(replaced(good, line, "")).starts_with("V6 ")) << "one pathway has less than the other";
  EXPECT_TRUE(found(good.substr(0, good.find("#EXT-X-I-FRAME"))).starts_with("V6 "));
  EXPECT_TRUE(found(replaced(good, "I-FRAME-STREAM-INF:BANDWIDTH", "I-FRAME-STREAM-INF:,BANDWIDTH")).starts_with("syntax "));
  EXPECT_TRUE(lint_media(good).starts_with("syntax "));
}

} // namespace
} // namespace weir::hls
