#include "runtime/nginx/edge_config.hpp"
#include "runtime/nginx/http_front_config.hpp"
#include "runtime/nginx/ingest_config.hpp"
#include "runtime/nginx/values.hpp"
#include "schemas/config.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <tuple>

using namespace weir;
using namespace weir::nginx;
using namespace std::chrono_literals;

namespace {

ingest_config good_ingest() {
  ingest_config config;
  config.statistics = "127.0.0.1:8085";
  config.hook_url = "http://127.0.0.1:8080/hooks/nginx-rtmp/s3cret?server=ingest-1";
  return config;
}
edge_config good_edge() {
  edge_config config;
  config.status = "unix:/run/weir/edge/status.sock";
  config.origins = {"10.0.0.1:8080", "[fd00::1]:8080"};
  config.log_socket = "/run/weir/edge/log.sock";
  return config;
}
http_front_config good_front() {
  http_front_config config;
  config.certificate = "front.pem";
  config.upstream = "127.0.0.1:8080";
  return config;
}
bool holds(const expected<std::string>& text, std::string_view part) { return text && text->find(part) != std::string::npos; }

/// What could end one directive and begin another, leave its quotes, or read a variable.
const std::vector<std::string> poisons{";", "{", "}", "\n", "\r", "\"", "'", "$host", "#", "\\", " ", "`", std::string("\0", 1)};

} // namespace

TEST(IngestConfig, SaysWhatTheMeasuredBehaviourNeeds) {
  auto config = good_ingest();
  config.update_every = 5s;
  const auto text = render(config);
  ASSERT_TRUE(text) << text.error().text;
  for (const auto* part : {"notify_method post;", "live on;", "drop_idle_publisher 10s;", "notify_update_timeout 5s;", "worker_processes 1;", "daemon off;",
                           "on_publish http://127.0.0.1:8080/hooks/nginx-rtmp/s3cret?server=ingest-1;", "allow play 127.0.0.1;", "deny play all;", "rtmp_stat all;"})
    EXPECT_TRUE(holds(text, part)) << part;
}

TEST(IngestConfig, AsksForNoUpdatesUnlessToldTo) { EXPECT_FALSE(holds(render(good_ingest()), "on_update")); }

TEST(IngestConfig, RefusesToCarryAnInjection) {
  for (const auto& poison : poisons)
    for (auto member : {&ingest_config::listen, &ingest_config::statistics, &ingest_config::hook_url, &ingest_config::worker_user, &ingest_config::module}) {
      auto config = good_ingest();
      config.*member += poison;
      const auto text = render(config);
      ASSERT_FALSE(text) << poison;
      EXPECT_EQ(text.error().code, error_code::invalid_config);
      EXPECT_EQ(text.error().text.find('\n'), std::string::npos) << "an error is one line";
    }
  for (const auto& poison : poisons) {
    auto config = good_ingest();
    config.applications = {"live" + poison};
    EXPECT_FALSE(render(config)) << poison;
    config = good_ingest();
    config.allow_play = {"10.0.0.1" + poison};
    EXPECT_FALSE(render(config)) << poison;
  }
}

TEST(IngestConfig, NamesTheSettingAndItsValue) {
  auto config = good_ingest();
  config.listen = "0.0.0.0:99999";
  EXPECT_EQ(render(config).error().text, "listen '0.0.0.0:99999': the port must be 1 to 65535");
  config = good_ingest();
  config.statistics = "0.0.0.0:80";
  EXPECT_NE(render(config).error().text.find("of this machine only"), std::string::npos) << "whoever reaches it may kick publishers";
  config = good_ingest();
  config.applications.clear();
  EXPECT_FALSE(render(config));
}

TEST(HttpFrontConfig, LetsThroughWhatIsNamed) {
  const auto text = render(good_front());
  ASSERT_TRUE(text) << text.error().text;
  for (const auto* part : {"listen 0.0.0.0:443 ssl http2;", "ssl_certificate front.pem;", "ssl_protocols TLSv1.2 TLSv1.3;", "server 127.0.0.1:8080 max_fails=0;", "client_max_body_size 1048576;",
                           "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;", "proxy_buffering off;"})
    EXPECT_TRUE(holds(text, part)) << part;
  for (const auto* part : {"hooks", "metrics", "cluster", "origin", "replica", "rtmp"})
    EXPECT_FALSE(holds(text, part)) << part << " is between machines";
}

TEST(HttpFrontConfig, RefusesToCarryAnInjection) {
  for (const auto& poison : poisons)
    for (auto member : {&http_front_config::listen, &http_front_config::certificate, &http_front_config::upstream, &http_front_config::worker_user}) {
      auto config = good_front();
      config.*member += poison;
      const auto text = render(config);
      ASSERT_FALSE(text) << poison;
      EXPECT_EQ(text.error().code, error_code::invalid_config);
      EXPECT_EQ(text.error().text.find('\n'), std::string::npos) << "an error is one line";
    }
}

