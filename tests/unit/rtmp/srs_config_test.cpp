// What SRS is told, read back with SRS's own grammar (its parser is nginx's older brother): whatever an operator writes, either it is refused or the
// file says exactly what it should and nothing else.
#include "runtime/rtmp/srs_config.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <iterator>
#include <map>
#include <optional>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>
#include <set>

using namespace weir;
using namespace weir::rtmp;

namespace {

/// "vhost __defaultVhost__ / play / gop_cache" → its values.
using directives = std::map<std::string, std::vector<std::string>>;

/// SRS's grammar: words between blanks, closed by `;` or opening a block with `{`; quotes around a word; `#` where a word could begin is a comment. In
/// a word without quotes only blanks, `;` and `{` end it.
class srs_grammar {
public:
  explicit srs_grammar(std::string_view text) : left_(text) {}

  /// Nothing when SRS would refuse the text.
  std::optional<directives> read() {
    directives out;
    return block("", out, true) ? std::optional(out) : std::nullopt;
  }

private:
  static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

  bool block(const std::string& path, directives& out, bool outermost) {
    std::vector<std::string> words;
    while (!left_.empty()) {
      char c = left_.front();
      if (is_blank(c)) {
        left_.remove_prefix(1);
      } else if (c == '#') {
        left_.remove_prefix(std::min(left_.find('\n'), left_.size()));
      } else if (c == '}') {
        left_.remove_prefix(1);
        return words.empty() && !outermost;
      } else if (c == ';' || c == '{') {
        left_.remove_prefix(1);
        if (words.empty())
          return false;
        auto name = path + words.front();
        words.erase(words.begin());
        if (c == '{') {
          for (auto& w : words)
            name += " " + w;
          if (!block(name + " / ", out, false))
            return false;
        } else if (!out.emplace(name, words).second)
          return false; // not SRS's rule: a value that repeats a directive would go unseen
        words.clear();
      } else if (c == '"' || c == '\'') {
        auto end = left_.find(c, 1);
        if (end == left_.npos)
          return false;
        words.emplace_back(left_.substr(1, end - 1));
        left_.remove_prefix(end + 1);
      } else {
        auto end = std::size_t(std::ranges::find_if(left_, [](char d) { return is_blank(d) || d == ';' || d == '{'; }) - left_.begin());
        words.emplace_back(left_.substr(0, end));
        left_.remove_prefix(end);
      }
    }
    return words.empty() && outermost;
  }

  std::string_view left_;
};

std::string word(const directives& d, const std::string& name) {
  auto found = d.find(name);
  return found == d.end() ? "(absent)" : fmt::format("{}", fmt::join(found->second, " "));
}
const std::string in_vhost = "vhost __defaultVhost__ / ";

rtmp_server_options srs(std::string name, std::string rtmp_url, std::string api_url, std::string secret = {}) {
  rtmp_server_options s;
  s.name = std::move(name);
  s.rtmp_url = std::move(rtmp_url);
  s.api_url = std::move(api_url);
  s.secret = std::move(secret);
  return s;
}

/// Two SRS, and an nginx that is none of its business.
node_config two_servers() {
  node_config config;
  config.http.internal_url = "http://10.0.0.1:8080";
  config.hooks.allow = {"10.0.0.0/24"};
  config.hooks.secret = "some-long-word";
  config.rtmp_servers = {srs("srs1", "rtmp://10.0.0.9:1935", "http://10.0.0.9:1985"), srs("nginx1", "rtmp://10.0.0.11", ""),
                         srs("srs2", "rtmp://srs2.example.org", "http://127.0.0.1:1986/", "its-own")};
  config.rtmp_servers[1].kind = rtmp_server_kind::nginx_rtmp;
  return config;
}

directives read(const srs_cluster& made, const std::string& file) {
  for (auto& f : made.files)
    if (f.name == file) {
      auto d = srs_grammar(f.text).read();
      EXPECT_TRUE(d) << f.text;
      return d.value_or(directives{});
    }
  ADD_FAILURE() << "no file " << file;
  return {};
}

std::string complaints(const srs_cluster& made) {
  std::string out;
  for (auto& c : made.found)
    out += fmt::format("{}{}: {}\n", c.fatal ? "" : "warning: ", c.path, c.detail);
  return out;
}
bool refuses(const srs_cluster& made, std::string_view path) {
  return !made.good() && made.files.empty() && std::ranges::any_of(made.found, [&](auto& c) { return c.fatal && c.path == path; });
}

} // namespace

