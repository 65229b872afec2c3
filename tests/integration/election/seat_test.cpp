// Two SEATs at a real etcd: the one that leads has a COORDINATOR, and with it all that only one may have.
#include "actors/seat.hpp"
#include "runtime/http/client.hpp"
#include "tests/integration/election/etcd_members.hpp"
#include "tests/integration/rtmp/srs_stand_in.hpp"

#include <filesystem>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

namespace weir::testing {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

struct quiet_config : caf::actor_system_config {
  quiet_config() {
    set("scheduler.max-threads", std::size_t{2});
    set("logger.file-verbosity", caf::atom("quiet"));
  }
};

template <class F>
bool eventually(F condition, std::chrono::milliseconds limit = 20s) {
  for (const auto end = std::chrono::steady_clock::now() + limit; std::chrono::steady_clock::now() < end; std::this_thread::sleep_for(10ms))
    if (condition())
      return true;
  return condition();
}

class Seats : public ::testing::Test {
protected:
  Seats() {
    std::string name = fs::temp_directory_path() / "weir-seats-XXXXXX";
    folder = mkdtemp(name.data());
  }
  ~Seats() override {
    for (auto& one : spawned)
      caf::anon_send(one, stop{});
    system.await_all_actors_done();
    fs::remove_all(folder);
  }
  caf::actor take_seat(const std::string& node) {
    auto db = store::store::open(folder / node);
    EXPECT_TRUE(db) << db.error().text;
    seat_setup setup;
    setup.coordinator.cluster = "seats";
    setup.coordinator.store = std::make_shared<store::store>(std::move(*db));
    setup.coordinator.own_node = node_name{node};
    setup.coordinator.http = web;
    setup.coordinator.foreign_servers = {{"srs1", "rtmp://127.0.0.1:1", "rtmp://srs1"}};
    setup.coordinator.watched_servers = {{.server = "srs1", .kind = rtmp_server_kind::srs, .url = srs.url()}};
    setup.uplink.addresses = {"127.0.0.1:1"}; // nobody lets nodes in here
    setup.election.cluster = "seats";
    setup.election.node = node;
    setup.election.address = "127.0.0.1:1";
    setup.election.etcd = etcd.options();
    return spawned.emplace_back(system.spawn<caf::detached>(seat, std::move(setup)));
  }
  /// The kinds of all actors below it in the tree.
  std::multiset<std::string> below(const caf::actor& top) {
    std::multiset<std::string> kinds;
    caf::scoped_actor self{system, true};
    self->request(top, caf::duration{5s}, ask_status{})
      .receive(
        [&](const actor_report& report) {
          for (auto& child : report.children) {
            self->request(child, caf::duration{5s}, ask_status{}).receive([&](const actor_report& its) { kinds.insert(its.kind); }, [](caf::error&) {});
            kinds.merge(below(child));
          }
        },
        [](caf::error&) {});
    return kinds;
  }
  /// What it says of itself.
  nlohmann::json status(const caf::actor& of) {
    nlohmann::json told;
    caf::scoped_actor self{system, true};
    self->request(of, caf::duration{5s}, ask_status{}).receive([&](const actor_report& report) { told = nlohmann::json::parse(report.status); }, [](caf::error&) {});
    return told;
  }
  bool leads(const caf::actor& one) { return below(one) == std::multiset<std::string>{"coordinator", "rtmp-watch"}; }
  bool stands_by(const caf::actor& one) { return below(one) == std::multiset<std::string>{"uplink"}; }

  etcd_members etcd;
  srs_stand_in srs;
  fs::path folder;
  quiet_config config;
  caf::actor_system system{config};
  std::shared_ptr<http::client> web = std::make_shared<http::client>(http::client_options{});
  std::vector<caf::actor> spawned;
};

TEST_F(Seats, OnlyTheOneThatLeadsReadsTheListsOfRtmpServers) {
  auto a = take_seat("a");
  ASSERT_TRUE(eventually([&] { return leads(a); }));
  auto b = take_seat("b");
  ASSERT_TRUE(eventually([&] { return stands_by(b); }));
  ASSERT_TRUE(srs.wait_for_polls(2));
  EXPECT_TRUE(leads(a));
  EXPECT_TRUE(stands_by(b));
  for (auto& one : {a, b}) {
    EXPECT_TRUE(eventually([&] { return status(one)["standbys"] == 1; })) << status(one);
    EXPECT_EQ(status(one)["candidates"], (nlohmann::json{"a", "b"}));
    EXPECT_TRUE(eventually([&] { return status(one)["etcd"].size() == 3; })) << status(one);
    const auto seen = status(one);
    for (auto& member : seen["etcd"])
      EXPECT_EQ(member["up"], true) << member;
  }
  caf::anon_send(a, stop{});
  ASSERT_TRUE(eventually([&] { return leads(b); }));
  EXPECT_TRUE(eventually([&] { return status(b)["standbys"] == 0; })) << status(b);
  EXPECT_TRUE(srs.wait_for_polls(2)) << "whoever leads now reads them";
  EXPECT_TRUE(below(a).empty());
}

} // namespace
} // namespace weir::testing
