#include "actors/edge.hpp"

#include "actors/reporting.hpp"
#include "runtime/base/file.hpp"
#include "runtime/base/log.hpp"

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <sstream>

#include <fmt/ranges.h>

namespace weir {

using namespace std::chrono_literals;

namespace {

constexpr auto patience = 4s;   ///< with downloads, when the edge is stopped; the node has promised to be gone within 10 s
constexpr auto grace = 1s;      ///< from TERM to KILL after it
constexpr const char* pair_file = "edge.pem";
constexpr const char* addresses_file = "addresses";
constexpr const char* origins_file = "origins"; ///< as the cluster said last, a line each
constexpr std::size_t origins_limit = 16;
constexpr auto refusal_holds = 15s; ///< of nginx, of a list of origins

} // namespace

expected<void> edge_state::open_interface() {
  if (setup.address.address.empty())
    return {};
  auto address = parse_machine_address(setup.address.address);
  WEIR_TRY(address);
  auto opened = network::network_interface::open(setup.interface, *address);
  WEIR_TRY(opened);
  interface = std::make_shared<network::network_interface>(std::move(*opened));
  return {};
}

expected<void> edge_state::prepare() {
  WEIR_TRY(open_interface());
  auto made = nginx::prefix::prepare(setup.folder, !setup.config.worker_user.empty(), setup.program);
  WEIR_TRY(made);
  nginx.folder = std::move(*made);
  setup.config.log_socket = nginx.folder->file("log.sock");
  if (auto& module = setup.config.js_module; !module.empty() && !std::filesystem::exists(module))
    return fail(error_code::invalid_config, fmt::format("nginx's JavaScript module is not at {}: install libnginx-mod-http-js, or set nginx.js_module; it checks signed viewing addresses", module));
  WEIR_TRY(write_file_atomically(nginx.folder->file(nginx::viewing_script_file), nginx::viewing_script(), 0600));
  if (setup.gate)
    setup.config.viewing_keys = setup.gate->rules().keys;
  const auto configured = setup.config.origins;
  if (setup.finds_origins) { // the coordinator may be away
    if (auto kept = read_file(nginx.folder->file(origins_file), 64 << 10)) {
      std::istringstream lines(*kept);
      for (std::string line; std::getline(lines, line);)
        if (std::ranges::find(setup.config.origins, line) == setup.config.origins.end())
          setup.config.origins.push_back(line);
      std::ranges::sort(setup.config.origins);
    } else if (kept.error().code != error_code::not_found) {
      return fail(kept.error());
    }
  }
  auto or_nobody = [this] { // 502 until the cluster has said
    if (setup.finds_origins && setup.config.origins.empty())
      setup.config.origins.push_back("unix:" + nginx.folder->file("no-origin.sock"));
  };
  or_nobody();
  auto reader = nginx::edge_log_reader::open(setup.config.log_socket, setup.spec.name, !setup.config.worker_user.empty());
  WEIR_TRY(reader);
  log = std::move(*reader);
  auto opened = nginx::part_front::open({.origins = {}, .hold = 3 * setup.config.target_duration + 1s});
  WEIR_TRY(opened);
  front = std::move(*opened);
  setup.config.parts = front->address();
  auto done = configure();
  if (!done && setup.finds_origins && setup.config.origins != configured) { // a name that is no more would keep it from ever starting
    log::warn("edge", "kept-origins-not-used", "edge={} origins={} error={}", setup.spec.name.value, fmt::join(setup.config.origins, ","), done.error().text);
    setup.config.origins = configured;
    or_nobody();
    done = configure();
  }
  front->use_origins(setup.config.origins);
  return done;
}

expected<void> edge_state::configure() {
  if (!setup.certificate.certificate.empty()) {
    setup.config.certificate = pair_file;
    WEIR_TRY(certificate.take(setup.certificate, *nginx.folder, pair_file, certificate_watch::text_of(setup.config)));
  }
  auto text = nginx::render(setup.config);
  WEIR_TRY(text);
  return nginx.folder->install(*text);
}

void edge_state::use_origins(const origin_list& told, caf::actor_clock::time_point now) {
  if (!setup.finds_origins || nginx.stopping)
    return;
  std::vector<std::string> fresh;
  for (auto& o : told.origins) {
    const auto scheme = o.url.find("://");
    auto address = o.url.substr(scheme == std::string::npos ? 0 : scheme + 3);
    fresh.push_back(address.substr(0, address.find('/')));
  }
  if (fresh.empty())
    return;
  if (!told.complete)
    std::ranges::copy_if(setup.config.origins, std::back_inserter(fresh), [](auto& known) { return !known.starts_with("unix:"); });
  std::ranges::sort(fresh);
  fresh.erase(std::ranges::unique(fresh).begin(), fresh.end());
  fresh.resize(std::min(fresh.size(), origins_limit));
  if (fresh == setup.config.origins || (fresh == refused_origins && now - refused < refusal_holds))
    return;
  auto other = setup.config;
  other.origins = fresh;
  auto text = nginx::render(other);
  auto done = text ? nginx.folder->install(*text) : fail(text.error());
  if (!done) {
    refused_origins = std::move(fresh);
    refused = now;
    return log::error("edge", "origins-not-used", "edge={} origins={} error={}", setup.spec.name.value, fmt::join(refused_origins, ","), done.error().text);
  }
  refused_origins.clear();
  setup.config.origins = std::move(fresh);
  front->use_origins(setup.config.origins);
  nginx.process.signal(SIGHUP); // one that is just dead reads them when it starts
  log::info("edge", "origins-used", "edge={} origins={}", setup.spec.name.value, fmt::join(setup.config.origins, ","));
  if (auto kept = write_file_atomically(nginx.folder->file(origins_file), fmt::format("{}\n", fmt::join(setup.config.origins, "\n")), 0644); !kept) // it costs the next start some seconds
    log::error("edge", "origins-not-kept", "edge={} error={}", setup.spec.name.value, kept.error().text);
}

void edge_state::look_at_keys() {
  if (!setup.gate || nginx.stopping)
    return;
  auto keys = setup.gate->rules().keys;
  if (keys == setup.config.viewing_keys || keys.empty())
    return;
  auto other = setup.config;
  other.viewing_keys = keys;
  auto text = nginx::render(other);
  if (auto done = text ? nginx.folder->install(*text) : fail(text.error()); !done)
    return log::error("edge", "viewing-keys-not-used", "edge={} error={}", setup.spec.name.value, done.error().text); // and the next second tries again
  setup.config.viewing_keys = std::move(keys);
  nginx.process.signal(SIGHUP); // one that is just dead reads them when it starts
  log::info("edge", "viewing-keys-used", "edge={} keys={}", setup.spec.name.value, setup.config.viewing_keys.size());
}

void edge_state::look_at_certificate(caf::actor_clock::time_point now) {
  if (nginx.stopping)
    return;
  switch (certificate.look(certificate_watch::text_of(setup.config), now)) {
  case certificate_watch::news::none:
    return;
  case certificate_watch::news::renewed:
    nginx.process.signal(SIGHUP); // one that is just dead reads the new one when it starts
    return log::info("edge", "certificate-renewed", "edge={} certificate={}", setup.spec.name.value, certificate.shown());
  case certificate_watch::news::refused:
    return log::error("edge", "certificate-refused", "edge={} error={} still_used={}", setup.spec.name.value, certificate.trouble(), certificate.shown());
  }
}

edge_actor::behavior_type edge(edge_actor::stateful_pointer<edge_state> self, edge_setup setup, std::shared_ptr<http::client> client, coordinator_actor coordinator) {
  auto& my = self->state;
  my.setup = std::move(setup);
  my.started = self->clock().now();
  auto me = edge_actor{self};
  auto now = [self] { return self->clock().now(); };

  auto start = [=, &my] {
    if (auto done = my.nginx.start(self, me, my.setup.spec.name.value); !done)
      return log::error("edge", "nginx-not-started", "edge={} error={}", my.setup.spec.name.value, done.error().text);
    log::info("edge", "nginx-started", "edge={} url={} pid={}", my.setup.spec.name.value, my.setup.spec.url, my.nginx.pid());
  };

  if (auto ready = my.prepare(); !ready) {
    log::critical("edge", "not-configured", "edge={} error={}", my.setup.spec.name.value, ready.error().text);
    self->quit(to_caf(ready.error()));
    return edge_actor::behavior_type::make_empty_behavior();
  }
  start();
  if (my.interface)
    my.keeper = self->spawn<caf::linked + caf::detached>(
      address_keeper, address_keeper_setup{my.setup.spec.name, my.setup.address, my.interface, my.nginx.folder->file(addresses_file)}, coordinator);
  // The last to go: while nginx ends, downloads do.
  auto leave = [=, &my] {
    if (!my.keeper)
      return self->quit(caf::exit_reason::user_shutdown);
    tell(self, my.keeper, stop{});
  };
  on_end_of_child(self, [=, &my](const caf::actor_addr& who, const caf::error& why) {
    if (!my.keeper || my.keeper.address() != who)
      return false;
    my.keeper = nullptr;
    self->quit(my.nginx.stopping ? caf::error{caf::exit_reason::user_shutdown} : why);
    return true;
  });
  self->send(me, tick{});
  return {
    [=, &my](const tick&) {
      tell(self, coordinator, edge_hello{my.setup.spec});
      my.front->forget(std::chrono::steady_clock::now());
      auto load = my.log->sample();
      load.edge = my.setup.spec.name;
      load.sequence = ++my.sequence;
      load.connections = my.status.active;
      load.writing = my.status.writing;
      load.up = my.up;
      load.restarts = my.nginx.restarts();
      load.trouble = my.nginx.trouble;
      load.certificate = my.certificate.shown();
      load.certificate_trouble = my.certificate.trouble();
      tell(self, coordinator, load);
      tell(self, my.keeper, address_wish{my.up});
      if (my.setup.finds_origins && my.sequence % 2 == 1 && !my.asking_for_origins) {
        my.asking_for_origins = true;
        ask(self, 2s, coordinator, ask_origins{my.setup.spec.name})
          .then(
            [=, &my](const origin_list& told) {
              my.asking_for_origins = false;
              my.use_origins(told, now());
            },
            [&my](const caf::error&) { my.asking_for_origins = false; }); // it goes on with those that it has
      }
      tell_after(self, 1s, me, tick{});
      my.look_at_certificate(now());
      my.look_at_keys();
      // Its answer is part of the next report: one second old at most.
      fetch_status(*client, me, my.setup.status_url, 800ms);
    },
    [=, &my](const status_page& page) {
      auto status = page.status == 200 ? nginx::parse_stub_status(page.body) : expected<nginx::stub_status>(fail(error_code::unavailable, page.error));
      my.up = status.has_value();
      if (status)
        my.status = *status;
      my.nginx.trouble = my.up ? std::string{} : "nginx does not answer: " + (page.error.empty() ? fmt::format("status {}", page.status) : page.error);
    },
    [=, &my](const process_ended& end) {
      if (end.generation != my.nginx.generation)
        return;
      my.up = false;
      if (my.nginx.stopping)
        return leave();
      auto again = my.nginx.ended(end, now());
      log::error("edge", "nginx-ended", "edge={} code={} signal={} again_in={}", my.setup.spec.name.value, end.exit_code, end.signal, to_string(again.delay));
      tell_after(self, again.delay, me, start_again{my.nginx.generation});
    },
    [=, &my](const start_again& wish) {
      if (wish.generation == my.nginx.generation && !my.nginx.stopping)
        start();
    },
    [=, &my](const stop&) {
      my.nginx.stopping = true;
      if (!my.nginx.process.running())
        return leave();
      my.nginx.process.quit(patience, grace);
    },
    [=, &my](const ask_status&) {
      auto totals = my.log->totals();
      nlohmann::json streams = nlohmann::json::object();
      for (auto& [name, of] : my.log->totals_by_stream())
        streams[name] = {{"bytes", of.bytes}, {"hit", of.hits}, {"miss", of.misses}};
      const auto parts = my.front->now();
      nlohmann::json status{{"url", my.setup.spec.url}, {"up", my.up}, {"origins", my.setup.config.origins}, {"pid", my.nginx.pid()}, {"connections", my.status.active},
                            {"log_lines_unreadable", my.log->unreadable()}, {"trouble", my.nginx.trouble}, {"certificate", my.certificate.shown()},
                            {"certificate_trouble", my.certificate.trouble()}, {"requests", {{"hit", totals.hits}, {"miss", totals.misses}, {"none", totals.uncached}}},
                            {"parts", {{"hit", parts.hits}, {"joined", parts.joined}, {"asked", parts.asked}, {"failed", parts.failed}, {"refused", parts.refused}, {"waiting", parts.waiting},
                                       {"kept", parts.kept}, {"kept_bytes", parts.kept_bytes}}},
                            {"streams", std::move(streams)}};
      std::vector<caf::actor> children;
      if (my.keeper)
        children.push_back(caf::actor_cast<caf::actor>(my.keeper));
      return report_of(self, "edge/" + my.setup.spec.name.value, status, my.started, std::move(children), my.nginx.restarts());
    },
  };
}

} // namespace weir
