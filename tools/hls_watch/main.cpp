// hls_watch URL SECONDS [--variants N] [--authorities FILE]: follows a playback address as a strict player would. Every variant's playlist is
// fetched once a second and linted (rules of hls.md), and so are the I-frame playlists of one pathway. Every newly listed segment is asked for once
// (status, CORS, type, size). Certificates of https addresses are checked against the system's authorities, or those of FILE (PEM).
// Prints one JSON object; exit status 0 without findings, 1 with, 2 when it could not start. System tests stand on it.
#include "runtime/hls/addresses.hpp"
#include "runtime/hls/linter.hpp"
#include "runtime/http/client.hpp"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <map>
#include <set>
#include <thread>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace {

using namespace std::chrono_literals;
using namespace weir;
using clock_type = std::chrono::steady_clock;

constexpr std::size_t body_limit = 64U << 20;

struct url_parts {
  std::string origin; ///< scheme, host and port
  std::string path;
};

expected<url_parts> split(std::string_view url) {
  auto scheme = url.find("://");
  if (auto name = url.substr(0, std::min(scheme, url.size())); scheme == url.npos || (name != "http" && name != "https"))
    return fail(error_code::unsupported, fmt::format("{}: only http:// and https:// addresses can be watched", url));
  auto slash = std::min(url.find('/', scheme + 3), url.size());
  url_parts p{std::string(url.substr(0, slash)), std::string(url.substr(slash))};
  if (p.path.empty())
    p.path = "/";
  return p;
}

/// What a reference in a playlist at `base` means.
std::string resolve(const std::string& base, const std::string& reference) {
  if (reference.starts_with("http://") || reference.starts_with("https://"))
    return reference;
  auto at = split(base).value();
  return at.origin + (reference.starts_with('/') ? reference : at.path.substr(0, at.path.rfind('/') + 1) + reference);
}

bool begins_with_box(std::string_view bytes, std::string_view type) { return bytes.size() > 8 && bytes.substr(4, 4) == type; }

/// Names of headers have no case.
bool same_letter(char a, char b) {
  auto low = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return low(a) == low(b);
}

struct watch {
  hls::linter lint;
  std::string authorities; ///< file; empty: the system's
  http::client web{{.user_agent = "hls_watch"}};
  std::vector<hls::finding> transport;
  std::uint64_t fetches = 0, segments = 0, bytes = 0;
  std::set<std::string> asked;
  std::map<std::string, std::uint64_t> edges; ///< segments by edge
  std::uint64_t last_msn = 0;
  clock_type::time_point last_new = clock_type::now();
  std::chrono::milliseconds stall{0};

  void wrong(const std::string& url, std::string text) {
    if (transport.size() < 1000)
      transport.push_back({"transport", url, std::move(text)});
  }
  /// Nothing when it failed; that is a finding then.
  std::optional<std::string> fetch(const std::string& url, const std::string& type) {
    ++fetches;
    // A connection for each, so that whoever answers new ones is heard of at once.
    http::client_request request{.url = url, .connect_deadline = 5s, .deadline = 15s, .response_limit = body_limit, .authorities = authorities};
    request.headers.add("Origin", "http://watch.example");
    request.headers.add("Connection", "close");
    auto a = web.call(std::move(request));
    if (!a) {
      wrong(url, a.error().text);
      return std::nullopt;
    }
    if (a->status != 200)
      wrong(url, fmt::format("status {}", a->status));
    constexpr std::string_view cors = "Access-Control-Allow-Origin";
    auto told = std::count_if(a->headers.begin(), a->headers.end(), [&](auto& h) { return std::equal(h.first.begin(), h.first.end(), cors.begin(), cors.end(), same_letter); });
    if (told != 1 || a->headers.find(cors) != "*")
      wrong(url, fmt::format("{} {} headers, one with * is needed", told, cors));
    if (auto is = a->headers.find("Content-Type").value_or(""); a->status == 200 && !is.starts_with(type))
      wrong(url, fmt::format("content type {:?}, {} is right", is, type));
    if (a->status != 200)
      return std::nullopt;
    return std::move(a->body);
  }
  void segment(const std::string& url) {
    ++segments;
    const bool fragment = url.ends_with(".m4s");
    if (auto body = fetch(url, std::string(hls::media_type(fragment ? hls::segment_kind::fmp4 : hls::segment_kind::ts)))) {
      bytes += body->size();
      ++edges[split(url)->origin];
      if (fragment ? !begins_with_box(*body, "moof") : body->size() < 188 || body->size() % 188 != 0 || body->front() != 'G')
        wrong(url, fmt::format("{} bytes that are no {}", body->size(), fragment ? "fragment" : "transport stream"));
    }
  }
  void map(const std::string& url) {
    if (auto body = fetch(url, std::string(hls::media_type(hls::segment_kind::map)))) {
      bytes += body->size();
      if (!begins_with_box(*body, "ftyp"))
        wrong(url, fmt::format("{} bytes that are no map", body->size()));
    }
  }
  /// Looks at one I-frame playlist. What it names are ranges of segments that are fetched whole.
  void iframes(const std::string& url) {
    if (auto text = fetch(url, "application/vnd.apple.mpegurl"))
      lint.media(url, *text, std::chrono::system_clock::now());
  }
  /// Looks at one playlist; `ask`: whether its new segments are fetched (one pathway is enough). Returns whether it has ended.
  bool playlist(const std::string& url, bool ask, bool first_round) {
    auto text = fetch(url, "application/vnd.apple.mpegurl");
    if (!text)
      return false;
    lint.media(url, *text, std::chrono::system_clock::now());
    auto p = hls::parse_media_playlist(*text);
    if (!p || p->entries.empty())
      return false;
    if (p->entries.back().msn > last_msn || first_round) {
      last_msn = std::max(last_msn, p->entries.back().msn);
      last_new = clock_type::now();
    }
    for (auto& e : p->entries)
      if (auto map_url = resolve(url, e.map); ask && !e.gap && !e.map.empty() && asked.insert(map_url).second)
        map(map_url);
    for (auto& e : p->entries)
      if (auto segment_url = resolve(url, e.uri); ask && !e.gap && asked.insert(segment_url).second)
        segment(segment_url);
    return p->ended;
  }
};

} // namespace

