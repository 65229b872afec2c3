#pragma once
#include "actors/interfaces.hpp"
#include "actors/task_types.hpp"
#include "runtime/base/process_load.hpp"

#include <chrono>
#include <deque>
#include <map>

namespace weir {

namespace http {
class server;
}

/// What a NODE needs to start.
struct node_setup {
  node_spec spec;
  std::vector<rtmp_server> rtmp_servers;
  std::vector<origin_place> origins;
  runner_tools tools;
  std::chrono::milliseconds beat_every = std::chrono::seconds(1);
  introspection_actor tree;
};

/// What a NODE knows and decides. Sends nothing.
struct node_state {
  static inline const char* name = "node";
  using time_point = caf::actor_clock::time_point;

  struct run {
    task_order order;
    task_actor teller;
    task_runner_actor runner;
    task_report last;
  };

  node_setup setup;
  std::map<task_id, run> runs;
  machine_cpu cpu;
  node_load load;
  std::int64_t task_cpu_spent = 0; ///< ms, of all runs at the beat before
  bool joined = false;
  bool asking = false;             ///< a join or a beat is unanswered
  std::string trouble;             ///< why it has not joined
  time_point last_answer{};        ///< of the coordinator
  std::int64_t as_of = 0;          ///< when that was, by the coordinator's clock
  time_point next_beat{};
  weir::roster roster;             ///< whom to ask when the coordinator is not reached
  struct question_round {
    std::uint64_t number = 0;
    time_point began{};
    std::size_t agree = 1;         ///< that miss it too, ourselves included
  };
  std::deque<question_round> rounds;        ///< of questions to the others, newest last; an answer may come after the next one began
  time_point witnessed{};          ///< beginning of the last round in which more than half of all nodes missed the coordinator
  std::uint64_t rounds_won = 0;
  time_point started{};
  std::map<task_id, lease_epoch> revoked; ///< of runs that we did not have
  std::chrono::nanoseconds slept{};       ///< machine_slept() at the last tick
  std::uint64_t stopped_by_itself = 0; ///< runs that were ended because their lease could not be renewed

  static constexpr auto look_every = std::chrono::milliseconds(250);
  static constexpr auto answer_within = std::chrono::milliseconds(900); ///< of a beat

  /// Looks at the machine, for the next beat.
  void measure();
  beat make_beat();
  /// `asked_at`: from then on a lease counts, however long the answer lay in our mailbox.
  void take(const weir::joined& in, time_point asked_at);
  /// Takes the answer to a beat; returns the runs that the coordinator did not renew.
  std::vector<task_id> take(const beat& asked, const beat_answer& answer, time_point asked_at);
  /// The machine slept for so long: its clock stood still, the coordinator's did not.
  void woke(std::chrono::nanoseconds slept);
  /// Whether the coordinator may take our leases for over.
  bool may_be_over(time_point now) const { return now - std::max(last_answer, witnessed) > lease_ttl * 2 / 3; }
  /// Why an order of that epoch must not be followed; empty when it may.
  std::string refuses(const task_order& order, time_point now) const;
  /// An order to end what is not here: the one to start it may come later.
  void remember_revoked(const revoke& wish);
  /// What to say when joining: who this is and what runs here already.
  join make_join(const node_actor& me) const;
  /// Whether it is time to ask the others whether they miss the coordinator too.
  bool must_ask_others(time_point now) const;
  /// The number of a new round of questions.
  std::uint64_t begin_round(time_point now);
  /// Whether the coordinator has been silent for so long that we tell others so.
  bool misses_the_coordinator(time_point now) const;
  /// How long a question of another node is kept until we miss it, should nothing come; zero: it is answered at once.
  std::chrono::milliseconds holds_question(time_point now) const;
  /// Counts an answer of another node; true when it was the one that made a majority.
  bool take(const witness_answer& answer);
  /// Runs whose leases may soon be over at the coordinator, so that they must end before somebody else starts them.
  std::vector<task_id> must_end(time_point now) const;
  std::chrono::milliseconds lease_ttl = std::chrono::seconds(6); ///< as the coordinator grants them
};

/// One machine: says how it is, runs what it is ordered to run, stops what it holds no lease for.
///
/// Parent:  the program; its end ends the node.
/// Tells:   COORDINATOR each second; the TASK that ordered a run about it.
/// Fails:   never.
/// Numbers: without an answer for two thirds of the lease (4 s of 6 s), and without a majority of nodes that miss the coordinator as well, it ends the runs
///          that nobody else can fence off, by its own monotonic clock.
/// Source:  docs/2-how-it-works/3-life-of-a-stream.md
node_actor::behavior_type node(node_actor::stateful_pointer<node_state> self, node_setup setup, coordinator_actor coordinator);

/// GET of other nodes that miss the coordinator: whether we do. The address names whom they mean: who has another name does not answer for it.
void add_witness_route(http::server& server, const node_actor& node);

} // namespace weir
