#include "actors/director.hpp"
#include "actors/http_bridge.hpp"
#include "runtime/http/client.hpp"
#include "tests/unit/actors/cast.hpp"
#include "tests/unit/actors/virtual_time.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <mutex>
#include <thread>

namespace weir::testing {
namespace {

using namespace std::chrono_literals;

/// "connect-src …" of a policy.
std::string sources(const std::string& policy) {
  auto at = policy.find("connect-src ");
  return at == std::string::npos ? policy : policy.substr(at, policy.find(';', at) - at);
}

edge_status edge_at(std::string name, std::string url) {
  edge_status one;
  one.spec = {.name = edge_name{name}, .node = node_name{"other"}, .url = std::move(url), .capacity_bps = 1'000'000};
  return one;
}

edge_table table_of(edge_epoch epoch, std::vector<std::string> urls) {
  std::vector<edge_target> edges;
  for (auto& url : urls)
    edges.push_back({.name = edge_name{"of " + url}, .url = url, .weight_milli = 1000, .capacity_bps = 1'000'000});
  return steering::make_table(epoch, edges);
}

TEST(PagePolicy, NamesWhatTheEdgesServeAndNothingElse) {
  EXPECT_EQ(sources(page_policy({}, {})), "connect-src 'self'");
  EXPECT_EQ(sources(page_policy({"https://b.example.org/edge-1", "http://10.0.0.3:8081", "https://b.example.org/edge-2"}, {"https://*.c.example.org"})),
            "connect-src 'self' http://10.0.0.3:8081 https://*.c.example.org https://b.example.org");
  EXPECT_EQ(sources(page_policy({"http://[::1]:8081"}, {})), "connect-src 'self' http:") << "a policy cannot name an IPv6 address";
  auto policy = page_policy({"https://a; script-src *", "javascript:alert(1)", "https://b,c/"}, {});
  EXPECT_EQ(sources(policy), "connect-src 'self' https:");
  EXPECT_EQ(policy.find("script-src"), std::string::npos) << policy;
}

TEST(PagePolicy, NamesSchemesWhereEdgesAreTooManyForAHeader) {
  std::vector<std::string> many;
  for (int i = 0; i < 1000; ++i)
    many.push_back(fmt::format("https://edge-{}.example.org:8443", i));
  EXPECT_EQ(sources(page_policy(many, {})), "connect-src 'self' https:");
  many.emplace_back("http://old.example.org");
  EXPECT_EQ(sources(page_policy(many, {"https://*.example.org"})), "connect-src 'self' http: https:");
  many.resize(40);
  EXPECT_NE(sources(page_policy(many, {})).find("https://edge-39.example.org:8443"), std::string::npos);
}

class HttpPages : public virtual_time {
public:
  http::server web{{}};
  http::client client{{}};

  /// The player page; messages are delivered meanwhile.
  http::client_response page(std::string etag = {}) {
    struct {
      std::mutex guard;
      std::optional<expected<http::client_response>> got;
    } answer;
    http::client_request request;
    request.url = fmt::format("http://127.0.0.1:{}/watch/main", web.port());
    if (!etag.empty())
      request.headers.add("If-None-Match", std::move(etag));
    client.send(std::move(request), [&](expected<http::client_response> r) {
      std::lock_guard lock(answer.guard);
      answer.got = std::move(r);
    });
    for (;; std::this_thread::yield()) { // the client's own deadline ends it
      settle();
      std::lock_guard lock(answer.guard);
      if (!answer.got)
        continue;
      EXPECT_TRUE(*answer.got) << answer.got->error().text;
      return *answer.got ? **answer.got : http::client_response{};
    }
  }
  static std::string field(const http::client_response& r, std::string_view name) { return std::string(r.headers.find(name).value_or("")); }
  static std::string sources_of(const http::client_response& r) { return sources(field(r, "Content-Security-Policy")); }
};

TEST_F(HttpPages, NameTheEdgesOfOtherNodesThatADirectorKnows) {
  director_state director;
  auto desk = std::make_shared<playlist_desk>(30s);
  http_bridge_setup setup;
  setup.edge_urls = [desk] { return desk->edge_urls(); };
  setup.own_edges = {"http://own:8081"};
  add_page_routes(web, http_bridge_actor{}, setup);
  ASSERT_TRUE(web.start());
  EXPECT_EQ(sources_of(page()), "connect-src 'self'");

  ASSERT_TRUE(director.take(table_of(1, {"http://a:8081", "https://b"})));
  desk->show(director.view());
  auto first = page();
  EXPECT_EQ(sources_of(first), "connect-src 'self' http://a:8081 https://b");
  EXPECT_EQ(page(field(first, "ETag")).status, 304);

  // A table that follows names fewer; what is listed still names those of the one before, and a dead edge may come back.
  ASSERT_TRUE(director.take(table_of(2, {"https://b"})));
  edge_list all{{edge_at("b", "https://b"), edge_at("c", "https://c")}};
  EXPECT_TRUE(director.take(all));
  EXPECT_FALSE(director.take(all)) << "nothing new";
  desk->show(director.view());
  auto second = page(field(first, "ETag"));
  EXPECT_EQ(second.status, 200) << "a 304 would leave the browser with the former policy";
  EXPECT_EQ(sources_of(second), "connect-src 'self' http://a:8081 https://b https://c");

  EXPECT_FALSE(director.forget(now())) << "the coordinator keeps both tables: some other playlist may name them";
  all.oldest_table = 2;
  director.take(all);
  EXPECT_TRUE(director.forget(now()));
  desk->show(director.view());
  EXPECT_EQ(sources_of(page()), "connect-src 'self' https://b https://c") << "nothing names the first table any more";
}

TEST_F(HttpPages, NameTheEdgesThatTheCoordinatorKnowsOnANodeWithoutADirector) {
  auto script = std::make_shared<coordinator_script>();
  http_bridge_setup setup;
  setup.coordinator = spawn(stand_in_coordinator, std::make_shared<heard>(), script);
  setup.own_edges = {"http://own:8081"};
  setup.edge_hosts = {"https://*.later.example.org"};
  setup.metrics = std::make_shared<metrics::registry>();
  auto bridge = spawn(http_bridge, setup);
  add_page_routes(web, bridge, setup);
  ASSERT_TRUE(web.start());
  EXPECT_EQ(sources_of(page()), "connect-src 'self' http://own:8081 https://*.later.example.org") << "the coordinator does not answer";

  script->view.emplace();
  script->view->edges = {edge_at("a", "https://a")};
  EXPECT_EQ(sources_of(page()), "connect-src 'self' http://own:8081 https://*.later.example.org") << "it was asked a moment ago";
  scheduler.clock().current_time += 3s;
  EXPECT_EQ(sources_of(page()), "connect-src 'self' http://own:8081 https://*.later.example.org https://a");
  script->view.reset();
  scheduler.clock().current_time += 3s;
  EXPECT_EQ(sources_of(page()), "connect-src 'self' http://own:8081 https://*.later.example.org https://a") << "what was known holds";
}

} // namespace
} // namespace weir::testing
