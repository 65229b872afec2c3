#include "runtime/rtmp/srs_config.hpp"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

namespace weir::rtmp {
namespace {

constexpr std::uint16_t rtmp_port = 1935;
constexpr std::uint16_t taken_port = 8080; ///< of SRS's HTTP server, by default also while that is off; to share it would take more settings

bool is_letter_or_digit(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

bool consists_of(std::string_view text, std::string_view signs) {
  return std::ranges::all_of(text, [&](char c) { return is_letter_or_digit(c) || signs.find(c) != signs.npos; });
}

/// What names a server, a file and a word of the configuration.
bool is_name(std::string_view text) { return !text.empty() && text.size() <= 64 && is_letter_or_digit(text.front()) && consists_of(text, "-_."); }

constexpr std::string_view name_form = "1 to 64 letters, digits, '-', '_' and '.' that begin with a letter or a digit";

bool is_address(std::string_view host) { return host.find('/') == host.npos && parse_address_range(host).has_value(); }
bool is_wildcard(std::string_view host) { return host == "0.0.0.0" || host == "::"; }

/// "http://host:8080/prefix", taken apart and made only of what needs no quotes.
struct address {
  std::string scheme;
  host_port at;
  bool has_port = false;
  std::string prefix; ///< "" or "/…" without a last slash

  std::string authority() const {
    auto text = to_string(at);
    return has_port ? text : text.substr(0, text.rfind(':'));
  }
};

expected<address> parse_address(std::string_view text, std::uint16_t default_port) {
  auto bad = [&](std::string_view why) { return fail(error_code::invalid_config, std::string(why)); };
  address out;
  auto scheme = text.find("://");
  if (scheme == text.npos || scheme == 0 || !consists_of(text.substr(0, scheme), ""))
    return bad("is not of the form SCHEME://HOST:PORT");
  out.scheme = text.substr(0, scheme);
  text.remove_prefix(scheme + 3);
  auto path = std::min(text.find('/'), text.size());
  out.prefix = text.substr(path);
  auto authority = std::string(text.substr(0, path));
  if (authority.find('@') != authority.npos) // not shown: there may be a password before it
    return bad("holds a user or a password: SRS's configuration has no place for it");
  while (out.prefix.ends_with('/'))
    out.prefix.pop_back();
  if (out.prefix.size() > 200 || !consists_of(out.prefix, "/-_.~"))
    return bad("holds more than letters, digits, '-', '_', '.' and '~' in its path");
  out.has_port = authority.rfind(':') != authority.npos && !authority.ends_with(']');
  if (!out.has_port)
    authority += fmt::format(":{}", default_port);
  auto at = parse_host_port(authority);
  if (!at)
    return fail(at.error());
  if (at->port == 0)
    return bad("names port 0, where nobody can be reached");
  if (at->host.size() > 255)
    return bad("names a host of more than 255 bytes");
  out.at = std::move(*at);
  return out;
}

/// An SRS of the YAML, checked.
struct origin {
  std::string name;
  std::string path; ///< in the YAML
  host_port rtmp;
  std::string api;  ///< what http_api listens on; empty: there is none
  std::string secret;
};

/// Where SRS listens for those who reach it at this address: on this machine only if they do.
std::string listen_text(const host_port& at) {
  if (!is_loopback(at.host))
    return std::to_string(at.port);
  return to_string(host_port{at.host == "localhost" ? "127.0.0.1" : at.host, at.port});
}

class rendering {
public:
  explicit rendering(const node_config& config) : config_(config) {}

  srs_cluster of(const std::vector<srs_edge>& edges) {
    auto origins = read_origins();
    auto hooks = read_hook_base(origins);
    auto listens = read_edges(edges, origins);
    if (origins.empty() && made_.good())
      complain("rtmp_servers", "names no server of kind srs");
    if (!made_.good())
      return std::move(made_);
    for (auto& o : origins)
      made_.files.push_back({o.name + ".conf", origin_text(o, hook_url(hooks, o.secret))});
    std::string list;
    for (auto& o : origins)
      list += " " + to_string(o.rtmp);
    for (std::size_t i = 0; i < edges.size(); ++i) {
      auto& name = edges[i].name;
      auto url = hook_url(hooks, config_.hooks.secret) + "?server=" + name; // no YAML names it, so its server_id says nothing to Weir
      made_.files.push_back({name + ".conf", edge_text(name, listens[i], list.substr(1), url)});
    }
    return std::move(made_);
  }

private:
  void complain(std::string path, std::string detail, bool fatal = true) { made_.found.push_back({std::move(path), std::move(detail), fatal}); }

  void check_secret(const std::string& path, const std::string& secret) {
    if (secret.size() > 128 || !consists_of(secret, "-_."))
      complain(path, "holds more than letters, digits, '-', '_' and '.', or more than 128 of them, so it cannot be part of an address");
  }

  /// Callbacks from elsewhere are refused, and an operator would search long.
  void check_allowed(const std::string& who, const std::string& host) {
    if (is_address(host) && !is_wildcard(host) && !any_contains(config_.hooks.allow, host))
      complain("hooks.allow", fmt::format("does not hold {}, from where {} calls: its callbacks would be refused", host, who), false);
  }

  std::vector<origin> read_origins() {
    std::vector<origin> out;
    std::set<std::string> names;
    std::map<std::string, std::string> places; // where → who listens there
    for (std::size_t i = 0; i < config_.rtmp_servers.size(); ++i) {
      auto& s = config_.rtmp_servers[i];
      if (s.kind != rtmp_server_kind::srs)
        continue;
      origin o;
      o.path = fmt::format("rtmp_servers[{}]", i);
      o.name = s.name;
      if (!is_name(s.name))
        complain(o.path + ".name", fmt::format("{:?} is not {}: it names a file and SRS's server_id", s.name, name_form));
      if (!names.insert(s.name).second)
        complain(o.path + ".name", fmt::format("{:?} is the name of another server", s.name));
      auto take = [&](const char* member, const std::string& text, std::string_view scheme, std::uint16_t port) -> std::optional<host_port> {
        auto path = o.path + "." + member;
        auto parsed = parse_address(text, port);
        if (!parsed)
          complain(path, parsed.error().text);
        else if (parsed->scheme != scheme)
          complain(path, fmt::format("begins with {}://: SRS itself speaks {}://, so name its own address, not a TLS proxy's", parsed->scheme, scheme));
        else if (!parsed->prefix.empty())
          complain(path, "holds a path: name the server alone");
        else if (is_wildcard(parsed->at.host))
          complain(path, fmt::format("{} is where a server listens, not where it is reached", parsed->at.host));
        else if (auto [other, free] = places.emplace(to_string(parsed->at), path); !free)
          complain(path, fmt::format("{} is taken already by {}", other->first, other->second));
        else
          return parsed->at;
        return std::nullopt;
      };
      if (auto at = take("rtmp_url", s.rtmp_url, "rtmp", rtmp_port)) {
        check_allowed("SRS " + s.name, at->host);
        o.rtmp = std::move(*at);
      }
      if (s.api_url.empty())
        complain(o.path + ".api_url", "is empty: SRS's API stays off, and nothing but its callbacks says who publishes", false);
      else if (auto at = take("api_url", s.api_url, "http", 80)) {
        if (at->port == taken_port)
          complain(o.path + ".api_url", fmt::format("{} is the port of SRS's own HTTP server: take another one, such as 1985", taken_port));
        o.api = listen_text(*at);
      }
      o.secret = s.secret.empty() ? config_.hooks.secret : s.secret;
      check_secret(o.path + ".secret", s.secret);
      out.push_back(std::move(o));
    }
    check_secret("hooks.secret", config_.hooks.secret);
    return out;
  }

  /// How SRS reaches Weir: "http://10.0.0.1:8080".
  std::string read_hook_base(const std::vector<origin>& origins) {
    bool near = std::ranges::all_of(origins, [](auto& o) { return is_loopback(o.rtmp.host); });
    if (!config_.http.internal_url.empty()) {
      auto parsed = parse_address(config_.http.internal_url, 80);
      if (!parsed)
        complain("http.internal_url", parsed.error().text);
      else if (parsed->scheme != "http" && parsed->scheme != "https")
        complain("http.internal_url", "is neither http:// nor https://");
      else
        return parsed->scheme + "://" + parsed->authority() + parsed->prefix;
      return {};
    }
    auto listen = parse_host_port(config_.http.listen);
    if (!listen)
      complain("http.listen", listen.error().text);
    else if (listen->port == 0)
      complain("http.listen", "takes a free port at each start: write one, or http.internal_url, so that SRS can be told where to call");
    else if (!near && (is_loopback(listen->host) || is_wildcard(listen->host)))
      complain("http.internal_url", fmt::format("is empty, and {} does not say where an SRS on another machine reaches Weir: write it", config_.http.listen));
    else
      return "http://" + to_string(is_wildcard(listen->host) ? host_port{listen->host == "::" ? "::1" : "127.0.0.1", listen->port} : *listen);
    return {};
  }

  /// What each edge listens on.
  std::vector<std::string> read_edges(const std::vector<srs_edge>& edges, const std::vector<origin>& origins) {
    std::vector<std::string> out;
    std::set<std::string> names;
    for (auto& o : origins)
      names.insert(o.name);
    for (auto& e : edges) {
      auto& listen = out.emplace_back();
      if (!is_name(e.name)) {
        complain("--edge", fmt::format("{:?} is not {}", e.name, name_form));
        continue;
      }
      auto path = "--edge " + e.name;
      if (!names.insert(e.name).second)
        complain(path, "is the name of another server or edge");
      auto at = parse_host_port(e.listen.find(':') == e.listen.npos ? "0.0.0.0:" + e.listen : e.listen);
      if (!at || at->port == 0 || !is_address(at->host)) {
        complain(path, fmt::format("{:?} is not a port from 1 to 65535, alone or after an IP address: 1935, 10.0.0.5:1935 or [::]:1935", e.listen));
        continue;
      }
      check_allowed("edge " + e.name, at->host);
      listen = e.listen.find(':') == e.listen.npos ? std::to_string(at->port) : to_string(*at);
    }
    if (!edges.empty())
      for (auto& o : origins)
        if (is_loopback(o.rtmp.host))
          complain(o.path + ".rtmp_url", fmt::format("{} is reached by edges on the same machine only", o.rtmp.host), false);
    return out;
  }

  static std::string hook_url(const std::string& base, const std::string& secret) { return base + "/hooks/srs" + (secret.empty() ? "" : "/" + secret); }

  /// What origins and edges have in common, up to the closing of their vhost.
  static std::string head(std::string_view name, std::string_view what, std::string_view listen) {
    return fmt::format(R"(# {0}: {1}, for SRS 5 to 7. Written by `weir config srs`.
#   srs -t -c {0}.conf    checks it
#   srs -c {0}.conf       runs it in the foreground
listen              {2};
max_connections     1000;
daemon              off;
srs_log_tank        console;
pid                 ./objs/{0}.pid;
)",
                       name, what, listen);
  }
  static constexpr std::string_view delivery = R"(    # Packets go on as they come instead of being gathered first.
    tcp_nodelay         on;
    min_latency         on;
    publish {
        mr                  off;
        # Milliseconds. With the default normal_timeout of 5000 a silent publisher was found after 5.6 to 9.4 seconds.
        firstpkt_timeout    5000;
        normal_timeout      3000;
    }
    play {
        # Whoever comes starts at once, on the last group of pictures.
        gop_cache           on;
        mw_latency          100;
    }
)";

