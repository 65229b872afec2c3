#include "apps/weir/node_program.hpp"

#include "actors/coordinator.hpp"
#include "actors/director.hpp"
#include "actors/door.hpp"
#include "actors/edge.hpp"
#include "actors/edge_farm.hpp"
#include "actors/http_bridge.hpp"
#include "actors/http_front.hpp"
#include "actors/http_metrics.hpp"
#include "actors/ingest.hpp"
#include "actors/introspection.hpp"
#include "actors/keyring.hpp"
#include "actors/node.hpp"
#include "actors/observer.hpp"
#include "actors/origin.hpp"
#include "actors/seat.hpp"
#include "actors/uplink.hpp"
#include "actors/wire.hpp"
#include "apps/weir/free_port.hpp"
#include "runtime/base/file.hpp"
#include "runtime/base/log.hpp"
#include "runtime/base/process_load.hpp"
#include "runtime/base/secret.hpp"
#include "runtime/base/version.hpp"
#include "runtime/cluster/authority.hpp"
#include "runtime/cluster/transport.hpp"
#include "runtime/describe/encode.hpp"

#include <algorithm>
#include <filesystem>

namespace weir {

using namespace std::chrono_literals;

namespace {

constexpr std::uint64_t few_files = 4096;
constexpr auto stop_within = 8s; ///< for all roles together; the HTTP server and the actor system have the rest of the 10 s

std::string host_and_port(std::string url) {
  if (auto at = url.find("://"); at != std::string::npos)
    url.erase(0, at + 3);
  return url.substr(0, url.find('/'));
}

/// Where this machine itself reaches what listens there.
host_port local_address_of(const std::string& listen) {
  auto address = parse_host_port(listen).value_or(host_port{"127.0.0.1", 0});
  if (address.host == "0.0.0.0" || address.host == "::" || address.host.empty())
    address.host = "127.0.0.1";
  return address;
}

/// How others reach a listener. A wildcard address says nothing to them: `known` is a URL at which they reach this machine, its name stands in without one.
std::string reachable(const std::string& scheme, const std::string& configured, const std::string& listen, const std::string& known = {}) {
  if (!configured.empty())
    return configured;
  auto address = parse_host_port(listen);
  if (!address)
    return scheme + "://" + listen;
  auto host = address->host;
  if (host == "0.0.0.0" || host == "::" || host.empty()) {
    auto there = parse_host_port(host_and_port(known));
    host = there && !there->host.empty() && !is_loopback(there->host) ? there->host : hostname();
  }
  return scheme + "://" + to_string(host_port{host, address->port});
}

/// The token that the file keeps; made, with mode 0600, when there is none.
expected<std::string> kept_token(const std::filesystem::path& path, std::string_view prefix) {
  if (std::filesystem::exists(path))
    return read_secret_file(path);
  auto token = random_token(prefix);
  WEIR_TRY(write_file_atomically(path, token + "\n", 0600));
  return token;
}

/// The files for etcd, before anybody is elected with them: a standby that cannot speak to it looks well until it is needed.
expected<void> check_files_for_etcd(const coordinator_options& o) {
  if (!o.etcd_ca.empty())
    if (auto good = cluster::read_certificate(o.etcd_ca); !good)
      return fail(good.error().in("coordinator.etcd_ca"));
  if (!o.etcd_certificate.empty())
    if (auto good = cluster::check_pair(o.etcd_certificate, o.etcd_key); !good)
      return fail(good.error().in("coordinator.etcd_certificate, etcd_key"));
  return {};
}

std::string without_slash(std::string url) {
  while (url.ends_with('/'))
    url.pop_back();
  return url;
}

expected<std::unique_ptr<origin::s3_store>> open_bucket(const origin_options& options, http::client& web) {
  auto& s3 = options.s3;
  auto known = origin::find_s3_credentials(s3.credentials);
  if (!known)
    return fail(known.error().in("origin.s3.credentials"));
  return origin::s3_store::open(web, {.endpoint = s3.endpoint,
                                      .region = s3.region,
                                      .bucket = s3.bucket,
                                      .prefix = s3.prefix,
                                      .key = std::move(known->key),
                                      .session_token = std::move(known->session_token),
                                      .authorities = s3.ca,
                                      .virtual_host = s3.virtual_host,
                                      .deadline = s3.deadline,
                                      .segment_limit = static_cast<std::uint64_t>(options.upload_limit.bytes),
                                      .cache_bytes = static_cast<std::uint64_t>(s3.cache.bytes)});
}

} // namespace

node_program::node_program(node_config config) : config_(std::move(config)), loaded_(config_) {}

std::string node_program::publish_url(const std::string& app, const std::string& stream) const {
  return rtmp_servers_.empty() ? std::string{} : rtmp_servers_.front().publish_url + "/" + app + "/" + stream;
}

expected<std::unique_ptr<node_program>> node_program::start(node_config config) {
  std::unique_ptr<node_program> node(new node_program(std::move(config)));
  if (auto ready = node->open(); !ready)
    return fail(ready.error());
  if (auto ready = node->spawn(); !ready)
    return fail(ready.error());
  return node;
}

/// What needs no actor: the folder, the token, addresses.
expected<void> node_program::open() {
  if (auto files = raise_file_limit(); files < few_files) // connections, segments and the database's files count alike
    log::warn("weir", "few-open-files", "limit={} advised={}", files, few_files);
  WEIR_TRY(make_private_directory(config_.data_dir));
  token_file_ = config_.http.token_file.empty() ? config_.data_dir + "/api-token" : config_.http.token_file;
  made_token_ = !std::filesystem::exists(token_file_);
  auto token = kept_token(token_file_, "weir_");
  WEIR_TRY(token);
  api_token_ = std::move(*token);

  auto listen = parse_host_port(config_.http.listen);
  WEIR_TRY(listen);
  if (listen->port == 0) { // others must be told the address before anyone listens there
    auto port = free_ports();
    WEIR_TRY(port);
    listen->port = *port;
    config_.http.listen = to_string(*listen);
  }
  if (!config_.http.tls_listen.empty()) {
    auto secure = parse_host_port(config_.http.tls_listen);
    WEIR_TRY(secure);
    if (secure->port == 0) {
      auto port = free_ports();
      WEIR_TRY(port);
      secure->port = *port;
      config_.http.tls_listen = to_string(*secure);
    }
  }
  base_url_ = config_.http.tls_listen.empty() ? reachable("http", config_.http.public_url, config_.http.listen) : reachable("https", config_.http.public_url, config_.http.tls_listen);
  internal_url_ = config_.http.internal_url.empty() ? reachable("http", {}, config_.http.listen) : config_.http.internal_url;

  client_ = std::make_shared<http::client>(http::client_options{.connections_per_host = 32});
  server_ = std::make_unique<http::server>(http::server_options{.name = "http",
                                                                .listen = config_.http.listen,
                                                                .threads = config_.http.threads,
                                                                .body_limit = static_cast<std::size_t>(config_.http.body_limit.bytes)});
  return {};
}

expected<void> node_program::spawn() {
  auto has = [&](role r) { return config_.has(r); };
  cluster::identity identity{config_.cluster.ca, config_.cluster.certificate, config_.cluster.key};
  const bool networked = !config_.cluster.listen.empty() || !config_.cluster.join.empty();
  if (networked) {
    WEIR_TRY(cluster::check_replacements());
    if (identity.tls()) {
      WEIR_TRY(cluster::check_identity(identity.ca, identity.certificate, identity.key));
      // CAF reads them again for each connection and ends the process when they do not fit each other, as they do not in the midst of a renewal.
      auto folder = config_.data_dir + "/identity";
      WEIR_TRY(make_private_directory(folder));
      for (auto [file, name] : {std::pair{&identity.ca, "ca.pem"}, std::pair{&identity.certificate, "node.pem"}, std::pair{&identity.key, "node.key"}}) {
        auto text = read_file(*file, 64 << 10);
        WEIR_TRY(text);
        *file = folder + "/" + name;
        WEIR_TRY(write_file_atomically(*file, *text, 0600));
      }
      WEIR_TRY(cluster::check_identity(identity.ca, identity.certificate, identity.key));
    }
  }
  system_config_ = std::make_unique<caf::actor_system_config>();
  system_config_->set("scheduler.max-threads", std::size_t{4});
  system_config_->set("scheduler.policy", caf::atom("sharing")); // threads that steal work look for it thousands of times a second, on an idle node too
  if (networked) {
    add_wire_types(*system_config_);
    cluster::prepare(*system_config_, identity);
  }
  system_ = std::make_unique<caf::actor_system>(*system_config_);
  auto& system = *system_;
  auto keep = [&](std::string name, const auto& actor) { roots_.push_back({std::move(name), caf::actor_cast<caf::actor>(actor)}); };

  std::vector<rtmp_server> foreign;
  std::vector<rtmp_watch_setup> watched;
  for (auto& s : config_.rtmp_servers) {
    foreign.push_back({s.name, s.rtmp_url, s.public_url.empty() ? s.rtmp_url : s.public_url});
    if (!s.api_url.empty())
      watched.push_back({.server = s.name, .kind = s.kind, .url = without_slash(s.api_url)});
  }

  // coordinator, or the way to it
  const hello us{config_.cluster.name, config_.node.name, std::string(version()), wire_form()};
  if (has(role::coordinator)) {
    auto opened = store::store::open(config_.data_dir + "/store");
    WEIR_TRY(opened);
    coordinator_setup wanted{.cluster = config_.cluster.name,
                             .playback_base = base_url_,
                             .options = config_.coordinator,
                             .suspect_after = config_.cluster.down_after,
                             .steering = config_.director,
                             .scaling = config_.autoscaler,
                             .store = std::make_shared<store::store>(std::move(*opened)),
                             .foreign_servers = foreign,
                             .watched_servers = watched,
                             .own_node = node_name{config_.node.name},
                             .heartbeat = config_.cluster.heartbeat,
                             .http = client_};
    caf::actor place;
    if (config_.coordinator.election == election_kind::etcd) {
      WEIR_TRY(check_files_for_etcd(config_.coordinator));
      seat_setup chosen{.coordinator = std::move(wanted),
                        .uplink = {.addresses = config_.cluster.join, .us = us, .tls = identity.tls()},
                        .election = {.cluster = config_.cluster.name,
                                     .node = config_.node.name,
                                     .address = config_.cluster.listen,
                                     .etcd = {.endpoints = config_.coordinator.etcd_endpoints, .authorities = config_.coordinator.etcd_ca,
                                              .certificate = config_.coordinator.etcd_certificate,
                                              .key = config_.coordinator.etcd_key}}};
      place = system.spawn<caf::detached>(seat, std::move(chosen));
      coordinator_ = caf::actor_cast<coordinator_actor>(place);
      keep("seat", place);
    } else {
      WEIR_TRY(wanted.store->set_mark({})); // no copy of what etcd has, from now on
      coordinator_ = system.spawn<caf::detached>(weir::coordinator, std::move(wanted));
      keep("coordinator", coordinator_);
    }
    if (networked) {
      auto way_in = system.spawn(door, us, coordinator_, place);
      keep("door", way_in);
      auto port = cluster::publish(system, caf::actor_cast<caf::actor>(way_in), config_.cluster.listen, identity.tls());
      WEIR_TRY(port);
      log::info("weir", "cluster-listening", "address={} port={} tls={} form={}", config_.cluster.listen, *port, identity.tls(), us.form);
    }
  } else {
    auto link = system.spawn<caf::detached>(uplink, uplink_setup{.addresses = config_.cluster.join, .us = us, .tls = identity.tls()});
    coordinator_ = caf::actor_cast<coordinator_actor>(link);
    keep("uplink", link);
  }

  auto tree = system.spawn(introspection, config_.node.name, coordinator_);

  // who may watch what, for whoever answers viewers
  auto gate = std::make_shared<viewing::gate>();
  if (has(role::origin) || has(role::director) || has(role::edge)) {
    keyring_setup known{gate, config_.data_dir + "/viewing.json"};
    load_rules(known);
    keep("keyring", system.spawn(keyring, std::move(known), coordinator_));
  }

  // origin
  std::vector<origin_place> origins;
  if (has(role::origin)) {
    auto options = config_.origin;
    if (options.dir.empty())
      options.dir = config_.data_dir + "/origin";
    const bool shared = options.store == store_kind::replicated;
    origin_place place{.url = without_slash(options.url.empty() ? internal_url_ : options.url), .token = {}, .node = node_name{config_.node.name}, .read_token = {}, .peer_token = {}, .copies = 0, .member = {}};
    std::shared_ptr<origin::segment_store> store, whole; // on this machine; all there is
    segment_fetch fetch;
    if (options.store == store_kind::s3) {
      auto bucket = open_bucket(options, *client_);
      WEIR_TRY(bucket);
      bucket_ = std::move(*bucket);
      options.dir = fmt::format("{}/{}", options.s3.bucket, options.s3.prefix); // for errors
      whole = bucket_;
      fetch = [bucket = bucket_](auto& segment, auto done) { bucket->fetch(segment, std::move(done)); };
    } else {
      auto segments = origin::open_folder_store(options.dir, shared ? config_.node.name : std::string{});
      WEIR_TRY(segments);
      whole = store = std::move(*segments);
    }
    if (shared) {
      auto at = origin::replica_desk::open(store, config_.data_dir + "/origin-copies", options.writers);
      WEIR_TRY(at);
      replica_desk_ = std::move(*at);
      auto peer_token = kept_token(config_.data_dir + "/origin-peer-token", "copies_"); // the others know it while the coordinator is away
      WEIR_TRY(peer_token);
      place.peer_token = *peer_token;
      place.copies = options.copies;
      origin::add_replica_routes(*server_, replica_desk_, place.peer_token, static_cast<std::uint64_t>(options.upload_limit.bytes));
      place.member = origin::member_name(config_.node.name, replica_desk_->disk());
      origin::replicated_options copying{.self = place.member};
      copying.deadline = 4s; // less than the patience of a store_queue
      copying.segment_limit = static_cast<std::uint64_t>(options.upload_limit.bytes);
      copies_ = std::make_shared<origin::replicated_store>(replica_desk_, *client_, std::move(copying));
      whole = copies_;
      fetch = [copies = copies_](auto& segment, auto done) { copies->fetch(segment, std::move(done)); };
    }
    auto shelf = std::make_shared<origin::part_shelf>();
    auto keeper = system.spawn<caf::detached>(origin_keeper, origin_setup{whole, options, {.grace = config_.coordinator.publish_grace}, node_name{config_.node.name}, copies_, random_uuid(), place.member, shelf}, coordinator_);
    keep("origin", keeper);
    // The runs that write to it keep it over a restart of this node.
    auto token = kept_token(config_.data_dir + "/origin-token", "origin_");
    WEIR_TRY(token);
    auto read_token = kept_token(config_.data_dir + "/origin-read-token", "logs_"); // and directors know it while the coordinator is away
    WEIR_TRY(read_token);
    place.token = *token;
    place.read_token = *read_token;
    origins.push_back(std::move(place));
    add_origin_routes(*server_, keeper, store, *token, options, gate, fetch, shelf);
    add_log_route(*server_, keeper, *read_token);
  }

  // director
  if (has(role::director)) {
    auto trusted = config_.director.trusted_proxies;
    if (auto own = local_address_of(config_.http.listen).host; !config_.http.tls_listen.empty() && http::address_list::parse({{own}}))
      trusted.push_back(std::move(own)); // what HTTP FRONT comes from
    auto proxies = http::address_list::parse(trusted);
    WEIR_TRY(proxies);
    desk_ = std::make_shared<playlist_desk>(std::chrono::duration_cast<std::chrono::seconds>(config_.director.steering_ttl),
                                            steering::join_options{.epsilon = config_.director.slack_percent / 100.0}, has(role::origin) ? base_url_ : std::string{}, gate,
                                            std::move(*proxies));
    keep("director", system.spawn(director, director_setup{node_name{config_.node.name}, desk_, client_}, coordinator_));
    add_director_routes(*server_, desk_, config_.director.beacons);
  }

  // edges
  std::vector<std::string> edge_urls;
  if (has(role::edge)) {
    const auto count = config_.edge.instances + config_.edge.spare;
    auto ports = free_ports(2 * count); // for their figures, and for viewers where none are configured
    WEIR_TRY(ports);
    auto first_port = config_.edge.first_port != 0 ? config_.edge.first_port : *ports + count;
    std::vector<edge_setup> spare;
    for (unsigned i = 0; i < count; ++i) {
      auto port = static_cast<std::uint16_t>(first_port + i);
      auto listen = to_string(host_port{config_.edge.listen_host, port});
      auto status = to_string(host_port{"127.0.0.1", static_cast<std::uint16_t>(*ports + i)});
      edge_setup setup;
      setup.spec.name = edge_name{fmt::format("{}-{}", config_.node.name, i + 1)};
      setup.spec.node = node_name{config_.node.name};
      setup.spec.url = edge_url(config_.edge, i + 1, port);
      setup.spec.capacity_bps = config_.edge.egress.bits_per_second;
      setup.spec.labels = config_.node.labels;
      if (!config_.edge.networks.empty()) {
        setup.spec.locality = config_.edge.locality.empty() ? config_.node.name : config_.edge.locality;
        setup.spec.networks = config_.edge.networks;
        setup.spec.networks_only = config_.edge.networks_only;
      }
      if (auto& shared = config_.edge.shared_address; !shared.address.empty()) {
        setup.address = {.address = shared.address, .network = shared.network,
                         .service = fmt::format("{}:{}", config_.edge.certificate.empty() ? "http" : "https", port)};
        setup.interface = shared.interface;
        setup.config.name = setup.spec.name.value;
      }
      setup.folder = fmt::format("{}/edge-{}", config_.data_dir, i + 1);
      setup.program = config_.nginx.program;
      setup.status_url = "http://" + status + "/status";
      setup.certificate = {config_.edge.certificate, config_.edge.key};
      setup.gate = gate;
      setup.config.js_module = config_.nginx.js_module;
      setup.config.listen = listen;
      setup.config.status = status;
      for (auto& o : config_.edge.origins)
        setup.config.origins.push_back(host_and_port(o));
      setup.finds_origins = config_.edge.origins.empty();
      if (setup.finds_origins && has(role::origin))
        setup.config.origins.push_back(host_and_port(internal_url_));
      if (!config_.edge.cache_dir.empty())
        setup.config.cache_path = fmt::format("{}/edge-{}", config_.edge.cache_dir, i + 1);
      setup.config.cache_size = config_.edge.cache_size;
      setup.config.target_duration = timing_of(config_.origin.profile).target;
      edge_urls.push_back(setup.spec.url);
      if (i >= config_.edge.instances) {
        spare.push_back(std::move(setup));
        continue;
      }
      keep("edge " + setup.spec.name.value, system.spawn<caf::detached>(edge, std::move(setup), client_, coordinator_));
    }
    if (!spare.empty())
      keep("edge farm", system.spawn(edge_farm, node_name{config_.node.name}, std::move(spare), client_, coordinator_));
  }

  // ingest
  if (has(role::ingest)) {
    ingest_setup setup;
    setup.server = config_.ingest.server.empty() ? config_.node.name : config_.ingest.server;
    setup.folder = config_.data_dir + "/ingest";
    setup.program = config_.nginx.program;
    setup.config.listen = config_.ingest.rtmp_listen;
    setup.config.statistics = config_.ingest.stat_listen;
    setup.config.applications = config_.ingest.apps;
    setup.config.allow_play = config_.ingest.play_allow;
    setup.config.module = config_.nginx.rtmp_module;
    setup.config.update_every = std::chrono::duration_cast<std::chrono::seconds>(config_.ingest.update_every);
    setup.config.hook_url = internal_url_ + "/hooks/nginx-rtmp" + (config_.hooks.secret.empty() ? "" : "/" + config_.hooks.secret);
    setup.status_url = "http://" + config_.ingest.stat_listen;
    rtmp_servers_.push_back({setup.server, reachable("rtmp", {}, config_.ingest.rtmp_listen, internal_url_),
                             reachable("rtmp", config_.ingest.public_url, config_.ingest.rtmp_listen, internal_url_)});
    keep("ingest", system.spawn<caf::detached>(ingest, std::move(setup), client_, coordinator_));
  }

  // TLS and HTTP/2 before our own listener
  if (!config_.http.tls_listen.empty()) {
    http_front_setup setup;
    setup.folder = config_.data_dir + "/http-front";
    setup.program = config_.nginx.program;
    setup.certificate = {config_.http.certificate, config_.http.key};
    setup.config.listen = config_.http.tls_listen;
    setup.config.upstream = to_string(local_address_of(config_.http.listen));
    setup.config.body_limit = config_.http.body_limit;
    keep("http front", system.spawn<caf::detached>(http_front, std::move(setup)));
  }

  // node
  node_setup self;
  self.spec.name = node_name{config_.node.name};
  self.spec.instance = random_uuid();
  if (auto boot = read_file("/proc/sys/kernel/random/boot_id", 64))
    self.spec.machine = boot->substr(0, boot->find('\n'));
  self.spec.roles = config_.role_list();
  self.spec.labels = config_.node.labels;
  self.spec.http_url = internal_url_;
  self.spec.version = std::string(version());
  if (has(role::worker)) {
    self.spec.capacity_milli = config_.worker.cores ? std::int64_t{config_.worker.cores} * 1000 : usable_cores_milli();
    for (auto& t : task_types())
      if (config_.worker.task_types.empty() || std::ranges::find(config_.worker.task_types, t.name) != config_.worker.task_types.end())
        self.spec.task_types.push_back(t.name);
  }
  self.rtmp_servers = rtmp_servers_;
  self.origins = origins;
  self.tools = tools();
  self.beat_every = config_.cluster.heartbeat;
  self.tree = tree;
  node_ = system.spawn(node, std::move(self), coordinator_);
  keep("node", node_);
  add_witness_route(*server_, node_);

  // Whoever is where segments go to or come from looks after edges.
  if (has(role::coordinator) || has(role::origin) || has(role::director) || has(role::edge))
    keep("observer", system.spawn(observer, node_name{config_.node.name}, client_, coordinator_));

  // what people and servers speak to
  for (auto& r : roots_)
    tell_anon(tree, show_root{r.actor});
  http_bridge_setup bridge_setup{.coordinator = coordinator_, .introspection = tree, .api_token = api_token_, .metrics = std::make_shared<metrics::registry>(), .hooks = config_.hooks, .foreign_servers = config_.rtmp_servers,
                                 .edge_urls = desk_ ? [desk = desk_] { return desk->edge_urls(); } : std::function<std::vector<std::string>()>{}, .own_edges = edge_urls, .edge_hosts = config_.director.edge_hosts,
                                 .not_ready = [edges = has(role::edge), ingest = has(role::ingest), desk = desk_, name = config_.node.name](const cluster_view& view) {
                                   std::vector<std::string> missing;
                                   auto me = std::ranges::find(view.nodes, name, [](auto& n) { return n.spec.name.value; });
                                   if (me == view.nodes.end() || me->phase != node_phase::ready)
                                     missing.push_back("node " + name + " is " + std::string(me == view.nodes.end() ? "joining" : to_string(me->phase)));
                                   if (edges && std::ranges::none_of(view.edges, [](auto& e) { return e.phase == edge_phase::serving; }))
                                     missing.push_back("no edge serves");
                                   if (ingest && view.nodes.empty())
                                     missing.push_back("no RTMP server has joined");
                                   if (desk)
                                     for (auto& [node, why] : desk->unreached()) { // that an origin is down is no fault of this director: no other one reaches it
                                       auto there = std::ranges::find(view.nodes, node, [](auto& n) { return n.spec.name; });
                                       if (there != view.nodes.end() && there->phase != node_phase::down && there->phase != node_phase::left)
                                         missing.push_back(why);
                                     }
                                   return missing;
                                 }};
  auto bridge = system.spawn(http_bridge, bridge_setup);
  keep("http bridge", bridge);
  keep("introspection", tree);
  if (config_.hooks.without_coordinator == away_policy::known_keys)
    bridge_setup.known_keys_file = config_.data_dir + "/known-keys.json";
  auto hook_bridge = system.spawn(http_bridge, bridge_setup); // of their own: a list of a thousand tasks that is rendered must not make a callback late
  keep("http bridge of the hooks", hook_bridge);
  add_hook_routes(*server_, hook_bridge, bridge_setup);
  add_api_routes(*server_, bridge, bridge_setup);
  add_page_routes(*server_, bridge, bridge_setup);
  add_metrics_route(*server_, bridge, bridge_setup);
  count_answers(*server_, bridge_setup.metrics);
  watcher_ = system.spawn<caf::hidden>([roots = roots_, died = died_](caf::event_based_actor* watcher) -> caf::behavior {
    for (auto& r : roots)
      watcher->monitor(r.actor);
    watcher->set_down_handler([=](const caf::down_msg& down) {
      for (auto& r : roots)
        if (r.actor.address() == down.source)
          log::critical("weir", "role-died", "role={} reason={}", r.name, from_caf(down.reason).text);
      died->store(true);
    });
    return {[=](const weir::stop&) { watcher->quit(); }};
  });
  return server_->start();
}

runner_tools node_program::tools() const {
  auto& w = config_.worker;
  return {.http = client_,
          .ladders = config_.ladders,
          .retry = {.first = w.retry_first, .cap = w.retry_longest, .park_after = w.crash_limit, .park_window = w.crash_window, .parked_retry = w.retry_longest},
          .niceness = static_cast<int>(w.niceness)};
}

std::vector<std::string> node_program::reload(const node_config& next) {
  std::vector<std::string> waiting;
  for (auto& change : describe::changed_fields(loaded_, next))
    if (has(change.flags, needs_restart))
      waiting.push_back(change.path);
  for (auto* worker : {&config_.worker, &loaded_.worker}) {
    auto cores = worker->cores; // told to the coordinator when the node joined
    auto types = worker->task_types;
    *worker = next.worker;
    worker->cores = cores;
    worker->task_types = types;
  }
  config_.log.level = loaded_.log.level = next.log.level;
  config_.ladders = loaded_.ladders = next.ladders;
  loaded_.ladder_files = next.ladder_files;
  tell_anon(node_, use_tools{std::make_shared<const runner_tools>(tools())});
  return waiting;
}

void node_program::end() {
  if (!system_)
    return;
  auto deadline = std::chrono::steady_clock::now() + stop_within;
  tell_anon(watcher_, weir::stop{});
  watcher_ = nullptr;
  caf::scoped_actor self{*system_, true};
  // In reverse: nobody new comes in, runs deliver their last segments, then whoever they deliver to. Coordinator and origin are last.
  std::vector<std::string> order{"observer", "node", "ingest", "edge", "http front", "director", "http bridge", "introspection", "origin", "keyring", "door", "seat", "coordinator", "uplink"};
  for (auto& what : order) {
    std::vector<root*> leaving; // of one kind together: each edge may wait for its downloads
    for (auto& r : roots_)
      if (r.name.starts_with(what)) {
        self->monitor(r.actor);
        caf::anon_send(r.actor, weir::stop{});
        leaving.push_back(&r);
      }
    for (bool waits = true; waits && !leaving.empty();) {
      auto left = std::max(deadline - std::chrono::steady_clock::now(), std::chrono::steady_clock::duration{100ms});
      self->receive([&](const caf::down_msg& gone) { std::erase_if(leaving, [&](root* r) { return r->actor.address() == gone.source; }); },
                    caf::after(std::chrono::duration_cast<std::chrono::milliseconds>(left)) >> [&] { waits = false; });
    }
    for (auto* r : leaving) {
      log::error("weir", "role-hangs", "role={} killed=true", r->name);
      caf::anon_send_exit(r->actor, caf::exit_reason::kill);
    }
  }
  if (copies_) // also where ORIGIN hangs: its threads ask nobody any more
    copies_->close();
  if (bucket_)
    bucket_->close();
  if (desk_) // also where DIRECTOR hangs: whoever waits there holds the server
    desk_->close();
  server_->stop(1s);
  if (replica_desk_)
    replica_desk_->close(1s);
  for (auto& r : roots_)
    r.actor = nullptr;
  coordinator_ = nullptr;
  node_ = nullptr;
  cluster::settle(*system_);
}

node_program::~node_program() {
  end();
  server_.reset();
  client_.reset();
  roots_.clear();
  system_.reset();
}

} // namespace weir
