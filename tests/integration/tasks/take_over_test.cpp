// Three ORIGINs that keep copies for each other, over real HTTP; what the coordinator says of them is the test's.
#include "actors/origin.hpp"
#include "runtime/http/client.hpp"
#include "tests/unit/actors/cast.hpp"

#include <array>
#include <filesystem>
#include <fmt/format.h>
#include <future>
#include <gtest/gtest.h>
#include <thread>

namespace weir::testing {
namespace {

using namespace std::chrono_literals;

class TakeOver : public ::testing::Test {
protected:
  struct member {
    std::string name;
    std::shared_ptr<origin::replica_desk> desk;
    std::unique_ptr<http::server> server;
    std::shared_ptr<origin::replicated_store> copies;
    origin_actor keeper;
  };
  std::filesystem::path folder = std::filesystem::temp_directory_path() / ("weir-take-over-" + random_uuid());
  caf::actor_system_config config;
  std::unique_ptr<caf::actor_system> system;
  std::shared_ptr<http::client> client = std::make_shared<http::client>(http::client_options{});
  std::mutex guard; ///< of what follows
  origin_orders orders;
  std::map<std::string, origin_word> said;
  coordinator_actor boss;
  std::array<member, 3> members;
  const timestamp start = std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now());

  void SetUp() override {
    config.set("scheduler.max-threads", std::size_t{2});
    system = std::make_unique<caf::actor_system>(config);
    auto script = std::make_shared<coordinator_script>();
    script->write = [this](const origin_word& word) {
      std::lock_guard lock(guard);
      said[word.node.value] = word;
      return orders;
    };
    boss = system->spawn(stand_in_coordinator, std::make_shared<heard>(), script);
    std::filesystem::create_directories(folder);
    for (std::size_t i = 0; i < members.size(); ++i) {
      auto& m = members[i];
      m.name = fmt::format("o{}", i + 1);
      std::shared_ptr<origin::segment_store> local = origin::open_folder_store((folder / m.name).string(), m.name).value();
      m.desk = origin::replica_desk::open(local, folder / (m.name + ".copies")).value();
      serve(m, 0);
      origin::replicated_options how{.self = m.name};
      how.deadline = 2s;
      m.copies = std::make_shared<origin::replicated_store>(m.desk, *client, how);
      m.keeper = system->spawn<caf::detached>(origin_keeper, origin_setup{m.copies, {.dir = m.name}, {}, node_name{m.name}, m.copies, "start of " + m.name}, boss);
    }
  }
  void TearDown() override {
    for (auto& m : members)
      end(m);
    caf::anon_send(boss, stop{});
    boss = nullptr;
    for (auto& m : members) {
      m.copies.reset();
      m.server.reset();
    }
    system.reset();
    client.reset();
    for (auto& m : members)
      m.desk->close(20s);
    std::filesystem::remove_all(folder);
  }
  void serve(member& m, std::uint16_t port) {
    m.server = std::make_unique<http::server>(http::server_options{.name = m.name, .listen = fmt::format("127.0.0.1:{}", port)});
    origin::add_replica_routes(*m.server, m.desk, "copies of " + m.name, 1 << 20);
    auto started = m.server->start();
    ASSERT_TRUE(started) << started.error().text;
  }
  /// As kill -9 does to its node: it asks nobody and answers nobody any more.
  void end(member& m) {
    if (!m.keeper)
      return;
    m.server->stop(0s);
    m.copies->close();
    caf::scoped_actor waits(*system);
    waits->monitor(m.keeper);
    caf::anon_send(m.keeper, stop{});
    waits->receive([](const caf::down_msg&) {}, caf::after(20s) >> [] { FAIL() << "it does not end"; });
    m.keeper = nullptr;
  }
  origin_group group(std::uint64_t term, std::size_t holder) {
    origin_group g{.term = term, .holder = members[holder].name, .instance = "start of " + members[holder].name, .members = {}};
    for (auto& m : members)
      g.members.push_back({.url = fmt::format("http://127.0.0.1:{}", m.server->port()), .token = {}, .node = {}, .read_token = {}, .peer_token = "copies of " + m.name, .copies = 0, .member = m.name});
    return g;
  }
  void decide(origin_orders next) {
    std::lock_guard lock(guard);
    orders = std::move(next);
  }
  /// Until that origin says that it has taken over.
  bool holds(std::size_t i, std::uint64_t term) {
    for (const auto until = std::chrono::steady_clock::now() + 20s; std::chrono::steady_clock::now() < until; std::this_thread::sleep_for(10ms)) {
      std::lock_guard lock(guard);
      if (said[members[i].name].in_force == term)
        return true;
    }
    return false;
  }
  template <class Message>
  static expected<void> answer_of(const origin_actor& keeper, Message m) {
    auto result = std::make_shared<std::promise<expected<void>>>();
    auto future = result->get_future();
    m.answer = [result](expected<void> done) { result->set_value(std::move(done)); };
    tell_anon(keeper, std::move(m));
    if (future.wait_for(20s) != std::future_status::ready)
      return fail(error_code::timeout, "no answer");
    return future.get();
  }
  expected<void> present(std::size_t i) {
    return answer_of(members[i].keeper, writer_hello{"show", 65'536, "pub", hls_profile::brief, {{"720p", 1280, 720, 25'000, "avc1.64001f", {3'000'000}}}, false, {}});
  }
  expected<void> deliver(std::size_t i, std::uint64_t slot) {
    auto text = fmt::format("segment {}", slot);
    segment_info info{"720p", slot, static_cast<std::int64_t>(slot) * 180'000, 180'000, true, false, start - 2s * (6 - slot), text.size()};
    return answer_of(members[i].keeper, segment_offer{"show", 65'536, std::move(info), std::make_shared<const std::string>(text), {}});
  }
  /// The log as a director gets it.
  hls::stream_log listed(std::size_t i) {
    std::promise<expected<std::string>> page;
    tell_anon(members[i].keeper, log_wish{"director", {}, 0ms, [&](expected<std::string> text) { page.set_value(std::move(text)); }});
    auto text = page.get_future().get();
    auto read = text ? hls::parse_log_page(*text) : expected<hls::log_page>(fail(text.error()));
    EXPECT_TRUE(read) << read.error().text;
    return read && !read->logs.empty() ? read->logs.front() : hls::stream_log{};
  }
};

TEST_F(TakeOver, GoesOnAtAnotherOriginWithAllThatWasAcknowledged) {
  EXPECT_EQ(present(0).error().code, error_code::unavailable) << "nobody has said who writes";
  decide({.present = group(7, 0), .former = {}});
  ASSERT_TRUE(holds(0, 7));
  ASSERT_TRUE(present(0));
  for (std::uint64_t slot = 1; slot <= 4; ++slot) {
    auto done = deliver(0, slot);
    ASSERT_TRUE(done) << done.error().text;
  }
  auto before = listed(0);
  ASSERT_EQ(before.entries.size(), 4U);
  auto refused = present(1);
  EXPECT_EQ(refused.error().code, error_code::unavailable);
  EXPECT_NE(refused.error().text.find("origin o1 has them"), std::string::npos) << refused.error().text;

  auto former = group(7, 0);
  end(members[0]);
  decide({.present = group(8, 1), .former = {former}});
  ASSERT_TRUE(holds(1, 8));
  ASSERT_TRUE(present(1));
  EXPECT_TRUE(deliver(1, 4)) << "it has not heard, say, that this is in";
  ASSERT_TRUE(deliver(1, 5));
  auto after = listed(1);
  ASSERT_EQ(after.entries.size(), 5U);
  EXPECT_EQ(after.instance, before.instance);
  EXPECT_GT(after.version, before.version) << "directors take it for the newer one";
  for (std::size_t at = 0; at < before.entries.size(); ++at) {
    EXPECT_EQ(after.entries[at].msn, before.entries[at].msn);
    EXPECT_EQ(after.entries[at].epoch, before.entries[at].epoch);
    EXPECT_EQ(after.entries[at].gaps, 0U);
    auto file = members[1].copies->open("show", {before.instance, before.entries[at].epoch, "720p", before.entries[at].msn});
    ASSERT_TRUE(file) << file.error().text;
  }
}

TEST_F(TakeOver, IsTriedAgainWhileTheCoordinatorIsAway) {
  const auto orders_once = group(7, 0);
  std::array<std::uint16_t, 2> ports{members[1].server->port(), members[2].server->port()};
  members[1].server->stop(0s);
  members[2].server->stop(0s);
  decide({.present = orders_once, .former = {}});
  auto trouble = [&] {
    std::lock_guard lock(guard);
    return said["o1"].trouble;
  };
  for (const auto until = std::chrono::steady_clock::now() + 20s; std::chrono::steady_clock::now() < until && trouble().empty(); std::this_thread::sleep_for(10ms)) {
  }
  ASSERT_NE(trouble(), "");
  decide({}); // nothing that anybody obeys is said from now on
  serve(members[1], ports[0]);
  serve(members[2], ports[1]);
  ASSERT_TRUE(holds(0, 7));
  EXPECT_TRUE(present(0));
}

TEST_F(TakeOver, WhoeverIsToldThatAnotherWritesStandsBy) {
  decide({.present = group(7, 0), .former = {}});
  ASSERT_TRUE(holds(0, 7));
  ASSERT_TRUE(present(0));
  ASSERT_TRUE(deliver(0, 1));
  decide({.present = group(8, 2), .former = {group(7, 0)}});
  ASSERT_TRUE(holds(2, 8));
  ASSERT_TRUE(present(2));
  ASSERT_TRUE(deliver(2, 2));
  for (const auto until = std::chrono::steady_clock::now() + 20s; std::chrono::steady_clock::now() < until && present(0); std::this_thread::sleep_for(10ms)) {
  }
  EXPECT_EQ(present(0).error().code, error_code::unavailable);
  EXPECT_EQ(deliver(0, 2).error().code, error_code::not_found);
  EXPECT_TRUE(holds(0, 0));
  // And back, under a term of its own.
  decide({.present = group(9, 0), .former = {group(8, 2)}});
  ASSERT_TRUE(holds(0, 9));
  ASSERT_TRUE(present(0));
  ASSERT_TRUE(deliver(0, 3));
  EXPECT_EQ(listed(0).entries.size(), 3U);
  // A term that is meant for another start of it.
  auto stranger = group(10, 0);
  stranger.instance = "another start";
  decide({.present = stranger, .former = {group(9, 0)}});
  EXPECT_TRUE(holds(0, 0));
  EXPECT_FALSE(present(0));
}

} // namespace
} // namespace weir::testing
