#include "actors/task.hpp"
#include "tests/unit/actors/cast.hpp"
#include "tests/unit/actors/virtual_time.hpp"

namespace weir::testing {
namespace {

using namespace std::chrono_literals;

class Task : public virtual_time {
public:
  heard_ptr log = std::make_shared<heard>();
  std::shared_ptr<coordinator_script> script = std::make_shared<coordinator_script>();
  coordinator_actor boss = spawn(stand_in_coordinator, log, script);
  stream_actor parent = spawn(stand_in_stream, log);
  node_actor worker = spawn(stand_in_node, log);
  lease_epoch epoch = 100;

  Task() {
    script->place = [this](const place_task& wish) -> expected<placement> {
      placement p;
      p.order.task = wish.task;
      p.order.type = "hls";
      p.order.options = "{}";
      p.order.publication = wish.publication;
      p.order.epoch = ++epoch;
      p.node = node_name{"n1"};
      p.where = worker;
      return p;
    };
  }
  static task_spec spec() {
    task_spec s;
    s.id = task_id{"t1"};
    s.type = "hls";
    s.options = "{}";
    return s;
  }
  static task_wish wish(std::string publication = "srv/1/7") { return {.wanted = true, .reason = {}, .servers = {"srv"}, .publication = std::move(publication)}; }
  static task_wish no_wish() { return {.wanted = false, .reason = "the stream is offline", .servers = {}, .publication = {}}; }
  task_report report(task_phase phase, bool ended = false, end_cause cause = end_cause::none) const {
    return {.task = task_id{"t1"}, .epoch = epoch, .phase = phase, .attempts = 1, .cause = cause, .text = cause == end_cause::none ? "" : "why", .progress = {}, .log_tail = {}, .ended = ended};
  }
  /// The lease that was assigned first, as whoever asks for its place again gets it.
  placement first_again(const char* node = "n1") const {
    placement p;
    p.order = log->assigned[0].order;
    p.node = node_name{node};
    p.where = worker;
    return p;
  }
  const task_status& status() const { return log->task_news_.back().status; }
};

TEST_F(Task, IsPlacedOnceWhenItsStreamGoesLive) {
  auto t = spawn(task, spec(), parent, boss);
  EXPECT_EQ(status().phase, task_phase::waiting);
  tell(t, wish());
  ASSERT_EQ(log->assigned.size(), 1u);
  EXPECT_EQ(log->assigned[0].order.epoch, 101u);
  EXPECT_EQ(status().phase, task_phase::placed);
  tell(t, report(task_phase::running));
  EXPECT_EQ(status().phase, task_phase::running);
  advance(60s);
  EXPECT_EQ(log->asked_for_place.size(), 1u);
}

TEST_F(Task, AsksAgainWithPatienceWhileNoNodeOffersIt) {
  auto good = script->place;
  script->place = [](const place_task&) -> expected<placement> { return fail(error_code::unavailable, "no node offers hls"); };
  auto t = spawn(task, spec(), parent, boss);
  tell(t, wish());
  EXPECT_EQ(status().phase, task_phase::waiting);
  EXPECT_EQ(status().reason, "no node offers hls");
  advance(60s);
  auto asked = log->asked_for_place.size();
  EXPECT_GE(asked, 10u);
  EXPECT_LE(asked, 25u);
  script->place = good;
  advance(5s);
  EXPECT_EQ(log->assigned.size(), 1u);
}

TEST_F(Task, StopsItsRunWhenItIsNoLongerWantedAndReleasesTheLeaseOnlyThen) {
  auto t = spawn(task, spec(), parent, boss);
  tell(t, wish());
  tell(t, report(task_phase::running));
  tell(t, no_wish());
  ASSERT_EQ(log->revoked.size(), 1u);
  EXPECT_EQ(log->revoked[0].epoch, 101u);
  EXPECT_EQ(status().phase, task_phase::stopping);
  EXPECT_TRUE(log->released.empty());
  tell(t, report(task_phase::done, true, end_cause::requested));
  ASSERT_EQ(log->released.size(), 1u);
  EXPECT_EQ(status().phase, task_phase::waiting);
  EXPECT_EQ(status().reason, "the stream is offline");
}

TEST_F(Task, StartsTheSuccessorOnlyAfterTheOldRunHasEnded) {
  auto t = spawn(task, spec(), parent, boss);
  tell(t, wish());
  tell(t, report(task_phase::running));
  tell(t, wish("srv/1/8")); // the encoder came back as another publication
  ASSERT_EQ(log->revoked.size(), 1u);
  advance(10s);
  EXPECT_EQ(log->assigned.size(), 1u) << "two runs of one task at a time";
  tell(t, report(task_phase::done, true, end_cause::requested));
  ASSERT_EQ(log->assigned.size(), 2u);
  EXPECT_EQ(log->assigned[1].order.publication, "srv/1/8");
  EXPECT_GT(log->assigned[1].order.epoch, log->assigned[0].order.epoch);
}

TEST_F(Task, ANewNameOrCommentRestartsNothing) {
  auto t = spawn(task, spec(), parent, boss);
  tell(t, wish());
  tell(t, report(task_phase::running));
  auto renamed = spec();
  renamed.name = "main ladder";
  renamed.comment = "do not touch";
  tell(t, use_task_spec{renamed});
  advance(10s);
  EXPECT_TRUE(log->revoked.empty());
  EXPECT_EQ(log->assigned.size(), 1u);
  EXPECT_EQ(status().spec.name, "main ladder");
}

TEST_F(Task, NewOptionsRestartIt) {
  auto t = spawn(task, spec(), parent, boss);
  tell(t, wish());
  auto changed = spec();
  changed.options = R"({"ladder":"low"})";
  tell(t, use_task_spec{changed});
  EXPECT_EQ(log->revoked.size(), 1u);
}

TEST_F(Task, ADisabledTaskStopsAndComesBackWhenEnabled) {
  auto t = spawn(task, spec(), parent, boss);
  tell(t, wish());
  auto off = spec();
  off.enabled = false;
  tell(t, use_task_spec{off});
  EXPECT_EQ(log->revoked.size(), 1u);
  tell(t, report(task_phase::done, true, end_cause::requested));
  EXPECT_EQ(status().reason, "the task is disabled");
  advance(30s);
  EXPECT_EQ(log->assigned.size(), 1u);
  tell(t, use_task_spec{spec()});
  EXPECT_EQ(log->assigned.size(), 2u);
}

TEST_F(Task, BadOptionsAreNotTriedAgainUntilSomebodyActs) {
  auto t = spawn(task, spec(), parent, boss);
  tell(t, wish());
  tell(t, report(task_phase::failed, true, end_cause::bad_options));
  advance(10min);
  EXPECT_EQ(log->assigned.size(), 1u);
  EXPECT_EQ(status().phase, task_phase::failed);
  tell(t, retry_task{task_id{"t1"}, "test"});
  advance(1s);
  EXPECT_EQ(log->assigned.size(), 2u);
}

TEST_F(Task, ALostLeaseIsReplacedElsewhere) {
  auto t = spawn(task, spec(), parent, boss);
  tell(t, wish());
  tell(t, report(task_phase::running));
  tell(t, lease_over{task_id{"t1"}, 101, "its node is down"});
  advance(1s);
  ASSERT_EQ(log->asked_for_place.size(), 2u);
  EXPECT_EQ(log->asked_for_place[1].avoid, node_name{"n1"});
  EXPECT_EQ(status().last_cause, end_cause::lease_lost);
}

TEST_F(Task, ReportsOfAnOldEpochMeanNothing) {
  auto t = spawn(task, spec(), parent, boss);
  tell(t, wish());
  auto old = report(task_phase::done, true, end_cause::crashed);
  old.epoch = 5;
  tell(t, old);
  EXPECT_EQ(status().phase, task_phase::placed);
  EXPECT_TRUE(log->released.empty());
}

TEST_F(Task, APlaceThatComesTooLateIsGivenBack) {
  auto t = spawn(task, spec(), parent, boss);
  // The wish ends while the coordinator still decides: both messages are in the mailbox before the answer.
  caf::anon_send(t, wish());
  caf::anon_send(t, no_wish());
  settle();
  EXPECT_TRUE(log->assigned.empty());
  EXPECT_EQ(log->released.size(), log->asked_for_place.size());
}

// A stream that two servers begin to publish within a moment: the second question is answered with what the first one got and gave back.
TEST_F(Task, DoesNotRunUnderALeaseThatItHasGivenBack) {
  std::optional<placement> in_force;
  auto grant = script->place;
  script->place = [&](const place_task& asked) -> expected<placement> {
    if (in_force) {
      auto same = *std::exchange(in_force, std::nullopt);
      same.in_force = true;
      return same;
    }
    return *(in_force = *grant(asked));
  };
  auto t = spawn(task, spec(), parent, boss);
  // Both wishes are in its mailbox before the first question is answered.
  caf::anon_send(t, wish("srv/1/7"));
  scheduler.run_once();
  scheduler.run_once();
  caf::anon_send(t, wish("srv/1/8"));
  settle();
  advance(1s);
  ASSERT_FALSE(log->released.empty());
  for (auto& gone : log->released)
    for (auto& run : log->assigned)
      EXPECT_NE(run.order.epoch, gone.epoch) << "given back and used";
  EXPECT_EQ(log->assigned.size(), 1u);
}

TEST_F(Task, TakesUpItsRunAgainWhenItsNodeComesBack) {
  auto t = spawn(task, spec(), parent, boss);
  tell(t, wish());
  tell(t, report(task_phase::running));
  tell(t, node_back{node_name{"elsewhere"}});
  EXPECT_EQ(log->assigned.size(), 1u);
  script->place = [held = script->place, this](const place_task& wish) { // the coordinator gives out the lease that is in force
    --epoch;
    return held(wish);
  };
  tell(t, node_back{node_name{"n1"}});
  ASSERT_EQ(log->assigned.size(), 2u);
  EXPECT_EQ(log->assigned[1].order.epoch, 101u);
  EXPECT_TRUE(log->revoked.empty());
  EXPECT_TRUE(log->released.empty());
  EXPECT_EQ(status().phase, task_phase::running);
  // An order to end that went to the dead connection is given again.
  tell(t, no_wish());
  EXPECT_EQ(log->revoked.size(), 1u);
  tell(t, node_back{node_name{"n1"}});
  EXPECT_EQ(log->revoked.size(), 2u);
}

TEST_F(Task, TakesUpWhatRunsAlreadyThoughItWantsSomethingElseByNow) {
  auto t = spawn(task, spec(), parent, boss);
  script->place = [held = script->place](const place_task& wish) -> expected<placement> {
    auto p = held(wish);
    p->in_force = true; // it runs since before we were started
    return p;
  };
  caf::anon_send(t, wish());
  auto both = wish();
  both.servers.push_back("other"); // its stream is on a second server now: the answer is to an earlier wish
  caf::anon_send(t, both);
  settle();
  ASSERT_GE(log->assigned.size(), 1u);
  EXPECT_TRUE(log->released.empty()) << "given back, it would end, and perhaps start elsewhere while it still runs";
  EXPECT_TRUE(log->revoked.empty());
}

TEST_F(Task, AsksForAPlaceAtOnceWhenTheLeaseIsOverThatStoodInItsWay) {
  auto good = script->place;
  script->place = [](const place_task&) -> expected<placement> { return fail(error_code::conflict, "node n1 held it: it has time to say whether it goes on"); };
  auto t = spawn(task, spec(), parent, boss);
  tell(t, wish());
  advance(30s);
  script->place = good;
  tell(t, lease_over{task_id{"t1"}, 5, "its node is down"}); // which we never had
  EXPECT_EQ(log->assigned.size(), 1u);
}

TEST_F(Task, AnEndThatNobodyAskedForIsNoTightLoop) {
  auto t = spawn(task, spec(), parent, boss);
  tell(t, wish());
  for (int i = 0; i < 5; ++i) {
    tell(t, report(task_phase::waiting, true, end_cause::crashed));
    settle();
  }
  EXPECT_LE(log->assigned.size(), 2u);
}

class TaskWithStandby : public Task {
public:
  static task_spec spec() {
    auto s = Task::spec();
    s.options = R"({"ladder":"default","profile":"standard","standby":true})";
    return s;
  }
  task_actor t = started();
  task_actor started() {
    script->place = [this](const place_task& wish) -> expected<placement> {
      placement p;
      p.order.task = wish.task;
      p.order.type = "hls";
      p.order.options = spec().options;
      p.order.publication = wish.publication;
      p.order.epoch = ++epoch;
      p.order.standby = log->assigned.size() % 2 == 1;
      p.node = node_name{fmt::format("n{}", epoch)};
      p.where = worker;
      return p;
    };
    auto made = spawn(task, spec(), parent, boss);
    tell(made, wish());
    return made;
  }
  task_report report_of(lease_epoch of, task_phase phase, bool ended = false, end_cause cause = end_cause::none) const {
    auto r = report(phase, ended, cause);
    r.epoch = of;
    return r;
  }
};

TEST_F(TaskWithStandby, HasASecondRunInAnotherSeat) {
  ASSERT_EQ(log->assigned.size(), 2u);
  EXPECT_EQ(log->assigned[0].order.task, task_id{"t1"});
  EXPECT_EQ(log->assigned[1].order.task, standby_seat(task_id{"t1"}));
  tell(t, report_of(101, task_phase::running));
  tell(t, report_of(102, task_phase::running));
  EXPECT_EQ(status().node, node_name{"n101"});
  EXPECT_EQ(status().standby_node, node_name{"n102"});
  EXPECT_EQ(status().standby_phase, task_phase::running);
}

TEST_F(TaskWithStandby, TheStandbyGoesOnAndGetsAStandbyOfItsOwn) {
  tell(t, report_of(101, task_phase::running));
  tell(t, report_of(102, task_phase::running));
  tell(t, lease_over{task_id{"t1"}, 101, "its node is down"});
  EXPECT_EQ(status().phase, task_phase::running) << "nothing is waited for";
  EXPECT_EQ(status().node, node_name{"n102"});
  EXPECT_EQ(status().epoch, 102u);
  advance(1s);
  ASSERT_EQ(log->assigned.size(), 3u);
  EXPECT_EQ(log->assigned[2].order.task, task_id{"t1"}) << "the seat that is free now";
  EXPECT_TRUE(log->revoked.empty());
  // A run that was fenced because the origin went over to the standby.
  tell(t, report_of(103, task_phase::running));
  tell(t, report_of(102, task_phase::waiting, true, end_cause::fenced));
  EXPECT_EQ(status().node, node_name{"n103"});
  ASSERT_EQ(log->released.size(), 1u);
  EXPECT_EQ(log->released[0].task, standby_seat(task_id{"t1"}));
}

TEST_F(TaskWithStandby, AStandbyThatEndsIsReplacedWithoutAWordToTheRun) {
  tell(t, report_of(101, task_phase::running));
  tell(t, report_of(102, task_phase::waiting, true, end_cause::crashed));
  advance(10s);
  ASSERT_EQ(log->assigned.size(), 3u);
  EXPECT_EQ(status().node, node_name{"n101"});
  EXPECT_TRUE(log->revoked.empty());
}

TEST_F(TaskWithStandby, BothEndWithTheStreamAndTheSecondWithItsOption) {
  auto without = spec();
  without.options = R"({"ladder":"default","profile":"standard","standby":false})";
  tell(t, no_wish());
  ASSERT_EQ(log->revoked.size(), 2u);
  EXPECT_EQ(log->revoked[1].task, standby_seat(task_id{"t1"}));
  tell(t, report_of(101, task_phase::done, true, end_cause::requested));
  tell(t, report_of(102, task_phase::done, true, end_cause::requested));
  advance(30s);
  EXPECT_EQ(log->assigned.size(), 2u);
  EXPECT_EQ(log->released.size(), 2u);
  EXPECT_EQ(status().phase, task_phase::waiting);
}

// A server that is not known, asked for each second, and a standby that is refused, asked for less and less often, must not make each other's questions more.
TEST_F(TaskWithStandby, AsksForWhatItLacksNoOftenerTheLongerItLacksIt) {
  tell(t, lease_over{standby_seat(task_id{"t1"}), 102, "its node is down"});
  tell(t, lease_over{standby_seat(task_id{"t1"}), 103, "its node is down"});
  script->place = [this](const place_task& wish) -> expected<placement> {
    if (wish.task != log->assigned[0].order.task)
      return fail(error_code::conflict, "it has time to say whether it goes on");
    return first_again("n101");
  };
  auto both = wish();
  both.servers = {"srv", "other"};
  tell(t, both);
  tell(t, lease_over{standby_seat(task_id{"t1"}), epoch, "its node is down"});
  advance(20s);
  const auto before = log->asked_for_place.size();
  advance(60s);
  EXPECT_LE(log->asked_for_place.size() - before, 60u + 12u + 2u);
  EXPECT_GE(log->asked_for_place.size() - before, 60u);
}

TEST_F(Task, ANodeThatComesBackAgainAndAgainAddsOneQuestionEach) {
  script->place = [](const place_task&) -> expected<placement> { return fail(error_code::unavailable, "no node offers hls"); };
  auto t = spawn(task, spec(), parent, boss);
  tell(t, wish());
  for (int i = 0; i < 20; ++i) {
    tell(t, node_back{node_name{"n1"}});
    advance(100ms);
  }
  const auto before = log->asked_for_place.size();
  advance(60s);
  EXPECT_LE(log->asked_for_place.size() - before, 14u);
}

TEST_F(Task, LearnsOfAnotherServerWithoutARestart) {
  auto t = spawn(task, spec(), parent, boss);
  tell(t, wish());
  tell(t, report(task_phase::running));
  script->place = [this](const place_task& wish) -> expected<placement> { // the lease in force, read elsewhere
    auto p = first_again();
    p.order.more_inputs = wish.servers;
    return p;
  };
  auto more = wish();
  more.servers = {"srv", "other"};
  tell(t, more);
  ASSERT_EQ(log->assigned.size(), 2u);
  EXPECT_EQ(log->assigned[1].order.epoch, log->assigned[0].order.epoch);
  EXPECT_EQ(log->assigned[1].order.more_inputs, more.servers);
  EXPECT_TRUE(log->revoked.empty());
  EXPECT_EQ(status().phase, task_phase::running);
  advance(10s);
  EXPECT_EQ(log->asked_for_place.size(), 2u);
}

TEST_F(Task, AsksAgainForAServerThatTheCoordinatorDidNotKnowYet) {
  auto t = spawn(task, spec(), parent, boss);
  auto both = wish();
  both.servers = {"srv", "other"};
  tell(t, both);
  ASSERT_EQ(log->assigned.size(), 1u);
  EXPECT_TRUE(log->assigned[0].order.more_inputs.empty()) << "the other server's node has not joined";
  bool joined = false;
  script->place = [this, &joined](const place_task& wish) -> expected<placement> {
    auto p = first_again();
    if (joined)
      p.order.more_inputs = {wish.servers[1]};
    return p;
  };
  advance(5s);
  auto asked = log->asked_for_place.size();
  EXPECT_GE(asked, 4u);
  EXPECT_LE(asked, 8u) << "once a second";
  joined = true;
  advance(2s);
  EXPECT_EQ(log->assigned.back().order.more_inputs, std::vector<std::string>{"other"});
  asked = log->asked_for_place.size();
  advance(10s);
  EXPECT_EQ(log->asked_for_place.size(), asked);
  EXPECT_TRUE(log->revoked.empty());
}

} // namespace
} // namespace weir::testing
