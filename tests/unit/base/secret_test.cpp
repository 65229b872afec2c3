#include "runtime/base/secret.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <regex>
#include <set>

using namespace weir;

namespace {

std::string hex(std::span<const std::uint8_t> bytes) { return fmt::format("{:02x}", fmt::join(bytes, "")); }
std::span<const std::uint8_t> bytes_of(std::string_view s) { return {reinterpret_cast<const std::uint8_t*>(s.data()), s.size()}; }

} // namespace

TEST(Token, HasItsPrefixAnd256RandomBits) {
  std::set<std::string> seen;
  for (int i = 0; i < 100; ++i) {
    auto t = random_token("weir_");
    EXPECT_TRUE(std::regex_match(t, std::regex("weir_[A-Za-z0-9_-]{43}"))) << t;
    seen.insert(t);
  }
  EXPECT_EQ(seen.size(), 100u);
}

TEST(Uuid, IsOfVersion4) {
  std::set<std::string> seen;
  for (int i = 0; i < 100; ++i) {
    auto u = random_uuid();
    EXPECT_TRUE(std::regex_match(u, std::regex("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"))) << u;
    seen.insert(u);
  }
  EXPECT_EQ(seen.size(), 100u);
}

TEST(ConstantTimeEqual, ComparesContentAndLength) {
  EXPECT_TRUE(constant_time_equal("", ""));
  EXPECT_TRUE(constant_time_equal("abc", "abc"));
  EXPECT_FALSE(constant_time_equal("abc", "abd"));
  EXPECT_FALSE(constant_time_equal("abc", "ab"));
  EXPECT_FALSE(constant_time_equal("", "a"));
  EXPECT_FALSE(constant_time_equal(std::string_view("a\0b", 3), std::string_view("a\0c", 3)));
}

TEST(Digest, MatchesPublishedVectors) {
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  // RFC 4231, cases 2 and 6 (a key longer than a block).
  EXPECT_EQ(hex(hmac_sha256("Jefe", "what do ya want for nothing?")), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(hex(hmac_sha256(std::string(131, '\xaa'), "Test Using Larger Than Block-Size Key - Hash Key First")),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST(Base64Url, HasNoPaddingAndNoSlash) {
  EXPECT_EQ(base64url({}), "");
  EXPECT_EQ(base64url(bytes_of("f")), "Zg");
  EXPECT_EQ(base64url(bytes_of("foob")), "Zm9vYg");
  EXPECT_EQ(base64url(bytes_of("\xfb\xff\xfe")), "-__-");
}

TEST(Secret, ASaltedHashKnowsItsSecretAndNothingElse) {
  auto hash = salted_hash("correct horse");
  EXPECT_NE(hash, salted_hash("correct horse")) << "each has a salt of its own";
  EXPECT_TRUE(matches_hash("correct horse", hash));
  EXPECT_FALSE(matches_hash("correct hors", hash));
  EXPECT_FALSE(matches_hash("", ""));
  EXPECT_FALSE(matches_hash("x", "no separator"));
}

TEST(Secret, ASignatureIsOfOneTextAndOneKey) {
  signing_key mine("seed"), other("another seed");
  EXPECT_EQ(mine.public_key(), signing_key("seed").public_key());
  auto signature = mine.sign("text");
  EXPECT_TRUE(verify_signature("text", signature, mine.public_key()));
  EXPECT_FALSE(verify_signature("texT", signature, mine.public_key()));
  EXPECT_FALSE(verify_signature("text", signature, other.public_key()));
  EXPECT_FALSE(verify_signature("text", "", ""));
  EXPECT_FALSE(verify_signature("text", "%%%", "%%%"));
}
