#include "actors/ingest.hpp"

#include "actors/reporting.hpp"
#include "actors/rtmp_watch.hpp"
#include "runtime/base/log.hpp"
#include "runtime/base/secret.hpp"
#include "runtime/http/client.hpp"

namespace weir {

using namespace std::chrono_literals;

ingest_actor::behavior_type ingest(ingest_actor::stateful_pointer<ingest_state> self, ingest_setup setup, std::shared_ptr<http::client> client,
                                   coordinator_actor coordinator) {
  auto& my = self->state;
  my.setup = std::move(setup);
  my.started = self->clock().now();
  auto me = ingest_actor{self};
  auto now = [self] { return self->clock().now(); };

  // Client ids begin at 1 with each start of nginx-rtmp and its callbacks do not name the start: the callbacks' address does.
  auto configure = [&my]() -> expected<void> {
    my.service = random_uuid().substr(0, 8);
    auto config = my.setup.config;
    config.hook_url += fmt::format("?server={}&service={}", my.setup.server, my.service);
    auto text = nginx::render(config);
    WEIR_TRY(text);
    return my.nginx.folder->install(*text);
  };
  auto start = [=, &my] {
    if (auto done = my.nginx.start(self, me, my.setup.server, configure()); !done)
      return log::error("ingest", "nginx-not-started", "server={} error={}", my.setup.server, done.error().text);
    tell(self, my.watch, server_started{my.service});
    log::info("ingest", "nginx-started", "server={} listen={} service={} pid={}", my.setup.server, my.setup.config.listen, my.service, my.nginx.pid());
  };

  auto folder = nginx::prefix::prepare(my.setup.folder, !my.setup.config.worker_user.empty(), my.setup.program);
  auto ready = folder ? expected<void>{} : expected<void>(fail(folder.error()));
  if (ready) {
    my.nginx.folder = std::move(*folder);
    ready = configure();
  }
  if (!ready) {
    log::critical("ingest", "not-configured", "server={} error={}", my.setup.server, ready.error().text);
    self->quit(to_caf(ready.error()));
    return ingest_actor::behavior_type::make_empty_behavior();
  }
  auto watch_it = [=, &my] {
    my.watch = self->spawn<caf::linked>(rtmp_watch, rtmp_watch_setup{.server = my.setup.server, .kind = rtmp_server_kind::nginx_rtmp, .url = my.setup.status_url, .ours = true}, client,
                                        coordinator);
  };
  on_end_of_child(self, [=, &my](const caf::actor_addr& who, const caf::error& why) {
    if (my.watch.address() != who)
      return false;
    log::error("ingest", "watch-died", "server={} reason={}", my.setup.server, caf::to_string(why));
    watch_it();
    tell(self, my.watch, server_started{my.service});
    return true;
  });
  watch_it();
  start();
  return {
    [=, &my](const process_ended& end) {
      if (end.generation != my.nginx.generation)
        return;
      if (my.nginx.stopping)
        return self->quit(caf::exit_reason::user_shutdown);
      auto again = my.nginx.ended(end, now());
      log::error("ingest", "nginx-ended", "server={} code={} signal={} again_in={}", my.setup.server, end.exit_code, end.signal, to_string(again.delay));
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
      my.nginx.process.stop(2s);
    },
    [=, &my](const ask_status&) {
      nlohmann::json status{{"listen", my.setup.config.listen}, {"pid", my.nginx.pid()}, {"service", my.service}, {"trouble", my.nginx.trouble}};
      return report_of(self, "ingest/" + my.setup.server, status, my.started, {caf::actor_cast<caf::actor>(my.watch)}, my.nginx.restarts());
    },
  };
}

} // namespace weir
