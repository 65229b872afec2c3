#include "actors/director.hpp"
#include "runtime/hls/addresses.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <libdeflate.h>
#include <set>

namespace weir::testing {
namespace {

using namespace std::chrono_literals;

edge_table table(edge_epoch epoch, std::vector<std::string> names) {
  std::vector<edge_target> edges;
  for (auto& n : names)
    edges.push_back({.name = edge_name{n}, .url = "http://" + n, .weight_milli = 1000, .capacity_bps = 1'000'000});
  return steering::make_table(epoch, edges);
}

hls::stream_log log_of(std::uint64_t version, std::uint64_t entries, edge_epoch stamp, std::uint64_t instance = 1) {
  hls::stream_log log;
  log.stream = "conf";
  log.instance = instance;
  log.version = version;
  log.target = 4s;
  log.window = 60s;
  log.hold_back = 12s;
  log.changed = std::chrono::system_clock::now();
  hls::listed_rung rung;
  rung.info = {.name = "720p", .width = 1280, .height = 720, .fps_milli = 25'000, .codecs = "avc1.64001f,mp4a.40.2", .nominal = {3'000'000}};
  rung.peak = rung.average = {3'000'000};
  log.rungs = {rung};
  for (std::uint64_t i = 0; i < entries; ++i) {
    hls::log_entry e;
    e.msn = i;
    e.epoch = 7;
    e.edges = stamp;
    e.time = log.changed - std::chrono::seconds(4 * (entries - i));
    e.durations = {4 * 90'000};
    log.entries.push_back(e);
  }
  return log;
}

class Director : public ::testing::Test {
public:
  director_state state;
  std::shared_ptr<playlist_desk> desk = std::make_shared<playlist_desk>(30s);
  director_state::time_point now{std::chrono::hours(1)};

  Director() {
    state.desk = desk;
    state.watching.answered = true; // the coordinator has been heard
  }
  void show() {
    desk->show(state.view());
    if (state.tables.newest())
      desk->with_admission([&](auto& a) { a.use(state.tables.newest()); });
  }
  std::string extra; ///< header lines of the last answer
  std::pair<int, std::string> get(std::string_view path, std::string_view accepts = {}) {
    const http::fast_request::field field{"Accept-Encoding", accepts};
    http::fast_request r;
    r.path = path;
    if (!accepts.empty())
      r.fields = {&field, 1};
    http::fast_answer a;
    bool known = path.starts_with("/p/") ? desk->answer_media(r, a) : path.starts_with("/hls/") ? desk->answer_multivariant(r, a) : desk->answer_steering(r, a);
    EXPECT_TRUE(known);
    std::string text;
    for (auto piece : a.pieces())
      text += piece;
    extra = a.extra;
    return {a.status, text};
  }
};

std::string plain(const std::string& coded) {
  std::string out(1 << 16, '\0');
  std::size_t got = 0;
  auto* decoder = libdeflate_alloc_decompressor();
  auto result = libdeflate_gzip_decompress(decoder, coded.data(), coded.size(), out.data(), out.size(), &got);
  libdeflate_free_decompressor(decoder);
  out.resize(result == LIBDEFLATE_SUCCESS ? got : 0);
  return out;
}

TEST_F(Director, AnswersNothingForAStreamThatIsNotLive) {
  state.watching.answered = false;
  show();
  EXPECT_EQ(get("/hls/conf/index.m3u8").first, 503) << "it may be there: nothing was heard yet";
  EXPECT_EQ(get("/p/1.0/conf~1/720p.m3u8").first, 503);
  state.watching.answered = true;
  desk->show(state.view());
  EXPECT_EQ(get("/hls/conf/index.m3u8").first, 404);
  EXPECT_EQ(get("/p/1.0/conf~1/720p.m3u8").first, 404);
}

TEST_F(Director, GivesEachViewerAnEdgeAndABackup) {
  ASSERT_TRUE(state.tables.add(table(1, {"a", "b"})));
  state.take(log_of(1, 6, 1), now);
  show();
  auto [status, text] = get("/hls/conf/index.m3u8");
  ASSERT_EQ(status, 200);
  EXPECT_NE(text.find("PATHWAY-ID=\"backup\""), std::string::npos);
  for (std::uint32_t bucket : {0u, 1u, 500u, 1023u}) {
    auto main = get(hls::path_of(hls::playlist_address{{bucket, 1, false}, "conf", 1, "720p"}));
    auto spare = get(hls::path_of(hls::playlist_address{{bucket, 1, true}, "conf", 1, "720p"}));
    ASSERT_EQ(main.first, 200);
    bool on_a = main.second.find("http://a/s/") != std::string::npos;
    EXPECT_NE(on_a, main.second.find("http://b/s/") != std::string::npos) << "one edge for all entries";
    EXPECT_NE(on_a, spare.second.find("http://a/s/") != std::string::npos) << "the backup is the other one";
  }
}

TEST_F(Director, CodesPlaylistsForWhoTakesThem) {
  ASSERT_TRUE(state.tables.add(table(1, {"a", "b"})));
  ASSERT_TRUE(state.tables.add(table(2, {"b", "c"})));
  auto log = log_of(1, 12, 1);
  for (std::size_t i = 6; i < log.entries.size(); ++i)
    log.entries[i].edges = 2;
  state.take(log, now);
  show();
  std::set<std::string> seen;
  for (int round = 0; round < 2; ++round) // the second one is answered from what the first one made
    for (unsigned bucket = 0; bucket < 1024; bucket += 64)
      for (bool backup : {false, true}) {
        auto path = hls::path_of(hls::playlist_address{{bucket, 1, backup}, "conf", 1, "720p"});
        auto text = get(path).second;
        EXPECT_EQ(extra, "Vary: Accept-Encoding\r\n");
        auto coded = get(path, "gzip, deflate").second;
        EXPECT_EQ(extra, "Vary: Accept-Encoding\r\nContent-Encoding: gzip\r\n");
        EXPECT_EQ(plain(coded), text) << path;
        seen.insert(coded);
      }
  EXPECT_GE(seen.size(), 3u) << "viewers of other edges get other playlists";
  EXPECT_NE(plain(get("/hls/conf/index.m3u8", "gzip").second).find("#EXTM3U"), std::string::npos);
}

TEST_F(Director, AnAddressOnceListedNeverChanges) {
  ASSERT_TRUE(state.tables.add(table(1, {"a", "b"})));
  state.take(log_of(1, 6, 1), now);
  show();
  auto before = get("/p/17.1/conf~1/720p.m3u8").second;
  ASSERT_TRUE(state.tables.add(table(2, {"b"}))); // a is dead
  show();
  EXPECT_EQ(get("/p/17.1/conf~1/720p.m3u8").second, before);
  auto grown = log_of(2, 6, 1);
  grown.entries.push_back(grown.entries.back());
  grown.entries.back().msn = 6;
  grown.entries.back().edges = 2;
  state.take(grown, now);
  show();
  auto after = get("/p/17.1/conf~1/720p.m3u8").second;
  EXPECT_NE(after.find("http://b/s/conf~1/7/720p/6.ts"), std::string::npos) << "the new entry is on a living edge";
  for (int msn = 0; msn < 6; ++msn) {
    auto name = fmt::format("/s/conf~1/7/720p/{}.ts", msn);
    auto line = before.substr(before.rfind("http", before.find(name)), 20);
    EXPECT_NE(after.find(line), std::string::npos);
  }
}

TEST_F(Director, HoldsALogThatNamesAnEdgeSetWhichIsNotHereYet) {
  ASSERT_TRUE(state.tables.add(table(1, {"a"})));
  EXPECT_TRUE(state.knows_edges_of(log_of(1, 6, 1)));
  EXPECT_FALSE(state.knows_edges_of(log_of(1, 6, 2)));
  ASSERT_TRUE(state.tables.add(table(2, {"a"})));
  EXPECT_TRUE(state.knows_edges_of(log_of(1, 6, 2)));
}

TEST_F(Director, CountsTheViewersThatATableMovesButNotThoseOfFormerTables) {
  state.watching.answered = false; // the coordinator tells what it has
  ASSERT_TRUE(state.take(table(1, {"a", "b"})));
  ASSERT_TRUE(state.take(table(2, {"a"})));
  EXPECT_EQ(state.moves.edge_left, 0u);
  state.watching.answered = true;
  auto both = table(3, {"a", "c"});
  auto to_c = static_cast<std::uint64_t>(std::ranges::count(both.primary, 1));
  ASSERT_TRUE(state.take(both));
  EXPECT_EQ(state.moves.edge_joined, to_c);
  ASSERT_TRUE(state.take(table(4, {"c"})));
  EXPECT_EQ(state.moves.edge_left, 1024 - to_c);
  EXPECT_EQ(state.moves.weights, 0u);
}

TEST_F(Director, AnOlderLogNeverReplacesANewerOne) {
  EXPECT_TRUE(state.take(log_of(5, 6, 0), now));
  EXPECT_FALSE(state.take(log_of(4, 3, 0), now));
  EXPECT_EQ(state.view()->by_address.at("conf~1")->log.entries.size(), 6u);
}

TEST_F(Director, NewViewersGetTheNewestInstanceAndOldOnesKeepTheirs) {
  state.take(log_of(1, 6, 0, 1), now);
  state.take(log_of(1, 6, 0, 2), now);
  auto view = state.view();
  EXPECT_EQ(view->live.at("conf")->log.instance, 2u);
  EXPECT_TRUE(view->by_address.contains("conf~1"));
  EXPECT_FALSE(state.forget(now + 9min));
  EXPECT_TRUE(state.forget(now + 11min));
  EXPECT_FALSE(state.view()->by_address.contains("conf~1"));
}

TEST_F(Director, AnEndedStreamTakesNoNewViewersButIsServedToTheEnd) {
  auto log = log_of(9, 6, 0);
  log.ended = true;
  state.take(log, now);
  show();
  EXPECT_EQ(get("/hls/conf/index.m3u8").first, 404);
  auto [status, text] = get("/p/1.0/conf~1/720p.m3u8");
  EXPECT_EQ(status, 200);
  EXPECT_NE(text.find("#EXT-X-ENDLIST"), std::string::npos);
}

TEST_F(Director, SaysThatTheOriginIsSilentRatherThanServeAnOldPlaylist) {
  auto log = log_of(1, 6, 0);
  log.changed -= 7s; // 1.5 target durations are 6 s
  state.take(log, now);
  show();
  EXPECT_EQ(get("/p/1.0/conf~1/720p.m3u8").first, 503);
}

TEST_F(Director, ForgetsEdgeSetsThatNoListedEntryNames) {
  for (edge_epoch e = 1; e <= 50; ++e)
    ASSERT_TRUE(state.tables.add(table(e, {"a", "b"})));
  state.take(log_of(1, 6, 48), now);
  state.forget(now);
  EXPECT_LE(state.tables.size(), 4u);
  EXPECT_NE(state.tables.edge(48, 3, false), nullptr);
}

} // namespace
} // namespace weir::testing