TEST(SrsConfig, AnOriginPublishesThroughTheHooks) {
  auto made = render_srs_cluster(two_servers());
  ASSERT_TRUE(made.good()) << complaints(made);
  EXPECT_EQ(complaints(made), "");
  ASSERT_EQ(made.files.size(), 2u) << "an nginx is none of its servers";
  auto d = read(made, "srs1.conf");
  const std::string hook = "http://10.0.0.1:8080/hooks/srs/some-long-word";
  EXPECT_EQ(word(d, "listen"), "1935");
  EXPECT_EQ(word(d, "server_id"), "srs1");
  EXPECT_EQ(word(d, "pid"), "./objs/srs1.pid") << "two on one machine need two";
  EXPECT_EQ(word(d, "http_api / listen"), "1985");
  for (auto name : {"on_publish", "on_unpublish", "on_close"})
    EXPECT_EQ(word(d, in_vhost + "http_hooks / " + name), hook);
  EXPECT_EQ(word(d, in_vhost + "http_hooks / on_play"), "(absent)") << "transcoders must be able to read while the coordinator is away";
  EXPECT_EQ(word(d, in_vhost + "play / gop_cache"), "on");
  EXPECT_EQ(word(d, in_vhost + "publish / normal_timeout"), "3000");
  EXPECT_EQ(word(d, in_vhost + "min_latency"), "on");
  EXPECT_EQ(word(d, in_vhost + "cluster / mode"), "(absent)");
}

TEST(SrsConfig, EachServerHasItsOwnSecretPortsAndApi) {
  auto d = read(render_srs_cluster(two_servers()), "srs2.conf");
  EXPECT_EQ(word(d, "listen"), "1935") << "RTMP's port where the address names none";
  EXPECT_EQ(word(d, "http_api / listen"), "127.0.0.1:1986") << "an API that is reached on its own machine only";
  EXPECT_EQ(word(d, in_vhost + "http_hooks / on_publish"), "http://10.0.0.1:8080/hooks/srs/its-own");
}

TEST(SrsConfig, AnEdgeAsksTheOriginsAndCountsViewers) {
  auto made = render_srs_cluster(two_servers(), {{"edge-1", "1935"}, {"edge-2", "[::]:1936"}});
  ASSERT_TRUE(made.good()) << complaints(made);
  ASSERT_EQ(made.files.size(), 4u);
  auto d = read(made, "edge-2.conf");
  EXPECT_EQ(word(d, "listen"), "[::]:1936");
  EXPECT_EQ(word(d, in_vhost + "cluster / mode"), "remote");
  EXPECT_EQ(word(d, in_vhost + "cluster / origin"), "10.0.0.9:1935 srs2.example.org:1935");
  EXPECT_EQ(word(d, in_vhost + "http_hooks / on_play"), "http://10.0.0.1:8080/hooks/srs/some-long-word?server=edge-2");
  EXPECT_EQ(word(d, in_vhost + "http_hooks / on_stop"), "http://10.0.0.1:8080/hooks/srs/some-long-word?server=edge-2");
  EXPECT_EQ(word(d, in_vhost + "http_hooks / on_publish"), "(absent)") << "the origin asks, with the encoder's key";
  EXPECT_EQ(word(read(made, "edge-1.conf"), "listen"), "1935");
}

TEST(SrsConfig, KnowsEveryDirectiveOfSrs5To7) {
  // Those that the three versions' own check of a configuration accepts; an unknown one keeps SRS from starting.
  std::set<std::string> known{"listen", "max_connections", "daemon", "srs_log_tank", "pid", "server_id", "http_api / enabled", "http_api / listen"};
  for (auto* name : {"tcp_nodelay", "min_latency", "publish / mr", "publish / firstpkt_timeout", "publish / normal_timeout", "play / gop_cache",
                     "play / mw_latency", "http_hooks / enabled", "http_hooks / on_publish", "http_hooks / on_unpublish", "http_hooks / on_close",
                     "http_hooks / on_play", "http_hooks / on_stop", "cluster / mode", "cluster / origin"})
    known.insert(in_vhost + name);
  auto made = render_srs_cluster(two_servers(), {{"edge-1", "1935"}});
  for (auto& f : made.files)
    for (auto& [name, values] : read(made, f.name)) {
      EXPECT_TRUE(known.contains(name)) << name;
      EXPECT_FALSE(values.empty()) << name;
    }
}

