#pragma once
#include "actors/address_book.hpp"
#include "actors/edge_set.hpp"
#include "actors/interfaces.hpp"
#include "actors/rtmp_watch.hpp"
#include "actors/stream.hpp"
#include "runtime/base/phi_accrual.hpp"
#include "runtime/base/secret.hpp"
#include "runtime/base/standstill.hpp"
#include "runtime/origin/succession.hpp"
#include "runtime/placing/placing.hpp"
#include "runtime/steering/concentration.hpp"
#include "runtime/store/store.hpp"
#include "runtime/viewing/viewing.hpp"
#include "schemas/config.hpp"

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include <nlohmann/json_fwd.hpp>

namespace weir {

/// What the COORDINATOR needs to start.
struct coordinator_setup {
  std::string cluster;
  std::string playback_base; ///< "http://host:port": what viewers are told
  coordinator_options options;
  std::chrono::milliseconds suspect_after = std::chrono::milliseconds(2500); ///< silence of a node whose beats came regularly
  director_options steering;
  autoscaler_options scaling;
  std::shared_ptr<store::store> store;
  std::vector<rtmp_server> foreign_servers; ///< RTMP servers that no node of ours runs
  std::vector<rtmp_watch_setup> watched_servers; ///< those of them whose own list can be read
  node_name own_node;                       ///< the node that this coordinator is on
  std::chrono::milliseconds heartbeat = std::chrono::seconds(1);
  std::shared_ptr<http::client> http;       ///< for lists
};

/// What the COORDINATOR knows and decides. It writes to the store and sends nothing.
struct coordinator_state {
  static inline const char* name = "coordinator";
  using time_point = caf::actor_clock::time_point;

  struct stream_entry {
    stream_spec spec;
    stream_actor actor;
    stream_status status;
    bool idle = true;
    time_point kicked_until{};
    std::uint32_t restarts = 0;
  };
  struct task_entry {
    task_spec spec;
    task_status status;
  };
  struct node_entry {
    node_status status;
    node_actor actor;
    std::vector<rtmp_server> rtmp_servers;
    std::vector<origin_place> origins;
    time_point last_beat{};
    phi_accrual rhythm; ///< of its beats
    time_point steady_since{};             ///< since then its beats came and were answered without a gap
    node_phase wanted = node_phase::ready; ///< ready, cordoned or draining, by hand
    introspection_actor tree;
    std::string host; ///< of its own address
    std::vector<node_name> roster_held, roster_sent; ///< whom it may ask when it misses us: what it has, and what it may have got since
    std::uint64_t roster_version = 0;      ///< that it has; 0 until it said so since our start: it may have any list
    bool kept = false;                     ///< silent for longer than its leases, which are not over all the same: it may have others' word
  };
  struct server_entry {
    rtmp_server_status status;
    time_point heard{};  ///< its list was read
    bool silent = false; ///< for longer than its word counts
    bool given_up = false;
  };
  struct lease_entry {
    lease_epoch epoch = 0;
    node_name node;
    std::int64_t cost_milli = 0;
    time_point granted{};
    std::string why;  ///< on this node
    time_point runs_out{}; ///< its node came back as another one: whatever ran there ends by itself until then
    task_order order; ///< without a task while only the store knows of the lease: its node has not said yet that it runs it
  };
  /// A run that was handed over: it goes on, renewed, until its successor delivers.
  struct handed_over {
    lease_epoch epoch = 0;
    node_name node;
    time_point until{};
    bool stood_by = false; ///< its successor is the next standby
  };
  struct watch_entry {
    rtmp_watch_setup setup;
    rtmp_watch_actor actor;
    std::uint32_t restarts = 0; ///< of the RTMP WATCH
  };

