#pragma once
// What actors say to each other: one plain struct for each message. Values that are also shown or stored live in schemas/.
// Imperative names are requests (`place_task`), nouns are facts (`task_report`). Who may say what to whom: interfaces.hpp.
#include "actors/caf.hpp"
#include "schemas/event.hpp"
#include "schemas/hook.hpp"
#include "schemas/media.hpp"
#include "schemas/node.hpp"
#include "schemas/stream.hpp"
#include "schemas/task.hpp"
#include "schemas/viewing.hpp"

#include <string>
#include <vector>

namespace weir {

// --- every actor ---------------------------------------------------------------------------------------------------------------

/// INTERNAL in most actors: the actor's own period has passed.
struct tick {};
/// Ends the actor after it has ended what it started.
struct stop {};
struct ask_status {};
WEIR_MESSAGE_EMPTY(tick)
WEIR_MESSAGE_EMPTY(stop)
WEIR_MESSAGE_EMPTY(ask_status)

/// One line of the actor tree.
struct actor_report {
  std::string name;                 ///< "stream/conference"
  std::string kind;                 ///< "stream"
  std::string status;               ///< JSON text of what the actor wants to show
  std::uint64_t mailbox = 0;        ///< messages that wait
  std::uint64_t restarts = 0;       ///< of its children
  std::int64_t uptime_ms = 0;
  std::vector<caf::actor> children; ///< to be asked in turn
};
WEIR_MESSAGE(actor_report, name, kind, status, mailbox, restarts, uptime_ms, children)

// --- configuration (API → coordinator) -------------------------------------------------------------------------------------------

/// One stream by its id, or by its name where no id is given.
struct find_stream {
  stream_id id;
  std::string name;
};
struct find_task {
  task_id id;
};
WEIR_MESSAGE(find_stream, id, name)
WEIR_MESSAGE(find_task, id)

/// `actor` says who asks, for the event log: "api 127.0.0.1", "demo".
struct add_stream {
  stream_spec spec;
  std::string actor;
  std::string request = {}; ///< names this creation: said again, it is answered with what the first one made; empty: cannot be said again
};
/// Replaces a stream's configuration. `if_revision` 0 means whatever it is now.
struct set_stream {
  stream_spec spec;
  std::uint64_t if_revision = 0;
  std::string actor;
};
struct remove_stream {
  stream_id id;
  std::uint64_t if_revision = 0;
  std::string actor;
};
/// Every sight of a key is in the event log.
struct show_key {
  stream_id id;
  std::string actor;
};
struct rotate_key {
  stream_id id;
  std::string actor;
};
struct stream_key {
  std::string key;
};
/// Cuts the publishers off at servers whose own list is read, and refuses them for a while. Fails when they are all on other ones.
struct kick_stream {
  stream_id id;
  std::string actor;
};
struct add_task {
  task_spec spec;
  std::string actor;
  std::string request = {}; ///< as in add_stream
};
struct set_task {
  task_spec spec;
  std::uint64_t if_revision = 0;
  std::string actor;
};
struct remove_task {
  task_id id;
  std::uint64_t if_revision = 0;
  std::string actor;
};
/// Tries a parked or failed task now.
struct retry_task {
  task_id id;
  std::string actor;
};
struct set_node_phase {
  node_name name;
  node_phase phase = node_phase::ready; ///< cordoned, draining or ready
  std::string actor;
};
/// Takes a node out of the lists that does not come back.
struct forget_node {
  node_name name;
  bool dead = false; ///< whoever asks knows that nothing runs there, although too few nodes are heard to prove it
  std::string actor;
};
struct drain_edge {
  edge_name name;
  bool drain = true; ///< false: give it viewers again
  std::string actor;
};
/// A signed address of a stream that needs one.
struct sign_viewing {
  stream_id id;
  std::chrono::milliseconds lifetime{}; ///< whole seconds
};
struct viewing_pass {
  std::string token;
  timestamp expires{};
  std::string playback_url;
};
/// Another secret for all signed addresses; the former one's count until the next time.
struct rotate_viewing_key {
  std::string actor;
};
/// KEYRING → coordinator: who may watch what. Answered without keys where `version` is in force.
struct list_viewing {
  std::uint64_t version = 0;
};
WEIR_MESSAGE(sign_viewing, id, lifetime)
WEIR_MESSAGE(viewing_pass, token, expires, playback_url)
WEIR_MESSAGE(rotate_viewing_key, actor)
WEIR_MESSAGE(list_viewing, version)
WEIR_MESSAGE(add_stream, spec, actor, request)
WEIR_MESSAGE(set_stream, spec, if_revision, actor)
WEIR_MESSAGE(remove_stream, id, if_revision, actor)
WEIR_MESSAGE(show_key, id, actor)
WEIR_MESSAGE(rotate_key, id, actor)
WEIR_MESSAGE(stream_key, key)
WEIR_MESSAGE(kick_stream, id, actor)
WEIR_MESSAGE(add_task, spec, actor, request)
WEIR_MESSAGE(set_task, spec, if_revision, actor)
WEIR_MESSAGE(remove_task, id, if_revision, actor)
WEIR_MESSAGE(retry_task, id, actor)
WEIR_MESSAGE(set_node_phase, name, phase, actor)
WEIR_MESSAGE(forget_node, name, dead, actor)
/// Takes a spare edge out of the lists that was ended. One that lives says so, and is there again.
struct forget_edge {
  edge_name name;
  std::string actor;
};
WEIR_MESSAGE(drain_edge, name, drain, actor)
WEIR_MESSAGE(forget_edge, name, actor)

/// Everything that is seen of the cluster, with a version that grows whenever any of it changes.
struct view_cluster {};
struct cluster_view {
  std::string cluster;
  std::uint64_t version = 0;
  std::vector<stream_status> streams;
  std::vector<task_status> tasks;
  std::vector<node_status> nodes;
  std::vector<edge_status> edges;
  edge_epoch edges_epoch = 0;
  std::vector<rtmp_server_status> rtmp_servers;
  scaling_status scaling;
};
struct list_events {
  std::uint64_t after = 0;
  std::uint32_t limit = 100;
  bool newest = false; ///< the last `limit` ones instead
};
struct event_list {
  std::vector<event> events; ///< oldest first; a number above after + 1 at the front says that older ones are gone
};
WEIR_MESSAGE_EMPTY(view_cluster)
WEIR_MESSAGE(cluster_view, cluster, version, streams, tasks, nodes, edges, edges_epoch, rtmp_servers, scaling)
WEIR_MESSAGE(list_events, after, limit, newest)
WEIR_MESSAGE(event_list, events)

// --- streams and tasks (coordinator → stream → task) --------------------------------------------------------------------------

/// A publisher was accepted.
struct published {
  publisher who;
};
/// A publisher left, or its connection closed. Empty service_id: of any start of that server.
struct unpublished {
  std::string server;
  std::string service_id;
  std::string client_id;
  std::string why;
};
/// Who publishes this stream on one server, by that server's own list. Absent twice in a row: gone.
struct reconcile {
  std::string server;
  std::string service_id;
  std::vector<publisher> publishers;
};
/// Coordinator → stream: a node runs its tasks on this publication, of which our own records say nothing.
struct publication_found {
  std::string publication;
};
struct use_stream_spec {
  stream_spec spec;
};
struct use_task_spec {
  task_spec spec;
};
struct drop_task {
  task_id id;
};
WEIR_MESSAGE(published, who)
WEIR_MESSAGE(unpublished, server, service_id, client_id, why)
WEIR_MESSAGE(reconcile, server, service_id, publishers)
WEIR_MESSAGE(publication_found, publication)
WEIR_MESSAGE(use_stream_spec, spec)
WEIR_MESSAGE(use_task_spec, spec)
WEIR_MESSAGE(drop_task, id)

/// INTERNAL to stream: the grace after the last publisher's leaving is over. Of that leaving only.
struct grace_over {
  std::uint64_t leaving = 0;
};
/// Stream → task: whether the task should run, and on what.
struct task_wish {
  bool wanted = false;
  std::string reason;               ///< why not, in words
  std::vector<std::string> servers; ///< RTMP servers that have the stream, the one to read from first
  std::string publication;          ///< names the source time line
};
WEIR_MESSAGE(grace_over, leaving)
WEIR_MESSAGE(task_wish, wanted, reason, servers, publication)

/// Task → stream → coordinator, and stream → coordinator: what is seen now.
struct task_news {
  task_status status;
};
struct stream_news {
  stream_status status;
  bool idle = true; ///< no task of the stream runs any more
  std::string left_because; ///< what ended its last publisher
};
WEIR_MESSAGE(task_news, status)
WEIR_MESSAGE(stream_news, status, idle, left_because)

// --- placement and leases (task ↔ coordinator ↔ node) -----------------------------------------------------------------------

/// Task → coordinator: a node, a lease and an epoch for one run.
struct place_task {
  task_id task;                     ///< or the seat of its standby (schemas/task.hpp)
  std::vector<std::string> servers; ///< RTMP servers that have the stream, the one to read from first
  std::string publication;
  node_name avoid;                  ///< the last one failed there
};
/// Task → coordinator: the lease of `epoch` is no longer needed.
struct release_task {
  task_id task;
  lease_epoch epoch = 0;
};
/// INTERNAL to task: time to ask for a place, or for a run's order, again. Neither: to look at what is to be done.
struct place_again {
  std::uint64_t turn = 0; ///< of the question for a place; a later one may have taken its turn. 0: no question
  bool of_spare = false;  ///< for the standby
  bool renew = false;
};
/// Coordinator → task: the lease of `epoch` is over, the run must be taken for dead.
struct lease_over {
  task_id task;
  lease_epoch epoch = 0;
  std::string why;
};
/// Coordinator → streams → tasks: a node joined anew, over another connection. Handles of the former one are dead even though they compare equal: whoever has
/// a run there asks for its place again and gets the one that it holds.
struct node_back {
  node_name name;
};
WEIR_MESSAGE(node_back, name)
WEIR_MESSAGE(place_task, task, servers, publication, avoid)
WEIR_MESSAGE(release_task, task, epoch)
WEIR_MESSAGE(place_again, turn, of_spare, renew)
WEIR_MESSAGE(lease_over, task, epoch, why)

/// What a node or a runner says of one run; `ended` says that nothing of it runs any more.
struct task_report {
  task_id task;
  lease_epoch epoch = 0;
  task_phase phase = task_phase::starting;
  std::uint32_t attempts = 0; ///< starts of the process under this epoch
  end_cause cause = end_cause::none;
  std::string text;           ///< last error in words
  task_progress progress;
  std::vector<std::string> log_tail;
  bool ended = false;