TEST(SrsConfig, TheSampleIsWhatTheCommandPrints) {
  node_config config;
  config.rtmp_servers = {srs("srs1", "rtmp://127.0.0.1:1935", "http://127.0.0.1:1985")};
  auto made = render_srs_cluster(config);
  ASSERT_TRUE(made.good()) << complaints(made);
  std::ifstream file(WEIR_SOURCE_DIR "/config/srs.conf");
  std::string sample{std::istreambuf_iterator<char>(file), {}};
  auto from = sample.find("# srs1:");
  ASSERT_NE(from, sample.npos);
  EXPECT_EQ(sample.substr(from), made.files.at(0).text) << "print it again: weir config srs";
}

TEST(SrsConfig, FindsTheAddressOfTheHooks) {
  auto hook_of = [](const node_config& config) {
    auto made = render_srs_cluster(config);
    EXPECT_TRUE(made.good()) << complaints(made);
    return made.files.empty() ? "" : word(read(made, made.files[0].name), in_vhost + "http_hooks / on_publish");
  };
  auto config = two_servers();
  config.http.internal_url = "https://weir.example.org/a-prefix/";
  EXPECT_EQ(hook_of(config), "https://weir.example.org/a-prefix/hooks/srs/some-long-word");
  config.http = {};
  config.http.listen = "10.0.0.1:8088";
  EXPECT_EQ(hook_of(config), "http://10.0.0.1:8088/hooks/srs/some-long-word");
  config.http.listen = "[fd00::1]:8088";
  EXPECT_EQ(hook_of(config), "http://[fd00::1]:8088/hooks/srs/some-long-word");
  for (auto* nowhere : {"127.0.0.1:8080", "0.0.0.0:8080", "[::]:8080"}) {
    config.http.listen = nowhere;
    EXPECT_TRUE(refuses(render_srs_cluster(config), "http.internal_url")) << nowhere;
  }
  config.http.listen = "10.0.0.1:0";
  EXPECT_TRUE(refuses(render_srs_cluster(config), "http.listen"));
  config.rtmp_servers = {srs("near", "rtmp://localhost", "http://localhost:1985")};
  config.http.listen = "0.0.0.0:8080";
  EXPECT_EQ(hook_of(config), "http://127.0.0.1:8080/hooks/srs/some-long-word") << "all on one machine";
}

TEST(SrsConfig, NamesThePathOfEachMistakeAtOnce) {
  auto config = two_servers();
  config.rtmp_servers[0].name = "srs 1";
  config.rtmp_servers[0].rtmp_url = "rtmps://10.0.0.9:1935";
  config.rtmp_servers[2].rtmp_url = "rtmp://10.0.0.10/live";
  config.rtmp_servers[2].api_url = "http://10.0.0.10:8080";
  config.hooks.secret = "a b";
  auto made = render_srs_cluster(config, {{"x", "host:1935"}, {"-", "1935"}});
  for (auto path : {"rtmp_servers[0].name", "rtmp_servers[0].rtmp_url", "rtmp_servers[2].rtmp_url", "rtmp_servers[2].api_url", "hooks.secret", "--edge x",
                    "--edge"})
    EXPECT_TRUE(refuses(made, path)) << path << " in\n" << complaints(made);
}

