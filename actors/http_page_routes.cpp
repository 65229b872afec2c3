// The dashboard, the player page, health and metrics.
#include "actors/http_bridge.hpp"
#include "web/assets.hpp"

#include <fmt/format.h>

namespace weir {

using http::request;
using http::responder;

void add_page_routes(http::server& server, const http_bridge_actor& bridge, const http_bridge_setup& setup) {
  // No inline script or style, nothing from elsewhere; segments come from the edges.
  auto policy = fmt::format("default-src 'self'; img-src 'self' data:; media-src 'self' blob:; worker-src 'self' blob:; connect-src 'self' {}; object-src 'none'; base-uri 'none'; "
                            "frame-ancestors 'self'; form-action 'self'",
                            setup.edge_origins);
  auto serve = [policy](const web::asset& a) {
    return [policy, &a](const request& r, responder answer) {
      auto page = http::text_response(200, std::string(a.bytes), std::string(a.content_type));
      page.with("ETag", std::string(a.etag)).with("Cache-Control", "no-cache").with("Content-Security-Policy", policy).with("X-Content-Type-Options", "nosniff")
        .with("Referrer-Policy", "no-referrer");
      http::apply_conditions({.if_none_match = std::string(r.header("If-None-Match").value_or("")), .range = {}, .if_range = {}}, page);
      answer(std::move(page));
    };
  };
  for (auto& a : web::assets()) {
    if (a.path == "index.html")
      server.route("GET", "/", {}, serve(a));
    else if (a.path == "watch.html")
      server.route("GET", "/watch/{stream}", {}, serve(a));
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
