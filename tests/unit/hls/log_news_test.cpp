#include "runtime/hls/log_news.hpp"
#include "runtime/describe/encode.hpp"
#include "runtime/hls/playlist.hpp"

#include <gtest/gtest.h>

#include <fmt/format.h>

namespace weir::hls::testing {
namespace {

using namespace std::chrono_literals;

const timestamp noon = timestamp{} + std::chrono::hours(24 * 365 * 56) + 123ms;

stream_log log_of(std::string stream, std::uint64_t version, std::size_t entries = 6, std::uint64_t instance = 1) {
  stream_log log;
  log.stream = std::move(stream);
  log.instance = instance;
  log.version = version;
  log.target = 2s;
  log.window = 90s;
  log.hold_back = 6500ms;
  log.changed = noon;
  listed_rung rung;
  rung.info = {.name = "720p", .width = 1280, .height = 720, .fps_milli = 29'970, .codecs = "avc1.64001f,mp4a.40.2", .nominal = {3'000'000}};
  rung.peak = {3'456'789};
  rung.average = {3'000'001};
  log.rungs = {rung, rung};
  log.rungs[1].info.name = "360p";
  log.rungs[1].active = false;
  for (std::uint64_t i = 0; i < entries; ++i) {
    log_entry e;
    e.msn = 100 + i;
    e.dsn = 1 + (i >= 3);
    e.discontinuity = i == 3;
    e.epoch = std::uint64_t{1} << 60;
    e.edges = 7;
    e.time = noon + i * 2s;
    e.durations = i == 2 ? std::vector<std::int64_t>{180'000, 179'999} : std::vector<std::int64_t>{180'000};
    e.gaps = i == 4 ? 2 : 0;
    log.entries.push_back(e);
  }
  return log;
}

log_page read(const std::string& text) {
  auto page = parse_log_page(text);
  EXPECT_TRUE(page) << page.error().text;
  return page ? *page : log_page{};
}

TEST(LogNews, WhatIsReadIsWhatWasShown) {
  log_news news("b1");
  auto shown = log_of("show", 9);
  shown.instance = std::numeric_limits<std::uint64_t>::max();
  auto ended = log_of("over", 3, 2);
  ended.ended = true;
  stream_log fresh; // announced, and nothing listed yet
  fresh.stream = "soon";
  fresh.target = 4s;
  for (auto& one : {shown, ended, fresh})
    news.add(one);
  auto page = read(news.page({}, noon + 5s));
  EXPECT_EQ(page.next, (news_mark{"b1", 3}));
  EXPECT_TRUE(page.all);
  EXPECT_EQ(page.now, noon + 5s);
  EXPECT_EQ(page.logs, (std::vector{shown, ended, fresh}));
}

TEST(LogNews, TellsOnlyWhatChanged) {
  log_news news("b1");
  EXPECT_TRUE(news.any_after({})) << "also that there is nothing";
  EXPECT_TRUE(read(news.page({}, noon)).logs.empty());
  EXPECT_FALSE(news.any_after({"b1", 0}));
  news.add(log_of("a", 1));
  news.add(log_of("b", 1));
  news.add(log_of("a", 2));
  auto page = read(news.page({"b1", 0}, noon));
  ASSERT_EQ(page.logs.size(), 2u) << "the newest of each";
  EXPECT_EQ(page.logs[0].stream, "b") << "in the order of the changes";
  EXPECT_EQ(page.logs[1].version, 2u);
  EXPECT_FALSE(news.any_after(page.next));
  EXPECT_TRUE(read(news.page(page.next, noon)).logs.empty());
  news.add(log_of("b", 2));
  EXPECT_TRUE(news.any_after(page.next));
  auto next = read(news.page(page.next, noon));
  ASSERT_EQ(next.logs.size(), 1u);
  EXPECT_EQ(next.logs[0].version, 2u);
}

TEST(LogNews, TellsEverythingToWhoReadAnotherStart) {
  log_news news("b2");
  news.add(log_of("a", 1));
  for (news_mark mark : {news_mark{}, news_mark{"b1", 0}, news_mark{"b1", 5000}, news_mark{"b2", 2}}) { // the last one is of nobody that we told it
    EXPECT_TRUE(news.any_after(mark)) << to_string(mark);
    auto page = read(news.page(mark, noon));
    EXPECT_EQ(page.logs.size(), 1u) << to_string(mark);
    EXPECT_EQ(page.next, (news_mark{"b2", 1}));
  }
}

TEST(LogNews, AViewerOfTheFormerInstanceStillHearsItsEnd) {
  log_news news("b1");
  for (std::uint64_t instance : {8, 9, 10, 11}) {
    news.add(log_of("a", 1, 6, instance));
    auto end = log_of("a", 2, 6, instance);
    end.ended = true;
    news.add(end);
  }
  auto page = read(news.page({}, noon));
  ASSERT_EQ(page.logs.size(), 2u);
  EXPECT_EQ(page.logs[0].instance, 10u);
  EXPECT_TRUE(page.logs[0].ended);
  EXPECT_EQ(page.logs[1].instance, 11u);
}

TEST(LogNews, AThousandStreamsComeInPagesAndNoneTwice) {
  log_news news("b1");
  for (int i = 0; i < 1000; ++i)
    news.add(log_of(fmt::format("s{}", i), 1, 30));
  std::set<std::string> seen;
  news_mark at;
  std::size_t pages = 0;
  for (bool all = false; !all; ++pages) {
    auto text = news.page(at, noon);
    EXPECT_LT(text.size(), page_size + 64'000);
    auto page = read(text);
    for (auto& log : page.logs)
      EXPECT_TRUE(seen.insert(log.stream).second) << log.stream;
    if (pages == 1)
      news.add(log_of("s0", 2)); // it changes while it is read
    if (pages == 1)
      seen.erase("s0");
    all = page.all;
    at = page.next;
    ASSERT_LT(pages, 100u);
  }
  EXPECT_EQ(seen.size(), 1000u);
  EXPECT_GT(pages, 4u);
}

TEST(LogNews, MarksAreReadAsTheyAreWritten) {
  for (news_mark mark : {news_mark{}, news_mark{"3f2a-7", 0}, news_mark{"a.b", std::numeric_limits<std::uint64_t>::max()}})
    EXPECT_EQ(parse_news_mark(to_string(mark)).value(), mark);
  for (std::string_view wrong : {"b1", "b1.", ".5", "b1.-1", "b1.5x", "b1.99999999999999999999", "b 1.5", "b1/../x.5"})
    EXPECT_FALSE(parse_news_mark(wrong)) << wrong;
}

TEST(LogNews, RefusesWhatNoPlaylistCanBeMadeOf) {
  auto page_of = [](const stream_log& log) {
    log_news news("b1");
    news.add(log);
    return news.page({}, noon);
  };
  ASSERT_TRUE(parse_log_page(page_of(log_of("show", 1))));
  using change = void (*)(stream_log&);
  const std::pair<const char*, change> wrong[] = {
    {"name", [](stream_log& l) { l.stream = "../show"; }},
    {"no target", [](stream_log& l) { l.target = 0ms; }},
    {"hold-back", [](stream_log& l) { l.hold_back = -1ms; }},
    {"long ago", [](stream_log& l) { l.changed = noon - std::chrono::hours(24 * 365 * 200); }},
    {"no rungs", [](stream_log& l) { l.rungs.clear(); }},
    {"too many rungs", [](stream_log& l) { l.rungs.resize(17, l.rungs[0]); }},
    {"the same rung twice", [](stream_log& l) { l.rungs[1].info.name = "720p"; }},
    {"rung's name", [](stream_log& l) { l.rungs[0].info.name = "a/b"; }},
    {"a quote", [](stream_log& l) { l.rungs[0].info.codecs = "avc1\",X=\""; }},
    {"a line break", [](stream_log& l) { l.rungs[0].info.codecs = "avc1\n#EXT"; }},
    {"rate", [](stream_log& l) { l.rungs[0].average = {-5}; }},
    {"frame rate", [](stream_log& l) { l.rungs[0].info.fps_milli = -5; }},
    {"hole", [](stream_log& l) { l.entries[2].msn = 500; }},
    {"msn", [](stream_log& l) { l.entries = {l.entries[0]}, l.entries[0].msn = std::numeric_limits<std::uint64_t>::max(); }},
    {"dsn falls", [](stream_log& l) { l.entries[5].dsn = 0; }},
    {"dsn below zero", [](stream_log& l) { l.entries = {l.entries[3]}, l.entries[0].dsn = 0; }},
    {"no durations", [](stream_log& l) { l.entries[1].durations.clear(); }},
    {"durations of others", [](stream_log& l) { l.entries[1].durations = {1, 2, 3}; }},
    {"duration", [](stream_log& l) { l.entries[1].durations = {-1}; }},
    {"long duration", [](stream_log& l) { l.entries[1].durations = {std::numeric_limits<std::int64_t>::max()}; }},
  };
  for (auto& [what, spoil] : wrong) {
    auto log = log_of("show", 1);
    spoil(log);
    auto page = parse_log_page(page_of(log));
    ASSERT_FALSE(page) << what;
    EXPECT_EQ(page.error().code, error_code::invalid_input) << what;
  }
}

TEST(LogNews, RefusesWhatIsNoPage) {
  log_news news("b1");
  news.add(log_of("show", 1));
  const auto good = news.page({}, noon);
  ASSERT_TRUE(parse_log_page(good));
  for (std::size_t cut : {std::size_t{0}, std::size_t{5}, good.find('\n'), good.size() / 2, good.size() - 1})
    EXPECT_FALSE(parse_log_page(good.substr(0, cut))) << cut;
  for (std::string_view wrong : {"\n", "[]\n", "{\"boot\":\"\",\"next\":1}\n", "{\"boot\":\"a/b\",\"next\":1}\n", "{\"boot\":\"a\",\"next\":-1}\n", "{\"boot\":\"a\",\"next\":1}\n\n[]\n"})
    EXPECT_FALSE(parse_log_page(wrong)) << wrong;
  EXPECT_FALSE(parse_log_page("{\"boot\":\"a\",\"next\":1,\"all\":false}\n")) << "its reader would ask without end";
  auto endless = good;
  endless.resize(page_limit + 1, ' ');
  EXPECT_EQ(parse_log_page(endless).error().code, error_code::too_large);
}

} // namespace
} // namespace weir::hls::testing