TEST(SrsConfig, RefusesWhatCannotBeServed) {
  auto with = [](auto change, std::vector<srs_edge> edges = {}) {
    auto config = two_servers();
    change(config);
    return render_srs_cluster(config, edges);
  };
  EXPECT_TRUE(refuses(with([](auto& c) { c.rtmp_servers = {c.rtmp_servers[1]}; }), "rtmp_servers")) << "no SRS at all";
  EXPECT_TRUE(refuses(with([](auto& c) { c.rtmp_servers[2].name = "srs1"; }), "rtmp_servers[2].name"));
  EXPECT_TRUE(refuses(with([](auto& c) { c.rtmp_servers[2].rtmp_url = "rtmp://10.0.0.9"; }), "rtmp_servers[2].rtmp_url")) << "two on one port";
  EXPECT_TRUE(refuses(with([](auto& c) { c.rtmp_servers[0].api_url = "http://10.0.0.9:1935"; }), "rtmp_servers[0].api_url"));
  EXPECT_TRUE(refuses(with([](auto& c) { c.rtmp_servers[0].api_url = "https://10.0.0.9:1985"; }), "rtmp_servers[0].api_url"));
  EXPECT_TRUE(refuses(with([](auto& c) { c.rtmp_servers[0].rtmp_url = "rtmp://0.0.0.0:1935"; }), "rtmp_servers[0].rtmp_url"));
  EXPECT_TRUE(refuses(with([](auto& c) { c.rtmp_servers[0].rtmp_url = "rtmp://10.0.0.9:0"; }), "rtmp_servers[0].rtmp_url"));
  EXPECT_TRUE(refuses(with([](auto&) {}, {{"srs1", "1935"}}), "--edge srs1")) << "the name of an origin";
  EXPECT_TRUE(refuses(with([](auto&) {}, {{"e", "1935"}, {"e", "1936"}}), "--edge e"));
  for (auto* listen : {"", "0", "65536", "x", "host:1935", "1935;", ":1935", "1.2.3.4:"})
    EXPECT_TRUE(refuses(with([](auto&) {}, {{"e", listen}}), "--edge e")) << listen;
}

TEST(SrsConfig, WarnsOfWhatWouldNotWork) {
  auto config = two_servers();
  config.hooks.allow = {"127.0.0.0/8"};
  config.rtmp_servers[2].api_url.clear();
  auto made = render_srs_cluster(config, {{"e", "10.0.1.1:1935"}});
  EXPECT_TRUE(made.good());
  auto said = complaints(made);
  for (auto part : {"warning: hooks.allow: does not hold 10.0.0.9", "warning: hooks.allow: does not hold 10.0.1.1",
                    "warning: rtmp_servers[2].api_url: is empty"})
    EXPECT_NE(said.find(part), said.npos) << part << " in\n" << said;
  EXPECT_EQ(word(read(made, "srs2.conf"), "http_api / listen"), "(absent)");
  config.rtmp_servers[0].rtmp_url = "rtmp://127.0.0.1";
  said = complaints(render_srs_cluster(config, {{"e", "1935"}}));
  EXPECT_NE(said.find("warning: rtmp_servers[0].rtmp_url: 127.0.0.1 is reached by edges"), said.npos) << said;
}

TEST(SrsConfig, APasswordInAnAddressIsNotShown) {
  auto config = two_servers();
  config.rtmp_servers[0].api_url = "http://admin:hunter2@10.0.0.9:1985";
  auto made = render_srs_cluster(config);
  EXPECT_TRUE(refuses(made, "rtmp_servers[0].api_url"));
  EXPECT_EQ(complaints(made).find("hunter2"), std::string::npos);
}

namespace {

bool is_harmless(char c) { return c > ' ' && c < 0x7f && std::string_view("\"'#;{}$\\`").find(c) == std::string_view::npos; }

rc::Gen<std::string> text_of(std::vector<std::string> pieces) {
  return rc::gen::map(rc::gen::container<std::vector<std::string>>(rc::gen::elementOf(std::move(pieces))),
                      [](const std::vector<std::string>& some) { return fmt::format("{}", fmt::join(some, "")); });
}
/// What could end a directive, open a block, begin a comment or a quote, or name a variable.
const std::vector<std::string> poisons{";", "{", "}", "\"", "'", "#", " ", "\n", "\r", "\t", "$x", "\\", "`", ",",
                                       "; include /etc/passwd", "é", std::string("\0", 1)};

/// What may stand in a name or an address, and often one thing that may not.
rc::Gen<std::string> any_text() {
  const std::vector<std::string> mild{"a", "Z9", "-", "_", ".", "0", "7", "/", ":", "@", "?",
                                      "&", "%20", "[", "]", "::1", "..", "rtmp://", "http://", "10.0.0.9", ":1935"};
  auto joined = [](const std::string& before, const std::string& poison, const std::string& after) { return before + poison + after; };
  auto poisoned = rc::gen::apply(joined, text_of(mild), rc::gen::elementOf(poisons), text_of(mild));
  return rc::gen::oneOf(poisoned, text_of(mild), text_of({"a", "Z9", "-", "_", ".", "7"}));
}

/// A configuration, and each of its values that reaches a file.
struct subject {
  node_config config = two_servers();
  std::vector<srs_edge> edges{{"edge-1", "1935"}};
  std::vector<std::string*> values() {
    auto& s = config.rtmp_servers[0];
    auto& [name, listen] = edges[0];
    return {&s.name, &s.rtmp_url, &s.api_url, &s.secret, &config.hooks.secret, &config.http.internal_url, &config.http.listen, &name, &listen};
  }
  /// Also where another setting would go before it.
  std::string& use(std::size_t nth) {
    auto* value = values()[nth];
    if (value == &config.http.listen) {
      config.http.internal_url.clear();
      config.http.listen = "10.0.0.1:8080";
    }
    return *value;
  }
  srs_cluster render() const { return render_srs_cluster(config, edges); }
};

} // namespace

