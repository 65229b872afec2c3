#include "runtime/origin/s3_store.hpp"
#include "runtime/origin/s3_wire.hpp"

#include <gtest/gtest.h>

#include <fstream>

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

namespace weir::origin {
namespace {

TEST(S3Layout, KeysAreReadAsTheyAreMade) {
  const s3_layout at{"live/eu/"};
  const hls::segment_place place{3, 18'446'744'073'709'551'615U, "720p", 0};
  EXPECT_EQ(at.segment("show", place, 12, 4), "live/eu/show/3/18446744073709551615/720p/0.ts.12.4");
  EXPECT_EQ(at.segment(at.segment("show", place, 12, 4)), (s3_segment_key{"show", place, 12, 4}));
  const hls::segment_place map{3, 1, "720p", 0, hls::segment_kind::map}, part{3, 1, "720p", 5, hls::segment_kind::fmp4};
  EXPECT_EQ(at.segment("show", map, 12, 4), "live/eu/show/3/1/720p/init.mp4.12.4");
  EXPECT_EQ(at.segment(at.segment("show", map, 12, 4)), (s3_segment_key{"show", map, 12, 4}));
  EXPECT_EQ(at.segment(at.segment("show", part, 12, 4)), (s3_segment_key{"show", part, 12, 4}));
  EXPECT_EQ(at.log("show", 12, 7), "live/eu/.logs/show/12.7.json");
  EXPECT_EQ(at.log(at.log("show", 12, 7)), (s3_log_key{"show", 12, 7}));
  EXPECT_EQ(at.claim(12, "o-1.example"), "live/eu/.claims/12.o-1.example");
  EXPECT_EQ(at.claim(at.claim(12, "o-1.example")), (s3_claim_key{12, "o-1.example"}));
  EXPECT_EQ(at.opening(at.opening(12)), 12U);
  const s3_layout top{""};
  EXPECT_EQ(top.segment(top.segment("show", place, 1, 4)), (s3_segment_key{"show", place, 1, 4}));
}

TEST(S3Layout, WhatIsNotOursIsNothing) {
  const s3_layout at{"live/"};
  for (std::string_view key :
       {"", "live/", "show/1/1/720p/1.ts.1.1", "live/show/1/1/720p/1.ts.1.x", "live/show/1/1/720p/1.ts", "live/show/1/1/720p/1.ts.1", "live/show/1/1/720p/01.ts.1.1",
        "live/show/1/1/720p/1.ts.+1.1", "live/show/1/1/720p/1.ts.1.01", "live/show/1/1/720p/1.ts.1.1.1", "live/show/1/1/720p/1.ts.1.", "live/show/1/1/720p/1.ts..1",
        "live/../1/1/720p/1.ts.1.1", "live/show/1/1//1.ts.1.1", "live/show/1/1/720p/1.ts.18446744073709551616.1", "live/.logs/1/1/720p/1.ts.1.1", "live/show/1/1/720p/1",
        "live/x/show/1/1/720p/1.ts.1.1", "live/show/-1/1/720p/1.ts.1.1", "live/show/1/1/720p/1.mp4.1.1", "live/show/1/1/720p/init.mp4.", "live/show/1/1/720p/."})
    EXPECT_FALSE(at.segment(key)) << key;
  for (std::string_view key : {"live/.logs/show/1.json", "live/.logs/show/1.1.json2", "live/.logs//1.1.json", "live/.logs/a/b/1.1.json", ".logs/show/1.1.json"})
    EXPECT_FALSE(at.log(key)) << key;
  for (std::string_view key : {"live/.claims/1", "live/.claims/1.", "live/.claims/1.a/b", "live/.claims/.a", "live/.claims/1..a"})
    EXPECT_FALSE(at.claim(key)) << key;
  for (std::string_view key : {"live/.opened/", "live/.opened/1x", "live/.opened/00", "live/.opened/-1"})
    EXPECT_FALSE(at.opening(key)) << key;
}

TEST(S3Layout, APrefixIsWordsWithSlashes) {
  EXPECT_EQ(checked_prefix("").value(), "");
  EXPECT_EQ(checked_prefix("a").value(), "a/");
  EXPECT_EQ(checked_prefix("a/b-c_d.e/").value(), "a/b-c_d.e/");
  for (auto wrong : {"/", "/a", "a//b", "a b", ".a", "a/../b", "ä", "a?b", "a%2f"})
    EXPECT_EQ(checked_prefix(wrong).error().code, error_code::invalid_config) << wrong;
}

TEST(S3Answer, APageIsRead) {
  auto page = parse_s3_page(R"(<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>live</Name>
    <IsTruncated>true</IsTruncated>
    <NextContinuationToken>1ueGc/+=&amp;</NextContinuationToken><Contents><Key>a&amp;b</Key><Size>5</Size></Contents>
    <Contents><Size>0</Size><Key>c</Key></Contents></ListBucketResult>)");
  ASSERT_TRUE(page) << page.error().text;
  ASSERT_EQ(page->objects.size(), 2U);
  EXPECT_EQ(page->objects[0].key, "a&b");
  EXPECT_EQ(page->objects[0].size, 5U);
  EXPECT_EQ(page->next, "1ueGc/+=&");
  EXPECT_EQ(parse_s3_page("<ListBucketResult><IsTruncated>false</IsTruncated><NextContinuationToken>x</NextContinuationToken></ListBucketResult>")->next, "");
}

TEST(S3Answer, WhatIsNoPageIsCorrupt) {
  for (auto wrong : {"", "no xml", "<ListBucketResult>", "<Error><Code>x</Code></Error>", "<ListBucketResult></ListBucketResult>",
                     "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
                     "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a</Key></Contents></ListBucketResult>",
                     "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a</Key><Size>-1</Size></Contents></ListBucketResult>",
                     "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Size>1</Size></Contents></ListBucketResult>"})
    EXPECT_EQ(parse_s3_page(wrong).error().code, error_code::corrupt) << wrong;
}

TEST(S3Answer, ARefusalIsALine) {
  auto said = parse_s3_refusal("<Error><Code>NoSuchKey</Code><Message>There is\nno such\x01key.</Message></Error>");
  EXPECT_EQ(said.code, "NoSuchKey");
  EXPECT_EQ(said.words, "There is no such key.");
  EXPECT_EQ(parse_s3_refusal("<Error><Code>" + std::string(5'000, 'x') + "</Code></Error>").code.size(), 300U);
  EXPECT_EQ(parse_s3_refusal("<html>Bad Gateway</html>").code, "");
  EXPECT_EQ(parse_s3_refusal("").code, "");
  EXPECT_EQ(parse_s3_refusal("<Error><Code>NoSuchKey</Code>" + std::string(1U << 20, ' ') + "</Error>").code, "") << "so long is no refusal";
  EXPECT_TRUE(says_full(507, {}));
  EXPECT_TRUE(says_full(403, {"QuotaExceeded", ""}));
  EXPECT_FALSE(says_full(403, {"AccessDenied", ""}));
}

TEST(S3Answer, EscapesAsSigV4Wants) { EXPECT_EQ(s3_escaped("a/b+c=d e~f.g_h-i\xc3"), "a%2Fb%2Bc%3Dd%20e~f.g_h-i%C3"); }

TEST(S3Credentials, AreTwoOrThreeWords) {
  auto two = parse_s3_credentials("AKID\nse/cr+et\n");
  ASSERT_TRUE(two);
  EXPECT_EQ(two->key.access, "AKID");
  EXPECT_EQ(two->key.secret, "se/cr+et");
  EXPECT_EQ(two->session_token, "");
  EXPECT_EQ(parse_s3_credentials("AKID\nsecret\ntoken")->session_token, "token");
  for (auto wrong : {"", "AKID", "AKID\n", "a b c d"}) {
    auto refused = parse_s3_credentials(wrong);
    ASSERT_FALSE(refused) << wrong;
    EXPECT_EQ(refused.error().code, error_code::invalid_config);
  }
}

TEST(S3Credentials, OfAFileThatOthersReadAreRefused) {
  const auto path = fmt::format("/tmp/weir-s3-credentials-{}", ::getpid());
  std::ofstream(path) << "AKID\nhidden-secret\n";
  ::chmod(path.c_str(), 0644);
  auto refused = find_s3_credentials(path);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, error_code::forbidden);
  EXPECT_EQ(refused.error().text.find("hidden-secret"), std::string::npos);
  ::chmod(path.c_str(), 0600);
  EXPECT_EQ(find_s3_credentials(path)->key.secret, "hidden-secret");
  ::unlink(path.c_str());
}

TEST(S3Store, RefusesAnAddressThatIsNone) {
  http::client web{{}};
  for (auto endpoint : {"", "s3.example.org", "https://"})
    EXPECT_EQ(s3_store::open(web, {.endpoint = endpoint, .bucket = "live"}).error().code, error_code::invalid_config) << endpoint;
  EXPECT_EQ(s3_store::open(web, {.endpoint = "https://s3.example.org", .bucket = "live", .prefix = "../x"}).error().code, error_code::invalid_config);
}

} // namespace
} // namespace weir::origin
