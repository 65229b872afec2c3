// The dashboard, the player page, health and metrics.
#include "actors/http_bridge.hpp"
#include "runtime/base/log.hpp"
#include "runtime/base/secret.hpp"
#include "web/assets.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <set>
#include <utility>

namespace weir {

using http::request;
using http::responder;

namespace {

constexpr std::size_t longest_sources = 3000;             ///< bytes of a policy: proxies take headers of 4 kB and more
constexpr auto edges_fresh = std::chrono::seconds(2);     ///< while the coordinator is not asked again
constexpr auto coordinator_wait = std::chrono::seconds(1);

/// Scheme, host and port of an address; the scheme alone where a policy cannot name the host; empty for what is no address.
std::string source_of(std::string_view url) {
  auto scheme = url.substr(0, url.find("://"));
  if (scheme != "http" && scheme != "https")
    return {};
  auto rest = url.substr(scheme.size() + 3);
  auto authority = rest.substr(0, rest.find('/'));
  bool plain = !authority.empty() && std::ranges::all_of(authority, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_' || c == ':';
  });
  return std::string(scheme) + (plain ? "://" + std::string(authority) : ":");
}

/// Hands over the addresses that the page may fetch from. On nodes without a director the coordinator says them: one question for all who ask meanwhile.
void with_edge_urls(const http_bridge_actor& bridge, const http_bridge_setup& setup, http_bridge_state::edge_urls_wanted use) {
  if (setup.edge_urls)
    return use(setup.edge_urls());
  in_bridge(bridge, [use = std::move(use)](http_bridge_self self) {
    auto& edges = self->state.edges;
    if (edges.heard && self->clock().now() - *edges.heard < edges_fresh)
      return use(edges.urls);
    edges.waiting.push_back(use);
    if (std::exchange(edges.asked, true))
      return;
    auto answer = [self] {
      auto& now = self->state.edges;
      now.heard = self->clock().now();
      now.asked = false;
      for (auto& one : std::exchange(now.waiting, {}))
        one(now.urls);
    };
    ask(self, coordinator_wait, self->state.setup.coordinator, view_cluster{})
      .then(
        [=](const cluster_view& view) {
          self->state.edges.urls = self->state.setup.own_edges;
          for (auto& e : view.edges)
            self->state.edges.urls.push_back(e.spec.url);
          answer();
        },
        [=](const caf::error& why) {
          log::warn("http-bridge", "edges-unknown", "error={}", from_caf(why).text); // the page comes all the same: with the edges that were known before
          if (!self->state.edges.heard)
            self->state.edges.urls = self->state.setup.own_edges;
          answer();
        });
  });
}

} // namespace

std::string page_policy(const std::vector<std::string>& edge_urls, const std::vector<std::string>& hosts) {
  std::set<std::string> sources(hosts.begin(), hosts.end());
  for (auto& url : edge_urls)
    sources.insert(source_of(url));
  sources.erase("");
  auto named = fmt::format("{}", fmt::join(sources, " "));
  if (named.size() > longest_sources) {
    std::set<std::string_view> schemes;
    for (auto& source : sources)
      schemes.insert(std::string_view(source).substr(0, source.find(':') + 1));
    named = fmt::format("{}", fmt::join(schemes, " "));
  }
  return fmt::format("default-src 'self'; img-src 'self' data:; media-src 'self' blob:; worker-src 'self' blob:; connect-src 'self'{}{}; object-src 'none'; base-uri 'none'; "
                     "frame-ancestors 'self'; form-action 'self'",
                     named.empty() ? "" : " ", named);
}

void add_page_routes(http::server& server, const http_bridge_actor& bridge, const http_bridge_setup& setup) {
  auto page_of = [](const web::asset& a, const std::string& etag, const std::string& policy, std::string if_none_match) {
    auto page = http::text_response(200, std::string(a.bytes), std::string(a.content_type));
    page.with("ETag", etag).with("Cache-Control", "no-cache").with("Content-Security-Policy", policy).with("X-Content-Type-Options", "nosniff")
      .with("Referrer-Policy", "no-referrer");
    http::apply_conditions({.if_none_match = std::move(if_none_match), .range = {}, .if_range = {}}, page);
    return page;
  };
  auto known = [](const request& r) { return std::string(r.header("If-None-Match").value_or("")); };
  auto serve = [=, policy = page_policy({}, {})](const web::asset& a) {
    return [=, &a](const request& r, responder answer) { answer(page_of(a, std::string(a.etag), policy, known(r))); };
  };
  for (auto& a : web::assets()) {
    if (a.path == "index.html")
      server.route("GET", "/", {}, serve(a));
    else if (a.path == "watch.html")
      server.route("GET", "/watch/{stream}", {}, [=, &a](const request& r, responder answer) {
        with_edge_urls(bridge, setup, [=, &a, hosts = setup.edge_hosts, if_none_match = known(r)](const std::vector<std::string>& urls) {
          auto policy = page_policy(urls, hosts);
          // Browsers keep the policy of the page that they have when a 304 says that it is still good: other edges make another page.
          auto etag = fmt::format("\"{}-{}\"", a.etag.substr(1, a.etag.size() - 2), sha256_hex(policy).substr(0, 16));
          answer(page_of(a, etag, policy, if_none_match));
        });
      });
    else
      server.route("GET", "/assets/" + std::string(a.path), {}, serve(a));
  }

  server.route("GET", "/livez", {}, [](const request&, responder answer) { answer(http::text_response(200, "alive\n")); });
  server.route("GET", "/readyz", {}, [bridge](const request&, responder answer) {
    in_bridge(bridge, [answer](http_bridge_self self) {
      ask(self, std::chrono::seconds(1), self->state.setup.coordinator, view_cluster{})
        .then(
          [=](const cluster_view& view) {
            auto missing = self->state.setup.not_ready(view);
            std::string text = missing.empty() ? "ready\n" : "";
            for (auto& m : missing)
              text += m + "\n";
            answer(http::text_response(missing.empty() ? 200 : 503, text));
          },
          [answer](const caf::error& why) { answer(http::text_response(503, "the coordinator does not answer: " + from_caf(why).text + "\n")); });
    });
  });
}

} // namespace weir
