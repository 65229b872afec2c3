// EDGE FARM with real edges: it begins and ends them as it is told, and says what it could begin and which is no more.
#include "actors/edge_farm.hpp"
#include "runtime/http/client.hpp"
#include "tests/integration/nginx/surroundings.hpp"
#include "tests/integration/nginx/tiny_http.hpp"
#include "tests/unit/actors/cast.hpp"
#include "tests/unit/actors/virtual_time.hpp"

namespace weir::testing {
namespace {

using namespace surroundings;

class EdgeFarm : public virtual_time {
protected:
  folder home;
  heard_ptr log = std::make_shared<heard>();
  std::shared_ptr<http::client> web = std::make_shared<http::client>(http::client_options{});
  std::vector<int> ports{tiny_http::free_port(), tiny_http::free_port()};
  edge_farm_actor farm;

  void SetUp() override {
    std::vector<edge_setup> places;
    for (int n = 0; n < 2; ++n) {
      edge_setup setup;
      setup.spec.name = edge_name{fmt::format("n1-{}", n + 2)};
      setup.spec.node = node_name{"n1"};
      setup.spec.url = fmt::format("http://127.0.0.1:{}", ports[static_cast<std::size_t>(n)]);
      setup.folder = home / fmt::format("edge-{}", n + 2);
      setup.config.listen = setup.spec.url.substr(7);
      setup.config.status = fmt::format("127.0.0.1:{}", tiny_http::free_port());
      setup.status_url = "http://" + setup.config.status + "/status";
      setup.config.origins = {"127.0.0.1:1"};
      places.push_back(std::move(setup));
    }
    auto coordinator = spawn(stand_in_coordinator, log, std::make_shared<coordinator_script>());
    farm = spawn(edge_farm, node_name{"n1"}, std::move(places), web, coordinator);
  }
  void TearDown() override {
    tell_anon(farm, stop{});
    EXPECT_TRUE(comes([&] { return nginx_in(home / "edge-2").empty() && nginx_in(home / "edge-3").empty(); }));
  }

  /// Edges have threads of their own.
  bool comes(const std::function<bool()>& what) {
    return eventually([&] {
      advance(1s);
      return what();
    });
  }
  /// The name, or why not.
  std::string begin() {
    std::string said;
    auto request = self->request(farm, 10s, run_edge{});
    settle();
    request.receive([&](const edge_begun& news) { said = news.name.value; }, [&](const caf::error& why) { said = from_caf(why).text; });
    return said;
  }
  std::uint32_t free() {
    advance(1s);
    return log->farms.empty() ? 99 : log->farms.back().free;
  }
  bool serves(const std::string& edge) {
    return std::ranges::any_of(log->loads, [&](auto& l) { return l.edge.value == edge && l.up; });
  }
};

TEST_F(EdgeFarm, BeginsAsManyAsItHasAndEndsThemAsTold) {
  EXPECT_EQ(free(), 2u);
  EXPECT_EQ(begin(), "n1-2");
  EXPECT_EQ(begin(), "n1-3");
  EXPECT_EQ(begin(), "no edge more can be started on node n1");
  EXPECT_EQ(free(), 0u);
  EXPECT_TRUE(comes([&] { return serves("n1-2") && serves("n1-3"); }));
  EXPECT_TRUE(log->forgotten.empty());

  tell_anon(farm, end_edge{edge_name{"n1-2"}});
  EXPECT_TRUE(comes([&] { return !log->forgotten.empty(); }));
  EXPECT_EQ(log->forgotten, (std::vector{edge_name{"n1-2"}}));
  EXPECT_TRUE(nginx_in(home / "edge-2").empty());
  EXPECT_FALSE(nginx_in(home / "edge-3").empty());
  EXPECT_EQ(free(), 1u);
  tell_anon(farm, end_edge{edge_name{"n1-2"}});
  tell_anon(farm, end_edge{edge_name{"other"}});
  settle();
  EXPECT_EQ(log->forgotten.size(), 2u) << "who asks again did not hear it";

  log->loads.clear();
  EXPECT_EQ(begin(), "n1-2");
  EXPECT_TRUE(comes([&] { return serves("n1-2"); }));
}

TEST_F(EdgeFarm, TellsOfAnEdgeThatCannotBeginAndTriesItAgainWhenAsked) {
  std::ofstream(home / "edge-2") << "a file where its folder should be";
  EXPECT_EQ(begin(), "n1-2");
  EXPECT_TRUE(comes([&] { return !log->forgotten.empty(); }));
  EXPECT_EQ(free(), 2u);
  std::filesystem::remove(home / "edge-2");
  EXPECT_EQ(begin(), "n1-2");
  EXPECT_TRUE(comes([&] { return serves("n1-2"); }));
}

} // namespace
} // namespace weir::testing
