#include "runtime/base/log.hpp"

#include "runtime/base/file.hpp"

#include <filesystem>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

using namespace weir;

namespace {

struct temporary_folder {
  std::filesystem::path path = [] {
    std::string name = std::filesystem::temp_directory_path() / "weir-log-XXXXXX";
    return std::filesystem::path(mkdtemp(name.data()));
  }();
  ~temporary_folder() { std::filesystem::remove_all(path); }
};

// The log goes to a file while a test runs, back to stderr after it.
class Log : public testing::Test {
protected:
  void open(log::format style, log::level lowest = log::level::info) {
    ASSERT_TRUE(log::configure({lowest, style, folder_.path / "log"}));
  }
  void TearDown() override { ASSERT_TRUE(log::configure({})); }

  std::vector<std::string> lines() {
    std::istringstream in(*read_file(folder_.path / "log", 1 << 20));
    std::vector<std::string> result;
    for (std::string l; std::getline(in, l);)
      result.push_back(l);
    return result;
  }
  temporary_folder folder_;
};

std::string without_time(const std::string& line) { return line.substr(line.find(' ') + 1); }

} // namespace

TEST_F(Log, PrintsComponentEventMessageAndValues) {
  open(log::format::text);
  log::info("node", "task-started", "again after {} s stream={} node={}", 3, "main hall", node_name("worker-1"));
  ASSERT_EQ(lines().size(), 1u);
  EXPECT_EQ(without_time(lines()[0]), R"(info  node task-started again after 3 s stream="main hall" node=worker-1)");
}

TEST_F(Log, WritesJsonThatAParserReads) {
  open(log::format::json);
  log::info("node", "task-ended", "stream={} error={} level={}", "main", error{error_code::hung, "no \"output\"\nfor 10 s"}, 5);
  auto j = nlohmann::json::parse(lines().at(0));
  EXPECT_EQ(j["component"], "node");
  EXPECT_EQ(j["event"], "task-ended");
  EXPECT_EQ(j["level"], "info");
  EXPECT_EQ(j["level_"], "5");
  EXPECT_EQ(j["stream"], "main");
  EXPECT_EQ(j["error"], "no \"output\"\nfor 10 s (hung)");
}

TEST_F(Log, IsJsonInAFileUnlessToldOtherwise) {
  open(log::format::automatic);
  log::info("node", "started", "ready");
  EXPECT_TRUE(nlohmann::json::accept(lines().at(0)));
}

TEST_F(Log, DoesNotLetAValueForgeALineOrAName) {
  open(log::format::text);
  log::info("node", "odd-value", "text={}", "a\n2026-11-22 info forged");
  log::info("node", "odd-separator", "text={} more={}", "a\x1f" "b", 1);
  ASSERT_EQ(lines().size(), 2u);
  EXPECT_EQ(without_time(lines()[0]), R"(info  node odd-value text="a\n2026-11-22 info forged")");
  EXPECT_EQ(lines()[1].find("more="), std::string::npos);
}

TEST_F(Log, RepairsForeignTextThatIsNotUtf8) {
  open(log::format::json);
  log::info("node", "odd-bytes", "text={}", "caf\xe9");
  EXPECT_EQ(nlohmann::json::parse(lines().at(0))["text"], "caf\xef\xbf\xbd");
}

TEST_F(Log, MasksSecretsInEveryValue) {
  open(log::format::text);
  log::info("ingest", "publish-asked", "url={} key={}", "rtmp://h/live/main?key=s3cret", "s3cret");
  EXPECT_EQ(lines().at(0).find("s3cret"), std::string::npos);
}

TEST_F(Log, ChangesItsLevelWhileRunning) {
  open(log::format::text);
  log::debug("node", "detail", "one");
  log::set_level(log::level::debug);
  EXPECT_TRUE(log::enabled(log::level::debug));
  log::debug("node", "detail", "two");
  log::set_level(log::level::info);
  ASSERT_EQ(lines().size(), 1u);
  EXPECT_EQ(without_time(lines()[0]), "debug node detail two");
}

TEST_F(Log, HoldsBackRepetitionsAndSaysHowMany) {
  open(log::format::text);
  for (int i = 0; i < 5; ++i)
    log::warn("node", "comes-again", "n={}", i);
  ASSERT_EQ(lines().size(), 1u);
  log::flush();
  ASSERT_EQ(lines().size(), 2u);
  EXPECT_EQ(without_time(lines()[1]), "warn  node comes-again n=4 repeated=4");
  log::flush();
  EXPECT_EQ(lines().size(), 2u);
}

