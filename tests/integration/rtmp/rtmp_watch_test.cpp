// RTMP WATCH at an SRS (its stand-in): what it tells the COORDINATOR, what it asks, and whom it cuts off.
#include "actors/coordinator.hpp"
#include "actors/rtmp_watch.hpp"
#include "runtime/base/secret.hpp"
#include "runtime/http/client.hpp"
#include "tests/integration/rtmp/srs_stand_in.hpp"

#include <algorithm>
#include <condition_variable>
#include <filesystem>
#include <gtest/gtest.h>
#include <mutex>
#include <set>
#include <thread>

namespace weir::testing {
namespace {

using namespace std::chrono_literals;

template <class F>
bool eventually(F condition, std::chrono::milliseconds limit = 10s) {
  for (const auto end = std::chrono::steady_clock::now() + limit; std::chrono::steady_clock::now() < end; std::this_thread::sleep_for(10ms))
    if (condition())
      return true;
  return condition();
}

/// What the stand-in for COORDINATOR was told, waited for with a deadline, and whom it wants to be cut off.
struct notebook {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<publication_list> lists;
  std::vector<rtmp_health> health;
  std::set<std::string> unwanted; ///< streams

  template <class F>
  bool wait(F condition, std::chrono::milliseconds limit = 10s) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, limit, condition);
  }
  /// Waits for a list with exactly these clients.
  bool wait_for_clients(std::set<std::string> clients) {
    return wait([&] {
      std::set<std::string> listed;
      if (!lists.empty())
        for (auto& one : lists.back().items)
          listed.insert(one.client_id);
      return !lists.empty() && listed == clients;
    });
  }
  publication_list last() {
    std::lock_guard lock(mutex);
    return lists.back();
  }
  void cut_off(const std::string& stream) {
    std::lock_guard lock(mutex);
    unwanted.insert(stream);
  }
};

caf::behavior listener(caf::event_based_actor*, notebook* told) {
  return {
    [=](const publication_list& list) {
      std::lock_guard lock(told->mutex);
      told->lists.push_back(list);
      told->changed.notify_all();
      drop_list drops;
      for (auto& one : list.items)
        if (told->unwanted.contains(one.stream))
          drops.items.push_back(one);
      return drops;
    },
    [=](const rtmp_health& news) {
      std::lock_guard lock(told->mutex);
      told->health.push_back(news);
      told->changed.notify_all();
    },
  };
}

struct quiet_config : caf::actor_system_config {
  quiet_config() {
    set("scheduler.max-threads", std::size_t{2});
    set("logger.file-verbosity", caf::atom("quiet"));
  }
};

class RtmpWatch : public ::testing::Test {
protected:
  void watch_it() {
    listener_ = system.spawn(listener, &told);
    watch_ = system.spawn(rtmp_watch, rtmp_watch_setup{.server = "srs1", .kind = rtmp_server_kind::srs, .url = srs.url()}, web, caf::actor_cast<coordinator_actor>(listener_));
  }
  ~RtmpWatch() override {
    caf::anon_send_exit(watch_, caf::exit_reason::user_shutdown);
    caf::anon_send_exit(listener_, caf::exit_reason::user_shutdown);
  }

  srs_stand_in srs;
  notebook told;
  quiet_config config;
  caf::actor_system system{config};
  std::shared_ptr<http::client> web = std::make_shared<http::client>(http::client_options{});

private:
  caf::actor listener_;
  rtmp_watch_actor watch_;
};

TEST_F(RtmpWatch, TellsOfAPublisherThatNoCallbackToldOf) {
  watch_it();
  ASSERT_TRUE(told.wait_for_clients({}));
  srs.publish("j0e9h759", "livestream");
  ASSERT_TRUE(told.wait_for_clients({"j0e9h759"}));
  auto list = told.last();
  EXPECT_EQ(list.server, "srs1");
  EXPECT_EQ(list.service_id, "51st40z1");
  EXPECT_EQ(list.items[0].app, "live");
  EXPECT_EQ(list.items[0].stream, "livestream");
  EXPECT_EQ(list.items[0].vhost, "__defaultVhost__") << "by its name, as hooks say it";
  EXPECT_TRUE(told.wait([&] { return told.health.back().up && told.health.back().publishers == 1; }));
  srs.leave("j0e9h759");
  EXPECT_TRUE(told.wait_for_clients({}));
  EXPECT_TRUE(told.wait([&] { return told.health.back().up && told.health.back().publishers == 0; }));
}

