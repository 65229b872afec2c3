#include "actors/api_json.hpp"

#include "actors/task_types.hpp"
#include "runtime/base/version.hpp"

#include <fmt/format.h>

namespace weir {

using nlohmann::json;

namespace {

json audience_json(const stream_audience& a) {
  return {{"viewers", a.viewers},
          {"bits_per_second", a.bits_per_second},
          {"hits", a.hits},
          {"misses", a.misses},
          {"sessions", a.sessions},
          {"joins", a.joins},
          {"join_seconds", a.joins == 0 ? json() : json(double(a.join_ms) / 1000 / double(a.joins))},
          {"stalls", a.stalls},
          {"stalled_seconds", double(a.stalled_ms) / 1000},
          {"played_seconds", double(a.played_ms) / 1000}};
}

json time_or_null(timestamp t) { return t == timestamp{} ? json() : json(to_rfc3339(t)); }

} // namespace

json stream_json(const stream_status& s) {
  json publishers = json::array();
  for (auto& p : s.publishers)
    publishers.push_back({{"server", p.server}, {"client_id", p.client_id}, {"address", p.address}, {"since", time_or_null(p.since)}});
  return {{"id", s.spec.id.value},
          {"name", s.spec.name},
          {"app", s.spec.app},
          {"vhost", s.spec.vhost},
          {"enabled", s.spec.enabled},
          {"title", s.spec.title},
          {"comment", s.spec.comment},
          {"revision", s.spec.revision},
          {"created", time_or_null(s.spec.created)},
          {"viewing", to_string(s.spec.viewing)},
          {"phase", to_string(s.phase)},
          {"publishers", publishers},
          {"playback_url", s.playback_url},
          {"publish_urls", s.publish_urls},
          {"input_server", s.input_server},
          {"audience", audience_json(s.audience)}};
}

json task_json(const task_status& t) {
  auto* type = find_task_type(t.spec.type);
  auto& p = t.progress;
  return {{"id", t.spec.id.value},
          {"stream_id", t.spec.stream.value},
          {"type", t.spec.type},
          {"options", type ? json::parse(type->masked(t.spec.options)) : json::object()},
          {"enabled", t.spec.enabled},
          {"name", t.spec.name},
          {"comment", t.spec.comment},
          {"needs", t.spec.needs},
          {"revision", t.spec.revision},
          {"created", time_or_null(t.spec.created)},
          {"phase", to_string(t.phase)},
          {"reason", t.reason},
          {"node", t.node.value},
          {"epoch", t.epoch},
          {"attempts", t.attempts},
          {"last_cause", to_string(t.last_cause)},
          {"last_error", t.last_error},
          {"progress",
           {{"since", time_or_null(p.since)},
            {"speed", double(p.speed_milli) / 1000},
            {"fps", double(p.fps_milli) / 1000},
            {"bitrate", p.bitrate.bits_per_second},
            {"last_output_at", time_or_null(p.last_output_at)},
            {"output_bytes", p.output_bytes},
            {"dropped_frames", p.dropped_frames},
            {"cpu_seconds", double(p.cpu_milliseconds) / 1000}}},
          {"placed_because", t.placed_because},
          {"standby", t.standby_node.value.empty() && t.standby_reason.empty() ? json() : json{{"node", t.standby_node.value}, {"phase", to_string(t.standby_phase)}, {"reason", t.standby_reason}}},
          {"log_tail", t.log_tail}};
}

json node_json(const node_status& n) {
  json roles = json::array();
  for (auto r : n.spec.roles)
    roles.push_back(to_string(r));
  return {{"name", n.spec.name.value},
          {"instance", n.spec.instance},
          {"machine", n.spec.machine},
          {"roles", roles},
          {"task_types", n.spec.task_types},
          {"http_url", n.spec.http_url},
          {"version", n.spec.version},
          {"labels", n.spec.labels},
          {"phase", to_string(n.phase)},
          {"capacity", double(n.spec.capacity_milli) / 1000},
          {"granted", double(n.granted_milli) / 1000},
          {"cpu", double(n.load.cpu_milli) / 1000},
          {"task_cpu", double(n.load.task_cpu_milli) / 1000},
          {"memory_used", n.load.memory_used.bytes},
          {"memory_total", n.load.memory_total.bytes},
          {"tasks", n.load.tasks},
          {"joined", time_or_null(n.joined)},
          {"last_heartbeat", time_or_null(n.last_heartbeat)}};
}

json edge_json(const edge_status& e) {
  json streams = json::array();
  for (auto& s : e.load.streams)
    streams.push_back({{"stream", s.stream}, {"bits_per_second", s.bits_per_second}, {"hits", s.hits}, {"misses", s.misses}, {"viewers", s.viewers}});
  json observers = json::array();
  for (auto& s : e.seen)
    observers.push_back({{"node", s.observer.value}, {"view", to_string(s.view)}, {"milliseconds", s.milliseconds}, {"trouble", s.text}});
  json answers_for = json::array();
  for (auto& other : e.answers_for)
    answers_for.push_back(other.value);
  return {{"name", e.spec.name.value},
          {"node", e.spec.node.value},
          {"url", e.spec.url},
          {"labels", e.spec.labels},
          {"locality", e.spec.locality},
          {"networks", e.spec.networks},
          {"networks_only", e.spec.networks_only},
          {"locality_trouble", e.locality_trouble},
          {"address", e.address},
          {"address_trouble", e.address_trouble},
          {"answers_for", std::move(answers_for)},
          {"capacity", e.spec.capacity_bps},
          {"phase", to_string(e.phase)},
          {"weight", double(e.weight_milli) / 1000},
          {"suspicion", double(e.phi_milli) / 1000},
          {"load",
           {{"bits_per_second", e.load.bits_per_second},
            {"requests", e.load.requests},
            {"hits", e.load.hits},
            {"misses", e.load.misses},
            {"errors", e.load.errors},
            {"connections", e.load.connections},
            {"viewers", e.load.viewers},
            {"up", e.load.up},
            {"streams", streams}}},
          {"certificate", e.load.certificate},
          {"certificate_trouble", e.load.certificate_trouble},
          {"restarts", e.restarts},
          {"last_error", e.last_error},
          {"spare", e.spec.spare},
          {"named", e.named},
          {"observers", std::move(observers)}};
}

json scaling_json(const scaling_status& s) {
  json machines = json::array();
  for (auto& m : s.machines)
    machines.push_back({{"name", m.name}, {"phase", to_string(m.phase)}, {"begun", time_or_null(m.begun)}, {"trouble", m.trouble}});
  return {{"on", s.on},
          {"dry_run", s.dry_run},
          {"have", s.have},
          {"want", s.want},
          {"free", s.free},
          {"demand_bps", s.demand_bps},
          {"why", s.why},
          {"last", s.last},
          {"last_at", time_or_null(s.last_at)},
          {"started", s.started},
          {"drained", s.drained},
          {"taken_back", s.taken_back},
          {"ended", s.ended},
          {"machines", std::move(machines)},
          {"begun_last_day", s.begun_last_day},
          {"trouble", s.trouble}};
}

json rtmp_server_json(const rtmp_server_status& s) {
  return {{"name", s.name}, {"node", s.node.value}, {"publish_url", s.publish_url}, {"watched", s.watched}, {"up", s.up}, {"trouble", s.trouble}, {"publishers", s.publishers}};
}

json event_json(const event& e) {
  return {{"number", e.number}, {"at", to_rfc3339(e.at)}, {"kind", e.kind}, {"subject", e.subject}, {"text", e.text}, {"actor", e.actor}};
}

json view_json(const cluster_view& view) {
  auto list = [](auto& items, auto one) {
    json all = json::array();
    for (auto& i : items)
      all.push_back(one(i));
    return all;
  };
  return {{"cluster", {{"name", view.cluster}, {"version", version()}, {"now", to_rfc3339(std::chrono::system_clock::now())}}},
          {"streams", list(view.streams, stream_json)},
          {"tasks", list(view.tasks, task_json)},
          {"nodes", list(view.nodes, node_json)},
          {"edges", list(view.edges, edge_json)},
          {"rtmp_servers", list(view.rtmp_servers, rtmp_server_json)},
          {"edge_epoch", view.edges_epoch}};
}

std::string etag_of(std::uint64_t revision) { return fmt::format("\"{}\"", revision); }

} // namespace weir
