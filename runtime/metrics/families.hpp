#pragma once
// Every metric of Weir, once. Names are promises to dashboards and alerts (contract.md): base units, no label without a bound.
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace weir::metrics {

enum class kind : std::uint8_t { counter, gauge, histogram };

/// Upper bounds of histogram buckets, in the unit of the family.
enum class scale : std::uint8_t {
  none,
  quick,   ///< 0.1 ms to 2.5 s: answers
  media,   ///< 50 ms to 60 s: ages of segments, starts
};

enum class family : std::uint8_t {
  build_info,
  process_cpu_seconds,
  process_resident_memory,
  process_virtual_memory,
  process_open_files,
  process_start_time,
  errors,
  series_folded,
  hook_decisions,
  hook_seconds,
  streams,
  publishers,
  rtmp_server_up,
  tasks,
  tasks_unplaced,
  task_output_age_seconds,
  task_standby_missing,
  task_restarts,
  transcoder_speed,
  transcoder_dropped_frames,
  transcoder_cpu_seconds,
  segments_written,
  segment_bytes,
  segments_fenced,
  segments_refused,
  segments_full,
  segments_late,
  copies_owed,
  origin_copies,
  origin_quorum_lost,
  origin_learning_seconds,
  segment_age_seconds,
  origin_requests,
  origin_seconds,
  playlist_requests,
  playlist_seconds,
  sessions,
  local_sessions,
  edge_bytes_per_second,
  edge_viewers,
  edge_requests,
  edge_up,
  edge_reached,
  edge_seen,
  edge_phase,
  edge_capacity,
  edge_weight,
  edge_suspicion,
  edge_restarts,
  stream_viewers,
  stream_bytes_per_second,
  stream_sessions,
  stream_sent_bytes,
  stream_requests,
  viewer_join_seconds,
  viewer_stalls,
  viewer_stalled_seconds,
  viewer_played_seconds,
  steering_moves,
  autoscaler_decisions,
  autoscaler_wanted,
  autoscaler_machines,
  edge_set_epoch,
  node_up,
  node_phase,
  node_capacity_cores,
  node_granted_cores,
  node_used_cores,
  node_memory_used,
  node_memory_total,
  election_etcd_member_up,
  election_standbys,
  mailbox_length,
  actor_restarts,
  store_failures,
  store_bytes,
  store_records,
  http_requests,
  http_seconds,
  http_connections,
  config_reload_success,
  config_reload_time,
};

struct description {
  family id;
  kind type;
  std::string_view name;
  std::string_view help;
  std::array<std::string_view, 3> labels{};
  scale buckets = scale::none;

  constexpr std::size_t label_count() const {
    std::size_t n = 0;
    while (n < labels.size() && !labels[n].empty())
      ++n;
    return n;
  }
};

// clang-format off
inline constexpr std::array table{
  description{family::build_info,                kind::gauge,     "weir_build_info",                         "Always 1; the labels tell which Weir this is.", {"version", "commit"}},
  description{family::process_cpu_seconds,       kind::counter,   "process_cpu_seconds_total",               "User and system CPU time of this process."},
  description{family::process_resident_memory,   kind::gauge,     "process_resident_memory_bytes",           "Resident memory of this process."},
  description{family::process_virtual_memory,    kind::gauge,     "process_virtual_memory_bytes",            "Virtual memory of this process."},
  description{family::process_open_files,        kind::gauge,     "process_open_fds",                        "Open file descriptors of this process."},
  description{family::process_start_time,        kind::gauge,     "process_start_time_seconds",              "Start of this process, in seconds since 1970."},
  description{family::errors,                    kind::counter,   "weir_errors_total",                       "Errors logged since the start.", {"code", "component"}},
  description{family::series_folded,             kind::counter,   "weir_metric_series_folded_total",         "Lookups that went to the series \"other\" because their family is full.", {"family"}},
  description{family::hook_decisions,            kind::counter,   "weir_hook_decisions_total",               "Hooks of RTMP servers that were answered.", {"server_kind", "hook", "decision"}},
  description{family::hook_seconds,              kind::histogram, "weir_hook_duration_seconds",              "Time to answer a hook.", {"hook"}, scale::quick},
  description{family::streams,                   kind::gauge,     "weir_streams",                            "Configured streams by phase.", {"phase"}},
  description{family::publishers,                kind::gauge,     "weir_publishers",                         "Connections that publish now."},
  description{family::rtmp_server_up,            kind::gauge,     "weir_rtmp_server_up",                     "1 while the RTMP server tells who publishes there, otherwise 0.", {"server"}},
  description{family::tasks,                     kind::gauge,     "weir_tasks",                              "Configured tasks by type and phase.", {"type", "phase"}},
  description{family::tasks_unplaced,            kind::gauge,     "weir_tasks_unplaced",                     "Tasks of live streams that wait for a node.", {"type"}},
  description{family::task_output_age_seconds,   kind::gauge,     "weir_task_output_age_seconds",            "Time since a task of a live stream last put something out; since the stream went live if it never did.", {"stream", "task"}},
  description{family::task_standby_missing,      kind::gauge,     "weir_task_standby_missing",               "1 while a task that wants a standby runs without one that delivers, otherwise 0.", {"stream", "task"}},
  description{family::task_restarts,             kind::counter,   "weir_task_restarts_total",                "Runs of tasks that ended and were tried again since this node was first asked; of several between two answers all have the last one's cause.", {"type", "cause"}},
  description{family::transcoder_speed,          kind::gauge,     "weir_transcoder_speed_ratio",             "Media seconds a second of a running task.", {"task"}},
  description{family::transcoder_dropped_frames, kind::counter,   "weir_transcoder_dropped_frames_total",    "Frames that transcoders dropped.", {"type"}},
  description{family::transcoder_cpu_seconds,    kind::counter,   "weir_transcoder_cpu_seconds_total",       "CPU time of transcoder processes.", {"type"}},
  description{family::segments_written,          kind::counter,   "weir_segments_written_total",             "Segments accepted by the origin."},
  description{family::segment_bytes,             kind::counter,   "weir_segment_bytes_total",                "Bytes of segments accepted by the origin."},
  description{family::segments_fenced,           kind::counter,   "weir_segments_fenced_total",              "Writes that the origin refused because their epoch is over."},
  description{family::segments_refused,          kind::counter,   "weir_segments_refused_total",             "Writes that the origin refused for another reason: too late, too early, or not as announced."},
  description{family::segments_full,             kind::counter,   "weir_segments_disk_full_total",           "Segments for which the origin's disk had no room."},
  description{family::segments_late,             kind::counter,   "weir_segments_late_total",                "Segments that the origin's store did not take in time: their places are gaps."},
  description{family::copies_owed,               kind::gauge,     "weir_origin_copies_owed",                 "Segments, logs and removals that a peer of the origin lacks, as far as is known; those of a peer that nobody has compared yet count as one.", {"peer"}},
  description{family::origin_copies,             kind::gauge,     "weir_origin_copies",                      "Origins that should keep each segment (wanted), and those of them that are heard (there). Told by the coordinator.", {"state"}},
  description{family::origin_quorum_lost,        kind::gauge,     "weir_origin_quorum_lost",                 "1 while too few origins are heard for any to write without losing something."},
  description{family::origin_learning_seconds,   kind::gauge,     "weir_origin_learning_seconds",            "For how long an origin that is to keep copies has been catching up.", {"origin"}},
  description{family::segment_age_seconds,       kind::histogram, "weir_segment_age_seconds",                "Age of a segment's first frame when it enters the playlist.", {}, scale::media},
  description{family::origin_requests,           kind::counter,   "weir_origin_requests_total",              "Requests to the origin.", {"method", "status"}},
  description{family::origin_seconds,            kind::histogram, "weir_origin_duration_seconds",            "Time to answer a request to the origin.", {"method"}, scale::quick},
  description{family::playlist_requests,         kind::counter,   "weir_playlist_requests_total",            "Playlists that the director answered.", {"playlist", "status"}},
  description{family::playlist_seconds,          kind::histogram, "weir_playlist_duration_seconds",          "Time to answer a playlist, without the time a reload was held back on purpose.", {"playlist"}, scale::quick},
  description{family::sessions,                  kind::counter,   "weir_sessions_total",                     "Viewer sessions that this director began, by the edge that it sent them to; how many are there now is in weir_edge_viewers.", {"edge"}},
  description{family::local_sessions,            kind::counter,   "weir_local_sessions_total",               "Viewer sessions of a locality's networks that this director began: near, on an edge of theirs, or elsewhere.", {"locality", "place"}},
  description{family::edge_bytes_per_second,     kind::gauge,     "weir_edge_sent_bytes_per_second",         "Bytes that the edge sent in the last second.", {"edge"}},
  description{family::edge_viewers,              kind::gauge,     "weir_edge_viewers",                       "Distinct viewers that fetched a segment in the last 15 s.", {"edge"}},
  description{family::edge_requests,             kind::counter,   "weir_edge_requests_total",                "Requests to an edge of this node by what its cache did: hit, miss, or none outside of segments.", {"edge", "cache"}},
  description{family::edge_up,                   kind::gauge,     "weir_edge_up",                            "1 while the edge serves, otherwise 0.", {"edge"}},
  description{family::edge_reached,              kind::gauge,     "weir_edge_reached",                       "1 while more than half of the observers get from the edge what they should, otherwise 0, also while its phase stays.", {"edge"}},
  description{family::edge_seen,                 kind::gauge,     "weir_edge_seen",                          "1 while this observer (a node) gets from the edge what it should, otherwise 0.", {"edge", "observer"}},
  description{family::edge_phase,                kind::gauge,     "weir_edge_phase",                         "Always 1; the label tells the phase that the edge is in.", {"edge", "phase"}},
  description{family::edge_capacity,             kind::gauge,     "weir_edge_capacity_bytes_per_second",     "Bytes that the edge can send in a second (edge.egress).", {"edge"}},
  description{family::edge_weight,               kind::gauge,     "weir_edge_weight_ratio",                  "Share of new viewers relative to the nominal one.", {"edge"}},
  description{family::edge_suspicion,            kind::gauge,     "weir_edge_suspicion_phi",                 "Suspicion that the edge is dead (phi accrual).", {"edge"}},
  description{family::edge_restarts,             kind::counter,   "weir_edge_restarts_total",                "Restarts of the edge's nginx.", {"edge"}},
  description{family::stream_viewers,            kind::gauge,     "weir_stream_viewers",                     "Distinct viewers that fetched a segment of the stream in the last 15 s, edge by edge.", {"stream"}},
  description{family::stream_bytes_per_second,   kind::gauge,     "weir_stream_sent_bytes_per_second",       "Bytes of the stream that edges sent in the last second.", {"stream"}},
  description{family::stream_sessions,           kind::counter,   "weir_stream_sessions_total",              "Viewer sessions of the stream that this director began.", {"stream"}},
  description{family::stream_sent_bytes,         kind::counter,   "weir_stream_sent_bytes_total",            "Bytes of the stream that an edge of this node sent; without a name those of streams that are not counted by themselves.", {"stream", "edge"}},
  description{family::stream_requests,           kind::counter,   "weir_stream_requests_total",              "Segments of the stream that an edge of this node delivered, by what its cache did: hit or miss.", {"stream", "edge", "cache"}},
  description{family::viewer_join_seconds,       kind::histogram, "weir_viewer_join_duration_seconds",       "Time from asking for the stream to the first picture, as player pages tell this director.", {"stream"}, scale::media},
  description{family::viewer_stalls,             kind::counter,   "weir_viewer_stalls_total",                "Times that a running picture stood still, as player pages tell this director, by the edge that they fetched from last.", {"stream", "edge"}},
  description{family::viewer_stalled_seconds,    kind::counter,   "weir_viewer_stalled_seconds_total",       "How long those pictures stood still.", {"stream", "edge"}},
  description{family::viewer_played_seconds,     kind::counter,   "weir_viewer_played_seconds_total",        "How long pictures ran.", {"stream", "edge"}},
  description{family::steering_moves,            kind::counter,   "weir_steering_moves_total",               "Buckets of viewers, of 1,024, that were given another edge: theirs left, another one joined, or weights changed.", {"cause"}},
  description{family::autoscaler_decisions,      kind::counter,   "weir_autoscaler_decisions_total",         "Edges that the autoscaler started, drained, took back from a drain, or ended.", {"decision"}},
  description{family::autoscaler_wanted,         kind::gauge,     "weir_autoscaler_wanted_edges",            "Edges that there should be by the autoscaler's reckoning."},
  description{family::autoscaler_machines,       kind::gauge,     "weir_autoscaler_machines",                "Machines that the autoscaler ordered and that are not gone.", {"phase"}},
  description{family::edge_set_epoch,            kind::gauge,     "weir_edge_set_epoch",                     "Version of the edge set in use."},
  description{family::node_up,                   kind::gauge,     "weir_node_up",                            "1 while the node's heartbeats come, otherwise 0.", {"node"}},
  description{family::node_phase,                kind::gauge,     "weir_node_phase",                         "Always 1; the label tells the phase that the node is in.", {"node", "phase"}},
  description{family::node_capacity_cores,       kind::gauge,     "weir_node_capacity_cores",                "CPU cores that tasks may use.", {"node"}},
  description{family::node_granted_cores,        kind::gauge,     "weir_node_granted_cores",                 "CPU cores promised to placed tasks.", {"node"}},
  description{family::node_used_cores,           kind::gauge,     "weir_node_used_cores",                    "CPU cores in use on the machine.", {"node"}},
  description{family::node_memory_used,          kind::gauge,     "weir_node_memory_used_bytes",             "Memory in use on the machine.", {"node"}},
  description{family::node_memory_total,         kind::gauge,     "weir_node_memory_size_bytes",             "Memory of the machine.", {"node"}},
  description{family::election_etcd_member_up,   kind::gauge,     "weir_election_etcd_member_up",            "1 while the member of etcd serves this coordinator, otherwise 0: no answer, no leader of etcd, or an alarm.", {"member"}},
  description{family::election_standbys,         kind::gauge,     "weir_election_standbys",                  "Nodes that could coordinate and do not, by their own word in etcd."},
  description{family::mailbox_length,            kind::gauge,     "weir_mailbox_messages",                   "Messages that wait in the mailbox of actors of one kind.", {"actor"}},
  description{family::actor_restarts,            kind::counter,   "weir_actor_restarts_total",               "Actors started anew by their parent.", {"actor"}},
  description{family::store_failures,            kind::counter,   "weir_store_failures_total",               "Calls that RocksDB refused."},
  description{family::store_bytes,               kind::gauge,     "weir_store_size_bytes",                   "Size of the coordinator's database on this node: its tables and its write-ahead log.", {"part"}},
  description{family::store_records,             kind::gauge,     "weir_store_records",                      "Records in the coordinator's database, estimated."},
  description{family::http_requests,             kind::counter,   "weir_http_requests_total",                "Requests to Weir's own HTTP server.", {"route", "status"}},
  description{family::http_seconds,              kind::histogram, "weir_http_duration_seconds",              "Time to answer a request.", {"route"}, scale::quick},
  description{family::http_connections,          kind::gauge,     "weir_http_connections",                   "Open connections of Weir's own HTTP server."},
  description{family::config_reload_success,     kind::gauge,     "weir_config_last_reload_successful",      "1 when the configuration was taken the last time it was read, otherwise 0."},
  description{family::config_reload_time,        kind::gauge,     "weir_config_last_reload_success_timestamp_seconds", "When the configuration was last read and taken, in seconds since 1970."},
};
// clang-format on

constexpr const description& describe(family f) { return table[static_cast<std::size_t>(f)]; }

static_assert([] {
  for (std::size_t i = 0; i < table.size(); ++i)
    if (table[i].id != static_cast<family>(i) || (table[i].type == kind::histogram) != (table[i].buckets != scale::none))
      return false;
  return table.size() == static_cast<std::size_t>(family::config_reload_time) + 1;
}(), "the table has the order of the enum, and histograms have buckets");

} // namespace weir::metrics