TEST_F(RtmpWatch, TellsOfNobodyWhoseKeyIsNotCheckedYet) {
  srs.arrive("00b15q56", "livestream");
  srs.publish("j0e9h759", "other");
  watch_it();
  ASSERT_TRUE(told.wait_for_clients({"j0e9h759"}));
  ASSERT_TRUE(srs.wait_for_polls(2));
  srs.publish("00b15q56", "livestream"); // the key was right
  ASSERT_TRUE(told.wait_for_clients({"00b15q56", "j0e9h759"}));
  std::lock_guard lock(told.mutex);
  EXPECT_GE(told.lists.size(), 2u);
  EXPECT_EQ(told.lists.front().items.size(), 1u);
}

TEST_F(RtmpWatch, ReadsMoreThanTheTenRowsThatSrsGivesUnasked) {
  std::set<std::string> all;
  for (int i = 0; i < 25; ++i) {
    all.insert(fmt::format("client{:02}", i));
    srs.publish(fmt::format("client{:02}", i), fmt::format("stream{}", i));
  }
  watch_it();
  EXPECT_TRUE(told.wait_for_clients(all)) << told.last().items.size();
}

TEST_F(RtmpWatch, AsksForTheNamesOfVhostsOnceAndAgainWhenAnotherOneComes) {
  srs.publish("1", "conf");
  watch_it();
  ASSERT_TRUE(told.wait_for_clients({"1"}));
  ASSERT_TRUE(srs.wait_for_polls(2));
  auto times = [&] { return std::ranges::count(srs.asked(), "GET /api/v1/vhosts/"); };
  EXPECT_EQ(times(), 1);
  srs.publish("2", "guest", "studio.example");
  ASSERT_TRUE(told.wait_for_clients({"1", "2"}));
  EXPECT_EQ(times(), 2);
  EXPECT_EQ(told.last().items[0].vhost, "__defaultVhost__");
  EXPECT_EQ(told.last().items[1].vhost, "studio.example");
}

TEST_F(RtmpWatch, ARestartOfTheServerIsAnotherService) {
  srs.publish("1", "conf");
  watch_it();
  ASSERT_TRUE(told.wait_for_clients({"1"}));
  srs.restart("9y3k2m1a");
  ASSERT_TRUE(told.wait_for_clients({}));
  EXPECT_EQ(told.last().service_id, "9y3k2m1a");
  srs.publish("1", "conf"); // under an id that was there before, in a vhost with an id that was not
  ASSERT_TRUE(told.wait_for_clients({"1"}));
  EXPECT_EQ(told.last().service_id, "9y3k2m1a");
  EXPECT_EQ(told.last().items[0].vhost, "__defaultVhost__");
}

TEST_F(RtmpWatch, CutsOffWhomTheCoordinatorNames) {
  srs.publish("a b", "conf"); // no id of SRS looks like this, but whatever it says must stay one id
  srs.publish("7", "other");
  watch_it();
  ASSERT_TRUE(told.wait_for_clients({"7", "a b"}));
  told.cut_off("conf");
  EXPECT_TRUE(srs.wait_for("DELETE /api/v1/clients/a%20b"));
  EXPECT_TRUE(told.wait_for_clients({"7"})) << "whoever was cut off is gone, the others are not";
  EXPECT_EQ(std::ranges::count_if(srs.asked(), [](auto& a) { return a.starts_with("DELETE") && a != "DELETE /api/v1/clients/a%20b"; }), 0);
}

