// EDGE with a certificate: a real nginx that it starts, and what it reports while the operator's files change. Its clock moves as the tests say.
#include "actors/edge.hpp"
#include "runtime/base/log.hpp"
#include "runtime/http/client.hpp"
#include "tests/integration/nginx/certificates.hpp"
#include "tests/integration/nginx/surroundings.hpp"
#include "tests/integration/nginx/tiny_http.hpp"
#include "tests/unit/actors/cast.hpp"
#include "tests/unit/actors/virtual_time.hpp"
#include "tests/unit/http/crowd.hpp"
#include "tests/unit/nginx/held_origin.hpp"

#include <sstream>

namespace weir::testing {
namespace {

using namespace surroundings;
using namespace certificates;

/// By then a renewed pair is in use.
constexpr auto renewal = 12s;

class SecuredEdge : public virtual_time {
protected:
  folder home;
  nginx::certificate_files first = new_certificate(home, "first"), live{home / "live.pem", home / "live.key"};
  heard_ptr log = std::make_shared<heard>();
  std::shared_ptr<http::client> web = std::make_shared<http::client>(http::client_options{});
  int port = tiny_http::free_port();
  std::shared_ptr<viewing::gate> gate = std::make_shared<viewing::gate>();
  edge_actor edge_1;

  void SetUp() override {
    ASSERT_TRUE(log::configure({log::level::info, log::format::text, home / "log"}));
    put(first);
    edge_setup setup;
    setup.spec.name = edge_name{"edge-1"};
    setup.spec.url = url();
    setup.folder = home / "edge-1";
    setup.certificate = live;
    setup.gate = gate;
    setup.config.listen = fmt::format("127.0.0.1:{}", port);
    setup.config.status = fmt::format("127.0.0.1:{}", tiny_http::free_port());
    setup.status_url = "http://" + setup.config.status + "/status";
    setup.config.origins = {"127.0.0.1:1"};
    auto coordinator = spawn(stand_in_coordinator, log, std::make_shared<coordinator_script>());
    edge_1 = spawn(edge, std::move(setup), web, coordinator);
    ASSERT_TRUE(eventually([&] { return report().up; })) << report().trouble;
  }
  void TearDown() override {
    tell(edge_1, stop{});
    EXPECT_TRUE(eventually([&] {
      settle();
      return nginx_in(home / "edge-1").empty();
    }));
    ASSERT_TRUE(log::configure({}));
  }

