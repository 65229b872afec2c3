#include "runtime/http/url.hpp"

#include <gtest/gtest.h>

namespace weir::http {
namespace {

TEST(Url, IsTakenApartAsWritten) {
  auto url = parse_url("RTMPS://a.example:443/live2/k%20ey?x=1");
  ASSERT_TRUE(url);
  EXPECT_EQ(url->scheme, "rtmps");
  EXPECT_EQ(url->host, "a.example");
  EXPECT_EQ(url->path, "/live2/k%20ey");
  EXPECT_EQ(parse_url("srt://[::1]:9000")->host, "[::1]");
}

TEST(Url, WithABlankALineBreakOrNoSchemeIsRefusedWithoutRepeatingIt) {
  for (auto* text : {"rtmp://host/app/key\nnext", "rtmp://host/app/secret key", "host/app/secret", "", "rtmp://host/%zz", "//host/app"}) {
    auto url = parse_url(text);
    ASSERT_FALSE(url) << text;
    EXPECT_EQ(url.error().code, error_code::invalid_input);
    EXPECT_EQ(url.error().text.find("secret"), std::string::npos);
  }
}

} // namespace
} // namespace weir::http
