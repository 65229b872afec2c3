#include "runtime/viewing/viewing.hpp"

#include <algorithm>
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <thread>

using namespace weir;
using namespace weir::viewing;
using namespace std::chrono_literals;

namespace {

const viewing_key first = key_of("0123456789abcdefghijklmnopqrstuv");
const viewing_key second = key_of("another-secret-of-thirty-two-and-more");
constexpr std::int64_t until = 1'800'000'000;
const std::string known_token = "1800000000.73337f47.a432b9f15d2141449a218c0d01e455ed"; // made by openssl, as docs/3-operate.md shows

timestamp at(std::int64_t seconds) { return timestamp{std::chrono::seconds(seconds)}; }

struct Gate : testing::Test {
  gate door;
  Gate() { door.use(with_version({.keys = {first}, .signed_only = {"main"}})); }
  verdict judge(std::string_view token, std::int64_t now = until - 1, std::string_view stream = "main", std::chrono::seconds grace = {}) const {
    return door.judge(stream, token, at(now), grace);
  }
};

} // namespace

TEST(ViewingToken, IsWhatOthersMakeByItsDescription) {
  EXPECT_EQ(make_token(first, "main", until), known_token);
  auto parts = parse_token(known_token);
  ASSERT_TRUE(parts);
  EXPECT_EQ(parts->expires, until);
  EXPECT_EQ(parts->expires_text, "1800000000");
  EXPECT_EQ(parts->key, first.id);
  EXPECT_EQ(parts->mac.size(), 32u);
}

TEST(ViewingToken, TakesExactlyOneForm) {
  for (std::size_t length = 0; length < known_token.size(); ++length)
    EXPECT_FALSE(parse_token(known_token.substr(0, length))) << length;
  auto with = [](std::string expiry) { return std::move(expiry) + known_token.substr(10); };
  EXPECT_TRUE(parse_token(with("1")));
  EXPECT_TRUE(parse_token(with("99999999999")));
  for (auto* expiry : {"", "0", "01", "+1", "-1", " 1", "1 ", "1e9", "0x1", "100000000000", "18446744073709551616"})
    EXPECT_FALSE(parse_token(with(expiry))) << expiry;
  for (const auto& text : {known_token + "0", known_token + ".", known_token + "/", std::string("1800000000.73337f47a432b9f15d2141449a218c0d01e455ed."), std::string(1 << 20, '1'), std::string(4000, '.')})
    EXPECT_FALSE(parse_token(text)) << text.substr(0, 80);
  auto upper = known_token;
  std::ranges::transform(upper, upper.begin(), [](char c) { return c >= 'a' && c <= 'f' ? static_cast<char>(c - 32) : c; });
  EXPECT_NE(upper, known_token);
  EXPECT_FALSE(parse_token(upper)) << "each token has one form, or a cache of them would hold it twice";
}

