#include "actors/edge.hpp"

#include "actors/nginx_child.hpp"
#include "actors/reporting.hpp"
#include "runtime/base/log.hpp"

namespace weir {

using namespace std::chrono_literals;

edge_actor::behavior_type edge(edge_actor::stateful_pointer<edge_state> self, edge_setup setup, std::shared_ptr<http::client> client, coordinator_actor coordinator) {
  auto& my = self->state;
  my.setup = std::move(setup);
  my.started = self->clock().now();
  auto me = edge_actor{self};
  auto now = [self] { return self->clock().now(); };

  auto prepare = [&my]() -> expected<void> {
    auto folder = nginx::prefix::prepare(my.setup.folder, !my.setup.config.worker_user.empty(), my.setup.program);
    WEIR_TRY(folder);
    my.folder = std::move(*folder);
    my.setup.config.log_socket = my.folder->file("log.sock");
    auto log = nginx::edge_log_reader::open(my.setup.config.log_socket, my.setup.spec.name, !my.setup.config.worker_user.empty());
    WEIR_TRY(log);
    my.log = std::move(*log);
    auto text = nginx::render(my.setup.config);
    WEIR_TRY(text);
    return my.folder->install(*text);
  };
  auto start = [=, &my] {
    auto child = start_nginx(*my.folder, me, ++my.generation, my.setup.spec.name.value);
    if (!child) {
      my.trouble = child.error().text;
      log::error("edge", "nginx-not-started", "edge={} error={}", my.setup.spec.name.value, my.trouble);
      self->send(me, process_ended{my.generation, 1, 0});
      return;
    }
    my.nginx = std::move(*child);
    ++my.starts;
    log::info("edge", "nginx-started", "edge={} url={} pid={}", my.setup.spec.name.value, my.setup.spec.url, my.nginx.pid());
  };

  if (auto ready = prepare(); !ready) {
    log::critical("edge", "not-configured", "edge={} error={}", my.setup.spec.name.value, ready.error().text);
    self->quit(to_caf(ready.error()));
    return edge_actor::behavior_type::make_empty_behavior();
  }
  start();
  self->send(me, tick{});
  return {
    [=, &my](const tick&) {
      tell(self, coordinator, edge_hello{my.setup.spec});
      auto load = my.log->sample();
      load.edge = my.setup.spec.name;
      load.sequence = ++my.sequence;
      load.connections = my.status.active;
      load.writing = my.status.writing;
      load.up = my.up;
      load.restarts = my.starts ? my.starts - 1 : 0;
      load.trouble = my.trouble;
      tell(self, coordinator, load);
      tell_after(self, 1s, me, tick{});
      // Its answer is part of the next report: one second old at most.
      fetch_status(*client, me, my.setup.status_url, 800ms);
    },
    [=, &my](const status_page& page) {
      auto status = page.status == 200 ? nginx::parse_stub_status(page.body) : expected<nginx::stub_status>(fail(error_code::unavailable, page.error));
      my.up = status.has_value();
      if (status)
        my.status = *status;
      my.trouble = my.up ? std::string{} : "nginx does not answer: " + (page.error.empty() ? fmt::format("status {}", page.status) : page.error);
    },
    [=, &my](const process_ended& end) {
      if (end.generation != my.generation)
        return;
      my.up = false;
      if (my.stopping)
        return self->quit(caf::exit_reason::user_shutdown);
      my.trouble = fmt::format("nginx ended (exit code {}, signal {})", end.exit_code, end.signal);
      auto again = my.failures.failed(now());
      log::error("edge", "nginx-ended", "edge={} code={} signal={} again_in={}", my.setup.spec.name.value, end.exit_code, end.signal, to_string(again.delay));
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
      auto totals = my.log->totals();
      nlohmann::json status{{"url", my.setup.spec.url}, {"up", my.up}, {"pid", my.nginx.running() ? my.nginx.pid() : 0}, {"connections", my.status.active},
                            {"log_lines_unreadable", my.log->unreadable()}, {"trouble", my.trouble}, {"requests", {{"hit", totals.hits}, {"miss", totals.misses}, {"none", totals.uncached}}}};
      return report_of(self, "edge/" + my.setup.spec.name.value, status, my.started, {}, my.starts ? my.starts - 1 : 0);
    },
  };
}

} // namespace weir
