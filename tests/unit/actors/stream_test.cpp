#include "actors/stream.hpp"
#include "tests/unit/actors/cast.hpp"
#include "tests/unit/actors/virtual_time.hpp"

#include <random>

namespace weir::testing {
namespace {

using namespace std::chrono_literals;

publisher who(std::string client, std::string service = "s1", std::string server = "srv") {
  return {.server = std::move(server), .service_id = std::move(service), .client_id = std::move(client), .address = "10.0.0.1", .since = {}};
}

class Stream : public virtual_time {
public:
  heard_ptr log = std::make_shared<heard>();
  std::shared_ptr<coordinator_script> script = std::make_shared<coordinator_script>();
  coordinator_actor boss = spawn(stand_in_coordinator, log, script);

  stream_actor make(std::vector<publisher> known = {}) {
    stream_status status;
    status.spec.id = stream_id{"x"};
    status.spec.name = "conf";
    status.publishers = std::move(known);
    return spawn(stream, status, std::chrono::milliseconds(30s), boss);
  }
  const stream_status& status() const { return log->stream_news_.back().status; }
};

TEST_F(Stream, GoesLiveEndingAndOffline) {
  auto s = make();
  EXPECT_EQ(status().phase, stream_phase::offline);
  tell(s, published{who("1")});
  EXPECT_EQ(status().phase, stream_phase::live);
  EXPECT_EQ(status().input_server, "srv");
  tell(s, unpublished{"srv", "s1", "1", "unpublish"});
  EXPECT_EQ(status().phase, stream_phase::ending);
  advance(29s);
  EXPECT_EQ(status().phase, stream_phase::ending);
  advance(2s);
  EXPECT_EQ(status().phase, stream_phase::offline);
}

TEST_F(Stream, AReconnectWithinTheGraceDoesNotEndTheBroadcast) {
  auto s = make();
  tell(s, published{who("1")});
  tell(s, unpublished{"srv", "s1", "1", "close"});
  advance(20s);
  tell(s, published{who("2")});
  advance(20s); // the first leaving's timer fires meanwhile
  EXPECT_EQ(status().phase, stream_phase::live);
}

TEST_F(Stream, BelievesWhatRunsWhenItsOwnRecordsSayNothing) { // restored from a backup
  auto s = make();
  tell(s, publication_found{"srv/s1/7"});
  EXPECT_EQ(status().phase, stream_phase::ending) << "its publisher will be told of, or not";
  EXPECT_EQ(status().publication, "srv/s1/7");
  advance(10s);
  tell(s, reconcile{"srv", "s1", {who("7")}});
  EXPECT_EQ(status().phase, stream_phase::live);
  EXPECT_EQ(status().publication, "srv/s1/7") << "the same time line: nothing is restarted";
  tell(s, publication_found{"srv/s0/1"});
  EXPECT_EQ(status().publication, "srv/s1/7") << "what its server says counts more";
  auto nobody = make();
  tell(nobody, publication_found{"srv/s1/8"});
  advance(31s);
  EXPECT_EQ(status().phase, stream_phase::offline);
}

TEST_F(Stream, SaysWhatEndedItsLastPublisher) {
  auto s = make();
  tell(s, published{who("1")});
  tell(s, unpublished{"srv", "s1", "1", "kicked"});
  EXPECT_EQ(log->stream_news_.back().left_because, "kicked");
}

TEST_F(Stream, DoubledHooksChangeNothing) {
  auto s = make();
  tell(s, published{who("1")});
  tell(s, published{who("1")});
  EXPECT_EQ(status().publishers.size(), 1u);
  tell(s, published{who("2", "s1", "other")});
  tell(s, unpublished{"srv", "s1", "1", "unpublish"});
  tell(s, unpublished{"srv", "s1", "1", "unpublish"});
  EXPECT_EQ(status().phase, stream_phase::live) << "the second server still has it";
  EXPECT_EQ(status().publishers.size(), 1u);
}

TEST_F(Stream, AServersRestartTakesItsOldPublishersAway) {
  auto s = make();
  tell(s, published{who("1", "s1")});
  tell(s, published{who("1", "s2")});
  ASSERT_EQ(status().publishers.size(), 1u);
  EXPECT_EQ(status().publishers[0].service_id, "s2");
}

TEST_F(Stream, ALostUnpublishIsRepairedByTheServersList) {
  auto s = make();
  tell(s, published{who("1")});
  tell(s, reconcile{"srv", "s1", {}});
  EXPECT_EQ(status().phase, stream_phase::live) << "one sweep may be older than the hook";
  tell(s, reconcile{"srv", "s1", {}});
  EXPECT_EQ(status().phase, stream_phase::ending);
}

TEST_F(Stream, ALostPublishIsRepairedByTheServersList) {
  auto s = make();
  tell(s, reconcile{"srv", "s1", {who("4")}});
  EXPECT_EQ(status().phase, stream_phase::live);
}

TEST_F(Stream, AListWithoutAddressesLeavesThoseThatHooksTold) { // SRS's list has none
  auto s = make();
  auto nameless = who("1");
  nameless.address.clear();
  tell(s, published{who("1")});
  tell(s, reconcile{"srv", "s1", {nameless}});
  ASSERT_EQ(status().publishers.size(), 1u);
  EXPECT_EQ(status().publishers[0].address, "10.0.0.1");
  // The other way round: the hook comes late.
  nameless.client_id = "2";
  tell(s, reconcile{"srv", "s1", {who("1"), nameless}});
  ASSERT_EQ(status().publishers.size(), 2u);
  EXPECT_EQ(status().publishers[1].address, "");
  auto told = log->stream_news_.size();
  tell(s, published{who("2")});
  ASSERT_EQ(status().publishers.size(), 2u);
  EXPECT_EQ(status().publishers[1].address, "10.0.0.1");
  EXPECT_EQ(log->stream_news_.size(), told + 1) << "it is news";
}

TEST_F(Stream, KnownPublishersCountAsLiveAfterARestart) {
  make({who("9")});
  EXPECT_EQ(status().phase, stream_phase::live);
}

TEST_F(Stream, RestartsADeadTaskActor) {
  auto s = make();
  task_spec spec;
  spec.id = task_id{"t"};
  spec.type = "hls";
  tell(s, use_task_spec{spec});
  auto before = ask<actor_report>(s, ask_status{});
  ASSERT_EQ(before.children.size(), 1u);
  self->send_exit(before.children[0], caf::exit_reason::unhandled_exception);
  settle();
  advance(1s);
  auto after = ask<actor_report>(s, ask_status{});
  ASSERT_EQ(after.children.size(), 1u);
  EXPECT_NE(after.children[0], before.children[0]);
  EXPECT_EQ(after.restarts, 1u);
}

// The truth is a set: whatever hooks are lost, doubled or swapped, two sweeps of the server's list make it right.
TEST(StreamState, SweepsMakeAnyHistoryOfHooksRight) {
  for (unsigned seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    stream_state s;
    std::vector<publisher> truth;
    std::vector<std::pair<bool, publisher>> wire; // true: publish
    for (int step = 0; step < 60; ++step) {
      if (random() % 2 == 0 || truth.empty()) {
        truth.push_back(who(std::to_string(step)));
        wire.emplace_back(true, truth.back());
      } else {
        wire.emplace_back(false, truth.front());
        truth.erase(truth.begin());
      }
    }
    std::vector<std::pair<bool, publisher>> arrived;
    for (auto& w : wire) {
      auto luck = random() % 10;
      if (luck == 0)
        continue; // lost
      arrived.push_back(w);
      if (luck == 1)
        arrived.push_back(w); // doubled
      if (luck == 2 && arrived.size() > 1)
        std::swap(arrived[arrived.size() - 1], arrived[arrived.size() - 2]); // swapped
    }
    for (auto& [in, p] : arrived)
      in ? s.take(p) : s.take(unpublished{p.server, p.service_id, p.client_id, "hook"});
    for (int sweep = 0; sweep < 2; ++sweep)
      s.take(reconcile{"srv", "s1", truth});
    ASSERT_EQ(s.status.publishers.size(), truth.size()) << "seed " << seed;
    s.settle();
    EXPECT_EQ(s.status.phase == stream_phase::live, !truth.empty()) << "seed " << seed;
  }
}

TEST_F(Stream, GoesOnWithTheSameTimeLineOnAnotherServer) {
  stream_state s;
  ASSERT_TRUE(s.take(who("1", "s1", "left")));
  s.settle();
  auto line = s.wish().publication;
  EXPECT_EQ(s.wish().servers, std::vector<std::string>{"left"});
  ASSERT_TRUE(s.take(who("1", "x1", "right")));
  s.settle();
  EXPECT_EQ(s.wish().servers, (std::vector<std::string>{"left", "right"}));
  ASSERT_TRUE(s.take(unpublished{"left", "s1", "1", "its server died"}));
  s.settle();
  EXPECT_EQ(s.wish().servers, std::vector<std::string>{"right"});
  EXPECT_EQ(s.wish().publication, line) << "nothing that runs is started anew";
  // Over a restart of the coordinator too.
  stream_state after;
  after.status = s.status;
  after.status.phase = stream_phase::offline;
  after.resume();
  after.settle();
  EXPECT_EQ(after.wish().publication, line);
  // An encoder that comes back on the same server is another time line.
  ASSERT_TRUE(s.take(who("2", "x1", "right")));
  ASSERT_TRUE(s.take(unpublished{"right", "x1", "1", "close"}));
  s.settle();
  EXPECT_NE(s.wish().publication, line);
}

TEST_F(Stream, PrefersAServerThatIsHeard) {
  stream_state s;
  s.take(who("1", "s1", "left"));
  s.settle();
  EXPECT_FALSE(s.take(server_silent{"right", true})) << "it has nothing of this stream";
  s.take(who("1", "x1", "right"));
  s.settle();
  EXPECT_EQ(s.wish().servers.front(), "left") << "the other one is silent";
  EXPECT_TRUE(s.take(server_silent{"right", false}));
  EXPECT_TRUE(s.take(server_silent{"left", true}));
  s.settle();
  EXPECT_EQ(s.wish().servers, (std::vector<std::string>{"right", "left"}));
  EXPECT_TRUE(s.take(server_silent{"right", true}));
  s.settle();
  EXPECT_EQ(s.wish().servers.front(), "right") << "no reason to go back and forth";
}

TEST_F(Stream, TheGraceBeginsAgainWhenTheCoordinatorWasRestartedWithinIt) { // found by chaos: viewers saw the end
  stream_status kept;
  kept.spec.id = stream_id{"x"};
  kept.spec.name = "conf";
  kept.publication = "srv/s1/1"; // of a publisher that had left
  auto s = spawn(stream, kept, std::chrono::milliseconds(30s), boss);
  EXPECT_EQ(status().phase, stream_phase::ending);
  tell(s, published{who("2")});
  EXPECT_EQ(status().phase, stream_phase::live);
  tell(s, unpublished{"srv", "s1", "2", "close"});
  advance(31s);
  EXPECT_EQ(status().phase, stream_phase::offline);
  EXPECT_TRUE(status().publication.empty());
}

} // namespace
} // namespace weir::testing
