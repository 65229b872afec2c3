// Callbacks of SRS and nginx-rtmp (rtmp-servers.md). A callback is a question with a deadline: whatever else is wrong, it is answered within a second.
#include "actors/http_bridge.hpp"
#include "runtime/base/log.hpp"
#include "runtime/base/secret.hpp"
#include "runtime/rtmp/hooks.hpp"

#include <nlohmann/json.hpp>

namespace weir {

using namespace std::chrono_literals;

namespace {

enum class dialect { srs, nginx_rtmp };

http::response render(dialect d, hook_kind kind, const hook_verdict& v) {
  auto answer = d == dialect::srs ? rtmp::srs_answer(kind, v) : rtmp::nginx_answer(kind, v);
  return http::text_response(answer.status, std::string(answer.body), std::string(answer.content_type));
}

void count(http_bridge_self self, dialect d, hook_kind kind, bool accepted) {
  self->state.setup.metrics->counter<metrics::family::hook_decisions>(d == dialect::srs ? "srs" : "nginx-rtmp", to_string(kind), accepted ? "accepted" : "refused").add();
}

void decide(const http_bridge_actor& bridge, dialect d, hook_call call, std::chrono::milliseconds within, http::responder answer) {
  in_bridge(bridge, [=, call = std::move(call)](http_bridge_self self) {
    ++self->state.hooks;
    ask(self, within, self->state.setup.coordinator, call)
      .then(
        [=](const hook_verdict& v) {
          count(self, d, call.kind, v.accept);
          answer(render(d, call.kind, v));
        },
        [=](const caf::error& why) {
          ++self->state.late_hooks;
          auto v = rtmp::verdict_in_trouble(call.kind, from_caf(why).text);
          if (!v.accept)
            if (auto known = self->state.keys.judge(call, std::chrono::system_clock::now()))
              v = *known;
          count(self, d, call.kind, v.accept);
          log::error("http-bridge", "hook-undecided", "kind={} server={} stream={} accepted={} error={}", to_string(call.kind), call.server, call.stream, v.accept, v.reason);
          answer(render(d, call.kind, v));
        });
  });
}

} // namespace

void add_hook_routes(http::server& server, const http_bridge_actor& bridge, const http_bridge_setup& setup) {
  auto ranges = std::make_shared<std::vector<address_range>>();
  for (auto& text : setup.hooks.allow)
    if (auto range = parse_address_range(text))
      ranges->push_back(*range);

  auto known = std::make_shared<const std::vector<rtmp_server_options>>(setup.foreign_servers);
  auto add = [&](std::string path, dialect d, std::string method = "POST") {
    http::route_options options;
    options.body_limit = static_cast<std::size_t>(setup.hooks.body_limit.bytes);
    options.deadline = setup.hooks.answer_within + 80ms; // the last resort, should the bridge itself hang
    options.late = [d](std::string_view) { return render(d, hook_kind::publish, rtmp::verdict_in_trouble(hook_kind::publish, "late")); };
    options.guard = [ranges, hooks = setup.hooks, foreign = setup.foreign_servers](const http::request& r) -> std::optional<http::response> {
      bool allowed = std::ranges::any_of(*ranges, [&](auto& range) { return range.contains(r.peer_address); });
      bool right = hooks.secret.empty() && r.param("secret").empty();
      right |= !hooks.secret.empty() && constant_time_equal(r.param("secret"), hooks.secret);
      for (auto& f : foreign)
        right |= !f.secret.empty() && constant_time_equal(r.param("secret"), f.secret);
      if (allowed && right)
        return std::nullopt;
      log::warn("http-bridge", "hook-from-stranger", "address={} allowed={} secret={}", r.peer_address, allowed, right);
      return http::problem_response({error_code::forbidden, "this address may not send callbacks, or the secret in the path is wrong"}, r.id);
    };
    server.route(method, path, options, [bridge, d, known, within = setup.hooks.answer_within](const http::request& r, http::responder answer) {
      if (r.method == "GET") { // SRS's on_hls_notify asks with an empty body
        answer(render(d, hook_kind::note, {.accept = true, .reason = {}}));
        return;
      }
      auto name = r.query.find("server").value_or(r.peer_address);
      auto call = d == dialect::srs ? rtmp::parse_srs_hook(r.body(), name) : rtmp::parse_nginx_rtmp_hook(r.body(), name);
      if (!call) {
        log::warn("http-bridge", "hook-malformed", "address={} bytes={} error={}", r.peer_address, r.body().size(), call.error().text);
        answer.fail(call.error());
        return;
      }
      // An SRS that does not name itself in the address is known by its server_id, if an operator configured one of that name.
      if (d == dialect::srs && !r.query.has("server"))
        if (auto body = nlohmann::json::parse(r.body(), nullptr, false); body.is_object() && body.contains("server_id") && body["server_id"].is_string())
          for (auto& f : *known)
            if (f.name == body["server_id"].get_ref<const std::string&>())
              call->server = f.name;
      if (auto service = r.query.find("service"))
        call->service_id = *service;
      decide(bridge, d, std::move(*call), within, std::move(answer));
    });
  };
  for (std::string tail : {"", "/{secret}"}) {
    add("/hooks/srs" + tail, dialect::srs);
    add("/hooks/srs" + tail, dialect::srs, "GET");
    add("/rtmp/callback/srs" + tail, dialect::srs);
    add("/hooks/nginx-rtmp" + tail, dialect::nginx_rtmp);
  }
}

} // namespace weir