TEST(SrsConfig, RefusesToCarryAnInjection) {
  for (std::size_t nth = 0; nth < subject{}.values().size(); ++nth)
    for (auto& poison : poisons)
      for (auto where : {0, 1, 2}) {
        subject s;
        auto& value = s.use(nth);
        value.insert(where == 0 ? 0 : where == 1 ? value.size() / 2 : value.size(), poison);
        auto made = s.render();
        EXPECT_FALSE(made.good()) << nth << ": " << value;
        EXPECT_TRUE(made.files.empty());
        EXPECT_EQ(std::ranges::count(complaints(made), '\n'), std::ptrdiff_t(made.found.size())) << "an error is one line";
      }
}

RC_GTEST_PROP(SrsConfigProperty, NoValueBreaksOutOfItsPlace, ()) {
  auto text = *any_text();
  for (std::size_t nth = 0; nth < subject{}.values().size(); ++nth)
    for (auto where : {0, 1, 2}) { // in front of what is right, behind it, in its place
      subject s;
      auto& value = s.use(nth);
      value = where == 0 ? text + value : where == 1 ? value + text : text;
      const auto made = s.render();
      RC_ASSERT(made.good() != made.files.empty());
      const auto sound = subject{}.render();
      for (std::size_t i = 0; i < made.files.size(); ++i) {
        // The same directives with as many values as with sound values: nothing came in, nothing went, and each value is one plain word.
        auto had = srs_grammar(sound.files[i].text).read(), has = srs_grammar(made.files[i].text).read();
        RC_ASSERT(has.has_value());
        if (s.config.rtmp_servers[0].api_url.empty() && i == 0)
          std::erase_if(*had, [](auto& d) { return d.first.starts_with("http_api"); });
        RC_ASSERT(has->size() == had->size());
        for (auto& [name, words] : *had) {
          auto there = has->find(name);
          RC_ASSERT(there != has->end());
          RC_ASSERT(there->second.size() == words.size());
          for (auto& w : there->second)
            RC_ASSERT(std::ranges::all_of(w, is_harmless));
        }
        RC_ASSERT(made.files[i].name.find('/') == std::string::npos && made.files[i].name.front() != '.');
      }
    }
}

RC_GTEST_PROP(SrsConfigProperty, WhatIsAcceptedStandsThereAsItWasWritten, ()) {
  auto config = two_servers();
  auto letters = rc::gen::container<std::string>(rc::gen::element('a', 'b', 'Z', '0', '9', '-', '_', '.'));
  auto name = "s" + (*letters).substr(0, 40), secret = (*letters).substr(0, 100);
  auto port = *rc::gen::inRange(1, 65'536);
  config.rtmp_servers[0].name = name;
  config.rtmp_servers[0].rtmp_url = fmt::format("rtmp://10.0.0.9:{}", port);
  config.rtmp_servers[0].api_url.clear();
  config.rtmp_servers[0].secret = secret;
  RC_PRE(name != "srs2");
  auto made = render_srs_cluster(config);
  RC_ASSERT(made.good());
  RC_ASSERT(made.files[0].name == name + ".conf");
  auto d = *srs_grammar(made.files[0].text).read();
  RC_ASSERT(word(d, "server_id") == name);
  RC_ASSERT(word(d, "listen") == std::to_string(port));
  RC_ASSERT(word(d, in_vhost + "http_hooks / on_publish") == "http://10.0.0.1:8080/hooks/srs/" + (secret.empty() ? "some-long-word" : secret));
}
