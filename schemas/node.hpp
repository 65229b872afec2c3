#pragma once
// Nodes, edges and the table by which directors steer.
#include "schemas/field.hpp"
#include "schemas/ids.hpp"
#include "schemas/units.hpp"

#include <array>
#include <map>
#include <string>
#include <vector>

namespace weir {

enum class role : std::uint8_t { coordinator, ingest, worker, origin, director, edge };
constexpr auto enum_names(role) {
  using sv = std::string_view;
  return std::array{std::pair{role::coordinator, sv("coordinator")}, std::pair{role::ingest, sv("ingest")},     std::pair{role::worker, sv("worker")},
                    std::pair{role::origin, sv("origin")},           std::pair{role::director, sv("director")}, std::pair{role::edge, sv("edge")}};
}

enum class node_phase : std::uint8_t { joining, ready, suspect, down, draining, cordoned, left };
constexpr auto enum_names(node_phase) {
  using sv = std::string_view;
  return std::array{std::pair{node_phase::joining, sv("joining")},   std::pair{node_phase::ready, sv("ready")}, std::pair{node_phase::suspect, sv("suspect")},
                    std::pair{node_phase::down, sv("down")},         std::pair{node_phase::draining, sv("draining")},
                    std::pair{node_phase::cordoned, sv("cordoned")}, std::pair{node_phase::left, sv("left")}};
}

/// What a node says of itself when it joins.
struct node_spec {
  node_name name;
  std::string instance; ///< new with each start of the process
  std::string machine;  ///< boot id: new with each start of the machine
  std::vector<role> roles;
  std::vector<std::string> task_types; ///< that this program links and this worker may run
  std::int64_t capacity_milli = 0;     ///< CPU cores that tasks may use × 1000
  std::string http_url;                ///< where its HTTP listener is reached by other nodes
  std::string version;
  std::map<std::string, std::string> labels; ///< the operator's words about the machine

  static constexpr auto fields() {
    using o = node_spec;
    return std::tuple{
      field("name", &o::name, "Name, unique in the cluster."),
      field("instance", &o::instance, "New with each start."),
      field("machine", &o::machine, "New with each start of its machine."),
      field("roles", &o::roles, "What it does."),
      field("task_types", &o::task_types, "Task types that it runs."),
      field("capacity_milli", &o::capacity_milli, "CPU cores for tasks, in thousandths."),
      field("http_url", &o::http_url, "Where other nodes reach it."),
      field("version", &o::version, "Version of Weir."),
      field("labels", &o::labels, "The operator's words about the machine."),
    };
  }
};

/// Measured each second.
struct node_load {
  std::int64_t cpu_milli = 0;         ///< cores in use × 1000
  std::int64_t task_cpu_milli = 0;    ///< cores used by tasks × 1000
  byte_size memory_used;
  byte_size memory_total;
  std::uint32_t tasks = 0;

  static constexpr auto fields() {
    using o = node_load;
    return std::tuple{
      field("cpu_milli", &o::cpu_milli, "Cores in use, in thousandths."),
      field("task_cpu_milli", &o::task_cpu_milli, "Cores used by tasks, in thousandths."),
      field("memory_used", &o::memory_used, "Memory in use."),
      field("memory_total", &o::memory_total, "Memory of the machine."),
      field("tasks", &o::tasks, "Tasks that run here."),
    };
  }
};

struct node_status {
  node_spec spec;
  node_phase phase = node_phase::joining;
  node_load load;
  std::int64_t granted_milli = 0; ///< cores promised to placed tasks × 1000
  timestamp joined{};
  timestamp last_heartbeat{};

  static constexpr auto fields() {
    using o = node_status;
    return std::tuple{
      field("spec", &o::spec, "What the node said of itself."),
      field("phase", &o::phase, "Phase."),
      field("load", &o::load, "Measured load."),
      field("granted_milli", &o::granted_milli, "Cores promised to placed tasks, in thousandths."),
      field("joined", &o::joined, "When it joined."),
      field("last_heartbeat", &o::last_heartbeat, "When it was last heard."),
    };
  }
};

/// What is seen of an RTMP server.
struct rtmp_server_status {
  std::string name;
  node_name node;               ///< that runs it; empty: somebody else does
  std::string publish_url;
  bool watched = false;         ///< its own list is read
  bool up = false;              ///< and was, the last time
  std::string trouble;
  std::uint32_t publishers = 0; ///< by that list

