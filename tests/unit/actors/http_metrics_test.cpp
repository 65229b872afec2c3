#include "actors/http_metrics.hpp"
#include "actors/director.hpp"
#include "actors/origin.hpp"
#include "actors/task_types.hpp"
#include "runtime/base/secret.hpp"
#include "tests/unit/actors/cast.hpp"
#include "tests/unit/actors/virtual_time.hpp"

#include <algorithm>
#include <filesystem>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sstream>

namespace weir::testing {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

class HttpMetrics : public ::testing::Test {
public:
  cluster_view view;
  timestamp now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  metrics::registry registry;
  restart_counter restarts;

  HttpMetrics() {
    stream_status stream;
    stream.spec.id = stream_id{"s"};
    stream.spec.name = "main";
    stream.phase = stream_phase::live;
    stream.publishers = {{.server = "srs1", .service_id = "1", .client_id = "1", .address = {}, .since = now - 1min}};
    view.streams = {stream};
  }
  task_status& task(std::string id, std::string type = "hls") {
    auto& t = view.tasks.emplace_back();
    t.spec.id = task_id{std::move(id)};
    t.spec.stream = stream_id{"s"};
    t.spec.type = std::move(type);
    return t;
  }
  std::string cluster() {
    auto shown = registry.collect_with([&](metrics::scrape& out) { show_cluster(out, view, now); });
    return "\n" + registry.text();
  }
  std::string node(const json& actors) {
    auto shown = registry.collect_with([&](metrics::scrape& out) { show_node(out, actors); });
    return "\n" + registry.text();
  }
  static json actor(std::string kind, std::string name, std::string_view status = "{}") {
    json one;
    one["kind"] = kind;
    one["name"] = name;
    one["mailbox"] = 1;
    one["restarts"] = 2;
    one["status"] = json::parse(status);
    one["children"] = json::array();
    return one;
  }
};

#define EXPECT_LINE(text, line) EXPECT_NE((text).find(std::string("\n") + (line) + "\n"), std::string::npos) << (line) << " is not in" << (text)

TEST_F(HttpMetrics, ANodeThatLeftIsNotUp) {
  for (auto [name, phase] : {std::pair{"here", node_phase::draining}, {"lost", node_phase::down}, {"gone", node_phase::left}}) {
    auto& n = view.nodes.emplace_back();
    n.spec.name = node_name{name};
    n.phase = phase;
  }
  auto text = cluster();
  EXPECT_LINE(text, R"(weir_node_up{node="here"} 1)");
  EXPECT_LINE(text, R"(weir_node_up{node="lost"} 0)");
  EXPECT_LINE(text, R"(weir_node_up{node="gone"} 0)");
  EXPECT_LINE(text, R"(weir_node_phase{node="gone",phase="left"} 1)");
}

TEST_F(HttpMetrics, AStandbyIsMissedWhereOneIsWantedAndTheTaskRuns) {
  auto& t = task("t");
  t.spec.options = canonical_options("hls", R"({"standby": true})").value();
  t.phase = task_phase::running;
  t.standby_phase = task_phase::starting;
  EXPECT_LINE(cluster(), R"(weir_task_standby_missing{stream="main",task="t"} 1)");
  t.standby_phase = task_phase::running;
  EXPECT_LINE(cluster(), R"(weir_task_standby_missing{stream="main",task="t"} 0)");
  t.phase = t.standby_phase = task_phase::waiting;
  EXPECT_LINE(cluster(), R"(weir_task_standby_missing{stream="main",task="t"} 0)"); // other alerts are about that
  t.phase = task_phase::running;
  t.spec.options = canonical_options("hls", "{}").value();
  EXPECT_EQ(cluster().find("weir_task_standby_missing"), std::string::npos) << "it wants none";
  t.spec.options = canonical_options("hls", R"({"standby": true})").value();
  view.streams[0].phase = stream_phase::offline;
  EXPECT_EQ(cluster().find("weir_task_standby_missing"), std::string::npos) << "nothing runs of a stream that is offline";
}

TEST_F(HttpMetrics, RestartsAreCountedByTheirCauseFromOneLookToTheNext) {
  task("t").attempts = 3;
  task("u", "restream").attempts = 0;
  auto& t = view.tasks[0];
  auto& u = view.tasks[1];
  auto look = [&] {
    restarts.take(view, registry);
    std::istringstream lines(registry.text());
    std::string counted = "\n";
    for (std::string line; std::getline(lines, line);)
      if (line.starts_with("weir_task_restarts_total"))
        counted += line + "\n";
    return counted;
  };
  EXPECT_EQ(look(), "\n") << "what was before we looked is not counted";
  t.attempts = 5;
  t.last_cause = end_cause::crashed;
  u.attempts = 1; // its first start is none
  EXPECT_LINE(look(), R"(weir_task_restarts_total{type="hls",cause="crashed"} 2)");
  t.attempts = 6;
  t.last_cause = end_cause::lease_lost;
  u.attempts = 2;
  u.last_cause = end_cause::target_refused;
  auto text = look();
  EXPECT_LINE(text, R"(weir_task_restarts_total{type="hls",cause="crashed"} 2)");
  EXPECT_LINE(text, R"(weir_task_restarts_total{type="hls",cause="lease_lost"} 1)");
  EXPECT_LINE(text, R"(weir_task_restarts_total{type="restream",cause="target_refused"} 1)");
  t.attempts = 1; // another broadcast
  u.attempts = 0; // its TASK began anew, and then learnt what runs
  look();
  u.attempts = 2;
  EXPECT_EQ(look(), text) << "neither is a restart";
  view.tasks.pop_back();
  t.attempts = 2;
  EXPECT_LINE(look(), R"(weir_task_restarts_total{type="hls",cause="lease_lost"} 2)");
}

TEST_F(HttpMetrics, TheTreeTellsWhatEachActorCounted) {
  metrics::histogram ages(metrics::scale::media);
  ages.observe(7);
  auto tree = json::array();
  tree.push_back(actor("coordinator", "coordinator", R"({"store": {"table_bytes": 1000, "wal_bytes": 20, "records": 7, "failures": 1},
                                                          "origins": {"wanted": 3, "there": 2, "lost": "2 of 3 are needed", "learners": {"o4": {"seconds": 12.5, "complete": false}}}})"));
  tree.back()["children"].push_back(actor("stream", "stream/main"));
  tree.push_back(actor("origin", "origin", R"({"written": 5, "bytes": 100, "fenced": 1, "refused": 2, "full": 3, "ages": {}})"));
  tree.back()["status"]["ages"]["buckets"] = ages.now().buckets;
  tree.back()["status"]["ages"]["sum"] = ages.now().sum;
  tree.back()["status"]["copies"] = {{"writes", true}, {"owed", {{"o2", 7}, {"o3", 0}}}};
  tree.push_back(actor("director", "director", R"({"sessions": {"b-1": 4}, "localities": {"hall": {"near": 5, "elsewhere": 2}}, "moves": {"edge_left": 512, "weights": 3},
                                              "audience": {"hall": {"sessions": 9, "beacons": 3, "joins": {"buckets": [], "sum": 0},
                                                                    "edges": {"b-1": {"stalls": 2, "stalled_seconds": 1.5, "played_seconds": 60}}}}})"));
  tree.back()["status"]["audience"]["hall"]["joins"] = {{"buckets", ages.now().buckets}, {"sum", ages.now().sum}};
  tree.push_back(actor("edge", "edge/b-1", R"({"requests": {"hit": 90, "miss": 10}, "streams": {"hall": {"bytes": 5000, "hit": 80, "miss": 7}}})"));
  tree.push_back(actor("seat", "seat", R"({"leads": true, "candidates": ["a", "b"], "standbys": 1,
                                           "etcd": [{"member": "http://e1:2379", "up": true, "trouble": ""}, {"member": "http://e2:2379", "up": false, "trouble": "x"}]})"));
  tree.push_back(actor("silent", "silent", R"("timed out")"));
  auto text = node(tree);
  EXPECT_LINE(text, R"(weir_store_size_bytes{part="tables"} 1000)");
  EXPECT_LINE(text, R"(weir_store_size_bytes{part="log"} 20)");
  EXPECT_LINE(text, "weir_store_records 7");
  EXPECT_LINE(text, "weir_store_failures_total 1");
  EXPECT_LINE(text, "weir_segments_written_total 5");
  EXPECT_LINE(text, "weir_segments_disk_full_total 3");
  EXPECT_LINE(text, R"(weir_origin_copies{state="wanted"} 3)");
  EXPECT_LINE(text, R"(weir_origin_copies{state="there"} 2)");
  EXPECT_LINE(text, "weir_origin_quorum_lost 1");
  EXPECT_LINE(text, R"(weir_origin_learning_seconds{origin="o4"} 12.5)");
  EXPECT_LINE(text, R"(weir_origin_copies_owed{peer="o2"} 7)");
  EXPECT_LINE(text, R"(weir_origin_copies_owed{peer="o3"} 0)");
  EXPECT_LINE(text, R"(weir_segment_age_seconds_bucket{le="6"} 0)");
  EXPECT_LINE(text, R"(weir_segment_age_seconds_bucket{le="8"} 1)");
  EXPECT_LINE(text, "weir_segment_age_seconds_sum 7");
  EXPECT_LINE(text, R"(weir_sessions_total{edge="b-1"} 4)");
  EXPECT_LINE(text, R"(weir_local_sessions_total{locality="hall",place="near"} 5)");
  EXPECT_LINE(text, R"(weir_local_sessions_total{locality="hall",place="elsewhere"} 2)");
  EXPECT_LINE(text, R"(weir_steering_moves_total{cause="edge_left"} 512)");
  EXPECT_LINE(text, R"(weir_steering_moves_total{cause="weights"} 3)");
  EXPECT_LINE(text, R"(weir_edge_requests_total{edge="b-1",cache="hit"} 90)");
  EXPECT_LINE(text, R"(weir_edge_requests_total{edge="b-1",cache="miss"} 10)");
  EXPECT_LINE(text, R"(weir_stream_sessions_total{stream="hall"} 9)");
  EXPECT_LINE(text, R"(weir_viewer_join_duration_seconds_sum{stream="hall"} 7)");
  EXPECT_LINE(text, R"(weir_viewer_stalls_total{stream="hall",edge="b-1"} 2)");
  EXPECT_LINE(text, R"(weir_viewer_stalled_seconds_total{stream="hall",edge="b-1"} 1.5)");
  EXPECT_LINE(text, R"(weir_viewer_played_seconds_total{stream="hall",edge="b-1"} 60)");
  EXPECT_LINE(text, R"(weir_stream_sent_bytes_total{stream="hall",edge="b-1"} 5000)");
  EXPECT_LINE(text, R"(weir_stream_requests_total{stream="hall",edge="b-1",cache="hit"} 80)");
  EXPECT_LINE(text, R"(weir_stream_requests_total{stream="hall",edge="b-1",cache="miss"} 7)");
  EXPECT_LINE(text, R"(weir_mailbox_messages{actor="stream"} 1)");
  EXPECT_LINE(text, R"(weir_actor_restarts_total{actor="stream"} 2)");
  EXPECT_LINE(text, R"(weir_election_etcd_member_up{member="http://e1:2379"} 1)");
  EXPECT_LINE(text, R"(weir_election_etcd_member_up{member="http://e2:2379"} 0)");
  EXPECT_LINE(text, "weir_election_standbys 1");
  auto unknown = node(json::array({actor("seat", "seat", R"({"candidates": null, "standbys": null, "etcd": []})")}));
  EXPECT_EQ(unknown.find("weir_election"), std::string::npos) << "an etcd that does not answer is not one without standbys";
  auto alone = node(json::array({actor("node", "node/w1")}));
  for (auto absent : {"weir_store", "weir_segment_age", "weir_sessions", "weir_steering", "weir_edge_requests", "weir_election"})
    EXPECT_EQ(alone.find(absent), std::string::npos) << absent << ": of whoever is not here nothing is told";
}

/// What real actors say of themselves has the form that is read there.
class HttpMetricsOfActors : public virtual_time {
public:
  coordinator_actor boss = spawn(stand_in_coordinator, std::make_shared<heard>(), std::make_shared<coordinator_script>());
  template <class Actor>
  std::string told_of(const Actor& actor) {
    auto report = ask<actor_report>(actor, ask_status{});
    json one;
    one["name"] = report.name;
    one["kind"] = report.kind;
    one["status"] = json::parse(report.status);
    metrics::registry registry;
    auto shown = registry.collect_with([&](metrics::scrape& out) { show_node(out, json::array({one})); });
    return "\n" + registry.text();
  }
  static edge_table table(edge_epoch epoch, std::vector<std::string> names) {
    std::vector<edge_target> edges;
    for (auto& n : names)
      edges.push_back({.name = edge_name{n}, .url = "http://" + n, .weight_milli = 1000, .capacity_bps = 1'000'000'000});
    return steering::make_table(epoch, edges);
  }
};

TEST_F(HttpMetricsOfActors, TheDirectorTellsWhomItSentWhereAndWhomATableMoved) {
  auto desk = std::make_shared<playlist_desk>(30s);
  auto made = spawn(director, director_setup{node_name{"here"}, desk, nullptr}, boss);
  tell(made, table(1, {"a"}));
  tell(made, edge_list{});
  desk->with_admission([](auto& admission) {
    for (int i = 0; i < 3; ++i)
      EXPECT_TRUE(admission.admit([n = std::uint64_t{0}]() mutable { return n++; }));
  });
  desk->audience().begun("hall");
  EXPECT_TRUE(desk->audience().add("hall", "a", {.join_ms = 7000, .stalls = 1, .stalled_ms = 250, .played_ms = 4000, .edge = {}}, "192.0.2.1", {}));
  auto text = told_of(made);
  EXPECT_LINE(text, R"(weir_stream_sessions_total{stream="hall"} 1)");
  EXPECT_LINE(text, R"(weir_viewer_join_duration_seconds_count{stream="hall"} 1)");
  EXPECT_LINE(text, R"(weir_viewer_stalled_seconds_total{stream="hall",edge="a"} 0.25)");
  EXPECT_LINE(text, R"(weir_sessions_total{edge="a"} 3)");
  EXPECT_LINE(text, R"(weir_steering_moves_total{cause="edge_left"} 0)");
  tell(made, table(2, {"b"}));
  text = told_of(made);
  EXPECT_LINE(text, R"(weir_steering_moves_total{cause="edge_left"} 1024)");
  EXPECT_LINE(text, R"(weir_sessions_total{edge="b"} 0)");
}

TEST_F(HttpMetricsOfActors, TheOriginTellsHowOldSegmentsWereWhenTheyWereListed) {
  const auto folder = std::filesystem::temp_directory_path() / ("weir-metrics-" + random_uuid());
  auto store = origin::open_folder_store(folder);
  ASSERT_TRUE(store);
  auto made = spawn(origin_keeper, origin_setup{std::move(*store), {.dir = folder.string()}, {}}, boss);
  int answers = 0;
  auto good = [&answers](expected<void> done) {
    EXPECT_TRUE(done) << done.error().text;
    ++answers;
  };
  rung_info rung{.name = "180p", .width = 320, .height = 180, .fps_milli = 25'000, .codecs = "avc1.42c01e,mp4a.40.2", .nominal = {400'000}};
  tell(made, writer_hello{.stream = "conf", .writer_epoch = 65536, .publication = "srv/1/1", .profile = hls_profile::brief, .rungs = {rung}, .answer = good});
  for (std::uint64_t slot = 0; slot < 4; ++slot) {
    segment_offer offer{.stream = "conf", .writer_epoch = 65536, .info = {}, .bytes = std::make_shared<const std::string>(1880, 'G'), .answer = good};
    offer.info = {.rung = "180p", .slot = 10 + slot, .first_pts = std::int64_t(10 + slot) * 180'000, .duration = 180'000, .independent = true, .discontinuity = false,
                  .captured = std::chrono::system_clock::now() - 10s + slot * 2s, .bytes = 1880};
    tell(made, std::move(offer));
  }
  // The store is on threads of its own.
  for (auto until = std::chrono::steady_clock::now() + 30s; answers < 5 && std::chrono::steady_clock::now() < until; std::this_thread::yield())
    settle();
  ASSERT_EQ(answers, 5);
  auto text = told_of(made);
  EXPECT_LINE(text, "weir_segments_written_total 4");
  EXPECT_LINE(text, "weir_segments_late_total 0");
  EXPECT_LINE(text, "weir_segment_age_seconds_count 4");
  EXPECT_LINE(text, R"(weir_segment_age_seconds_bucket{le="3"} 0)");
  EXPECT_LINE(text, R"(weir_segment_age_seconds_bucket{le="12"} 4)");
  std::filesystem::remove_all(folder);
}

} // namespace
} // namespace weir::testing