  static std::string origin_text(const origin& o, const std::string& url) {
    auto text = head(o.name, "an RTMP server that brings streams to Weir", std::to_string(o.rtmp.port));
    text += fmt::format("# Weir knows the server by this name: name in rtmp_servers.\nserver_id           {};\n\n", o.name);
    if (!o.api.empty())
      text += fmt::format(R"(# The list of who really publishes: hooks are only hints.
# Whoever reaches this port may disconnect publishers, so open it to Weir alone.
http_api {{
    enabled             on;
    listen              {};
}}

)",
                          o.api);
    return text + fmt::format(R"(vhost __defaultVhost__ {{
{}    # on_publish asks Weir, the others tell it. There is no on_play: transcoders read here, and must not need the coordinator for it.
    http_hooks {{
        enabled             on;
        on_publish          {};
        on_unpublish        {};
        on_close            {};
    }}
}}
)",
                              delivery, url, url, url);
  }

  static std::string edge_text(std::string_view name, std::string_view listen, std::string_view origins, const std::string& url) {
    auto text = head(name, "an edge that passes Weir's RTMP streams on to viewers", listen);
    return text + fmt::format(R"(server_id           {};

vhost __defaultVhost__ {{
    cluster {{
        mode                remote;
        origin              {};
    }}
{}    # Viewers are counted here and not at the origins, where an edge shows as one viewer. What is published here goes on to an origin with its key,
    # and the origin asks: with on_publish here Weir would hear of it twice.
    http_hooks {{
        enabled             on;
        on_play             {};
        on_stop             {};
    }}
}}
)",
                              name, origins, delivery, url, url);
  }

  const node_config& config_;
  srs_cluster made_;
};

} // namespace

bool srs_cluster::good() const {
  return std::ranges::none_of(found, [](auto& c) { return c.fatal; });
}

srs_cluster render_srs_cluster(const node_config& config, const std::vector<srs_edge>& edges) { return rendering(config).of(edges); }

} // namespace weir::rtmp
