#include "actors/known_keys.hpp"
#include "runtime/base/file.hpp"
#include "runtime/base/secret.hpp"

#include <filesystem>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace weir {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

/// A node's copy of the keys, its coordinator, and whoever tries to put others there.
class KnownKeys : public testing::Test {
protected:
  ~KnownKeys() override { fs::remove_all(folder); }
  std::string file() const { return folder / "known-keys.json"; }
  std::string signer_file() const { return folder / "known-keys.signer"; }
  nlohmann::json kept() const { return nlohmann::json::parse(*read_file(file(), 1 << 20)); }
  void keep(const nlohmann::json& j) const { ASSERT_TRUE(write_file_atomically(file(), j.dump(), 0600)); }
  static known_keys signed_by(const signing_key& who, known_keys keys) {
    keys.signer = who.public_key();
    keys.signature = who.sign(known_keys_text(keys));
    return keys;
  }
  /// What the coordinator says at this time to a node that has no list, and to one that has it.
  known_keys told(timestamp when) const {
    auto until = std::chrono::floor<std::chrono::seconds>(when + key_cache::lasts);
    return signed_by(coordinator, {.version = 7, .until = until, .keys = {{"live", "conf", "", hash}}, .signature = {}, .signer = {}});
  }
  known_keys confirmed(timestamp when) const {
    auto keys = told(when);
    keys.keys.clear();
    return keys;
  }
  static hook_call publishes(std::string key = "secret-key", std::string stream = "conf") {
    return {.kind = hook_kind::publish, .server = "srv", .service_id = "s1", .client_id = "7", .address = "10.1.1.1", .vhost = {}, .app = "live",
            .stream = std::move(stream), .key = std::move(key)};
  }
  static bool accepts(const key_cache& cache, timestamp when, std::string key = "secret-key") {
    auto verdict = cache.judge(publishes(std::move(key)), when);
    return verdict && verdict->accept;
  }

  fs::path folder = [] {
    std::string name = fs::temp_directory_path() / "weir-known-keys-XXXXXX";
    return fs::path(mkdtemp(name.data()));
  }();
  timestamp wall = std::chrono::system_clock::now();
  signing_key coordinator{"the cluster's seed"};
  std::string hash = salted_hash("secret-key");
};

TEST_F(KnownKeys, AreJudgedByUntilTheirTimeIsOverAlsoAfterARestart) {
  key_cache cache(file());
  ASSERT_TRUE(cache.take(told(wall)));
  EXPECT_TRUE(cache.judge(publishes(), wall + 1h)->accept);
  EXPECT_FALSE(cache.judge(publishes("wrong-key!"), wall)->accept);
  EXPECT_FALSE(cache.judge(publishes("other-secret", "other"), wall)->accept);
  EXPECT_FALSE(cache.judge(publishes(), wall + 25h)) << "too old to say";
  EXPECT_TRUE(accepts(key_cache(file()), wall + 23h)) << "kept over the node's restart";
  EXPECT_FALSE(key_cache(file()).judge(publishes(), wall + 25h));
}

TEST_F(KnownKeys, CountLongerOnlyByTheCoordinatorsWord) {
  key_cache cache(file());
  auto keys = told(wall);
  ASSERT_TRUE(cache.take(keys));
  EXPECT_TRUE(cache.take(confirmed(wall))) << "it took a day to come";
  EXPECT_FALSE(cache.judge(publishes(), wall + 30h));
  auto longer = confirmed(wall + 20h);
  ASSERT_TRUE(longer.keys.empty());
  ASSERT_TRUE(cache.take(longer));
  EXPECT_TRUE(accepts(cache, wall + 43h));
  EXPECT_TRUE(accepts(key_cache(file()), wall + 43h));
  longer.until += 24h;
  EXPECT_EQ(cache.take(longer).error().code, error_code::unauthorized);
  EXPECT_FALSE(cache.judge(publishes(), wall + 45h));
}

TEST_F(KnownKeys, ThatAreOldAreNotMadeYoungInTheFile) {
  ASSERT_TRUE(key_cache(file()).take(told(wall)));
  auto j = kept();
  j["until"] = j["until"].get<std::int64_t>() + 3600 * 24;
  keep(j);
  EXPECT_EQ(key_cache(file()).version(), 0u);
  EXPECT_FALSE(key_cache(file()).judge(publishes(), wall));
  j["until"] = j["until"].get<std::int64_t>() - 3600 * 24;
  keep(j);
  EXPECT_TRUE(accepts(key_cache(file()), wall)) << "as it was";
  j["keys"][0]["hash"] = salted_hash("chosen-by-me");
  keep(j);
  EXPECT_EQ(key_cache(file()).version(), 0u);
}

TEST_F(KnownKeys, OfAnotherSignerAreRefused) {
  key_cache cache(file());
  auto keys = told(wall);
  auto altered = keys;
  altered.keys[0].hash = salted_hash("chosen-by-me");
  EXPECT_FALSE(cache.take(altered)) << "not even the first list";
  EXPECT_FALSE(fs::exists(signer_file()));
  ASSERT_TRUE(cache.take(keys));

  signing_key mine("a seed of mine");
  auto forged = altered;
  ++forged.version;
  forged = signed_by(mine, forged);
  ASSERT_TRUE(verify_signature(known_keys_text(forged), forged.signature, forged.signer)) << "signed well, but by whom?";
  auto refused = cache.take(forged);
  EXPECT_EQ(refused.error().code, error_code::unauthorized);
  EXPECT_NE(refused.error().text.find(signer_file()), std::string::npos) << refused.error().text;
  forged.signer = keys.signer;
  EXPECT_FALSE(cache.take(forged));
  EXPECT_FALSE(accepts(cache, wall, "chosen-by-me"));
  EXPECT_TRUE(accepts(cache, wall));
  auto longer = signed_by(mine, {.version = keys.version, .until = keys.until + 24h, .keys = keys.keys, .signature = {}, .signer = {}});
  longer.keys.clear();
  EXPECT_FALSE(cache.take(longer)) << "that they still count is the coordinator's to say, too";

  auto j = kept();
  j["version"] = forged.version;
  j["keys"][0]["hash"] = forged.keys[0].hash;
  j["signature"] = forged.signature;
  j["signer"] = mine.public_key();
  keep(j);
  EXPECT_EQ(key_cache(file()).version(), 0u) << "nor from the file";
  ASSERT_TRUE(key_cache(file()).take(told(wall))) << "the coordinator's own is taken as ever";
  EXPECT_TRUE(accepts(key_cache(file()), wall));
}

TEST_F(KnownKeys, TrustWhoCameFirstByAPrivateFileOfItsOwn) {
  ASSERT_TRUE(key_cache(file()).take(told(wall)));
  EXPECT_EQ(fs::status(signer_file()).permissions(), fs::perms::owner_read | fs::perms::owner_write);
  EXPECT_EQ(*read_secret_file(signer_file()), told(wall).signer);
  EXPECT_EQ(read_file(file(), 1 << 20)->find(told(wall).signer), std::string::npos) << "the list does not say who is to be trusted";
  ASSERT_TRUE(write_file_atomically(signer_file(), "", 0600));
  EXPECT_EQ(key_cache(file()).version(), 0u);
  EXPECT_FALSE(key_cache(file()).take(told(wall))) << "a damaged one lets nobody else in";
  fs::remove(signer_file());
  EXPECT_EQ(key_cache(file()).version(), 0u) << "nobody is trusted yet";
  EXPECT_TRUE(key_cache(file()).take(told(wall)));
  EXPECT_TRUE(accepts(key_cache(file()), wall));
}

} // namespace
} // namespace weir
