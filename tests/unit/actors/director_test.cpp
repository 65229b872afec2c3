#include "actors/director.hpp"
#include "runtime/hls/addresses.hpp"
#include "tests/unit/actors/cast.hpp"
#include "tests/unit/actors/virtual_time.hpp"
#include "tests/unit/http/crowd.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <libdeflate.h>
#include <random>
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
    state.setup.node = node_name{"here"};
    state.setup.desk = desk;
    state.watching.answered = state.all_origins = true; // the coordinator has been heard
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
  static origin_place place(std::string url) { return {.url = url, .token = {}, .node = node_name{url.substr(7)}, .read_token = "token"}; }
  std::string extra; ///< header lines of the last answer
  std::string type, caching;
  std::string route; ///< as which it is counted
  std::pair<int, std::string> get(std::string_view path, std::string_view accepts = {}) {
    const http::fast_request::field field{"Accept-Encoding", accepts};
    http::fast_request r;
    r.path = path;
    if (!accepts.empty())
      r.fields = {&field, 1};
    http::fast_answer a;
    bool known = path.starts_with("/t/") ? desk->answer_signed(r, a) : path.starts_with("/p/") ? desk->answer_media(r, a) : path.starts_with("/hls/") ? desk->answer_multivariant(r, a) : desk->answer_steering(r, a);
    EXPECT_TRUE(known);
    std::string text;
    for (auto piece : a.pieces())
      text += piece;
    extra = a.extra;
    type = a.content_type;
    caching = a.cache_control;
    route = a.route;
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

TEST_F(Director, SendsTheViewersOfASmallStreamToFewEdgesAndACrowdToAll) {
  std::vector<std::string> names;
  for (int n = 0; n < 10; ++n)
    names.push_back(fmt::format("e{}", n));
  auto t = table(1, names);
  for (auto& e : t.edges)
    e.capacity_bps = 10'000'000'000;
  ASSERT_TRUE(state.take(t));
  auto log = log_of(1, 6, 1);
  for (auto& e : log.entries)
    e.width = 2;
  state.take(log, now);
  show();
  auto edges_of = [&](std::string_view path) {
    std::set<std::string> all;
    const auto text = get(path).second;
    for (std::size_t at = text.find("http://"); at != std::string::npos; at = text.find("http://", at + 1))
      all.insert(text.substr(at, text.find("/s/", at) - at));
    return all;
  };
  std::map<std::string, int> viewers;
  std::set<std::string> few, all;
  bool wider = false;
  for (int n = 0; n < 200; ++n) {
    const auto text = get("/hls/conf/index.m3u8").second;
    const auto at = text.find("/p/");
    const auto path = text.substr(at, text.find('\n', at) - at);
    const auto its = edges_of(path);
    ASSERT_EQ(its.size(), 1U) << path;
    const bool own = path.find(".w") != std::string::npos;
    EXPECT_NE(text.find("/steer/" + path.substr(3, path.find("/conf") - 3) + "/conf"), std::string::npos) << text;
    (own ? all : few).insert(*its.begin());
    wider = wider || own;
  }
  EXPECT_EQ(few.size(), 2U);
  EXPECT_TRUE(wider);
  EXPECT_EQ(all.size(), 10U);
}

TEST_F(Director, SteersBySmallStreamsOwnEdges) {
  auto t = table(1, {"a", "b", "c", "d", "e", "f"});
  ASSERT_TRUE(state.take(t));
  auto log = log_of(1, 6, 1);
  for (auto& e : log.entries)
    e.width = 2;
  state.take(log, now);
  const steering::stream_reach reach{steering::stream_seed("conf~1"), 2};
  const auto at = *steering::place_of(t, 7, {}, reach);
  std::map<std::string, edge_phase> phases;
  for (auto& e : t.edges)
    phases[e.name.value] = edge_phase::serving;
  hear(phases);
  EXPECT_NE(get("/steer/7.1/conf").second.find(R"(["edge","backup"])"), std::string::npos);
  for (auto& e : t.edges)
    phases[e.name.value] = &e == &t.edges[at.primary] ? edge_phase::suspect : edge_phase::serving;
  hear(phases);
  EXPECT_NE(get("/steer/7.1/conf").second.find(R"(["backup","edge"])"), std::string::npos);
  ASSERT_NE(t.edges[t.primary[7]].name, t.edges[at.primary].name) << "choose another bucket";
  EXPECT_NE(get("/steer/7.1.w0/conf").second.find(R"(["edge","backup"])"), std::string::npos) << "who has all edges has another one";
}

TEST_F(Director, SaysThatAStreamIsNotThereOnlyWhenEveryOriginHasSpoken) {
  auto unknown = [&] { return std::tuple(get("/hls/conf/index.m3u8").first, get("/p/1.0/conf~1/720p.m3u8").first, get(steering_path(3, 0)).first); };
  state.all_origins = false;
  show();
  EXPECT_EQ(unknown(), std::tuple(503, 503, 503)) << "no origin has joined yet";
  state.take(origin_list{{place("http://o1"), place("http://o2")}, false});
  show();
  EXPECT_EQ(unknown(), std::tuple(503, 503, 503));
  EXPECT_TRUE(state.take(feed_news{.origin = "http://o1", .logs = {}, .all = true, .trouble = {}}, now));
  EXPECT_TRUE(state.take(feed_news{.origin = "http://o2", .logs = {log_of(1, 6, 0)}, .all = false, .trouble = {}}, now));
  show();
  EXPECT_EQ(unknown(), std::tuple(200, 200, 200));
  EXPECT_EQ(get("/steer/3.0/other").first, 503) << "there is more to come";
  EXPECT_TRUE(state.take(feed_news{.origin = "http://o2", .logs = {}, .all = true, .trouble = {}}, now));
  show();
  EXPECT_EQ(get("/steer/3.0/other").first, 410);
  state.take(feed_news{.origin = "http://o2", .logs = {}, .all = false, .trouble = "it hangs"}, now);
  show();
  EXPECT_EQ(get("/steer/3.0/other").first, 410) << "it told all that it had";
}

TEST_F(Director, FollowsTheOriginsThatTheCoordinatorNames) {
  auto first = state.take(origin_list{{place("http://o1"), place("http://o2")}, true});
  EXPECT_EQ(first.begin, (std::vector<std::string>{"http://o1", "http://o2"}));
  EXPECT_EQ(desk->unreached().size(), 0u) << "nothing is shown yet";
  show();
  EXPECT_NE(desk->unreached().at(node_name{"o1"}).find("http://o1 on node o1 is not reached: not asked yet"), std::string::npos);
  auto half = state.take(origin_list{{place("http://o2")}, false});
  EXPECT_TRUE(half.begin.empty());
  EXPECT_EQ(half.again, (std::vector<std::string>{"http://o2"})) << "it may have been started anew";
  EXPECT_TRUE(half.end.empty()) << "a coordinator that has just started does not know everybody yet";
  auto other = place("http://o2");
  other.read_token = "another";
  auto whole = state.take(origin_list{{other}, true});
  EXPECT_EQ(whole.begin, (std::vector<std::string>{"http://o2"})) << "with its new token";
  EXPECT_EQ(whole.end, (std::vector<std::string>{"http://o1"}));
  for (auto& url : whole.end)
    state.feeds.erase(url);
  EXPECT_TRUE(state.take(feed_news{.origin = "http://o2", .logs = {log_of(1, 6, 0)}, .all = true, .trouble = {}}, now));
  EXPECT_FALSE(state.take(feed_news{.origin = "http://o2", .logs = {}, .all = true, .trouble = {}}, now)) << "nothing new";
  EXPECT_FALSE(state.take(feed_news{.origin = "http://o1", .logs = {log_of(7, 6, 0)}, .all = true, .trouble = {}}, now)) << "the feed was ended";
  show();
  EXPECT_TRUE(desk->unreached().empty());
}

TEST_F(Director, AnOriginCannotFillItsMemory) {
  state.take(origin_list{{place("http://o1")}, true});
  auto one = log_of(1, 1, 0);
  feed_news news{.origin = "http://o1", .logs = {}, .all = true, .trouble = {}};
  for (std::uint64_t i = 1; i <= 20'010; ++i) {
    one.instance = i;
    news.logs.push_back(one);
  }
  state.take(std::move(news), now);
  EXPECT_EQ(state.streams.size() + state.early.size(), 20'000u);
  EXPECT_EQ(state.refused_logs, 10u);
  one.instance = 5;
  one.version = 2;
  state.take(feed_news{.origin = "http://o1", .logs = {one}, .all = true, .trouble = {}}, now);
  EXPECT_EQ(state.streams.at("conf~5").stream->log.version, 2u) << "what is known goes on";
  EXPECT_EQ(state.lines, 20'000u);
  auto endless = log_of(3, 0, 0, 5);
  endless.entries.resize(8'000'000 / 16);
  endless.rungs.resize(16, endless.rungs[0]);
  state.take(feed_news{.origin = "http://o1", .logs = {std::move(endless)}, .all = true, .trouble = {}}, now);
  EXPECT_EQ(state.streams.at("conf~5").stream->log.version, 2u);
  EXPECT_EQ(state.refused_logs, 11u);
  state.forget(now + 11min);
  EXPECT_EQ(state.streams.size(), 1u) << "the newest instance";
  EXPECT_EQ(state.lines, 1u) << "what is forgotten makes room";
}

TEST_F(Director, TwoThatHeardInDifferentOrderAnswerAlike) {
  std::mt19937 chance(7);
  director_state other;
  other.setup.desk = std::make_shared<playlist_desk>(30s, steering::join_options{}, "http://origin");
  other.watching.answered = other.all_origins = true;
  for (auto* one : {&state, &other})
    one->take(origin_list{{place("http://o1")}, true});
  std::vector<edge_table> tables;
  std::vector<hls::stream_log> logs;
  auto log = log_of(1, 6, 1);
  std::vector<std::string> names{"a", "b", "c", "d"};
  for (edge_epoch epoch = 1; epoch <= 50; ++epoch) {
    std::shuffle(names.begin(), names.end(), chance);
    std::vector<edge_target> edges;
    for (std::size_t i = 0; i < 1 + epoch % 4; ++i)
      edges.push_back({.name = edge_name{names[i]}, .url = "http://" + names[i], .weight_milli = 1000, .capacity_bps = 1'000'000});
    tables.push_back(steering::make_table(epoch, edges, tables.empty() ? nullptr : &tables.back()));
    log.version = epoch + 1;
    log.entries.push_back(log.entries.back());
    ++log.entries.back().msn;
    log.entries.back().edges = epoch;
    logs.push_back(log);
  }
  // One hears each table before the log that names it; the other one logs first, some twice, some not at all, and late ones out of order.
  for (std::size_t i = 0; i < tables.size(); ++i) {
    ASSERT_TRUE(state.take(tables[i]));
    state.take(feed_news{.origin = "http://o1", .logs = {logs[i]}, .all = true, .trouble = {}}, now);
  }
  for (std::size_t i = 0; i < tables.size(); ++i) {
    if (i + 1 == tables.size() || chance() % 3 != 0)
      other.take(feed_news{.origin = "http://o1", .logs = {logs[i], logs[chance() % (i + 1)]}, .all = true, .trouble = {}}, now);
    ASSERT_TRUE(other.take(tables[i]));
    if (auto waits = other.early.find("conf~1"); waits != other.early.end() && other.knows_edges_of(waits->second)) {
      other.take(std::move(waits->second), now);
      other.early.erase(waits);
    }
  }
  show();
  other.setup.desk->show(other.view());
  for (int i = 0; i < 1000; ++i) {
    auto path = hls::path_of(hls::playlist_address{{static_cast<std::uint32_t>(chance() % 1024), chance() % 51, chance() % 2 == 0}, "conf", 1, "720p"});
    auto ours = get(path);
    ASSERT_EQ(ours.first, 200) << path;
    std::swap(desk, other.setup.desk);
    auto theirs = get(path);
    std::swap(desk, other.setup.desk);
    ASSERT_EQ(ours, theirs) << path;
  }
}

TEST_F(Director, CountsWhatItsPeersSent) {
  using sent = std::vector<std::pair<edge_name, std::uint32_t>>;
  const edge_name a{"a"}, b{"b"};
  auto word = [&](std::string who, std::uint64_t sequence, std::uint64_t at_a, std::uint64_t at_b, std::int64_t age = 0) {
    return std::vector{director_joins{node_name{std::move(who)}, sequence, {a, b}, {at_a, at_b}, age}};
  };
  EXPECT_EQ(state.take(word("there", 8, 100, 50), now), sent{}) << "those are in the edges' own reports";
  EXPECT_EQ(state.take(word("here", 3, 7, 7), now), sent{}) << "our own word";
  EXPECT_EQ(state.take(word("there", 9, 110, 50), now), (sent{{a, 10}}));
  EXPECT_EQ(state.take(word("there", 9, 110, 50), now), sent{}) << "the same word again";
  EXPECT_EQ(state.take(word("there", 12, 115, 52), now), (sent{{a, 5}, {b, 2}})) << "words between were lost, their viewers were not";
  EXPECT_EQ(state.take(word("there", 13, 115, 1), now), (sent{{b, 1}})) << "the edge was away, and is counted anew";
  EXPECT_EQ(state.take(word("there", 2, 4, 0), now), (sent{{a, 4}})) << "the director was started anew";
  EXPECT_EQ(state.take({director_joins{node_name{"there"}, 3, {a, b}, {5}, 0}}, now), sent{}) << "no word of ours";
}

TEST_F(Director, DrawsByInterpretationWhileAPeerIsSilent) {
  EXPECT_FALSE(state.misses_peer(now)) << "there is none";
  state.take({director_joins{node_name{"there"}, 1, {}, {}, 900}}, now);
  EXPECT_FALSE(state.misses_peer(now + 2s));
  EXPECT_TRUE(state.misses_peer(now + 2200ms)) << "the coordinator may be away: nobody is heard then";
  state.take({director_joins{node_name{"there"}, 1, {}, {}, 5000}}, now + 4s);
  EXPECT_TRUE(state.misses_peer(now + 4s)) << "the coordinator repeats an old word";
  state.take({director_joins{node_name{"there"}, 2, {}, {}, 100}}, now + 5s);
  EXPECT_FALSE(state.misses_peer(now + 5s));
  EXPECT_TRUE(state.misses_peer(now + 64s));
  EXPECT_FALSE(state.misses_peer(now + 66s)) << "it is no more";
}

TEST_F(Director, GivesEachViewerAnEdgeAndABackup) {
  ASSERT_TRUE(state.tables.add(table(1, {"a", "b"})));
  state.take(log_of(1, 6, 1), now);
  show();
  auto [status, text] = get("/hls/conf/index.m3u8");
  ASSERT_EQ(status, 200);
  EXPECT_EQ(type, "application/vnd.apple.mpegurl");
  EXPECT_EQ(caching, "no-store") << "it assigns the viewer";
  EXPECT_NE(text.find("PATHWAY-ID=\"backup\""), std::string::npos);
  for (std::uint32_t bucket : {0u, 1u, 500u, 1023u}) {
    auto main = get(hls::path_of(hls::playlist_address{{bucket, 1, false}, "conf", 1, "720p"}));
    auto spare = get(hls::path_of(hls::playlist_address{{bucket, 1, true}, "conf", 1, "720p"}));
    ASSERT_EQ(main.first, 200);
    EXPECT_EQ(type, "application/vnd.apple.mpegurl");
    EXPECT_EQ(caching, "max-age=1");
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

/// A desk that knows of two streams, one of which is watched by signed addresses only.
class SignedDirector : public Director {
public:
  const viewing_key key = viewing::key_of("0123456789abcdefghijklmnopqrstuv");
  std::shared_ptr<viewing::gate> gate = std::make_shared<viewing::gate>();

  SignedDirector() {
    desk = state.setup.desk = std::make_shared<playlist_desk>(30s, steering::join_options{.viewer_bps = 1000}, "http://origin", gate);
    EXPECT_TRUE(state.tables.add(table(1, {"a", "b"})));
    state.take(log_of(1, 6, 1), now);
    auto other = log_of(1, 6, 1);
    other.stream = "open";
    state.take(other, now);
    show();
  }
  void hear_rules() { gate->use(viewing::with_version({.version = 0, .keys = {key}, .signed_only = {"conf"}})); }
  std::string token(std::chrono::seconds lasts = 60s, std::string_view stream = "conf") const {
    return viewing::make_token(key, stream, std::chrono::duration_cast<std::chrono::seconds>((std::chrono::system_clock::now() + lasts).time_since_epoch()).count());
  }
};

TEST_F(SignedDirector, BarsWhoHasNoGoodTokenAndSaysWhy) {
  hear_rules();
  const std::vector<std::string> addresses{"/hls/conf/index.m3u8", "/p/17.1/conf~1/720p.m3u8", steering_path(17, 1)};
  for (auto& address : addresses) {
    EXPECT_EQ(get(address).first, 403) << address;
    EXPECT_NE(get(address).second.find("signed addresses only"), std::string::npos);
    EXPECT_EQ(get("/t/" + token() + address).first, 200) << address;
    EXPECT_EQ(route, address.substr(0, address.find('/', 1) + 1)) << "it is counted as others are";
    EXPECT_EQ(get("/t/" + token(60s, "open") + address).first, 403) << "another stream's";
    EXPECT_EQ(get("/t/" + token(-1s) + address).first, 403);
    EXPECT_NE(get("/t/" + token(-1s) + address).second.find("expired"), std::string::npos);
    EXPECT_EQ(get("/t/" + token().substr(1) + address).first, 403);
    EXPECT_EQ(get("/t/nonsense" + address).first, 403);
  }
  EXPECT_EQ(get("/hls/open/index.m3u8").first, 200) << get("/hls/open/index.m3u8").second;
  EXPECT_GT(desk->counts().barred.load(), 0u);
}

TEST_F(SignedDirector, EveryAddressThatItNamesCarriesTheTokenAndChangesNothingElse) {
  hear_rules();
  const auto front = "/t/" + token();
  auto multivariant = get(front + "/hls/conf/index.m3u8").second;
  EXPECT_NE(multivariant.find("SERVER-URI=\"" + front + "/steer/"), std::string::npos) << multivariant;
  std::size_t variants = 0;
  for (std::size_t at = 0; (at = multivariant.find("\n/", at)) != std::string::npos; ++at, ++variants)
    EXPECT_EQ(multivariant.substr(at + 1, front.size() + 3), front + "/p/");
  EXPECT_EQ(variants, 2u) << "both pathways";
  EXPECT_EQ(get(front + steering_path(17, 1)), std::pair(200, std::string(R"({"VERSION":1,"TTL":30,"PATHWAY-PRIORITY":["edge","backup"]})"))) << "to be asked again there";

  auto list = get(front + "/p/17.1/conf~1/720p.m3u8").second;
  auto bare = list;
  std::size_t lines = 0;
  for (std::size_t at = 0; (at = bare.find(front)) != std::string::npos; ++lines)
    bare.erase(at, front.size());
  EXPECT_EQ(lines, 6u) << "each entry";
  gate->use(viewing::with_version({.version = 0, .keys = {key}, .signed_only = {}}));
  EXPECT_EQ(bare, get("/p/17.1/conf~1/720p.m3u8").second);
}

TEST_F(SignedDirector, CodesOneFormForAllWhoHaveTheSameTokenAndNotOneForEachOfThousands) {
  hear_rules();
  const auto path = "/t/" + token() + "/p/17.1/conf~1/720p.m3u8";
  auto text = get(path).second;
  auto coded = get(path, "gzip").second;
  EXPECT_EQ(plain(coded), text);
  for (int i = 0; i < 600; ++i)
    get("/t/" + token(1h + std::chrono::seconds(i)) + "/p/17.1/conf~1/720p.m3u8", "gzip");
  EXPECT_EQ(extra, "Vary: Accept-Encoding\r\n") << "the last ones go as they are";
  EXPECT_EQ(get(path, "gzip").second, coded) << "and the first ones are still there";
}

TEST_F(SignedDirector, NotThereYetIsNeverForbidden) {
  EXPECT_EQ(get("/t/" + token() + "/hls/conf/index.m3u8").first, 503) << "it has not heard who may watch";
  EXPECT_EQ(get("/hls/conf/index.m3u8").first, 503) << "nor does anybody slip in meanwhile";
  EXPECT_EQ(extra, "Retry-After: 1\r\n");
  hear_rules();
  EXPECT_EQ(get("/t/" + token(60s, "later") + "/hls/later/index.m3u8").first, 404);
  EXPECT_EQ(get("/t/" + token() + "/p/17.1/conf~9/720p.m3u8").first, 404);
  EXPECT_EQ(get("/t/" + token() + "/p/17.9/conf~1/720p.m3u8").first, 503);
  state.watching.answered = false;
  show();
  EXPECT_EQ(get("/t/" + token(60s, "later") + "/hls/later/index.m3u8").first, 503);
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

TEST_F(Director, ANewcomerGetsNoEntryOnAnEdgeThatWasDeadBeforeItCame) {
  state.setup.desk = desk = std::make_shared<playlist_desk>(30s, steering::join_options{.viewer_bps = 1000}, "http://origin");
  const auto first = table(1, {"a", "b", "c"});
  ASSERT_TRUE(state.take(first));
  state.take(log_of(1, 6, 1), now); // all of it was listed while a served
  show();
  const auto names_a = [&](const hls::playlist_address& of) { return get(hls::path_of(of)).second.find("http://a/") != std::string::npos; };
  ASSERT_TRUE(names_a({{bucket_of(first, "a"), 1, false}, "conf", 1, "720p"})) << "who came before";
  ASSERT_TRUE(state.take(steering::make_table(2, {first.edges[1], first.edges[2]}, &first)));
  show();
  std::size_t came_to_a = 0;
  for (int n = 0; n < 60; ++n) {
    const auto text = get("/hls/conf/index.m3u8").second;
    std::size_t variants = 0;
    for (std::size_t at = text.find("\n/p/"); at != std::string::npos; at = text.find("\n/p/", at + 1), ++variants) {
      const auto path = text.substr(at + 1, text.find('\n', at + 1) - at - 1);
      auto address = hls::parse_playlist_path(path);
      ASSERT_TRUE(address) << path;
      EXPECT_EQ(address->viewer.joined, 2u) << path;
      EXPECT_FALSE(names_a(*address)) << path;
      address->viewer.joined = 1;
      came_to_a += names_a(*address);
    }
    ASSERT_EQ(variants, 2u) << "both pathways";
  }
  EXPECT_GT(came_to_a, 0u) << "some of them would have been there a moment before";
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

/// Edges a and b for everybody, h in hall-1, near to 10.20.0.0/16, for its networks only.
class Locality : public Director {
public:
  Locality() {
    const std::vector<std::string> proxies{"127.0.0.0/8"};
    desk = std::make_shared<playlist_desk>(30s, steering::join_options{.viewer_bps = 1000}, "http://origin", nullptr, http::address_list::parse(proxies).value());
    state.setup.desk = desk;
    auto edges = table(1, {"a", "b"}).edges;
    edges.push_back({.name = edge_name{"h"}, .url = "http://h", .weight_milli = 1000, .capacity_bps = 1'000'000, .locality = "hall-1", .networks_only = true});
    first = steering::make_table(1, edges);
    EXPECT_TRUE(state.take(first));
    state.take(log_of(1, 6, 1), now);
    hear_hall({"10.20.0.0/16"});
  }
  bool hear_hall(std::vector<std::string> networks, bool reported = true) {
    edge_list list;
    for (std::string name : {"a", "b", "h"}) {
      list.edges.emplace_back();
      list.edges.back().spec.name = edge_name{name};
      list.edges.back().spec.node = node_name{reported ? "n1" : ""};
      list.edges.back().phase = edge_phase::serving;
      if (name == "h") {
        list.edges.back().spec.locality = "hall-1";
        list.edges.back().spec.networks = networks;
      }
    }
    bool changed = state.take(list);
    show();
    return changed;
  }
  /// The viewer's part of the addresses that someone at `peer` gets.
  std::string joins_at(std::string_view peer, std::vector<std::string_view> forwarded = {}) {
    std::vector<http::fast_request::field> fields;
    for (auto line : forwarded)
      fields.push_back({"x-forwarded-for", line});
    http::fast_request r;
    r.path = "/hls/conf/index.m3u8";
    r.peer_address = peer;
    r.fields = fields;
    http::fast_answer a;
    EXPECT_TRUE(desk->answer_multivariant(r, a));
    EXPECT_EQ(a.status, 200);
    std::string text;
    for (auto piece : a.pieces())
      text += piece;
    auto from = text.find("/steer/") + 7;
    auto viewer = text.substr(from, text.find('/', from) - from);
    EXPECT_NE(text.find(fmt::format("\n/p/{}/conf~1/", viewer)), std::string::npos);
    return viewer;
  }
  bool in_hall(const std::string& viewer) const { return viewer.ends_with("~hall-1"); }
  edge_table first;
};

TEST_F(Locality, ViewersOfAVenueFetchFromItsEdgeAndNobodyElseDoes) {
  for (int i = 0; i < 30; ++i) {
    EXPECT_TRUE(in_hall(joins_at("10.20.3.4")));
    EXPECT_TRUE(in_hall(joins_at("::ffff:10.20.3.4")));
    EXPECT_FALSE(in_hall(joins_at("10.21.0.1")));
    EXPECT_FALSE(in_hall(joins_at("2001:db8::1")));
  }
  auto inside = get("/p/17.1~hall-1/conf~1/720p.m3u8").second;
  EXPECT_NE(inside.find("\nhttp://h/s/conf~1/"), std::string::npos);
  EXPECT_EQ(inside.find("\nhttp://a/"), std::string::npos);
  auto backup = get("/p/17.1.b~hall-1/conf~1/720p.m3u8").second;
  EXPECT_EQ(backup.find("\nhttp://h/"), std::string::npos) << "the backup is outside";
  EXPECT_EQ(get("/p/17.1/conf~1/720p.m3u8").second.find("\nhttp://h/"), std::string::npos);
  EXPECT_EQ(get("/p/17.1~elsewhere/conf~1/720p.m3u8").second, get("/p/17.1/conf~1/720p.m3u8").second) << "a locality that nobody knows is none";
}

TEST_F(Locality, BehindAProxyTheViewersOwnAddressCounts) {
  EXPECT_FALSE(in_hall(joins_at("127.0.0.1")));
  EXPECT_TRUE(in_hall(joins_at("127.0.0.1", {"10.20.3.4"})));
  EXPECT_TRUE(in_hall(joins_at("127.0.0.1", {"192.0.2.1, 10.20.3.4", "127.0.0.9"})));
  EXPECT_FALSE(in_hall(joins_at("127.0.0.1", {"10.20.3.4, 192.0.2.1"}))) << "the viewer wrote the first one";
  EXPECT_FALSE(in_hall(joins_at("192.0.2.1", {"10.20.3.4"}))) << "no proxy of ours";
  std::vector<std::string_view> many(40, "127.0.0.2");
  many.front() = "10.20.3.4";
  EXPECT_FALSE(in_hall(joins_at("127.0.0.1", many))) << "nobody has so many proxies";
}

TEST_F(Locality, BehindAProxyBeaconsCountForTheViewersOwnAddress) {
  http::request r;
  r.peer_address = "127.0.0.1";
  EXPECT_EQ(desk->viewer_of(r), "127.0.0.1");
  r.headers.add("x-forwarded-for", "192.0.2.1, 10.20.3.4");
  r.headers.add("Accept", "*/*");
  r.headers.add("X-Forwarded-For", "127.0.0.9");
  EXPECT_EQ(desk->viewer_of(r), "10.20.3.4");
  r.peer_address = "192.0.2.9";
  EXPECT_EQ(desk->viewer_of(r), "192.0.2.9") << "no proxy of ours";
}

TEST_F(Locality, WhatIsListedKeepsItsAddressWhenTheVenuesEdgeDies) {
  const auto before = get("/p/17.1~hall-1/conf~1/720p.m3u8").second;
  auto without = first.edges;
  without.pop_back();
  ASSERT_TRUE(state.take(steering::make_table(2, without, &first)));
  auto log = log_of(2, 7, 1);
  log.entries.back().edges = 2;
  state.take(log, now);
  show();
  auto after = get("/p/17.1~hall-1/conf~1/720p.m3u8").second;
  for (int msn = 0; msn < 6; ++msn)
    EXPECT_NE(after.find(fmt::format("\nhttp://h/s/conf~1/7/720p/{}.ts\n", msn)), std::string::npos) << msn;
  EXPECT_EQ(after.find("http://h/s/conf~1/7/720p/6.ts"), std::string::npos) << "new entries go to the edges for everybody";
  EXPECT_FALSE(in_hall(joins_at("10.20.3.4")));
}

TEST_F(Locality, ANewcomerOfTheVenueJoinsTheNewestEdgesToo) {
  EXPECT_NE(joins_at("10.20.3.4").find(".1~"), std::string::npos);
  ASSERT_TRUE(state.take(steering::make_table(2, {first.edges[1], first.edges[2]}, &first)));
  show();
  const auto viewer = joins_at("10.20.3.4");
  EXPECT_TRUE(in_hall(viewer)) << viewer;
  EXPECT_NE(viewer.find(".2~"), std::string::npos) << viewer;
}

TEST_F(Locality, SteeringKnowsTheEdgeOfTheVenue) {
  auto list = [&](edge_phase hall) { hear({{"a", edge_phase::serving}, {"b", edge_phase::serving}, {"h", hall}}); };
  list(edge_phase::serving);
  EXPECT_NE(get("/steer/17.1~hall-1/conf").second.find(R"("PATHWAY-PRIORITY":["edge","backup"])"), std::string::npos);
  list(edge_phase::suspect);
  EXPECT_NE(get("/steer/17.1~hall-1/conf").second.find(R"("PATHWAY-PRIORITY":["backup","edge"])"), std::string::npos);
  EXPECT_NE(get("/steer/17.1/conf").second.find(R"("PATHWAY-PRIORITY":["edge","backup"])"), std::string::npos) << "those outside do not fetch there";
}

TEST_F(Locality, NetworksFollowWhatEdgesSay) {
  EXPECT_FALSE(hear_hall({"10.20.0.0/16"})) << "nothing new";
  EXPECT_FALSE(hear_hall({}, false)) << "its coordinator has just come, and knows the table alone";
  EXPECT_TRUE(in_hall(joins_at("10.20.3.4")));
  EXPECT_TRUE(hear_hall({"192.0.2.0/24"}));
  EXPECT_FALSE(in_hall(joins_at("10.20.3.4")));
  EXPECT_TRUE(in_hall(joins_at("192.0.2.4")));
  EXPECT_TRUE(hear_hall({}));
  EXPECT_FALSE(in_hall(joins_at("192.0.2.4")));
}

TEST_F(Director, SteeringPrefersTheBackupWhileItsEdgeIsUnwell) {
  auto first = table(1, {"a", "b", "c"});
  ASSERT_TRUE(state.take(first));
  state.take(log_of(1, 6, 1), now);
  hear({{"a", edge_phase::serving}, {"b", edge_phase::serving}, {"c", edge_phase::serving}});
  const auto bucket = bucket_of(first, "a");
  const auto path = steering_path(bucket, 1);
  const auto backup = first.edges.at(first.backup.at(bucket)).name.value, third = std::string(backup == "b" ? "c" : "b");
  const auto well = std::string(R"({"VERSION":1,"TTL":30,"PATHWAY-PRIORITY":["edge","backup"]})");
  const auto unwell = std::string(R"({"VERSION":1,"TTL":10,"PATHWAY-PRIORITY":["backup","edge"]})");
  const auto no_better = std::string(R"({"VERSION":1,"TTL":10,"PATHWAY-PRIORITY":["edge","backup"]})");
  EXPECT_EQ(get(path), std::pair(200, well));
  EXPECT_EQ(type, "application/vnd.apple.steering-list");
  EXPECT_EQ(caching, "no-store");
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
  auto aged = [&](std::chrono::milliseconds age) {
    log.changed = std::chrono::system_clock::now() - age;
    ++log.version;
    state.take(log, now);
    show();
    return get("/p/1.0/conf~1/720p.m3u8").first;
  };
  EXPECT_EQ(aged(5s), 200);
  EXPECT_EQ(aged(6001ms), 503) << "1.5 target durations are 6 s";
  EXPECT_EQ(extra, "Retry-After: 1\r\n");
  const auto& playlist = state.view()->live.at("conf")->rungs.at(0).whole.playlist;
  EXPECT_FALSE(playlist.stale(log.changed + 6s));
  EXPECT_TRUE(playlist.stale(log.changed + 6001ms));
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
  state.setup.desk = desk = std::make_shared<playlist_desk>(30s, steering::join_options{.viewer_bps = 1000}, "http://origin");
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

TEST_F(Director, TellsHowStreamsAreWatchedEveryFiveSeconds) {
  state.take(log_of(1, 6, 0), now);
  EXPECT_FALSE(state.audience(now)) << "there is nothing to tell";
  desk->audience().begun("conf");
  desk->audience().begun("gone");
  EXPECT_FALSE(state.audience(now + 4999ms));
  auto word = state.audience(now + 5s);
  ASSERT_TRUE(word);
  EXPECT_EQ(word->node, node_name{"here"});
  ASSERT_EQ(word->streams.size(), 1u) << "what is over is forgotten";
  EXPECT_EQ(word->streams[0].stream, "conf");
  EXPECT_EQ(word->streams[0].sessions, 1u);
  EXPECT_FALSE(state.audience(now + 6s));
  EXPECT_TRUE(state.audience(now + 10s)) << "again: who missed it hears it, and restarts are seen";
}

class DirectorInTime : public virtual_time {};

TEST_F(DirectorInTime, AsksForTheTablesOnceWhileTheyCome) {
  auto log = std::make_shared<heard>();
  auto boss = spawn(stand_in_coordinator, log, std::make_shared<coordinator_script>());
  auto made = spawn(director, director_setup{node_name{"here"}, std::make_shared<playlist_desk>(30s), nullptr}, boss);
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

TEST_F(DirectorInTime, TellsEachSecondWhomItSentWhere) {
  auto log = std::make_shared<heard>();
  auto boss = spawn(stand_in_coordinator, log, std::make_shared<coordinator_script>());
  auto desk = std::make_shared<playlist_desk>(30s, steering::join_options{.viewer_bps = 1000});
  auto made = spawn(director, director_setup{node_name{"here"}, desk, nullptr}, boss);
  tell(made, table(1, {"a", "b"}));
  advance(2s);
  EXPECT_TRUE(log->director_joins_.empty()) << "nobody would take its word yet";
  tell(made, edge_list{});
  desk->with_admission([](auto& admission) {
    for (int i = 0; i < 5; ++i)
      EXPECT_TRUE(admission.admit([n = std::uint64_t{0}]() mutable { return n++; }));
  });
  advance(2s);
  ASSERT_GE(log->director_joins_.size(), 2u);
  auto& word = log->director_joins_.back();
  EXPECT_EQ(word.director, node_name{"here"});
  EXPECT_EQ(word.sequence, log->director_joins_.size());
  ASSERT_EQ(word.edges.size(), word.viewers.size());
  std::uint64_t all = 0;
  for (auto n : word.viewers)
    all += n;
  EXPECT_EQ(all, 5u);
}

TEST_F(DirectorInTime, NobodyWaitsLongerThanThreeTargetDurations) {
  auto desk = std::make_shared<playlist_desk>(30s, steering::join_options{}, "http://origin");
  director_state shown;
  shown.setup.desk = desk;
  shown.watching.answered = shown.all_origins = true;
  auto log = log_of(1, 6, 0);
  log.part_target = 1s;
  shown.take(log, now());
  desk->show(shown.view());
  http::server web{{}};
  add_director_routes(web, desk);
  ASSERT_TRUE(web.start());
  crowd viewers(fmt::format("127.0.0.1:{}", web.port()));
  auto boss = spawn(stand_in_coordinator, std::make_shared<heard>(), std::make_shared<coordinator_script>());
  scheduler.clock().current_time = std::chrono::steady_clock::now(); // whoever asks is noted on an HTTP thread, by the machine's clock
  spawn(director, director_setup{node_name{"here"}, desk, nullptr}, boss);
  viewers.ask("/p/3.0/conf~1/720p.m3u8?_HLS_msn=6");
  ASSERT_TRUE(eventually([&] { return desk->waiting() == 1; }));
  const auto asked = std::chrono::steady_clock::now(); // or before
  advance(12s - 1ms);
  EXPECT_EQ(desk->waiting(), 1u);
  advance(asked + 13s - now()); // it looks once a second
  EXPECT_EQ(desk->waiting(), 0u);
  EXPECT_EQ(desk->counts().late.load(), 1u);
  desk->close(); // else a failure would hold the server up
  const auto got = viewers.all().front();
  EXPECT_EQ(got.status, 503);
  EXPECT_EQ(got.body, "there is nothing new yet\n");
}

/// What LOG FEED makes of answers.
class LogFeed : public ::testing::Test {
public:
  log_feed_state state;
  log_feed_state::time_point now{std::chrono::hours(1)};
  const timestamp wall = std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now());

  LogFeed() { state.setup = {.origin = {.url = "http://o", .token = {}, .node = node_name{"n"}, .read_token = "logs_x"}, .reader = "here", .client = nullptr}; }
  auto take(int status, std::string body, std::string error = {}) { return state.take({state.round, status, std::move(body), std::move(error)}, now, wall); }
};

TEST_F(LogFeed, AsksForWhatChangedSince) {
  EXPECT_EQ(state.question().url, "http://o/origin/v1/logs?after=&wait=5s&reader=here");
  hls::log_news news("b1");
  news.add(log_of(1, 6, 0));
  state.asked = now;
  auto next = take(200, news.page({}, wall));
  EXPECT_EQ(next.news.logs.size(), 1u);
  EXPECT_TRUE(next.news.all);
  EXPECT_EQ(next.again, 20ms) << "what changes meanwhile comes in one answer";
  EXPECT_EQ(state.question().url, "http://o/origin/v1/logs?after=b1.1&wait=5s&reader=here");
  now += 3s;
  EXPECT_EQ(take(200, news.page({"b1", 1}, wall)).again, 0ms) << "it had waited";
  EXPECT_EQ(state.question().headers.find("Authorization"), "Bearer logs_x");
}

TEST_F(LogFeed, AsksAgainLessAndLessOftenUntilItIsAnswered) {
  hls::log_news news("b1");
  ASSERT_TRUE(take(200, news.page({}, wall)).news.trouble.empty());
  for (auto pause : {250ms, 500ms, 1000ms, 2000ms, 2000ms}) {
    auto next = take(0, {}, "connection refused");
    EXPECT_EQ(next.again, pause);
    EXPECT_EQ(next.news.trouble, "connection refused");
    EXPECT_FALSE(next.news.all);
  }
  EXPECT_EQ(take(503, "{}").news.trouble, "status 503");
  EXPECT_FALSE(take(200, "<html>").news.trouble.empty()) << "no page of logs is no answer";
  EXPECT_EQ(state.have, (hls::news_mark{"b1", 0})) << "it goes on where it was";
  EXPECT_TRUE(take(200, news.page({"b1", 0}, wall)).news.trouble.empty());
  EXPECT_EQ(take(401, {}).again, 250ms) << "forgiven";
}

TEST_F(LogFeed, AgesCountByTheOriginsClock) {
  auto log = log_of(1, 6, 0);
  log.changed = wall - 1h - 2s; // an hour behind ours
  hls::log_news news("b1");
  news.add(log);
  EXPECT_EQ(take(200, news.page({}, wall - 1h)).news.logs.at(0).changed, wall - 2s);
  EXPECT_EQ(take(200, news.page({}, timestamp{})).news.logs.at(0).changed, log.changed) << "that is no clock";
}

} // namespace
} // namespace weir::testing
