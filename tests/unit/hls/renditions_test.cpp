// Sound as a rendition of its own: in the log, in playlists and for the linter.
#include "runtime/describe/encode.hpp"
#include "runtime/hls/live_parts.hpp"
#include "runtime/hls/log_news.hpp"
#include "tests/unit/hls/writer.hpp"

#include <gtest/gtest.h>

namespace weir::hls {
namespace {

/// A rung has pictures alone; the sound is in one of its own.
std::vector<rung_info> with_sound_apart(std::string language = "de") {
  auto rungs = two_rungs();
  for (auto& r : rungs)
    r.codecs = "avc1.64001f";
  rungs.push_back({.name = "audio", .codecs = "mp4a.40.2", .nominal = {128'000}, .rendition = true, .language = std::move(language)});
  return rungs;
}

struct sound_bench {
  segment_log log{"show"};
  timestamp now = start_time;

  explicit sound_bench(std::vector<rung_info> rungs = with_sound_apart()) { begin(1, std::move(rungs)); }
  void begin(lease_epoch epoch, std::vector<rung_info> rungs) {
    auto begun = log.begin_writer(epoch, "pub1", std::move(rungs), timing_of(hls_profile::quick));
    if (!begun)
      throw std::runtime_error(begun.error().text);
  }
  offer_result offer(lease_epoch epoch, const std::string& rung, std::uint64_t slot) {
    auto s = make_segment(rung, slot, now - 4s);
    if (rung == "audio") { // frames that begin in it
      s.first_pts += 960;
      s.bytes = 64'000; // 128 kbit/s
    }
    return log.offer(epoch, s, 1, now);
  }
  void slot(lease_epoch epoch, std::uint64_t n, std::vector<std::string> rungs = {"720p", "360p", "audio"}) {
    now += 4s;
    for (auto& r : rungs)
      EXPECT_EQ(offer(epoch, r, n), offer_result::accepted) << r << " " << n;
  }
  void slots(lease_epoch epoch, std::uint64_t from, std::uint64_t to) {
    for (auto n = from; n <= to; ++n)
      slot(epoch, n);
  }
  stream_log shown() const { return log.snapshot(); }
};

linter strict() { return linter{{100ms, 2, 2}}; }

TEST(Renditions, AreAGroupOnEachPathwayThatVariantsName) {
  sound_bench b;
  b.slots(1, 1, 5);
  const auto text = multivariant(b.shown(), {7, 2}).value();
  EXPECT_NE(text.find("#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio-edge\",NAME=\"de\",LANGUAGE=\"de\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"2\",STABLE-RENDITION-ID=\"audio\","
                      "URI=\"/p/7.2/show~1/audio.m3u8\"\n"),
            std::string::npos)
    << text;
  EXPECT_NE(text.find("GROUP-ID=\"audio-backup\",NAME=\"de\",LANGUAGE=\"de\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"2\",STABLE-RENDITION-ID=\"audio\",URI=\"/p/7.2.b/show~1/audio.m3u8\"\n"),
            std::string::npos);
  auto p = parse_multivariant_playlist(text).value();
  ASSERT_EQ(p.variants.size(), 4U) << "sound alone is no variant";
  ASSERT_EQ(p.renditions.size(), 2U);
  for (auto& v : p.variants) {
    const bool backup = v.attributes.at("PATHWAY-ID") == backup_pathway, high = v.uri.ends_with("/720p.m3u8");
    EXPECT_EQ(v.attributes.at("AUDIO"), backup ? "audio-backup" : "audio-edge");
    EXPECT_EQ(v.attributes.at("CODECS"), "avc1.64001f,mp4a.40.2");
    // 1.5 and 0.4 MB in 4 s, and 128 kbit/s of sound.
    EXPECT_EQ(v.attributes.at("BANDWIDTH"), std::to_string(bandwidth_of({high ? 3'000'000 : 800'000}, 4s).bits_per_second + bandwidth_of({128'000}, 4s).bits_per_second));
    EXPECT_EQ(v.attributes.at("AVERAGE-BANDWIDTH"), high ? "3128000" : "928000");
  }
  auto lint = strict();
  lint.multivariant("m", text);
  EXPECT_EQ(show(lint.findings()), "");
  // A token stands in front of that address, too.
  EXPECT_NE(multivariant(b.shown(), {7, 2}, max_rungs, "/t/TOKEN").value().find("URI=\"/t/TOKEN/p/7.2/show~1/audio.m3u8\""), std::string::npos);
  // The cheapest rungs of a full farm have it all the same.
  auto one = parse_multivariant_playlist(multivariant(b.shown(), {7, 2}, 1).value()).value();
  EXPECT_EQ(one.variants.size(), 2U);
  EXPECT_EQ(one.renditions.size(), 2U);
}

TEST(Renditions, NameNoLanguageWhereNoneIsSaid) {
  sound_bench b(with_sound_apart(""));
  b.slots(1, 1, 5);
  const auto text = multivariant(b.shown(), {7, 2}).value();
  EXPECT_EQ(text.find("LANGUAGE"), std::string::npos);
  EXPECT_NE(text.find("NAME=\"audio\""), std::string::npos);
  auto lint = strict();
  lint.multivariant("m", text);
  EXPECT_EQ(show(lint.findings()), "");
}

TEST(Renditions, AreNotThereInALogWithoutThem) {
  bench b;
  b.slots(1, 1, 5);
  const auto text = multivariant(b.log.snapshot(), {7, 2}).value();
  EXPECT_EQ(text.find("EXT-X-MEDIA:"), std::string::npos);
  EXPECT_EQ(text.find("AUDIO="), std::string::npos);
  // A source of sound alone: a variant.
  sound_bench alone({{.name = "audio", .codecs = "mp4a.40.2", .nominal = {128'000}}});
  for (std::uint64_t n = 1; n <= 5; ++n)
    alone.slot(1, n, {"audio"});
  auto p = parse_multivariant_playlist(multivariant(alone.shown(), {7, 2}).value()).value();
  EXPECT_EQ(p.variants.size(), 2U);
  EXPECT_TRUE(p.renditions.empty());
}

TEST(Renditions, HavePlaylistsThatAgreeWithThoseOfTheRungs) {
  sound_bench b;
  auto lint = strict();
  for (std::uint64_t n = 1; n < 40; ++n) {
    if (n == 20)
      b.begin(2, with_sound_apart());
    b.slot(n >= 20 ? 2 : 1, n);
    auto log = b.shown();
    if (log.entries.empty())
      continue;
    EXPECT_FALSE(has_iframes(log, 2));
    lint.multivariant("m", multivariant(log, {3, 1}).value());
    for (std::size_t rung : {0U, 1U, 2U})
      lint.media(fmt::format("r{}", rung), render(log, rung, {3, 1}), b.now);
  }
  EXPECT_EQ(show(lint.findings()), "");
  EXPECT_EQ(b.shown().rungs[2].average.bits_per_second, 128'000);
}

TEST(Renditions, ThatAreMissingHoldUpNothing) {
  sound_bench b;
  b.slots(1, 1, 5);
  for (std::uint64_t n = 6; n <= 10; ++n) {
    b.slot(1, n, {"720p", "360p"});
    b.log.tick(1, b.now + 3900ms);
  }
  const auto log = b.shown();
  ASSERT_EQ(log.entries.size(), 10U);
  for (std::size_t i = 0; i < 10; ++i)
    EXPECT_EQ(log.entries[i].gaps, i < 5 ? 0U : 4U) << i;
  EXPECT_FALSE(b.shown().rungs[2].active) << "nobody waits for it any more";
  const auto text = multivariant(b.shown(), {7, 2}).value();
  EXPECT_EQ(text.find("EXT-X-MEDIA:"), std::string::npos) << "newcomers are not promised what is not there";
  EXPECT_NE(text.find("CODECS=\"avc1.64001f\""), std::string::npos);
  EXPECT_NE(render(b.shown(), 2, {7, 2}).find("#EXT-X-GAP"), std::string::npos);
}

TEST(Renditions, MayBeginWithTheSlotWherePicturesComeRarely) {
  auto rungs = with_sound_apart();
  for (auto& r : rungs)
    if (!r.rendition)
      r.fps_milli = 5'000;
  for (auto sound_first : {false, true}) {
    sound_bench b(rungs);
    b.now += 4s;
    auto sound = make_segment("audio", 1, b.now - 4s), pictures = make_segment("720p", 1, b.now - 4s);
    pictures.first_pts += 190 * 90; // the first one of the slot
    pictures.duration -= 190 * 90;
    EXPECT_EQ(b.log.offer(1, sound_first ? sound : pictures, 1, b.now), offer_result::accepted);
    EXPECT_EQ(b.log.offer(1, sound_first ? pictures : sound, 1, b.now), offer_result::accepted);
  }
  sound_bench steady; // at 25 pictures a second it is another time
  steady.now += 4s;
  auto sound = make_segment("audio", 1, steady.now - 4s), pictures = make_segment("720p", 1, steady.now - 4s);
  pictures.first_pts += 190 * 90;
  EXPECT_EQ(steady.log.offer(1, pictures, 1, steady.now), offer_result::accepted);
  EXPECT_EQ(steady.log.offer(1, sound, 1, steady.now), offer_result::uneven);
}

TEST(Renditions, AreRefusedWhereTheyMakeNoPlaylist) {
  auto refused = [](std::vector<rung_info> rungs) {
    segment_log log("show");
    return !log.begin_writer(1, "pub1", std::move(rungs), timing_of(hls_profile::quick));
  };
  EXPECT_FALSE(refused(with_sound_apart("pt-BR")));
  EXPECT_TRUE(refused(with_sound_apart("de\"")));
  EXPECT_TRUE(refused(with_sound_apart("x")));
  auto alone = with_sound_apart();
  alone.erase(alone.begin(), alone.begin() + 2);
  EXPECT_TRUE(refused(alone));
  auto two = with_sound_apart();
  two.push_back(two.back());
  two.back().name = "audio2";
  EXPECT_TRUE(refused(two));
  auto sized = with_sound_apart();
  sized[0].rendition = true; // with pictures
  EXPECT_TRUE(refused(sized));
  auto spoken = two_rungs();
  spoken[0].language = "de";
  EXPECT_TRUE(refused(spoken));
  auto beside = with_sound_apart();
  beside.push_back({.name = "sound", .codecs = "mp4a.40.2", .nominal = {64'000}});
  EXPECT_TRUE(refused(beside)) << "a variant of sound alone has no group";
}

TEST(Renditions, KnowLanguageTagsByTheirForm) {
  for (auto good : {"", "de", "deu", "pt-BR", "zh-Hant-TW", "sl-rozaj-biske", "es-419"})
    EXPECT_TRUE(is_language(good)) << good;
  for (auto bad : {"d", "-", "de-", "-de", "de--DE", "d3", "de_DE", "de DE", "abcdefghi", "de-abcdefghi", "\"", "de\n"})
    EXPECT_FALSE(is_language(bad)) << bad;
  EXPECT_FALSE(is_language("de-" + std::string(33, 'a')));
}

// Who has loaded the multivariant playlist looks for sound where it was.
TEST(Renditions, BeginTheStreamAnewWhereSoundMoves) {
  bench muxed;
  muxed.slots(1, 1, 5);
  ASSERT_TRUE(muxed.log.begin_writer(2, "pub1", with_sound_apart(), timing_of(hls_profile::quick)));
  muxed.slot(2, 6);
  EXPECT_EQ(muxed.log.instance(), 2U);

  sound_bench apart;
  apart.slots(1, 1, 5);
  apart.begin(2, with_sound_apart());
  apart.slot(2, 6);
  EXPECT_EQ(apart.log.instance(), 1U) << "it is where it was";
  apart.begin(3, two_rungs());
  apart.slot(3, 7, {"720p", "360p"});
  EXPECT_EQ(apart.log.instance(), 2U);

  auto mute = two_rungs();
  for (auto& r : mute)
    r.codecs = "avc1.64001f";
  sound_bench late(mute);
  for (std::uint64_t n = 1; n <= 5; ++n)
    late.slot(1, n, {"720p", "360p"});
  late.begin(2, with_sound_apart());
  late.slot(2, 6);
  EXPECT_EQ(late.log.instance(), 1U) << "nobody misses what was not there";
  late.slot(2, 7);
  late.slot(2, 8);
  EXPECT_NE(multivariant(late.shown(), {7, 2}).value().find("EXT-X-MEDIA:"), std::string::npos);
}

TEST(Renditions, AreKeptInTheLogAndOlderLogsStayAsTheyWere) {
  sound_bench b;
  b.slots(1, 1, 8);
  const auto text = b.log.to_json();
  EXPECT_NE(text.find("\"schema\":4"), std::string::npos);
  auto again = segment_log::from_json(text);
  ASSERT_TRUE(again) << again.error().text;
  EXPECT_EQ(again->to_json(), text);
  EXPECT_EQ(again->snapshot(), b.shown());
  EXPECT_TRUE(again->snapshot().rungs[2].info.rendition);
  EXPECT_EQ(again->snapshot().rungs[2].info.language, "de");
  auto broken = text;
  broken.replace(broken.find("\"language\":\"de\""), 15, "\"language\":\"d\\\"\"");
  EXPECT_FALSE(segment_log::from_json(broken));
  broken = text;
  broken.replace(broken.find("\"schema\":4"), 10, "\"schema\":3");
  EXPECT_FALSE(segment_log::from_json(broken)) << "no log of before has that";

  bench without;
  without.slots(1, 1, 8);
  EXPECT_NE(without.log.to_json().find("\"schema\":1"), std::string::npos) << "as before: an older Weir reads it";
  EXPECT_EQ(without.log.to_json().find("rendition"), std::string::npos);
  ASSERT_TRUE(segment_log::from_json(without.log.to_json()));
}

TEST(Renditions, ReachDirectors) {
  sound_bench b;
  b.slots(1, 1, 8);
  log_news news{"boot"};
  news.add(b.shown());
  auto page = news.page({}, b.now);
  auto read = parse_log_page(page);
  ASSERT_TRUE(read) << read.error().text;
  ASSERT_EQ(read->logs.size(), 1U);
  EXPECT_EQ(read->logs[0], b.shown());
  page.replace(page.find("\"language\":\"de\""), 15, "\"language\":\"d!\"");
  EXPECT_FALSE(parse_log_page(page));
}

// --- the linter -------------------------------------------------------------------------------------------------------------------------------
TEST(Renditions, OfAnotherKindAreFound) {
  sound_bench b;
  b.slots(1, 1, 5);
  const auto good = multivariant(b.shown(), {3, 1}).value();
  auto findings = [](const std::string& text) {
    auto lint = strict();
    lint.multivariant("m", text);
    return show(lint.findings());
  };
  EXPECT_EQ(findings(good), "");
  auto with = [&](std::string_view what, std::string_view other, bool all = false) {
    auto text = good;
    for (auto at = text.find(what); at != std::string::npos; at = all ? text.find(what, at + other.size()) : std::string::npos)
      text.replace(at, what.size(), other);
    EXPECT_NE(text, good) << what;
    return findings(text);
  };
  EXPECT_NE(with("AUDIO=\"audio-edge\"", "AUDIO=\"other\"").find("V7 m: /p/3.1/show~1/720p.m3u8: there is no group \"other\""), std::string::npos);
  EXPECT_NE(with(",AUDIO=\"audio-edge\"", "", true).find("is used on 0 pathways"), std::string::npos);
  EXPECT_NE(with("AUDIO=\"audio-edge\"", "AUDIO=\"audio-backup\"", true).find("is used on 2 pathways"), std::string::npos);
  EXPECT_NE(with(",mp4a.40.2", "").find("do not name the sound"), std::string::npos);
  EXPECT_NE(with("LANGUAGE=\"de\"", "LANGUAGE=\"d\"").find("is no language tag"), std::string::npos);
  EXPECT_NE(with(",CHANNELS=\"2\"", "").find("has no CHANNELS"), std::string::npos);
  EXPECT_NE(with("AUTOSELECT=YES", "AUTOSELECT=NO").find("is DEFAULT and not AUTOSELECT"), std::string::npos);
  EXPECT_NE(with(",NAME=\"de\"", "").find("has no GROUP-ID or NAME"), std::string::npos);
  EXPECT_NE(with(",URI=\"/p/3.1/show~1/audio.m3u8\"", "").find("has no URI"), std::string::npos);
  EXPECT_NE(with("STABLE-RENDITION-ID=\"audio\"", "STABLE-RENDITION-ID=\"sound\"").find("does not offer the renditions of"), std::string::npos);
  EXPECT_NE(with("#EXT-X-MEDIA:TYPE", "#EXT-X-MEDIA:,TYPE").find("syntax"), std::string::npos);
  EXPECT_NE(with("#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio-edge\"", "#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"audio-edge\"").find("there is no group \"audio-edge\""), std::string::npos);
}

TEST(Renditions, WhosePlaylistsAreOfAnotherTimeAreFound) {
  sound_bench b;
  b.slots(1, 1, 5);
  auto log = b.shown();
  auto lint = strict();
  lint.media("r0", render(log, 0, {3, 1}), b.now);
  auto text = render(log, 2, {3, 1});
  auto number = text.find("#EXT-X-MEDIA-SEQUENCE:0");
  ASSERT_NE(number, std::string::npos);
  text.replace(number, 23, "#EXT-X-MEDIA-SEQUENCE:1");
  lint.media("r2", text, b.now);
  EXPECT_NE(show(lint.findings()).find("P12 r2: MSN 1 is dated"), std::string::npos) << show(lint.findings());
  auto other = strict();
  other.media("r0", render(log, 0, {3, 1}), b.now);
  text = render(log, 2, {3, 1});
  text.replace(text.find("TARGETDURATION:4"), 16, "TARGETDURATION:5");
  other.media("r2", text, b.now);
  EXPECT_NE(show(other.findings()).find("P1 r2"), std::string::npos);
}

// --- low latency ------------------------------------------------------------------------------------------------------------------------------
TEST(Renditions, HavePartsHintsAndReportsLikeRungs) {
  sound_bench b;
  b.log = segment_log("show");
  auto timing = timing_of(hls_profile::low_latency);
  timing.part = 1003ms; // 47 frames of 1024 samples
  ASSERT_TRUE(b.log.begin_writer(1, "pub1", with_sound_apart(), timing, false, "m1"));
  ASSERT_TRUE(b.log.lacks_maps(1, 1));
  b.log.maps_stored(1, 1);
  b.slots(1, 1, 5);
  live_parts parts;
  auto bring = [&](const std::string& rung, std::uint32_t number, std::int64_t first, std::int64_t duration) {
    part_info p{.rung = rung, .slot = 6, .part = number, .first_pts = 6 * 360'000 + first, .duration = duration, .independent = number % 2 == 0 || rung == "audio", .last = number == 3,
                .discontinuity = false, .captured = b.now, .bytes = 1000};
    auto at = parts.locate(1, p, b.log, b.log.next_msn());
    ASSERT_TRUE(at && *at) << at.error().text;
    parts.enter(**at, p);
  };
  auto shown = b.shown();
  for (auto* rung : {"720p", "360p"})
    bring(rung, 0, 0, 90'000);
  parts.fill(shown, b.log, 1, b.now);
  EXPECT_TRUE(shown.parts.empty()) << "all have it, or nobody";
  bring("audio", 0, 960, 46 * 1920);
  shown = b.shown();
  parts.fill(shown, b.log, 1, b.now);
  ASSERT_EQ(shown.parts.size(), 1U);
  EXPECT_EQ(shown.parts[0].durations, (std::vector<std::int64_t>{90'000, 90'000, 46 * 1920}));
  const auto sound = render(shown, 2, {3, 1}), pictures = render(shown, 0, {3, 1});
  EXPECT_NE(sound.find("#EXT-X-PART-INF:PART-TARGET=1.003\n"), std::string::npos) << sound;
  EXPECT_NE(sound.find("/audio/5.0.m4s\""), std::string::npos);
  EXPECT_NE(sound.find("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"" + edge_url(1, {3, 1}) + "/s/show~1/1/audio/5.1.m4s\""), std::string::npos) << sound;
  EXPECT_NE(sound.find("#EXT-X-RENDITION-REPORT:URI=\"720p.m3u8\",LAST-MSN=5,LAST-PART=0\n"), std::string::npos);
  EXPECT_NE(pictures.find("#EXT-X-RENDITION-REPORT:URI=\"audio.m3u8\",LAST-MSN=5,LAST-PART=0\n"), std::string::npos);
  auto lint = strict();
  lint.multivariant("m", multivariant(shown, {3, 1}).value());
  for (std::size_t rung : {0U, 1U, 2U})
    lint.media(fmt::format("/p/3.1/show~1/{}.m3u8", shown.rungs[rung].info.name), render(shown, rung, {3, 1}), b.now);
  EXPECT_EQ(show(lint.findings()), "");
}

} // namespace
} // namespace weir::hls