  coordinator_setup setup;
  std::map<stream_id, stream_entry> streams;
  std::map<task_id, task_entry> tasks;
  std::map<node_name, node_entry> nodes;
  std::map<task_id, lease_entry> leases;
  std::map<task_id, handed_over> outgoing;
  std::set<edge_name> drained_edges; ///< by hand, or by the AUTOSCALER
  struct farm_entry {
    farm_hello says;
    time_point heard{};
  };
  std::map<node_name, farm_entry> farms;
  struct joins_entry {
    director_joins says;
    time_point heard{};
  };
  std::map<node_name, joins_entry> joins; ///< of DIRECTORs
  autoscaler_actor autoscaler; ///< null: none is wanted
  scaling_status scaling;
  std::string machines;        ///< as AUTOSCALER wants them kept
  std::uint32_t autoscaler_restarts = 0;
  std::vector<watcher_actor> watchers;
  weir::edge_set edge_set;
  steering::stream_widths widths{{}}; ///< begun with us
  address_book addresses; ///< that edges of one network share
  struct edges_named {
    edge_epoch oldest = 0;
    time_point heard{};
  };
  origin::succession copies; ///< which origin writes, of those that keep copies for each other
  struct origin_said {
    origin_word says;
    time_point heard{};
  };
  std::map<node_name, origin_said> origins_said;
  time_point copies_since{};   ///< the present view was decided, or we were started
  std::string copies_lost;     ///< why no origin can take over, while that is so
  std::uint32_t copies_wanted = 0; ///< origins that should keep each segment; 0: none keeps copies
  struct learner {
    std::string instance; ///< of its start
    time_point since{};
    std::optional<time_point> complete; ///< since then whoever writes has said each time that it has everything
  };
  std::map<std::string, learner> learners;           ///< by their names as members
  std::map<std::string, time_point> members_away;    ///< since when
  std::set<std::string> members_taught;              ///< of the present view: lack nothing, as whoever writes said last
  std::map<std::string, time_point> learners_barred; ///< until when: a view with them could not be taken over
  std::map<std::string, time_point> learners_last;   ///< until when others learn rather: they were at it for long
  std::map<node_name, std::vector<stream_audience>> told; ///< by directors: what each counted of viewers
  std::map<node_name, edges_named> named; ///< by playlists, as their origins say
  std::map<std::string, std::string> services; ///< RTMP server → its present service_id
  std::map<std::string, std::vector<std::string>> past_services; ///< and those that were before
  std::map<std::string, server_entry> servers; ///< that are watched
  std::map<std::string, watch_entry> watches;  ///< of servers that no node of ours runs
  std::set<std::string> vhosts;                ///< that streams are in, or were since our start
  weir::roster roster;                         ///< nodes that are not down, and the token by which they know each other
  std::map<std::uint64_t, std::vector<node_name>> roster_lists; ///< present and former ones that some node may still have, by version
  probe_target newest_segment; ///< of any stream, for probes
  time_point newest_at{};
  std::string authorities;     ///< of edges (PEM), for probes
  std::string authorities_digest; ///< empty without them: each observer says each second which it has
  std::map<std::string, std::string> requests; ///< creations by their names → id of what they made; stored with it
  lease_epoch next_epoch = 1;
  lease_epoch reserved_epochs = 0; ///< epochs below this are durably spoken for
  std::uint64_t version = 0;       ///< of what is seen
  time_point started{};
  bool listened = false; ///< everybody had time to say after our start what goes on
  time_point edges_told{};
  time_point moved{}; ///< a run, for balance
  standstill still;
  std::map<task_id, lease_epoch> newest_epochs; ///< seat → highest one granted since our start

  /// Notes the time of a tick or of bad news; true while nobody's silence counts, because it was ours.
  bool stood_still(time_point now);

  /// Reads the store. Fails: as the store does.
  expected<void> load(timestamp wall, time_point now);

