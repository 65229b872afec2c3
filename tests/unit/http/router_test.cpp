#include "runtime/http/router.hpp"

#include <gtest/gtest.h>

namespace weir::http {
namespace {

class HttpRouter : public ::testing::Test {
protected:
  void SetUp() override {
    std::size_t index = 0;
    for (auto pattern : {"/", "/streams", "/streams/{id}", "/streams/{id}/tasks", "/streams/live", "/assets/{rest...}", "/streams/{id}/{other}"})
      ASSERT_TRUE(table.add("GET", pattern, index++)) << pattern;
    ASSERT_TRUE(table.add("POST", "/streams", index++));
    ASSERT_TRUE(table.add("DELETE", "/streams/{name}", index++));
  }
  std::size_t find(std::string_view path, std::string_view method = "GET") { return table.find(method, path).index; }
  router table;
};

TEST_F(HttpRouter, PrefersLiteralsToParametersToTails) {
  EXPECT_EQ(find("/"), 0U);
  EXPECT_EQ(find("/streams"), 1U);
  EXPECT_EQ(find("/streams/x"), 2U);
  EXPECT_EQ(find("/streams/x/tasks"), 3U);
  EXPECT_EQ(find("/streams/live"), 4U);
  EXPECT_EQ(find("/streams/live/tasks"), 3U) << "a literal that leads nowhere gives way";
  EXPECT_EQ(find("/streams/x/y"), 6U);
  EXPECT_EQ(find("/streams", "POST"), 7U);
  EXPECT_EQ(find("/streams/x", "HEAD"), 2U);
}

TEST_F(HttpRouter, GivesParameters) {
  const auto stream = table.find("DELETE", "/streams/a b");
  ASSERT_EQ(stream.params.size(), 1U);
  EXPECT_EQ(stream.params[0], std::pair(std::string("name"), std::string("a b")));
  EXPECT_EQ(table.find("GET", "/assets/js/app.js").params[0].second, "js/app.js");
  EXPECT_EQ(table.find("GET", "/assets/").params[0].second, "");
}

TEST_F(HttpRouter, TellsUnknownPathsFromUnknownMethods) {
  for (auto path : {"/nothing", "/streams/", "/streams/x/y/z", "/assets", ""}) {
    const auto match = table.find("GET", path);
    EXPECT_EQ(match.index, router::none) << path;
    EXPECT_TRUE(match.allow.empty()) << path;
  }
  EXPECT_EQ(table.find("PUT", "/streams").allow, "GET, HEAD, POST, OPTIONS");
}

TEST_F(HttpRouter, RefusesBadAndDoubledPatterns) {
  for (auto pattern : {"", "streams", "/a{b}", "/{a...}/b"})
    EXPECT_EQ(table.add("GET", pattern, 9).error().code, error_code::invalid_config) << pattern;
  EXPECT_EQ(table.add("GET", "/streams/{other}", 9).error().code, error_code::already_exists);
}

TEST(HttpPattern, KnowsItsLiteralPrefix) {
  EXPECT_EQ(literal_prefix("/hls/{stream}/index.m3u8"), "/hls/");
  EXPECT_EQ(literal_prefix("/metrics"), "/metrics");
}

} // namespace
} // namespace weir::http
