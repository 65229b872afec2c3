#include "actors/introspection.hpp"
#include "actors/door.hpp"
#include "tests/unit/actors/cast.hpp"
#include "tests/unit/actors/virtual_time.hpp"

#include <nlohmann/json.hpp>

namespace weir::testing {
namespace {

using namespace std::chrono_literals;

/// An actor that only reports; a silent one never does.
struct branch_state {
  branch_state() = default;
  static inline const char* name = "branch";
};
status_actor::behavior_type branch(status_actor::stateful_pointer<branch_state>, std::string name, std::vector<caf::actor> children, bool silent) {
  return {[=](const ask_status&) -> caf::result<actor_report> {
    if (silent)
      return caf::delegated<actor_report>{};
    return actor_report{.name = name, .kind = "branch", .status = R"({"fine":true})", .mailbox = 0, .restarts = 2, .uptime_ms = 1500, .children = children};
  }};
}

class Introspection : public virtual_time {
public:
  caf::actor make(std::string name, std::vector<caf::actor> children = {}, bool silent = false) {
    return caf::actor_cast<caf::actor>(spawn(branch, std::move(name), std::move(children), silent));
  }
  std::shared_ptr<coordinator_script> script = std::make_shared<coordinator_script>();
  coordinator_actor boss = spawn(stand_in_coordinator, std::make_shared<heard>(), script);
  introspection_actor of(std::string node, const std::vector<caf::actor>& roots) {
    auto made = spawn(introspection, std::move(node), boss);
    for (auto& r : roots)
      tell(made, show_root{r});
    return made;
  }
  nlohmann::json tree(std::vector<caf::actor> roots) {
    auto asked = of("lab", roots);
    auto request = self->request(asked, caf::infinite, ask_tree{});
    settle();
    advance(1100ms); // for those who are silent
    nlohmann::json found;
    request.receive([&](actor_tree& t) { found = nlohmann::json::parse(t.json).at("actors"); }, [&](caf::error& why) { ADD_FAILURE() << from_caf(why).text; });
    return found;
  }
};

TEST_F(Introspection, ShowsEachActorWithItsChildren) {
  auto leaf = make("stream/a/task/1");
  auto found = tree({make("coordinator", {make("stream/a", {leaf}), make("stream/b")}), make("origin")});
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0]["name"], "coordinator");
  EXPECT_EQ(found[0]["node"], "lab");
  EXPECT_EQ(found[0]["restarts"], 2);
  EXPECT_EQ(found[0]["uptime_seconds"], 1.5);
  EXPECT_EQ(found[0]["status"]["fine"], true);
  ASSERT_EQ(found[0]["children"].size(), 2u);
  EXPECT_EQ(found[0]["children"][0]["children"][0]["name"], "stream/a/task/1");
  EXPECT_EQ(found[1]["name"], "origin");
}

TEST_F(Introspection, ASilentOrDeadActorIsSeenAsSuch) {
  auto dead = make("dead");
  caf::anon_send_exit(dead, caf::exit_reason::user_shutdown);
  settle();
  auto found = tree({make("parent", {make("hangs", {}, true), make("well")}), dead});
  EXPECT_EQ(found[0]["children"][0]["kind"], "silent");
  EXPECT_EQ(found[0]["children"][1]["name"], "well");
  EXPECT_EQ(found[1]["kind"], "silent");
}

TEST_F(Introspection, IsEmptyWithoutRoots) { EXPECT_EQ(tree({}), nlohmann::json::array()); }

TEST_F(Introspection, PutsTheTreesOfAllNodesTogetherAndNamesTheSilentOnes) {
  auto lab = of("lab", {make("node/lab")}), hall = of("hall", {make("node/hall")});
  script->trees.trees = {{node_name{"hall"}, hall}, {node_name{"lab"}, lab}, {node_name{"lost"}, {}}};
  auto request = self->request(lab, caf::infinite, ask_tree{true});
  settle();
  nlohmann::json found;
  request.receive([&](actor_tree& t) { found = nlohmann::json::parse(t.json); }, [&](caf::error& why) { ADD_FAILURE() << from_caf(why).text; });
  ASSERT_EQ(found["actors"].size(), 2u);
  EXPECT_EQ(found["actors"][0]["node"], "hall");
  EXPECT_EQ(found["actors"][1]["node"], "lab");
  ASSERT_EQ(found["silent"].size(), 1u);
  EXPECT_EQ(found["silent"][0], "lost: not connected");
}

class DoorActor : public virtual_time {};

TEST_F(DoorActor, LetsInWhoBelongsHereAndCountsTheRest) {
  auto boss = spawn(stand_in_coordinator, std::make_shared<heard>(), std::make_shared<coordinator_script>());
  hello us{"main", "control", "1", "form"};
  auto way_in = spawn(door, us, boss, caf::actor{});
  EXPECT_EQ(ask<welcome>(way_in, hello{"main", "w1", "1", "form"}).coordinator, caf::actor_cast<caf::actor>(boss));
  error refused;
  auto request = self->request(way_in, caf::infinite, hello{"main", "w2", "0", "older"});
  settle();
  request.receive([](welcome&) { ADD_FAILURE() << "it was let in"; }, [&](caf::error& why) { refused = from_caf(why); });
  EXPECT_EQ(refused.code, error_code::unsupported);
  EXPECT_NE(refused.text.find("older"), std::string::npos);
  auto shown = nlohmann::json::parse(ask<actor_report>(way_in, ask_status{}).status);
  EXPECT_EQ(shown["let_in"], 1);
  EXPECT_EQ(shown["turned_away"], 1);
}

} // namespace
} // namespace weir::testing
