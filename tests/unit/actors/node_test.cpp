#include "actors/node.hpp"
#include "tests/unit/actors/cast.hpp"
#include "tests/unit/actors/virtual_time.hpp"

namespace weir::testing {
namespace {

using namespace std::chrono_literals;

class Node : public virtual_time {
public:
  heard_ptr log = std::make_shared<heard>();
  std::shared_ptr<coordinator_script> script = std::make_shared<coordinator_script>();
  coordinator_actor boss = spawn(stand_in_coordinator, log, script);
  task_actor teller = spawn(stand_in_task, log);

  node_actor make() {
    node_setup setup;
    setup.spec.name = node_name{"n1"};
    setup.spec.instance = "i1";
    setup.tools.program = "/bin/false"; // a pipeline that ends at once
    return spawn(node, setup, boss);
  }
  assign order(lease_epoch epoch, std::string type = "restream") {
    assign a;
    a.order.task = task_id{"t1"};
    a.order.type = std::move(type);
    a.order.options = R"({"url":"rtmp://127.0.0.1:1/live/x"})";
    a.order.epoch = epoch;
    a.order.input_url = "rtmp://127.0.0.1:1/live/y";
    a.teller = teller;
    return a;
  }
};

TEST_F(Node, JoinsThenBeatsEachSecond) {
  make();
  advance(10s);
  EXPECT_EQ(log->joins, 1u);
  EXPECT_GE(log->beats, 9u);
  EXPECT_LE(log->beats, 11u);
}

TEST_F(Node, RefusesATypeThatItDoesNotHave) {
  auto n = make();
  tell(n, order(5, "teleport"));
  ASSERT_EQ(log->reports.size(), 1u);
  EXPECT_TRUE(log->reports[0].ended);
  EXPECT_EQ(log->reports[0].cause, end_cause::bad_options);
}

TEST_F(Node, NamesItsRunsInEachBeatAndADoubledOrderStartsNothing) {
  auto n = make();
  advance(1s);
  tell(n, order(5));
  tell(n, order(5));
  tell(n, order(4));
  advance(1s);
  ASSERT_EQ(log->last_beat.size(), 1u);
  EXPECT_EQ(log->last_beat[0], 5u);
  auto report = ask<actor_report>(n, ask_status{});
  EXPECT_EQ(report.children.size(), 1u);
}

TEST_F(Node, EndsWhatIsNotRenewed) {
  auto n = make();
  advance(1s);
  tell(n, order(5));
  script->renew = [](const std::vector<lease_epoch>&) { return std::vector<lease_epoch>{}; };
  // The pipeline's process is real: its end comes from another thread.
  for (int i = 0; i < 200 && (log->reports.empty() || !log->reports.back().ended); ++i) {
    advance(1s);
    std::this_thread::yield();
  }
  ASSERT_FALSE(log->reports.empty());
  EXPECT_TRUE(log->reports.back().ended);
}

TEST_F(Node, EndsWhatNobodyCanFenceOffBeforeSomebodyElseCouldStartIt) {
  node_state s;
  s.last_answer = now();
  for (auto type : {"restream", "hls"}) {
    auto& run = s.runs[task_id{type}];
    run.order.task = task_id{type};
    run.order.type = type;
  }
  EXPECT_TRUE(s.must_end(now() + 3900ms).empty());
  EXPECT_EQ(s.must_end(now() + 4100ms), std::vector{task_id{"restream"}}) << "the lease is 6 s; the origin itself refuses an old HLS writer";
}

TEST_F(Node, ARunWhoseLeaseMayBeOverIsDeadAtOnce) {
  auto n = make();
  advance(1s);
  tell(n, order(5));
  script->silent = true;
  for (int i = 0; i < 6; ++i)
    advance(1s);
  EXPECT_TRUE(ask<actor_report>(n, ask_status{}).children.empty());
  EXPECT_TRUE(log->reports.back().ended);
  EXPECT_EQ(log->reports.back().cause, end_cause::lease_lost);
  tell(n, order(6));
  EXPECT_EQ(log->reports.back().cause, end_cause::requested) << "nor is another one started while it is so";
}

TEST_F(Node, TellsANewCoordinatorWhatRunsHere) {
  auto n = make();
  advance(1s);
  tell(n, order(5));
  EXPECT_TRUE(log->joined_with.empty());
  script->silent = true;
  advance(2s);
  script->silent = false;
  advance(4s); // a question to join that nobody answers is given up after two
  ASSERT_EQ(log->joins, 2u);
  ASSERT_EQ(log->joined_with.size(), 1u);
  EXPECT_EQ(log->joined_with[0].task, task_id{"t1"});
  EXPECT_EQ(log->joined_with[0].epoch, 5u);
}

TEST_F(Node, TheSameOrderAgainOnlyNamesWhoWantsToHear) {
  auto n = make();
  tell(n, order(5));
  auto other = std::make_shared<heard>();
  auto again = order(5);
  again.teller = spawn(stand_in_task, other);
  tell(n, again);
  ASSERT_EQ(other->reports.size(), 1u) << "the present state, at once";
  EXPECT_EQ(other->reports[0].epoch, 5u);
  EXPECT_EQ(ask<actor_report>(n, ask_status{}).children.size(), 1u);
}

TEST_F(Node, GoesOnWhileMoreThanHalfOfAllNodesMissTheCoordinator) {
  node_state s;
  s.setup.spec.name = node_name{"n1"};
  s.last_answer = now();
  s.runs[task_id{"t"}].order.type = "restream";
  for (auto* name : {"boss", "n1", "n2", "n3"})
    s.roster.nodes.push_back({node_name{name}, "http://x"});
  EXPECT_FALSE(s.misses_the_coordinator(now() + 2s));
  EXPECT_TRUE(s.misses_the_coordinator(now() + 3s));
  const auto round = s.begin_round(now() + 3s);
  EXPECT_FALSE(s.must_ask_others(now() + 3400ms));
  EXPECT_TRUE(s.must_ask_others(now() + 3500ms));
  EXPECT_FALSE(s.take(witness_answer{round, true})) << "two of four is a tie, which the coordinator's side wins";
  EXPECT_FALSE(s.take(witness_answer{round, false})) << "it still hears the coordinator: we are cut off";
  const auto later = s.begin_round(now() + 3500ms);
  EXPECT_FALSE(s.take(witness_answer{later, true})) << "each round is counted alone";
  EXPECT_FALSE(s.take(witness_answer{later + 1, true})) << "of no round";
  EXPECT_EQ(s.must_end(now() + 4100ms).size(), 1u);
  EXPECT_TRUE(s.take(witness_answer{round, true})) << "it came after the next round had begun";
  EXPECT_TRUE(s.must_end(now() + 4100ms).empty());
  EXPECT_TRUE(s.must_end(now() + 6900ms).empty()) << "counted from the beginning of the round";
  EXPECT_EQ(s.must_end(now() + 7100ms).size(), 1u);
}

TEST_F(Node, TellsOnlyNodesOfItsClusterWhetherItMissesTheCoordinator) {
  script->roster = {.version = 3, .token = "cluster-token", .nodes = {}};
  auto n = make();
  advance(1s);
  std::vector<expected<bool>> answers;
  auto question = [&](std::string token, std::string whom = "n1") {
    tell(n, witness_question{std::move(token), std::move(whom), [&](expected<bool> a) { answers.push_back(std::move(a)); }});
    return answers.back();
  };
  EXPECT_EQ(question("").error().code, error_code::unauthorized);
  EXPECT_EQ(question("guessed").error().code, error_code::unauthorized);
  EXPECT_FALSE(question("cluster-token").value());
  script->silent = true;
  advance(4s);
  EXPECT_TRUE(question("cluster-token").value());
  EXPECT_EQ(question("cluster-token", "n2").error().code, error_code::not_found) << "n2 says that it is at our address: our own silence must not count for it";
}

// Who asks was answered a second before us: its lease would be over half a second after we say "yes" at last, and its next round may begin then only.
TEST_F(Node, KeepsAQuestionUntilItMissesTheCoordinatorItself) {
  script->roster = {.version = 3, .token = "cluster-token", .nodes = {}};
  auto n = make();
  advance(1s);
  std::vector<bool> answers;
  auto question = [&] { tell(n, witness_question{"cluster-token", "n1", [&](expected<bool> a) { answers.push_back(a.value()); }}); };
  question();
  ASSERT_EQ(answers, std::vector{false}) << "at once";
  answers.clear();
  script->silent = true;
  int waited = 0; // in steps of a tenth of a second, until a question is kept
  for (; answers.size() == static_cast<std::size_t>(waited) && waited < 40; ++waited) {
    advance(100ms);
    question();
  }
  ASSERT_EQ(answers, std::vector<bool>(waited - 1, false));
  answers.clear();
  advance(300ms);
  EXPECT_TRUE(answers.empty()) << "neither yes nor no is known";
  advance(300ms);
  EXPECT_EQ(answers, std::vector{true});
  script->silent = false;
  advance(2s);
  answers.clear();
  question();
  EXPECT_EQ(answers, std::vector{false});
}

TEST_F(Node, AKeptQuestionIsAnsweredNoWhenTheCoordinatorComesBack) {
  node_state s;
  s.last_answer = now();
  EXPECT_EQ(s.holds_question(now() + 1900ms), 0ms) << "long before";
  EXPECT_GT(s.holds_question(now() + 2100ms), 400ms);
  EXPECT_EQ(s.holds_question(now() + 2600ms), 0ms) << "it misses it";
  s.last_answer = now() + 2200ms;
  EXPECT_EQ(s.holds_question(now() + 2600ms), 0ms);
  EXPECT_FALSE(s.misses_the_coordinator(now() + 2600ms));
}

// cluster.md, L18: at most 1 kB at rest.
TEST_F(Node, AsksForFiftyLeasesInLessThanAKilobyte) {
  node_state s;
  s.setup.spec.name = node_name{"worker-with-a-long-name-17"};
  s.setup.spec.instance = std::string(36, 'i');
  s.load.memory_total = s.load.memory_used = byte_size{1ll << 40};
  for (lease_epoch n = 0; n < 50; ++n) {
    auto& run = s.runs[task_id{fmt::format("ee407ffb-3637-463c-9529-9bd6ed87e{:03}", n)}];
    run.order.epoch = 1'795'834'208 + n;
  }
  std::vector<char> bytes;
  caf::binary_serializer out{system, bytes};
  ASSERT_TRUE(!out(s.make_beat()));
  RecordProperty("bytes", std::to_string(bytes.size()));
  EXPECT_LE(bytes.size(), 1024u);
  EXPECT_GE(bytes.size(), 50u * sizeof(lease_epoch));
}

TEST_F(Node, CountsItsLeaseFromWhenItAskedForIt) {
  node_state s;
  s.last_answer = now();
  s.runs[task_id{"t"}].order.type = "restream";
  s.runs[task_id{"t"}].order.epoch = 7;
  beat asked;
  asked.leases = {7};
  // The process stood still with the answer in its mailbox: by now the lease may be somebody else's.
  EXPECT_TRUE(s.take(asked, beat_answer{true, asked.leases}, now()).empty());
  EXPECT_EQ(s.must_end(now() + 4100ms).size(), 1u);
  EXPECT_TRUE(s.take(asked, beat_answer{true, asked.leases}, now() + 4s).empty());
  EXPECT_TRUE(s.must_end(now() + 7900ms).empty());
  s.woke(3s);
  EXPECT_EQ(s.must_end(now() + 5100ms).size(), 1u) << "the machine slept for 3 s";
}

TEST_F(Node, FollowsNoOrderWhoseLeaseIsOver) {
  node_state s;
  s.last_answer = now();
  auto wish = order(5).order;
  EXPECT_EQ(s.refuses(wish, now() + 3s), "");
  EXPECT_NE(s.refuses(wish, now() + 4100ms), "") << "it waited in the mailbox of a node that hung";
  wish.type = "hls";
  EXPECT_EQ(s.refuses(wish, now() + 4100ms), "") << "the origin refuses it if it is too old";
  auto n = make();
  advance(1s);
  tell(n, revoke{task_id{"t1"}, 6}); // overtook its order
  tell(n, order(6));
  ASSERT_EQ(log->reports.size(), 1u);
  EXPECT_TRUE(log->reports[0].ended);
  EXPECT_EQ(log->reports[0].cause, end_cause::requested);
  tell(n, order(7));
  advance(1s);
  ASSERT_EQ(log->last_beat.size(), 1u);
  EXPECT_EQ(log->last_beat[0], 7u);
  for (int i = 0; i < 1500; ++i)
    s.remember_revoked({task_id{std::to_string(i)}, 1});
  EXPECT_LE(s.revoked.size(), 1000u);
}

TEST_F(Node, SaysThatItLeavesWhenNothingRunsAnyMore) {
  auto n = make();
  advance(1s);
  tell(n, stop{});
  EXPECT_EQ(log->left, std::vector{node_name{"n1"}});
}

} // namespace
} // namespace weir::testing
