// hls_watch URL SECONDS [--variants N]: follows a playback address as a strict player would. Every variant's playlist is
// fetched once a second and linted (rules of hls.md), every newly listed segment is asked for once (status, CORS, type, size).
// Prints one JSON object; exit status 0 without findings, 1 with, 2 when it could not start. System tests stand on it.
#include "runtime/hls/linter.hpp"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <map>
#include <set>
#include <thread>

#include <fmt/format.h>
#include <netdb.h>
#include <nlohmann/json.hpp>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

namespace {

using namespace std::chrono_literals;
using namespace weir;
using clock_type = std::chrono::steady_clock;

constexpr std::size_t body_limit = 64U << 20;

struct url_parts {
  std::string host, port, path;
  std::string base() const { return fmt::format("http://{}:{}", host, port); }
};

expected<url_parts> split(std::string_view url) {
  constexpr std::string_view scheme = "http://";
  if (!url.starts_with(scheme))
    return fail(error_code::unsupported, fmt::format("{}: only http:// addresses can be watched", url));
  url.remove_prefix(scheme.size());
  auto slash = std::min(url.find('/'), url.size());
  auto authority = url.substr(0, slash);
  auto colon = authority.rfind(':');
  url_parts p{std::string(authority.substr(0, colon)), colon == std::string_view::npos ? "80" : std::string(authority.substr(colon + 1)), std::string(url.substr(slash))};
  if (p.path.empty())
    p.path = "/";
  return p;
}

/// What a reference in a playlist at `base` means.
std::string resolve(const std::string& base, const std::string& reference) {
  if (reference.starts_with("http://") || reference.starts_with("https://"))
    return reference;
  auto at = split(base).value();
  return at.base() + (reference.starts_with('/') ? reference : at.path.substr(0, at.path.rfind('/') + 1) + reference);
}

struct answer {
  int status = 0;
  std::multimap<std::string, std::string> headers; ///< names in lower case
  std::string body;
  std::string header(const std::string& name) const {
    auto found = headers.find(name);
    return found == headers.end() ? "" : found->second;
  }
};

/// One GET over a connection of its own, 5 s for each step.
expected<answer> get(const std::string& url) {
  auto parts = split(url);
  if (!parts)
    return fail(std::move(parts).error());
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  if (int wrong = ::getaddrinfo(parts->host.c_str(), parts->port.c_str(), &hints, &found); wrong != 0)
    return fail(error_code::unavailable, fmt::format("{}: {}", url, ::gai_strerror(wrong)));
  int fd = -1;
  for (auto* a = found; a != nullptr && fd < 0; a = a->ai_next) {
    fd = ::socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
    timeval limit{5, 0};
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (fd >= 0 && ::connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
      ::close(fd);
      fd = -1;
    }
  }
  ::freeaddrinfo(found);
  if (fd < 0)
    return fail(error_code::unavailable, fmt::format("{}: no connection", url));
  auto request = fmt::format("GET {} HTTP/1.1\r\nHost: {}:{}\r\nOrigin: http://watch.example\r\nConnection: close\r\n\r\n", parts->path, parts->host, parts->port);
  std::string text;
  bool sent = ::send(fd, request.data(), request.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(request.size());
  char buffer[65536];
  ssize_t n = 0;
  while (sent && (n = ::recv(fd, buffer, sizeof buffer, 0)) > 0 && text.size() < body_limit)
    text.append(buffer, static_cast<std::size_t>(n));
  ::close(fd);
  auto head_end = text.find("\r\n\r\n");
  if (!sent || n != 0 || head_end == std::string::npos || !text.starts_with("HTTP/1.1 "))
    return fail(error_code::unavailable, fmt::format("{}: the connection ended without a whole answer", url));
  answer a;
  std::from_chars(text.data() + 9, text.data() + std::min<std::size_t>(12, text.size()), a.status);
  for (auto at = text.find("\r\n") + 2; at < head_end;) {
    auto end = text.find("\r\n", at);
    auto line = std::string_view(text).substr(at, end - at);
    auto colon = std::min(line.find(':'), line.size());
    std::string name(line.substr(0, colon));
    std::transform(name.begin(), name.end(), name.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    auto value = line.substr(std::min(colon + 1, line.size()));
    value.remove_prefix(std::min(value.find_first_not_of(' '), value.size()));
    a.headers.emplace(std::move(name), value);
    at = end + 2;
  }
  a.body = text.substr(head_end + 4);
  if (a.header("transfer-encoding") == "chunked") {
    std::string plain;
    for (std::string_view rest = a.body;;) {
      std::size_t size = 0;
      auto [end, wrong] = std::from_chars(rest.data(), rest.data() + rest.size(), size, 16);
      auto data = static_cast<std::size_t>(end - rest.data()) + 2;
      if (wrong != std::errc{} || data + size > rest.size())
        return fail(error_code::invalid_input, fmt::format("{}: broken chunk", url));
      if (size == 0)
        break;
      plain += rest.substr(data, size);
      rest.remove_prefix(std::min(data + size + 2, rest.size()));
    }
    a.body = std::move(plain);
  } else if (auto length = a.header("content-length"); !length.empty() && length != std::to_string(a.body.size())) {
    return fail(error_code::unavailable, fmt::format("{}: {} of {} bytes", url, a.body.size(), length));
  }
  return a;
}

struct watch {
  hls::linter lint;
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
    auto a = get(url);
    if (!a) {
      wrong(url, a.error().text);
      return std::nullopt;
    }
    if (a->status != 200)
      wrong(url, fmt::format("status {}", a->status));
    if (a->headers.count("access-control-allow-origin") != 1 || a->header("access-control-allow-origin") != "*")
      wrong(url, fmt::format("{} Access-Control-Allow-Origin headers, one with * is needed", a->headers.count("access-control-allow-origin")));
    if (a->status == 200 && !a->header("content-type").starts_with(type))
      wrong(url, fmt::format("content type {:?}, {} is right", a->header("content-type"), type));
    if (a->status != 200)
      return std::nullopt;
    return std::move(a->body);
  }
  void segment(const std::string& url) {
    ++segments;
    if (auto body = fetch(url, "video/mp2t")) {
      bytes += body->size();
      ++edges[split(url)->base()];
      if (body->size() < 188 || body->size() % 188 != 0 || body->front() != 'G')
        wrong(url, fmt::format("{} bytes that are not a transport stream", body->size()));
    }
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
  auto number = [](const std::string& text, auto& out) { return std::from_chars(text.data(), text.data() + text.size(), out).ptr == text.data() + text.size() && out > 0; };
  bool usable = arguments.size() >= 2 && number(arguments[1], length);
  if (usable && arguments.size() == 4 && arguments[2] == "--variants")
    usable = number(arguments[3], variants);
  else
    usable = usable && arguments.size() == 2;
  if (!usable || !split(arguments[0])) {
    std::fputs("usage: hls_watch http://HOST:PORT/hls/STREAM/index.m3u8 SECONDS [--variants N]\n", stderr);
    return 2;
  }
  auto& url = arguments[0];
  watch w{hls::linter({100ms, variants, 2}), {}, 0, 0, 0, {}, {}, 0, clock_type::now(), 0ms};
  auto text = w.fetch(url, "application/vnd.apple.mpegurl");
  auto all = text ? hls::parse_multivariant_playlist(*text) : fail(error_code::unavailable, "no multivariant playlist");
  if (!all) {
    std::fprintf(stderr, "hls_watch: %s: %s\n", url.c_str(), all.error().text.c_str());
    return 2;
  }
  w.lint.multivariant(url, *text);
  auto start = clock_type::now();
  bool ended = false;
  for (auto round = start; !ended && round < start + std::chrono::seconds(length); round += 1s) {
    std::this_thread::sleep_until(round);
    ended = true;
    for (std::size_t i = 0; i < all->variants.size(); ++i) {
      auto& v = all->variants[i];
      auto pathway_of = [](const hls::parsed_variant& one) {
        auto found = one.attributes.find("PATHWAY-ID");
        return found == one.attributes.end() ? std::string() : found->second;
      };
      ended = w.playlist(resolve(url, v.uri), pathway_of(v) == pathway_of(all->variants.front()), round == start) && ended;
    }
    w.stall = std::max(w.stall, std::chrono::duration_cast<std::chrono::milliseconds>(clock_type::now() - w.last_new));
  }
  nlohmann::json out{{"fetches", w.fetches}, {"segments", w.segments}, {"bytes", w.bytes}, {"last_msn", w.last_msn}, {"ended", ended},
                     {"variants", all->variants.size()}, {"longest_without_new_seconds", static_cast<double>(w.stall.count()) / 1000}, {"edges", w.edges}};
  auto& findings = out["findings"] = nlohmann::json::array();
  for (auto* list : {&w.lint.findings(), &std::as_const(w.transport)})
    for (auto& f : *list)
      findings.push_back({{"rule", f.rule}, {"url", f.url}, {"text", f.text}});
  std::puts(out.dump(2).c_str());
  return findings.empty() ? 0 : 1;
}
