#include "actors/keyring.hpp"
#include "runtime/base/file.hpp"
#include "runtime/base/secret.hpp"
#include "tests/unit/actors/cast.hpp"
#include "tests/unit/actors/virtual_time.hpp"

#include <filesystem>
#include <gtest/gtest.h>

namespace weir::testing {
namespace {

using namespace std::chrono_literals;

class Keyring : public virtual_time {
protected:
  std::filesystem::path file = std::filesystem::temp_directory_path() / ("weir-keyring-" + random_uuid());
  std::shared_ptr<viewing::gate> gate = std::make_shared<viewing::gate>();
  heard_ptr log = std::make_shared<heard>();
  std::shared_ptr<coordinator_script> script = std::make_shared<coordinator_script>();
  viewing_rules rules = viewing::with_version({.version = 0, .keys = {viewing::key_of("0123456789abcdefghijklmnopqrstuv")}, .signed_only = {"conf"}});

  keyring_actor start() {
    keyring_setup setup{gate, file};
    load_rules(setup);
    return spawn(keyring, std::move(setup), spawn(stand_in_coordinator, log, script));
  }
  void TearDown() override { std::filesystem::remove(file); }
};

TEST_F(Keyring, TakesWhatTheCoordinatorSaysAndKeepsItForWhenItIsAway) {
  auto one = start();
  advance(1s);
  EXPECT_EQ(gate->rules().version, 0u) << "a coordinator without keys has said nothing";
  script->viewing = rules;
  advance(1s);
  EXPECT_EQ(gate->rules(), rules);
  EXPECT_EQ(std::filesystem::status(file).permissions(), std::filesystem::perms::owner_read | std::filesystem::perms::owner_write) << "it holds the secrets";
  advance(1s);
  EXPECT_EQ(gate->rules(), rules) << "nothing new";
  rules.signed_only.clear();
  script->viewing = viewing::with_version(rules);
  advance(1s);
  EXPECT_TRUE(gate->rules().signed_only.empty());
  tell(one, stop{});
  settle();

  *script = {};
  gate = std::make_shared<viewing::gate>();
  auto two = start();
  settle();
  EXPECT_EQ(gate->rules(), viewing::with_version(rules));
  tell(two, stop{});
  settle();
}

TEST_F(Keyring, StartsWithNothingWhenItsFileIsDamaged) {
  ASSERT_TRUE(write_file_atomically(file, "{", 0600));
  auto one = start();
  settle();
  EXPECT_EQ(gate->rules().version, 0u);
  script->viewing = rules;
  advance(1s);
  EXPECT_EQ(gate->rules(), rules);
  tell(one, stop{});
  settle();
}

TEST_F(Keyring, AFileWithoutKeysOpensNothing) {
  ASSERT_TRUE(write_file_atomically(file, "{}", 0600));
  auto one = start();
  settle();
  EXPECT_EQ(gate->judge("conf", {}, timestamp{}), viewing::verdict::unheard);
  tell(one, stop{});
  settle();
}

TEST_F(Keyring, TriesAgainToKeepWhatIsInForce) {
  std::filesystem::create_directory(file); // in the file's place
  auto one = start();
  script->viewing = rules;
  advance(1s);
  EXPECT_EQ(gate->rules(), rules) << "in force all the same";
  std::filesystem::remove(file);
  advance(1s);
  EXPECT_TRUE(std::filesystem::is_regular_file(file));
  tell(one, stop{});
  settle();
}

} // namespace
} // namespace weir::testing
