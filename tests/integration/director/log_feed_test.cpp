// An ORIGIN and a DIRECTOR that know each other by an address only: real actors, a real server between them that is cut and comes back.
#include "actors/director.hpp"
#include "actors/origin.hpp"
#include "runtime/base/secret.hpp"
#include "tests/unit/actors/cast.hpp"

#include <filesystem>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <thread>

namespace weir::testing {
namespace {

using namespace std::chrono_literals;

constexpr int streams = 300; // several pages
constexpr auto target = 2s;

template <class F>
bool eventually(F condition, std::chrono::milliseconds deadline = 20s) {
  for (const auto end = std::chrono::steady_clock::now() + deadline; std::chrono::steady_clock::now() < end; std::this_thread::sleep_for(10ms))
    if (condition())
      return true;
  return condition();
}

/// The text at an address of the desk, as a viewer gets it, with its status.
std::pair<int, std::string> get(playlist_desk& desk, std::string_view path) {
  http::fast_request r;
  r.path = path;
  http::fast_answer a;
  EXPECT_TRUE(path.starts_with("/p/") ? desk.answer_media(r, a) : desk.answer_multivariant(r, a));
  std::string text;
  for (auto piece : a.pieces())
    text += piece;
  return {a.status, text};
}

class LogFeedOverHttp : public ::testing::Test {
protected:
  std::filesystem::path folder = std::filesystem::temp_directory_path() / ("weir-feed-" + random_uuid());
  caf::actor_system_config config;
  std::unique_ptr<caf::actor_system> system;
  std::shared_ptr<http::client> client = std::make_shared<http::client>(http::client_options{});
  std::unique_ptr<http::server> server;
  std::uint16_t port = 0;
  coordinator_actor boss;
  origin_actor keeper;
  director_actor made;
  std::shared_ptr<playlist_desk> desk = std::make_shared<playlist_desk>(30s, steering::join_options{}, "http://origin");
  std::shared_ptr<origin::segment_store> store;

  void SetUp() override {
    config.set("scheduler.max-threads", std::size_t{2});
    system = std::make_unique<caf::actor_system>(config);
    boss = system->spawn(stand_in_coordinator, std::make_shared<heard>(), std::make_shared<coordinator_script>());
    auto opened = origin::open_folder_store(folder.string());
    ASSERT_TRUE(opened) << opened.error().text;
    store = std::move(*opened);
    const auto now = std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now());
    for (int i = 0; i < streams; ++i) {
      hls::segment_log log(fmt::format("s{}", i));
      ASSERT_TRUE(log.begin_writer(65536, "srv/1/1", {{"180p", 320, 180, 25'000, "avc1.42c01e,mp4a.40.2", {400'000}}}, timing_of(hls_profile::brief)));
      for (std::uint64_t slot = 0; slot < 6; ++slot)
        EXPECT_EQ(log.offer(65536, {"180p", 10 + slot, static_cast<std::int64_t>(10 + slot) * 180'000, 180'000, true, false, now - target * (6 - slot), 1880}, 0, now), hls::offer_result::accepted);
      ASSERT_FALSE(log.snapshot().entries.empty());
      ASSERT_TRUE(store->save_log(log.stream(), log.to_json()));
    }
    start_origin();
    serve();
    made = system->spawn(director, director_setup{node_name{"lists"}, desk, client}, boss);
  }
  void TearDown() override {
    for (auto& one : {caf::actor_cast<caf::actor>(made), caf::actor_cast<caf::actor>(keeper), caf::actor_cast<caf::actor>(boss)})
      if (one)
        caf::anon_send(one, stop{});
    made = nullptr;
    keeper = nullptr;
    boss = nullptr;
    server.reset(); // its routes hold the origin
    system.reset(); // waits for all of them, feeds included
    client.reset();
    std::filesystem::remove_all(folder);
  }

  void start_origin() { keeper = system->spawn<caf::detached>(origin_keeper, origin_setup{store, {.dir = folder.string()}, {}, node_name{"media"}}, boss); }
  void serve() {
    server = std::make_unique<http::server>(http::server_options{.listen = fmt::format("127.0.0.1:{}", port)});
    add_log_route(*server, keeper, "the token");
    auto started = server->start();
    ASSERT_TRUE(started) << started.error().text;
    port = server->port();
  }
  std::string url() const { return fmt::format("http://127.0.0.1:{}", port); }
  origin_place place(std::string token = "the token") const { return {.url = url(), .token = {}, .node = node_name{"media"}, .read_token = std::move(token)}; }
  void name_origins(std::vector<origin_place> origins) {
    tell_anon(made, origin_list{std::move(origins), true});
    tell_anon(made, edge_list{});
  }
  int shown() {
    int count = 0;
    for (int i = 0; i < streams; ++i)
      count += get(*desk, fmt::format("/hls/s{}/index.m3u8", i)).first == 200;
    return count;
  }
  /// The newest number of a stream in the playlist that viewers get; 0 without one.
  std::uint64_t newest(int stream) {
    auto [status, text] = get(*desk, fmt::format("/hls/s{}/index.m3u8", stream));
    auto from = text.find("/p/");
    if (status != 200 || from == std::string::npos)
      return 0;
    auto [got, list] = get(*desk, text.substr(from, text.find('\n', from) - from));
    auto name = list.rfind("/180p/");
    return got == 200 && name != std::string::npos ? std::stoull(list.substr(name + 6)) : 0;
  }
  bool goes_on(std::uint64_t after) {
    return eventually([&] { return newest(0) > after && newest(streams - 1) > after; });
  }
};