  static constexpr auto fields() {
    using o = rtmp_server_status;
    return std::tuple{
      field("name", &o::name, "Name."),
      field("node", &o::node, "Node that runs it; empty where somebody else does."),
      field("publish_url", &o::publish_url, "How encoders reach it."),
      field("watched", &o::watched, "Whether its own list of publishers is read."),
      field("up", &o::up, "Whether it was read the last time."),
      field("trouble", &o::trouble, "What is wrong."),
      field("publishers", &o::publishers, "Publishers by its last list."),
    };
  }
};

enum class edge_phase : std::uint8_t {
  starting, ///< not yet proven good
  serving,  ///< gets viewers
  suspect,  ///< silent or failing probes: no new viewers
  dead,     ///< out of the edge set
  draining, ///< no new entries; serves what is listed
  stopped,
};
constexpr auto enum_names(edge_phase) {
  using sv = std::string_view;
  return std::array{std::pair{edge_phase::starting, sv("starting")}, std::pair{edge_phase::serving, sv("serving")}, std::pair{edge_phase::suspect, sv("suspect")},
                    std::pair{edge_phase::dead, sv("dead")},         std::pair{edge_phase::draining, sv("draining")}, std::pair{edge_phase::stopped, sv("stopped")}};
}

/// What an edge delivered of one stream in the last second.
struct stream_load {
  std::string stream;               ///< empty: all that are not named
  std::int64_t bits_per_second = 0;
  std::uint64_t hits = 0;           ///< requests that the cache answered
  std::uint64_t misses = 0;
  std::uint64_t viewers = 0;        ///< distinct (address, agent) with a segment in the last 15 s

  static constexpr auto fields() {
    using o = stream_load;
    return std::tuple{
      field("stream", &o::stream, "Stream; empty: all that are not named."),
      field("bits_per_second", &o::bits_per_second, "Sent in the last second."),
      field("hits", &o::hits, "Answered from the cache in the last second."),
      field("misses", &o::misses, "Fetched from the origin in the last second."),
      field("viewers", &o::viewers, "Distinct viewers in the last 15 s."),
    };
  }
};

/// What an edge measures of its nginx each second.
struct edge_load {
  edge_name edge;
  std::uint64_t sequence = 0;        ///< of this report
  std::int64_t bits_per_second = 0;  ///< sent in the last second
  std::uint64_t requests = 0;        ///< in the last second
  std::uint64_t hits = 0;            ///< of them from the cache
  std::uint64_t misses = 0;
  std::uint64_t errors = 0;          ///< of them answered 5xx
  std::uint64_t connections = 0;     ///< open (stub_status active)
  std::uint64_t writing = 0;
  std::uint64_t viewers = 0;         ///< distinct (address, agent) with a segment in the last 15 s
  bool up = false;                   ///< nginx answers stub_status
  std::uint64_t restarts = 0;        ///< of its nginx since the node's start
  std::string trouble;               ///< why it is not up
  std::string certificate;           ///< what it shows to viewers, in words that change with it; empty without TLS
  std::string certificate_trouble;   ///< why a newer one is not used
  std::vector<stream_load> streams;  ///< the busiest ones by name