TEST_F(RtmpWatch, AServerThatTakesQuestionsAndAnswersNoneIsUnhealthyAndNotEmpty) {
  srs.publish("1", "conf");
  watch_it();
  ASSERT_TRUE(told.wait_for_clients({"1"}));
  ASSERT_TRUE(told.wait([&] { return !told.health.empty() && told.health.back().up; }));
  srs.hang();
  ASSERT_TRUE(eventually([&] { return srs.holds_a_question(); }));
  const auto asked = std::chrono::steady_clock::now();
  ASSERT_TRUE(told.wait([&] { return !told.health.back().up; }));
  EXPECT_LT(std::chrono::steady_clock::now() - asked, 3s) << "its deadline is 0.9 s; after 3 s COORDINATOR would take its silence for its own word";
  {
    std::lock_guard lock(told.mutex);
    EXPECT_FALSE(told.health.back().text.empty());
    EXPECT_EQ(told.health.back().publishers, 1u);
    EXPECT_EQ(told.lists.back().items.size(), 1u) << "unreachable is not empty";
  }
  srs.leave("1");
  srs.wake();
  EXPECT_TRUE(told.wait([&] { return told.health.back().up; }));
  EXPECT_TRUE(told.wait_for_clients({}));
}

/// A COORDINATOR with a real store that reads the list of one SRS.
class WatchingCoordinator : public ::testing::Test {
protected:
  WatchingCoordinator() {
    auto db = store::store::open(folder / "store");
    if (!db)
      throw std::runtime_error(db.error().text);
    coordinator_setup setup;
    setup.cluster = "test";
    setup.store = std::make_shared<store::store>(std::move(*db));
    setup.foreign_servers = {{"srs1", "rtmp://127.0.0.1:1", "rtmp://srs1"}, {"srs2", "rtmp://127.0.0.1:2", "rtmp://srs2"}};
    setup.watched_servers = {{.server = "srs1", .kind = rtmp_server_kind::srs, .url = srs.url()}};
    setup.http = web;
    boss = system.spawn<caf::detached>(coordinator, std::move(setup));
  }
  ~WatchingCoordinator() override {
    caf::anon_send_exit(boss, caf::exit_reason::user_shutdown);
    boss = nullptr;
    system.await_all_actors_done();
    std::filesystem::remove_all(folder);
  }

  template <class Reply, class Handle, class Message>
  expected<Reply> ask(const Handle& whom, Message message) {
    caf::scoped_actor self{system, true};
    expected<Reply> answer = fail(error_code::timeout, "no answer");
    self->request(whom, caf::duration{10s}, std::move(message)).receive([&](Reply& r) { answer = std::move(r); }, [&](caf::error& why) { answer = fail(from_caf(why)); });
    return answer;
  }
  expected<void> kick(const stream_id& id) {
    caf::scoped_actor self{system, true};
    expected<void> answer;
    self->request(boss, caf::duration{10s}, kick_stream{id, "test"}).receive([] {}, [&](caf::error& why) { answer = fail(from_caf(why)); });
    return answer;
  }
  stream_status add(std::string name) {
    add_stream wish;
    wish.spec.name = std::move(name);
    wish.spec.key = "secret-key";
    auto made = ask<stream_status>(boss, wish);
    EXPECT_TRUE(made) << made.error().text;
    return made.value_or(stream_status{});
  }
  stream_status status(const stream_id& id) { return ask<stream_status>(boss, find_stream{.id = id, .name = {}}).value_or(stream_status{}); }
  bool has_event(const std::string& kind, const std::string& text) {
    auto events = ask<event_list>(boss, list_events{.after = 0, .limit = 100, .newest = true});
    return events && std::ranges::any_of(events->events, [&](auto& e) { return e.kind == kind && e.text == text; });
  }
  /// Its RTMP WATCHes in the tree of actors.
  std::vector<caf::actor> watches() {
    std::vector<caf::actor> found;
    for (auto& child : ask<actor_report>(boss, ask_status{}).value_or(actor_report{}).children)
      if (auto report = ask<actor_report>(child, ask_status{}); report && report->kind == "rtmp-watch" && report->name == "rtmp-watch/srs1")
        found.push_back(child);
    return found;
  }
  hook_verdict hook(std::string client, std::string server, std::string key) {
    hook_call call{.kind = hook_kind::publish, .server = std::move(server), .service_id = "51st40z1", .client_id = std::move(client), .address = "10.0.0.7", .vhost = "__defaultVhost__",
                   .app = "live", .stream = "conf", .key = std::move(key)};
    return ask<hook_verdict>(boss, call).value_or(hook_verdict{});
  }

