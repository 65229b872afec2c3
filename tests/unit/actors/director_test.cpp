#include "actors/director.hpp"
#include "runtime/hls/addresses.hpp"
#include "tests/unit/actors/cast.hpp"
#include "tests/unit/actors/virtual_time.hpp"

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
  std::shared_ptr<playlist_desk> desk = std::make_shared<playlist_desk>(30s, steering::join_options{}, "http://origin");
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
  /// What the coordinator says each second.
  void hear(const std::map<std::string, edge_phase>& phases, edge_epoch oldest_table = 0) {
    edge_list list;
    list.oldest_table = oldest_table;
    for (auto& [name, phase] : phases) {
      list.edges.emplace_back();
      list.edges.back().spec.name = edge_name{name};
      list.edges.back().phase = phase;
    }
    state.take(list);
    show();
  }
  static std::string steering_path(std::uint32_t bucket, edge_epoch joined) { return hls::path_of(hls::steering_address{{bucket, joined, false}, "conf"}); }
  static std::uint32_t bucket_of(const edge_table& t, std::string_view edge) {
    for (std::uint32_t b = 0;; ++b)
      if (t.edges.at(t.primary.at(b)).name.value == edge)
        return b;
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

TEST_F(Director, AnEntryListedBeforeTheFirstEdgeKeepsItsAddress) {
  auto log = log_of(1, 6, 0);
  state.take(log, now);
  show();
  EXPECT_NE(get("/hls/conf/index.m3u8").second.find(".0/conf~1/"), std::string::npos) << "viewers join the epoch without edges";
  auto before = get("/p/17.0/conf~1/720p.m3u8").second;
  EXPECT_NE(before.find("\nhttp://origin/s/conf~1/7/720p/5.ts\n"), std::string::npos) << "whole, as the later ones will be: players know no entry without host beside them";
  ASSERT_TRUE(state.take(table(1, {"a"})));
  show();
  EXPECT_EQ(get("/p/17.0/conf~1/720p.m3u8").second, before);
  log.version = 2;
  log.entries.push_back(log.entries.back());
  log.entries.back().msn = 6;
  log.entries.back().edges = 1;
  state.take(log, now);
  show();
  auto after = get("/p/17.0/conf~1/720p.m3u8").second;
  for (int msn = 0; msn < 6; ++msn)
    EXPECT_NE(after.find(fmt::format("\nhttp://origin/s/conf~1/7/720p/{}.ts\n", msn)), std::string::npos) << msn;
  EXPECT_NE(after.find("\nhttp://a/s/conf~1/7/720p/6.ts\n"), std::string::npos);
}

TEST_F(Director, WithoutAnOriginBesideItNobodyGetsInBeforeTheFirstEdge) {
  desk = std::make_shared<playlist_desk>(30s);
  state.take(log_of(1, 6, 0), now);
  show();
  EXPECT_EQ(get("/hls/conf/index.m3u8").first, 503);
  EXPECT_EQ(extra, "Retry-After: 1\r\n");
  EXPECT_NE(get("/p/17.0/conf~1/720p.m3u8").first, 200) << "there is no address to give";
  ASSERT_TRUE(state.take(table(1, {"a"})));
  show();
  EXPECT_EQ(get("/hls/conf/index.m3u8").first, 200);
  EXPECT_EQ(get("/p/17.1/conf~1/720p.m3u8").first, 200);
}

TEST_F(Director, SaysThatAnEdgeSetIsForgottenRatherThanGiveAnotherAddress) {
  ASSERT_TRUE(state.take(table(7, {"a", "b"}))); // the coordinator keeps no older ones
  state.take(log_of(1, 6, 3), now);
  show();
  EXPECT_EQ(get("/p/17.3/conf~1/720p.m3u8").first, 410);
  EXPECT_EQ(get("/p/17.7/conf~1/720p.m3u8").first, 200) << "whoever loads the stream anew joins the newest one";
  state.watching.answered = false;
  show();
  EXPECT_EQ(get("/p/17.3/conf~1/720p.m3u8").first, 503) << "the older ones may be on their way";
}

TEST_F(Director, AViewerOfANearlyFullFarmGetsTheTwoCheapestRungs) {
  ASSERT_TRUE(state.take(table(1, {"a"}))); // of 1 Mbit/s
  auto log = log_of(1, 6, 1);
  for (auto [name, rate] : {std::pair{"360p", 800'000}, std::pair{"1080p", 6'000'000}, std::pair{"180p", 300'000}}) {
    log.rungs.push_back(log.rungs.front());
    log.rungs.back().info.name = name;
    log.rungs.back().peak = log.rungs.back().average = {rate};
  }
  state.take(log, now);
  show();
  auto load = [&](std::uint64_t sequence, std::int64_t bps) { desk->with_admission([&](auto& a) { a.report(edge_name{"a"}, sequence, bps); }); };
  auto offered = [&] {
    std::set<std::string> names;
    auto text = get("/hls/conf/index.m3u8").second;
    for (auto name : {"180p", "360p", "720p", "1080p"})
      if (text.find(fmt::format("/{}.m3u8", name)) != std::string::npos)
        names.insert(name);
    return names;
  };
  desk = std::make_shared<playlist_desk>(30s, steering::join_options{.viewer_bps = 1000});
  show();
  load(1, 500'000);
  EXPECT_EQ(offered(), (std::set<std::string>{"180p", "360p", "720p", "1080p"}));
  load(2, 970'000);
  EXPECT_EQ(offered(), (std::set<std::string>{"180p", "360p"}));
  auto few = get("/hls/conf/index.m3u8").second;
  EXPECT_EQ(few.find("#EXT-X-STREAM-INF"), few.find("#EXT-X-STREAM-INF:BANDWIDTH=800000,")) << "the one nearest to 2000 kbit/s first";
  load(3, 1'100'000);
  EXPECT_EQ(get("/hls/conf/index.m3u8"), (std::pair<int, std::string>{503, "all edges are full; please try again in a moment\n"}));
  EXPECT_EQ(extra, "Retry-After: 5\r\nWeir-Reason: full\r\n");
  EXPECT_EQ(desk->counts().refused_joins.load(), 1u);
  load(4, 500'000);
  EXPECT_EQ(get("/hls/conf/index.m3u8").first, 200);
}

TEST_F(Director, SteeringPrefersTheBackupWhileItsEdgeIsUnwell) {
  auto first = table(1, {"a", "b", "c"});
  ASSERT_TRUE(state.take(first));
  state.take(log_of(1, 6, 1), now);
  hear({{"a", edge_phase::serving}, {"b", edge_phase::serving}, {"c", edge_phase::serving}});
  const auto bucket = bucket_of(first, "a");
  const auto path = steering_path(bucket, 1);
  const auto backup = first.edges.at(first.backup.at(bucket)).name.value, third = std::string(backup == "b" ? "c" : "b");
  const auto well = fmt::format(R"({{"VERSION":1,"TTL":30,"RELOAD-URI":"{}","PATHWAY-PRIORITY":["edge","backup"]}})", path);
  const auto unwell = fmt::format(R"({{"VERSION":1,"TTL":10,"RELOAD-URI":"{}","PATHWAY-PRIORITY":["backup","edge"]}})", path);
  const auto no_better = fmt::format(R"({{"VERSION":1,"TTL":10,"RELOAD-URI":"{}","PATHWAY-PRIORITY":["edge","backup"]}})", path);
  EXPECT_EQ(get(path), std::pair(200, well));
  for (auto phase : {edge_phase::suspect, edge_phase::dead, edge_phase::draining}) {
    hear({{"a", phase}, {"b", edge_phase::serving}, {"c", edge_phase::serving}});
    EXPECT_EQ(get(path), std::pair(200, unwell)) << to_string(phase);
  }
  hear({{"b", edge_phase::serving}, {"c", edge_phase::serving}});
  EXPECT_EQ(get(path), std::pair(200, unwell)) << "it was removed";
  hear({{"a", edge_phase::dead}, {backup, edge_phase::dead}, {third, edge_phase::serving}});
  EXPECT_EQ(get(path), std::pair(200, no_better));
  hear({{"a", edge_phase::serving}, {backup, edge_phase::suspect}, {third, edge_phase::serving}});
  EXPECT_EQ(get(path), std::pair(200, no_better));
  hear({{"a", edge_phase::serving}, {backup, edge_phase::serving}, {third, edge_phase::dead}});
  EXPECT_EQ(get(path), std::pair(200, well)) << "another viewer's edge";
  hear({{"a", edge_phase::starting}, {"b", edge_phase::starting}, {"c", edge_phase::starting}});
  EXPECT_EQ(get(path), std::pair(200, well)) << "a coordinator that has only just started knows nothing bad of them";

  // The dead edge is out of the table: once what may still be to fetch is elsewhere, its pathway is as good as the other.
  ASSERT_TRUE(state.take(steering::make_table(2, {first.edges[1], first.edges[2]}, &first)));
  auto log = log_of(2, 9, 1);
  for (std::size_t i = 6; i < 9; ++i)
    log.entries[i].edges = i == 6 ? 1 : 2;
  state.take(log, now);
  hear({{"a", edge_phase::dead}, {"b", edge_phase::serving}, {"c", edge_phase::serving}});
  EXPECT_EQ(get(path), std::pair(200, unwell));
  log.version = 3;
  log.entries[6].edges = 2;
  state.take(log, now);
  show();
  EXPECT_EQ(get(path), std::pair(200, well));
}

TEST_F(Director, SteeringAsksPlayersSoonWhileAnEdgeServesOut) {
  auto first = table(1, {"a", "b", "c"});
  ASSERT_TRUE(state.take(first));
  ASSERT_TRUE(state.take(steering::make_table(2, {first.edges[1], first.edges[2]}, &first)));
  std::uint32_t other = 0; // a viewer that never was on it
  while (first.primary[other] == 0 || first.backup[other] == 0)
    ++other;
  auto log = log_of(1, 9, 2);
  log.entries.front().edges = 1;
  state.take(log, now);
  hear({{"a", edge_phase::draining}, {"b", edge_phase::serving}, {"c", edge_phase::serving}});
  EXPECT_NE(get(steering_path(other, 1)).second.find("\"TTL\":10,"), std::string::npos);
  log.version = 2;
  log.entries.front().edges = 2;
  state.take(log, now);
  show();
  EXPECT_NE(get(steering_path(other, 1)).second.find("\"TTL\":30,"), std::string::npos) << "nothing listed names it any more, however long it stays drained";
}

TEST_F(Director, SteeringIsGoneWithTheStream) {
  ASSERT_TRUE(state.take(table(1, {"a"})));
  state.watching.answered = false;
  show();
  EXPECT_EQ(get(steering_path(3, 1)).first, 503) << "it may go on: nothing was heard yet";
  state.watching.answered = true;
  auto log = log_of(1, 6, 1);
  state.take(log, now);
  show();
  EXPECT_EQ(get(steering_path(3, 1)).first, 200);
  log.version = 2;
  log.ended = true;
  state.take(log, now);
  show();
  EXPECT_EQ(get(steering_path(3, 1)).first, 410);
  EXPECT_EQ(get("/steer/3.1/nobody").first, 410);
  EXPECT_EQ(get("/steer/3.1/").first, 404);
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

TEST_F(Director, ForgetsEdgeSetsThatTheCoordinatorForgotAndNoListedEntryNames) {
  for (edge_epoch e = 1; e <= 50; ++e)
    ASSERT_TRUE(state.tables.add(table(e, {"a", "b"})));
  EXPECT_FALSE(state.forget(now)) << "the logs are still on their way, and may name any of them";
  state.early["conf~1"] = log_of(1, 6, 20);
  hear({{"a", edge_phase::serving}}, 48);
  state.forget(now);
  EXPECT_TRUE(state.tables.knows(20)) << "named by a log that waits for its newest table";
  state.early.clear();
  state.take(log_of(1, 6, 40), now);
  state.forget(now);
  EXPECT_FALSE(state.tables.knows(39));
  EXPECT_TRUE(state.tables.knows(40)) << "the coordinator did not hear our origin for long, but we show its playlists";
  state.take(log_of(2, 6, 49), now);
  state.forget(now);
  EXPECT_FALSE(state.tables.knows(47));
  EXPECT_TRUE(state.tables.knows(48));
}

TEST_F(Director, CountsWhoComesAndWhatPagesTellOfWhatIsLive) {
  ASSERT_TRUE(state.take(table(1, {"a", "b"})));
  state.take(log_of(1, 6, 1), now);
  show();
  EXPECT_EQ(get("/hls/conf/index.m3u8").first, 200);
  EXPECT_EQ(get("/hls/conf/index.m3u8").first, 200);
  EXPECT_EQ(get("/hls/nobody/index.m3u8").first, 404);
  const auto& edge = state.tables.newest()->edges[0];
  ASSERT_TRUE(desk->hear("conf", {.join_ms = 900, .stalls = 1, .stalled_ms = 400, .played_ms = 5000, .edge = edge.url}, "192.0.2.1", {}));
  ASSERT_TRUE(desk->hear("conf", {.join_ms = 0, .stalls = 0, .stalled_ms = 0, .played_ms = 5000, .edge = "http://elsewhere"}, "192.0.2.1", {}));
  auto invented = desk->hear("nobody", {}, "192.0.2.1", {});
  ASSERT_FALSE(invented);
  EXPECT_EQ(invented.error().code, error_code::not_found);
  auto sums = desk->audience().sums();
  ASSERT_EQ(sums.size(), 1u) << "names that were invented are not counted";
  EXPECT_EQ(sums[0].sessions, 2u);
  EXPECT_EQ(sums[0].join_ms, 900u);
  EXPECT_EQ(sums[0].played_ms, 10'000u);
  desk->audience().each([&](const std::string&, const audience::stream_book& book) {
    EXPECT_EQ(book.by_edge.at(edge.name.value).stalls, 1u);
    EXPECT_EQ(book.by_edge.at("").played_ms, 5000u);
  });
}

class DirectorInTime : public virtual_time {};

TEST_F(DirectorInTime, TellsHowStreamsAreWatchedEveryFiveSeconds) {
  auto log = std::make_shared<heard>();
  auto boss = spawn(stand_in_coordinator, log, std::make_shared<coordinator_script>());
  auto desk = std::make_shared<playlist_desk>(30s);
  auto made = spawn(director, desk, boss, std::vector<origin_actor>{}, node_name{"d1"});
  tell(made, log_of(1, 6, 0));
  advance(6s);
  EXPECT_TRUE(log->audiences.empty()) << "there is nothing to tell";
  desk->audience().begun("conf");
  desk->audience().begun("gone");
  advance(10s);
  ASSERT_GE(log->audiences.size(), 1u);
  EXPECT_LE(log->audiences.size(), 2u);
  EXPECT_EQ(log->audiences.back().node, node_name{"d1"});
  ASSERT_EQ(log->audiences.back().streams.size(), 1u) << "what is over is forgotten";
  EXPECT_EQ(log->audiences.back().streams[0].stream, "conf");
  EXPECT_EQ(log->audiences.back().streams[0].sessions, 1u);
}

TEST_F(DirectorInTime, AsksForTheTablesOnceWhileTheyCome) {
  auto log = std::make_shared<heard>();
  auto boss = spawn(stand_in_coordinator, log, std::make_shared<coordinator_script>());
  auto made = spawn(director, std::make_shared<playlist_desk>(30s), boss, std::vector<origin_actor>{}, node_name{});
  advance(1s);
  const auto asked = log->watches;
  EXPECT_GE(asked, 4u) << "nobody answers: the coordinator may not be reached yet";
  for (edge_epoch epoch = 1; epoch <= 10; ++epoch) { // they are many, and slow to come
    tell(made, table(epoch, {"a", "b"}));
    advance(1s);
  }
  EXPECT_EQ(log->watches, asked);
  advance(4s);
  EXPECT_GT(log->watches, asked) << "the connection was lost with the rest of them";
}

} // namespace
} // namespace weir::testing
