#include "actors/door.hpp"
#include "actors/uplink.hpp"
#include "actors/wire.hpp"
#include "runtime/describe/encode.hpp"
#include "tests/unit/actors/cast.hpp"
#include "tests/unit/actors/virtual_time.hpp"

#include <caf/binary_deserializer.hpp>
#include <caf/binary_serializer.hpp>

namespace weir::testing {
namespace {

using namespace std::chrono_literals;

TEST(Wire, HasAFormThatStaysWithinAProgram) {
  EXPECT_EQ(wire_form().size(), 16u);
  EXPECT_EQ(wire_form(), wire_form());
}

/// A message as the other end reads it.
template <class T>
T sent(caf::actor_system& system, T x) {
  std::vector<char> bytes;
  caf::binary_serializer out{system, bytes};
  EXPECT_FALSE(out(x));
  T read;
  caf::binary_deserializer in{system, bytes};
  EXPECT_FALSE(in(read));
  EXPECT_EQ(in.remaining(), 0u);
  return read;
}

class WireMessages : public virtual_time {};

TEST_F(WireMessages, ArriveAsTheyWereSent) {
  auto worker = spawn(stand_in_node, std::make_shared<heard>());
  join news;
  news.spec = {.name = node_name{"w"}, .instance = "i", .roles = {role::worker, role::edge}, .task_types = {"hls"}, .capacity_milli = 4000, .http_url = "http://h", .version = "1",
               .labels = {{"room", "main hall"}}};
  news.node = worker;
  news.rtmp_servers = {{"srv", "rtmp://a", "rtmp://b"}};
  news.origins = {{"http://o", "token", node_name{"w"}, "for reading"}};
  task_order run;
  run.task = task_id{"t"};
  run.options = R"({"url":"rtmp://host/live/key"})";
  run.epoch = 1ull << 40;
  news.runs = {run};
  auto read = sent(system, news);
  EXPECT_EQ(describe::to_json(read.spec), describe::to_json(news.spec));
  EXPECT_EQ(read.node, worker);
  EXPECT_EQ(read.rtmp_servers.at(0).publish_url, "rtmp://b");
  EXPECT_EQ(read.origins.at(0).token, "token");
  EXPECT_EQ(read.origins.at(0).read_token, "for reading");
  EXPECT_EQ(read.runs.at(0).epoch, run.epoch);
  EXPECT_EQ(read.runs.at(0).options, run.options);

  drop_list drops{{{.app = "live", .stream = "conf", .client_id = "7", .address = "10.0.0.1", .vhost = "studio.example"}}};
  EXPECT_EQ(describe::to_json(sent(system, drops).items.at(0)), describe::to_json(drops.items[0]));

  cluster_view view;
  view.version = 7;
  view.streams.resize(2);
  view.streams[1].spec.name = "Gr\xc3\xb6\xc3\x9f" "e";
  view.streams[1].publishers = {{"srv", "1", "c", "10.0.0.1", timestamp(3s)}};
  view.tasks.resize(1);
  view.tasks[0].phase = task_phase::crash_looping;
  view.tasks[0].progress.speed_milli = -5;
  view.tasks[0].log_tail = {"a", "", "b"};
  view.edges.resize(1);
  view.edges[0].load.bits_per_second = 1ll << 40;
  auto back = sent(system, view);
  EXPECT_EQ(back.streams[1].spec.name, view.streams[1].spec.name);
  EXPECT_EQ(back.streams[1].publishers.at(0).since, timestamp(3s));
  EXPECT_EQ(back.tasks[0].phase, task_phase::crash_looping);
  EXPECT_EQ(back.tasks[0].progress.speed_milli, -5);
  EXPECT_EQ(back.tasks[0].log_tail, view.tasks[0].log_tail);
  EXPECT_EQ(back.edges[0].load.bits_per_second, 1ll << 40);

  edge_list edges{.edges = {}, .oldest_table = 3, .joins = {{node_name{"d"}, 9, {edge_name{"e"}}, {1ull << 40}, 800}}, .widths = {2, {{"a", 5}}, true}};
  EXPECT_EQ(sent(system, edges).widths, edges.widths);
  auto joins = sent(system, edges).joins.at(0);
  EXPECT_EQ(joins.edges, edges.joins[0].edges);
  EXPECT_EQ(joins.viewers, edges.joins[0].viewers);
  EXPECT_EQ(joins.age_ms, 800);
  EXPECT_EQ(sent(system, origin_list{news.origins, true}).origins.at(0).node, node_name{"w"});

  known_keys keys{.version = 3, .until = timestamp(7s), .keys = {{"live", "a", "", "hash"}}, .signature = "s", .signer = "k"};
  EXPECT_EQ(sent(system, keys).until, keys.until); // it is part of what is signed
  EXPECT_EQ(sent(system, keys).keys.at(0).hash, "hash");
}

TEST_F(WireMessages, AreReadFromTornBytesWithAnErrorOnly) {
  cluster_view view;
  view.streams.resize(3);
  std::vector<char> bytes;
  caf::binary_serializer out{system, bytes};
  ASSERT_FALSE(out(view));
  for (std::size_t n = 0; n < bytes.size(); n += 3) {
    std::vector<char> torn(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n));
    cluster_view read;
    caf::binary_deserializer in{system, torn};
    EXPECT_TRUE(in(read)) << n;
  }
}

TEST(Door, TurnsAwayOtherClustersAndOtherFormsInASentenceThatNamesBoth) {
  hello us{"main", "control", "1.2", "aaaa"};
  EXPECT_TRUE(admit({"main", "w1", "1.2", "aaaa"}, us));
  EXPECT_TRUE(admit({"main", "w1", "1.3", "aaaa"}, us)) << "another version with the same messages";
  auto other = admit({"stage", "w1", "1.2", "aaaa"}, us);
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().text, R"(node "w1" wants to join cluster "stage", but this is cluster "main")");
  auto old = admit({"main", "w1", "1.1", "bbbb"}, us);
  ASSERT_FALSE(old);
  for (auto word : {"1.1", "bbbb", "1.2", "aaaa", "w1"})
    EXPECT_NE(old.error().text.find(word), std::string::npos) << old.error().text;
}

TEST(Uplink, DialsAtOnceThenWithPatience) {
  uplink_state s;
  EXPECT_EQ(s.patience(), 250ms);
  s.failures = 39;
  EXPECT_EQ(s.patience(), 250ms);
  s.failures = 42;
  EXPECT_EQ(s.patience(), 1s);
  s.failures = 1000;
  EXPECT_EQ(s.patience(), 5s);
}

} // namespace
} // namespace weir::testing