  static constexpr auto fields() {
    using o = edge_load;
    return std::tuple{
      field("edge", &o::edge, "Edge."),
      field("sequence", &o::sequence, "Number of the report."),
      field("bits_per_second", &o::bits_per_second, "Sent in the last second."),
      field("requests", &o::requests, "In the last second."),
      field("hits", &o::hits, "Answered from the cache in the last second."),
      field("misses", &o::misses, "Fetched from the origin in the last second."),
      field("errors", &o::errors, "Answered 5xx in the last second."),
      field("connections", &o::connections, "Open connections."),
      field("writing", &o::writing, "Connections that are being answered."),
      field("viewers", &o::viewers, "Distinct viewers in the last 15 s."),
      field("up", &o::up, "Whether nginx answers."),
      field("restarts", &o::restarts, "Restarts of its nginx."),
      field("trouble", &o::trouble, "Why it is not up."),
      field("certificate", &o::certificate, "The certificate that it shows to viewers."),
      field("certificate_trouble", &o::certificate_trouble, "Why a newer certificate is not used."),
      field("streams", &o::streams, {0, 256}, "What of it was of which stream, the busiest ones by name."),
    };
  }
};

/// What an observer thinks of an edge.
enum class edge_view : std::uint8_t {
  unknown,   ///< nothing yet
  up,        ///< it serves what it should
  brown_out, ///< it does, but slowly
  suspect,   ///< it does not
};
constexpr auto enum_names(edge_view) {
  using sv = std::string_view;
  return std::array{std::pair{edge_view::unknown, sv("unknown")}, std::pair{edge_view::up, sv("up")}, std::pair{edge_view::brown_out, sv("brown_out")},
                    std::pair{edge_view::suspect, sv("suspect")}};
}

/// What one observer last said of one edge.
struct edge_sight {
  node_name observer;               ///< the node that it is on
  edge_view view = edge_view::unknown;
  std::uint32_t good = 0;           ///< probes in a row that were well
  std::int64_t milliseconds = 0;    ///< that the last probe took
  std::string text;                 ///< what was wrong with it
  static constexpr auto fields() {
    using o = edge_sight;
    return std::tuple{
      field("observer", &o::observer, "Node of the observer."),
      field("view", &o::view, "What it thinks of the edge."),
      field("good", &o::good, "Probes in a row that were well."),
      field("milliseconds", &o::milliseconds, "That its last probe took."),
      field("text", &o::text, "What was wrong with it."),
    };
  }
};

/// The newest listed segment of some stream, as its origin has it: what an edge must serve.
struct probe_target {
  std::string path;       ///< "/s/…"; empty: nothing is listed
  std::uint64_t size = 0; ///< bytes; 0: not known
  std::string digest;     ///< nginx::head_digest(); empty: not known
};

struct edge_spec {
  edge_name name;
  node_name node;
  std::string url;                   ///< base address for viewers: "http://host:port"
  std::int64_t capacity_bps = 0;     ///< usable egress
  bool spare = false;                ///< the autoscaler began it, and may end it
  std::map<std::string, std::string> labels = {}; ///< of its node
  std::string locality = {};         ///< the group of edges that it is in; empty: it is near to nobody in particular
  std::vector<std::string> networks = {}; ///< whose viewers that group serves first
  bool networks_only = false;        ///< and no others
  static constexpr auto fields() {
    using o = edge_spec;
    return std::tuple{
      field("name", &o::name, "Name."),
      field("node", &o::node, "Node that runs it."),
      field("url", &o::url, "Base address for viewers."),
      field("capacity_bps", &o::capacity_bps, "Usable egress, bit/s."),
      field("spare", &o::spare, "Whether the autoscaler began it."),
      field("labels", &o::labels, "Labels of its node."),
      field("locality", &o::locality, "The group of edges that it is in; empty: none."),
      field("networks", &o::networks, {0, 64}, "Networks whose viewers its locality serves first."),
      field("networks_only", &o::networks_only, "Whether it serves nobody else."),
    };
  }
};

/// The address of an edge that others of its network take over when it is dead (edge.shared_address).
struct shared_address {
  std::string address; ///< "10.0.0.5/24"; empty: it has none
  std::string network; ///< the name of that network, where its addresses do not tell it from others
  std::string service; ///< "http:8081": how viewers are served there, which must be the same for whoever takes it over
  bool operator==(const shared_address&) const = default;
  static constexpr auto fields() {
    using o = shared_address;
    return std::tuple{
      field("address", &o::address, "The address with the length of its network; empty: none."),
      field("network", &o::network, "Name of that network."),
      field("service", &o::service, "How viewers are served there."),
    };
  }
};

/// What the coordinator tells edges that share a network of each other.
struct edge_neighbour {
  edge_name edge;
  shared_address address;
  edge_phase phase = edge_phase::starting;
  bool wants = false; ///< it is heard and serves, and does not have its address
  bool able = false;  ///< it is heard, and can put addresses on its interface
  edge_name held_by;  ///< another edge that has its address
  static constexpr auto fields() {
    using o = edge_neighbour;
    return std::tuple{
      field("edge", &o::edge, "The edge."),
      field("address", &o::address, "Its address."),
      field("phase", &o::phase, "Its phase."),
      field("wants", &o::wants, "Whether it is heard, serves, and does not have its address."),
      field("able", &o::able, "Whether it is heard, and can put addresses on its interface."),
      field("held_by", &o::held_by, "The edge that has its address instead; empty: none."),
    };
  }
};

struct edge_status {
  edge_spec spec;
  edge_phase phase = edge_phase::starting;
  std::int64_t weight_milli = 1000; ///< relative to the nominal weight × 1000
  std::int64_t phi_milli = 0;       ///< suspicion × 1000
  edge_load load;
  std::uint32_t restarts = 0;
  std::string last_error;
  bool named = false;               ///< by a playlist: viewers may fetch there
  std::vector<edge_sight> seen;     ///< by each observer that was heard of late
  std::string locality_trouble = {}; ///< why its locality and networks are not used
  std::string address = {};          ///< edge.shared_address; empty: none
  std::string address_trouble = {};  ///< why it does not have that; empty: it does
  std::vector<edge_name> answers_for = {}; ///< dead edges whose addresses it has taken over