  // --- decisions; `actor` names who asked ---
  /// Whether a client may go on, and which stream must hear of it.
  struct verdict {
    hook_verdict answer;
    stream_id stream;             ///< that must be told, when not empty
    bool publishes = false;       ///< `publisher` joined
    publisher who;
    bool service_changed = false; ///< whoever was on the server's former start is gone
  };
  verdict judge(const hook_call& call, time_point now, timestamp wall);
  /// What an RTMP server's own list says: which streams must hear of it, and who must be cut off there. Of vhosts that no stream is in it says nothing.
  struct sweep {
    std::map<stream_id, reconcile> streams;
    drop_list unwanted;
    bool service_changed = false; ///< whoever was on the server's former start is gone
  };
  sweep judge(const publication_list& list, time_point now, timestamp wall);
  expected<stream_spec> add(add_stream wish, timestamp wall);
  expected<stream_spec> set(set_stream wish, timestamp wall);
  expected<stream_spec> remove(const remove_stream& wish, timestamp wall);
  expected<std::string> show(const show_key& wish, timestamp wall);
  expected<std::string> rotate(const rotate_key& wish, timestamp wall);
  /// A signed address. Fails: not_found, conflict for a stream that needs none, invalid_input for a lifetime beyond 1 s to 366 days.
  expected<viewing_pass> sign(const sign_viewing& wish, timestamp wall) const;
  /// Fails: conflict where the secret is configured.
  expected<void> rotate(const rotate_viewing_key& wish, timestamp wall);
  /// Who may watch what; without keys when `version` is in force.
  viewing_rules who_may_watch(std::uint64_t version) const;
  /// The publishers that are cut off; the others stay, and the event names their servers. Fails when there are only others.
  expected<std::vector<publisher>> kick(const kick_stream& wish, time_point now, timestamp wall);
  expected<task_spec> add(add_task wish, timestamp wall);
  expected<task_spec> set(set_task wish, timestamp wall);
  expected<task_spec> remove(const remove_task& wish, timestamp wall);
  /// A node, a lease and an epoch for one run; the epoch is durable before it is returned. Whoever asks for a task that runs gets the lease that is in force.
  expected<placement> place(const place_task& wish, time_point now, timestamp wall);
  void release(const release_task& done);
  /// As its TASK says: its run has ended, or is not to begin.
  void give_back(const release_task& done, timestamp wall);
  /// A node joins, anew or again: takes over the runs whose leases hold; `over` are leases of the node that nothing runs under any more.
  /// True when the node was not there before. `found`: publications of runs that our store knows nothing of.
  bool take(join news, time_point now, timestamp wall, std::vector<lease>& over, std::map<stream_id, std::string>* found = nullptr);
  /// Why a node may not join under its name now; empty when it may.
  std::string refuses(const join& news, time_point now) const;
  /// A node's last word; its leases, which are over.
  std::vector<lease> take(const leaving& news, timestamp wall);
  /// By hand: a node that does not come back. Its leases, which are over. Fails: not_found, conflict.
  expected<std::vector<lease>> take(const forget_node& wish, timestamp wall);
  /// Takes a node's beat; `lost` are leases that it no longer names.
  beat_answer take(const beat& b, time_point now, timestamp wall, std::vector<lease>& lost);
  /// Judges silent nodes; the leases of those that are down are over.
  std::vector<lease> judge_nodes(time_point now, timestamp wall);
  /// Whether so many nodes hear us that the silent one cannot have the word of a majority to go on without us.
  bool has_majority(const node_entry& silent, time_point now) const;
  /// Takes what an RTMP WATCH says of its server.
  void take(const rtmp_health& news, time_point now);
  /// Judges silent RTMP servers: who fell silent or speaks again, and whose publishers are given up.
  struct server_verdicts {
    std::vector<server_silent> changed;
    std::vector<std::string> given_up;
  };
  server_verdicts judge_servers(time_point now, timestamp wall);
  /// The keys that may publish while we are away; without entries when `version` is in force.
  known_keys keys(std::uint64_t version, timestamp wall) const;
  /// What an edge does with addresses that it shares with others; answers who these are.
  neighbour_list take(const address_word& word, time_point now, timestamp wall);
  /// Drains the edges of drained nodes while another one serves, and whatever was drained by hand.
  void drain_edges();
  /// Whether viewers' playlists of the stream may end: not before everybody had time to say after our start that it goes on.
  bool is_over(const stream_entry& entry, time_point now) const;
  /// What an origin lists. The word of a node that is not known counts for nothing.
  void take(const edges_in_use& news, time_point now);
  /// What a director counted of viewers. Of a node that is not known it is passed over.
  void take(audience_news news);
  /// How each stream is watched, by name: what directors and these edges say, summed.
  using audiences = std::map<std::string, stream_audience, std::less<>>;
  audiences watched(const std::vector<edge_status>& edges) const;
  /// How many edges serve each stream. For each second.
  void judge_widths(time_point now);
  /// The oldest edge epoch that a playlist may name; edge_set::no_epoch where no origin says that it lists anything.
  edge_epoch oldest_named(time_point now) const;
  /// Where segment logs are: at every origin that has joined and was not stopped, whether it is heard by us or not.
  origin_list origins() const;
  /// Where edges find segments: at those that keep copies, whether they are there or not, and at those with a store of their own.
  origin_list origins_for_edges() const;
  /// For people and figures: who writes, who keeps copies and is there, who learns.
  nlohmann::json origins_status(time_point now) const;
  /// The origin to which runs deliver; null: none can be written to now.
  const origin_place* writes_to() const;
  /// What an origin that keeps copies says; answers which of them writes. The word of one that has not joined counts for nothing.
  origin_orders take(const origin_word& news, time_point now, timestamp wall);
  /// Decides who writes when that is needed; true when it is another one, or under another term, which is stored by then.
  bool judge_origins(time_point now, timestamp wall);
  /// All edges, and the last words of directors that are there.
  edge_list listing(time_point now);
  /// Takes what an observer sees of edges, if it is one of a node of ours; says what it should watch.
  probe_orders take(const edge_sighting& news, time_point now);
  void take(segment_listed news, time_point now, timestamp wall);
  /// Reads the authorities of edges, which may be renewed. Those before stay in force when that fails.
  void read_authorities();
  void use_authorities(std::string pem);
  /// Derives the edge table from what the observers say; true when it is a new one. Those that nothing names any more are forgotten.
  bool judge_edges(time_point now, timestamp wall);
  /// Notes that an edge joined or changed its address, and whether browsers can use it beside our pages.
  void note_joined(const edge_spec& edge, timestamp wall);
  /// Notes that an edge shows another certificate than before, or that it does not take a newer one.
  void note_certificate(const edge_load& before, const edge_load& now, timestamp wall);
  /// An event when what an edge says of whom it is near to cannot be used; `before`: what was wrong with it so far.
  void note_locality(const edge_name& edge, const std::string& before, timestamp wall);
  /// Whether the origin takes only the newer run's segments, so that another one may start before this lease is over.
  bool fenced(const task_id& seat) const;
  /// Whether another node could take the task now.
  bool has_elsewhere(const task_id& seat, const lease_entry& held) const;
  bool movable(const task_id& seat, const lease_entry& held) const { return fenced(seat) && has_elsewhere(seat, held); }
  /// Whether its node has, by its labels too, what the task needs now.
  bool suits(const task_id& seat, const lease_entry& held) const;
  /// The one run that should leave a crowded node for an empty one now, if that is worth it: not while anything else is in motion.
  std::optional<placing::move> rebalance(time_point now) const;
  /// What may leave the nodes that are drained now, because another node can take it.
  std::vector<lease> to_drain() const;
  /// The lease ends but its run goes on until the successor delivers.
  void hand_over(const lease& l, time_point now);
  /// The handed-over runs of this task are over: whom to tell.
  std::optional<std::pair<node_name, lease_epoch>> take_outgoing(const task_id& task);

