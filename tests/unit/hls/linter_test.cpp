// The linter on playlists of few lines: a good one passes, and each rule finds what breaks it.
#include "runtime/hls/linter.hpp"
#include "tests/unit/hls/writer.hpp"

#include <functional>
#include <gtest/gtest.h>

namespace weir::hls {
namespace {

/// A plain media playlist at TD 4 s, in pieces that a test can spoil.
struct plain_playlist {
  std::uint64_t first = 100, first_dsn = 3;
  std::size_t entries = 10;
  std::string target = "#EXT-X-TARGETDURATION:4\n", independent = "#EXT-X-INDEPENDENT-SEGMENTS\n", hold_back = "12.000", duration = "4.00000";
  std::string more;          ///< in front of the entries
  std::string end;           ///< behind them
  std::uint64_t seam_at = 0; ///< MSN with a discontinuity

  std::string text() const {
    std::string out = fmt::format("#EXTM3U\n#EXT-X-VERSION:6\n{}{}#EXT-X-SERVER-CONTROL:HOLD-BACK={}\n", target, independent, hold_back);
    out += fmt::format("#EXT-X-MEDIA-SEQUENCE:{}\n#EXT-X-DISCONTINUITY-SEQUENCE:{}\n{}", first, first_dsn, more);
    for (std::uint64_t msn = first; msn < first + entries; ++msn)
      out += fmt::format("{}#EXT-X-PROGRAM-DATE-TIME:{}\n#EXTINF:{},\nhttp://edge1/s/show~1/7/720p/{}.ts\n", msn == seam_at ? "#EXT-X-DISCONTINUITY\n" : "",
                         to_rfc3339(start_time + 4s * msn), duration, msn);
    return out + end;
  }
};

struct plain_row {
  const char* rule;
  const char* words;
  std::function<void(plain_playlist&)> spoil;
};

/// What is found in a good one and then in one that was spoiled so.
std::string found_in(const std::function<void(plain_playlist&)>& spoil, const char* first_url, const char* then_url) {
  linter lint;
  plain_playlist spoiled;
  spoil(spoiled);
  EXPECT_TRUE(lint.media(first_url, plain_playlist{}.text(), start_time).empty());
  return show(lint.media(then_url, spoiled.text(), start_time + 1s));
}

void expect_found(const plain_row& row, const std::string& found) {
  EXPECT_TRUE(found.starts_with(std::string(row.rule) + ' ')) << row.words << "\n" << found;
  EXPECT_NE(found.find(row.words), std::string::npos) << row.rule << "\n" << found;
}

TEST(Linter, FindsWhatIsWrongInOnePlaylist) {
  using plain = plain_playlist;
  const plain_row rows[] = {
    {"P1", "no EXT-X-TARGETDURATION", [](plain& p) { p.target = ""; }},
    {"V8", "no EXT-X-INDEPENDENT-SEGMENTS", [](plain& p) { p.independent = ""; }},
    {"P9", "shorter than three target durations", [](plain& p) { p.entries = 2; }},
    {"P9", "no entries", [](plain& p) { p.entries = 0; }},
    {"P14", "PLAYLIST-TYPE", [](plain& p) { p.more = "#EXT-X-PLAYLIST-TYPE:EVENT\n"; }},
    {"P14", "below three target durations", [](plain& p) { p.hold_back = "11.999"; }},
  };
  EXPECT_EQ(found_in([](auto&) {}, "720p", "other"), "");
  for (auto& row : rows) {
    linter lint;
    plain_playlist p;
    row.spoil(p);
    expect_found(row, show(lint.media("720p", p.text(), start_time)));
  }
  linter lint;
  plain_playlist over;
  over.entries = 2;
  over.end = "#EXT-X-ENDLIST\n";
  EXPECT_EQ(show(lint.media("720p", over.text(), start_time)), "") << "a stream that is over may be that short";
}

TEST(Linter, FindsWhatIsNotAsItWasBefore) {
  using plain = plain_playlist;
  const plain_row rows[] = {
    {"P14", "SERVER-CONTROL changed", [](plain& p) { p.hold_back = "13.000"; }},
    {"P4", "never seen", [](plain& p) { p.first = 111; }},
    {"P8", "fell", [](plain& p) { p.first = 101, p.first_dsn = 2; }},
  };
  EXPECT_EQ(found_in([](auto& p) { p.first = 101; }, "720p", "720p"), "");
  for (auto& row : rows)
    expect_found(row, found_in(row.spoil, "720p", "720p"));
  // What is over stays as it is.
  plain_playlist over;
  over.end = "#EXT-X-ENDLIST\n";
  auto more = over;
  more.entries = 11;
  auto found_after_the_end = [&](const plain_playlist& then) {
    linter lint;
    lint.media("720p", over.text(), start_time);
    return show(lint.media("720p", then.text(), start_time + 1s));
  };
  EXPECT_EQ(found_after_the_end(over), "");
  for (auto& then : {plain_playlist{}, more})
    expect_found({"P16", "after EXT-X-ENDLIST", {}}, found_after_the_end(then));
}

TEST(Linter, FindsWhatIsNotAsInTheOtherRungs) {
  using plain = plain_playlist;
  const plain_row rows[] = {
    {"P1", "EXT-X-TARGETDURATION is not that of the other variants", [](plain& p) { p.target = "#EXT-X-TARGETDURATION:5\n", p.hold_back = "15.000"; }},
    {"P14", "EXT-X-SERVER-CONTROL is not that of the other variants", [](plain& p) { p.hold_back = "13.000"; }},
    {"P3", "elsewhere", [](plain& p) { p.duration = "4.10100"; }},
    {"P11", "has discontinuity 4 here, 3 elsewhere", [](plain& p) { p.seam_at = 105; }},
    {"P11", "has discontinuity 2 here, 3 elsewhere", [](plain& p) { p.first_dsn = 2; }},
    {"P11", "MSN 105 has discontinuity 3 here, 3 elsewhere", [](plain& p) { p.seam_at = 105, p.first_dsn = 2; }},
  };
  EXPECT_EQ(found_in([](auto& p) { p.duration = "4.10000"; }, "720p", "360p"), "") << "less than a frame";
  for (auto& row : rows)
    expect_found(row, found_in(row.spoil, "720p", "360p"));
}

TEST(Linter, FindsWhatIsWrongInAMultivariantPlaylist) {
  bench b;
  b.slots(1, 1, 5);
  const auto good = multivariant(b.log.snapshot(), {3, 1}).value();
  auto found = [](const std::string& text) {
    linter lint{{100ms, 2, 2}};
    return show(lint.multivariant("m", text));
  };
  struct row {
    const char* rule;
    const char* words;
    std::string from, to;
    bool all = false; ///< of them, else the first one
  };
  const row rows[] = {
    {"V1", "BANDWIDTH and AVERAGE-BANDWIDTH are needed", "STREAM-INF:BANDWIDTH=3266129,", "STREAM-INF:"},
    {"V1", "BANDWIDTH and AVERAGE-BANDWIDTH are needed", ",AVERAGE-BANDWIDTH=3000000", ""},
    {"V1", "no CODECS", ",CODECS=\"avc1.64001f,mp4a.40.2\"", ""},
    {"V1", "RESOLUTION and FRAME-RATE are needed", ",FRAME-RATE=25.000", ""},
    {"V1", "RESOLUTION and FRAME-RATE are needed", ",RESOLUTION=1280x720", ""},
    {"V2", "AVERAGE-BANDWIDTH 3266130 is above BANDWIDTH 3266129", "AVERAGE-BANDWIDTH=3000000", "AVERAGE-BANDWIDTH=3266130"},
    {"V4", "no variant", good.substr(good.find("#EXT-X-STREAM-INF")), ""},
    {"V4", "/p/3.1/show~1/720p.m3u8 stands there twice", "/p/3.1.b/show~1/720p.m3u8", "/p/3.1/show~1/720p.m3u8"},
    {"V4", "1 bit rates, 2 are needed", "BANDWIDTH=870967", "BANDWIDTH=3266129", true},
    {"V8", "no EXT-X-INDEPENDENT-SEGMENTS", "#EXT-X-INDEPENDENT-SEGMENTS\n", ""},
    {"V9", "no EXT-X-VERSION", "#EXT-X-VERSION:6\n", ""},
    {"V11", "PATHWAY-ID and STABLE-VARIANT-ID are needed", ",STABLE-VARIANT-ID=\"360p\"", ""},
    {"V11", "1 pathways, 2 are needed", "PATHWAY-ID=\"backup\"", "PATHWAY-ID=\"edge\"", true},
    {"V11", "does not offer the variants of", "PATHWAY-ID=\"backup\",STABLE-VARIANT-ID=\"360p\"", "PATHWAY-ID=\"backup\",STABLE-VARIANT-ID=\"540p\""},
    {"V11", "EXT-X-CONTENT-STEERING needs", ",PATHWAY-ID=\"edge\"\n", ",PATHWAY-ID=\"other\"\n"},
    {"V11", "EXT-X-CONTENT-STEERING needs", "#EXT-X-CONTENT-STEERING:", "#EXT-X-OTHER:"},
  };
  EXPECT_EQ(found(good), "");
  for (auto& [rule, words, from, to, all] : rows) {
    auto text = good;
    for (auto at = text.find(from); at != std::string::npos; at = all ? text.find(from, at + to.size()) : std::string::npos)
      text.replace(at, from.size(), to);
    ASSERT_NE(text, good) << words;
    expect_found({rule, words, {}}, found(text));
  }
}

/// A low-latency playlist at TD 4 s and PT 1 s, in pieces that a test can spoil.
struct low_latency_playlist {
  std::uint64_t first = 100;
  std::size_t entries = 10, with_parts = 3, open_parts = 2;
  std::string control = "CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=3.000,CAN-SKIP-UNTIL=24.000,HOLD-BACK=12.000";
  std::string part_inf = "#EXT-X-PART-INF:PART-TARGET=1.000\n";
  std::string host = "http://edge1";
  std::string reports = "#EXT-X-RENDITION-REPORT:URI=\"360p.m3u8\",LAST-MSN=110,LAST-PART=1\n";
  std::optional<std::string> hint; ///< instead of the part that comes next
  std::string more;                ///< at the end
  std::vector<std::string> parts{"DURATION=1.000,INDEPENDENT=YES", "DURATION=1.000", "DURATION=1.000,INDEPENDENT=YES", "DURATION=1.000"}; ///< of each segment
  std::string seam_at;             ///< MSN with a discontinuity

