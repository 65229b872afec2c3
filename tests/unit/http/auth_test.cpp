#include "runtime/http/auth.hpp"
#include "runtime/http/client.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace weir::http {
namespace {

using namespace std::chrono_literals;

request with_header(std::string name, std::string value) {
  request r;
  r.headers.add(std::move(name), std::move(value));
  return r;
}

TEST(HttpCredentials, AreFoundInHeaders) {
  EXPECT_EQ(bearer_token(with_header("authorization", "bearer  abc ")), "abc");
  EXPECT_FALSE(bearer_token(with_header("Authorization", "Basic abc")));
  EXPECT_FALSE(bearer_token(with_header("Authorization", "Bearer ")));
  EXPECT_FALSE(bearer_token({}));
  const auto r = with_header("Cookie", "a=1; session=x=y;b=2; session=z");
  EXPECT_EQ(cookie(r, "session"), "x=y");
  EXPECT_EQ(cookie(r, "b"), "2");
  EXPECT_FALSE(cookie(r, "sess"));
  EXPECT_TRUE(matches_secret("k", "k"));
  EXPECT_FALSE(matches_secret("k", "kk"));
  EXPECT_FALSE(matches_secret("", "")) << "an unset secret opens nothing";
}

TEST(HttpAddressList, MatchesNetworksOfBothFamilies) {
  const std::vector<std::string> entries{"127.0.0.1", "10.0.0.0/8", "2001:db8::/33", "::1", "192.0.2.128/25"};
  const auto list = address_list::parse(entries).value();
  for (auto inside : {"127.0.0.1", "10.255.0.1", "::ffff:10.1.2.3", "2001:db8:7fff::1", "::1", "192.0.2.200"})
    EXPECT_TRUE(list.contains(inside)) << inside;
  for (auto outside : {"127.0.0.2", "11.0.0.0", "2001:db8:8000::1", "::2", "192.0.2.127", "", "localhost", "10.0.0.1/8"})
    EXPECT_FALSE(list.contains(outside)) << outside;
  const std::vector<std::string> everyone{"0.0.0.0/0"};
  EXPECT_TRUE(address_list::parse(everyone)->contains("8.8.8.8"));
  EXPECT_FALSE(address_list::parse(everyone)->contains("::1"));
  const std::vector<std::string> six{"::/0"};
  EXPECT_TRUE(address_list::parse(six)->contains("::1"));
  EXPECT_FALSE(address_list::parse(six)->contains("8.8.8.8"));
  EXPECT_FALSE(address_list().contains("127.0.0.1"));
}

TEST(HttpAddressList, NamesTheEntryThatIsWrong) {
  for (const std::string bad : {"10.0.0.1/8", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0/8", "host", "", "1.2.3.4/-1"}) {
    const std::vector<std::string> entries{"127.0.0.1", bad};
    const auto list = address_list::parse(entries);
    ASSERT_FALSE(list) << bad;
    EXPECT_EQ(list.error().code, error_code::invalid_config);
    EXPECT_NE(list.error().text.find("address " + bad), std::string::npos);
  }
}

/// Behind proxies at 127.0.0.0/8, 10.0.0.0/8 and 2001:db8::/32.
std::string behind(std::string_view peer, std::vector<std::string_view> lines) {
  const std::vector<std::string> entries{"127.0.0.0/8", "10.0.0.0/8", "2001:db8::/32"};
  return std::string(address_behind(address_list::parse(entries).value(), peer, lines));
}

TEST(HttpAddressBehind, IsTheLastOneThatNoProxyOfOursIs) {
  EXPECT_EQ(behind("127.0.0.1", {}), "127.0.0.1");
  EXPECT_EQ(behind("127.0.0.1", {"192.0.2.7"}), "192.0.2.7");
  EXPECT_EQ(behind("127.0.0.1", {"198.51.100.1, 192.0.2.7 ,10.0.0.3"}), "192.0.2.7") << "what stands before it, the viewer may have written";
  EXPECT_EQ(behind("127.0.0.1", {"198.51.100.1", "192.0.2.7", "10.0.0.3"}), "192.0.2.7") << "each proxy with a line of its own";
  EXPECT_EQ(behind("127.0.0.1", {"10.0.0.4,10.0.0.3"}), "10.0.0.4") << "a viewer within our own networks";
  EXPECT_EQ(behind("127.0.0.1", {"2001:db9::7, 2001:db8::1"}), "2001:db9::7");
  EXPECT_EQ(behind("::ffff:127.0.0.1", {"192.0.2.7"}), "192.0.2.7");
  for (auto with_port : {"192.0.2.7:4711", "[2001:db9::7]:4711", "[2001:db9::7]"})
    EXPECT_EQ(behind("127.0.0.1", {with_port}), with_port[0] == '[' ? "2001:db9::7" : "192.0.2.7");
}

TEST(HttpAddressBehind, NobodyElseIsBelieved) {
  EXPECT_EQ(behind("192.0.2.9", {"10.20.0.1"}), "192.0.2.9");
  EXPECT_EQ(behind("10.0.0.1", {"10.20.0.1, 192.0.2.9"}), "192.0.2.9");
  EXPECT_EQ(std::string(address_behind({}, "127.0.0.1", std::vector<std::string_view>{"192.0.2.7"})), "127.0.0.1");
  for (auto odd : {"unknown", "_hidden", "192.0.2.7:x:y", "[2001:db9::7", "[2001:db9::7]x", "[", ",", "1.2.3", "192.0.2.7/32", "host"})
    EXPECT_EQ(behind("127.0.0.1", {"198.51.100.1", odd}), "127.0.0.1") << odd;
  EXPECT_EQ(behind("127.0.0.1", {"unknown, 10.0.0.3"}), "10.0.0.3") << "the last that is known";
  EXPECT_EQ(behind("127.0.0.1", {std::string_view("192.0.2.7\0x", 11)}), "127.0.0.1");
}

TEST(HttpAddressBehind, LooksAtSixteenAddresses) {
  std::string chain = "192.0.2.7";
  for (int i = 0; i < 15; ++i)
    chain += ", 10.0.0.1";
  EXPECT_EQ(behind("127.0.0.1", {chain}), "192.0.2.7");
  chain += ", 10.0.0.2";
  EXPECT_EQ(behind("127.0.0.1", {chain}), "10.0.0.1");
}

TEST(HttpRateLimiter, RefillsWithTime) {
  rate_limiter limit({.per_second = 2, .burst = 3, .most_keys = 10});
  auto now = std::chrono::steady_clock::time_point(100s);
  for (int i = 0; i < 3; ++i)
    EXPECT_TRUE(limit.take("a", now));
  EXPECT_FALSE(limit.take("a", now));
  EXPECT_TRUE(limit.take("b", now));
  EXPECT_TRUE(limit.take("a", now + 500ms));
  EXPECT_FALSE(limit.take("a", now + 500ms));
  EXPECT_FALSE(limit.take("a", now)) << "a clock that steps back gives nothing";
  for (int i = 0; i < 3; ++i)
    EXPECT_TRUE(limit.take("a", now + 1h));
  EXPECT_FALSE(limit.take("a", now + 1h));
}

TEST(HttpRateLimiter, ForgetsTheOldestKeyFirst) {
  rate_limiter limit({.per_second = 0.001, .burst = 1, .most_keys = 100});
  const auto now = std::chrono::steady_clock::time_point(100s);
  EXPECT_TRUE(limit.take("kept", now));
  for (int i = 0; i < 1000; ++i) {
    limit.take(fmt::format("{}", i), now);
    EXPECT_FALSE(limit.take("kept", now));
  }
  EXPECT_EQ(limit.size(), 100U);
  EXPECT_TRUE(limit.take("0", now));
}

TEST(HttpRateLimiter, CountsAnIpv6CustomerAsOne) {
  EXPECT_EQ(limiter_key("2001:db8::1"), limiter_key("2001:db8::ffff:1"));
  EXPECT_NE(limiter_key("2001:db8::1"), limiter_key("2001:db8:0:1::1"));
  EXPECT_EQ(limiter_key("192.0.2.1"), "192.0.2.1");
}

TEST(HttpProblem, HasWhatRfc9457AndTheContractWant) {
  const auto answer = problem_response({error_code::invalid_config, "two fields are wrong"}, "id1", {{"/options/url", "not a URL"}});
  EXPECT_EQ(answer.status, 422);
  EXPECT_EQ(answer.headers.find("content-type"), "application/problem+json");
  const auto body = nlohmann::json::parse(std::get<std::string>(answer.body));
  for (auto key : {"type", "title", "status", "detail", "code", "errors", "request_id"})
    EXPECT_TRUE(body.contains(key)) << key;
  EXPECT_EQ(body["errors"][0]["pointer"], "/options/url");
  EXPECT_NO_THROW(problem_response({error_code::internal, "\xff"}, ""));
}

TEST(HttpMaskedUrl, HidesWhoAndWhatIsSecret) {
  EXPECT_EQ(masked_url("http://u:p@host:1/a?key=secret&x=1"), "http://***@host:1/a?key=***&x=***");
  EXPECT_EQ(masked_url("http://u@p@host/?a=b=c&d"), "http://***@host/?a=***&d");
  EXPECT_EQ(masked_url("http://host/a@b"), "http://host/a@b");
  EXPECT_EQ(masked_url("not a url?x=y"), "not a url?x=***");
}

} // namespace
} // namespace weir::http
