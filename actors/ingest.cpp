#include "actors/ingest.hpp"

#include "actors/nginx_child.hpp"
#include "actors/reporting.hpp"
#include "runtime/base/log.hpp"
#include "runtime/base/secret.hpp"
#include "runtime/http/client.hpp"
#include "runtime/rtmp/lists.hpp"

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
  // The coordinator answers who must be cut off; nginx-rtmp's control address does so.
  auto tell_list = [=, &my] {
    ask(self, 2s, coordinator, my.last)
      .then(
        [=, &my](const drop_list& drops) {
          for (auto& item : drops.items) {
            http::client_request request;
            request.url = my.setup.control_url + fmt::format("/drop/publisher?app={}&name={}", http::percent_encode(item.app), http::percent_encode(item.stream));
            request.deadline = 1500ms;
            client->send(std::move(request), [app = item.app, stream = item.stream](expected<http::client_response> answer) {
              log::info("ingest", "publisher-dropped", "app={} stream={} status={} error={}", app, stream, answer ? answer->status : 0, answer ? "" : answer.error().text);
            });
          }
        },
        [](const caf::error& why) { log::warn("ingest", "list-untold", "error={}", from_caf(why).text); });
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
    // A new start has no publishers: whoever is known of the one before is gone.
    my.last = {.server = my.setup.server, .service_id = my.service, .items = {}};
    tell_list();
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
  start();
  tell_after(self, 1s, me, tick{});
  return {
    [=, &my](const tick&) {
      tell_after(self, 2s, me, tick{});
      fetch_status(*client, me, my.setup.statistics_url, 1500ms);
    },
    [=, &my](const status_page& page) {
      auto list = page.status == 200 ? rtmp::parse_nginx_stat(page.body, my.setup.server) : expected<publication_list>(fail(error_code::unavailable, page.error));
      my.up = list.has_value();
      my.trouble = my.up ? std::string{} : list.error().text;
      if (!list) { // unreachable is not empty: what it had stays until it answers or ends
        log::warn("ingest", "list-unread", "server={} error={}", my.setup.server, my.trouble);
        return;
      }
      list->service_id = my.service;
      my.last = *list;
      tell_list();
    },
    [=, &my](const process_ended& end) {
      if (end.generation != my.generation)
        return;
      my.up = false;
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
      nlohmann::json status{{"listen", my.setup.config.listen}, {"up", my.up}, {"pid", my.nginx.running() ? my.nginx.pid() : 0}, {"service", my.service},
                            {"publishers", my.last.items.size()}, {"trouble", my.trouble}};
      return report_of(self, "ingest/" + my.setup.server, status, my.started, {}, my.starts ? my.starts - 1 : 0);
    },
  };
}

} // namespace weir
