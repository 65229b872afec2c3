#include "runtime/http/target.hpp"

#include <gtest/gtest.h>

namespace weir::http {
namespace {

TEST(HttpTarget, SplitsPathAndQuery) {
  const auto parts = split("/a/b?x=1?y").value();
  EXPECT_EQ(parts.path, "/a/b");
  EXPECT_EQ(parts.query, "x=1?y");
  EXPECT_EQ(split("http://host:80/a?b").value().path, "/a");
  EXPECT_EQ(split("HTTPS://host").value().path, "/");
  EXPECT_EQ(split("http://host?q").value().query, "q");
  EXPECT_EQ(split("*").value().path, "*");
  for (auto bad : {"", "a/b", "ftp://x/", "host:443"})
    EXPECT_FALSE(split(bad)) << bad;
}

TEST(HttpTarget, DecodesAPathOnce) {
  EXPECT_EQ(normalise_path("/a%20b/%C3%A9").value(), "/a b/é");
  EXPECT_EQ(normalise_path("/a%252e%252e").value(), "/a%2e%2e");
  EXPECT_EQ(normalise_path("//a///b/./c/.").value(), "/a/b/c/");
  EXPECT_EQ(normalise_path("/").value(), "/");
  EXPECT_EQ(normalise_path("/a/").value(), "/a/");
  EXPECT_EQ(normalise_path("/...").value(), "/...");
  EXPECT_EQ(normalise_path("/a+b").value(), "/a+b");
}

TEST(HttpTarget, RefusesPathsThatMeanSomethingElse) {
  for (auto bad : {"/..", "/../a", "/a/..", "/a/%2e%2e/b", "/.%2E/b", "/a%2fb", "/a%00", "/a%0d%0a", "/a\\b", "/a%5cb", "/%", "/%4", "/%zz", "a", ""})
    EXPECT_FALSE(normalise_path(bad)) << bad;
}

TEST(HttpTarget, KnowsWhichPathsAreNormal) {
  for (auto path : {"/", "/a", "/a/b.m3u8", "/a..b"}) {
    EXPECT_TRUE(is_normal_path(path)) << path;
    EXPECT_EQ(normalise_path(path).value(), path);
  }
  for (auto path : {"", "a", "//", "/a//b", "/./a", "/a/..", "/a%20", "/a\\b", "/.hidden"})
    EXPECT_FALSE(is_normal_path(path)) << path;
}

TEST(HttpQuery, FindsTheFirstValueDecoded) {
  const query_text q("a=1&b=x%20y+z&a=2&c&=d&%65=5&bad=%zz");
  EXPECT_EQ(q.find("a"), "1");
  EXPECT_EQ(q.find("b"), "x y z");
  EXPECT_EQ(q.find("c"), "");
  EXPECT_EQ(q.find("e"), "5");
  EXPECT_FALSE(q.find("bad"));
  EXPECT_FALSE(q.find("absent"));
  EXPECT_EQ(q.all().size(), 6U);
  EXPECT_EQ(raw_query_value("x=1&t=a%20b", "t"), "a%20b");
  EXPECT_FALSE(raw_query_value("x=1", "t"));
}

TEST(HttpQuery, IsBounded) {
  std::string many;
  for (int i = 0; i < 1000; ++i)
    many += "a=1&";
  EXPECT_EQ(query_text(many + "z=1").all().size(), 256U);
}

TEST(HttpPercent, SurvivesTheRoundTrip) {
  std::string all;
  for (int c = 1; c < 256; ++c)
    all.push_back(static_cast<char>(c));
  EXPECT_EQ(percent_decode(percent_encode(all)).value(), all);
  EXPECT_FALSE(percent_decode("%00"));
}

TEST(HttpRange, FollowsRfc9110) {
  byte_range r;
  const auto is = [&](std::string_view header, std::uint64_t offset, std::uint64_t length) {
    return parse_range(header, 100, r) == range_verdict::part && r.offset == offset && r.length == length;
  };
  EXPECT_TRUE(is("bytes=0-9", 0, 10));
  EXPECT_TRUE(is("bytes=90-", 90, 10));
  EXPECT_TRUE(is("bytes=-10", 90, 10));
  EXPECT_TRUE(is("bytes=-1000", 0, 100));
  EXPECT_TRUE(is("Bytes= 50-999", 50, 50));
  for (auto whole : {"", "bytes", "bytes=", "bytes=a-b", "bytes=5-2", "bytes=0-1,3-4", "lines=1-2", "bytes=--5", "bytes=18446744073709551616-"})
    EXPECT_EQ(parse_range(whole, 100, r), range_verdict::whole) << whole;
  for (auto none : {"bytes=100-", "bytes=100-200", "bytes=-0"})
    EXPECT_EQ(parse_range(none, 100, r), range_verdict::unsatisfiable) << none;
  EXPECT_EQ(parse_range("bytes=0-", 0, r), range_verdict::unsatisfiable);
}

TEST(HttpEtag, ComparesWeakly) {
  EXPECT_TRUE(matches_etag("\"a\"", "\"a\""));
  EXPECT_TRUE(matches_etag("\"x\", W/\"a\"", "\"a\""));
  EXPECT_TRUE(matches_etag(" * ", "\"a\""));
  EXPECT_FALSE(matches_etag("\"b\"", "\"a\""));
  EXPECT_FALSE(matches_etag("a", "\"a\""));
}

} // namespace
} // namespace weir::http
