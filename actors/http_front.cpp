#include "actors/http_front.hpp"

#include "actors/reporting.hpp"
#include "runtime/base/log.hpp"

#include <csignal>

namespace weir {

using namespace std::chrono_literals;

namespace {

constexpr auto patience = 1s; ///< with answers, when the node is stopped: a playlist may wait for seconds, and its player asks elsewhere
constexpr auto grace = 1s;    ///< from TERM to KILL after it
constexpr const char* pair_file = "front.pem";

} // namespace

expected<void> http_front_state::prepare() {
  auto made = nginx::prefix::prepare(setup.folder, !setup.config.worker_user.empty(), setup.program);
  WEIR_TRY(made);
  nginx.folder = std::move(*made);
  setup.config.certificate = pair_file;
  WEIR_TRY(certificate.take(setup.certificate, *nginx.folder, pair_file, certificate_watch::text_of(setup.config)));
  auto text = nginx::render(setup.config);
  WEIR_TRY(text);
  return nginx.folder->install(*text);
}

void http_front_state::look_at_certificate(caf::actor_clock::time_point now) {
  if (nginx.stopping)
    return;
  switch (certificate.look(certificate_watch::text_of(setup.config), now)) {
  case certificate_watch::news::none:
    return;
  case certificate_watch::news::renewed:
    nginx.process.signal(SIGHUP); // one that is just dead reads the new one when it starts
    return log::info("http-front", "certificate-renewed", "listen={} certificate={}", setup.config.listen, certificate.shown());
  case certificate_watch::news::refused:
    return log::error("http-front", "certificate-refused", "listen={} error={} still_used={}", setup.config.listen, certificate.trouble(), certificate.shown());
  }
}

http_front_actor::behavior_type http_front(http_front_actor::stateful_pointer<http_front_state> self, http_front_setup setup) {
  auto& my = self->state;
  my.setup = std::move(setup);
  my.started = self->clock().now();
  auto me = http_front_actor{self};
  auto now = [self] { return self->clock().now(); };

  auto start = [=, &my] {
    if (auto done = my.nginx.start(self, me, "http-front"); !done)
      return log::error("http-front", "nginx-not-started", "listen={} error={}", my.setup.config.listen, done.error().text);
    log::info("http-front", "nginx-started", "listen={} pid={}", my.setup.config.listen, my.nginx.pid());
  };

  if (auto ready = my.prepare(); !ready) {
    log::critical("http-front", "not-configured", "listen={} error={}", my.setup.config.listen, ready.error().text);
    self->quit(to_caf(ready.error()));
    return http_front_actor::behavior_type::make_empty_behavior();
  }
  start();
  self->send(me, tick{});
  return {
    [=, &my](const tick&) {
      my.look_at_certificate(now());
      tell_after(self, 1s, me, tick{});
    },
    [=, &my](const process_ended& end) {
      if (end.generation != my.nginx.generation)
        return;
      if (my.nginx.stopping)
        return self->quit(caf::exit_reason::user_shutdown);
      auto again = my.nginx.ended(end, now());
      log::error("http-front", "nginx-ended", "listen={} code={} signal={} again_in={}", my.setup.config.listen, end.exit_code, end.signal, to_string(again.delay));
      tell_after(self, again.delay, me, start_again{my.nginx.generation});
    },
    [=, &my](const start_again& wish) {
      if (wish.generation == my.nginx.generation && !my.nginx.stopping)
        start();
    },
    [=, &my](const stop&) {
      my.nginx.stopping = true;
      if (!my.nginx.process.running())
        return self->quit(caf::exit_reason::user_shutdown);
      my.nginx.process.quit(patience, grace);
    },
    [=, &my](const ask_status&) {
      nlohmann::json status{{"listen", my.setup.config.listen}, {"pid", my.nginx.pid()}, {"trouble", my.nginx.trouble},
                            {"certificate", my.certificate.shown()}, {"certificate_trouble", my.certificate.trouble()}};
      return report_of(self, "http-front", status, my.started, {}, my.nginx.restarts());
    },
  };
}

} // namespace weir