  void note(std::string kind, std::string subject, std::string text, std::string actor, timestamp wall);
  const stream_entry* find(const std::string& vhost, const std::string& app, const std::string& stream) const;
  cluster_view view(time_point now) const;
  void decorate(stream_status& status, const audiences& watched) const;

  /// Cores × 1000 that a run with these options takes: as measured with a quarter of room, else as its type says; 0 of a type that this program does not know.
  std::int64_t cost_of(const std::string& type, const std::string& options) const;
  void learn_cost(const task_status& status, timestamp wall);
  /// Whether a run that is slower than real time could go where the machine itself, not only what is granted, has room for it.
  bool roomier(const task_id& seat, const lease_entry& held, time_point now) const;

  /// A node of the run before that has not said yet since our start what it runs; none when that much time is over.
  const node_name* awaited(time_point now, std::chrono::milliseconds patience) const;
  /// The time of a lease: whoever has not been heard for so long runs nothing that needs one.
  std::chrono::milliseconds lease_time() const;

private:
  std::vector<origin::candidate> origin_candidates(time_point now) const;
  expected<void> keep_copies(const origin::succession& next, store::durability how);
  /// Who learns, and who is away, as of now.
  void follow_origins(const std::vector<origin::candidate>& there, time_point now, timestamp wall);
  std::map<std::string, std::int64_t> costs_; ///< measured, by type and options
  expected<void> load_secrets(const std::map<std::string, std::string>& settings);
  void enter(const node_spec& spec);
  void leave(const node_name& name);
  /// Keeps that a node is in the roster, under its address, or (null) is not.
  void keep_roster(const node_name& name, const std::string* http_url);
  weir::roster roster_for(node_entry& node, std::uint64_t held);
  void forget_rosters();
  /// Longest time between two beats of a node that hears us.
  std::chrono::milliseconds beat_gap() const { return 2 * std::max<std::chrono::milliseconds>(setup.heartbeat, std::chrono::seconds(1)); }
  /// Where a stream can be read, best first.
  std::vector<std::string> inputs_of(const std::vector<std::string>& from, const stream_spec& stream) const;
  void grant(lease_entry entry, const task_id& task, timestamp wall);
  /// The id that this creation made before, or empty; `remember` puts it into the batch that makes it.
  std::string made_before(const std::string& request) const;
  void remember(store::batch& batch, const std::string& request, const std::string& id);
  expected<lease_epoch> take_epoch();
  placing::wish asks(const task_id& seat, std::int64_t cost_milli) const;
  std::vector<const node_status*> candidates() const;
  /// Whether a node that does not name a lease, and had our answer of `as_of`, must know that it has it.
  bool must_be_named(const lease_entry& held, std::int64_t as_of, time_point now) const;
  bool silent_too_long(const node_entry& node, time_point now) const;
  expected<void> check(const stream_spec& spec) const;
  /// Whether somebody can cut publishers off at that RTMP server now; else what to do about it.
  expected<void> can_cut_off(const std::string& server) const;
  static expected<void> canonicalise(task_spec& spec);
  /// The key that signs now: a new one only when every node has had time to hear of it.
  const viewing_key& signs(timestamp wall) const;
  void bar(const std::string& name, store::batch& batch, timestamp wall);
  signing_key signer_;
  std::vector<viewing_key> viewing_keys_; ///< the newest first; two at most
  timestamp viewing_key_since_{};         ///< of the newest
  std::map<std::string, timestamp> barred_; ///< names of signed streams that are no more, and their ends
  mutable viewing_rules viewing_;         ///< as told last
  mutable std::uint64_t viewing_revision_ = 0;
  mutable known_keys keys_; ///< as signed last
  mutable std::uint64_t keys_revision_ = 0;
  std::uint64_t revision_ = 1; ///< of the streams
};

/// Keeps the wanted state in RocksDB, spawns STREAMs and RTMP WATCHes, places tasks on nodes, grants leases with growing epochs.
///
/// Parent:  the program, or SEAT while its node leads; its end ends the node. Detached: it waits for the disk.
/// Tells:   STREAMs, NODEs' tasks (through STREAM) about leases, WATCHERs about edges and phases.
/// Fails:   to start when the store cannot be read.
/// Numbers: beats come every 1 s; a node is suspect after 2.5 s (cluster.down_after) if they came regularly, and down after the lease's 6 s + 0.5 s; the edge set changes within 0.25 s of a verdict.
/// Source:  docs/2-how-it-works/3-life-of-a-stream.md
coordinator_actor::behavior_type coordinator(coordinator_actor::stateful_pointer<coordinator_state> self, coordinator_setup setup);

} // namespace weir