  void put(const nginx::certificate_files& pair) {
    copy(pair.certificate, live.certificate);
    copy(pair.key, live.key);
  }
  std::string url() const { return fmt::format("https://127.0.0.1:{}/", port); }
  /// Whether a new connection is shown exactly this certificate.
  bool shows(const nginx::certificate_files& pair) const { return curl({"--cacert", pair.certificate, "-w", "%{http_code}", url()}) == "404"; }
  /// Its next report to COORDINATOR.
  edge_load report() {
    advance(1s);
    return log->loads.empty() ? edge_load{} : log->loads.back();
  }
  bool reports(const std::string& subject) { return report().certificate.starts_with("CN=" + subject + " until "); }
  std::vector<std::string> lines_of(const std::string& event) {
    std::ifstream file(home / "log");
    std::vector<std::string> found;
    for (std::string line; std::getline(file, line);)
      if (line.find(" edge " + event + " ") != line.npos)
        found.push_back(line);
    return found;
  }
};

TEST_F(SecuredEdge, LetsNginxKnowTheKeysOfViewingTokens) {
  auto asked = [&](const viewing_key& key, const char* said = "%{http_code}") {
    return curl({"-k", "-w", said, url() + "t/" + viewing::make_token(key, "hall", 4'000'000'000) + "/s/hall~1/1/r/1.ts"});
  };
  const auto first_key = viewing::key_of("0123456789abcdefghijklmnopqrstuv"), second_key = viewing::key_of("another-secret-of-thirty-two-and-more");
  EXPECT_EQ(asked(first_key, "%{http_code} %header{retry-after} %header{access-control-allow-origin}"), "503 1 *") << "players give up after a 403";
  gate->use(viewing::with_version({.version = 0, .keys = {first_key}, .signed_only = {}}));
  EXPECT_TRUE(eventually([&] { return report().up && asked(first_key) == "502"; })) << "nobody is at its origin, but who asks is let in";
  EXPECT_TRUE(eventually([&] { return asked(second_key) == "403"; })) << "the worker from before may have answered, that knew no key";
  gate->use(viewing::with_version({.version = 0, .keys = {second_key, first_key}, .signed_only = {}}));
  EXPECT_TRUE(eventually([&] { return report().up && asked(second_key) == "502"; }));
  EXPECT_EQ(asked(first_key), "502");
  EXPECT_EQ(lines_of("viewing-keys-used").size(), 2u);
}

TEST(EdgeState, FindsTheOriginsThatTheClusterHas) {
  folder home;
  auto make = [&](bool finds, std::vector<std::string> configured) {
    auto state = std::make_unique<edge_state>();
    state->setup.spec.name = edge_name{"edge-1"};
    state->setup.folder = home / "edge-1";
    state->setup.config.listen = fmt::format("127.0.0.1:{}", tiny_http::free_port());
    state->setup.config.status = fmt::format("127.0.0.1:{}", tiny_http::free_port());
    state->setup.config.origins = std::move(configured);
    state->setup.finds_origins = finds;
    auto ready = state->prepare();
    EXPECT_TRUE(ready) << ready.error().text;
    return state;
  };
  auto written = [&] {
    std::ifstream file(home / "edge-1/nginx.conf");
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  auto told = [](std::vector<std::string> urls) {
    origin_list list{.origins = {}, .complete = true};
    for (auto& url : urls)
      list.origins.push_back({.url = url, .token = {}, .node = {}, .read_token = {}, .peer_token = {}});
    return list;
  };
  const caf::actor_clock::time_point t0{};
  {
    auto edge = make(true, {});
    EXPECT_NE(written().find("server unix:"), std::string::npos) << "it starts all the same";
    edge->use_origins(told({"http://10.0.0.2:8080", "https://10.0.0.1:8080/"}), t0);
    EXPECT_EQ(edge->setup.config.origins, (std::vector<std::string>{"10.0.0.1:8080", "10.0.0.2:8080"}));
    EXPECT_NE(written().find("server 10.0.0.1:8080 "), std::string::npos);
    edge->use_origins(told({}), t0);
    EXPECT_EQ(edge->setup.config.origins.size(), 2u) << "a coordinator that has just started knows of none";
    edge->use_origins(told({"http://10.0.0.3:8080; evil"}), t0);
    EXPECT_EQ(edge->setup.config.origins.size(), 2u) << "nginx goes on with what it has";
    EXPECT_EQ(edge->refused_origins.size(), 1u);
    // What was refused once may be good later, as a name that is not known yet; nginx is asked each 15 s.
    edge->use_origins(told({"http://10.0.0.3:8080; evil"}), t0 + std::chrono::seconds(14));
    EXPECT_EQ(edge->refused, t0);
    edge->use_origins(told({"http://10.0.0.3:8080; evil"}), t0 + std::chrono::seconds(16));
    EXPECT_EQ(edge->refused, t0 + std::chrono::seconds(16));
    auto some = told({"http://10.0.0.3:8080"});
    some.complete = false;
    edge->use_origins(some, t0);
    EXPECT_EQ(edge->setup.config.origins, (std::vector<std::string>{"10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.3:8080"})) << "who is not named may not have joined yet";
    edge->use_origins(told({"http://10.0.0.3:8080"}), t0);
    EXPECT_EQ(edge->setup.config.origins, std::vector<std::string>{"10.0.0.3:8080"});
  }
  EXPECT_EQ(make(true, {"127.0.0.1:1"})->setup.config.origins, (std::vector<std::string>{"10.0.0.3:8080", "127.0.0.1:1"})) << "as it was told last, while the coordinator is away";
  std::ofstream(home / "edge-1/origins") << "no-such-origin.invalid:8080\n";
  EXPECT_EQ(make(true, {"127.0.0.1:1"})->setup.config.origins, std::vector<std::string>{"127.0.0.1:1"}) << "a name that is no more keeps it from nothing";
  auto by_hand = make(false, {"127.0.0.1:1"});
  by_hand->use_origins(told({"http://10.0.0.4:8080"}), t0);
  EXPECT_EQ(by_hand->setup.config.origins, std::vector<std::string>{"127.0.0.1:1"});
  EXPECT_EQ(written().find("10.0.0.4"), std::string::npos);
}

TEST(EdgeState, ItsFrontFetchesPartsFromTheSameOrigins) {
  folder home;
  held_origin first(200), second(200);
  edge_state state;
  state.setup.spec.name = edge_name{"edge-1"};
  state.setup.folder = home / "edge-1";
  state.setup.config.listen = fmt::format("127.0.0.1:{}", tiny_http::free_port());
  state.setup.config.status = fmt::format("127.0.0.1:{}", tiny_http::free_port());
  state.setup.config.origins = {first.address()};
  state.setup.finds_origins = true;
  auto ready = state.prepare();
  ASSERT_TRUE(ready) << ready.error().text;
  std::ifstream file(home / "edge-1/nginx.conf");
  const std::string written(std::istreambuf_iterator<char>(file), {});
  EXPECT_NE(written.find("server " + state.front->address() + " "), std::string::npos);
  crowd viewers(state.front->address());
  EXPECT_EQ(viewers.one("/s/hall~1/1/r/1.0.m4s").status, 200);
  EXPECT_EQ(first.asked(), 1);
  origin_list told{.origins = {}, .complete = true};
  told.origins.push_back({.url = "http://" + second.address(), .token = {}, .node = {}, .read_token = {}, .peer_token = {}});
  state.use_origins(told, {});
  EXPECT_EQ(viewers.one("/s/hall~1/1/r/1.1.m4s").status, 200);
  EXPECT_EQ(second.asked(), 1);
  EXPECT_EQ(first.asked(), 1);
}

TEST_F(SecuredEdge, FetchesPartsThroughItsFront) {
  const auto key = viewing::key_of("0123456789abcdefghijklmnopqrstuv");
  gate->use(viewing::with_version({.version = 0, .keys = {key}, .signed_only = {}}));
  const auto part = "t/" + viewing::make_token(key, "hall", 4'000'000'000) + "/s/hall~1/1/r/1.0.m4s";
  const auto asked = [&](const std::string& target) { return curl({"-k", "-w", "%{http_code} %header{cache-control}", url() + target}); };
  EXPECT_TRUE(eventually([&] { return report().up && asked(part) == "502 no-store"; })) << "nobody is at its origin, and it is the front that says so: " << asked(part);
  const auto forged = "t/1.00000000." + std::string(32, '0') + "/s/hall~1/1/r/1.0.m4s";
  EXPECT_TRUE(eventually([&] { return asked(forged) == "403 "; })) << "whoever has no good token does not come there: " << asked(forged);
}

TEST(EdgeState, SaysWhichPackageIsMissing) {
  folder home;
  edge_state state;
  state.setup.folder = home / "edge";
  state.setup.config.js_module = home / "ngx_http_js_module.so";
  auto refused = state.prepare();
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().text.find("install libnginx-mod-http-js"), std::string::npos) << refused.error().text;
}

TEST_F(SecuredEdge, SpeaksTlsAndReportsWhatItShows) {
  EXPECT_TRUE(shows(first));
  EXPECT_TRUE(reports("first")) << report().certificate;
  EXPECT_EQ(report().certificate_trouble, "");
  std::ifstream file(home / "edge-1/nginx.conf");
  const std::string written(std::istreambuf_iterator<char>(file), {});
  EXPECT_NE(written.find(" ssl http2"), std::string::npos) << written;
  EXPECT_EQ(written.find(live.certificate), std::string::npos) << "nginx reads the copy, which stays good when the operator's file does not";
}

TEST_F(SecuredEdge, TakesOverARenewedCertificateAndSaysSo) {
  const auto second = new_certificate(home, "second");
  put(second);
  advance(renewal);
  EXPECT_TRUE(reports("second")) << report().certificate;
  EXPECT_TRUE(eventually([&] { return shows(second); }));
  advance(2 * renewal);
  const auto said = lines_of("certificate-renewed");
  ASSERT_EQ(said.size(), 1u) << "once";
  EXPECT_NE(said.front().find("CN=second"), std::string::npos) << said.front();
  EXPECT_EQ(report().certificate_trouble, "");
  EXPECT_EQ(report().restarts, 0u) << "the same nginx";
}

TEST_F(SecuredEdge, KeepsItsCertificateWhenTheNewOneIsBadAndSaysWhy) {
  const auto second = new_certificate(home, "second");
  copy(second.certificate, live.certificate); // its key is left out
  advance(renewal);
  const auto refused = report();
  EXPECT_TRUE(reports("first")) << refused.certificate;
  EXPECT_NE(refused.certificate_trouble.find("key values mismatch"), std::string::npos) << refused.certificate_trouble;
  EXPECT_NE(refused.certificate_trouble.find(live.certificate), std::string::npos) << refused.certificate_trouble;
  EXPECT_TRUE(shows(first));
  advance(2 * renewal);
  EXPECT_EQ(report().certificate_trouble, refused.certificate_trouble) << "as long as it is so";
  ASSERT_EQ(lines_of("certificate-refused").size(), 1u) << "once";
  EXPECT_NE(lines_of("certificate-refused").front().find("key values mismatch"), std::string::npos);

  // What it starts after a death is what it served before.
  pid_t master = 0;
  std::ifstream(home / "edge-1/nginx.pid") >> master;
  ASSERT_GT(master, 1);
  kill(master, SIGKILL);
  ASSERT_TRUE(eventually([&] {
    const auto now = report();
    return now.up && now.restarts > 0;
  }));
  EXPECT_TRUE(shows(first));
  EXPECT_NE(report().certificate_trouble, "");

  put(second);
  advance(renewal);
  EXPECT_TRUE(reports("second"));
  EXPECT_EQ(report().certificate_trouble, "");
  EXPECT_TRUE(eventually([&] { return shows(second); }));
}

} // namespace
} // namespace weir::testing
