#pragma once
// The cast of Weir and what each may be told: this page is the architecture.
//
//   http_bridge -> coordinator -> stream -> task -> node -> tasks/<type> -> transcoder -> origin -> log_feed -> director <- observer <- edge <- edge_farm
//   <- autoscaler, and address_keeper beside edge
//
// An actor includes this header and the headers of the actors that it spawns; everyone else it knows by handle.
#include "actors/local_messages.hpp"
#include "actors/messages.hpp"

namespace weir {

/// STATUS: what every actor can be asked.
using status_actor = typed_actor_t<
  // A line of the actor tree with the handles of its children.
  actor_report(ask_status)>;

/// TASK: one wanted job. Parent: STREAM.
using task_actor = typed_actor_t<
  // Whether it should run now, and on what.
  void(task_wish),
  // New configuration; only what the process depends on restarts it.
  void(use_task_spec),
  // By hand: try now.
  void(retry_task),
  // What the node says of the run.
  void(task_report),
  // The lease is over: whatever ran is dead or dying.
  void(lease_over),
  // The node of its run joined anew.
  void(node_back),
  // INTERNAL: ask for a place again.
  void(place_again)>::extend_with<status_actor>;

/// What NODE is ordered to run, and who wants to hear of it. Said again under the same epoch it only names who wants to hear.
struct assign {
  task_order order;
  task_actor teller;
};
WEIR_MESSAGE(assign, order, teller)

/// NODE: one machine. Parent: the program.
using node_actor = typed_actor_t<
  // Runs a task under a lease.
  void(assign),
  // Ends a run.
  void(revoke),
  // By hand: the run's next attempt is now.
  void(retry_task),
  // A RUNNER's report, passed on to the TASK.
  void(task_report),
  // INTERNAL: what another node says to us going on without the coordinator.
  void(witness_answer),
  // Another node asks whether we miss the coordinator too.
  void(witness_question),
  // The node's configuration was read again.
  void(use_tools),
  // INTERNAL: each second.
  void(tick),
  // Ends all runs, then itself.
  void(stop)>::extend_with<status_actor>;

/// Where a task was placed.
struct placement {
  task_order order;
  node_name node;
  node_actor where;
  std::string why; ///< this node and no other, in words
  bool in_force = false; ///< it was placed before: it may run already, and giving it back would end it
};
WEIR_MESSAGE(placement, order, node, where, why, in_force)

/// STREAM: one stream, who publishes it where, its phase, its tasks. Parent: COORDINATOR.
using stream_actor = typed_actor_t<
  // An RTMP server says nothing, or speaks again.
  void(server_silent),
  // What runs says that the stream was live when our records ended.
  void(publication_found),
  // A publisher was accepted.
  void(published),
  // A publisher left.
  void(unpublished),
  // A server's own list.
  void(reconcile),
  // New configuration.
  void(use_stream_spec),
  // A task was added or changed.
  void(use_task_spec),
  // A task was removed.
  void(drop_task),
  // By hand: try a task now.
  void(retry_task),
  // The lease of one of its tasks is over.
  void(lease_over),
  // A node with runs of its tasks joined anew.
  void(node_back),
  // What is seen of one of its tasks.
  void(task_news),
  // INTERNAL: the grace is over.
  void(grace_over)>::extend_with<status_actor>;

/// WATCHER: whoever needs the edge set and the streams' phases: ORIGIN and DIRECTOR.
using watcher_actor = typed_actor_t<
  // The edge set changed.
  void(edge_table),
  // All edges with their loads, each second.
  void(edge_list),
  // Where segment logs are; at each change.
  void(origin_list),
  // A stream's phase changed.
  void(stream_notice)>;

/// COORDINATOR → WATCHER registration.
struct watch {
  watcher_actor who;
};
WEIR_MESSAGE(watch, who)

/// INTROSPECTION: asks the actors of its node for their statuses, and other nodes for theirs. Parent: the program.
struct ask_tree {
  bool everywhere = false; ///< of all nodes
};
struct actor_tree {
  std::string json; ///< {actors: nested {name, kind, node, mailbox, restarts, uptime_seconds, status, children}, silent: [node…]}
};
/// One more actor of this node that stands at the top of the tree.
struct show_root {
  caf::actor who;
};
WEIR_MESSAGE(ask_tree, everywhere)
WEIR_MESSAGE(actor_tree, json)
WEIR_MESSAGE(show_root, who)
using introspection_actor = typed_actor_t<actor_tree(ask_tree), void(show_root), void(stop)>;

/// INTROSPECTION → COORDINATOR: where the other nodes' trees are.
struct list_trees {};
struct node_tree {
  node_name node;
  introspection_actor tree; ///< null: the node is not reached
};
struct tree_list {
  std::vector<node_tree> trees;
};
WEIR_MESSAGE_EMPTY(list_trees)
WEIR_MESSAGE(node_tree, node, tree)
WEIR_MESSAGE(tree_list, trees)

/// NODE → COORDINATOR: here I am, and this is what I have.
struct join {
  node_spec spec;
  node_actor node;
  std::vector<rtmp_server> rtmp_servers;
  std::vector<origin_place> origins;
  std::vector<task_order> runs; ///< what it runs already: the coordinator takes them over instead of starting them again
  introspection_actor tree;
  std::int64_t as_of = 0; ///< as in a beat
};
struct joined {
  std::string cluster;
  std::chrono::milliseconds lease_ttl{};
  weir::roster roster;
  std::int64_t as_of = 0; ///< as in a beat's answer
};
WEIR_MESSAGE(join, spec, node, rtmp_servers, origins, runs, tree, as_of)
WEIR_MESSAGE(joined, cluster, lease_ttl, roster, as_of)

/// EDGE: nginx on the edge's machine: configured, run, measured, drained. Parent: the program, or EDGE FARM.
using edge_actor = typed_actor_t<
  // INTERNAL: each second: measure and report.
  void(tick),
  // INTERNAL: stub_status.
  void(status_page),
  // INTERNAL: nginx ended; time to start it again.
  void(process_ended), void(start_again),
  // Ends nginx, then itself.
  void(stop)>::extend_with<status_actor>;

/// HTTP FRONT: nginx with TLS and HTTP/2 before this node's HTTP listener. Parent: the program.
using http_front_actor = typed_actor_t<
  // INTERNAL: each second: the certificate.
  void(tick),
  // INTERNAL: nginx ended; time to start it again.
  void(process_ended), void(start_again),
  // Ends nginx, then itself.
  void(stop)>::extend_with<status_actor>;

/// ADDRESS KEEPER: which addresses of its network this machine answers at: the edge's own one, and those of dead edges. Parent: EDGE. Detached: it asks the kernel.
struct address_wish {
  bool serves = false; ///< the edge's nginx answers
};
WEIR_MESSAGE(address_wish, serves)
using address_keeper_actor = typed_actor_t<
  // INTERNAL: five times a second: listen, decide, act.
  void(tick),
  // Whether the edge can serve.
  void(address_wish),
  // Takes all addresses off, then ends.
  void(stop)>::extend_with<status_actor>;

/// OBSERVER: one node's eye on edges: probes that fetch what viewers fetch. Parent: the program.
using observer_actor = typed_actor_t<
  // INTERNAL: time to probe, and to tell.
  void(tick),
  // INTERNAL: a probe ended.
  void(probe_ended),
  void(stop)>::extend_with<status_actor>;

/// EDGE FARM: the spare edges of one node. Parent: the program.
using edge_farm_actor = typed_actor_t<
  // Starts one more edge; says which. Fails: unavailable when no instance is free.
  edge_begun(run_edge),
  // Ends one; what is ended already is told again.
  void(end_edge),
  // INTERNAL: each second.
  void(tick),
  // Ends its edges, then itself.
  void(stop)>::extend_with<status_actor>;

/// EDGE FARM → COORDINATOR, each second.
struct farm_hello {
  node_name node;
  edge_farm_actor farm;
  std::vector<edge_name> idle; ///< edges that it could start; whoever remembers them as there forgets them
};
/// AUTOSCALER → COORDINATOR: what edges there are, and who could start more.
struct view_farms {};
struct farm_view {
  std::vector<edge_status> edges;
  std::vector<farm_hello> farms; ///< that are heard
};
WEIR_MESSAGE(farm_hello, node, farm, idle)
WEIR_MESSAGE_EMPTY(view_farms)
WEIR_MESSAGE(farm_view, edges, farms)

/// AUTOSCALER: how many edges there are, by the viewers that are there and that are expected. Parent: COORDINATOR.
using autoscaler_actor = typed_actor_t<
  // INTERNAL: an order for a machine was answered.
  void(machine_answer),
  // INTERNAL: time to decide.
  void(tick)>::extend_with<status_actor>;

/// COORDINATOR: keeps the wanted state, spawns STREAMs, RTMP WATCHes and the AUTOSCALER, places tasks, grants leases. Parent: the program, or SEAT.
using coordinator_actor = typed_actor_t<
  // A callback of an RTMP server: may the client go on?
  hook_verdict(hook_call),
  // An RTMP server's own list of publishers; the reply names those that must be cut off.
  drop_list(publication_list),
  // Whether an RTMP server is heard.
  void(rtmp_health),
  // Who may publish while the coordinator is away.
  known_keys(list_keys),
  // Where the nodes' actor trees are.
  tree_list(list_trees),
  // Everything that is seen.
  cluster_view(view_cluster), event_list(list_events),
  // Streams.
  stream_status(find_stream), stream_status(add_stream), stream_status(set_stream), void(remove_stream), stream_key(show_key), stream_key(rotate_key),
  void(kick_stream),
  // Who may watch them.
  viewing_rules(list_viewing), viewing_pass(sign_viewing), void(rotate_viewing_key),
  // Tasks.
  task_status(find_task), task_status(add_task), task_status(set_task), void(remove_task), void(retry_task),
  // Nodes: joining, renewing, leaving, being cordoned and forgotten.
  joined(join), beat_answer(beat), void(leaving), void(set_node_phase), void(forget_node),
  // Placement of one run.
  placement(place_task), void(release_task),
  // What STREAMs and TASKs see.
  void(stream_news), void(task_news),
  // Edges.
  void(edge_hello), void(edge_load), probe_orders(edge_sighting), void(drain_edge), void(forget_edge), void(segment_listed), void(edges_in_use),
  // Which origin writes, of those that keep copies for each other.
  origin_orders(origin_word),
  // Where edges find segments.
  origin_list(ask_origins),
  // Which addresses an edge has, of those that edges of one network share.
  neighbour_list(address_word),
  // Whom a DIRECTOR sent where, and how they fare.
  void(director_joins), void(audience_news),
  // How many edges there are.
  void(farm_hello), farm_view(view_farms), void(scaling_news), void(keep_machines),
  // Who wants edge sets and streams' phases.
  void(watch),
  // INTERNAL: each 250 ms: leases, nodes, edges.
  void(tick),
  // Writes what is pending and ends.
  void(stop)>::extend_with<status_actor>;

/// NODE that wants in → DOOR. Its form stays as it is for ever: it is what versions tell each other apart by.
struct hello {
  std::string cluster;
  std::string node;
  std::string version; ///< of Weir, for people
  std::string form;    ///< wire_form()
};
/// DOOR → who was let in.
struct welcome {
  caf::actor coordinator; ///< a coordinator_actor, once the forms are known to be the same
};
WEIR_MESSAGE(hello, cluster, node, version, form)
WEIR_MESSAGE(welcome, coordinator)

/// DOOR: what other nodes reach first; it lets in who belongs to this cluster and speaks its form. Parent: the program.
using door_actor = typed_actor_t<welcome(hello), void(stop)>::extend_with<status_actor>;

/// UPLINK: the COORDINATOR as a node sees it that has none: it passes everything on over the connection that it keeps. Parent: the program.
/// It takes whatever the coordinator takes, so it is known to others as a coordinator_actor.
struct dial_again {};
WEIR_MESSAGE_EMPTY(dial_again)

/// RTMP WATCH: one RTMP server's own list of publishers: polled, told to the COORDINATOR, who must go cut off. Parent: INGEST, or COORDINATOR.
using rtmp_watch_actor = typed_actor_t<
  // The server was started anew: nobody publishes there.
  void(server_started),
  // INTERNAL: poll its list.
  void(tick),
  // INTERNAL: the poll's answer.
  void(status_page),
  void(stop)>::extend_with<status_actor>;

/// INGEST: nginx-rtmp on this machine: configured and run. Parent: the program.
using ingest_actor = typed_actor_t<
  // INTERNAL: nginx ended; time to start it again.
  void(process_ended), void(start_again),
  // Ends nginx, then itself.
  void(stop)>::extend_with<status_actor>;

/// ENGINE OWNER: whoever runs a TRANSCODER.
using engine_owner_actor = typed_actor_t<
  // The process said what it makes; a new run number for each start.
  void(engine_rungs),
  // One finished segment.
  void(engine_segment),
  // One part of the segment that is being made.
  void(engine_part),
  // Phase and progress, each second and at each change.
  void(engine_report)>;

/// TRANSCODER: one libav pipeline in a process of its own: started, fed, watched on output progress, killed, restarted. Parent: a RUNNER.
using transcoder_actor = typed_actor_t<
  // INTERNAL: a record from the child.
  void(engine_record),
  // INTERNAL: the child ended.
  void(process_ended),
  // INTERNAL: watchdogs, every 250 ms.
  void(tick),
  // INTERNAL: the back-off is over. Also by hand.
  void(engine_retry),
  // Where the stream can be read now.
  void(use_inputs),
  // Ends the child, then itself.
  void(stop)>::extend_with<status_actor>;

/// RUNNER: one run of one kind of task (tasks/<type>). Parent: NODE.
using task_runner_actor = typed_actor_t<
  // By hand: the next attempt is now.
  void(engine_retry),
  // Where the stream can be read now.
  void(use_inputs),
  // Where segments are delivered from now on.
  void(use_origin),
  // INTERNAL: the origin answered a write.
  void(upload_result),
  // Ends the run: what is finished is still delivered; then the last report and the end.
  void(stop)>::extend_with<engine_owner_actor>::extend_with<status_actor>;

/// LOG FEED: the segment logs of one origin, on whatever node it is. Parent: DIRECTOR.
using log_feed_actor = typed_actor_t<
  // INTERNAL: time to ask. Also when the origin may have been started anew.
  void(ask_logs),
  // INTERNAL: the origin's answer.
  void(feed_answer)>::extend_with<status_actor>;

/// DIRECTOR: rewrites playlists so that each viewer fetches segments from the edge that suits it. Parent: the program.
using director_actor = typed_actor_t<
  // What an origin's logs say, or that it is not reached.
  void(feed_news),
  // INTERNAL: each second.
  void(tick),
  void(stop)>::extend_with<watcher_actor>::extend_with<status_actor>;

/// ORIGIN: segments behind an address: fenced writes, retention, one segment log a stream. Parent: the program. Detached: it writes files.
using origin_actor = typed_actor_t<
  // A writer presents itself with its epoch.
  void(writer_hello),
  // A writer's segment.
  void(segment_offer),
  // A part of a segment that a writer is making.
  void(part_offer),
  // INTERNAL: the store has done something, or could not.
  void(store_result),
  // INTERNAL: a store that other origins have a part in was taken over, or could not be.
  void(store_loaded),
  // A director's feed wants the logs that changed.
  void(log_wish),
  // INTERNAL: gaps, retention, expiry.
  void(tick),
  void(stop)>::extend_with<watcher_actor>::extend_with<status_actor>;

/// KEYRING: what this node knows of who may watch what. Parent: the program.
using keyring_actor = typed_actor_t<
  // INTERNAL: each second: ask the coordinator.
  void(tick),
  void(stop)>::extend_with<status_actor>;

/// HTTP BRIDGE: takes callbacks and API requests and answers within a deadline. Parent: the program.
using http_bridge_actor = typed_actor_t<
  // INTERNAL: a request from the HTTP threads.
  void(bridge_call),
  // INTERNAL: followers of live state.
  void(tick),
  void(stop)>::extend_with<status_actor>;

} // namespace weir