TEST_F(Log, PrintsEveryLineBelowWarn) {
  open(log::format::text);
  for (int i = 0; i < 5; ++i)
    log::info("node", "goes-on", "n={}", i);
  EXPECT_EQ(lines().size(), 5u);
}

TEST_F(Log, CountsWarningsAndErrorsFromManyThreads) {
  open(log::format::text);
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([] {
      for (int i = 0; i < 100; ++i)
        log::error("store", "write-refused", "n={}", i);
    });
  threads.clear();
  auto all = log::counts();
  auto found = std::find_if(all.begin(), all.end(), [](auto& c) { return c.component == "store" && c.event == "write-refused"; });
  ASSERT_NE(found, all.end());
  EXPECT_EQ(found->lines, 400u);
  EXPECT_EQ(found->severity, log::level::error);
  EXPECT_EQ(lines().size(), 1u);
}

TEST_F(Log, KeepsItsSinkWhenTheNewOneCannotBeOpened) {
  open(log::format::text);
  auto refused = log::configure({log::level::info, log::format::text, "/proc/no/such/file"});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, error_code::io_failed);
  log::info("node", "still-here", "yes");
  EXPECT_EQ(lines().size(), 1u);
}

TEST(Mask, HidesTheValuesOfSecretArguments) {
  EXPECT_EQ(log::mask("rtmp://h/live/main?key=abc&x=1"), "rtmp://h/live/main?key=***&x=1");
  EXPECT_EQ(log::mask("srt://h:9000?streamid=#!::r=a,m=b&latency=3"), "srt://h:9000?streamid=***&latency=3");
  EXPECT_EQ(log::mask("TOKEN=abc def Password=\"x y\" z"), "TOKEN=*** def Password=\"***\" z");
  EXPECT_EQ(log::mask(R"({"key": "a\"b", "keys": "c", "token":"d"})"), R"({"key": "***", "keys": "c", "token":"***"})");
  EXPECT_EQ(log::mask("Authorization: Bearer weir_abc, next"), "Authorization: Bearer *** next");
}

TEST(Mask, HidesTheUserOfAUrl) {
  EXPECT_EQ(log::mask("open 'https://me:pw@host/x' failed"), "open 'https://***@host/x' failed");
  EXPECT_EQ(log::mask("https://host/@me"), "https://host/@me");
}

TEST(Mask, HidesViewingTokensInAddresses) {
  EXPECT_EQ(log::mask("GET /t/1800000000.73337f47.a432b9f15d2141449a218c0d01e455ed/s/main~1/2/r/3.ts HTTP/1.1"), "GET /t/***/s/main~1/2/r/3.ts HTTP/1.1");
  EXPECT_EQ(log::mask("/t/1800000000.73337f47.a432b9f15d2141449a218c0d01e455ed"), "/t/***");
}

TEST(Mask, LeavesOrdinaryTextAlone) {
  for (auto text : {"", "/t/", "/t/abc/s/1.ts", "http://h/t/18", "monkey=1 keyframe=2 a key = b", "key=", "://", "token", "\"key\":1", "the key frame"})
    EXPECT_EQ(log::mask(text), text);
}

TEST(Mask, HidesKnownSecretsWhereverTheyStand) {
  std::vector<std::string> secrets{"live_42_abc", "abc"};
  EXPECT_EQ(log::mask("[rtmp @ 0x1] Cannot open live_42_abc: live_42_abc (abc)", secrets), "[rtmp @ 0x1] Cannot open ***: *** (abc)");
}

TEST(Mask, ShowsOfATargetOnlyServerAndApplication) {
  EXPECT_EQ(log::mask_target("rtmp://a.rtmp.example/live2/abcd-efgh"), "rtmp://a.rtmp.example/live2/***");
  EXPECT_EQ(log::mask_target("rtmps://me:pw@h:443/rtmp/FB-1?s_bl=1&s_sw=2"), "rtmps://***@h:443/rtmp/***");
  EXPECT_EQ(log::mask_target("rtmp://h/app/inst/key"), "rtmp://h/app/***");
  EXPECT_EQ(log::mask_target("rtmp://h/key"), "rtmp://h/***");
  EXPECT_EQ(log::mask_target("rtmp://h?key=1"), "rtmp://h/***");
  EXPECT_EQ(log::mask_target("rtmp://h"), "rtmp://h");
  EXPECT_EQ(log::mask_target("abcd-efgh"), "***");
}