TEST(EdgeConfig, FollowsTheRulesForCaches) {
  const auto text = render(good_edge());
  ASSERT_TRUE(text) << text.error().text;
  for (const auto* part : {"proxy_cache_lock on;", "proxy_cache_lock_timeout 13s;", "proxy_cache_lock_age 13s;", "proxy_read_timeout 2s;", "updating",
                           "proxy_cache_background_update off;", "proxy_cache_key $uri;", "keepalive 32;", "server 10.0.0.1:8080 max_fails=1 fail_timeout=10s;",
                           "server [fd00::1]:8080 max_fails=1 fail_timeout=10s;", "server 10.0.0.1:8080 backup max_fails=0;", "server [fd00::1]:8080 backup max_fails=0;",
                           "proxy_next_upstream error timeout http_404 http_500 http_502 http_503 http_504;", "proxy_next_upstream_tries 2;",
                           "add_header Access-Control-Allow-Origin $weir_cors always;", "proxy_hide_header Access-Control-Allow-Origin;", "stub_status;",
                           "access_log syslog:server=unix:/run/weir/edge/log.sock,nohostname,tag=weir_edge weir;", "proxy_cache_valid 404 410 1s;", "use_temp_path=off"})
    EXPECT_TRUE(holds(text, part)) << part;
  EXPECT_FALSE(holds(text, "reuseport")) << "one worker needs none, and a forgotten nginx would keep its share";
}

TEST(EdgeConfig, KeepsWhatIsAskedForAsLongAsAnyWindowAndNothingElse) {
  const auto text = render(good_edge());
  const auto longest = std::apply([](const auto&... f) {
    auto most = 0ms;
    const auto look = [&](const auto& one) {
      if constexpr (requires { most = one.allowed->max; })
        if (one.name == "window" || one.name == "dvr_window")
          most = std::max<std::chrono::milliseconds>(most, one.allowed->max);
    };
    (look(f), ...);
    return most;
  }, origin_options::fields());
  EXPECT_GE(longest, 1h);
  EXPECT_GE(edge_config{}.segment_validity, longest);
  EXPECT_TRUE(holds(text, fmt::format("proxy_cache_valid 200 206 {}s;", edge_config{}.segment_validity.count())));
  EXPECT_TRUE(holds(text, " inactive=600s;")) << "a long window is the origin's to keep: who winds back to what nobody fetches has it fetched again";
  auto brief = good_edge();
  brief.segment_validity = 60s;
  EXPECT_TRUE(holds(render(brief), " inactive=60s;"));
}

TEST(EdgeConfig, WaitsLongerForAnOriginThatNobodyElseStandsInFor) {
  auto config = good_edge();
  config.origins = {"10.0.0.1:8080"};
  const auto text = render(config);
  ASSERT_TRUE(text) << text.error().text;
  for (const auto* part : {"server 10.0.0.1:8080 max_fails=2 fail_timeout=2s;", "proxy_read_timeout 14s;", "proxy_next_upstream_tries 1;"})
    EXPECT_TRUE(holds(text, part)) << part;
  EXPECT_FALSE(holds(text, "backup"));
}

TEST(EdgeConfig, SeveralWorkersShareThePort) {
  auto config = good_edge();
  config.workers = 2;
  EXPECT_TRUE(holds(render(config), "listen 0.0.0.0:8081 reuseport;"));
}

TEST(EdgeConfig, SpeaksTlsAndHttp2WhereItHasACertificate) {
  auto config = good_edge();
  const auto plain = render(config);
  EXPECT_TRUE(holds(plain, "listen 0.0.0.0:8081;"));
  EXPECT_FALSE(holds(plain, "ssl"));
  config.certificate = "edge.pem";
  const auto text = render(config);
  ASSERT_TRUE(text) << text.error().text;
  for (const auto* part : {"listen 0.0.0.0:8081 ssl http2;", "ssl_certificate edge.pem;", "ssl_certificate_key edge.pem;", "ssl_protocols TLSv1.2 TLSv1.3;",
                           "listen unix:/run/weir/edge/status.sock;"})
    EXPECT_TRUE(holds(text, part)) << part;
  config.workers = 2;
  config.certificate = "/run/weir/edge/edge.pem";
  EXPECT_TRUE(holds(render(config), "listen 0.0.0.0:8081 ssl http2 reuseport;"));
}

TEST(EdgeConfig, TellsItsNameWhereItHasOne) {
  auto config = good_edge();
  EXPECT_FALSE(holds(render(config), "Weir-Edge"));
  config.name = "cache-1";
  EXPECT_TRUE(holds(render(config), "add_header Weir-Edge cache-1 always;"));
}

