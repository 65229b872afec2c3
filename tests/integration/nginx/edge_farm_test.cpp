// EDGE FARM with real edges: it begins and ends them as it is told, and says what it could begin and which is no more.
#include "actors/edge_farm.hpp"
#include "runtime/http/client.hpp"
#include "tests/integration/nginx/surroundings.hpp"
#include "tests/integration/nginx/tiny_http.hpp"

#include <caf/all.hpp>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <mutex>
#include <set>

namespace weir::testing {
namespace {

using namespace surroundings;

/// What COORDINATOR hears. Edges have threads of their own, so the clock is the real one.
struct news {
  std::mutex mutex;
  std::vector<edge_name> forgotten;
  std::set<std::string> up;
  std::vector<edge_name> idle;
};

caf::behavior ear(caf::event_based_actor*, std::shared_ptr<news> heard) {
  return {
    [](const edge_hello&) {},
    [=](const edge_load& load) {
      std::scoped_lock lock(heard->mutex);
      if (load.up)
        heard->up.insert(load.edge.value);
    },
    [=](const farm_hello& says) {
      std::scoped_lock lock(heard->mutex);
      heard->idle = says.idle;
    },
    [=](const forget_edge& over) {
      std::scoped_lock lock(heard->mutex);
      heard->forgotten.push_back(over.name);
      heard->up.erase(over.name.value);
    },
  };
}

class EdgeFarm : public ::testing::Test {
protected:
  folder home;
  std::shared_ptr<news> heard = std::make_shared<news>();
  std::shared_ptr<http::client> web = std::make_shared<http::client>(http::client_options{});
  caf::actor_system_config config;
  caf::actor_system system{config};
  caf::scoped_actor self{system};
  caf::actor coordinator = system.spawn(ear, heard);
  edge_farm_actor farm;

  void SetUp() override {
    std::vector<edge_setup> places;
    for (int n = 2; n <= 3; ++n) {
      edge_setup setup;
      setup.spec.name = edge_name{fmt::format("n1-{}", n)};
      setup.spec.node = node_name{"n1"};
      setup.spec.url = fmt::format("http://127.0.0.1:{}", tiny_http::free_port());
      setup.folder = home / fmt::format("edge-{}", n);
      setup.config.listen = setup.spec.url.substr(7);
      setup.config.status = fmt::format("127.0.0.1:{}", tiny_http::free_port());
      setup.status_url = "http://" + setup.config.status + "/status";
      setup.config.origins = {"127.0.0.1:1"};
      places.push_back(std::move(setup));
    }
    farm = system.spawn(edge_farm, node_name{"n1"}, std::move(places), web, caf::actor_cast<coordinator_actor>(coordinator));
  }
  void TearDown() override {
    self->monitor(farm);
    caf::anon_send(farm, stop{});
    self->receive([](const caf::down_msg&) {}, caf::after(std::chrono::seconds(20)) >> [] { FAIL() << "it does not end"; });
    EXPECT_TRUE(nginx_in(home / "edge-2").empty() && nginx_in(home / "edge-3").empty());
    farm = nullptr;
    caf::anon_send_exit(coordinator, caf::exit_reason::kill);
    coordinator = nullptr;
  }

  /// The name, or why not.
  std::string begin() {
    std::string said;
    self->request(farm, std::chrono::seconds(10), run_edge{})
      .receive([&](const edge_begun& edge) { said = edge.name.value; }, [&](const caf::error& why) { said = from_caf(why).text; });
    return said;
  }
  bool comes(const std::function<bool()>& what) {
    return eventually([&] {
      std::scoped_lock lock(heard->mutex);
      return what();
    });
  }
  bool has_idle(const std::vector<edge_name>& edges) {
    return comes([&] { return heard->idle == edges; });
  }
  bool serve(const std::set<std::string>& edges) {
    return comes([&] { return heard->up == edges; });
  }
  /// It says once that this one is no more.
  bool is_gone(const std::string& edge) {
    return comes([&] { return std::ranges::find(heard->forgotten, edge_name{edge}) != heard->forgotten.end(); });
  }
};

TEST_F(EdgeFarm, BeginsAsManyAsItHasAndEndsThemAsTold) {
  EXPECT_TRUE(has_idle({edge_name{"n1-2"}, edge_name{"n1-3"}})) << "whoever remembers them from before is told";
  EXPECT_EQ(begin(), "n1-2");
  EXPECT_EQ(begin(), "n1-3");
  EXPECT_EQ(begin(), "no edge more can be started on node n1");
  EXPECT_TRUE(has_idle({}));
  EXPECT_TRUE(serve({"n1-2", "n1-3"}));

  caf::anon_send(farm, end_edge{edge_name{"n1-2"}});
  EXPECT_TRUE(has_idle({edge_name{"n1-2"}}));
  EXPECT_TRUE(is_gone("n1-2"));
  EXPECT_TRUE(nginx_in(home / "edge-2").empty());
  EXPECT_FALSE(nginx_in(home / "edge-3").empty());
  EXPECT_TRUE(serve({"n1-3"}));
  caf::anon_send(farm, end_edge{edge_name{"other"}});
  caf::anon_send(farm, end_edge{edge_name{"n1-2"}}); // whoever asks again did not hear it

  EXPECT_EQ(begin(), "n1-2");
  EXPECT_TRUE(serve({"n1-2", "n1-3"}));
}

TEST_F(EdgeFarm, TellsOfAnEdgeThatCannotBeginAndTriesItAgainWhenAsked) {
  std::ofstream(home / "edge-2") << "a file where its folder should be";
  EXPECT_EQ(begin(), "n1-2");
  EXPECT_TRUE(is_gone("n1-2"));
  std::filesystem::remove(home / "edge-2");
  EXPECT_EQ(begin(), "n1-2");
  EXPECT_TRUE(serve({"n1-2"}));
}

} // namespace
} // namespace weir::testing