  static std::string address(std::uint64_t msn, std::size_t part) { return fmt::format("/s/show~1/7/720p/{}.{}.m4s", msn, part); }
  std::string text() const {
    auto part = [&](std::uint64_t msn, std::size_t n) { return fmt::format("#EXT-X-PART:{},URI=\"{}{}\"\n", parts[n], host, address(msn, n)); };
    auto date = [&](std::uint64_t msn) { return fmt::format("#EXT-X-PROGRAM-DATE-TIME:{}\n", to_rfc3339(start_time + 4s * msn)); };
    std::string out = fmt::format("#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:4\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-SERVER-CONTROL:{}\n{}"
                                  "#EXT-X-MEDIA-SEQUENCE:{}\n#EXT-X-DISCONTINUITY-SEQUENCE:0\n#EXT-X-MAP:URI=\"http://edge1/s/show~1/7/720p/init.mp4\"\n",
                                  control, part_inf, first);
    for (std::uint64_t msn = first; msn < first + entries; ++msn) {
      if (seam_at == std::to_string(msn))
        out += "#EXT-X-DISCONTINUITY\n";
      out += date(msn);
      for (std::size_t n = 0; msn + with_parts >= first + entries && n < parts.size(); ++n)
        out += part(msn, n);
      out += fmt::format("#EXTINF:4.00000,\nhttp://edge1/s/show~1/7/720p/{}.m4s\n", msn);
    }
    const auto open = first + entries;
    if (open_parts > 0)
      out += (seam_at == std::to_string(open) ? "#EXT-X-DISCONTINUITY\n" : "") + date(open);
    for (std::size_t n = 0; n < open_parts; ++n)
      out += part(open, n);
    out += hint ? *hint : fmt::format("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"http://edge1{}\"\n", open_parts == 4 ? address(open + 1, 0) : address(open, open_parts));
    return out + reports + more;
  }
};

const std::string at = "http://director/p/1.1/show~1/";

/// What is found in these, fetched a moment apart.
std::string found_in(const std::vector<low_latency_playlist>& all) {
  linter lint;
  for (std::size_t i = 0; i < all.size(); ++i)
    lint.media(at + "720p.m3u8", all[i].text(), start_time + std::chrono::seconds(i));
  return show(lint.findings());
}

TEST(Linter, FindsNothingInAGoodLowLatencyPlaylist) {
  std::vector<low_latency_playlist> all;
  for (std::size_t n = 0; n < 14; ++n) {
    auto& p = all.emplace_back();
    p.open_parts = n % 5; // the fifth time its segment is listed, with the parts that were its
    p.first += n / 5;
  }
  EXPECT_EQ(found_in(all), "");
  auto over = all.back();
  over.hint = "";
  over.open_parts = 0;
  over.more = "#EXT-X-ENDLIST\n";
  EXPECT_EQ(found_in({over}), "");
}

TEST(Linter, ReadsWhatALowLatencyPlaylistSays) {
  auto p = parse_media_playlist(low_latency_playlist{}.text());
  ASSERT_TRUE(p) << p.error().text;
  EXPECT_EQ(p->part_target, 1s);
  EXPECT_EQ(p->part_hold_back, 3s);
  EXPECT_EQ(p->skip_until, 24s);
  EXPECT_TRUE(p->blocks);
  EXPECT_TRUE(p->entries[6].parts.empty());
  ASSERT_EQ(p->entries[7].parts.size(), 4U);
  EXPECT_TRUE(p->entries[7].parts[2].independent);
  EXPECT_FALSE(p->entries[7].parts[3].independent);
  ASSERT_TRUE(p->open);
  EXPECT_EQ(p->open->msn, 110U);
  EXPECT_EQ(p->open->parts.size(), 2U);
  EXPECT_TRUE(p->open->date);
  ASSERT_EQ(p->reports.size(), 1U);
  EXPECT_EQ(p->reports[0].last_msn, 110U);
  EXPECT_EQ(p->hints, std::vector<std::string>{"http://edge1/s/show~1/7/720p/110.2.m4s"});
  const std::string head = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n";
  auto delta = parse_media_playlist(head + "#EXT-X-MEDIA-SEQUENCE:100\n#EXT-X-SKIP:SKIPPED-SEGMENTS=8\n#EXTINF:4,\na.m4s\n");
  ASSERT_TRUE(delta);
  EXPECT_EQ(delta->entries[0].msn, 108U);
  for (auto* broken : {"#EXT-X-PART:URI=\"a\"\n", "#EXT-X-PART:DURATION=1\n", "#EXT-X-PART:DURATION=x,URI=\"a\"\n", "#EXT-X-PART-INF:\n",
                       "#EXT-X-PART-INF:PART-TARGET=1\n#EXT-X-PART-INF:PART-TARGET=1\n", "#EXT-X-PRELOAD-HINT:TYPE=PART\n", "#EXT-X-RENDITION-REPORT:LAST-MSN=1\n", "#EXT-X-SKIP:SKIPPED-SEGMENTS=0\n",
                       "#EXT-X-SERVER-CONTROL:PART-HOLD-BACK=x\n"})
    EXPECT_FALSE(parse_media_playlist(head + broken)) << broken;
}

TEST(Linter, FindsWhatIsWrongInALowLatencyPlaylist) {
  struct row {
    const char* rule;
    const char* words;
    std::function<void(low_latency_playlist&)> spoil;
  };
  using ll = low_latency_playlist;
  const row rows[] = {
    {"L1", "CAN-BLOCK-RELOAD", [](ll& p) { p.control = "PART-HOLD-BACK=3.000,CAN-SKIP-UNTIL=24.000,HOLD-BACK=12.000"; }},
    {"L1", "PART-HOLD-BACK", [](ll& p) { p.control = "CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=2.999,HOLD-BACK=12.000"; }},
    {"L1", "CAN-SKIP-UNTIL", [](ll& p) { p.control = "CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=3.000,CAN-SKIP-UNTIL=23.999,HOLD-BACK=12.000"; }},
    {"L2", "without EXT-X-PART-INF", [](ll& p) { p.part_inf = ""; }},
    {"L2", "the part target is", [](ll& p) { p.parts[1] = "DURATION=1.001"; }},
    {"L2", "less than 85 %", [](ll& p) { p.parts[1] = "DURATION=0.849"; }},
    {"L3", "its parts", [](ll& p) { p.parts[3] = "DURATION=0.860"; }},
    {"L3", "behind the end", [](ll& p) { p.with_parts = 4; }},
    {"L4", "more than one", [](ll& p) { p.more = "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"http://edge1/b\"\n"; }},
    {"L4", "is over", [](ll& p) { p.more = "#EXT-X-ENDLIST\n"; }},
    {"L4", "still hinted at", [](ll& p) { p.hint = "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"http://edge1" + ll::address(110, 1) + "\"\n"; }},
    {"L5", "no LAST-MSN", [](ll& p) { p.reports = "#EXT-X-RENDITION-REPORT:URI=\"360p.m3u8\",LAST-PART=1\n"; }},
    {"L5", "no LAST-MSN or LAST-PART", [](ll& p) { p.reports = "#EXT-X-RENDITION-REPORT:URI=\"360p.m3u8\",LAST-MSN=110\n"; }},
    {"L6", "INDEPENDENT", [](ll& p) { p.parts[0] = "DURATION=1.000"; }},
    {"S3", "its part at", [](ll& p) { p.host = "http://edge2"; }},
  };
  for (auto& [rule, words, spoil] : rows) {
    low_latency_playlist p;
    spoil(p);
    auto found = found_in({p});
    EXPECT_TRUE(found.starts_with(rule)) << words << "\n" << found;
    EXPECT_NE(found.find(words), std::string::npos) << rule << "\n" << found;
  }
}

TEST(Linter, FindsPartsThatAreNotWhatWasSaidBefore) {
  struct row {
    const char* rule;
    const char* words;
    std::function<void(low_latency_playlist&)> spoil; ///< the second of two
  };
  using ll = low_latency_playlist;
  const row rows[] = {
    {"L2", "PART-INF changed", [](ll& p) { p.part_inf = "#EXT-X-PART-INF:PART-TARGET=1.000001\n"; }},
    {"P14", "SERVER-CONTROL changed", [](ll& p) { p.control = "CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=3.500,CAN-SKIP-UNTIL=24.000,HOLD-BACK=12.000"; }},
    {"P4", "is gone", [](ll& p) { p.open_parts = 1, p.hint = ""; }},
    {"P4", "changed", [](ll& p) { p.parts[1] = "DURATION=1.000,INDEPENDENT=YES"; }},
    {"S1", "moved", [](ll& p) { p.host = "http://edge2"; }},
    {"L4", "no part came between", [](ll& p) { p.hint = "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"http://edge1/other\"\n"; }},
  };
  for (auto& [rule, words, spoil] : rows) {
    low_latency_playlist p;
    spoil(p);
    auto found = found_in({low_latency_playlist{}, p});
    EXPECT_NE(found.find(words), std::string::npos) << rule << "\n" << found;
    EXPECT_NE(found.find(rule), std::string::npos) << words << "\n" << found;
  }
  // Another part came than was hinted at: within the segment, and as the first of the next one.
  low_latency_playlist wrong_hint, next;
  wrong_hint.hint = "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"http://edge1/other\"\n";
  next.open_parts = 3;
  EXPECT_NE(found_in({wrong_hint, next}).find("L4"), std::string::npos);
  wrong_hint.open_parts = 4;
  next.first = 101;
  next.open_parts = 1;
  EXPECT_NE(found_in({wrong_hint, next}).find("L4"), std::string::npos);
  // Unless another writer has taken over, and its parts came instead.
  next.seam_at = "111";
  EXPECT_EQ(found_in({wrong_hint, next}).find("L4"), std::string::npos);
}

TEST(Linter, WantsAReportOfEachOtherRendition) {
  auto other = low_latency_playlist{}.text();
  for (std::size_t i = 0; (i = other.find("720p/", i)) != std::string::npos;)
    other.replace(i, 4, "360p");
  auto replace = [](std::string text, std::string_view from, std::string_view to) { return text.replace(text.find(from), from.size(), to); };
  other = replace(other, "360p.m3u8", "720p.m3u8");
  linter good;
  good.media(at + "720p.m3u8?x=1", low_latency_playlist{}.text(), start_time);
  good.media(at + "360p.m3u8", other, start_time);
  good.media("http://director/p/1.1.b/show~1/360p.m3u8", other, start_time); // of another pathway
  good.media(at + "720p.m3u8?x=1", low_latency_playlist{}.text(), start_time + 1s);
  EXPECT_EQ(show(good.findings()), "");
  low_latency_playlist without;
  without.reports = "";
  linter lint;
  lint.media(at + "360p.m3u8", other, start_time);
  EXPECT_EQ(lint.media(at + "720p.m3u8", without.text(), start_time).at(0).rule, "L5");
  without.first += 2;
  EXPECT_TRUE(lint.media(at + "720p.m3u8", without.text(), start_time + 9s).empty()) << "nobody looks at the other one any more";
}

} // namespace
} // namespace weir::hls