TEST(EdgeConfig, RefusesToCarryAnInjection) {
  for (const auto& poison : poisons) {
    for (auto member : {&edge_config::listen, &edge_config::status, &edge_config::cache_path, &edge_config::log_socket, &edge_config::worker_user, &edge_config::certificate,
                        &edge_config::js_module, &edge_config::parts, &edge_config::name}) {
      auto config = good_edge();
      config.parts = "127.0.0.1:4711";
      config.name = "cache-1";
      config.*member += poison;
      const auto text = render(config);
      ASSERT_FALSE(text) << poison;
      EXPECT_EQ(text.error().code, error_code::invalid_config);
    }
    auto config = good_edge();
    config.origins.push_back("10.0.0.1:80" + poison);
    EXPECT_FALSE(render(config)) << poison;
    config = good_edge();
    config.viewing_keys = {{"01234567", std::string(40, 'k') + poison}};
    const auto text = render(config);
    ASSERT_FALSE(text) << poison;
    EXPECT_EQ(text.error().code, error_code::invalid_config);
    EXPECT_EQ(text.error().text.find("kkkk"), std::string::npos) << "an error is seen by others";
  }
}

TEST(EdgeConfig, ChecksViewingTokensBeforeTheCacheAndKeepsThemOutOfItsKeys) {
  auto config = good_edge();
  const auto text = render(config);
  EXPECT_TRUE(holds(text, "return 503")) << "while none is known";
  for (const auto* part : {"load_module /usr/lib/nginx/modules/ngx_http_js_module.so;", "js_import weir from viewing.js;", "proxy_cache_key \"signed $weir_object\";"})
    EXPECT_TRUE(holds(text, part)) << part;
  config.viewing_keys = {{"ignored", std::string(40, 'k')}};
  EXPECT_TRUE(holds(render(config), "dc4c5d17 " + std::string(40, 'k') + ";")) << "its id follows from the secret";
  EXPECT_FALSE(holds(render(config), "return 503")) << "a key that is not among those is wrong";
  config.js_module.clear();
  EXPECT_FALSE(holds(render(config), "load_module"));
}

TEST(EdgeConfig, HandsPartsToTheirFrontWithAndWithoutAToken) {
  auto config = good_edge();
  EXPECT_FALSE(holds(render(config), "m4s")) << "without a front they are as segments are";
  config.parts = "127.0.0.1:4711";
  config.viewing_keys = {viewing_key{"ignored", std::string(40, 'k')}};
  const auto text = render(config);
  ASSERT_TRUE(text) << text.error().text;
  EXPECT_TRUE(holds(text, "server 127.0.0.1:4711 max_fails=0;"));
  std::size_t locations = 0;
  for (auto at = text->find("m4s$\" {"); at != text->npos; at = text->find("m4s$\" {", at + 1)) {
    ++locations;
    const auto location = text->substr(at, text->find("proxy_pass", at) + 30 - at);
    EXPECT_NE(location.find("proxy_cache off;"), location.npos);
    EXPECT_NE(location.find("proxy_read_timeout 15s;"), location.npos) << "longer than the front waits for an origin";
    EXPECT_NE(location.find("proxy_pass http://parts;"), location.npos);
    EXPECT_EQ(location.find("$weir_viewing != good") != location.npos, locations == 2) << location;
  }
  EXPECT_EQ(locations, 2u);
  config.parts = "10.0.0.1:80";
  EXPECT_FALSE(render(config)) << "it answers whoever reaches it";
}

TEST(EdgeConfig, RefusesWhatNginxCouldNotDo) {
  auto config = good_edge();
  config.origins.clear();
  EXPECT_FALSE(render(config));
  config = good_edge();
  config.log_socket = "/" + std::string(107, 'a');
  EXPECT_NE(render(config).error().text.find("107 bytes"), std::string::npos);
  config = good_edge();
  config.workers = 0;
  EXPECT_FALSE(render(config));
}

TEST(Values, AddressesNetworksAndUrlsInTheirOddButValidForms) {
  for (const auto* good : {"localhost:1", "h-1.example.org:65535", "[::1]:80", "unix:/run/a.sock", "0.0.0.0:1935"})
    EXPECT_TRUE(check_address("a", good)) << good;
  for (const auto* bad : {"", ":80", "host", "host:", "host:0", "host:65536", "host:80x", "[::1", "unix:relative", "a b:80", "[;]:80"})
    EXPECT_FALSE(check_address("a", bad)) << bad;
  for (const auto* good : {"10.0.0.0/8", "::1", "fd00::/64", "127.0.0.1", "0.0.0.0/0"})
    EXPECT_TRUE(check_network("a", good)) << good;
  for (const auto* bad : {"", "10.0.0", "10.0.0.0/33", "all", "::/129", "10.0.0.0/", "1.2.3.4/8;"})
    EXPECT_FALSE(check_network("a", bad)) << bad;
  for (const auto* bad : {"", "https://h:1/", "http://h:1", "http://h/x", "http://u@h:1/", "http://h:1/{x}", "http://h:1/a b"})
    EXPECT_FALSE(check_http_url("a", bad)) << bad;
}