TEST_F(LogFeedOverHttp, AllStreamsComeAndGoOnOverACutAndARestart) {
  name_origins({place()});
  ASSERT_TRUE(eventually([&] { return shown() == streams; })) << shown();
  EXPECT_TRUE(desk->unreached().empty());
  EXPECT_EQ(get(*desk, "/hls/nobody/index.m3u8").first, 404) << "all was heard";
  auto before = std::max(newest(0), newest(streams - 1));
  ASSERT_TRUE(goes_on(before)) << "the origin lists gaps, since nobody writes";

  server->stop(100ms); // the line is cut
  EXPECT_TRUE(eventually([&] { return desk->unreached().contains(node_name{"media"}); }));
  EXPECT_EQ(shown(), streams) << "what is known stays";
  ASSERT_TRUE(eventually([&] { return newest(0) == 0; })) << "an old playlist is not given out";
  const auto cut = std::chrono::steady_clock::now();
  serve();
  ASSERT_TRUE(goes_on(before));
  EXPECT_LT(std::chrono::steady_clock::now() - cut, 8s) << "2 s of back-off, a target duration, and a slow machine";
  EXPECT_TRUE(desk->unreached().empty());

  // Another start of the origin: its marks are others, its logs are the same.
  caf::scoped_actor waits{*system};
  waits->monitor(keeper);
  caf::anon_send(keeper, stop{});
  waits->receive([](const caf::down_msg&) {});
  server->stop(100ms);
  EXPECT_TRUE(eventually([&] { return !desk->unreached().empty(); }));
  before = std::max(newest(0), newest(streams - 1));
  start_origin();
  serve();
  const auto back = std::chrono::steady_clock::now();
  name_origins({place()}); // its node has joined: nobody waits for a back-off
  EXPECT_TRUE(eventually([&] { return desk->unreached().empty(); }));
  EXPECT_LT(std::chrono::steady_clock::now() - back, 3s);
  ASSERT_TRUE(goes_on(before));

  name_origins({});
  EXPECT_TRUE(eventually([&] { return newest(0) == 0; })) << "nobody tells of it any more";
}

TEST_F(LogFeedOverHttp, WhoDoesNotKnowTheTokenReadsNothing) {
  name_origins({place("another")});
  ASSERT_TRUE(eventually([&] { return desk->unreached().contains(node_name{"media"}) && desk->unreached().at(node_name{"media"}).find("status 401") != std::string::npos; }));
  EXPECT_EQ(get(*desk, "/hls/s0/index.m3u8").first, 503) << "it may be there: that origin was not heard";
  name_origins({place()}); // told anew, with the right one
  EXPECT_TRUE(eventually([&] { return shown() == streams; }));
}

TEST_F(LogFeedOverHttp, TheRouteRefusesWhatItDoesNotUnderstandAndWaitsNoLongerThanAsked) {
  auto ask = [&](std::string query, std::string token = "the token") {
    http::client_request request{.url = url() + "/origin/v1/logs" + query};
    request.headers.add("Authorization", "Bearer " + token);
    return client->call(std::move(request));
  };
  EXPECT_EQ(ask("", "").value().status, 401);
  EXPECT_EQ(ask("?after=5").value().status, 400);
  EXPECT_EQ(ask("?wait=long").value().status, 400);
  hls::news_mark at;
  int logs = 0;
  for (bool all = false; !all;) {
    auto answer = ask("?wait=5s&after=" + hls::to_string(at));
    ASSERT_EQ(answer.value().status, 200);
    EXPECT_EQ(answer->headers.find("Content-Type"), "application/x-ndjson");
    auto page = hls::parse_log_page(answer->body);
    ASSERT_TRUE(page) << page.error().text;
    logs += static_cast<int>(page->logs.size());
    at = page->next;
    all = page->all;
  }
  EXPECT_GE(logs, streams);
  const auto asked = std::chrono::steady_clock::now();
  auto next = ask("?wait=5s&after=" + hls::to_string(at));
  ASSERT_EQ(next.value().status, 200);
  EXPECT_FALSE(hls::parse_log_page(next->body).value().logs.empty()) << "gaps are listed every two seconds";
  EXPECT_LT(std::chrono::steady_clock::now() - asked, 5s);
}

/// An origin that answers whatever it likes.
TEST_F(LogFeedOverHttp, AnOriginThatMisbehavesHurtsNobodyElse) {
  http::server bad({.listen = "127.0.0.1:0"});
  std::atomic<int> asked{0};
  const auto endless = std::make_shared<const std::string>(hls::page_limit + 1, ' ');
  bad.route("GET", "/origin/v1/logs", {}, [&, endless](const http::request&, http::responder answer) {
    switch (asked++ % 3) {
    case 0:
      return void(answer(http::shared_response(endless, "application/x-ndjson")));
    case 1:
      return void(answer(http::text_response(200, "{\"boot\":\"a\",\"next\":1,\"all\":false}\n")));
    default:
      return void(answer(http::text_response(200, "{\"boot\":\"a\",\"next\":1}\n{\"stream\":\"../x\",\"target\":\"2s\"}\n")));
    }
  });
  ASSERT_TRUE(bad.start());
  name_origins({place(), {.url = fmt::format("http://127.0.0.1:{}", bad.port()), .token = {}, .node = node_name{"bad"}, .read_token = "x"}});
  ASSERT_TRUE(eventually([&] { return shown() == streams && asked >= 4; }));
  EXPECT_TRUE(desk->unreached().contains(node_name{"bad"}));
  EXPECT_FALSE(desk->unreached().contains(node_name{"media"}));
  EXPECT_EQ(get(*desk, "/hls/nobody/index.m3u8").first, 503) << "that one may have it";
  bad.stop(100ms);
}

} // namespace
} // namespace weir::testing
