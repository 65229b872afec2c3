#include "actors/ingest.hpp"

#include "actors/nginx_child.hpp"
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
    return my.folder->install(*text);
  };
  auto start = [=, &my] {
    auto ready = configure();
    auto child = ready ? start_nginx(*my.folder, me, ++my.generation, my.setup.server) : expected<supervise::process>(fail(ready.error()));
    if (!child) {
      my.trouble = child.error().text;
      log::error("ingest", "nginx-not-started", "server={} error={}", my.setup.server, my.trouble);
      self->send(me, process_ended{my.generation, 1, 0});
      return;
    }
    my.nginx = std::move(*child);
    ++my.starts;
    tell(self, my.watch, server_started{my.service});
    log::info("ingest", "nginx-started", "server={} listen={} service={} pid={}", my.setup.server, my.setup.config.listen, my.service, my.nginx.pid());
  };

  auto folder = nginx::prefix::prepare(my.setup.folder, !my.setup.config.worker_user.empty(), my.setup.program);
  auto ready = folder ? expected<void>{} : expected<void>(fail(folder.error()));
  if (ready) {
    my.folder = std::move(*folder);
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
      if (end.generation != my.generation)
        return;
      if (my.stopping)
        return self->quit(caf::exit_reason::user_shutdown);
      my.trouble = fmt::format("nginx ended (exit code {}, signal {})", end.exit_code, end.signal);
      auto again = my.failures.failed(now());
      log::error("ingest", "nginx-ended", "server={} code={} signal={} again_in={}", my.setup.server, end.exit_code, end.signal, to_string(again.delay));
      tell_after(self, again.delay, me, start_again{my.generation});
    },
    [=, &my](const start_again& wish) {
      if (wish.generation == my.generation && !my.stopping)
        start();
    },
    [=, &my](const stop&) {
      my.stopping = true;
      if (!my.nginx.running())
        return self->quit(caf::exit_reason::user_shutdown);
      my.nginx.stop(2s);
    },
    [=, &my](const ask_status&) {
      nlohmann::json status{{"listen", my.setup.config.listen}, {"pid", my.nginx.running() ? my.nginx.pid() : 0}, {"service", my.service}, {"trouble", my.trouble}};
      return report_of(self, "ingest/" + my.setup.server, status, my.started, {caf::actor_cast<caf::actor>(my.watch)}, my.starts ? my.starts - 1 : 0);
    },
  };
}

} // namespace weir