  static constexpr auto fields() {
    using o = edge_status;
    return std::tuple{
      field("spec", &o::spec, "What the edge is."),
      field("phase", &o::phase, "Phase."),
      field("weight_milli", &o::weight_milli, "Weight relative to nominal, in thousandths."),
      field("phi_milli", &o::phi_milli, "Suspicion (phi accrual), in thousandths."),
      field("load", &o::load, "Measured load."),
      field("restarts", &o::restarts, "Restarts of its nginx."),
      field("last_error", &o::last_error, "What was last wrong."),
      field("named", &o::named, "Whether a playlist names it."),
      field("seen", &o::seen, "What each observer thinks of it."),
      field("locality_trouble", &o::locality_trouble, "Why its locality and networks are not used."),
      field("address", &o::address, "The address that others of its network take over when it is dead; empty: none."),
      field("address_trouble", &o::address_trouble, "Why it does not have its address."),
      field("answers_for", &o::answers_for, "Dead edges whose addresses it has taken over."),
    };
  }
};

/// The node whose edge it is by its name, NODE-N; empty when it is no such name.
inline node_name node_of(const edge_name& edge) {
  const auto dash = edge.value.rfind('-');
  const bool numbered = dash != std::string::npos && dash + 1 < edge.value.size() && edge.value.find_first_not_of("0123456789", dash + 1) == std::string::npos;
  return numbered ? node_name{edge.value.substr(0, dash)} : node_name{};
}

/// A machine that the autoscaler has ordered (autoscaler.driver exec or webhook).
enum class machine_phase : std::uint8_t {
  wanted, ///< not accepted yet by whoever has machines
  coming, ///< accepted; its edge has not joined yet
  there,  ///< its edge joined
  ending,
};
constexpr auto enum_names(machine_phase) {
  using sv = std::string_view;
  return std::array{std::pair{machine_phase::wanted, sv("wanted")}, std::pair{machine_phase::coming, sv("coming")}, std::pair{machine_phase::there, sv("there")},
                    std::pair{machine_phase::ending, sv("ending")}};
}
struct machine_status {
  std::string name;                ///< and of its node
  machine_phase phase = machine_phase::wanted;
  timestamp begun{};
  std::string trouble;             ///< why it is still in its phase; empty: nothing is wrong

