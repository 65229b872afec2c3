#include "actors/coordinator.hpp"
#include "actors/known_keys.hpp"
#include "actors/task_types.hpp"
#include "runtime/base/secret.hpp"
#include "tests/unit/actors/cast.hpp"
#include "tests/unit/actors/virtual_time.hpp"

#include <algorithm>
#include <filesystem>
#include <fmt/format.h>

namespace weir::testing {
namespace {

using namespace std::chrono_literals;
using time_point = coordinator_state::time_point;

/// The COORDINATOR's decisions on a real store, without its actor.
class Coordinator : public virtual_time {
public:
  std::filesystem::path folder = std::filesystem::temp_directory_path() / ("weir-coordinator-" + random_uuid());
  std::unique_ptr<coordinator_state> state = open();
  time_point t0{std::chrono::hours(1000)};
  timestamp wall = std::chrono::system_clock::now();
  heard_ptr log = std::make_shared<heard>();

  ~Coordinator() override {
    state.reset();
    std::filesystem::remove_all(folder);
  }

  std::unique_ptr<coordinator_state> open() {
    auto s = std::make_unique<coordinator_state>();
    auto db = store::store::open(folder);
    if (!db)
      throw std::runtime_error(db.error().text);
    s->setup.store = std::make_shared<store::store>(std::move(*db));
    s->setup.cluster = "test";
    if (auto loaded = s->load(std::chrono::system_clock::now(), time_point{}); !loaded)
      throw std::runtime_error(loaded.error().text);
    return s;
  }
  void reopen() {
    state.reset();
    state = open();
  }

