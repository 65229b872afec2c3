#include "web/assets.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <string>

namespace {

using weir::web::asset;
using weir::web::assets;
using weir::web::find_asset;

std::string read(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// Whether a page may link there: an asset, or a route that contract.md promises.
bool leads_somewhere(const std::string& link) {
  static const std::string prefix = "/assets/";
  if (link.starts_with(prefix))
    return find_asset(std::string_view(link).substr(prefix.size())) != nullptr;
  static const std::regex routes(R"(/|/watch/[^/]+|/hls/[^/]+/index\.m3u8|/api/v1/(live|session|task-types|streams|tasks|public/streams)(/.*)?)");
  return std::regex_match(link, routes);
}

std::set<std::string> matches(std::string_view text, const char* pattern) {
  const std::string all(text);
  const std::regex expression(pattern);
  std::set<std::string> out;
  for (std::sregex_iterator at(all.begin(), all.end(), expression), end; at != end; ++at)
    out.insert((*at)[1].str());
  return out;
}

TEST(WebAssets, HoldEveryFileOfTheBundleByteForByte) {
  std::set<std::string> files;
  for (auto& entry : std::filesystem::directory_iterator(WEIR_SOURCE_DIR "/web/dist")) {
    const auto name = entry.path().filename().string();
    files.insert(name);
    const asset* found = find_asset(name);
    ASSERT_NE(found, nullptr) << name;
    EXPECT_EQ(found->bytes, read(entry.path())) << name;
  }
  EXPECT_EQ(files.size(), assets().size());
  for (auto wanted : {"index.html", "watch.html", "app.js", "watch.js", "hls.js", "styles.css", "favicon.svg", "licenses.txt"})
    EXPECT_TRUE(files.contains(wanted)) << wanted;
}

TEST(WebAssets, AreOrderedTypedAndTagged) {
  std::set<std::string_view> tags;
  for (const asset* before = nullptr; const asset& one : assets()) {
    EXPECT_TRUE(!before || before->path < one.path) << one.path;
    EXPECT_FALSE(one.content_type.empty()) << one.path;
    EXPECT_FALSE(one.bytes.empty()) << one.path;
    EXPECT_TRUE(one.etag.size() == 34 && one.etag.front() == '"' && one.etag.back() == '"') << one.etag;
    tags.insert(one.etag);
    before = &one;
  }
  EXPECT_EQ(tags.size(), assets().size());
  EXPECT_EQ(find_asset("index.html")->content_type, "text/html; charset=utf-8");
  EXPECT_EQ(find_asset("app.js")->content_type, "text/javascript; charset=utf-8");
  EXPECT_EQ(find_asset("no-such-file"), nullptr);
}

TEST(WebPages, LinkOnlyToAssetsAndPromisedRoutes) {
  for (auto page : {"index.html", "watch.html"}) {
    const auto links = matches(find_asset(page)->bytes, R"re((?:href|src|action)="([^"]*)")re");
    EXPECT_GE(links.size(), 3u) << page;
    for (auto& link : links)
      EXPECT_TRUE(leads_somewhere(link)) << page << ": " << link;
  }
  // Addresses in the scripts are text or templates; what a template fills in is one name.
  for (auto script : {"app.js", "watch.js"}) {
    const auto paths = matches(find_asset(script)->bytes, R"re(["'`](/(?:assets|api|watch|hls)/(?:[^"'`$]|\$\{[^}]*\})*))re");
    EXPECT_FALSE(paths.empty()) << script;
    for (auto& path : paths)
      EXPECT_TRUE(leads_somewhere(std::regex_replace(path, std::regex(R"(\$\{[^}]*\})"), "x"))) << script << ": " << path;
  }
}

TEST(WebPages, FitTheStrictContentSecurityPolicy) {
  for (auto page : {"index.html", "watch.html"}) {
    const auto text = std::string(find_asset(page)->bytes);
    EXPECT_FALSE(std::regex_search(text, std::regex(R"(<style|\sstyle=|\son[a-z]+=|javascript:|<script(?![^>]*\ssrc=))"))) << page;
    EXPECT_FALSE(std::regex_search(text, std::regex(R"((?:href|src)="(?:[a-z]+:)?//)"))) << page << " loads from elsewhere";
  }
  EXPECT_EQ(find_asset("styles.css")->bytes.find("url("), std::string_view::npos);
  for (auto script : {"app.js", "watch.js"}) {
    const auto text = find_asset(script)->bytes;
    for (auto forbidden : {"eval(", "new Function", "innerHTML", "document.write", "insertAdjacentHTML"})
      EXPECT_EQ(text.find(forbidden), std::string_view::npos) << script << ": " << forbidden;
  }
}

TEST(WebPages, CarryNoTokenInAnAddress) {
  for (auto script : {"app.js", "watch.js"})
    EXPECT_FALSE(std::regex_search(std::string(find_asset(script)->bytes), std::regex(R"([?&]token=)"))) << script;
}

} // namespace
