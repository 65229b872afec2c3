#include "actors/http_metrics.hpp"

#include "actors/task_types.hpp"
#include "schemas/config.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_map>

namespace weir {

using metrics::family;
using nlohmann::json;

namespace {

/// The meters of one route on one thread: looked up once, since a hot path must not search by text.
struct route_meters {
  metrics::histogram* seconds = nullptr;
  metrics::histogram* special_seconds = nullptr; ///< as playlist, origin request or hook
  std::map<int, std::pair<metrics::counter*, metrics::counter*>> by_status;
};

/// Of a segment, with a viewing token in front or without.
bool is_segment(std::string_view route) { return route.starts_with("/s/") || route.starts_with("/t/{token}/s/"); }

/// Which playlist; empty: none.
std::string_view playlist_of(std::string_view route) {
  return route == "/p/" || route == "/p/{rest...}" || route == "/t/{token}/p/{rest...}" ? "media" : route == "/hls/" ? "multivariant" : route == "/steer/" ? "steering" : "";
}

route_meters make_meters(metrics::registry& r, std::string_view route) {
  route_meters m;
  m.seconds = &r.histogram<family::http_seconds>(route);
  if (auto playlist = playlist_of(route); !playlist.empty() && !route.ends_with("{rest...}")) // who asks for what is still to come waits on purpose
    m.special_seconds = &r.histogram<family::playlist_seconds>(playlist);
  else if (is_segment(route) || route.starts_with("/origin/v1/streams/")) // who asks for logs waits on purpose
    m.special_seconds = &r.histogram<family::origin_seconds>(is_segment(route) ? "GET" : "PUT");
  else if (route.starts_with("/hooks/") || route.starts_with("/rtmp/"))
    m.special_seconds = &r.histogram<family::hook_seconds>(route.starts_with("/hooks/nginx") ? "nginx-rtmp" : "srs");
  return m;
}

std::pair<metrics::counter*, metrics::counter*> make_counters(metrics::registry& r, std::string_view route, int status) {
  auto text = std::to_string(status);
  metrics::counter* special = nullptr;
  if (auto playlist = playlist_of(route); !playlist.empty())
    special = &r.counter<family::playlist_requests>(playlist, text);
  else if (is_segment(route) || route.starts_with("/origin/v1/streams/"))
    special = &r.counter<family::origin_requests>(is_segment(route) ? "GET" : "PUT", text);
  return {&r.counter<family::http_requests>(route, text), special};
}

/// Sums over the actor tree of this node: mailboxes and restarts by kind; and what ORIGIN counted.
struct tree_sums {
  std::map<std::string, double> mailbox, restarts;
  double written = 0, bytes = 0, fenced = 0, refused = 0, full = 0, late = 0;
};

/// Of each member: its name as the last label, its number as the value.
template <family F, class... L>
void show_each(metrics::scrape& out, const json& numbers, const L&... labels) {
  for (auto& [name, n] : numbers.items())
    out.set<F>(double(n), labels..., name);
}

void show_actor(metrics::scrape& out, const json& actor, tree_sums& sums) {
  auto kind = actor.value("kind", "?");
  sums.mailbox[kind] += actor.value("mailbox", 0.0);
  sums.restarts[kind] += actor.value("restarts", 0.0);
  auto status = actor.value("status", json());
  if (kind == "origin" && status.is_object()) {
    sums.written += status.value("written", 0.0);
    sums.bytes += status.value("bytes", 0.0);
    sums.fenced += status.value("fenced", 0.0);
    sums.refused += status.value("refused", 0.0);
    sums.full += status.value("full", 0.0);
    sums.late += status.value("late", 0.0);
    if (auto copies = status.find("copies"); copies != status.end())
      show_each<family::copies_owed>(out, copies->value("owed", json::object()));
    if (auto ages = status.find("ages"); ages != status.end())
      out.tell<family::segment_age_seconds>({ages->at("buckets").get<std::vector<std::uint64_t>>(), ages->at("sum").get<double>()});
  } else if (kind == "director" && status.is_object()) {
    show_each<family::sessions>(out, status.value("sessions", json::object()));
    const auto localities = status.value("localities", json::object());
    for (auto& [locality, went] : localities.items())
      show_each<family::local_sessions>(out, went, locality);
    show_each<family::steering_moves>(out, status.value("moves", json::object()));
    const auto audience = status.value("audience", json::object()); // items() is a view of it
    for (auto& [stream, book] : audience.items()) {
      out.set<family::stream_sessions>(book.at("sessions").get<double>(), stream);
      out.tell<family::viewer_join_seconds>({book.at("joins").at("buckets").get<std::vector<std::uint64_t>>(), book.at("joins").at("sum").get<double>()}, stream);
      for (auto& [edge, of] : book.at("edges").items()) {
        out.set<family::viewer_stalls>(of.at("stalls").get<double>(), stream, edge);
        out.set<family::viewer_stalled_seconds>(of.at("stalled_seconds").get<double>(), stream, edge);
        out.set<family::viewer_played_seconds>(of.at("played_seconds").get<double>(), stream, edge);
      }
    }
  } else if (kind == "edge" && status.is_object()) {
    auto name = actor.value("name", ""); // "edge/NAME"
    name.erase(0, name.find('/') + 1);
    show_each<family::edge_requests>(out, status.value("requests", json::object()), name);
    const auto streams = status.value("streams", json::object());
    for (auto& [stream, of] : streams.items()) {
      out.set<family::stream_sent_bytes>(of.at("bytes").get<double>(), stream, name);
      for (auto* cache : {"hit", "miss"})
        out.set<family::stream_requests>(of.at(cache).get<double>(), stream, name, cache);
    }
  } else if (kind == "coordinator" && status.is_object() && status.contains("store")) {
    auto& store = status["store"];
    out.set<family::store_bytes>(store.value("table_bytes", 0.0), "tables");
    out.set<family::store_bytes>(store.value("wal_bytes", 0.0), "log");
    out.set<family::store_records>(store.value("records", 0.0));
    out.set<family::store_failures>(store.value("failures", 0.0));
    if (auto origins = status.find("origins"); origins != status.end()) {
      out.set<family::origin_copies>(origins->value("wanted", 0.0), "wanted");
      out.set<family::origin_copies>(origins->value("there", 0.0), "there");
      out.set<family::origin_quorum_lost>(origins->value("lost", "").empty() ? 0.0 : 1.0);
      const auto learners = origins->value("learners", json::object()); // items() is a view of it
      for (auto& [name, one] : learners.items())
        out.set<family::origin_learning_seconds>(one.value("seconds", 0.0), name);
    }
  } else if (kind == "seat" && status.is_object()) {
    for (auto& one : status.value("etcd", json::array()))
      out.set<family::election_etcd_member_up>(one.value("up", false) ? 1 : 0, one.value("member", ""));
    if (auto standbys = status.find("standbys"); standbys != status.end() && standbys->is_number()) // otherwise nobody knows
      out.set<family::election_standbys>(standbys->get<double>());
  }
  if (actor.contains("children"))
    for (auto& child : actor["children"])
      show_actor(out, child, sums);
}

} // namespace

void show_cluster(metrics::scrape& out, const cluster_view& view, timestamp now) {
  std::map<std::string, double> streams{{"offline", 0}, {"live", 0}, {"ending", 0}};
  std::map<stream_id, const stream_status*> live;
  double publishers = 0;
  for (auto& s : view.streams) {
    ++streams[std::string(to_string(s.phase))];
    if (s.phase != stream_phase::offline || s.audience.viewers > 0) {
      out.set<family::stream_viewers>(double(s.audience.viewers), s.spec.name);
      out.set<family::stream_bytes_per_second>(double(s.audience.bits_per_second) / 8, s.spec.name);
    }
    publishers += double(s.publishers.size());
    if (s.phase == stream_phase::live && s.spec.enabled && !s.publishers.empty())
      live[s.spec.id] = &s;
  }
  for (auto& s : view.rtmp_servers)
    if (s.watched)
      out.set<family::rtmp_server_up>(s.up ? 1 : 0, s.name);
  for (auto& [phase, n] : streams)
    out.set<family::streams>(n, phase);
  out.set<family::publishers>(publishers);
  std::map<std::pair<std::string, std::string>, double> tasks;
  std::map<std::string, std::pair<double, double>> work; // dropped frames, CPU seconds
  std::map<std::string, double> unplaced;
  for (auto& t : view.tasks) {
    auto& waits = unplaced[t.spec.type];
    if (auto stream = live.find(t.spec.stream); stream != live.end() && t.spec.enabled && t.phase != task_phase::done) {
      waits += t.phase == task_phase::waiting;
      auto since = std::ranges::min(stream->second->publishers, {}, &publisher::since).since;
      auto age = std::chrono::duration<double>(now - std::max(since, t.progress.last_output_at)).count();
      out.set<family::task_output_age_seconds>(std::max(age, 0.0), stream->second->spec.name, t.spec.id.value);
      if (auto* type = find_task_type(t.spec.type); type && type->standby(t.spec.options))
        out.set<family::task_standby_missing>(t.phase == task_phase::running && t.standby_phase != task_phase::running, stream->second->spec.name, t.spec.id.value);
    }
    ++tasks[{t.spec.type, std::string(to_string(t.phase))}];
    work[t.spec.type].first += double(t.progress.dropped_frames);
    work[t.spec.type].second += double(t.progress.cpu_milliseconds) / 1000;
    if (t.phase == task_phase::running)
      out.set<family::transcoder_speed>(double(t.progress.speed_milli) / 1000, t.spec.id.value);
  }
  for (auto& [key, n] : tasks)
    out.set<family::tasks>(n, key.first, key.second);
  for (auto& [type, n] : unplaced)
    out.set<family::tasks_unplaced>(n, type);
  for (auto& [type, sums] : work) {
    out.set<family::transcoder_dropped_frames>(sums.first, type);
    out.set<family::transcoder_cpu_seconds>(sums.second, type);
  }
  for (auto& n : view.nodes) {
    auto& name = n.spec.name.value;
    out.set<family::node_up>(n.phase != node_phase::down && n.phase != node_phase::suspect && n.phase != node_phase::left ? 1 : 0, name);
    out.set<family::node_phase>(1, name, to_string(n.phase));
    out.set<family::node_capacity_cores>(double(n.spec.capacity_milli) / 1000, name);
    out.set<family::node_granted_cores>(double(n.granted_milli) / 1000, name);
    out.set<family::node_used_cores>(double(n.load.cpu_milli) / 1000, name);
    out.set<family::node_memory_used>(double(n.load.memory_used.bytes), name);
    out.set<family::node_memory_total>(double(n.load.memory_total.bytes), name);
  }
  for (auto& e : view.edges) {
    auto& name = e.spec.name.value;
    out.set<family::edge_bytes_per_second>(double(e.load.bits_per_second) / 8, name);
    out.set<family::edge_viewers>(double(e.load.viewers), name);
    out.set<family::edge_up>(e.phase == edge_phase::serving ? 1 : 0, name);
    const auto suspicious = static_cast<std::size_t>(std::ranges::count(e.seen, edge_view::suspect, &edge_sight::view));
    out.set<family::edge_reached>(e.seen.empty() ? e.last_error.empty() : 2 * suspicious < e.seen.size(), name);
    for (auto& s : e.seen)
      out.set<family::edge_seen>(s.view == edge_view::suspect ? 0 : 1, name, s.observer.value);
    out.set<family::edge_phase>(1, name, to_string(e.phase));
    out.set<family::edge_capacity>(double(e.spec.capacity_bps) / 8, name);
    out.set<family::edge_weight>(double(e.weight_milli) / 1000, name);
    out.set<family::edge_suspicion>(double(e.phi_milli) / 1000, name);
    out.set<family::edge_restarts>(e.restarts, name);
  }
  out.set<family::edge_set_epoch>(double(view.edges_epoch));
  if (auto& s = view.scaling; s.on) {
    out.set<family::autoscaler_wanted>(s.want);
    out.set<family::autoscaler_decisions>(double(s.started), "start");
    out.set<family::autoscaler_decisions>(double(s.drained), "drain");
    out.set<family::autoscaler_decisions>(double(s.taken_back), "take_back");
    out.set<family::autoscaler_decisions>(double(s.ended), "end");
    for (auto& [phase, word] : enum_names(machine_phase{}))
      out.set<family::autoscaler_machines>(double(std::ranges::count(s.machines, phase, &machine_status::phase)), word);
  }
}

void show_node(metrics::scrape& out, const json& actors) {
  tree_sums tree;
  for (auto& root : actors)
    show_actor(out, root, tree);
  out.set<family::segments_written>(tree.written);
  out.set<family::segment_bytes>(tree.bytes);
  out.set<family::segments_fenced>(tree.fenced);
  out.set<family::segments_refused>(tree.refused);
  out.set<family::segments_full>(tree.full);
  out.set<family::segments_late>(tree.late);
  for (auto& [kind, n] : tree.mailbox)
    out.set<family::mailbox_length>(n, kind);
  for (auto& [kind, n] : tree.restarts)
    out.set<family::actor_restarts>(n, kind);
}

void restart_counter::take(const cluster_view& view, metrics::registry& counts) {
  std::map<task_id, std::uint32_t> now;
  for (auto& t : view.tasks) {
    now[t.spec.id] = t.attempts;
    // What was there before we looked is not counted, and fewer starts than before are those of another broadcast, or of a TASK that began anew.
    if (auto before = starts_.find(t.spec.id); before != starts_.end() && before->second > 0 && t.attempts > before->second)
      counts.counter<family::task_restarts>(t.spec.type, to_string(t.last_cause)).add(t.attempts - before->second);
  }
  starts_ = std::move(now);
}

void count_answers(http::server& server, const std::shared_ptr<metrics::registry>& registry) {
  server.on_answer([registry](std::string_view route, int status, std::uint64_t microseconds) {
    thread_local std::unordered_map<std::string_view, route_meters> mine; // routes are static text of the server
    auto [meters, fresh] = mine.try_emplace(route);
    if (fresh)
      meters->second = make_meters(*registry, route.empty() ? "unknown" : route);
    auto [counters, first] = meters->second.by_status.try_emplace(status);
    if (first)
      counters->second = make_counters(*registry, route.empty() ? "unknown" : route, status);
    counters->second.first->add();
    meters->second.seconds->observe(double(microseconds) / 1e6);
    if (counters->second.second)
      counters->second.second->add();
    if (meters->second.special_seconds)
      meters->second.special_seconds->observe(double(microseconds) / 1e6);
  });
}

void add_metrics_route(http::server& server, const http_bridge_actor& bridge, const http_bridge_setup& setup) {
  auto access = std::make_shared<api_access>(setup.api_token);
  http::route_options options;
  options.guard = [access](const http::request& r) { return is_loopback(r.peer_address) ? std::nullopt : access->check(r); };
  auto restarts = std::make_shared<restart_counter>(); // the bridge's alone
  server.route("GET", "/metrics", options, [bridge, restarts, &server](const http::request&, http::responder answer) {
    in_bridge(bridge, [answer, restarts, connections = server.counters().active](http_bridge_self self) {
      auto& my = self->state;
      // Without a coordinator a node still tells of itself: what is missing then is what alerts look for.
      auto tell_with = [=, &my](std::shared_ptr<const cluster_view> view) {
        ask(self, std::chrono::seconds(3), my.setup.introspection, ask_tree{})
          .then(
            [=, &my](const actor_tree& tree) {
              auto parsed = json::parse(tree.json, nullptr, false);
              if (view)
                restarts->take(*view, *my.setup.metrics);
              auto shown = my.setup.metrics->collect_with([&](metrics::scrape& out) {
                if (view)
                  show_cluster(out, *view, std::chrono::system_clock::now());
                show_node(out, parsed.is_object() ? parsed["actors"] : json::array());
                out.set<family::http_connections>(double(connections));
              });
              answer(http::text_response(200, my.setup.metrics->text(), std::string(metrics::content_type)));
            },
            [=](const caf::error& why) { answer.fail(from_caf(why)); });
      };
      ask(self, std::chrono::seconds(3), my.setup.coordinator, view_cluster{})
        .then([=](cluster_view& view) { tell_with(std::make_shared<const cluster_view>(std::move(view))); }, [=](const caf::error&) { tell_with(nullptr); });
    });
  });
}

} // namespace weir