  stream_spec stream(std::string name = "conf", std::string key = "secret-key") {
    add_stream wish;
    wish.spec.name = std::move(name);
    wish.spec.key = std::move(key);
    auto made = state->add(std::move(wish), wall);
    EXPECT_TRUE(made) << made.error().text;
    return made.value_or(stream_spec{});
  }
  task_spec task(const stream_id& of, std::string url = "rtmp://host/live/key") {
    add_task wish;
    wish.spec.stream = of;
    wish.spec.type = "restream";
    wish.spec.options = nlohmann::json{{"url", url}}.dump();
    auto made = state->add(std::move(wish), wall);
    EXPECT_TRUE(made) << made.error().text;
    return made.value_or(task_spec{});
  }
  /// A task that needs an origin, which a node brings.
  task_spec ladder_of(const stream_id& of, std::string origin) {
    state->nodes[node_name{origin}].origins = {{"http://origin", "token"}};
    add_task wish;
    wish.spec.stream = of;
    wish.spec.type = "hls";
    wish.spec.options = "{}";
    auto made = state->add(std::move(wish), wall);
    EXPECT_TRUE(made) << made.error().text;
    return made.value_or(task_spec{});
  }
  void node(std::string name, std::int64_t capacity = 2000) {
    auto& n = state->nodes[node_name{name}];
    n.status.spec.name = node_name{name};
    n.status.spec.instance = name + "-1";
    n.status.spec.task_types = {"hls", "restream"};
    n.status.spec.capacity_milli = capacity;
    n.status.phase = node_phase::ready;
    n.rtmp_servers = {{"srv", "rtmp://127.0.0.1:1935", "rtmp://public"}};
    n.last_beat = t0;
  }
  expected<placement> place(const task_id& id) { return state->place({.task = id, .servers = {"srv"}, .publication = "srv/1/1", .avoid = {}}, t0, wall); }
  std::string last_event() {
    auto events = state->setup.store->read_last_events(1);
    return events && !events->empty() ? events->back().kind + ": " + events->back().text : std::string();
  }
  static hook_call call(hook_kind kind, std::string key = "secret-key", std::string name = "conf") {
    return {.kind = kind, .server = "srv", .service_id = "s1", .client_id = "7", .address = "10.1.1.1", .vhost = {}, .app = "live", .stream = std::move(name), .key = std::move(key)};
  }
};

TEST_F(Coordinator, AcceptsAPublisherOnlyWithTheKeyOfAnEnabledStream) {
  auto spec = stream();
  EXPECT_TRUE(state->judge(call(hook_kind::publish), t0, wall).answer.accept);
  EXPECT_FALSE(state->judge(call(hook_kind::publish, "wrong-key!"), t0, wall).answer.accept);
  EXPECT_FALSE(state->judge(call(hook_kind::publish, ""), t0, wall).answer.accept);
  EXPECT_FALSE(state->judge(call(hook_kind::publish, "secret-key", "other"), t0, wall).answer.accept);
  EXPECT_FALSE(state->judge(call(hook_kind::publish, "secret-ke"), t0, wall).answer.accept);
  spec.enabled = false;
  ASSERT_TRUE(state->set({.spec = spec, .if_revision = 0, .actor = "test"}, wall));
  auto verdict = state->judge(call(hook_kind::publish), t0, wall);
  EXPECT_FALSE(verdict.answer.accept);
  EXPECT_EQ(verdict.answer.reason.find("secret"), std::string::npos);
}

TEST_F(Coordinator, RemembersWhatItsAutoscalerKnowsOfMachines) {
  EXPECT_EQ(state->machines, "");
  store::batch batch;
  batch.put_setting("machines", "machines 1\nmachine live-edge-abcdefghij there 1764331200\n");
  ASSERT_TRUE(state->setup.store->commit(batch, store::durability::synced));
  reopen();
  EXPECT_EQ(state->machines, "machines 1\nmachine live-edge-abcdefghij there 1764331200\n");
}

TEST_F(Coordinator, NeverRefusesConnectionsPlayersAndNotesForNothing) {
  stream();
  EXPECT_TRUE(state->judge(call(hook_kind::connect, "", ""), t0, wall).answer.accept);
  EXPECT_TRUE(state->judge(call(hook_kind::note, "", ""), t0, wall).answer.accept);
  EXPECT_TRUE(state->judge(call(hook_kind::play, ""), t0, wall).answer.accept);
  EXPECT_TRUE(state->judge(call(hook_kind::unpublish, "", "unknown"), t0, wall).answer.accept);
}

TEST_F(Coordinator, AStrangersUnpublishTearsNothingDown) { // predecessor's fault L16
  stream();
  auto verdict = state->judge(call(hook_kind::close, "", ""), t0, wall);
  EXPECT_TRUE(verdict.stream.value.empty());
}

TEST_F(Coordinator, EpochsGrowOverRestartsAndNeverRepeat) {
  auto spec = stream();
  node("n1", 1'000'000);
  lease_epoch last = 0;
  for (int restart = 0; restart < 3; ++restart) {
    for (int i = 0; i < 5; ++i) {
      auto t = task(spec.id);
      auto where = place(t.id);
      ASSERT_TRUE(where) << where.error().text;
      EXPECT_GT(where->order.epoch, last);
      last = where->order.epoch;
    }
    state->nodes.clear();
    reopen();
    node("n1", 1'000'000);
  }
}

TEST_F(Coordinator, OneTaskIsGrantedOnceHoweverOftenItIsClaimed) { // L5: 43 % were granted twice
  auto spec = stream();
  node("n1", 1'000'000);
  node("n2", 1'000'000);
  auto t = task(spec.id);
  int granted = 0;
  for (int i = 0; i < 10'000; ++i)
    granted += place(t.id).has_value();
  EXPECT_EQ(granted, 1);
}

TEST_F(Coordinator, PlacesByTypeCapacityAndShare) {
  auto spec = stream();
  node("small", 1000);
  node("large", 4000);
  std::map<std::string, int> count;
  for (int i = 0; i < 50; ++i) {
    auto where = place(task(spec.id).id);
    ASSERT_TRUE(where) << where.error().text;
    ++count[where->node.value];
  }
  EXPECT_NEAR(count["large"], 40, 3);
  state->nodes[node_name{"large"}].status.phase = node_phase::cordoned;
  state->nodes[node_name{"small"}].status.spec.task_types = {"hls"};
  auto none = place(task(spec.id).id);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().text, "no node can take it: large is cordoned");
}

TEST_F(Coordinator, ANodeThatIsSilentLosesItsLeasesOnlyWhenTheyAreOver) {
  auto spec = stream();
  node("n1", 1'000'000);
  auto where = place(task(spec.id).id);
  ASSERT_TRUE(where);
  EXPECT_TRUE(state->judge_nodes(t0 + 3500ms, wall).empty());
  EXPECT_EQ(state->nodes[node_name{"n1"}].status.phase, node_phase::suspect);
  EXPECT_TRUE(state->judge_nodes(t0 + 6400ms, wall).empty()) << "the node may still run it";
  EXPECT_EQ(state->judge_nodes(t0 + 6600ms, wall).size(), 1u);
  EXPECT_EQ(state->nodes[node_name{"n1"}].status.phase, node_phase::down);
}

TEST_F(Coordinator, ABeatRenewsOnlyWhatIsGrantedToThatNode) {
  auto spec = stream();
  node("n1", 1'000'000);
  auto t = task(spec.id);
  auto where = place(t.id);
  ASSERT_TRUE(where);
  std::vector<lease> lost;
  auto answer = state->take(beat{node_name{"n1"}, "n1-1", {}, {where->order.epoch, 1, 9}}, t0, wall, lost);
  EXPECT_EQ(answer.renewed, std::vector{where->order.epoch});
  EXPECT_TRUE(lost.empty());
  EXPECT_FALSE(state->take(beat{node_name{"n1"}, "another start", {}, {}}, t0, wall, lost).known);
  auto as_of = [](time_point at) { return std::chrono::duration_cast<std::chrono::milliseconds>(at.time_since_epoch()).count(); };
  EXPECT_EQ(answer.as_of, as_of(t0));
  state->take(beat{node_name{"n1"}, "n1-1", {}, {}, 0, as_of(t0 + 1s)}, t0 + 10s, wall, lost);
  EXPECT_TRUE(lost.empty()) << "a beat that waited for nine seconds in our queue says nothing of it";
  state->take(beat{node_name{"n1"}, "n1-1", {}, {}, 0, as_of(t0 + 60s)}, t0 + 10s, wall, lost);
  EXPECT_TRUE(lost.empty()) << "another coordinator's clock";
  state->take(beat{node_name{"n1"}, "n1-1", {}, {}, 0, as_of(t0 + 9s)}, t0 + 10s, wall, lost);
  EXPECT_EQ(lost.size(), 1u) << "the node does not know a lease that is 10 s old";
}

TEST_F(Coordinator, NothingAcknowledgedIsLostByARestart) {
  auto spec = stream("keep");
  auto t = task(spec.id);
  auto changed = t;
  changed.comment = "changed";
  ASSERT_TRUE(state->set({.spec = changed, .if_revision = t.revision, .actor = "test"}, wall));
  auto gone = stream("gone");
  ASSERT_TRUE(state->remove(remove_stream{gone.id, 0, "test"}, wall));
  reopen();
  ASSERT_EQ(state->streams.size(), 1u);
  EXPECT_EQ(state->streams.begin()->second.spec.key, "secret-key");
  ASSERT_EQ(state->tasks.size(), 1u);
  EXPECT_EQ(state->tasks.begin()->second.spec.comment, "changed");
}

TEST_F(Coordinator, TakesOverWhatRunsWhenItComesBack) { // L10: all 10 were stopped
  node("n1");
  node("n2");
  auto of = stream().id;
  auto kept = *place(task(of, "rtmp://host/live/a").id), lost = *place(task(of, "rtmp://host/live/b").id);
  reopen();
  EXPECT_EQ(place(kept.order.task).error().code, error_code::conflict) << "its node has time to say whether it goes on";
  EXPECT_TRUE(state->judge_nodes(t0 - t0.time_since_epoch() + 6s, wall).empty());
  auto worker = spawn(stand_in_node, log);
  std::vector<lease> over;
  join news;
  news.spec.name = kept.node;
  news.spec.instance = "same process";
  news.node = worker;
  news.runs = {kept.order};
  EXPECT_TRUE(state->take(news, t0, wall, over));
  bool same_node = kept.node == lost.node;
  EXPECT_EQ(over.size(), same_node ? 1u : 0u) << "what it does not name does not run there";
  auto again = place(kept.order.task);
  ASSERT_TRUE(again) << again.error().text;
  EXPECT_EQ(again->order.epoch, kept.order.epoch);
  EXPECT_EQ(again->where, worker);
  over.clear();
  EXPECT_FALSE(state->take(news, t0 + 1s, wall, over)) << "over another connection, but the same";
  EXPECT_TRUE(over.empty());
  if (!same_node) {
    auto silent = state->judge_nodes(time_point{} + 7s, wall);
    ASSERT_EQ(silent.size(), 1u) << "nobody claimed it within the lease";
    EXPECT_EQ(silent[0].task, lost.order.task);
  }
}

TEST_F(Coordinator, LeavesAloneWhatRunsUnderALeaseThatItsStoreDoesNotKnow) { // restored from a backup
  auto of = stream().id;
  auto known = task(of);
  join news;
  news.spec.name = node_name{"n1"};
  news.spec.instance = "i";
  news.node = spawn(stand_in_node, log);
  task_order run;
  run.task = known.id;
  run.type = "restream";
  run.options = known.options;
  run.epoch = state->next_epoch + 100;
  auto removed = run;
  removed.task = task_id{"removed"};
  news.runs = {run, removed};
  std::vector<lease> over;
  state->take(news, t0, wall, over);
  EXPECT_EQ(place(known.id)->order.epoch, run.epoch);
  EXPECT_GT(state->next_epoch, run.epoch);
  EXPECT_FALSE(state->leases.contains(removed.task)) << "not renewed with the next beat";
}

TEST_F(Coordinator, MovesWhatTheOriginFencesAtSuspicionAndTheRestWhenTheLeaseIsOver) {
  node("n1");
  auto of = stream().id;
  auto ladder = ladder_of(of, "n1");
  ASSERT_TRUE(place(ladder.id));
  auto push = *place(task(of).id);
  state->nodes[node_name{"n1"}].actor = spawn(stand_in_node, log);
  EXPECT_TRUE(state->judge_nodes(t0 + 3100ms, wall).empty()) << "there is no other node";
  node("n2");
  state->nodes[node_name{"n1"}].status.phase = node_phase::ready;
  state->nodes[node_name{"n2"}].last_beat = t0 + 3s;
  auto first = state->judge_nodes(t0 + 3200ms, wall);
  ASSERT_EQ(first.size(), 1u);
  EXPECT_EQ(first[0].task, ladder.id);
  state->give_back({ladder.id, first[0].epoch}, wall);
  auto second = state->judge_nodes(t0 + 6600ms, wall);
  ASSERT_GE(second.size(), 1u);
  EXPECT_EQ(second[0].task, push.order.task);
}

TEST_F(Coordinator, HandsOverWhatADrainedNodeRunsOnlyWhenAnotherCanTakeIt) { // L11
  node("n1");
  auto of = stream().id;
  auto ladder = ladder_of(of, "n1");
  auto run = *place(ladder.id);
  state->nodes[node_name{"n1"}].status.phase = state->nodes[node_name{"n1"}].wanted = node_phase::draining;
  EXPECT_TRUE(state->to_drain().empty()) << "it goes on here rather than nowhere";
  node("n2", 1000);
  state->nodes[node_name{"n2"}].status.granted_milli = 500;
  EXPECT_TRUE(state->to_drain().empty()) << "n2 is too full";
  state->nodes[node_name{"n2"}].status.granted_milli = 0;
  ASSERT_EQ(state->to_drain().size(), 1u);
  auto held = state->to_drain()[0];
  state->hand_over(held, t0);
  EXPECT_EQ(place(ladder.id)->node, node_name{"n2"});
  std::vector<lease> lost;
  beat b;
  b.node = node_name{"n1"};
  b.instance = "n1-1";
  b.leases = {held.epoch};
  EXPECT_EQ(state->take(b, t0 + 1s, wall, lost).renewed, b.leases) << "it goes on until its successor delivers";
  auto gone = state->take_outgoing(ladder.id);
  ASSERT_TRUE(gone);
  EXPECT_EQ(gone->second, run.order.epoch);
  EXPECT_TRUE(state->take(b, t0 + 2s, wall, lost).renewed.empty());
}

TEST_F(Coordinator, KeepsTheEdgeTablesThatAnOriginNamesAndStoresNoOthers) {
  auto t = t0;
  auto run = [&](std::chrono::milliseconds d) {
    for (auto until = t + d; t < until; t += 250ms) {
      for (auto name : {"e1", "e2"})
        state->edge_set.observe(edge_name{name}, {.observer = node_name{"n1"}, .view = edge_view::up, .good = 9, .milliseconds = 5, .text = {}}, t);
      state->judge_edges(t, wall);
    }
  };
  auto epochs = [&] {
    std::vector<edge_epoch> all;
    for (auto& table : state->edge_set.history())
      all.push_back(table.epoch);
    return all;
  };
  for (auto name : {"e1", "e2"})
    state->edge_set.add({.name = edge_name{name}, .node = {}, .url = std::string("http://") + name, .capacity_bps = 1'000'000'000}, t);
  run(10s);
  state->drained_edges.insert(edge_name{"e1"});
  run(1s);
  state->drained_edges.clear();
  run(10s);
  const auto all = epochs();
  ASSERT_GE(all.size(), 3u);
  state->named[node_name{"far"}] = {all[1], t};
  state->named[node_name{"near"}] = {all.back(), t};
  t += 5h;
  state->judge_edges(t, wall);
  const std::vector kept(all.begin() + 1, all.end());
  EXPECT_EQ(epochs(), kept) << "an origin names them, whether it is heard at present or not";
  reopen();
  EXPECT_EQ(epochs(), kept) << "no more are stored";
  EXPECT_EQ(state->oldest_named(t), edge_set::no_epoch);
  state->named[node_name{"far"}] = {all[1], t};
  state->named[node_name{"near"}] = {all.back(), t};
  EXPECT_EQ(state->oldest_named(t + 12h), all[1]);
  state->named[node_name{"near"}].heard += 1s;
  EXPECT_EQ(state->oldest_named(t + 12h + 1s), all.back()) << "whatever the other one listed is over";
}

TEST_F(Coordinator, HeedsWhatOriginsListOnlyOnNodesThatItKnows) {
  node("o1");
  state->take(edges_in_use{node_name{"o1"}, 7}, t0);
  state->take(edges_in_use{node_name{"nobody"}, 3}, t0);
  EXPECT_EQ(state->oldest_named(t0), 7u);
  EXPECT_EQ(state->named.size(), 1u) << "strangers take no memory";
  state->nodes[node_name{"o1"}].status.phase = node_phase::left;
  ASSERT_TRUE(state->take(forget_node{.name = node_name{"o1"}, .dead = false, .actor = "test"}, wall));
  state->take(edges_in_use{node_name{"o1"}, 7}, t0); // was on its way
  EXPECT_EQ(state->oldest_named(t0), edge_set::no_epoch) << "or its last word would keep tables for twelve hours";
}

TEST_F(Coordinator, SumsWhatDirectorsAndEdgesSayOfAStreamsAudience) {
  const auto spec = stream();
  node("d1");
  node("d2");
  auto counted = [&](std::uint64_t sessions, std::uint64_t stalls) {
    stream_audience one;
    one.stream = spec.name;
    one.sessions = sessions;
    one.joins = 2;
    one.join_ms = 1500;
    one.stalls = stalls;
    return std::vector{one};
  };
  state->take(audience_news{node_name{"d1"}, counted(10, 1)});
  state->take(audience_news{node_name{"d1"}, counted(12, 1)}); // in all, not since the last word
  state->take(audience_news{node_name{"d2"}, counted(3, 4)});
  state->take(audience_news{node_name{"nobody"}, counted(1000, 1000)});
  for (auto* name : {"e1", "e2"}) {
    edge_spec edge;
    edge.name = edge_name{name};
    edge.url = std::string("http://") + name;
    state->edge_set.add(edge, t0);
    edge_load load;
    load.edge = edge.name;
    load.streams = {{spec.name, 4'000'000, 8, 2, 5}, {"another", 1, 1, 1, 1}};
    ASSERT_TRUE(state->edge_set.take(load, t0));
  }
  const auto seen = state->view(t0);
  ASSERT_EQ(seen.streams.size(), 1u);
  const auto& a = seen.streams[0].audience;
  EXPECT_EQ(a.stream, spec.name);
  EXPECT_EQ(a.sessions, 15u);
  EXPECT_EQ(a.joins, 4u);
  EXPECT_EQ(a.join_ms, 3000u);
  EXPECT_EQ(a.stalls, 5u);
  EXPECT_EQ(a.viewers, 10u);
  EXPECT_EQ(a.bits_per_second, 8'000'000);
  EXPECT_EQ(a.hits, 16u);
  EXPECT_EQ(a.misses, 4u);
  for (auto& e : state->listing(t0).edges)
    EXPECT_TRUE(e.load.streams.empty()) << "directors do not need it";
}

TEST_F(Coordinator, TellsOriginsHowManyEdgesServeAStreamByItsAudience) {
  const auto spec = stream();
  std::vector<edge_target> five;
  for (int i = 1; i <= 5; ++i) {
    edge_spec edge;
    edge.name = edge_name{fmt::format("e{}", i)};
    edge.url = fmt::format("http://e{}", i);
    five.push_back({edge.name, edge.url, 1000, 1'000'000'000});
    state->edge_set.add(edge, t0);
  }
  state->edge_set.restore({steering::make_table(1, five)}, t0);
  auto load = [&](std::int64_t bits_per_second) {
    edge_load one;
    one.edge = edge_name{"e1"};
    one.streams = {{spec.name, bits_per_second, 5, 2, 5}};
    ASSERT_TRUE(state->edge_set.take(one, t0));
  };
  load(15'000'000);
  state->judge_widths(t0 + 1s);
  auto list = state->listing(t0 + 1s).widths;
  EXPECT_EQ(list.usual, 2u);
  EXPECT_TRUE(list.wide.empty());
  EXPECT_EQ(state->view(t0).streams.at(0).edges, 2u);
  load(1'500'000'000);
  for (int s = 2; s <= 40; ++s) // what is measured is smoothed
    state->judge_widths(t0 + std::chrono::seconds(s));
  list = state->listing(t0 + 40s).widths;
  ASSERT_EQ(list.wide.size(), 1u);
  EXPECT_EQ(list.wide[0].stream, spec.name);
  EXPECT_EQ(list.wide[0].width, 4u) << "1.5 Gbit/s at 0.7 of an edge's 1 Gbit/s, and one";
  EXPECT_TRUE(list.known);
  EXPECT_EQ(state->view(t0).streams.at(0).edges, 4u);
}

TEST_F(Coordinator, ACreationThatIsSentTwiceMakesOneThing) {
  auto of = stream().id;
  auto make = [&](std::string request) {
    add_task wish;
    wish.spec.stream = of;
    wish.spec.type = "restream";
    wish.spec.options = R"({"url":"rtmp://host/live/key"})";
    wish.request = std::move(request);
    return state->add(wish, wall)->id;
  };
  auto first = make("a");
  EXPECT_EQ(make("a"), first);
  reopen(); // the answer was lost because the coordinator died
  EXPECT_EQ(make("a"), first);
  EXPECT_NE(make("b"), first);
  EXPECT_NE(make(""), make(""));
  ASSERT_TRUE(state->remove(remove_task{first, 0, "test"}, wall));
  EXPECT_NE(make("a"), first) << "what was removed meanwhile is made again";
  for (int n = 0; n < 1010; ++n)
    state->requests[fmt::format("old {}", n)] = "x";
  make("c");
  reopen();
  EXPECT_LE(state->requests.size(), 1000u);
}

TEST_F(Coordinator, TwoChangesOfOneRevisionConflict) {
  auto spec = stream();
  auto one = spec, two = spec;
  one.title = "one";
  two.title = "two";
  ASSERT_TRUE(state->set({.spec = one, .if_revision = spec.revision, .actor = "a"}, wall));
  auto second = state->set({.spec = two, .if_revision = spec.revision, .actor = "b"}, wall);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, error_code::conflict);
}

TEST_F(Coordinator, RefusesNamesKeysAndTargetsThatCouldBecomeSomethingElse) {
  for (auto& name : std::vector<std::string>{"", "a/b", "../x", "a b", ".hidden", "x\ny", std::string(65, 'x')}) {
    add_stream wish;
    wish.spec.name = name;
    EXPECT_FALSE(state->add(std::move(wish), wall)) << name;
  }
  auto spec = stream();
  for (std::string url : {"", "host/live", "rtmp://", "rtmp://h/a b", "rtmp://h/a\n[program:x]\ncommand=id", "file:///etc/passwd", "http://h/x", "-f flv /tmp/x"}) {
    add_task wish;
    wish.spec.stream = spec.id;
    wish.spec.type = "restream";
    wish.spec.options = nlohmann::json{{"url", url}}.dump();
    EXPECT_FALSE(state->add(std::move(wish), wall)) << url;
  }
  task(spec.id, "rtmp://h/live/a%2Fb"); // L13: made the predecessor's node useless
}

TEST_F(Coordinator, WritesAnEventForEverythingThatChanges) {
  auto spec = stream();
  auto t = task(spec.id);
  ASSERT_TRUE(state->show(show_key{spec.id, "api 10.0.0.9"}, wall));
  auto events = state->setup.store->read_last_events(10);
  ASSERT_TRUE(events);
  std::vector<std::string> kinds;
  for (auto& e : *events)
    kinds.push_back(e.kind);
  EXPECT_EQ(kinds, (std::vector<std::string>{"stream-added", "task-added", "stream-key-shown"}));
  EXPECT_EQ(events->back().actor, "api 10.0.0.9");
}

TEST_F(Coordinator, SaysWhenAnEdgeThatJoinsIsOfNoUseToBrowsers) {
  edge_spec edge{.name = edge_name{"e-1"}, .node = node_name{"e"}, .url = "http://e.example.org:8081", .capacity_bps = 1};
  state->setup.playback_base = "http://live.example.org";
  state->note_joined(edge, wall);
  EXPECT_EQ(last_event(), "edge-joined: The edge serves at http://e.example.org:8081.");
  state->setup.playback_base = "https://live.example.org";
  state->note_joined(edge, wall);
  EXPECT_TRUE(last_event().starts_with("edge-without-tls: The edge serves at http://e.example.org:8081, which browsers do not load in a page at https://live.example.org")) << last_event();
  edge.url = "https://e.example.org:8081";
  state->note_joined(edge, wall);
  EXPECT_EQ(last_event(), "edge-joined: The edge serves at https://e.example.org:8081.");
}

TEST_F(Coordinator, NotesRenewedAndRefusedCertificatesOfEdgesOnce) {
  edge_load before, now;
  now.edge = edge_name{"e-1"};
  now.certificate = "CN=e until 2026-12-01T00:00:00Z";
  state->note_certificate(before, now, wall);
  EXPECT_EQ(last_event(), "") << "the first report renews nothing";
  before = now;
  now.certificate_trouble = "key values mismatch";
  state->note_certificate(before, now, wall);
  EXPECT_EQ(last_event(), "edge-certificate-refused: A new certificate is not used: key values mismatch. The edge still shows CN=e until 2026-12-01T00:00:00Z.");
  before = now;
  now.certificate = "CN=e until 2027-03-01T00:00:00Z";
  now.certificate_trouble.clear();
  state->note_certificate(before, now, wall);
  EXPECT_EQ(last_event(), "edge-certificate-renewed: The edge shows a new certificate: CN=e until 2027-03-01T00:00:00Z.");
  state->note_certificate(now, now, wall);
  EXPECT_EQ(state->setup.store->read_last_events(10)->size(), 2u);
}

TEST_F(Coordinator, TellsObserversOfItsNodesWhatToWatchAndBelievesNobodyElse) {
  node("n1");
  state->edge_set.add({.name = edge_name{"e1"}, .node = node_name{"n9"}, .url = "http://e1", .capacity_bps = 1'000'000'000}, t0);
  state->take(segment_listed{"show", {"/s/show~1/1/r/1.ts", 4000, "digest"}}, t0, wall);
  state->use_authorities("PEM");
  auto sees = [](const std::string& node, edge_view view) { return edge_sighting{node_name{node}, {{edge_name{"e1"}, {.observer = node_name{"n7"}, .view = view, .good = 9, .milliseconds = 5, .text = {}}},
                                                                                                   {edge_name{"nowhere"}, {.observer = {}, .view = view, .good = 9, .milliseconds = 5, .text = {}}}}, {}}; };
  auto stranger = state->take(sees("n8", edge_view::up), t0);
  EXPECT_TRUE(stranger.edges.empty());
  state->judge_edges(t0, wall);
  EXPECT_TRUE(state->edge_set.find(edge_name{"e1"})->seen.empty());
  auto orders = state->take(sees("n1", edge_view::up), t0);
  ASSERT_EQ(orders.edges.size(), 1u);
  EXPECT_EQ(orders.newest.path, "/s/show~1/1/r/1.ts");
  EXPECT_EQ(orders.every, state->setup.steering.probe_every);
  EXPECT_EQ(orders.authorities_text, "PEM");
  state->judge_edges(t0, wall);
  auto* seen = state->edge_set.find(edge_name{"e1"});
  ASSERT_EQ(seen->seen.size(), 1u);
  EXPECT_EQ(seen->seen[0].observer, node_name{"n1"}) << "nobody speaks for another one";
  EXPECT_EQ(seen->phase, edge_phase::serving);
  EXPECT_EQ(state->edge_set.statuses().size(), 1u);
  auto has_it = sees("n1", edge_view::up);
  has_it.authorities = orders.authorities;
  EXPECT_EQ(state->take(has_it, t0 + 1s).authorities_text, "");
  EXPECT_EQ(state->take(has_it, t0 + 21s).newest.path, "") << "by then it may be listed no more";
  state->take(segment_listed{"show", {"/etc/passwd", 1, {}}}, t0 + 22s, wall);
  EXPECT_EQ(state->take(has_it, t0 + 22s).newest.path, "");
}

TEST_F(Coordinator, TellsARunWhereItsStreamCanBeReadNowWithoutMovingIt) {
  node("n1");
  state->nodes[node_name{"n1"}].rtmp_servers.push_back({"other", "rtmp://127.0.0.1:1936", "rtmp://public2"});
  auto t = task(stream().id);
  auto first = *place(t.id);
  EXPECT_TRUE(first.order.more_inputs.empty());
  state->nodes[node_name{"n1"}].actor = spawn(stand_in_node, log);
  auto again = state->place({.task = t.id, .servers = {"other", "srv", "unheard of"}, .publication = "srv/1/1", .avoid = {}}, t0, wall);
  ASSERT_TRUE(again) << again.error().text;
  EXPECT_EQ(again->order.epoch, first.order.epoch);
  EXPECT_EQ(again->order.input_url, "rtmp://127.0.0.1:1936/live/conf");
  EXPECT_EQ(again->order.more_inputs, std::vector<std::string>{"rtmp://127.0.0.1:1935/live/conf"});
}

TEST_F(Coordinator, PlacesAStandbyOnAnotherNodeOrNotAtAllAndSaysWhy) {
  node("n1");
  auto ladder = ladder_of(stream().id, "n1");
  auto run = *place(ladder.id);
  EXPECT_FALSE(run.order.standby);
  state->nodes[node_name{"n1"}].actor = spawn(stand_in_node, log);
  EXPECT_EQ(place(standby_seat(ladder.id))->order.epoch, run.order.epoch) << "whoever does not know of the run learns of it first";
  state->tasks.at(ladder.id).status.epoch = run.order.epoch;
  auto alone = place(standby_seat(ladder.id));
  ASSERT_FALSE(alone);
  EXPECT_EQ(alone.error().text, "no node can take it: n1 has the other run");
  node("n2");
  state->tasks.at(ladder.id).status.epoch = run.order.epoch; // as its TASK says
  auto second = place(standby_seat(ladder.id));
  ASSERT_TRUE(second) << second.error().text;
  EXPECT_TRUE(second->order.standby);
  EXPECT_EQ(second->node, node_name{"n2"});
  EXPECT_GT(second->order.epoch, run.order.epoch) << "what takes over must not be fenced by what it replaces";
  EXPECT_NE(second->why.find("n1 has the other run"), std::string::npos);
  state->give_back({ladder.id, run.order.epoch}, wall);
  state->tasks.at(ladder.id).status.epoch = second->order.epoch;
  EXPECT_TRUE(place(ladder.id)->order.standby) << "the next one in the free seat stands by for the one that went on";
  ASSERT_TRUE(state->remove({.id = ladder.id, .if_revision = 0, .actor = "test"}, wall));
  reopen();
  EXPECT_TRUE(state->leases.empty());
}

TEST_F(Coordinator, SaysThatALeaseWasGivenBackBeforeItBegan) {
  node("n1");
  auto one = task(stream().id);
  auto told = [&] {
    auto events = state->setup.store->read_last_events(100);
    return events ? std::ranges::count(*events, "lease-given-back", &event::kind) : -1;
  };
  auto first = *place(one.id);
  state->give_back({one.id, first.order.epoch}, wall);
  EXPECT_EQ(told(), 1);
  auto second = *place(one.id);
  state->tasks.at(one.id).status.epoch = second.order.epoch; // as its TASK says when it has taken it
  state->give_back({one.id, second.order.epoch}, wall);
  EXPECT_EQ(told(), 1) << "a run that ended has events of its own";
  auto third = *place(one.id);
  state->tasks.at(one.id).status.standby_node = third.node; // the run in the other seat went on, this one stood by for it
  state->give_back({one.id, third.order.epoch}, wall);
  EXPECT_EQ(told(), 1) << "so has a standby";
}

TEST_F(Coordinator, ASilentNodeThatMayHaveTheWordOfTheOthersKeepsWhatNobodyCanFence) {
  for (auto* name : {"boss", "n1", "n2"})
    node(name, 1000);
  state->setup.own_node = node_name{"boss"};
  state->nodes[node_name{"boss"}].status.phase = state->nodes[node_name{"n2"}].status.phase = node_phase::cordoned;
  auto run = *place(task(stream().id).id);
  ASSERT_EQ(run.node, node_name{"n1"});
  auto& silent = state->nodes[node_name{"n1"}];
  silent.roster_held = silent.roster_sent = {node_name{"boss"}, node_name{"n1"}, node_name{"n2"}};
  silent.roster_version = state->roster.version;
  auto& other = state->nodes[node_name{"n2"}];
  other.actor = spawn(stand_in_node, log);
  // n2 is silent as well: it may tell n1 that it misses us too.
  EXPECT_TRUE(state->judge_nodes(t0 + 7s, wall).empty());
  EXPECT_EQ(silent.status.phase, node_phase::suspect);
  EXPECT_TRUE(silent.kept);
  // It is heard again, but was not for the whole time that n1's word could be good for.
  other.last_beat = t0 + 8s;
  other.steady_since = t0 + 8s;
  EXPECT_TRUE(state->judge_nodes(t0 + 8500ms, wall).empty());
  other.last_beat = t0 + 15s;
  auto over = state->judge_nodes(t0 + 15s, wall);
  ASSERT_EQ(over.size(), 1u);
  EXPECT_EQ(over[0].epoch, run.order.epoch);
  EXPECT_EQ(silent.status.phase, node_phase::down);
}

TEST_F(Coordinator, AfterARestartASilentNodeMayHaveAnyListThatWasInForce) { // found by the simulation, seed 150
  auto enters = [&](std::string name_) {
    join news;
    news.spec.name = node_name{name_};
    news.spec.instance = name_ + "-1";
    news.spec.http_url = "http://" + name_;
    news.node = spawn(stand_in_node, log);
    std::vector<lease> over;
    state->take(news, t0, wall, over);
  };
  auto acknowledges = [&](std::string name_) {
    std::vector<lease> lost;
    state->take(beat{node_name{name_}, name_ + "-1", {}, {}, state->roster.version}, t0, wall, lost);
  };
  state->setup.own_node = node_name{"boss"};
  enters("n1");
  enters("n2");
  acknowledges("n1"); // has: n1, n2
  acknowledges("n2");
  enters("n3");
  enters("n4");
  acknowledges("n3");
  acknowledges("n4");
  EXPECT_EQ(state->roster_lists.size(), 3u) << "n1 and n2 have not said that they have a newer one";
  reopen();
  state->setup.own_node = node_name{"boss"};
  EXPECT_GE(state->roster_lists.size(), 3u);
  for (auto* one : {"n1", "n2"}) // they have leases, which brings them back from the store
    state->nodes[node_name{one}].status.phase = node_phase::suspect;
  for (auto* one : {"n3", "n4"}) {
    enters(one);
    acknowledges(one);
    state->nodes[node_name{one}].steady_since = t0 - 1h;
  }
  auto& cut_off = state->nodes[node_name{"n1"}];
  EXPECT_FALSE(state->has_majority(cut_off, t0)) << "of {n1, n2}, the list that it may have, nobody is heard";
  enters("n1");
  acknowledges("n1");
  EXPECT_TRUE(state->has_majority(state->nodes[node_name{"n1"}], t0)) << "of the newest list most are";
  for (auto* one : {"n2", "n3", "n4"}) {
    enters(one);
    acknowledges(one);
  }
  EXPECT_EQ(state->roster_lists.size(), 1u) << "nobody has an older one";
}

TEST_F(Coordinator, AnIrregularNodeIsGivenMoreTimeThanARegularOne) {
  auto suspect_after = [&](std::chrono::milliseconds gap_a, std::chrono::milliseconds gap_b) {
    state->nodes.clear();
    join news;
    news.spec.name = node_name{"n1"};
    news.spec.instance = "i";
    std::vector<lease> over;
    state->take(news, t0, wall, over);
    auto at = t0;
    for (int i = 0; i < 40; ++i) {
      at += i % 2 ? gap_a : gap_b;
      state->take(beat{node_name{"n1"}, "i", {}, {}}, at, wall, over);
    }
    for (auto silent = 0ms;; silent += 50ms) {
      state->judge_nodes(at + silent, wall);
      if (state->nodes[node_name{"n1"}].status.phase != node_phase::ready)
        return silent;
    }
  };
  EXPECT_NEAR(double(suspect_after(1000ms, 1000ms).count()), 2500, 51);
  EXPECT_NEAR(double(suspect_after(900ms, 1100ms).count()), 2500, 51);
  auto starved = suspect_after(300ms, 2500ms);
  EXPECT_GT(starved, 4s) << "2.5 s are its rhythm";
  EXPECT_LE(starved, 6550ms) << "never later than its leases end";
}

TEST_F(Coordinator, ATaskThatNeedsALabelGoesWhereItIs) {
  node("n1");
  node("n2");
  state->nodes[node_name{"n2"}].status.spec.labels = {{"room", "main-hall"}};
  state->nodes[node_name{"n2"}].status.granted_milli = 1000;
  auto t = task(stream().id);
  auto wish = t;
  wish.needs = {"room=main-hall"};
  auto set = state->set({.spec = wish, .if_revision = 0, .actor = "test"}, wall);
  ASSERT_TRUE(set) << set.error().text;
  reopen();
  EXPECT_EQ(state->tasks.at(t.id).spec.needs, wish.needs);
  node("n1");
  node("n2");
  state->nodes[node_name{"n2"}].status.spec.labels = {{"room", "main-hall"}};
  state->nodes[node_name{"n2"}].status.granted_milli = 1000;
  auto where = place(t.id);
  ASSERT_TRUE(where) << where.error().text;
  EXPECT_EQ(where->node, node_name{"n2"});
  EXPECT_NE(where->why.find("n1 has no label room=main-hall"), std::string::npos) << where->why;
  EXPECT_TRUE(state->suits(t.id, state->leases.at(t.id)));
  wish.needs = {"room=attic"};
  ASSERT_TRUE(state->set({.spec = wish, .if_revision = 0, .actor = "test"}, wall));
  EXPECT_FALSE(state->suits(t.id, state->leases.at(t.id)));
  wish.needs = {"not a label"};
  EXPECT_EQ(state->set({.spec = wish, .if_revision = 0, .actor = "test"}, wall).error().code, error_code::invalid_input);
}

TEST_F(Coordinator, MovesARunFromACrowdedNodeToAnEmptyOneOnlyWhenNothingElseIsInMotion) {
  node("n1", 2000);
  auto of = stream().id;
  auto ladder = ladder_of(of, "n1");
  ASSERT_TRUE(place(ladder.id));
  state->nodes[node_name{"n1"}].status.granted_milli = 2000; // others run there too
  node("n2", 4000);
  for (auto* one : {"n1", "n2"})
    state->nodes[node_name{one}].steady_since = t0;
  EXPECT_FALSE(state->rebalance(t0 + 20s)) << "it has only just come";
  auto move = state->rebalance(t0 + 31s);
  ASSERT_TRUE(move);
  EXPECT_EQ(move->seat, ladder.id);
  EXPECT_EQ(move->to, node_name{"n2"});
  state->nodes[node_name{"n2"}].steady_since = t0 + 20s;
  EXPECT_FALSE(state->rebalance(t0 + 31s)) << "n2 is not steady";
  state->nodes[node_name{"n2"}].steady_since = t0;
  state->hand_over({ladder.id, state->leases.at(ladder.id).epoch}, t0 + 31s);
  EXPECT_FALSE(state->rebalance(t0 + 32s)) << "one after the other";
  EXPECT_EQ(place(ladder.id)->node, node_name{"n2"}) << "not where it was sent away from";
}

TEST_F(Coordinator, AnRtmpServerThatIsSilentIsNotEmptyAndGivenUpOnlyAfterTheGrace) {
  state->setup.options.publish_grace = 30s;
  state->take(rtmp_health{"srs1", true, "", 2}, t0);
  EXPECT_TRUE(state->judge_servers(t0 + 2s, wall).changed.empty());
  state->take(rtmp_health{"srs1", false, "no answer", 2}, t0 + 3s);
  auto silent = state->judge_servers(t0 + 4s, wall);
  ASSERT_EQ(silent.changed.size(), 1u);
  EXPECT_TRUE(silent.changed[0].silent);
  EXPECT_TRUE(silent.given_up.empty());
  EXPECT_TRUE(state->judge_servers(t0 + 5s, wall).changed.empty()) << "said once";
  EXPECT_EQ(state->judge_servers(t0 + 31s, wall).given_up, std::vector<std::string>{"srs1"});
  EXPECT_TRUE(state->judge_servers(t0 + 32s, wall).given_up.empty());
  state->take(rtmp_health{"srs1", true, "", 0}, t0 + 40s);
  auto back = state->judge_servers(t0 + 40s, wall);
  ASSERT_EQ(back.changed.size(), 1u);
  EXPECT_FALSE(back.changed[0].silent);
}

join arrival(std::string name, node_actor who, std::string instance = "i", std::string machine = "m") {
  join news;
  news.spec.name = node_name{name};
  news.spec.instance = std::move(instance);
  news.spec.machine = std::move(machine);
  news.spec.task_types = {"hls", "restream"};
  news.spec.capacity_milli = 4000;
  news.spec.http_url = "http://" + name;
  news.node = std::move(who);
  news.rtmp_servers = {{"srv", "rtmp://127.0.0.1:1935", "rtmp://public"}};
  news.origins = {{"http://origin", "token"}};
  return news;
}

TEST_F(Coordinator, GrantsNothingAnewBeforeWhoeverWasThereHasSaidWhatItRuns) { // a backup, or a power loss
  auto worker = spawn(stand_in_node, log);
  std::vector<lease> over;
  state->take(arrival("n1", worker), t0, wall, over);
  state->take(arrival("n2", worker), t0, wall, over);
  auto push = task(stream().id);
  auto ladder = ladder_of(state->streams.begin()->first, "n1");
  reopen();
  const time_point start{};
  auto place_at = [&](const task_id& id, time_point at) { return state->place({.task = id, .servers = {"srv"}, .publication = "srv/1/1", .avoid = {}}, at, wall); };
  state->take(arrival("n2", worker), start + 500ms, wall, over);
  EXPECT_EQ(place_at(push.id, start + 1s).error().text, "the coordinator has just started: node n1 has time to say whether it runs it already");
  EXPECT_FALSE(place_at(ladder.id, start + 1s));
  EXPECT_TRUE(place_at(ladder.id, start + 3s)) << "the origin fences it";
  EXPECT_FALSE(place_at(push.id, start + 6s));
  EXPECT_TRUE(place_at(push.id, start + 7s)) << "n1 has lost what leases it may have had";
  state->setup.own_node = node_name{"boss"};
  state->nodes[node_name{"n2"}].last_beat = start + 7s;
  EXPECT_TRUE(state->judge_nodes(start + 7200ms, wall).empty());
  EXPECT_EQ(state->nodes[node_name{"n1"}].status.phase, node_phase::down) << "it was in the roster and did not come back";
}

TEST_F(Coordinator, AdoptsWhatRunsAlthoughItsStoreIsOlder) {
  auto of = stream().id;
  auto push = task(of);
  node("old");
  auto stale = *place(push.id); // what the backup knows
  reopen();
  const time_point start{};
  auto news = arrival("n2", spawn(stand_in_node, log));
  auto run = stale.order;
  run.epoch += 10;
  run.publication = "srv/s1/9";
  news.runs = {run};
  std::vector<lease> over;
  std::map<stream_id, std::string> found;
  state->take(std::move(news), start + 1s, wall, over, &found);
  ASSERT_TRUE(state->leases.contains(push.id));
  EXPECT_EQ(state->leases.at(push.id).node, node_name{"n2"});
  EXPECT_EQ(found, (std::map<stream_id, std::string>{{of, "srv/s1/9"}}));
  auto again = state->place({.task = push.id, .servers = {"srv"}, .publication = "srv/s1/9", .avoid = {}}, start + 2s, wall);
  ASSERT_TRUE(again) << again.error().text;
  EXPECT_TRUE(again->in_force);
  EXPECT_EQ(again->order.epoch, run.epoch);
  EXPECT_GT(state->next_epoch, run.epoch);
}

TEST_F(Coordinator, ABroadcastIsNotOverBeforeEverybodyCouldSayThatItGoesOn) {
  stream();
  reopen();
  state->setup.options.publish_grace = 3s;
  auto& entry = state->streams.begin()->second;
  entry.status.phase = stream_phase::offline;
  entry.idle = true;
  EXPECT_FALSE(state->is_over(entry, time_point{} + 6s)) << "nodes have the time of a lease to join";
  EXPECT_TRUE(state->is_over(entry, time_point{} + 7s));
  state->setup.options.publish_grace = 30s;
  EXPECT_FALSE(state->is_over(entry, time_point{} + 7s));
}

TEST_F(Coordinator, TwoNodesOfOneNameDoNotTakeEachOthersTasks) {
  auto worker = spawn(stand_in_node, log);
  std::vector<lease> over;
  state->take(arrival("n1", worker), t0, wall, over);
  auto push = *place(task(stream().id).id);
  auto ladder = *place(ladder_of(state->streams.begin()->first, "n1").id);
  auto second = arrival("n1", worker, "another", "another machine");
  EXPECT_NE(state->refuses(second, t0 + 1s).find("is here already"), std::string::npos);
  EXPECT_EQ(state->refuses(arrival("n1", worker), t0 + 1s), "") << "the same one, over another connection";
  state->nodes[node_name{"n1"}].status.phase = node_phase::suspect;
  EXPECT_EQ(state->refuses(second, t0 + 1s), "");
  over.clear();
  EXPECT_TRUE(state->take(second, t0 + 1s, wall, over));
  EXPECT_EQ(over, (std::vector{lease{ladder.order.task, ladder.order.epoch}})) << "the first one may still push until its lease is over";
  EXPECT_EQ(place(push.order.task).error().code, error_code::conflict) << "the second one must not be told to push under the first one's lease";
  std::vector<lease> lost;
  auto as_of = std::chrono::duration_cast<std::chrono::milliseconds>((t0 + 5s).time_since_epoch()).count();
  state->take(beat{node_name{"n1"}, "another", {}, {}, 0, as_of}, t0 + 6s, wall, lost);
  EXPECT_TRUE(std::ranges::find(lost, push.order.task, &lease::task) == lost.end());
  auto due = state->judge_nodes(t0 + 6600ms, wall);
  EXPECT_TRUE(std::ranges::find(due, push.order.task, &lease::task) != due.end());
}

TEST_F(Coordinator, TellsWatchersWhereOriginsAre) {
  auto worker = spawn(stand_in_node, log);
  std::vector<lease> over;
  EXPECT_TRUE(state->origins().origins.empty());
  EXPECT_FALSE(state->origins().complete) << "others may still join";
  auto media = arrival("media", worker);
  media.origins = {{"http://media", "for writing", node_name{"somebody else"}, "for reading"}};
  state->take(media, t0, wall, over);
  auto other = arrival("n1", worker);
  other.origins.clear();
  state->take(other, t0, wall, over);
  state->listened = true;
  auto told = state->origins();
  EXPECT_TRUE(told.complete);
  ASSERT_EQ(told.origins.size(), 1u);
  EXPECT_EQ(told.origins[0].url, "http://media");
  EXPECT_EQ(told.origins[0].read_token, "for reading");
  EXPECT_EQ(told.origins[0].token, "") << "directors do not write";
  EXPECT_EQ(told.origins[0].node, node_name{"media"});
  state->nodes[node_name{"media"}].status.phase = node_phase::down;
  EXPECT_EQ(state->origins().origins.size(), 1u) << "directors may reach it all the same";
  state->nodes[node_name{"media"}].status.phase = node_phase::ready;
  state->take(leaving{node_name{"media"}, "i"}, wall);
  EXPECT_TRUE(state->origins().origins.empty());
}

/// A node whose origin keeps copies for two others.
join keeper(const std::string& name, const node_actor& who) {
  auto news = arrival(name, who);
  news.origins = {{"http://" + name, "writes " + name, node_name{name}, "reads " + name, "copies " + name, 3}};
  return news;
}
origin_word word(std::string name, std::uint64_t in_force = 0, std::string instance = "1") { return {node_name{std::move(name)}, std::move(instance), in_force, in_force, {}}; }

class CoordinatorOfOrigins : public Coordinator {
protected:
  std::vector<lease> over;
  node_actor worker = spawn(stand_in_node, log);
  origin_orders says(std::string name, std::uint64_t in_force = 0, std::string instance = "1") { return state->take(word(std::move(name), in_force, std::move(instance)), t0, wall); }
  void join_all() {
    for (auto name : {"m1", "m2", "m3"})
      state->take(keeper(name, worker), t0, wall, over);
  }
  /// m1 writes, and has said so. Its term.
  std::uint64_t begin() {
    state->started = t0 - 10s;
    join_all();
    for (auto name : {"m1", "m2", "m3"})
      says(name);
    EXPECT_TRUE(state->judge_origins(t0, wall));
    auto term = says("m1").present.term;
    says("m1", term);
    EXPECT_TRUE(state->copies.in_force);
    return term;
  }
  void lose(const std::string& name) { state->nodes[node_name{name}].status.phase = node_phase::suspect; }
  void hear(const std::string& name) { state->nodes[node_name{name}].status.phase = node_phase::ready; }
  /// The view as it stands in the store.
  origin::succession stored() {
    auto kept = state->setup.store->load();
    EXPECT_TRUE(kept);
    auto text = kept->settings.find("origin_view");
    return text == kept->settings.end() ? origin::succession{} : describe::from_json<origin::succession>(text->second).value();
  }
};

TEST_F(CoordinatorOfOrigins, AnOriginThatDiesIsOutOfTheViewBeforeAnyoneHears) {
  join_all();
  EXPECT_FALSE(state->judge_origins(t0, wall)) << "none of them has said that it is there";
  EXPECT_EQ(state->writes_to(), nullptr) << "whoever began to write now would have to begin anew";
  const auto first = begin();
  auto orders = says("m2");
  EXPECT_EQ(orders.present.holder, "m1");
  EXPECT_EQ(orders.present.instance, "1");
  EXPECT_EQ(orders.present.term, first);
  ASSERT_EQ(orders.present.members.size(), 3u);
  EXPECT_EQ(orders.present.members[2].url, "http://m3");
  EXPECT_EQ(orders.present.members[2].peer_token, "copies m3");
  EXPECT_EQ(orders.present.members[2].token, "") << "origins do not write as runs do";
  EXPECT_TRUE(says("m9").present.members.empty()) << "a stranger";
  EXPECT_TRUE(state->origins().origins[0].peer_token.empty()) << "directors keep no copies";
  EXPECT_EQ(state->writes_to()->token, "writes m1");
  EXPECT_FALSE(state->judge_origins(t0, wall));

  lose("m1");
  EXPECT_EQ(says("m2").present.term, first) << "nothing is decided yet";
  ASSERT_TRUE(state->judge_origins(t0, wall));
  EXPECT_EQ(stored().present.mark.holder, "m2");
  EXPECT_GT(stored().present.mark.term, first);
  EXPECT_EQ(last_event().substr(0, 14), "origin-writes:");
  orders = says("m2");
  EXPECT_EQ(orders.present.holder, "m2");
  EXPECT_EQ(orders.present.term, stored().present.mark.term);
  EXPECT_EQ(orders.present.members.size(), 3u) << "it is caught up when it is back";
  ASSERT_EQ(orders.former.size(), 1u);
  EXPECT_EQ(orders.former[0].term, first);
  EXPECT_FALSE(state->copies.in_force);
  says("m1", orders.present.term);
  says("m2", orders.present.term, "another start");
  EXPECT_FALSE(state->copies.in_force) << "it is not theirs";
  says("m2", orders.present.term);
  EXPECT_TRUE(state->copies.in_force);
  EXPECT_EQ(state->writes_to()->url, "http://m2");
}

TEST_F(CoordinatorOfOrigins, ALostQuorumChangesNothing) {
  const auto first = begin();
  lose("m1");
  lose("m2");
  EXPECT_FALSE(state->judge_origins(t0, wall));
  EXPECT_EQ(last_event().substr(0, 19), "origin-quorum-lost:");
  EXPECT_EQ(says("m3").present.term, first);
  EXPECT_EQ(says("m3").present.holder, "m1");
  state->note("test", "test", "after it", "test", wall);
  EXPECT_FALSE(state->judge_origins(t0, wall));
  EXPECT_EQ(last_event(), "test: after it") << "said once";
  hear("m1");
  EXPECT_FALSE(state->judge_origins(t0, wall)) << "all is as it was";
  EXPECT_EQ(state->copies_lost, "");
  EXPECT_EQ(stored().present.mark.term, first);
}

TEST_F(CoordinatorOfOrigins, AViewSurvivesARestart) {
  const auto first = begin();
  reopen();
  state->started = t0 - 1s;
  EXPECT_EQ(state->copies.present.mark.term, first);
  EXPECT_TRUE(state->copies.in_force);
  EXPECT_EQ(state->writes_to(), nullptr) << "its node has not joined yet";
  EXPECT_FALSE(state->judge_origins(t0, wall)) << "nor has it had the time to";
  join_all();
  auto orders = says("m2");
  EXPECT_EQ(orders.present.term, first);
  EXPECT_EQ(orders.present.holder, "m1");
  EXPECT_EQ(orders.present.members[1].peer_token, "copies m2");
  state->started = t0 - 10s;
  EXPECT_FALSE(state->judge_origins(t0, wall)) << "m1 has not spoken since, but its node is there";
  says("m1", first);
  EXPECT_FALSE(state->judge_origins(t0, wall));
  says("m1", 0, "2");
  ASSERT_TRUE(state->judge_origins(t0, wall)) << "it was started anew meanwhile";
  EXPECT_GT(says("m1", 0, "2").present.term, first);
  EXPECT_EQ(says("m1", 0, "2").present.instance, "2");
}

TEST_F(CoordinatorOfOrigins, ARunThatGoesOnIsToldWhereTo) {
  const auto first = begin();
  auto ladder = ladder_of(stream().id, "elsewhere"); // which has an origin of its own, that is in no view
  auto placed = place(ladder.id);
  ASSERT_TRUE(placed) << placed.error().text;
  EXPECT_EQ(placed->order.origin_url, "http://m1");
  lose("m1");
  ASSERT_TRUE(state->judge_origins(t0, wall));
  auto again = place(ladder.id);
  ASSERT_TRUE(again) << again.error().text;
  EXPECT_TRUE(again->in_force);
  EXPECT_EQ(again->order.epoch, placed->order.epoch);
  EXPECT_EQ(again->order.origin_url, "http://m2");
  EXPECT_EQ(again->order.origin_token, "writes m2");
  EXPECT_GT(state->copies.present.mark.term, first);
}

TEST_F(CoordinatorOfOrigins, AnOriginThatCannotTakeOverIsNotWaitedForLong) {
  begin();
  lose("m1");
  ASSERT_TRUE(state->judge_origins(t0, wall));
  auto trouble = word("m2");
  trouble.trouble = "claim term 7: 1 of 3 origins did it";
  for (auto name : {"m2", "m3"})
    state->nodes[node_name{name}].last_beat = t0 + 9s;
  state->take(trouble, t0 + 1s, wall);
  EXPECT_FALSE(state->judge_origins(t0 + 7s, wall));
  state->take(trouble, t0 + 9s, wall);
  ASSERT_TRUE(state->judge_origins(t0 + 9s, wall));
  EXPECT_EQ(state->copies.present.mark.holder, "m3");
  EXPECT_EQ(state->copies.former.size(), 1u) << "of the same members one is enough";
}

TEST_F(CoordinatorOfOrigins, NobodyIsLeftOutBeforeItHadTheTimeToCallAgain) {
  auto of_two = [&](const std::string& name) {
    auto news = keeper(name, worker);
    news.origins.front().copies = 2;
    state->take(news, t0, wall, over);
    says(name);
  };
  of_two("m1");
  of_two("m2");
  ASSERT_TRUE(state->judge_origins(t0, wall));
  const auto first = says("m1").present.term;
  says("m1", first);
  reopen();
  state->started = t0 - 11s;
  of_two("m2"); // m1 tries each 5 s, say
  EXPECT_FALSE(state->judge_origins(t0, wall));
  EXPECT_EQ(stored().present.mark.term, first);
  state->started = t0 - 13s;
  ASSERT_TRUE(state->judge_origins(t0, wall));
  EXPECT_EQ(stored().present.mark.holder, "m2");
  EXPECT_EQ(stored().present.members.size(), 1u);
}

TEST_F(CoordinatorOfOrigins, WhoComesBackIsTakenInWhenItHasHadEverythingForAWhile) {
  auto of_two = [&](const std::string& name) {
    auto news = keeper(name, worker);
    news.origins.front().copies = 2;
    state->take(news, t0, wall, over);
    says(name);
  };
  state->started = t0 - 20s;
  of_two("m1");
  of_two("m2");
  ASSERT_TRUE(state->judge_origins(t0, wall));
  says("m1", says("m1").present.term);
  EXPECT_TRUE(state->learners.empty());
  lose("m1");
  ASSERT_TRUE(state->judge_origins(t0, wall));
  const auto alone = says("m2").present.term;
  EXPECT_TRUE(says("m2").learners.empty()) << "it has not taken over";
  says("m2", alone);
  EXPECT_EQ(state->copies.present.members.size(), 1u);
  hear("m1");
  auto at = [&](std::chrono::milliseconds after) {
    for (auto name : {"m1", "m2"})
      state->nodes[node_name{name}].last_beat = t0 + after;
    return t0 + after;
  };
  auto teaches = [&](std::vector<std::string> taught, std::chrono::milliseconds after) {
    auto said = word("m2", alone);
    said.taught = std::move(taught);
    return state->take(said, at(after), wall);
  };
  EXPECT_FALSE(state->judge_origins(t0, wall));
  EXPECT_EQ(last_event().substr(0, 14), "origin-learns:");
  auto orders = says("m2", alone);
  ASSERT_EQ(orders.learners.size(), 1u);
  EXPECT_EQ(orders.learners[0].member, "m1");
  EXPECT_EQ(orders.learners[0].url, "http://m1");
  EXPECT_EQ(orders.learners[0].peer_token, "copies m1");
  EXPECT_TRUE(says("m1").learners.empty()) << "that is for whoever writes";
  auto boast = word("m1");
  boast.taught = {"m1"};
  state->take(boast, at(1s), wall);
  EXPECT_FALSE(state->judge_origins(at(12s), wall)) << "who learns does not judge itself";
  teaches({"m1"}, 20s);
  EXPECT_FALSE(state->judge_origins(at(29s), wall));
  teaches({}, 29s); // it missed something
  teaches({"m1"}, 30s);
  EXPECT_FALSE(state->judge_origins(at(39s), wall)) << "it has to be good for ten seconds on end";
  ASSERT_TRUE(state->judge_origins(at(41s), wall));
  EXPECT_EQ(stored().present.members.size(), 2u);
  EXPECT_EQ(stored().present.mark.holder, "m2") << "who writes goes on";
  ASSERT_EQ(stored().former.size(), 1u);
  EXPECT_EQ(stored().former[0].members.size(), 1u);
  // It cannot be taken over: it goes on without m1, which is left alone for a while.
  auto trouble = word("m2");
  trouble.trouble = "m1 lacks 3 segments";
  state->take(trouble, at(43s), wall);
  EXPECT_FALSE(state->judge_origins(at(43s), wall));
  ASSERT_TRUE(state->judge_origins(at(45s), wall));
  EXPECT_EQ(stored().present.members.size(), 1u);
  const auto again = says("m2").present.term;
  auto goes_on = word("m2", again);
  state->take(goes_on, at(46s), wall);
  EXPECT_FALSE(state->judge_origins(at(46s), wall)) << "it learns again";
  goes_on.taught = {"m1"};
  state->take(goes_on, at(47s), wall);
  EXPECT_FALSE(state->judge_origins(at(100s), wall));
  EXPECT_TRUE(state->judge_origins(at(346s), wall));
}

TEST_F(CoordinatorOfOrigins, WhoIsAwayForAMinuteIsNotWaitedForAnyMore) {
  begin();
  state->started = t0 - 20s;
  auto at = [&](std::chrono::milliseconds after) {
    for (auto name : {"m1", "m2", "m3"})
      state->nodes[node_name{name}].last_beat = t0 + after;
    return t0 + after;
  };
  lose("m3");
  EXPECT_FALSE(state->judge_origins(at(0s), wall));
  EXPECT_FALSE(state->judge_origins(at(59s), wall)) << "a restart changes nothing";
  hear("m3");
  EXPECT_FALSE(state->judge_origins(at(60s), wall));
  lose("m3");
  EXPECT_FALSE(state->judge_origins(at(61s), wall));
  EXPECT_FALSE(state->judge_origins(at(120s), wall));
  EXPECT_FALSE(state->judge_origins(at(122s), wall)) << "m2 may lack what m1 and m3 have";
  auto said = word("m1", state->copies.present.mark.term);
  said.taught = {"m2"};
  state->take(said, at(122s), wall);
  ASSERT_TRUE(state->judge_origins(at(122s), wall));
  EXPECT_EQ(stored().present.members.size(), 2u);
  EXPECT_EQ(stored().present.mark.holder, "m1");
  says("m1", stored().present.mark.term);
  // Its machine comes with a new disk: that is another member.
  auto news = keeper("m3", worker);
  news.origins.front().member = "m3.0123abcd";
  state->take(news, at(130s), wall, over);
  says("m3", 0, "2");
  EXPECT_FALSE(state->judge_origins(at(130s), wall));
  EXPECT_TRUE(state->learners.contains("m3.0123abcd"));
  news.origins.front().member = "m1.0123abcd"; // no origin can be another one
  state->take(news, at(131s), wall, over);
  EXPECT_FALSE(state->judge_origins(at(131s), wall));
  EXPECT_TRUE(state->learners.contains("m3"));
}

TEST_F(CoordinatorOfOrigins, WhoWritesWithANewDiskIsNotWhoItWas) {
  begin();
  state->started = t0 - 20s;
  auto news = keeper("m1", worker);
  news.origins.front().member = "m1.0123abcd";
  state->take(news, t0, wall, over);
  says("m1", 0, "2");
  EXPECT_EQ(state->writes_to(), nullptr) << "what it was told to have is gone";
  ASSERT_TRUE(state->judge_origins(t0, wall));
  EXPECT_EQ(state->copies.present.mark.holder, "m2");
  EXPECT_EQ(says("m1", 0, "2").present.holder, "m2");
}

TEST_F(CoordinatorOfOrigins, EdgesHearOfAllThatKeepCopies) {
  auto urls = [&] {
    std::set<std::string> all;
    for (auto& o : state->origins_for_edges().origins) {
      EXPECT_EQ(o.read_token + o.token + o.peer_token, "");
      all.insert(o.url);
    }
    return all;
  };
  EXPECT_TRUE(urls().empty());
  join_all();
  EXPECT_EQ(urls().size(), 3u) << "before any view, too";
  begin();
  state->take(keeper("m4", worker), t0, wall, over);
  auto own = keeper("own", worker);
  own.origins.front().copies = 0;
  state->take(own, t0, wall, over);
  const std::set<std::string> all{"http://m1", "http://m2", "http://m3", "http://own"};
  EXPECT_EQ(urls(), all) << "m4 keeps nothing";
  state->take(leaving{node_name{"m2"}, "i"}, wall);
  EXPECT_EQ(urls(), all) << "nginx asks the others meanwhile, without being told";
}

TEST_F(CoordinatorOfOrigins, StoresOfTheirOwnAreUsedBesideAndAfterThoseThatAreShared) {
  state->take(keeper("m1", worker), t0, wall, over);
  auto own = keeper("own", worker);
  own.origins.front().copies = 0;
  state->take(own, t0, wall, over);
  ASSERT_NE(state->writes_to(), nullptr) << "those that keep copies wait for each other";
  EXPECT_EQ(state->writes_to()->url, "http://own");
  state->take(leaving{node_name{"own"}, "i"}, wall);
  begin();
  EXPECT_EQ(state->writes_to()->url, "http://m1");
  for (auto name : {"m1", "m2", "m3"}) {
    auto back = keeper(name, worker);
    back.origins.front().copies = 0;
    state->take(back, t0, wall, over);
  }
  lose("m1");
  state->nodes[node_name{"m1"}].status.phase = node_phase::down;
  ASSERT_NE(state->writes_to(), nullptr) << "the view is left behind";
  EXPECT_EQ(state->writes_to()->url, "http://m2");
}

TEST_F(Coordinator, PassesOnWhatEachDirectorSentWhereAndHowOldThatIs) {
  node("d1");
  node("d2");
  state->joins[node_name{"d1"}] = {{node_name{"d1"}, 4, {edge_name{"e"}}, {9}}, t0};
  state->joins[node_name{"d2"}] = {{node_name{"d2"}, 7, {}, {}}, t0 + 30s};
  state->joins[node_name{"gone"}] = {{node_name{"gone"}, 7, {}, {}}, t0 + 30s};
  auto list = state->listing(t0 + 30500ms);
  ASSERT_EQ(list.joins.size(), 2u) << "of whom no node is known";
  EXPECT_EQ(list.joins[0].age_ms, 30'500);
  EXPECT_EQ(list.joins[0].viewers, (std::vector<std::uint64_t>{9}));
  EXPECT_EQ(list.joins[1].age_ms, 500);
  EXPECT_EQ(state->listing(t0 + 61s).joins.size(), 1u);
}

TEST_F(Coordinator, ANodeThatWasStoppedLeavesAndCanBeForgotten) {
  auto worker = spawn(stand_in_node, log);
  std::vector<lease> over;
  state->setup.own_node = node_name{"boss"};
  state->take(arrival("n1", worker), t0, wall, over);
  auto push = *place(task(stream().id).id);
  EXPECT_EQ(state->take(forget_node{node_name{"n1"}, false, "test"}, wall).error().code, error_code::conflict) << "it is there";
  EXPECT_TRUE(state->take(leaving{node_name{"n1"}, "an earlier start"}, wall).empty());
  EXPECT_EQ(state->take(leaving{node_name{"n1"}, "i"}, wall), (std::vector{lease{push.order.task, push.order.epoch}}));
  EXPECT_EQ(state->nodes[node_name{"n1"}].status.phase, node_phase::left);
  EXPECT_TRUE(state->roster.nodes.empty()) << "nobody counts on its word";
  EXPECT_FALSE(state->take(beat{node_name{"n1"}, "i", {}, {}}, t0, wall, over).known);
  EXPECT_TRUE(state->judge_nodes(t0 + 1h, wall).empty()) << "its silence is no failure";
  EXPECT_TRUE(state->take(arrival("n1", worker, "next start"), t0 + 1h, wall, over));
  EXPECT_EQ(state->nodes[node_name{"n1"}].status.phase, node_phase::ready);
  state->take(leaving{node_name{"n1"}, "next start"}, wall);
  EXPECT_TRUE(state->take(forget_node{node_name{"n1"}, false, "test"}, wall));
  EXPECT_FALSE(state->nodes.contains(node_name{"n1"}));
  EXPECT_EQ(state->take(forget_node{node_name{"n1"}, false, "test"}, wall).error().code, error_code::not_found);
  // One of which nobody knows whether it is dead: only who knows may say so.
  state->take(arrival("n2", worker), t0, wall, over);
  state->nodes[node_name{"n2"}].status.phase = node_phase::suspect;
  state->nodes[node_name{"n2"}].kept = true;
  EXPECT_EQ(state->take(forget_node{node_name{"n2"}, false, "test"}, wall).error().code, error_code::conflict);
  EXPECT_TRUE(state->take(forget_node{node_name{"n2"}, true, "test"}, wall));
}

TEST_F(Coordinator, WhatTheOriginFencesLeavesASilentNodeWheneverThereIsRoom) {
  auto worker = spawn(stand_in_node, log);
  std::vector<lease> over;
  state->take(arrival("n1", worker), t0, wall, over);
  auto ladder = *place(ladder_of(stream().id, "n1").id);
  auto& silent = state->nodes[node_name{"n1"}];
  silent.roster_held = silent.roster_sent = {node_name{"n1"}, node_name{"n2"}, node_name{"n3"}}; // of whom nobody is heard
  EXPECT_TRUE(state->judge_nodes(t0 + 7s, wall).empty()) << "nobody can take it";
  EXPECT_TRUE(silent.kept);
  node("late");
  state->nodes[node_name{"late"}].last_beat = t0 + 8s;
  auto moved = state->judge_nodes(t0 + 8s, wall);
  ASSERT_EQ(moved.size(), 1u);
  EXPECT_EQ(moved[0].task, ladder.order.task);
}

TEST_F(Coordinator, TellsWhyARunIsWhereItIsAfterARestartToo) {
  auto worker = spawn(stand_in_node, log);
  std::vector<lease> over;
  state->take(arrival("n1", worker), t0, wall, over);
  auto push = *place(task(stream().id).id);
  EXPECT_FALSE(push.why.empty());
  reopen();
  auto news = arrival("n1", worker);
  news.runs = {push.order};
  state->take(std::move(news), t0, wall, over);
  EXPECT_EQ(place(push.order.task)->why, push.why);
}

TEST_F(Coordinator, HooksCannotFillItsMemory) {
  for (int i = 0; i < 3000; ++i) {
    auto c = call(hook_kind::connect);
    c.server = fmt::format("made-up-{}", i);
    state->judge(c, t0, wall);
  }
  EXPECT_LE(state->services.size(), 1000u);
  auto t = task(stream().id);
  node("n1");
  ASSERT_TRUE(place(t.id));
  ASSERT_TRUE(state->remove(remove_task{t.id, 0, "test"}, wall));
  EXPECT_TRUE(state->newest_epochs.empty());
}

TEST_F(Coordinator, KnownKeysAreSignedHoldNoKeyAndAreToldOnce) {
  auto spec = stream();
  auto disabled = stream("other", "other-secret");
  disabled.enabled = false;
  ASSERT_TRUE(state->set({.spec = disabled, .if_revision = 0, .actor = "test"}, wall));
  auto keys = state->keys(0, wall);
  ASSERT_EQ(keys.keys.size(), 1u);
  EXPECT_EQ(known_keys_text(keys).find("secret-key"), std::string::npos);
  EXPECT_TRUE(verify_signature(known_keys_text(keys), keys.signature, keys.signer));
  EXPECT_EQ(keys.until, std::chrono::floor<std::chrono::seconds>(wall + 24h));
  EXPECT_TRUE(state->keys(keys.version, wall).keys.empty());
  EXPECT_EQ(state->keys(keys.version, wall + 59s).signature, keys.signature) << "signed once a minute, for all nodes";
  auto later = state->keys(0, wall + 2min);
  EXPECT_EQ(later.version, keys.version);
  EXPECT_EQ(later.until, keys.until + 2min);
  EXPECT_TRUE(verify_signature(known_keys_text(later), later.signature, later.signer));
  EXPECT_EQ(state->keys(0, wall).until, keys.until) << "a clock that was set back";
  ASSERT_TRUE(state->rotate({spec.id, "test"}, wall));
  EXPECT_NE(state->keys(keys.version, wall).version, keys.version);
  reopen();
  EXPECT_EQ(state->keys(0, wall).signer, keys.signer) << "the same coordinator after a restart";
}

TEST_F(Coordinator, SignsAddressesOfStreamsThatNeedItAndTellsWhoMayWatch) {
  state->setup.playback_base = "http://live";
  auto spec = stream();
  stream("other");
  EXPECT_EQ(state->sign({stream_id{"nobody"}, 1h}, wall).error().code, error_code::not_found);
  EXPECT_EQ(state->sign({spec.id, 1h}, wall).error().code, error_code::conflict) << "an open stream needs none";
  auto before = state->who_may_watch(0);
  ASSERT_EQ(before.keys.size(), 1u);
  EXPECT_TRUE(before.signed_only.empty());
  spec.viewing = viewing_access::with_token;
  ASSERT_TRUE(state->set({.spec = spec, .if_revision = 0, .actor = "test"}, wall));
  for (auto lifetime : {std::chrono::milliseconds(0), std::chrono::milliseconds(-1), std::chrono::milliseconds(367 * 24h)})
    EXPECT_EQ(state->sign({spec.id, lifetime}, wall).error().code, error_code::invalid_input);
  auto rules = state->who_may_watch(before.version);
  EXPECT_EQ(rules.signed_only, std::vector<std::string>{"conf"});
  EXPECT_TRUE(state->who_may_watch(rules.version).keys.empty()) << "who has them is not told again";
  auto pass = state->sign({spec.id, 1h}, wall);
  ASSERT_TRUE(pass) << pass.error().text;
  EXPECT_EQ(pass->playback_url, "http://live/t/" + pass->token + "/hls/conf/index.m3u8");
  viewing::gate gate;
  gate.use(rules);
  EXPECT_EQ(gate.judge("conf", pass->token, wall), viewing::verdict::good);
  EXPECT_EQ(gate.judge("conf", pass->token, pass->expires), viewing::verdict::expired);
  EXPECT_EQ(gate.judge("other", {}, wall), viewing::verdict::open);

  reopen();
  EXPECT_EQ(state->who_may_watch(0), rules) << "nobody's address is lost by a restart";
  ASSERT_TRUE(state->remove({spec.id, 0, "test"}, wall));
  state->streams.erase(spec.id); // as the actor does
  EXPECT_EQ(state->who_may_watch(0).signed_only, std::vector<std::string>{"conf"}) << "what is left of it at origins";
  stream();
  EXPECT_TRUE(state->who_may_watch(0).signed_only.empty()) << "an open stream of the same name";
}

TEST_F(Coordinator, SignsWithANewKeyWhenEverybodyHasHadTimeToHearOfIt) {
  auto spec = stream();
  spec.viewing = viewing_access::with_token;
  ASSERT_TRUE(state->set({.spec = spec, .if_revision = 0, .actor = "test"}, wall));
  auto id_of = [&](timestamp when) { return std::string(viewing::parse_token(state->sign({spec.id, 1h}, when)->token)->key); };
  const auto first = id_of(wall);
  ASSERT_TRUE(state->rotate(rotate_viewing_key{"test"}, wall));
  auto keys = state->who_may_watch(0).keys;
  ASSERT_EQ(keys.size(), 2u);
  EXPECT_NE(keys[0].id, first);
  EXPECT_EQ(keys[1].id, first) << "addresses that were signed before stay good";
  EXPECT_EQ(last_event().find(keys[0].secret), std::string::npos);
  EXPECT_EQ(id_of(wall + 14s), first);
  EXPECT_EQ(id_of(wall + 15s), keys[0].id);
  auto again = state->rotate(rotate_viewing_key{"test"}, wall + 14s);
  ASSERT_FALSE(again) << "addresses would get a signature that some nodes have never heard of";
  EXPECT_EQ(again.error().code, error_code::conflict);
  reopen();
  EXPECT_EQ(state->who_may_watch(0).keys, keys);
  EXPECT_EQ(id_of(wall + 1s), first);
  ASSERT_TRUE(state->rotate(rotate_viewing_key{"test"}, wall + 1h));
  EXPECT_EQ(state->who_may_watch(0).keys.back(), keys[0]);
}

TEST_F(Coordinator, TakesTheSecretsThatAreConfigured) {
  state->setup.options.viewing_secret = "too short";
  auto refused = state->load(wall, t0);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().text.find("coordinator.viewing_secret"), std::string::npos);
  state->setup.options.viewing_secret = "0123456789abcdefghijklmnopqrstuv";
  state->setup.options.viewing_secret_former = "another-secret-of-thirty-two-and-more";
  ASSERT_TRUE(state->load(wall, t0));
  auto keys = state->who_may_watch(0).keys;
  ASSERT_EQ(keys.size(), 2u);
  EXPECT_EQ(keys[0].secret, state->setup.options.viewing_secret);
  EXPECT_EQ(state->rotate(rotate_viewing_key{"test"}, wall).error().code, error_code::conflict);
  state->setup.options.viewing_secret_former = state->setup.options.viewing_secret;
  ASSERT_TRUE(state->load(wall, t0));
  EXPECT_EQ(state->who_may_watch(0).keys.size(), 1u) << "nginx refuses a key that is there twice";
}

TEST_F(Coordinator, ANameThatASignedStreamHadStaysBarredForADay) {
  auto spec = stream();
  spec.viewing = viewing_access::with_token;
  spec = *state->set({.spec = spec, .if_revision = 0, .actor = "test"}, wall);
  spec.name = "renamed";
  ASSERT_TRUE(state->set({.spec = spec, .if_revision = 0, .actor = "test"}, wall));
  auto barred = [&] { return state->who_may_watch(0).signed_only; };
  EXPECT_EQ(barred(), (std::vector<std::string>{"conf", "renamed"}));
  ASSERT_TRUE(state->remove({spec.id, 0, "test"}, wall + 1h));
  state->streams.erase(spec.id); // as the actor does
  reopen();
  EXPECT_EQ(barred(), (std::vector<std::string>{"conf", "renamed"})) << "also for another coordinator";
  auto other = stream("other", "another-key");
  other.viewing = viewing_access::with_token;
  ASSERT_TRUE(state->set({.spec = other, .if_revision = 0, .actor = "test"}, wall));
  ASSERT_TRUE(state->remove({other.id, 0, "test"}, wall + 25h - 1s));
  state->streams.erase(other.id);
  reopen();
  EXPECT_EQ(barred(), (std::vector<std::string>{"other", "renamed"})) << "what was there is gone everywhere";
}

TEST_F(Coordinator, GivesProbesATokenWhereViewersNeedOne) {
  node("n1");
  auto spec = stream();
  spec.viewing = viewing_access::with_token;
  ASSERT_TRUE(state->set({.spec = spec, .if_revision = 0, .actor = "test"}, wall));
  state->take(segment_listed{"conf", {"/s/conf~1/1/r/1.ts", 4000, "digest"}}, t0, wall);
  auto path = state->newest_segment.path;
  auto at = viewing::split(path);
  EXPECT_EQ(at.path, "/s/conf~1/1/r/1.ts");
  viewing::gate gate;
  gate.use(state->who_may_watch(0));
  EXPECT_EQ(gate.judge("conf", at.token, wall), viewing::verdict::good);
}

TEST_F(Coordinator, LearnsWhatATaskCostsFromRunsThatKeepUp) {
  node("n1");
  auto ladder = ladder_of(stream().id, "n1");
  auto said = state->cost_of("hls", ladder.options);
  task_status seen;
  seen.spec = ladder;
  seen.phase = task_phase::running;
  seen.progress = {.since = wall, .speed_milli = 1000, .fps_milli = 25'000, .bitrate = {}, .last_output_at = {}, .output_bytes = 1, .dropped_frames = 0, .cpu_milliseconds = 9'000};
  state->learn_cost(seen, wall + 10s);
  EXPECT_EQ(state->cost_of("hls", ladder.options), said) << "the start costs more";
  seen.progress.speed_milli = 800;
  state->learn_cost(seen, wall + 60s);
  EXPECT_EQ(state->cost_of("hls", ladder.options), said) << "it does not get what it needs";
  seen.progress.speed_milli = 1000;
  seen.progress.cpu_milliseconds = 12'000;
  state->learn_cost(seen, wall + 60s);
  EXPECT_EQ(state->cost_of("hls", ladder.options), 250) << "a fifth of a core, and a quarter of that as room";
  auto other = R"({"ladder":"economy","profile":"standard","standby":false})";
  EXPECT_EQ(state->cost_of("hls", other), find_task_type("hls")->cost_milli(other));
}

TEST_F(Coordinator, ARunThatIsTooSlowMovesOnlyToAMachineWithRoomAndOnlyOnce) {
  node("n1");
  auto ladder = ladder_of(stream().id, "n1");
  ASSERT_TRUE(place(ladder.id));
  auto& held = state->leases.at(ladder.id);
  node("n2", 2000);
  EXPECT_FALSE(state->roomier(ladder.id, held, t0 + 5s)) << "it has only just come";
  EXPECT_TRUE(state->roomier(ladder.id, held, t0 + 31s));
  state->nodes[node_name{"n2"}].status.load.cpu_milli = 1500; // by others than us
  EXPECT_FALSE(state->roomier(ladder.id, held, t0 + 31s));
}

TEST_F(Coordinator, NobodysSilenceCountsAfterItStoodStillItself) { // found by chaos: everybody was condemned
  EXPECT_FALSE(state->stood_still(t0));
  EXPECT_FALSE(state->stood_still(t0 + 250ms));
  EXPECT_TRUE(state->stood_still(t0 + 4s));
  EXPECT_TRUE(state->stood_still(t0 + 4250ms)) << "what waits to be heard comes first";
  EXPECT_TRUE(state->stood_still(t0 + 4800ms));
  EXPECT_TRUE(state->stood_still(t0 + 5300ms));
  EXPECT_FALSE(state->stood_still(t0 + 5600ms));
}

TEST_F(Coordinator, JudgesAgainAfterALeasesTimeHoweverSlowItIs) { // a disk that takes two seconds for each commit
  state->setup.options.lease_ttl = 4s;
  EXPECT_FALSE(state->stood_still(t0));
  EXPECT_TRUE(state->stood_still(t0 + 2s));
  EXPECT_TRUE(state->stood_still(t0 + 4s));
  EXPECT_FALSE(state->stood_still(t0 + 6s));
  EXPECT_FALSE(state->stood_still(t0 + 8s));
}

TEST_F(Coordinator, NeverGoesBackToAnOlderEpochOfATask) { // found by chaos
  node("n1");
  auto t = task(stream().id);
  auto first = *place(t.id);
  state->give_back({t.id, first.order.epoch}, wall);
  auto second = *place(t.id);
  state->give_back({t.id, second.order.epoch}, wall);
  join news;
  news.spec.name = node_name{"n1"};
  news.spec.instance = "n1-1";
  news.node = spawn(stand_in_node, log);
  news.runs = {first.order};
  std::vector<lease> over;
  state->take(news, t0, wall, over);
  EXPECT_FALSE(state->leases.contains(t.id)) << "not renewed: it ends there";
}

TEST_F(Coordinator, ACallbackOfAnEarlierStartTakesNoPublisherAway) { // found by chaos
  stream();
  auto of = [](std::string service, hook_kind kind, std::string key = "secret-key") {
    auto c = call(kind, std::move(key));
    c.service_id = std::move(service);
    return c;
  };
  ASSERT_TRUE(state->judge(of("s1", hook_kind::publish), t0, wall).publishes);
  EXPECT_TRUE(state->judge(of("s2", hook_kind::connect), t0, wall).service_changed) << "all that was on s1 is gone";
  EXPECT_FALSE(state->judge(of("s1", hook_kind::close), t0, wall).service_changed) << "late";
  EXPECT_EQ(state->services["srv"], "s2");
  // Where the server's own list is read, that is what tells.
  state->take(rtmp_health{"srv", true, "", 1}, t0);
  EXPECT_FALSE(state->judge(of("made-up", hook_kind::publish, "wrong-key!"), t0, wall).service_changed);
  EXPECT_FALSE(state->judge(of("made-up", hook_kind::connect), t0, wall).service_changed);
  EXPECT_TRUE(state->judge(of("s3", hook_kind::publish), t0, wall).service_changed);
}

TEST_F(Coordinator, AListCountsAndCutsOffByTheVhostAsHooksDo) {
  auto conf = stream().id;
  auto elsewhere = stream("guest", "other-secret");
  elsewhere.vhost = "studio.example";
  ASSERT_TRUE(state->set({.spec = elsewhere, .if_revision = 0, .actor = "test"}, wall));
  auto row = [](std::string client, std::string name, std::string vhost) {
    return publication_list::item{.app = "live", .stream = std::move(name), .client_id = std::move(client), .address = {}, .vhost = std::move(vhost)};
  };
  using clients = std::vector<std::string>;
  auto judge = [&](std::vector<publication_list::item> items) {
    auto found = state->judge(publication_list{"srv", "s1", std::move(items)}, t0, wall);
    std::map<std::string, clients> said;
    for (auto& [id, list] : found.streams)
      for (auto& p : list.publishers)
        said[state->streams.at(id).spec.name].push_back(p.client_id);
    for (auto& one : found.unwanted.items)
      said["cut off"].push_back(one.client_id);
    return said;
  };
  using verdicts = std::map<std::string, clients>;
  EXPECT_EQ(judge({row("1", "conf", "__defaultVhost__"), row("2", "guest", "studio.example")}), (verdicts{{"conf", {"1"}}, {"guest", {"2"}}}));
  EXPECT_EQ(judge({row("1", "conf", "")}), (verdicts{{"conf", {"1"}}})) << "nginx-rtmp knows none";
  EXPECT_EQ(judge({row("1", "conf", "strangers.example"), row("2", "talk", "strangers.example")}), verdicts{}) << "neither ours to count nor to cut off";
  EXPECT_EQ(judge({row("1", "talk", "__defaultVhost__"), row("2", "conf", "studio.example"), row("3", "guest", "")}), (verdicts{{"cut off", {"1", "2", "3"}}})) << "a hook would have refused them";
  // A stranger of the same name does not keep a publisher alive that its server does not list any more.
  state->streams.at(conf).status.publishers = {{"srv", "s1", "1", "10.0.0.1", wall}};
  auto found = state->judge(publication_list{"srv", "s1", {row("9", "conf", "strangers.example")}}, t0, wall);
  ASSERT_TRUE(found.streams.contains(conf));
  EXPECT_TRUE(found.streams.at(conf).publishers.empty());
  EXPECT_FALSE(found.service_changed);
  EXPECT_TRUE(state->judge(publication_list{"srv", "s2", {}}, t0, wall).service_changed);
  // The last stream of a vhost is removed: whoever publishes it must go all the same.
  ASSERT_TRUE(state->remove(remove_stream{elsewhere.id, 0, "test"}, wall));
  state->streams.erase(elsewhere.id); // as the actor does
  EXPECT_EQ(judge({row("2", "guest", "studio.example")}), (verdicts{{"cut off", {"2"}}}));
  EXPECT_FALSE(state->judge(call(hook_kind::publish, "other-secret", "guest"), t0, wall).answer.accept);
}

TEST_F(Coordinator, KicksWhereSomebodyCanCutOffAndSaysWhereNobodyCan) {
  auto id = stream().id;
  auto may_publish = [&](time_point now) { return state->judge(call(hook_kind::publish), now, wall).answer.accept; };
  state->streams.at(id).status.publishers = {{"srs1", "a", "1", "10.0.0.1", wall}, {"srs2", "b", "2", "10.0.0.2", wall}, {"srs2", "b", "3", "10.0.0.3", wall}};
  auto nobody = state->kick({id, "test"}, t0, wall);
  ASSERT_FALSE(nobody) << "no list of either is read, so nothing would happen";
  EXPECT_EQ(nobody.error().code, error_code::unsupported);
  EXPECT_EQ(nobody.error().text, "RTMP server \"srs1\" has no api_url, so nobody can be cut off there: set it in rtmp_servers and restart the coordinator; "
                                 "RTMP server \"srs2\" has no api_url, so nobody can be cut off there: set it in rtmp_servers and restart the coordinator");
  EXPECT_TRUE(may_publish(t0)) << "nobody was kicked";
  EXPECT_TRUE(last_event().starts_with("stream-added")) << last_event();

  state->take(rtmp_health{"srs1", true, "", 1}, t0);
  auto one = state->kick({id, "test"}, t0, wall);
  ASSERT_TRUE(one) << one.error().text;
  ASSERT_EQ(one->size(), 1u);
  EXPECT_EQ(one->front().server, "srs1");
  EXPECT_EQ(last_event(), "stream-kicked: The publisher is cut off within 2 s and refused for 10 s, but not everywhere: RTMP server \"srs2\" has no api_url, "
                          "so nobody can be cut off there: set it in rtmp_servers and restart the coordinator.");
  EXPECT_FALSE(may_publish(t0 + 9s));
  EXPECT_TRUE(may_publish(t0 + 10s));

  // Of a server that says nothing nobody can be cut off now.
  state->streams.at(id).status.publishers.resize(1);
  state->judge_servers(t0 + 20s, wall);
  EXPECT_EQ(state->kick({id, "test"}, t0 + 20s, wall).error().code, error_code::unavailable);
  state->take(rtmp_health{"srs1", true, "", 1}, t0 + 21s);
  state->judge_servers(t0 + 21s, wall);
  EXPECT_TRUE(state->kick({id, "test"}, t0 + 21s, wall));
  EXPECT_EQ(last_event(), "stream-kicked: The publisher is cut off within 2 s and refused for 10 s.");

  // An ingest of ours has a watch by itself, also before it has spoken to a coordinator that was just started.
  node("n1");
  state->streams.at(id).status.publishers = {{"srv", "a", "1", "10.0.0.1", wall}};
  EXPECT_TRUE(state->kick({id, "test"}, t0 + 40s, wall));
  EXPECT_EQ(state->kick({stream_id{"none"}, "test"}, t0, wall).error().code, error_code::not_found);
}

} // namespace
} // namespace weir::testing
