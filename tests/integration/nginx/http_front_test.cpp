// HTTP FRONT: a real nginx with TLS and HTTP/2 before a listener, asked by curl. Its clock moves as the tests say.
#include "actors/http_front.hpp"
#include "runtime/base/log.hpp"
#include "tests/integration/nginx/certificates.hpp"
#include "tests/integration/nginx/surroundings.hpp"
#include "tests/integration/nginx/tiny_http.hpp"
#include "tests/unit/actors/virtual_time.hpp"

#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

namespace weir::testing {
namespace {

using namespace surroundings;
using namespace certificates;

/// By then a renewed pair is in use.
constexpr auto renewal = 12s;

class HttpFront : public virtual_time {
protected:
  folder home;
  nginx::certificate_files first = new_certificate(home, "first"), live{home / "live.pem", home / "live.key"};
  std::mutex lock;
  std::vector<std::string> heads; ///< of requests that came through
  std::string node_says = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
  std::optional<tiny_http::server> node{std::in_place, [this](const tiny_http::request& r) {
                                          std::lock_guard held(lock);
                                          heads.push_back(r.head);
                                          return node_says;
                                        }};
  int port = tiny_http::free_port();
  http_front_actor front;

  void SetUp() override {
    put(first);
    http_front_setup setup;
    setup.folder = home / "http-front";
    setup.certificate = live;
    setup.config.listen = fmt::format("127.0.0.1:{}", port);
    setup.config.upstream = fmt::format("127.0.0.1:{}", node->port());
    front = spawn(http_front, std::move(setup));
    ASSERT_TRUE(eventually([&] { return shows(first); }));
  }
  void TearDown() override {
    tell(front, stop{});
    EXPECT_TRUE(eventually([&] {
      settle();
      return nginx_in(home / "http-front").empty();
    }));
  }
  void put(const nginx::certificate_files& pair) {
    copy(pair.certificate, live.certificate);
    copy(pair.key, live.key);
  }
  std::string url(const std::string& path) const { return fmt::format("https://127.0.0.1:{}{}", port, path); }
  bool shows(const nginx::certificate_files& pair) const { return curl({"--cacert", pair.certificate, "-w", "%{http_code}", url("/livez")}) == "200"; }
  std::string get(const std::string& path, std::vector<std::string> more = {}) const {
    std::vector<std::string> arguments{"--cacert", first.certificate, "--path-as-is", "-w", "%{http_version} %{http_code}", url(path)};
    arguments.insert(arguments.begin(), more.begin(), more.end());
    return curl(arguments);
  }
  /// The head of its answer, as it came.
  std::string head_of(const std::string& path, std::vector<std::string> more = {}) const {
    more.insert(more.end(), {"--http1.1", "-D", home / "head"});
    EXPECT_TRUE(get(path, std::move(more)).starts_with("1.1 "));
    std::ifstream file(home / "head");
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void say(std::string answer) {
    std::lock_guard held(lock);
    node_says = std::move(answer);
  }
  std::string last() {
    std::lock_guard held(lock);
    return heads.empty() ? "" : heads.back();
  }
  nlohmann::json status() { return nlohmann::json::parse(ask<actor_report>(front, ask_status{}).status); }
};

TEST_F(HttpFront, SpeaksHttp2AndTellsWhoAsks) {
  EXPECT_EQ(get("/hls/show/index.m3u8?x=1", {"--http2", "-H", "X-Forwarded-For: 203.0.113.7"}), "2 200");
  const auto head = last();
  EXPECT_TRUE(head.starts_with("GET /hls/show/index.m3u8?x=1 HTTP/1.1\r\n")) << head;
  EXPECT_NE(head.find("X-Forwarded-For: 203.0.113.7, 127.0.0.1\r\n"), std::string::npos) << head;
  EXPECT_NE(head.find(fmt::format("Host: 127.0.0.1:{}\r\n", port)), std::string::npos) << head;
  EXPECT_EQ(get("/p/3.1/show~1/720p.m3u8?_HLS_msn=3&_HLS_part=1", {"--http1.1"}), "1.1 200");
  EXPECT_TRUE(last().starts_with("GET /p/3.1/show~1/720p.m3u8?_HLS_msn=3&_HLS_part=1 HTTP/1.1\r\n")) << last();
  const auto outdated = curl({"-S", "-k", "--tlsv1.1", "--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0", url("/livez")});
  EXPECT_NE(outdated.find("alert protocol version(35)"), std::string::npos) << "it is nginx that refuses: " << outdated;
}

TEST_F(HttpFront, KeepsToItselfWhatIsBetweenMachines) {
  for (auto* path : {"/", "/api/v1/streams", "/watch/show", "/assets/app.js", "/steer/1.1/show", "/t/1.2.3/p/1.1/show~1/a.m3u8", "/s/show~1/1/a/1.ts", "/readyz"})
    EXPECT_EQ(get(path), "2 200") << path;
  const auto through = last();
  for (auto* path : {"/hooks/srs", "/hooks/nginx-rtmp/secret", "/rtmp/callback/srs", "/metrics", "/introspect", "/cluster/v1/nodes/a/coordinator-missed", "/origin/v1/logs", "/replica/v1/logs",
                     "//hooks/srs", "/nothing"})
    EXPECT_EQ(get(path), "2 404") << path;
  // What nginx and the node might read differently.
  for (auto* path : {"/hooks/..%2fapi/v1/x", "/api/../metrics", "/api/%2e%2e/metrics", "/api/v1/..", "/metrics%2f..%2fapi/v1/x", "/api/v1/%5c..%5cmetrics", "/api/v1/\\..\\metrics"})
    EXPECT_EQ(get(path), "2 400") << path;
  EXPECT_EQ(last(), through) << "nothing of it came to the node";
}

TEST_F(HttpFront, LetsBrowsersReadWhatItSaysItselfAndLeavesTheNodesWordAlone) {
  const auto lines = [](const std::string& head) {
    std::vector<std::string> found;
    std::istringstream all(head);
    for (std::string line; std::getline(all, line);)
      if (line.starts_with("Access-Control-"))
        found.push_back(line.substr(0, line.find('\r')));
    return found;
  };
  const std::vector<std::string> own{"Access-Control-Allow-Origin: *", "Access-Control-Expose-Headers: Age, Date, Retry-After"};
  for (const auto& [path, status] : {std::pair{"/nothing", "404"}, {"/p/..%2fmetrics", "400"}}) {
    const auto head = head_of(path);
    EXPECT_TRUE(head.starts_with(fmt::format("HTTP/1.1 {} ", status))) << head;
    EXPECT_EQ(lines(head), own) << head;
  }
  const auto large = head_of("/beacon/show", {"-X", "POST", "-H", "Expect:", "-H", "Content-Length: 99999999"});
  EXPECT_TRUE(large.starts_with("HTTP/1.1 413 ")) << large;
  EXPECT_EQ(lines(large), own);
  // The node has the header on what players fetch, and on nothing else.
  const std::vector<std::string> nodes{"Access-Control-Allow-Origin: *", "Access-Control-Expose-Headers: Age, Weir-Reason"};
  for (int status : {200, 404, 502, 503, 504}) {
    say(tiny_http::response(status, "ok", nodes[0] + "\r\n" + nodes[1] + "\r\n"));
    EXPECT_EQ(lines(head_of("/p/3.1/show~1/720p.m3u8")), nodes) << status;
    say(tiny_http::response(status, "ok"));
    EXPECT_TRUE(lines(head_of("/api/v1/streams")).empty()) << status;
  }
  node.reset();
  const auto restarts = head_of("/p/3.1/show~1/720p.m3u8");
  EXPECT_TRUE(restarts.starts_with("HTTP/1.1 502 ")) << restarts;
  EXPECT_EQ(lines(restarts), own);
}

TEST_F(HttpFront, TakesARenewedCertificateOver) {
  const auto second = new_certificate(home, "second");
  put(second);
  EXPECT_TRUE(eventually([&] {
    advance(1s);
    return shows(second);
  }, std::chrono::duration_cast<std::chrono::milliseconds>(2 * renewal)));
  EXPECT_TRUE(std::string(status()["certificate"]).starts_with("CN=second until ")) << status();
  copy(first.certificate, live.certificate); // with the key of the other one
  EXPECT_TRUE(eventually([&] {
    advance(1s);
    return !std::string(status()["certificate_trouble"]).empty();
  }));
  EXPECT_TRUE(shows(second)) << "the former pair is served on";
}

TEST_F(HttpFront, ComesBackAtItsAddress) {
  const pid_t former = status()["pid"];
  ASSERT_GT(former, 0);
  ::kill(former, SIGKILL);
  EXPECT_TRUE(eventually([&] {
    advance(1s);
    return status()["pid"] != former && shows(first);
  }));
}

} // namespace
} // namespace weir::testing