  static constexpr auto fields() {
    using o = machine_status;
    return std::tuple{
      field("name", &o::name, "Name, of its node too."),
      field("phase", &o::phase, "Phase."),
      field("begun", &o::begun, "When it was ordered."),
      field("trouble", &o::trouble, "What is wrong."),
    };
  }
};

/// What the autoscaler thinks.
struct scaling_status {
  bool on = false;
  bool dry_run = false;            ///< it says what it would do, and does nothing
  std::uint32_t have = 0;          ///< edges that serve or are being started
  std::uint32_t want = 0;          ///< edges
  std::uint32_t free = 0;          ///< instances that nodes could still start
  std::int64_t demand_bps = 0;     ///< with reserves
  std::string why;
  std::string last;                ///< what it did last, or would have done
  timestamp last_at{};
  std::uint64_t started = 0, drained = 0, taken_back = 0, ended = 0; ///< edges, since the start of the coordinator
  std::vector<machine_status> machines; ///< that were ordered and are not gone
  std::uint32_t begun_last_day = 0;     ///< machines
  std::string trouble;                  ///< with whoever has machines

  static constexpr auto fields() {
    using o = scaling_status;
    return std::tuple{
      field("on", &o::on, "Whether there is an autoscaler."),
      field("dry_run", &o::dry_run, "Whether it only says what it would do."),
      field("have", &o::have, "Edges that serve or are being started."),
      field("want", &o::want, "Edges that there should be."),
      field("free", &o::free, "Instances that nodes could still start."),
      field("demand_bps", &o::demand_bps, "Egress that is reckoned with, bit/s, reserves included."),
      field("why", &o::why, "Why."),
      field("last", &o::last, "What it did last, or would have done."),
      field("last_at", &o::last_at, "When."),
      field("started", &o::started, "Edges that it started."),
      field("drained", &o::drained, "Edges that it drained."),
      field("taken_back", &o::taken_back, "Drains that it took back."),
      field("ended", &o::ended, "Edges that it ended."),
      field("machines", &o::machines, "Machines that it ordered and that are not gone."),
      field("begun_last_day", &o::begun_last_day, "Machines that it began in the last 24 hours."),
      field("trouble", &o::trouble, "What is wrong with whoever has the machines."),
    };
  }
};

/// One edge as a viewer may be sent to it.
struct edge_target {
  edge_name name;
  std::string url;
  std::int64_t weight_milli = 1000; ///< share of new viewers, relative
  std::int64_t capacity_bps = 0;
  std::string locality = {};        ///< as in edge_spec
  bool networks_only = false;       ///< only viewers of its locality are sent to it
  std::int64_t fair_milli = 0;      ///< share of the load that is aimed at, relative: the weight is what leads there; 0: the same as the weight
  constexpr std::int64_t fair() const { return fair_milli > 0 ? fair_milli : weight_milli; }
  static constexpr auto fields() {
    using o = edge_target;
    return std::tuple{
      field("name", &o::name, "Name."),
      field("url", &o::url, "Base address."),
      field("weight_milli", &o::weight_milli, "Weight, in thousandths."),
      field("capacity_bps", &o::capacity_bps, "Usable egress, bit/s."),
      field("locality", &o::locality, "The group of edges that it is in; empty: none."),
      field("networks_only", &o::networks_only, "Whether only viewers of its locality are sent to it."),
      field("fair_milli", &o::fair_milli, "Share of the load that is aimed at, in thousandths; 0: the weight."),
    };
  }
};

/// The edge set of one epoch: which edge serves each bucket of viewers. Published whole; older epochs stay valid for listed segments.
struct edge_table {
  edge_epoch epoch = 0;
  std::vector<edge_target> edges;
  std::vector<std::uint16_t> primary; ///< index into edges for each of the 1,024 buckets; empty without edges for everybody
  std::vector<std::uint16_t> backup;  ///< second choice; equals primary with a single edge
  static constexpr auto fields() {
    using o = edge_table;
    return std::tuple{
      field("epoch", &o::epoch, "Version of the edge set."),
      field("edges", &o::edges, "Edges."),
      field("primary", &o::primary, "Edge of each bucket."),
      field("backup", &o::backup, "Second choice of each bucket."),
    };
  }
};

} // namespace weir
