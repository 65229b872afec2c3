// Low-latency playlists at the desk, as players ask for them over HTTP: each row of hls.md 6 that is the server's to keep.
#include "actors/playlist_desk.hpp"
#include "runtime/http/server.hpp"
#include "tests/unit/http/crowd.hpp"

#include <arpa/inet.h>
#include <ctime>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <libdeflate.h>
#include <netinet/in.h>
#include <set>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

namespace weir::testing {
namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t parts_in_all = 4; ///< of a segment of 4 s

/// The log of a stream whose newest whole segment is `last`, with so many parts of the next.
hls::stream_log log_of(std::uint64_t last, std::uint32_t open_parts, std::chrono::milliseconds part_target = 1s) {
  static std::uint64_t version = 0;
  hls::stream_log log;
  log.stream = "conf";
  log.instance = 1;
  log.version = ++version;
  log.target = 4s;
  log.window = 60s;
  log.hold_back = 12s;
  log.changed = std::chrono::system_clock::now();
  for (auto* name : {"720p", "360p"}) {
    hls::listed_rung rung;
    rung.info = {.name = name, .width = 1280, .height = 720, .fps_milli = 25'000, .codecs = "avc1.64001f,mp4a.40.2", .nominal = {3'000'000}};
    rung.peak = rung.average = {3'000'000};
    log.rungs.push_back(rung);
  }
  for (auto msn = last < 15 ? 0 : last - 15; msn <= last; ++msn) {
    hls::log_entry e;
    e.msn = msn;
    e.epoch = e.map = 7;
    e.edges = 1;
    e.time = timestamp{std::chrono::seconds(1'800'000'000 + 4 * static_cast<std::int64_t>(msn))};
    e.durations = {4 * 90'000};
    log.entries.push_back(e);
  }
  if (part_target == 0ms)
    return log;
  log.part_target = part_target;
  log.parts_version = version;
  const auto add = [&](std::uint64_t msn, std::uint32_t n) { log.parts.push_back({.msn = msn, .part = n, .durations = {90'000}, .independent = n % 2 == 0}); };
  for (auto msn = last - 2; msn <= last; ++msn)
    for (std::uint32_t n = 0; n < parts_in_all; ++n)
      add(msn, n);
  for (std::uint32_t n = 0; n < open_parts; ++n)
    add(last + 1, n);
  log.open = {.msn = last + 1, .epoch = 7, .edges = 1, .map = 7, .time = log.entries.back().time + 4s, .hint_msn = last + 1, .hint_part = open_parts, .hint_edges = 1};
  return log;
}

std::string plain(const std::string& coded) {
  std::string out(1 << 16, '\0');
  std::size_t got = 0;
  auto* decoder = libdeflate_alloc_decompressor();
  auto result = libdeflate_gzip_decompress(decoder, coded.data(), coded.size(), out.data(), out.size(), &got);
  libdeflate_free_decompressor(decoder);
  out.resize(result == LIBDEFLATE_SUCCESS ? got : 0);
  return out;
}

std::uint64_t count(std::string_view text, std::string_view part) {
  std::uint64_t n = 0;
  for (auto at = text.find(part); at != text.npos; at = text.find(part, at + 1))
    ++n;
  return n;
}

class Reload : public ::testing::Test {
public:
  steering::table_history tables;
  std::shared_ptr<playlist_desk> desk;
  std::unique_ptr<http::server> server;
  std::unique_ptr<crowd> viewers;

  void SetUp() override {
    const std::vector<edge_target> edges{{.name = edge_name{"e1"}, .url = "http://e1", .weight_milli = 1000, .capacity_bps = 1'000'000'000}};
    ASSERT_TRUE(tables.add(steering::make_table(1, edges)));
    open(std::make_shared<playlist_desk>(30s));
  }
  void TearDown() override {
    desk->close();
    server->stop(0ms);
  }
  void open(std::shared_ptr<playlist_desk> with) {
    if (server)
      server->stop(0ms);
    desk = std::move(with);
    server = std::make_unique<http::server>(http::server_options{.name = "desk", .listen = "127.0.0.1:0", .threads = 2});
    add_director_routes(*server, desk);
    ASSERT_TRUE(server->start());
    viewers = std::make_unique<crowd>(address());
  }
  std::string address() const { return fmt::format("127.0.0.1:{}", server->port()); }
  /// Shows this stream as DIRECTOR does, or none.
  void show(std::optional<hls::stream_log> log) {
    auto view = std::make_shared<director_view>();
    view->tables = tables;
    view->complete = true;
    if (log) {
      auto stream = std::make_shared<director_view::stream>();
      for (std::size_t i = 0; i < log->rungs.size(); ++i)
        stream->rungs.emplace_back(*log, i);
      stream->log = std::move(*log);
      view->by_address["conf~1"] = view->live["conf"] = std::move(stream);
    }
    desk->show(std::move(view));
  }
  static std::string path(std::string_view query = {}, std::string_view rung = "720p", int bucket = 3) {
    return fmt::format("/p/{}.1/conf~1/{}.m3u8{}{}", bucket, rung, query.empty() ? "" : "?", query);
  }
  http::client_response get(std::string_view query) { return viewers->one(path(query)); }
  bool wait_for(std::size_t requests) const {
    return eventually([&] { return desk->waiting() == requests; });
  }
};

TEST_F(Reload, WhoWindsBackGetsTheWholeWindowAndNoParts) {
  show(log_of(100, 2));
  EXPECT_EQ(viewers->one("/hls/conf/dvr.m3u8").status, 404) << "this one cannot be wound back";
  EXPECT_EQ(viewers->one("/p/3.1.d/conf~1/720p.m3u8").status, 404);
  auto log = log_of(100, 2);
  log.live_window = 40s;
  show(log);
  desk->with_admission([&](auto& admission) { admission.use(tables.newest()); });
  const auto live = viewers->one("/hls/conf/index.m3u8"), all = viewers->one("/hls/conf/dvr.m3u8");
  EXPECT_EQ(live.status, 200);
  EXPECT_EQ(count(live.body, ".d/conf~1/"), 0u);
  EXPECT_EQ(count(all.body, ".d/conf~1/"), 4u) << "two rungs on two pathways";
  EXPECT_EQ(all.headers.find("Cache-Control"), "no-store");
  const auto near = get(""), whole = viewers->one("/p/3.1.d/conf~1/720p.m3u8");
  EXPECT_EQ(count(near.body, "#EXTINF"), 10u);
  EXPECT_GT(count(near.body, "#EXT-X-PART:"), 0u);
  EXPECT_EQ(count(whole.body, "#EXTINF"), 16u);
  EXPECT_EQ(count(whole.body, "PART"), 0u);
  EXPECT_EQ(viewers->one("/p/3.1.d/conf~1/720p.m3u8?_HLS_msn=101&_HLS_part=3").body, whole.body) << "nobody waits for it";
}

/// The same with two key frames in each segment of the first rung.
hls::stream_log with_keys(hls::stream_log log) {
  log.keys_from = log.entries.front().msn;
  log.rungs[0].keys_gone = *log.keys_from * 2;
  log.rungs[0].keys_peak = {100'000};
  for (auto& e : log.entries)
    e.add_keys(0, {{0, 100, 10'000}, {180'000, 200'000, 9'000}});
  return log;
}

TEST_F(Reload, WhoFetchesKeyFramesAloneGetsTheirPlaylist) {
  const std::string iframes = "/p/3.1/conf~1/720p/iframes.m3u8";
  show(log_of(100, 2));
  EXPECT_EQ(viewers->one(iframes).status, 404) << "none are known";
  auto log = with_keys(log_of(100, 2));
  log.live_window = 40s;
  show(log);
  const auto media = get(""), found = viewers->one(iframes), all = viewers->one("/p/3.1.d/conf~1/720p/iframes.m3u8");
  EXPECT_EQ(found.status, 200);
  EXPECT_EQ(found.headers.find("Content-Type"), media.headers.find("Content-Type"));
  EXPECT_EQ(found.headers.find("Cache-Control"), "max-age=1");
  EXPECT_EQ(count(found.body, "#EXT-X-BYTERANGE"), 20u);
  EXPECT_EQ(count(found.body, "http://e1/s/conf~1/7/720p/100.m4s"), 2u) << "at the edge of the segment";
  EXPECT_EQ(count(found.body, "#EXT-X-MEDIA-SEQUENCE:182\n"), 1u);
  EXPECT_EQ(count(all.body, "#EXT-X-BYTERANGE"), 32u);
  EXPECT_EQ(count(all.body, "#EXT-X-MEDIA-SEQUENCE:170\n"), 1u);
  EXPECT_EQ(count(viewers->one("/p/3.1/conf~1/360p/iframes.m3u8").body, "#EXT-X-GAP"), 10u) << "none of this rung";
  for (auto* path : {"/p/3.1/conf~1/none/iframes.m3u8", "/p/3.1/conf~2/720p/iframes.m3u8", "/p/3.1/conf~1/720p/Iframes.m3u8"})
    EXPECT_EQ(viewers->one(path).status, 404) << path;
  // CAN-BLOCK-RELOAD holds for it, too, by its own numbers.
  EXPECT_EQ(viewers->one(iframes + "?_HLS_msn=201").body, found.body);
  EXPECT_EQ(viewers->one(iframes + "?_HLS_msn=201&_HLS_skip=YES").body, found.body) << "there is no delta of it";
  EXPECT_EQ(viewers->one(iframes + "?_HLS_msn=204").status, 400);
  viewers->ask(iframes + "?_HLS_msn=202");
  ASSERT_TRUE(wait_for(1));
  log = with_keys(log_of(101, 0));
  log.live_window = 40s;
  show(log);
  const auto waited = viewers->all();
  ASSERT_EQ(waited.size(), 1u);
  EXPECT_EQ(count(waited[0].body, "http://e1/s/conf~1/7/720p/101.m4s"), 2u);
  EXPECT_EQ(waited[0].headers.find("Cache-Control"), "max-age=1") << "203 came with it: who asks for 202 later gets a newer one";
  EXPECT_EQ(viewers->one(iframes + "?_HLS_msn=203").headers.find("Cache-Control"), "max-age=24");
}

TEST_F(Reload, ASteeringManifestIsNeverKeptAndTheSameWhateverAPlayerSaysOfItself) {
  show(log_of(100, 2));
  const auto first = viewers->one("/steer/3.1/conf");
  EXPECT_EQ(first.body, R"({"VERSION":1,"TTL":30,"PATHWAY-PRIORITY":["edge","backup"]})");
  for (auto* query : {"", "?_HLS_pathway=edge&_HLS_throughput=1", "?_HLS_pathway=%22backup%22&_HLS_throughput=99999999999", "?_HLS_pathway"}) {
    const auto got = viewers->one(fmt::format("/steer/3.1/conf{}", query));
    EXPECT_EQ(got.status, 200) << query;
    EXPECT_EQ(got.body, first.body) << query;
    EXPECT_EQ(got.headers.find("Content-Type"), "application/vnd.apple.steering-list") << query;
    EXPECT_EQ(got.headers.find("Cache-Control"), "no-store") << query;
    EXPECT_EQ(got.headers.find("Access-Control-Allow-Origin"), "*") << query;
  }
}

TEST_F(Reload, WhatIsListedIsAnsweredAtOnceAndWhole) {
  show(log_of(100, 2));
  const auto now = get("");
  EXPECT_EQ(now.status, 200);
  EXPECT_EQ(now.headers.find("Cache-Control"), "max-age=1");
  EXPECT_EQ(count(now.body, "#EXTINF"), 16u);
  for (auto* query : {"_HLS_msn=100", "_HLS_msn=101&_HLS_part=0", "_HLS_msn=101&_HLS_part=1", "_HLS_msn=100&_HLS_part=3", "_HLS_msn=100&_HLS_part=4294967296",
                      "x=1&_HLS_msn=100&_HLS_other=y"}) {
    const auto got = get(query);
    EXPECT_EQ(got.status, 200) << query;
    EXPECT_EQ(got.body, now.body) << query;
    EXPECT_EQ(got.headers.find("Cache-Control"), "max-age=24") << query;
  }
  // Older than the window, or nearly: the current playlist, which is another one each time.
  for (auto* query : {"_HLS_msn=0", "_HLS_msn=3&_HLS_part=9", "_HLS_msn=99"}) {
    EXPECT_EQ(get(query).body, now.body) << query;
    EXPECT_EQ(get(query).headers.find("Cache-Control"), "max-age=1") << query;
  }
  EXPECT_EQ(desk->counts().waited.load(), 0u);
}

TEST_F(Reload, WaitsForTheNextPartAndIsAnsweredOnceWhenItIsListed) {
  show(log_of(100, 2));
  for (int bucket = 0; bucket < 30; ++bucket)
    viewers->ask(path("_HLS_msn=101&_HLS_part=2", bucket % 2 ? "720p" : "360p", bucket));
  crowd later(address());
  later.ask(path("_HLS_msn=101"));
  later.ask(path("_HLS_msn=102&_HLS_part=0"));
  later.ask(path("_HLS_msn=101&_HLS_part=4")); // behind the last of its segment: the first of the next
  ASSERT_TRUE(wait_for(33));
  show(log_of(100, 2)); // another version says nothing new
  EXPECT_EQ(desk->waiting(), 33u);
  EXPECT_EQ(viewers->answered(), 0);
  show(log_of(100, 3));
  for (auto& got : viewers->all()) {
    EXPECT_EQ(got.status, 200);
    EXPECT_NE(got.body.find("/101.2.m4s"), std::string::npos);
    EXPECT_EQ(got.headers.find("Cache-Control"), "max-age=24");
    EXPECT_EQ(got.headers.find("Access-Control-Allow-Origin"), "*");
  }
  EXPECT_EQ(desk->waiting(), 3u);
  show(log_of(100, 4));
  EXPECT_EQ(desk->waiting(), 3u);
  show(log_of(101, 0));
  ASSERT_TRUE(wait_for(2));
  show(log_of(101, 1));
  EXPECT_EQ(later.all().size(), 3u);
  EXPECT_EQ(desk->waiting(), 0u);
  EXPECT_EQ(desk->counts().waited.load(), 33u);
  EXPECT_EQ(desk->counts().playlists.load(), 33u) << "each was answered once";
}

TEST_F(Reload, AnswersSayWhenTheyWereMadeAndNothingOlder) {
  show(log_of(100, 2));
  desk->with_admission([&](auto& admission) { admission.use(tables.newest()); });
  auto said = [](const http::client_response& got) { return std::string(got.headers.find("Date").value_or("no date")); };
  auto fresh = [&](const http::client_response& got) {
    std::tm when{};
    EXPECT_NE(strptime(said(got).c_str(), "%a, %d %b %Y %H:%M:%S GMT", &when), nullptr) << said(got);
    EXPECT_NEAR(static_cast<double>(timegm(&when)), static_cast<double>(std::time(nullptr)), 12.0) << "three target durations";
    EXPECT_FALSE(got.headers.find("Last-Modified")) << "some players refuse what is older than that";
  };
  for (auto* at : {"/hls/conf/index.m3u8", "/p/3.1/conf~1/720p.m3u8", "/p/3.1/conf~1/720p.m3u8?_HLS_msn=100", "/steer/3.1/conf"}) {
    const auto got = viewers->one(at);
    EXPECT_EQ(got.status, 200) << at;
    fresh(got);
  }
  viewers->ask(path("_HLS_msn=101&_HLS_part=2"));
  ASSERT_TRUE(wait_for(1));
  show(log_of(100, 3));
  fresh(viewers->all().front());
}

TEST_F(Reload, RefusesWhatCannotBeAskedFor) {
  show(log_of(100, 2));
  for (auto* query : {"_HLS_part=1", "_HLS_msn=x", "_HLS_msn=", "_HLS_msn=-1", "_HLS_msn=1e2", "_HLS_msn=99999999999999999999", "_HLS_msn=101&_HLS_part=",
                      "_HLS_msn=101&_HLS_part=1x", "_HLS_msn=103", "_HLS_msn=18446744073709551615&_HLS_part=0", "_HLS_msn=101&_HLS_part=5", "_HLS_msn=102&_HLS_part=3"}) {
    const auto got = get(query);
    EXPECT_EQ(got.status, 400) << query;
    EXPECT_EQ(got.headers.find("Access-Control-Allow-Origin"), "*") << query;
  }
  crowd ahead(address());
  ahead.ask(path("_HLS_msn=101&_HLS_part=4"));
  ahead.ask(path("_HLS_msn=102&_HLS_part=2"));
  ahead.ask(path("_HLS_msn=102"));
  EXPECT_TRUE(wait_for(3)) << "as far ahead as may be";
  show(log_of(100, 2, 333ms)); // three seconds of parts are ten of them
  EXPECT_EQ(get("_HLS_msn=101&_HLS_part=12").status, 400);
  ahead.ask(path("_HLS_msn=101&_HLS_part=11"));
  EXPECT_TRUE(wait_for(4));
}

TEST_F(Reload, NumbersSayNothingToAPlaylistThatIsNotLowLatencyOrIsOver) {
  show(log_of(100, 0, 0ms));
  const auto now = get("");
  for (auto* query : {"_HLS_part=1", "_HLS_msn=x", "_HLS_msn=500", "_HLS_msn=101&_HLS_part=0&_HLS_skip=YES"}) {
    EXPECT_EQ(get(query).body, now.body) << query;
    EXPECT_EQ(get(query).headers.find("Cache-Control"), "max-age=1");
  }
  show(log_of(100, 2));
  viewers->ask(path("_HLS_msn=102"));
  ASSERT_TRUE(wait_for(1));
  auto over = log_of(101, 0);
  over.ended = true;
  over.open = {};
  show(over);
  EXPECT_NE(viewers->all().front().body.find("#EXT-X-ENDLIST"), std::string::npos) << "who waits for what never comes hears that it is over";
  for (auto* query : {"_HLS_part=1", "_HLS_msn=x", "_HLS_msn=500", "_HLS_msn=102&_HLS_part=0&_HLS_skip=YES"})
    EXPECT_EQ(get(query).body, get("").body) << query;
}

TEST_F(Reload, NobodyWaitsLongerThanThreeTargetDurations) {
  show(log_of(100, 2));
  viewers->ask(path("_HLS_msn=101"));
  ASSERT_TRUE(wait_for(1));
  const auto now = std::chrono::steady_clock::now();
  desk->expire(now + 11s);
  EXPECT_EQ(desk->waiting(), 1u);
  desk->expire(now + 13s);
  const auto got = viewers->all().front();
  EXPECT_EQ(got.status, 503);
  EXPECT_EQ(got.headers.find("Retry-After"), "1");
  EXPECT_EQ(got.headers.find("Access-Control-Allow-Origin"), "*");
  EXPECT_EQ(desk->waiting(), 0u);
  EXPECT_EQ(desk->counts().late.load(), 1u);
}

TEST_F(Reload, WhoWaitsForAStreamThatIsGoneHearsOfIt) {
  show(log_of(100, 2));
  viewers->ask(path("_HLS_msn=101"));
  ASSERT_TRUE(wait_for(1));
  show(std::nullopt);
  EXPECT_EQ(viewers->all().front().status, 404);
  EXPECT_EQ(get("_HLS_msn=101").status, 404);
}

TEST_F(Reload, AnOriginThatFallsSilentIsNoReasonToWait) {
  auto old = log_of(100, 2);
  old.changed -= 7s;
  show(old);
  EXPECT_EQ(get("_HLS_msn=101").status, 503);
  EXPECT_EQ(desk->waiting(), 0u);
}

TEST_F(Reload, ThereIsRoomForSoManyAndWhoLeavesLeavesIt) {
  open(std::make_shared<playlist_desk>(30s, steering::join_options{}, "", nullptr, http::address_list{}, 2));
  show(log_of(100, 2));
  viewers->ask(path("_HLS_msn=101"));
  // Another one who has gone when its answer comes.
  const int gone = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(server->port());
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(connect(gone, reinterpret_cast<const sockaddr*>(&to), sizeof to), 0);
  const auto question = fmt::format("HEAD {} HTTP/1.1\r\nHost: x\r\n\r\n", path("_HLS_msn=101"));
  ASSERT_EQ(send(gone, question.data(), question.size(), MSG_NOSIGNAL), static_cast<ssize_t>(question.size()));
  ASSERT_TRUE(wait_for(2));
  close(gone);
  crowd third(address());
  const auto refused = third.one(path("_HLS_msn=101"));
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.headers.find("Retry-After"), "1");
  EXPECT_EQ(third.one(path("_HLS_msn=100")).status, 200) << "who need not wait needs no room";
  EXPECT_EQ(desk->counts().crowded.load(), 1u);
  show(log_of(101, 0));
  EXPECT_EQ(viewers->all().front().status, 200);
  EXPECT_EQ(desk->waiting(), 0u);
  EXPECT_TRUE(eventually([&] { return server->counters().active == 2; })) << "the connections of the two that are there";
}

TEST_F(Reload, HeadWaitsToo) {
  show(log_of(100, 2));
  viewers->ask(path("_HLS_msn=101"), {}, "HEAD");
  ASSERT_TRUE(wait_for(1));
  show(log_of(101, 0));
  const auto got = viewers->all().front();
  EXPECT_EQ(got.status, 200);
  EXPECT_TRUE(got.body.empty());
  EXPECT_EQ(got.headers.find("Content-Length"), fmt::format("{}", get("").body.size()));
}

TEST_F(Reload, GivesADeltaToWhoAsksForOne) {
  show(log_of(100, 2));
  const auto whole = get("").body;
  for (auto* query : {"_HLS_skip=YES", "_HLS_skip=v2", "_HLS_msn=100&_HLS_skip=YES"}) {
    const auto delta = get(query);
    EXPECT_EQ(count(delta.body, "#EXT-X-SKIP:SKIPPED-SEGMENTS="), 1u) << query;
    EXPECT_LT(count(delta.body, "#EXTINF"), 16u);
    EXPECT_EQ(whole.substr(whole.size() - 500), delta.body.substr(delta.body.size() - 500));
  }
  EXPECT_EQ(get("_HLS_skip=YES").headers.find("Cache-Control"), "max-age=1");
  EXPECT_EQ(get("_HLS_skip=NO").body, whole);
  viewers->ask(path("_HLS_msn=101&_HLS_part=2&_HLS_skip=YES"));
  ASSERT_TRUE(wait_for(1));
  show(log_of(100, 3));
  const auto waited = viewers->all().front().body;
  EXPECT_EQ(count(waited, "#EXT-X-SKIP:SKIPPED-SEGMENTS="), 1u);
  EXPECT_EQ(count(waited, "/101.2.m4s\""), 1u);
}

TEST_F(Reload, CodesWhatWasWaitedForAsAnyOther) {
  show(log_of(100, 2));
  http::header_list coded;
  coded.add("Accept-Encoding", "gzip");
  viewers->ask(path("_HLS_msn=101&_HLS_part=2"), coded);
  viewers->ask(path("_HLS_msn=101&_HLS_part=2&_HLS_skip=YES"), coded);
  ASSERT_TRUE(wait_for(2));
  show(log_of(100, 3));
  std::set<std::string> texts;
  for (auto& got : viewers->all()) {
    EXPECT_EQ(got.headers.find("Content-Encoding"), "gzip");
    EXPECT_EQ(got.headers.find("Vary"), "Accept-Encoding");
    EXPECT_EQ(got.headers.find("Content-Type"), "application/vnd.apple.mpegurl");
    texts.insert(plain(got.body));
  }
  EXPECT_EQ(texts, (std::set<std::string>{get("").body, get("_HLS_skip=YES").body}));
}

TEST_F(Reload, ATokenIsJudgedAgainWhenTheAnswerIsThere) {
  const auto key = viewing::key_of("0123456789abcdefghijklmnopqrstuv");
  auto gate = std::make_shared<viewing::gate>();
  gate->use(viewing::with_version({.version = 0, .keys = {key}, .signed_only = {"conf"}}));
  open(std::make_shared<playlist_desk>(30s, steering::join_options{}, "", gate));
  show(log_of(100, 2));
  const auto prefix = "/t/" + viewing::make_token(key, "conf", 4'000'000'000);
  EXPECT_EQ(get("_HLS_msn=101").status, 403) << "it does not even wait";
  viewers->ask(prefix + path("_HLS_msn=101&_HLS_part=2"));
  ASSERT_TRUE(wait_for(1));
  show(log_of(100, 3));
  const auto good = viewers->all().front();
  EXPECT_EQ(good.status, 200);
  EXPECT_NE(good.body.find("http://e1" + prefix + "/s/conf~1/7/720p/101.2.m4s"), std::string::npos);
  viewers->ask(prefix + path("_HLS_msn=101&_HLS_part=3"));
  ASSERT_TRUE(wait_for(1));
  gate->use(viewing::with_version({.version = 0, .keys = {viewing::key_of("another-secret-of-thirty-two-and-more")}, .signed_only = {"conf"}}));
  show(log_of(100, 4));
  EXPECT_EQ(viewers->all().front().status, 403);
}

TEST_F(Reload, ADirectorThatStopsLeavesNobodyWaiting) {
  show(log_of(100, 2));
  for (int i = 0; i < 5; ++i)
    viewers->ask(path("_HLS_msn=101"));
  ASSERT_TRUE(wait_for(5));
  desk->close();
  for (auto& got : viewers->all())
    EXPECT_EQ(got.status, 503);
  EXPECT_EQ(get("_HLS_msn=101").status, 503) << "and nobody begins to";
}

TEST_F(Reload, NobodyIsMissedWhilePartsComeAndViewersAsk) {
  show(log_of(100, 0));
  std::atomic<std::uint64_t> listed{0};
  std::jthread parts([&](const std::stop_token& end) {
    for (std::uint64_t n = 1; !end.stop_requested(); ++n) {
      show(log_of(100 + n / 4, static_cast<std::uint32_t>(n % 4)));
      listed = n;
      std::this_thread::sleep_for(1ms);
    }
  });
  // Each asks for the part that comes next: either it is there when the question arrives, or its listing answers it.
  for (int round = 0; round < 300; ++round) {
    const auto next = listed + 1;
    viewers->ask(path(fmt::format("_HLS_msn={}&_HLS_part={}", 101 + next / 4, next % 4), "720p", round));
    if (round % 10 != 9)
      continue;
    for (auto& got : viewers->all())
      ASSERT_EQ(got.status, 200) << got.body;
  }
}

} // namespace
} // namespace weir::testing