  std::filesystem::path folder = std::filesystem::temp_directory_path() / ("weir-rtmp-" + random_uuid());
  srs_stand_in srs;
  quiet_config config;
  caf::actor_system system{config};
  std::shared_ptr<http::client> web = std::make_shared<http::client>(http::client_options{});
  coordinator_actor boss;
};

TEST_F(WatchingCoordinator, MakesLostCallbacksGoodAndKicks) {
  auto id = add("conf").spec.id;
  srs.publish("j0e9h759", "conf");
  srs.publish("guest", "conf", "strangers.example");
  ASSERT_TRUE(eventually([&] { return status(id).phase == stream_phase::live; }));
  ASSERT_EQ(status(id).publishers.size(), 1u);
  EXPECT_EQ(status(id).publishers[0].client_id, "j0e9h759");
  EXPECT_TRUE(has_event("stream-live", "It is published by client j0e9h759 on srs1."));
  EXPECT_TRUE(hook("j0e9h759", "srs1", "secret-key").accept); // late
  EXPECT_TRUE(eventually([&] { return status(id).publishers[0].address == "10.0.0.7"; }));
  ASSERT_TRUE(srs.wait_for_polls(2));
  EXPECT_EQ(status(id).publishers[0].address, "10.0.0.7") << "the list does not know better";

  auto done = kick(id);
  EXPECT_TRUE(done) << done.error().text;
  EXPECT_TRUE(srs.wait_for("DELETE /api/v1/clients/j0e9h759"));
  EXPECT_TRUE(eventually([&] { return status(id).phase == stream_phase::ending; }));
  EXPECT_FALSE(hook("again", "srs1", "secret-key").accept) << "for 10 s";
  EXPECT_EQ(std::ranges::count(srs.asked(), "DELETE /api/v1/clients/guest"), 0) << "of another vhost";
}

TEST_F(WatchingCoordinator, RefusesAKickThatWouldReachNobody) {
  auto id = add("conf").spec.id;
  ASSERT_TRUE(hook("5", "srs2", "secret-key").accept);
  ASSERT_TRUE(eventually([&] { return status(id).phase == stream_phase::live; }));
  auto done = kick(id);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, error_code::unsupported);
  EXPECT_NE(done.error().text.find("\"srs2\" has no api_url"), std::string::npos) << done.error().text;
  EXPECT_EQ(status(id).publishers.size(), 1u) << "it still publishes";
  EXPECT_TRUE(hook("5", "srs2", "secret-key").accept) << "and may";
}

TEST_F(WatchingCoordinator, IsTheParentOfItsWatchesAndTakesThemAlong) {
  auto before = watches();
  ASSERT_EQ(before.size(), 1u);
  ASSERT_TRUE(srs.wait_for_polls(1));
  caf::anon_send_exit(before[0], caf::exit_reason::unhandled_exception);
  auto after = before;
  ASSERT_TRUE(eventually([&] { return (after = watches()).size() == 1 && after != before; })) << "a dead one is spawned again";
  EXPECT_EQ(ask<actor_report>(boss, ask_status{}).value_or(actor_report{}).restarts, 1u);
  ASSERT_TRUE(srs.wait_for_polls(1));
  caf::scoped_actor self{system, true};
  self->monitor(after[0]);
  caf::anon_send(boss, stop{});
  bool gone = false;
  self->receive([&](const caf::down_msg& down) { gone = down.source == after[0].address(); }, caf::after(10s) >> [] {});
  EXPECT_TRUE(gone) << "whoever does not coordinate reads no list";
}

} // namespace
} // namespace weir::testing