int main(int argc, char** argv) {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  int length = 0;
  std::size_t variants = 1;
  std::string authorities;
  auto number = [](const std::string& text, auto& out) { return std::from_chars(text.data(), text.data() + text.size(), out).ptr == text.data() + text.size() && out > 0; };
  bool usable = arguments.size() >= 2 && arguments.size() % 2 == 0 && split(arguments[0]) && number(arguments[1], length);
  for (std::size_t i = 2; usable && i < arguments.size(); i += 2)
    if (arguments[i] == "--authorities")
      authorities = arguments[i + 1];
    else
      usable = arguments[i] == "--variants" && number(arguments[i + 1], variants);
  if (!usable) {
    std::fputs("usage: hls_watch http[s]://HOST:PORT/hls/STREAM/index.m3u8 SECONDS [--variants N] [--authorities FILE]\n", stderr);
    return 2;
  }
  auto& url = arguments[0];
  watch w{.lint = hls::linter({.frame = 100ms, .variants = variants, .pathways = 2, .iframes = true}), .authorities = std::move(authorities)};
  auto text = w.fetch(url, "application/vnd.apple.mpegurl");
  auto all = text ? hls::parse_multivariant_playlist(*text) : fail(error_code::unavailable, "no multivariant playlist");
  if (!all) {
    std::fprintf(stderr, "hls_watch: %s: %s\n", url.c_str(), all.error().text.c_str());
    return 2;
  }
  w.lint.multivariant(url, *text);
  auto start = clock_type::now();
  bool ended = false;
  auto said = [](const hls::parsed_variant& one, const char* attribute) {
    auto found = one.attributes.find(attribute);
    return found == one.attributes.end() ? std::string() : found->second;
  };
  auto pathway_of = [&](const hls::parsed_variant& one) { return said(one, "PATHWAY-ID"); };
  for (auto round = start; !ended && round < start + std::chrono::seconds(length); round += 1s) {
    std::this_thread::sleep_until(round);
    ended = true;
    for (std::size_t i = 0; i < all->variants.size(); ++i) {
      auto& v = all->variants[i];
      ended = w.playlist(resolve(url, v.uri), pathway_of(v) == pathway_of(all->variants.front()), round == start) && ended;
    }
    for (auto& r : all->renditions)
      ended = (r.uri.empty() || w.playlist(resolve(url, r.uri), said(r, "GROUP-ID") == said(all->variants.front(), "AUDIO"), round == start)) && ended;
    for (auto& v : all->iframes)
      if (pathway_of(v) == pathway_of(all->iframes.front()))
        w.iframes(resolve(url, v.uri));
    w.stall = std::max(w.stall, std::chrono::duration_cast<std::chrono::milliseconds>(clock_type::now() - w.last_new));
  }
  nlohmann::json out{{"fetches", w.fetches}, {"segments", w.segments}, {"bytes", w.bytes}, {"last_msn", w.last_msn}, {"ended", ended},
                     {"variants", all->variants.size()}, {"renditions", all->renditions.size()},
                     {"longest_without_new_seconds", static_cast<double>(w.stall.count()) / 1000}, {"edges", w.edges}};
  auto& findings = out["findings"] = nlohmann::json::array();
  for (auto* list : {&w.lint.findings(), &std::as_const(w.transport)})
    for (auto& f : *list)
      findings.push_back({{"rule", f.rule}, {"url", f.url}, {"text", f.text}});
  std::puts(out.dump(2).c_str());
  return findings.empty() ? 0 : 1;
}
