#pragma once
// What an operator writes for one node: pure values with their defaults, bounds and sentences. runtime/describe reads it from YAML,
// config/reference.yaml and docs/5-reference/configuration.md are generated from it.
#include "schemas/error.hpp"
#include "schemas/field.hpp"
#include "schemas/media.hpp"
#include "schemas/node.hpp"
#include "schemas/units.hpp"

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace weir {

/// "127.0.0.1:8080", "[::1]:8080", "live.example.org:1935". Port 0 lets the kernel choose.
struct host_port {
  std::string host;
  std::uint16_t port = 0;
  bool operator==(const host_port&) const = default;
};
expected<host_port> parse_host_port(std::string_view text);
std::string to_string(const host_port& address);
/// Whether only this machine reaches it: 127.0.0.0/8, ::1, localhost.
bool is_loopback(std::string_view host);

/// "10.0.0.0/8", "2001:db8::/32" or a single address.
struct address_range {
  std::array<std::uint8_t, 16> prefix{}; ///< IPv4 as ::ffff:a.b.c.d
  unsigned bits = 128;
  bool contains(std::string_view address) const;
  bool operator==(const address_range&) const = default;
};
expected<address_range> parse_address_range(std::string_view text);
/// "10.0.0.5/24": an IPv4 address that one machine can have, and the network that it is in.
struct machine_address {
  std::string host;
  address_range network;
};
expected<machine_address> parse_machine_address(std::string_view text);
/// Whether one of the ranges holds the address; a range or an address that does not parse holds nothing.
bool any_contains(const std::vector<std::string>& ranges, std::string_view address);

enum class role_choice : std::uint8_t { all, coordinator, ingest, worker, origin, director, edge };
constexpr auto enum_names(role_choice) {
  using sv = std::string_view;
  using r = role_choice;
  return std::array{std::pair{r::all, sv("all")},       std::pair{r::coordinator, sv("coordinator")}, std::pair{r::ingest, sv("ingest")},
                    std::pair{r::worker, sv("worker")}, std::pair{r::origin, sv("origin")},           std::pair{r::director, sv("director")},
                    std::pair{r::edge, sv("edge")}};
}

enum class log_level : std::uint8_t { debug, info, warn, error, critical };
constexpr auto enum_names(log_level) {
  using sv = std::string_view;
  using l = log_level;
  return std::array{std::pair{l::debug, sv("debug")}, std::pair{l::info, sv("info")}, std::pair{l::warn, sv("warn")}, std::pair{l::error, sv("error")},
                    std::pair{l::critical, sv("critical")}};
}

enum class log_format : std::uint8_t { automatic, text, json };
constexpr auto enum_names(log_format) {
  using sv = std::string_view;
  return std::array{std::pair{log_format::automatic, sv("auto")}, std::pair{log_format::text, sv("text")}, std::pair{log_format::json, sv("json")}};
}

enum class rtmp_server_kind : std::uint8_t { srs, nginx_rtmp };
constexpr auto enum_names(rtmp_server_kind) {
  using sv = std::string_view;
  return std::array{std::pair{rtmp_server_kind::srs, sv("srs")}, std::pair{rtmp_server_kind::nginx_rtmp, sv("nginx-rtmp")}};
}

/// How the one coordinator is chosen among nodes with that role.
enum class election_kind : std::uint8_t {
  single, ///< this node is it
  etcd,   ///< whoever holds the key in etcd
};
constexpr auto enum_names(election_kind) {
  using sv = std::string_view;
  return std::array{std::pair{election_kind::single, sv("single")}, std::pair{election_kind::etcd, sv("etcd")}};
}

/// What publishers hear while the coordinator is not reached.
enum class away_policy : std::uint8_t {
  refuse,     ///< nobody new may publish
  known_keys, ///< who presents the key that the coordinator last told this node may
};
constexpr auto enum_names(away_policy) {
  using sv = std::string_view;
  return std::array{std::pair{away_policy::refuse, sv("refuse")}, std::pair{away_policy::known_keys, sv("known_keys")}};
}

struct node_options {
  std::string name;
  std::map<std::string, std::string> labels;

  static constexpr auto fields() {
    using o = node_options;
    return std::tuple{
      field("name", &o::name, {0, 64}, "Name of this node, unique in the cluster; the machine's host name when empty.", needs_restart),
      field("labels", &o::labels, "Words about the machine, such as room: main-hall or gpu: nvenc; shown beside its name. A task may need some of them.", needs_restart),
    };
  }
  std::vector<complaint> check() const;
};

struct http_options {
  std::string listen = "127.0.0.1:8080";
  std::string tls_listen;
  std::string certificate, key;
  std::string public_url;
  std::string internal_url;
  std::uint32_t threads = 2;
  std::string token_file;
  byte_size body_limit{1 << 20};

  static constexpr auto fields() {
    using o = http_options;
    return std::tuple{
      field("listen", &o::listen, {1, 255}, "Where API, dashboard, hooks and playlists are served: address:port; port 0 takes a free one.", needs_restart),
      field("tls_listen", &o::tls_listen, {0, 255}, "Where nginx, which Weir runs itself, serves API, dashboard, pages and playlists with TLS and HTTP/2, such as 0.0.0.0:443; nowhere when empty.", needs_restart),
      field("certificate", &o::certificate, {0, 4096}, "Its certificate with its chain (PEM). A renewed file is in use within 15 s.", needs_restart),
      field("key", &o::key, {0, 4096}, "The key of its certificate (PEM, mode 0600).", needs_restart),
      field("public_url", &o::public_url, {0, 500}, "How viewers and operators reach this node, such as https://live.example.org; https://TLS_LISTEN when empty, or http://LISTEN.", needs_restart),
      field("internal_url", &o::internal_url, {0, 500}, "How other nodes reach this listener, such as http://10.0.0.5:8080; http://LISTEN when empty, with the host name for a wildcard address.", needs_restart),
      field("threads", &o::threads, {1, 64}, "Threads that answer requests.", needs_restart),
      field("token_file", &o::token_file, {0, 4096}, "File with the operator's token, made at the first start with mode 0600; DATA_DIR/api-token when empty.",
            needs_restart),
      field("body_limit", &o::body_limit, {byte_size{1 << 10}, byte_size{64 << 20}}, "Largest request body of the API.", needs_restart),
    };
  }
  std::vector<complaint> check() const;
};

struct log_options {
  log_level level = log_level::info;
  log_format format = log_format::automatic;

  static constexpr auto fields() {
    using o = log_options;
    return std::tuple{
      field("level", &o::level, "Least important line that is written."),
      field("format", &o::format, "auto writes text to a terminal and JSON lines elsewhere.", needs_restart),
    };
  }
};

struct cluster_options {
  std::string name = "weir";
  std::string listen;
  std::vector<std::string> join;
  std::string ca, certificate, key;
  bool insecure = false;
  std::chrono::milliseconds heartbeat = std::chrono::seconds(1);
  std::chrono::milliseconds down_after = std::chrono::milliseconds(2500);

  static constexpr auto fields() {
    using o = cluster_options;
    using namespace std::chrono_literals;
    return std::tuple{
      field("name", &o::name, {1, 64}, "Name of the cluster; a node of another cluster is turned away.", needs_restart),
      field("listen", &o::listen, {0, 255}, "Where other nodes join: address:port; closed when empty, as a node on its own wants it.", needs_restart),
      field("join", &o::join, {0, 16}, "Addresses (host:port) of the coordinator's cluster listener, tried in order; empty on the coordinator itself.",
            needs_restart),
      field("ca", &o::ca, {0, 4096}, "Certificate of the cluster's own authority (PEM, from `weir cluster init-ca`): with it all connections between nodes are TLS, each end proving itself.", needs_restart),
      field("certificate", &o::certificate, {0, 4096}, "This node's certificate (PEM, from `weir cluster issue`).", needs_restart),
      field("key", &o::key, {0, 4096}, "The key of this node's certificate (PEM, mode 0600).", needs_restart),
      field("insecure", &o::insecure, "Allow cluster connections beyond this machine without TLS: only on a network that nobody else reaches.", needs_restart),
      field("heartbeat", &o::heartbeat, {100ms, 1200ms}, "Time between two heartbeats of a node; each renews the leases of its tasks.", needs_restart),
      field("down_after", &o::down_after, {300ms, 60s}, "Silence after which a node is suspect whose heartbeats came regularly; others are given more time. It gets no new tasks; those that it has go elsewhere, at the latest when their leases end (coordinator.lease_ttl).", needs_restart),
    };
  }
  std::vector<complaint> check() const;
};

struct coordinator_options {
  std::chrono::milliseconds publish_grace = std::chrono::seconds(30);
  std::chrono::milliseconds lease_ttl = std::chrono::seconds(6);
  std::uint32_t events_kept = 10'000;
  election_kind election = election_kind::single;
  std::vector<std::string> etcd_endpoints;
  std::string etcd_ca, etcd_certificate, etcd_key;
  std::string viewing_secret, viewing_secret_former;

  static constexpr auto fields() {
    using o = coordinator_options;
    using namespace std::chrono_literals;
    return std::tuple{
      field("publish_grace", &o::publish_grace, {0ms, 10min}, "How long a stream's tasks go on after its last publisher left, so that a reconnect ends nothing.", needs_restart),
      field("lease_ttl", &o::lease_ttl, {5s, 60s}, "How long a node may run a task without hearing from the coordinator.", needs_restart),
      field("events_kept", &o::events_kept, {100, 1'000'000}, "Events kept in the log of what happened.", needs_restart),
      field("election", &o::election, "single: this node alone coordinates. etcd: of the nodes with this role the one that holds the key in etcd does, the others stand by.", needs_restart),
      field("etcd_endpoints", &o::etcd_endpoints, {0, 9}, "Client addresses of etcd's members, such as http://10.0.0.1:2379; needed by election: etcd.", needs_restart),
      field("etcd_ca", &o::etcd_ca, {0, 4096}, "Certificates that etcd's are checked against (PEM); the system's when empty.", needs_restart),
      field("etcd_certificate", &o::etcd_certificate, {0, 4096}, "This coordinator's certificate for an etcd that demands one (--client-cert-auth; PEM).", needs_restart),
      field("etcd_key", &o::etcd_key, {0, 4096}, "The key of that certificate (PEM, mode 0600).", needs_restart),
      field("viewing_secret", &o::viewing_secret, {0, 128}, "What signed viewing addresses are signed with: 32 to 128 letters, digits and signs of ._~-, for sites that sign themselves; the same on each node with this role. Weir makes one of its own, and keeps it, when empty.", weir::secret | needs_restart),
      field("viewing_secret_former", &o::viewing_secret_former, {0, 128}, "A second secret whose addresses count, too: while sites go over from one to the other.", weir::secret | needs_restart),
    };
  }
};

struct hook_options {
  std::vector<std::string> allow = {"127.0.0.0/8", "::1"};
  std::string secret;
  std::chrono::milliseconds answer_within = std::chrono::milliseconds(900);
  byte_size body_limit{64 << 10};
  away_policy without_coordinator = away_policy::refuse;

  static constexpr auto fields() {
    using o = hook_options;
    using namespace std::chrono_literals;
    return std::tuple{
      field("allow", &o::allow, {0, 256}, "Addresses or ranges of RTMP servers that may call the hooks.", needs_restart),
      field("secret", &o::secret, {0, 128}, "When set, the hooks' addresses end in it: /hooks/srs/SECRET.", weir::secret | needs_restart),
      field("answer_within", &o::answer_within, {50ms, 5s}, "Time within which each hook is answered, whatever else is wrong.", needs_restart),
      field("body_limit", &o::body_limit, {byte_size{1 << 10}, byte_size{1 << 20}}, "Largest hook body.", needs_restart),
      field("without_coordinator", &o::without_coordinator, "What publishers hear while the coordinator is not reached: refuse, or known_keys, which accepts the keys that it told this node last.", needs_restart),
    };
  }
  std::vector<complaint> check() const;
};

/// Real nginx, as the ingest and edge roles start it.
struct nginx_options {
  std::string program = "/usr/sbin/nginx";
  std::string rtmp_module = "/usr/lib/nginx/modules/ngx_rtmp_module.so";
  std::string js_module = "/usr/lib/nginx/modules/ngx_http_js_module.so";

  static constexpr auto fields() {
    using o = nginx_options;
    return std::tuple{
      field("program", &o::program, {1, 4096}, "The nginx program that the ingest and edge roles start under their own configuration.", needs_restart),
      field("rtmp_module", &o::rtmp_module, {0, 4096}, "nginx's RTMP module, for the ingest role; empty where it is compiled in.", needs_restart),
      field("js_module", &o::js_module, {0, 4096}, "nginx's JavaScript module, for the edge role: it checks signed viewing addresses; empty where it is compiled in.", needs_restart),
    };
  }
};

struct ingest_options {
  std::string server;
  std::string rtmp_listen = "127.0.0.1:1935";
  std::string public_url;
  std::vector<std::string> apps = {"live"};
  std::vector<std::string> play_allow = {"127.0.0.0/8", "::1"};
  std::string stat_listen = "127.0.0.1:8936";
  std::chrono::milliseconds update_every{0};

  static constexpr auto fields() {
    using o = ingest_options;
    using namespace std::chrono_literals;
    return std::tuple{
      field("server", &o::server, {0, 64}, "Name of this RTMP server in statuses and events; the node's name when empty.", needs_restart),
      field("rtmp_listen", &o::rtmp_listen, {1, 255}, "Where encoders publish: address:port.", needs_restart),
      field("public_url", &o::public_url, {0, 500}, "How encoders reach it, such as rtmp://ingest.example.org; rtmp://RTMP_LISTEN when empty.", needs_restart),
      field("apps", &o::apps, {1, 64}, "RTMP applications that are offered.", needs_restart),
      field("play_allow", &o::play_allow, {0, 256}, "Addresses or ranges that may read streams over RTMP: the workers.", needs_restart),
      field("stat_listen", &o::stat_listen, {1, 255}, "Where nginx tells Weir who publishes; keep it on this machine.", needs_restart),
      field("update_every", &o::update_every, {0s, 60s},
            "Time between two signs of life of each connection; 0: none. With them nginx ends every session when Weir does not answer.", needs_restart),
    };
  }
  std::vector<complaint> check() const;
};

/// An RTMP server that somebody else runs.
struct rtmp_server_options {
  std::string name;
  rtmp_server_kind kind = rtmp_server_kind::srs;
  std::string rtmp_url;
  std::string public_url;
  std::string api_url;
  std::string secret;

  static constexpr auto fields() {
    using o = rtmp_server_options;
    return std::tuple{
      field("name", &o::name, {1, 64}, "Name of the server; SRS's server_id, or server= in the hook addresses of nginx-rtmp.", needs_restart),
      field("kind", &o::kind, "Which program it is.", needs_restart),
      field("rtmp_url", &o::rtmp_url, {1, 500}, "Where tasks read streams, such as rtmp://srs1.example.org:1935.", needs_restart),
      field("public_url", &o::public_url, {0, 500}, "How encoders reach it; the address that tasks use when empty.", needs_restart),
      field("api_url", &o::api_url, {0, 500}, "SRS's HTTP API, such as http://srs1.example.org:1985, or where nginx-rtmp answers /stat and /control: who really publishes is read there, and cut off.", needs_restart),
      field("secret", &o::secret, {0, 128}, "Hook secret of this server, instead of the one in hooks.", weir::secret | needs_restart),
    };
  }
  std::vector<complaint> check() const;
};

struct worker_options {
  std::uint32_t cores = 0;
  std::vector<std::string> task_types;
  std::uint32_t niceness = 5;
  std::chrono::milliseconds retry_first = std::chrono::milliseconds(500);
  std::chrono::milliseconds retry_longest = std::chrono::seconds(30);
  std::uint32_t crash_limit = 5;
  std::chrono::milliseconds crash_window = std::chrono::seconds(60);

  static constexpr auto fields() {
    using o = worker_options;
    using namespace std::chrono_literals;
    return std::tuple{
      field("cores", &o::cores, {0, 1024}, "CPU cores that tasks may use; 0 means all.", needs_restart),
      field("task_types", &o::task_types, {0, 256}, "Task types that this worker takes, such as hls or restream; empty means all that it knows.", needs_restart),
      field("niceness", &o::niceness, {0, 19}, "How far transcoders give way to other programs of the machine."),
      field("retry_first", &o::retry_first, {100ms, 10s}, "Wait before a task's process that failed starts again; doubles with each failure."),
      field("retry_longest", &o::retry_longest, {1s, 10min}, "Longest such wait, and the time between attempts of a crash-looping task."),
      field("crash_limit", &o::crash_limit, {2, 100}, "Failures within crash_window after which a task counts as crash-looping."),
      field("crash_window", &o::crash_window, {10s, 1h}, "Time over which failures are counted."),
    };
  }
  std::vector<complaint> check() const;
};

/// Where an origin keeps segments.
enum class store_kind : std::uint8_t {
  fs,         ///< in a folder of its own
  replicated, ///< there, and at other origins
  s3,         ///< in a bucket of an S3 server
};
constexpr auto enum_names(store_kind) {
  using sv = std::string_view;
  return std::array{std::pair{store_kind::fs, sv("fs")}, std::pair{store_kind::replicated, sv("replicated")}, std::pair{store_kind::s3, sv("s3")}};
}

/// The bucket of an origin, and how it is reached.
struct bucket_options {
  std::string endpoint;
  std::string region = "us-east-1";
  std::string bucket, prefix, credentials, ca;
  bool virtual_host = false;
  std::chrono::milliseconds deadline = std::chrono::seconds(5);
  byte_size cache{64 << 20};

  static constexpr auto fields() {
    using o = bucket_options;
    using namespace std::chrono_literals;
    return std::tuple{
      field("endpoint", &o::endpoint, {0, 500}, "Address of the S3 server, such as https://s3.eu-central-1.amazonaws.com.", needs_restart),
      field("region", &o::region, {1, 64}, "The region that requests are signed for.", needs_restart),
      field("bucket", &o::bucket, {0, 63}, "The bucket. It must be there; Weir does not make it.", needs_restart),
      field("prefix", &o::prefix, {0, 200}, "What the keys of all objects begin with, such as live/one. Of two origins with the same bucket and prefix only the one that started last writes.", needs_restart),
      field("credentials", &o::credentials, {0, 4096}, "File (mode 0600) with the access key, its secret and perhaps a session token, each on a line; AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN of the environment when empty.", needs_restart),
      field("ca", &o::ca, {0, 4096}, "Certificates that the server's is checked against (PEM); the system's when empty.", needs_restart),
      field("virtual_host", &o::virtual_host, "Whether the bucket is named in the host, https://BUCKET.HOST/, instead of in the path.", needs_restart),
      field("deadline", &o::deadline, {1s, 60s}, "Time for each object, further attempts included.", needs_restart),
      field("cache", &o::cache, {byte_size{0}, byte_size{std::int64_t{64} << 30}}, "Memory for the segments that were stored or read last, so that edges which ask for them wait for no bucket.", needs_restart),
    };
  }
};

struct origin_options {
  std::string dir;
  std::string url;
  hls_profile profile = hls_profile::standard;
  std::chrono::milliseconds window{0};
  std::chrono::milliseconds dvr_window{0};
  byte_size upload_limit{64 << 20};
  std::chrono::milliseconds write_deadline{0};
  std::uint32_t writers = 4;
  store_kind store = store_kind::fs;
  std::uint32_t copies = 3;
  bucket_options s3;

  static constexpr auto fields() {
    using o = origin_options;
    using namespace std::chrono_literals;
    return std::tuple{
      field("dir", &o::dir, {0, 4096}, "Folder of the segments; DATA_DIR/origin when empty.", needs_restart),
      field("url", &o::url, {0, 500}, "How workers and edges reach this origin; the listener's internal address when empty.", needs_restart),
      field("profile", &o::profile, "Timing of streams that do not choose one: standard (6 s segments), quick (4 s) or short (2 s).", needs_restart),
      field("window", &o::window, {0ms, 12h}, "How much a playlist lists; 0s takes the profile's 60s. At least six segments, at most 512.", needs_restart),
      field("dvr_window", &o::dvr_window, {0ms, 12h}, "How far back players may wind that load /hls/STREAM/dvr.m3u8. Longer than window, at most 512 segments; 0s: not at all.", needs_restart),
      field("upload_limit", &o::upload_limit, {byte_size{1 << 20}, byte_size{1 << 30}}, "Largest segment that a worker may put.", needs_restart),
      field("write_deadline", &o::write_deadline, {0ms, 60s}, "Time in which a segment must be stored; then its place becomes a gap. 0s takes the stream's target duration. With store: replicated it is 5 s at least: another origin may have to take over meanwhile.", needs_restart),
      field("writers", &o::writers, {1, 64}, "Segments that are written at a time.", needs_restart),
      field("store", &o::store, "Where segments are kept: fs (in dir), replicated (there and at other origins of the cluster) or s3 (in a bucket).", needs_restart),
      field("copies", &o::copies, {2, 9}, "With replicated: how many origins keep each segment. Nothing is published before so many have joined; more than half of them must have a segment before it is listed. Fewer go on when one is lost; one that comes joins them when it has caught up.", needs_restart),
      field("s3", &o::s3, "With s3: the bucket."),
    };
  }
  std::vector<complaint> check() const;
};

struct director_options {
  std::uint32_t slack_percent = 10;
  bool concentrate = true;
  std::uint32_t gain_percent = 17;
  std::uint32_t dead_band_percent = 10;
  std::uint32_t slew_percent = 20;
  std::chrono::milliseconds slow_start = std::chrono::seconds(60);
  std::chrono::milliseconds probe_every = std::chrono::seconds(1);
  std::chrono::milliseconds probe_timeout = std::chrono::milliseconds(500);
  std::uint32_t suspect_phi = 8;
  std::chrono::milliseconds steering_ttl = std::chrono::seconds(30);
  std::string edge_authorities;
  std::vector<std::string> edge_hosts;
  bool beacons = true;
  std::vector<std::string> trusted_proxies = {"127.0.0.0/8", "::1"};

  static constexpr auto fields() {
    using o = director_options;
    using namespace std::chrono_literals;
    return std::tuple{
      field("slack_percent", &o::slack_percent, {0, 100}, "How far an edge may exceed its fair share before it gets no new viewers, in percent.", needs_restart),
      field("concentrate", &o::concentrate, "Whether a stream with few viewers is served by few edges, so that its origin is asked by few.", needs_restart),
      field("gain_percent", &o::gain_percent, {0, 50}, "How strongly an edge's weight answers to its measured load, in percent; 0 turns the feedback off.", needs_restart),
      field("dead_band_percent", &o::dead_band_percent, {0, 50}, "Deviations of load below this change no weight, in percent.", needs_restart),
      field("slew_percent", &o::slew_percent, {1, 100}, "Largest change of a weight in one report interval, in percent.", needs_restart),
      field("slow_start", &o::slow_start, {0ms, 10min}, "Time in which a new or recovered edge comes to its full weight.", needs_restart),
      field("probe_every", &o::probe_every, {200ms, 10s}, "Time between two probes of an edge.", needs_restart),
      field("probe_timeout", &o::probe_timeout, {50ms, 5s}, "Time within which a probe must be answered; at most probe_every.", needs_restart),
      field("suspect_phi", &o::suspect_phi, {1, 16}, "Suspicion (phi accrual) of missing load reports from which an edge's load is not known; 15 s later it gets no new viewers.", needs_restart),
      field("steering_ttl", &o::steering_ttl, {5s, 5min}, "How often players ask again which edge suits them (Content Steering).", needs_restart),
      field("edge_authorities", &o::edge_authorities, {0, 4096}, "Certificates (PEM) that those of the edges are checked against by probes; the system's when empty, which browsers know.", needs_restart),
      field("edge_hosts", &o::edge_hosts, {0, 64}, "Addresses that edges may have later, such as https://*.edge.example.org: the player page may fetch from there, too, without being loaded anew.", needs_restart),
      field("beacons", &o::beacons, "Whether player pages tell how long the first picture took and how often it stood still: numbers without names or addresses.", needs_restart),
      field("trusted_proxies", &o::trusted_proxies, {0, 64}, "Addresses and networks of the proxies before the directors: the X-Forwarded-For of nobody else is believed.", needs_restart),
    };
  }
  std::vector<complaint> check() const;
};

enum class scaling_driver : std::uint8_t {
  off,
  process, ///< spare instances of the nodes with the role edge
  exec,    ///< machines, by a program of the operator's
  webhook, ///< machines, by a service
};
constexpr auto enum_names(scaling_driver) {
  using sv = std::string_view;
  return std::array{std::pair{scaling_driver::off, sv("off")}, std::pair{scaling_driver::process, sv("process")}, std::pair{scaling_driver::exec, sv("exec")},
                    std::pair{scaling_driver::webhook, sv("webhook")}};
}

struct audience_options {
  std::string what, from, until;
  std::uint32_t viewers = 1000;

  static constexpr auto fields() {
    using o = audience_options;
    return std::tuple{
      field("what", &o::what, {1, 100}, "What they come for.", needs_restart),
      field("from", &o::from, {1, 40}, "When they come, such as 2026-11-28T18:00:00Z.", needs_restart),
      field("until", &o::until, {1, 40}, "When they leave.", needs_restart),
      field("viewers", &o::viewers, {1, 10'000'000}, "How many.", needs_restart),
    };
  }
};

struct autoscaler_options {
  scaling_driver driver = scaling_driver::off;
  bool dry_run = false;
  std::uint32_t least = 2, most = 8;
  std::chrono::milliseconds boot = std::chrono::seconds(15);
  std::chrono::milliseconds cool_down = std::chrono::seconds(300);
  std::uint32_t imbalance_percent = 10;
  std::uint32_t growth_percent = 20;
  bit_rate viewer_rate{3'000'000};
  std::vector<audience_options> expected;
  std::vector<std::string> command;
  std::string url, token_file, authorities;
  std::chrono::milliseconds order_timeout = std::chrono::seconds(60);
  std::uint32_t per_hour = 10, per_day = 40;

  static constexpr auto fields() {
    using o = autoscaler_options;
    using namespace std::chrono_literals;
    return std::tuple{
      field("driver", &o::driver, "Who starts and ends edges as viewers come and go: process uses the spare instances of nodes (edge.spare), exec a program of yours that begins and ends machines, webhook a service that does; off nobody.", needs_restart),
      field("dry_run", &o::dry_run, "Say what would be done, in events and by weir edge list --explain, and do nothing.", needs_restart),
      field("least", &o::least, {1, 10'000}, "Edges that there are at least, those of edge.instances included.", needs_restart),
      field("most", &o::most, {1, 10'000}, "Edges that there are at most; when they are full, new viewers are told so.", needs_restart),
      field("boot", &o::boot, {1s, 1h}, "Time from an order until a new edge serves.", needs_restart),
      field("cool_down", &o::cool_down, {10s, 24h}, "How long fewer edges must have been enough before one is ended, and time between two such steps.", needs_restart),
      field("imbalance_percent", &o::imbalance_percent, {0, 100}, "How much more than the mean the fullest edge may have, in percent.", needs_restart),
      field("growth_percent", &o::growth_percent, {0, 1000}, "How fast an audience is taken to grow, in percent a minute; faster when it is seen to.", needs_restart),
      field("viewer_rate", &o::viewer_rate, {bit_rate{10'000}, bit_rate{1'000'000'000}}, "Mean bit rate of a viewer, until it can be measured.", needs_restart),
      field("expected", &o::expected, {0, 100}, "Audiences that are known to come: the edges for them are there two minutes before.", needs_restart),
      field("command", &o::command, {0, 64}, "Driver exec: the program and its words, run for each order and never by a shell. Everybody on the machine can read them: no secrets here.", needs_restart),
      field("url", &o::url, {0, 2048}, "Driver webhook: where orders are posted.", needs_restart),
      field("token_file", &o::token_file, {0, 4096}, "Driver webhook: file (mode 0600) with the token that is sent as a bearer, read for each order; none when empty.", needs_restart),
      field("authorities", &o::authorities, {0, 4096}, "Driver webhook: file with the certificates (PEM) that its certificate is checked against; the system's when empty.", needs_restart),
      field("order_timeout", &o::order_timeout, {1s, 10min}, "Drivers exec and webhook: time that an order may take; it is tried again.", needs_restart),
      field("per_hour", &o::per_hour, {1, 1000}, "Drivers exec and webhook: machines that may be begun within an hour, so that a fault does not cost a fortune.", needs_restart),
      field("per_day", &o::per_day, {1, 1000}, "Drivers exec and webhook: machines that may be begun within a day.", needs_restart),
    };
  }
  std::vector<complaint> check() const;
};

/// An address that is this edge's while it lives, and another one's of the same network when it is dead.
struct shared_address_options {
  std::string address;
  std::string interface;
  std::string network;

  static constexpr auto fields() {
    using o = shared_address_options;
    return std::tuple{
      field("address", &o::address, {0, 18}, "The address with the length of its network, such as 10.0.0.5/24 (IPv4 only). Weir puts it on the interface and takes it off: nothing else may have it. None when empty.", needs_restart),
      field("interface", &o::interface, {0, 15}, "The network interface that it is put on, such as eth0, which has an address of its own in the same network.", needs_restart),
      field("network", &o::network, {0, 64}, "Name of that network, written alike on each of its edges: needed only where two networks of the cluster have the same addresses.", needs_restart),
    };
  }
};

struct edge_options {
  std::uint32_t instances = 2;
  std::uint32_t spare = 0;
  std::string listen_host = "127.0.0.1";
  std::uint16_t first_port = 8081;
  std::string public_host;
  std::string public_url;
  std::string certificate, key;
  bit_rate egress{1'000'000'000};
  byte_size cache_size{1LL << 30};
  std::string cache_dir;
  std::vector<std::string> origins;
  std::vector<std::string> networks;
  bool networks_only = false;
  std::string locality;
  shared_address_options shared_address;

  static constexpr auto fields() {
    using o = edge_options;
    return std::tuple{
      field("instances", &o::instances, {1, 64}, "nginx caches that this node runs, one port each.", needs_restart),
      field("spare", &o::spare, {0, 64}, "Further ones that the autoscaler may start on this node, on the ports that follow.", needs_restart),
      field("listen_host", &o::listen_host, {1, 255}, "Address that they listen on; 0.0.0.0 for viewers elsewhere.", needs_restart),
      field("first_port", &o::first_port, {0, 65'000}, "Port of the first one, the others follow; 0 takes free ones.", needs_restart),
      field("public_host", &o::public_host, {0, 255}, "Name or address by which viewers reach them; listen_host when empty.", needs_restart),
      field("public_url", &o::public_url, {0, 250}, "How viewers reach them where something stands before them, such as https://edge-{n}.example.org; {n} is the number of the instance, {port} its port. Made of public_host and port when empty.", needs_restart),
      field("certificate", &o::certificate, {0, 4096}, "Their certificate with its chain (PEM): with it they speak TLS and HTTP/2. A renewed file is in use within 15 s.", needs_restart),
      field("key", &o::key, {0, 4096}, "The key of their certificate (PEM, mode 0600).", needs_restart),
      field("egress", &o::egress, {bit_rate{1'000'000}, bit_rate{1'000'000'000'000}}, "Bit rate that each of them can send: its share of the machine's network.", needs_restart),
      field("cache_size", &o::cache_size, {byte_size{16 << 20}, byte_size{1LL << 40}}, "Disk space of each cache.", needs_restart),
      field("cache_dir", &o::cache_dir, {0, 4096}, "Folder of the caches; DATA_DIR/edge when empty.", needs_restart),
      field("origins", &o::origins, {0, 16}, "Addresses of the origins, such as http://control.example.org:8080. When empty they are those that the cluster has, as it says from time to time.", needs_restart),
      field("networks", &o::networks, {0, 64}, "Networks whose viewers these edges serve first, such as those of the venue that they stand in: 10.20.0.0/16, 2001:db8::/32.", needs_restart),
      field("networks_only", &o::networks_only, "Whether they serve viewers of edge.networks only: nobody else reaches them.", needs_restart),
      field("locality", &o::locality, {0, 64}, "Name of the group of edges that share edge.networks, written alike on each node of it; the node's name when empty. A cluster has at most 16.", needs_restart),
      field("shared_address", &o::shared_address, "An address that another edge of the same network takes over when this machine is gone, so that what is listed there can still be fetched."),
    };
  }
  std::vector<complaint> check() const;
};

struct node_config {
  node_options node;
  std::vector<role_choice> roles = {role_choice::all};
  std::string data_dir = "/var/lib/weir";
  http_options http;
  log_options log;
  cluster_options cluster;
  coordinator_options coordinator;
  hook_options hooks;
  nginx_options nginx;
  ingest_options ingest;
  std::vector<rtmp_server_options> rtmp_servers;
  worker_options worker;
  origin_options origin;
  director_options director;
  edge_options edge;
  autoscaler_options autoscaler;
  std::vector<std::string> ladder_files;
  std::vector<ladder_spec> ladders;

  static constexpr auto fields() {
    using o = node_config;
    return std::tuple{
      field("node", &o::node, "Who this node is."),
      field("roles", &o::roles, {1, 7}, "What this node does; all on a machine on its own.", needs_restart),
      field("data_dir", &o::data_dir, {1, 4096}, "Folder of everything that this node keeps.", needs_restart),
      field("http", &o::http, "The HTTP listener, on every node."),
      field("log", &o::log, "The log on stderr."),
      field("cluster", &o::cluster, "How nodes find each other."),
      field("coordinator", &o::coordinator, "Role coordinator: streams, tasks and who runs them."),
      field("hooks", &o::hooks, "Callbacks of RTMP servers, taken by the coordinator."),
      field("nginx", &o::nginx, "The nginx that the roles ingest and edge start."),
      field("ingest", &o::ingest, "Role ingest: an RTMP server (nginx-rtmp) that Weir configures and runs."),
      field("rtmp_servers", &o::rtmp_servers, {0, 64}, "RTMP servers that you run yourself, such as SRS; needed by the coordinator.", needs_restart),
      field("worker", &o::worker, "Role worker: transcoders and other tasks."),
      field("origin", &o::origin, "Role origin: segments and playlists."),
      field("director", &o::director, "Role director: which edge serves which viewer."),
      field("edge", &o::edge, "Role edge: nginx caches that viewers fetch from."),
      field("autoscaler", &o::autoscaler, "How many edges there are, decided by the coordinator."),
      field("ladder_files", &o::ladder_files, {0, 64}, "Files with one ladder each, relative to this file; they add to default, economy and low or replace them."),
      field("ladders", &o::ladders, {0, 64}, "Ladders written here; a name given here replaces one from a file."),
    };
  }
  std::vector<complaint> check() const;

  bool has(role wanted) const;
  std::vector<role> role_list() const; ///< without `all` and without repeats, in the order of the enum
};

/// The base address of an edge for viewers. `number` counts from 1. Without a trailing slash.
std::string edge_url(const edge_options& options, unsigned number, std::uint16_t port);

/// What is wrong with a ladder beyond the bounds of its fields: repeated names, rungs out of order, an unknown x264 preset.
std::vector<complaint> check(const ladder_spec& ladder);
/// default, economy and low: what config/ladders/*.yaml say.
std::vector<ladder_spec> built_in_ladders();

} // namespace weir
