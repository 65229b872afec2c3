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