TEST(ViewingToken, OnesThatAreMadeAreRead) {
  rc::check([] {
    auto expires = *rc::gen::inRange<std::int64_t>(1, 9'000'000'000);
    auto stream = *rc::gen::container<std::string>(*rc::gen::inRange<std::size_t>(1, 65), rc::gen::elementOf(std::string("abzAZ09._-")));
    auto token = make_token(second, stream, expires);
    auto parts = parse_token(token);
    RC_ASSERT(parts.has_value());
    RC_ASSERT(parts->expires == expires && parts->key == second.id);
    gate door;
    door.use(with_version({.keys = {first, second}, .signed_only = {stream}}));
    RC_ASSERT(door.judge(stream, token, at(expires - 1)) == verdict::good);
    RC_ASSERT(door.judge(stream, token, at(expires)) == verdict::expired);
    auto position = *rc::gen::inRange<std::size_t>(0, token.size());
    auto other = *rc::gen::elementOf(std::string("0123456789abcdef."));
    RC_PRE(token[position] != other);
    token[position] = other;
    RC_ASSERT(!admits(door.judge(stream, token, at(1))));
  });
}

TEST(ViewingToken, StandsInFrontOfAnAddress) {
  EXPECT_EQ(split("/t/abc/p/x").prefix, "/t/abc");
  EXPECT_EQ(split("/t/abc/p/x").token, "abc");
  EXPECT_EQ(split("/t/abc/p/x").path, "/p/x");
  EXPECT_EQ(split("/p/x").prefix, "");
  EXPECT_EQ(split("/p/x").token, "");
  EXPECT_EQ(split("/p/x").path, "/p/x");
  EXPECT_EQ(split("/t/").path, "");
  EXPECT_EQ(split("/t//p/x").token, "") << "no token, and not the address without one either:";
  EXPECT_EQ(split("/t//p/x").prefix, "/t/");
  EXPECT_EQ(split("").path, "");
}

TEST_F(Gate, LetsInWhoHasATokenOfThisStream) {
  EXPECT_EQ(judge(known_token), verdict::good);
  EXPECT_EQ(judge(""), verdict::missing);
  EXPECT_EQ(judge(make_token(first, "other", until)), verdict::wrong);
  EXPECT_EQ(judge(make_token(second, "main", until)), verdict::wrong) << "a key that nobody has told us of";
  EXPECT_EQ(judge(make_token({first.id, second.secret}, "main", until)), verdict::wrong) << "signed with another key than it says";
  EXPECT_EQ(judge(known_token.substr(0, 40)), verdict::wrong);
  EXPECT_EQ(judge(known_token + known_token), verdict::wrong);
  EXPECT_EQ(judge(known_token, until - 1, std::string(65, 'x')), verdict::wrong);
  EXPECT_EQ(judge("1800000001" + known_token.substr(10)), verdict::wrong) << "nobody makes it last longer";
}

TEST_F(Gate, ClosesAtTheExpiryAndNotBefore) {
  EXPECT_EQ(judge(known_token, until - 1), verdict::good);
  EXPECT_EQ(judge(known_token, until), verdict::expired);
  EXPECT_EQ(judge(known_token, until + 119, "main", origin_grace), verdict::good);
  EXPECT_EQ(judge(known_token, until + 120, "main", origin_grace), verdict::expired);
}

TEST_F(Gate, AsksNothingOfAnOpenStreamButNobodyMakesTokensUp) {
  EXPECT_EQ(judge("", until - 1, "other"), verdict::open);
  EXPECT_EQ(judge(make_token(first, "other", until), until - 1, "other"), verdict::good);
  EXPECT_EQ(judge(known_token, until - 1, "other"), verdict::wrong);
}

TEST_F(Gate, TakesTokensOfTwoKeysWhileOneFollowsTheOther) {
  EXPECT_TRUE(door.use(with_version({.keys = {second, first}, .signed_only = {"main"}})));
  EXPECT_FALSE(door.use(with_version({.keys = {second, first}, .signed_only = {"main"}})));
  EXPECT_EQ(judge(known_token), verdict::good);
  EXPECT_EQ(judge(make_token(second, "main", until)), verdict::good);
  door.use(with_version({.keys = {second}, .signed_only = {"main"}}));
  EXPECT_EQ(judge(known_token), verdict::wrong);
}

TEST_F(Gate, TellsEachThreadOfNewRules) {
  gate other; // one thread may ask several
  EXPECT_EQ(other.judge("main", "", at(1)), verdict::unheard);
  EXPECT_EQ(judge(""), verdict::missing);
  std::thread([&] {
    EXPECT_EQ(judge(""), verdict::missing);
    EXPECT_TRUE(door.use(with_version({.keys = {first}, .signed_only = {}})));
  }).join();
  EXPECT_EQ(judge(""), verdict::open);
  EXPECT_EQ(other.judge("main", known_token, at(1)), verdict::unheard) << "who has a good token is not sent away for good";
}

TEST(ViewingRules, HaveTheirVersionFromWhatTheySay) {
  viewing_rules rules{.keys = {first}, .signed_only = {"a", "b"}};
  auto version = with_version(rules).version;
  EXPECT_NE(version, 0u);
  EXPECT_EQ(with_version(with_version(rules)).version, version);
  EXPECT_NE(with_version({.keys = {second}, .signed_only = {"a", "b"}}).version, version);
  EXPECT_NE(with_version({.keys = {first}, .signed_only = {"a"}}).version, version);
  EXPECT_NE(with_version({.keys = {first}, .signed_only = {"ab"}}).version, version);
  EXPECT_NE(with_version({.keys = {first, second}}).version, with_version({.keys = {second, first}}).version);
}

TEST(ViewingSecret, IsLongAndPlain) {
  EXPECT_TRUE(check_secret(first.secret));
  EXPECT_FALSE(check_secret(std::string(31, 'a')));
  EXPECT_FALSE(check_secret(std::string(129, 'a')));
  for (auto* sign : {"\"", "\\", "$", ";", " ", "\n", "{", "'", "/", "+"}) {
    auto refused = check_secret(first.secret + sign);
    ASSERT_FALSE(refused) << sign;
    EXPECT_EQ(refused.error().text.find(first.secret), std::string::npos) << "an error is seen by others";
  }
}

TEST(Verdict, SaysWhatToDo) {
  for (auto v : {verdict::missing, verdict::wrong, verdict::expired, verdict::unheard})
    EXPECT_TRUE(words(v).ends_with("\n"));
  EXPECT_EQ(words(verdict::good), "");
}
