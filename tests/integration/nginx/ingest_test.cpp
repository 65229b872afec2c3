// A real nginx-rtmp, a real ffmpeg that publishes, and a hook server that decides.
#include "runtime/nginx/ingest_config.hpp"
#include "runtime/nginx/server.hpp"
#include "runtime/rtmp/hooks.hpp"
#include "runtime/rtmp/lists.hpp"
#include "tests/integration/nginx/surroundings.hpp"
#include "tests/integration/nginx/tiny_http.hpp"

#include <algorithm>
#include <gtest/gtest.h>

using namespace weir;
using namespace weir::nginx;
using namespace surroundings;
using supervise::process;

namespace {

/// Answers as Weir's bridge does, and remembers.
struct hook_server {
  std::mutex mutex;
  std::vector<hook_call> calls;
  std::vector<std::string> refused_bodies;
  std::unique_ptr<tiny_http::server> http = std::make_unique<tiny_http::server>([this](const tiny_http::request& request) {
    const std::lock_guard lock(mutex);
    auto call = rtmp::parse_nginx_rtmp_hook(request.body, rtmp::argument(request.target().substr(request.target().find('?')), "server"));
    if (!call) {
      refused_bodies.push_back(request.body);
      return tiny_http::response(400, "");
    }
    const auto answer = rtmp::nginx_answer(call->kind, {call->kind != hook_kind::publish || call->key == "right", ""});
    calls.push_back(std::move(*call));
    return tiny_http::response(answer.status, answer.body);
  });

  std::vector<hook_call> of(hook_kind kind) {
    const std::lock_guard lock(mutex);
    std::vector<hook_call> out;
    std::copy_if(calls.begin(), calls.end(), std::back_inserter(out), [&](const auto& one) { return one.kind == kind; });
    return out;
  }
};

struct ingest {
  folder home;
  hook_server hooks;
  int port = tiny_http::free_port();
  int statistics = tiny_http::free_port();
  process nginx;
  std::chrono::seconds update_every{1};

  std::string address(int at) const { return "127.0.0.1:" + std::to_string(at); }
  void start() {
    ingest_config config;
    config.listen = address(port);
    config.statistics = address(statistics);
    config.hook_url = "http://" + address(hooks.http->port()) + "/hooks/nginx-rtmp/s3cret?server=ingest-1";
    config.update_every = update_every;
    const auto text = render(config);
    ASSERT_TRUE(text) << text.error().text;
    start(*text);
  }
  void start(const std::string& text) {
    auto at = prefix::prepare(home / "ingest");
    ASSERT_TRUE(at) << at.error().text;
    const auto installed = at->install(text);
    ASSERT_TRUE(installed) << installed.error().text;
    auto started = process::spawn(at->start());
    ASSERT_TRUE(started) << started.error().text;
    nginx = std::move(*started);
    ASSERT_TRUE(eventually([&] { return tiny_http::ask(statistics, "/stat").status == 200; }));
  }
  expected<publication_list> publishers() const { return rtmp::parse_nginx_stat(tiny_http::ask(statistics, "/stat").body, "ingest-1"); }
  process publish(const std::string& name) const {
    supervise::launch how{.program = "ffmpeg"};
    how.arguments = {"-hide_banner", "-loglevel", "error", "-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25", "-t", "60", "-c:v", "libx264", "-preset", "ultrafast",
                     "-g", "25", "-f", "flv", "rtmp://127.0.0.1:" + std::to_string(port) + "/live/" + name};
    auto started = process::spawn(std::move(how));
    EXPECT_TRUE(started) << started.error().text;
    return started ? std::move(*started) : process();
  }
  ~ingest() {
    nginx.stop(2s);
    nginx.wait(5s);
  }
};

} // namespace

TEST(Ingest, TakesThePublisherWithTheRightKeyAndListsItWhileItPublishes) {
  ingest one;
  one.start();
  EXPECT_TRUE(one.publishers().value().items.empty());
  auto ffmpeg = one.publish("talk?key=right&vid=42");
  ASSERT_TRUE(eventually([&] { return !one.publishers().value().items.empty(); })) << (ffmpeg.last_lines().empty() ? "" : ffmpeg.last_lines().back());

  const auto asked = one.hooks.of(hook_kind::publish);
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_EQ(asked[0].server, "ingest-1");
  EXPECT_EQ(asked[0].app, "live");
  EXPECT_EQ(asked[0].stream, "talk");
  EXPECT_EQ(asked[0].key, "right");
  const auto first = one.publishers().value();
  ASSERT_EQ(first.items.size(), 1u);
  EXPECT_EQ(first.items[0].stream, "talk");
  EXPECT_EQ(first.items[0].client_id, asked[0].client_id) << "list and hooks speak of the same connection";
  EXPECT_EQ(first.service_id, one.publishers().value().service_id);

  // It goes on through updates, which name the same connection.
  ASSERT_TRUE(eventually([&] { return one.hooks.of(hook_kind::update).size() >= 2; }));
  EXPECT_EQ(one.hooks.of(hook_kind::update)[0].client_id, asked[0].client_id);
  EXPECT_TRUE(ffmpeg.running());

  // A kick by the control page ends it, and the end is told.
  EXPECT_EQ(tiny_http::ask(one.statistics, "/control/drop/publisher?app=live&name=talk").status, 200);
  EXPECT_TRUE(ffmpeg.wait(10s));
  EXPECT_TRUE(eventually([&] { return one.hooks.of(hook_kind::unpublish).size() == 1 && one.publishers().value().items.empty(); }));
  EXPECT_TRUE(one.hooks.refused_bodies.empty()) << one.hooks.refused_bodies.front();
}