  static constexpr auto fields() {
    using o = task_report;
    return std::tuple{
      field("task", &o::task, "Task."),
      field("epoch", &o::epoch, "Lease epoch."),
      field("phase", &o::phase, "Phase of the run."),
      field("attempts", &o::attempts, "Starts under this epoch."),
      field("cause", &o::cause, "Why the last start ended."),
      field("text", &o::text, "Last error."),
      field("progress", &o::progress, "How far it has come."),
      field("log_tail", &o::log_tail, "Last lines of its log."),
      field("ended", &o::ended, "Nothing of it runs any more."),
    };
  }
};

/// A lease as both sides name it.
struct lease {
  task_id task;
  lease_epoch epoch = 0;
  bool operator==(const lease&) const = default;
};
WEIR_MESSAGE(lease, task, epoch)

/// A node whose word counts when the coordinator is gone (docs/2-how-it-works/5-cluster.md).
struct witness {
  node_name name;
  std::string http_url;
};
/// All of them, as of one moment. Versions grow; whoever has an older one is told anew.
struct roster {
  std::uint64_t version = 0;
  std::string token; ///< by which nodes of one cluster know each other's questions
  std::vector<witness> nodes;
};
WEIR_MESSAGE(witness, name, http_url)
WEIR_MESSAGE(roster, version, token, nodes)

/// Node → coordinator, each second: load, and the leases that it asks to renew. These are named by their epochs, which no two share: eight bytes each.
struct beat {
  node_name node;
  std::string instance;
  node_load load;
  std::vector<lease_epoch> leases;
  std::uint64_t roster = 0; ///< version that it has
  std::int64_t as_of = 0;   ///< of the last answer that it had when it made this
};
/// Which of them go on. A lease that is not named must be stopped. `known` false: join again.
struct beat_answer {
  bool known = true;
  std::vector<lease_epoch> renewed;
  weir::roster roster = {}; ///< when the node's is another one; version 0: its own is right
  std::int64_t as_of = 0;   ///< the coordinator's own clock, ms: a beat that waited in a queue says nothing of what was granted since
};
WEIR_MESSAGE(beat, node, instance, load, leases, roster, as_of)
WEIR_MESSAGE(beat_answer, known, renewed, roster, as_of)

/// Node → coordinator, as its last word: nothing runs here any more.
struct leaving {
  node_name node;
  std::string instance;
};
WEIR_MESSAGE(leaving, node, instance)

/// Stops one run. Of that epoch only.
struct revoke {
  task_id task;
  lease_epoch epoch = 0;
};
WEIR_MESSAGE(revoke, task, epoch)

// --- RTMP servers, origins, edges --------------------------------------------------------------------------------------------

/// An RTMP server that tasks can read from.
struct rtmp_server {
  std::string name;
  std::string read_url;    ///< "rtmp://127.0.0.1:1935": what workers read
  std::string publish_url; ///< what people are told
};
/// An origin: workers write to it, directors read its logs.
struct origin_place {
  std::string url;        ///< base address of its HTTP listener
  std::string token;      ///< bearer token for writes; not told to directors
  node_name node;         ///< that it is on
  std::string read_token; ///< bearer token for its logs
  std::string peer_token; ///< bearer token for origins that keep copies at it; not told to directors
  std::uint32_t copies = 0; ///< origins that it wants to keep each segment, itself included; 0: it keeps its own alone
  std::string member = {};  ///< its name among those that keep copies: of its node and its disk
};
WEIR_MESSAGE(rtmp_server, name, read_url, publish_url)
WEIR_MESSAGE(origin_place, url, token, node, read_token, peer_token, copies, member)

/// Origins that keep copies for each other, and which of them writes.
struct origin_group {
  std::uint64_t term = 0; ///< 0: none has been decided yet
  std::string holder;     ///< a member
  std::string instance;   ///< of the holder's start: another start of it needs another term
  std::vector<origin_place> members; ///< only member, url and peer_token are told
};
/// Origin → coordinator, a few times a second. Only of origins that keep copies for each other.
struct origin_word {
  node_name node;
  std::string instance;       ///< of its start
  std::uint64_t in_force = 0; ///< the term that it holds, and has taken over with
  std::uint64_t highest = 0;  ///< term that it has accepted, whoever's
  std::string trouble;        ///< why it could not take over
  std::vector<std::string> taught = {}; ///< learners and members that lack nothing that it has, as far as it knows
};
/// Coordinator → origin, as the answer.
struct origin_orders {
  origin_group present;
  std::vector<origin_group> former; ///< that may have written until now: whoever takes over must have the word of each of them. The oldest first
  std::vector<origin_place> learners = {}; ///< that are to become members: whoever writes sends them all there is
};
WEIR_MESSAGE(origin_group, term, holder, instance, members)
WEIR_MESSAGE(origin_word, node, instance, in_force, highest, trouble, taught)
WEIR_MESSAGE(origin_orders, present, former, learners)

/// RTMP watch → coordinator, at each change and every few seconds: whether a server tells who publishes there.
struct rtmp_health {
  std::string server;
  bool up = false;
  std::string text;              ///< what is wrong
  std::uint32_t publishers = 0;  ///< by its last list
};
/// Coordinator → streams: a server has said nothing for longer than its word counts, or speaks again.
struct server_silent {
  std::string server;
  bool silent = true;
};
WEIR_MESSAGE(rtmp_health, server, up, text, publishers)
WEIR_MESSAGE(server_silent, server, silent)

/// Hook bridge → coordinator: the keys that may publish while it is away. Answered with no entries where `version` is in force.
struct list_keys {
  std::uint64_t version = 0;
};
/// One stream that may be published. The key itself stays at the coordinator.
struct key_hash {
  std::string app;
  std::string stream;
  std::string vhost;
  std::string hash; ///< salted_hash() of the key
};
struct known_keys {
  std::uint64_t version = 0;
  timestamp until{};      ///< they count no longer; whole seconds
  std::vector<key_hash> keys;
  std::string signature;  ///< of known_keys_text() with all entries, by `signer`
  std::string signer;     ///< public key of the coordinator
};
WEIR_MESSAGE(list_keys, version)
WEIR_MESSAGE(key_hash, app, stream, vhost, hash)
WEIR_MESSAGE(known_keys, version, until, keys, signature, signer)

/// Coordinator → RTMP watch: publishers that may not go on (their stream was removed, disabled, or they were kicked).
struct drop_list {
  std::vector<publication_list::item> items;
};
WEIR_MESSAGE(drop_list, items)

/// Edge → coordinator: I am here. Said again after each start of the coordinator.
struct edge_hello {
  edge_spec spec;
};
/// What an observer thinks of one edge.
struct sighted_edge {
  edge_name edge;
  edge_sight sight; ///< its observer is the one that says it
};
/// Observer → coordinator, each second and when a view changed: all that it watches.
struct edge_sighting {
  node_name observer;
  std::vector<sighted_edge> edges;
  std::string authorities; ///< digest of those that it has
};
/// Coordinator → observer, as the answer: what to watch and how.
struct probe_orders {
  std::vector<edge_spec> edges;
  std::vector<edge_name> urgent;       ///< of them: its viewers see something, look at once and often
  probe_target newest;                 ///< what to fetch
  std::chrono::milliseconds every{};
  std::chrono::milliseconds timeout{};
  std::string authorities;             ///< digest of those to check edges against; empty: the system's
  std::string authorities_text;        ///< and themselves (PEM), to who does not have them
};
/// Origin → coordinator: the newest listed segment, for probes.
struct segment_listed {
  std::string stream;
  probe_target newest;
};
/// Origin → coordinator, every few seconds: what its playlists still name. Tables from that epoch on must be kept, or listed addresses would be lost.
struct edges_in_use {
  node_name node;        ///< the origin's
  edge_epoch oldest = 0; ///< of a listed entry; with nothing listed the epoch in force
};
/// Director → coordinator, every few seconds: how streams are watched, as it counted since its start.
struct audience_news {
  node_name node; ///< the director's
  std::vector<stream_audience> streams;
};
/// Director → coordinator, each second, and back to all directors: how many viewers it has sent to which edge.
struct director_joins {
  node_name director;
  std::uint64_t sequence = 0;         ///< of this word; begins anew with the director, and so do the counts
  std::vector<edge_name> edges;
  std::vector<std::uint64_t> viewers; ///< since its start, by the same index: a word that is lost is in the next one
  std::int64_t age_ms = 0;            ///< when the coordinator passed it on
};
WEIR_MESSAGE(director_joins, director, sequence, edges, viewers, age_ms)
/// All edges with their loads, each second, for joins.
struct edge_list {
  std::vector<edge_status> edges;
  edge_epoch oldest_table = 0; ///< those before it are forgotten: nothing listed names them
  std::vector<director_joins> joins; ///< last word of each director
  width_list widths;           ///< for origins, which stamp them on what they list
};
/// Where segment logs are, at each change, without tokens for writes.
struct origin_list {
  std::vector<origin_place> origins;
  bool complete = false; ///< everybody had time to join: who is not named is no origin any more
};
WEIR_MESSAGE(origin_list, origins, complete)
/// Edge → coordinator, every two seconds; answered with an origin_list. An edge needs nothing else that watchers hear.
struct ask_origins {
  edge_name edge;
};
WEIR_MESSAGE(ask_origins, edge)
/// One thing that an edge did with an address, or cannot do.
struct address_step {
  std::uint64_t number = 0; ///< grows, also from one start of the edge to the next
  std::string kind;         ///< of an event
  std::string text;
};
/// The address of another edge.
struct held_address {
  edge_name of;
  shared_address address;
};
/// Address keeper → coordinator, twice a second, and more often while an edge is in doubt: which addresses it has.
struct address_word {
  edge_name edge;
  shared_address address; ///< its own
  bool holds = false;     ///< it has its own
  bool wants = false;     ///< it has not, serves, and could have it
  bool able = false;      ///< its interface takes addresses
  std::string trouble;    ///< why it has not
  std::vector<held_address> answers_for;
  std::vector<held_address> unlisted; ///< whose addresses it was told once, and is told no more: who was started anew does not know of the dead
  std::vector<address_step> steps; ///< that were not acknowledged
};
/// Coordinator → address keeper, as the answer.
struct neighbour_list {
  std::vector<edge_neighbour> edges; ///< all that have an address to share, whatever their network
  std::uint64_t steps = 0;           ///< known up to that number
};
WEIR_MESSAGE(address_step, number, kind, text)
WEIR_MESSAGE(held_address, of, address)
WEIR_MESSAGE(address_word, edge, address, holds, wants, able, trouble, answers_for, unlisted, steps)
WEIR_MESSAGE(neighbour_list, edges, steps)
/// Autoscaler → edge farm: starts a spare edge / ends it.
struct run_edge {};
struct edge_begun {
  edge_name name;
};
struct end_edge {
  edge_name name;
};
/// Autoscaler → coordinator: what is to be known of its machines after a restart; answered when it is on disk.
struct keep_machines {
  std::string text;
};
/// Autoscaler → coordinator: what it thinks now; with a kind it is an event, too.
struct scaling_news {
  scaling_status status;
  std::string kind;
};
WEIR_MESSAGE_EMPTY(run_edge)
WEIR_MESSAGE(edge_begun, name)
WEIR_MESSAGE(end_edge, name)
WEIR_MESSAGE(keep_machines, text)
WEIR_MESSAGE(scaling_news, status, kind)
WEIR_MESSAGE(edge_hello, spec)
WEIR_MESSAGE(probe_target, path, size, digest)
WEIR_MESSAGE(sighted_edge, edge, sight)
WEIR_MESSAGE(edge_sighting, observer, edges, authorities)
WEIR_MESSAGE(probe_orders, edges, urgent, newest, every, timeout, authorities, authorities_text)
WEIR_MESSAGE(segment_listed, stream, newest)
WEIR_MESSAGE(edges_in_use, node, oldest)
WEIR_MESSAGE(audience_news, node, streams)
WEIR_MESSAGE(edge_list, edges, oldest_table, joins, widths)

/// Coordinator → origins: a stream's publication as seen from the control plane.
struct stream_notice {
  std::string stream;
  stream_phase phase = stream_phase::offline;
  bool over = false; ///< offline and no task writes any more: ENDLIST
};
WEIR_MESSAGE(stream_notice, stream, phase, over)

} // namespace weir