TEST(Ingest, RefusesThePublisherWithAWrongKeyAtOnce) {
  ingest one;
  one.start();
  for (const auto* name : {"talk?key=wrong", "talk", "talk?key=wrong&key=right"}) {
    auto ffmpeg = one.publish(name);
    const auto end = ffmpeg.wait(15s);
    ASSERT_TRUE(end) << name;
    EXPECT_FALSE(end->ok()) << name;
  }
  EXPECT_EQ(one.hooks.of(hook_kind::publish).size(), 3u);
  EXPECT_TRUE(one.publishers().value().items.empty());
}

TEST(Ingest, LetsAWorkerFetchTheStream) {
  ingest one;
  one.start();
  auto ffmpeg = one.publish("talk?key=right");
  ASSERT_TRUE(eventually([&] { return !one.publishers().value().items.empty(); }));
  auto probe = supervise::run_to_end({.program = "ffprobe",
                                      .arguments = {"-v", "error", "-rw_timeout", "8000000", "-show_entries", "stream=codec_name", "-of", "csv=p=0",
                                                    "rtmp://127.0.0.1:" + std::to_string(one.port) + "/live/talk"}},
                                     20s);
  ASSERT_TRUE(probe) << probe.error().text;
  EXPECT_EQ(probe->lines, std::vector<std::string>{"h264"}) << "a worker on this machine may fetch it";
  EXPECT_GE(one.hooks.of(hook_kind::play).size(), 1u);
  EXPECT_TRUE(ffmpeg.running());
}

TEST(Ingest, OnlyUpdatesMakeAPublisherDependOnTheHookServer) {
  for (const auto every : {0s, 1s}) {
    ingest one;
    one.update_every = every;
    one.start();
    auto ffmpeg = one.publish("talk?key=right");
    ASSERT_TRUE(eventually([&] { return !one.publishers().value().items.empty(); }));
    one.hooks.http.reset();
    const auto ended = ffmpeg.wait(5s);
    EXPECT_EQ(ended.has_value(), every != 0s) << every.count();
  }
}

TEST(Sample, AnNginxOfTheOperatorsOwnListsItsPublishersAndCutsThemOff) {
  ingest one;
  std::ifstream file(WEIR_SOURCE_DIR "/config/nginx-rtmp.conf");
  std::string text(std::istreambuf_iterator<char>(file), {});
  const auto replace = [&](const std::string& from, const std::string& to) {
    ASSERT_NE(text.find(from), text.npos) << from;
    for (auto at = text.find(from); at != text.npos; at = text.find(from, at + to.size()))
      text.replace(at, from.size(), to);
  };
  // Free ports, in a folder of its own, without root.
  replace("listen 1935;", "listen " + one.address(one.port) + ";");
  replace("listen 127.0.0.1:8937;", "listen " + one.address(one.statistics) + ";");
  replace("http://127.0.0.1:8080/", "http://" + one.address(one.hooks.http->port()) + "/");
  replace("    access_log off;\n", "    access_log off; client_body_temp_path temp/body; proxy_temp_path temp/proxy; fastcgi_temp_path temp/fastcgi; uwsgi_temp_path temp/uwsgi; scgi_temp_path temp/scgi;\n");
  std::filesystem::create_directories(one.home / "ingest");
  std::filesystem::create_directory_symlink(std::filesystem::path(ingest_config{}.module).parent_path(), one.home / "ingest/modules"); // as in the folder of Debian's nginx
  one.start("daemon off;\npid nginx.pid;\n" + text);

  auto ffmpeg = one.publish("talk?key=right");
  ASSERT_TRUE(eventually([&] { return !one.publishers().value().items.empty(); })) << (ffmpeg.last_lines().empty() ? "" : ffmpeg.last_lines().back());
  const auto asked = one.hooks.of(hook_kind::publish);
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_EQ(asked[0].server, "nginx1");
  const auto listed = one.publishers().value().items;
  ASSERT_EQ(listed.size(), 1u);
  EXPECT_EQ(listed[0].client_id, asked[0].client_id);
  EXPECT_EQ(tiny_http::ask(one.statistics, "/control/drop/publisher?app=live&name=talk").status, 200);
  EXPECT_TRUE(ffmpeg.wait(10s));
  EXPECT_TRUE(eventually([&] { return one.publishers().value().items.empty(); }));
  EXPECT_EQ(tiny_http::ask(one.statistics, "/").status, 404);
}

TEST(IngestConfig, OddButValidSettingsAreAcceptedByNginx) {
  folder home;
  auto at = prefix::prepare(home / "p");
  ASSERT_TRUE(at);
  ingest_config odd;
  odd.listen = "[::1]:" + std::to_string(tiny_http::free_port());
  odd.statistics = "unix:" + at->file("stat.sock");
  odd.applications = {"live", "a-b_c.d", "9"};
  odd.hook_url = "http://localhost:1/hooks/nginx-rtmp/a~b%20c?server=x-1&y=z";
  odd.update_every = 0s;
  odd.allow_play = {"10.0.0.0/8", "::1", "fd00::/64", "0.0.0.0/0"};
  odd.worker_user = "www-data";
  const auto installed = at->install(*render(odd));
  EXPECT_TRUE(installed) << installed.error().text;
}
