#include "schemas/config.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <charconv>
#include <cstring>
#include <fmt/format.h>
#include <set>

namespace weir {
namespace {

using complaints = std::vector<complaint>;

// Letters, digits and what never needs quoting in an address, a file name or a label.
bool plain_word(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
  });
}

void check_word(complaints& out, std::string path, const std::string& text) {
  if (!plain_word(text))
    out.push_back({std::move(path), fmt::format("{:?} holds more than letters, digits, '-', '_' and '.'", text)});
}

void check_address(complaints& out, std::string path, const std::string& text, bool free_port = true) {
  if (auto parsed = parse_host_port(text); !parsed)
    out.push_back({std::move(path), parsed.error().text});
  else if (!free_port && parsed->port == 0)
    out.push_back({std::move(path), fmt::format("{:?} names no port to reach it at", text)});
}

/// Chain and key of a listener with TLS: both or none.
void check_certificate(complaints& out, std::string_view section, const std::string& certificate, const std::string& key) {
  for (auto [field_name, value, other] : {std::tuple{"certificate", &certificate, &key}, std::tuple{"key", &key, &certificate}}) {
    if (value->empty() && !other->empty())
      out.push_back({field_name, fmt::format("is empty: TLS needs {0}.certificate and {0}.key", section)});
    if (!value->empty() && !value->starts_with('/'))
      out.push_back({field_name, fmt::format("{:?} is not an absolute path", *value)});
  }
}

// Scheme, authority and no blanks: enough to tell a typing error; who uses the address parses it in full.
void check_url(complaints& out, std::string path, const std::string& text, std::initializer_list<std::string_view> schemes) {
  if (text.empty())
    return;
  bool printable = std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 127 && c != '"' && c != '<' && c != '>' && c != '\\'; });
  for (auto scheme : schemes) {
    auto rest = std::string_view(text);
    if (!printable || !rest.starts_with(scheme) || !rest.substr(scheme.size()).starts_with("://"))
      continue;
    rest.remove_prefix(scheme.size() + 3);
    if (!rest.empty() && rest.front() != '/' && rest.front() != ':' && rest.front() != '?' && rest.front() != '#')
      return;
  }
  out.push_back({std::move(path), fmt::format("{:?} is not an address of the form {}://HOST", text, fmt::join(schemes, "://HOST or "))});
}

void check_ranges(complaints& out, std::string_view path, const std::vector<std::string>& ranges) {
  for (std::size_t i = 0; i < ranges.size(); ++i)
    if (auto parsed = parse_address_range(ranges[i]); !parsed)
      out.push_back({fmt::format("{}[{}]", path, i), parsed.error().text});
}

// What a page's policy can name: scheme, host and port, the first label perhaps a wildcard. It knows no IPv6 addresses.
bool browser_source(std::string_view text) {
  for (std::string_view scheme : {"https://", "http://"})
    if (text.starts_with(scheme)) {
      text.remove_prefix(scheme.size());
      if (text.starts_with("*."))
        text.remove_prefix(2);
      auto colon = text.find(':');
      auto host = text.substr(0, colon);
      return !host.empty() && plain_word(host) && (colon == std::string_view::npos || parse_host_port(text));
    }
  return false;
}

std::string with_words(std::string text, std::string_view word, std::string_view value) {
  for (auto at = text.find(word); at != std::string::npos; at = text.find(word, at + value.size()))
    text.replace(at, word.size(), value);
  return text;
}

bool parse_address(std::string_view text, std::array<std::uint8_t, 16>& out) {
  std::string word(text);
  in_addr four{};
  if (inet_pton(AF_INET, word.c_str(), &four) == 1) {
    out = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    std::memcpy(out.data() + 12, &four, 4);
    return true;
  }
  return inet_pton(AF_INET6, word.c_str(), out.data()) == 1;
}

} // namespace

expected<host_port> parse_host_port(std::string_view text) {
  auto bad = [&](std::string_view why) {
    return fail(error_code::invalid_config, fmt::format("{:?} {} (write it like 127.0.0.1:8080 or [::1]:8080)", text, why));
  };
  auto colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0)
    return bad("is not address:port");
  auto host = text.substr(0, colon);
  auto digits = text.substr(colon + 1);
  if (host.front() == '[') {
    std::array<std::uint8_t, 16> six;
    if (host.back() != ']' || host.find(':') == std::string_view::npos || !parse_address(host.substr(1, host.size() - 2), six))
      return bad("holds no IPv6 address in its brackets");
    host = host.substr(1, host.size() - 2);
  } else if (!plain_word(host)) {
    return bad("holds no valid host");
  }
  std::uint16_t port = 0;
  auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (code != std::errc{} || end != digits.data() + digits.size())
    return bad("holds no port in 0..65535");
  return host_port{std::string(host), port};
}

std::string to_string(const host_port& address) {
  bool six = address.host.find(':') != std::string::npos;
  return six ? fmt::format("[{}]:{}", address.host, address.port) : fmt::format("{}:{}", address.host, address.port);
}

bool is_loopback(std::string_view host) {
  static const address_range four = *parse_address_range("127.0.0.0/8"), six = *parse_address_range("::1");
  return host == "localhost" || four.contains(host) || six.contains(host);
}

bool address_range::contains(std::string_view address) const {
  std::array<std::uint8_t, 16> other;
  if (!parse_address(address, other))
    return false;
  for (unsigned bit = 0; bit < bits; ++bit)
    if (((prefix[bit / 8] ^ other[bit / 8]) >> (7 - bit % 8)) & 1)
      return false;
  return true;
}

expected<address_range> parse_address_range(std::string_view text) {
  auto bad = [&](std::string_view why) {
    return fail(error_code::invalid_config, fmt::format("{:?} {} (write it like 10.0.0.0/8, 2001:db8::/32 or 192.0.2.7)", text, why));
  };
  auto slash = text.find('/');
  auto address = text.substr(0, slash);
  address_range range;
  if (!parse_address(address, range.prefix))
    return bad("is not an address or a range");
  if (slash == std::string_view::npos)
    return range;
  unsigned family_bits = address.find(':') == std::string_view::npos ? 32 : 128;
  auto digits = text.substr(slash + 1);
  unsigned bits = 0;
  auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), bits);
  if (code != std::errc{} || end != digits.data() + digits.size() || bits > family_bits)
    return bad(fmt::format("has no prefix length in 0..{}", family_bits));
  range.bits = bits + (128 - family_bits);
  for (unsigned bit = range.bits; bit < 128; ++bit)
    if ((range.prefix[bit / 8] >> (7 - bit % 8)) & 1)
      return bad("has bits set beyond its prefix length");
  return range;
}

expected<machine_address> parse_machine_address(std::string_view text) {
  auto bad = [&](std::string_view why) { return fail(error_code::invalid_config, fmt::format("{:?} {} (write it like 10.0.0.5/24)", text, why)); };
  const auto slash = text.find('/');
  machine_address found{.host = std::string(text.substr(0, slash)), .network = {}};
  in_addr four{};
  unsigned bits = 0;
  if (slash == std::string_view::npos)
    return bad("does not say how long its network's prefix is");
  if (inet_pton(AF_INET, found.host.c_str(), &four) != 1)
    return bad(found.host.find(':') != std::string::npos ? "is not an IPv4 address, and IPv6 addresses cannot be shared" : "is not an IPv4 address");
  auto digits = text.substr(slash + 1);
  auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), bits);
  if (code != std::errc{} || end != digits.data() + digits.size() || bits < 8 || bits > 30)
    return bad("has no prefix length in 8..30");
  const auto whole = ntohl(four.s_addr), hosts = 0xffff'ffffU >> bits;
  if ((whole & hosts) == 0 || (whole & hosts) == hosts)
    return bad("is the address of a whole network, not of a machine");
  if (const auto first = whole >> 24; first == 0 || first == 127 || first >= 224)
    return bad("is not an address that a machine can have in a network");
  const in_addr prefix{.s_addr = htonl(whole & ~hosts)};
  found.network = {.prefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, .bits = bits + 96};
  std::memcpy(found.network.prefix.data() + 12, &prefix, 4);
  return found;
}

bool any_contains(const std::vector<std::string>& ranges, std::string_view address) {
  return std::any_of(ranges.begin(), ranges.end(), [&](const std::string& text) {
    auto range = parse_address_range(text);
    return range && range->contains(address);
  });
}

complaints node_options::check() const {
  complaints out;
  check_word(out, "name", name);
  return out;
}

complaints http_options::check() const {
  complaints out;
  check_address(out, "listen", listen);
  check_url(out, "public_url", public_url, {"http", "https"});
  check_url(out, "internal_url", internal_url, {"http", "https"});
  if (!tls_listen.empty())
    check_address(out, "tls_listen", tls_listen);
  check_certificate(out, "http", certificate, key);
  if (tls_listen.empty() != certificate.empty())
    out.push_back(tls_listen.empty() ? complaint{"certificate", "is not used without http.tls_listen", false} : complaint{"tls_listen", "needs http.certificate and http.key"});
  if (!tls_listen.empty() && public_url.starts_with("http://"))
    out.push_back({"public_url", fmt::format("{:?} is not where http.tls_listen serves: pages and playlists will be without TLS", public_url), false});
  auto address = parse_host_port(listen);
  if (address && !is_loopback(address->host) && tls_listen.empty() && !public_url.starts_with("https://"))
    out.push_back({"listen", fmt::format("{:?} is reached from outside without TLS: set http.tls_listen with a certificate, or put a TLS proxy in front and name its https:// address in http.public_url", listen),
                   false});
  return out;
}

complaints cluster_options::check() const {
  complaints out;
  check_word(out, "name", name);
  auto beyond = [&](const std::string& path, const std::string& text) {
    auto address = parse_host_port(text);
    if (address && !is_loopback(address->host) && !insecure && ca.empty())
      out.push_back({path, fmt::format("{:?} leaves this machine without TLS: set cluster.ca, certificate and key (`weir cluster init-ca`), or, on a network that nobody else reaches, "
                                       "cluster.insecure: true", text)});
  };
  if (!listen.empty())
    check_address(out, "listen", listen);
  beyond("listen", listen);
  for (std::size_t i = 0; i < join.size(); ++i) {
    auto path = fmt::format("join[{}]", i);
    check_address(out, path, join[i], false);
    beyond(path, join[i]);
  }
  for (auto [field_name, value] : {std::pair{"ca", &ca}, std::pair{"certificate", &certificate}, std::pair{"key", &key}})
    if (value->empty() && !(ca.empty() && certificate.empty() && key.empty()))
      out.push_back({field_name, "is empty: TLS between nodes needs ca, certificate and key"});
  if (!ca.empty() && insecure)
    out.push_back({"insecure", "is set although cluster.ca asks for TLS: leave one of them out"});
  if (down_after < 2 * heartbeat)
    out.push_back({"down_after", fmt::format("{} is less than two heartbeats of {}", to_string(down_after), to_string(heartbeat))});
  return out;
}

complaints worker_options::check() const {
  complaints out;
  if (retry_first > retry_longest)
    out.push_back({"retry_first", fmt::format("{} is longer than retry_longest, {}", to_string(retry_first), to_string(retry_longest))});
  return out;
}

complaints hook_options::check() const {
  complaints out;
  check_ranges(out, "allow", allow);
  if (!plain_word(secret))
    out.push_back({"secret", "holds more than letters, digits, '-', '_' and '.', so it cannot be part of an address"});
  return out;
}

complaints ingest_options::check() const {
  complaints out;
  check_word(out, "server", server);
  check_address(out, "rtmp_listen", rtmp_listen);
  check_url(out, "public_url", public_url, {"rtmp", "rtmps"});
  std::set<std::string> seen;
  for (std::size_t i = 0; i < apps.size(); ++i) {
    auto path = fmt::format("apps[{}]", i);
    check_word(out, path, apps[i]);
    if (apps[i].empty() || apps[i].size() > 64)
      out.push_back({path, "is empty or longer than 64 bytes"});
    if (!seen.insert(apps[i]).second)
      out.push_back({path, fmt::format("{:?} is listed twice", apps[i])});
  }
  check_ranges(out, "play_allow", play_allow);
  check_address(out, "stat_listen", stat_listen);
  return out;
}

complaints rtmp_server_options::check() const {
  complaints out;
  check_url(out, "rtmp_url", rtmp_url, {"rtmp", "rtmps"});
  check_url(out, "public_url", public_url, {"rtmp", "rtmps"});
  check_url(out, "api_url", api_url, {"http", "https"});
  if (!plain_word(secret))
    out.push_back({"secret", "holds more than letters, digits, '-', '_' and '.', so it cannot be part of an address"});
  return out;
}

void check_bucket(complaints& out, const bucket_options& s3) {
  check_url(out, "s3.endpoint", s3.endpoint.empty() ? " " : s3.endpoint, {"http", "https"});
  if (s3.endpoint.find_first_of("@?#") != std::string::npos) // not shown: a password may stand before the '@'
    out.push_back({"s3.endpoint", "holds '@', '?' or '#': it is scheme, host and perhaps port; the key belongs into the file of s3.credentials"});
  if (constexpr std::string_view plain = "http://"; s3.endpoint.starts_with(plain)) {
    auto host = std::string_view(s3.endpoint).substr(plain.size());
    auto address = parse_host_port(host);
    if (!is_loopback(address ? address->host : std::string(host)))
      out.push_back({"s3.endpoint", fmt::format("{:?} leaves this machine without TLS: segments, and what is asked for, can be read and changed on the way", s3.endpoint), false});
  }
  const bool word = std::all_of(s3.bucket.begin(), s3.bucket.end(), [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.'; });
  if (!word || s3.bucket.size() < 3)
    out.push_back({"s3.bucket", fmt::format("{:?} is no bucket's name: 3 to 63 of a-z, 0-9, '-' and '.'", s3.bucket)});
  check_word(out, "s3.region", s3.region);
  std::string_view rest = s3.prefix;
  while (!rest.empty()) {
    const auto word_end = std::min(rest.find('/'), rest.size());
    if (const auto part = rest.substr(0, word_end); part.empty() || part.front() == '.' || !plain_word(part)) {
      out.push_back({"s3.prefix", fmt::format("{:?} is not made of words of letters, digits, '-', '_' and '.' with '/' between them", s3.prefix)});
      break;
    }
    rest.remove_prefix(std::min(word_end + 1, rest.size()));
  }
}

complaints origin_options::check() const {
  complaints out;
  check_url(out, "url", url, {"http", "https"});
  auto timing = timing_of(profile);
  if (window.count() != 0 && window < 6 * timing.target)
    out.push_back({"window", fmt::format("{} is less than six segments of {}: players would stall; take at least {}, or 0s for the profile's {}", to_string(window),
                                         to_string(timing.target), to_string(6 * timing.target), to_string(timing.window))});
  for (auto [name, value] : {std::pair{"window", window}, {"dvr_window", dvr_window}})
    if (value > listed_segments_limit * timing.target)
      out.push_back({name, fmt::format("{} is more than {} segments of {}, and a playlist lists no more; take at most {}", to_string(value), listed_segments_limit, to_string(timing.target),
                                       to_string(listed_segments_limit * timing.target))});
  if (const auto live = window.count() != 0 ? window : timing.window; dvr_window.count() != 0 && dvr_window <= live)
    out.push_back({"dvr_window", fmt::format("{} is not longer than window, {}; take 0s for no time shift", to_string(dvr_window), to_string(live))});
  if (store == store_kind::s3)
    check_bucket(out, s3);
  else if (!s3.bucket.empty())
    out.push_back({"s3", "is not used: store is not s3", false});
  return out;
}

complaints director_options::check() const {
  complaints out;
  if (probe_timeout > probe_every)
    out.push_back({"probe_timeout", fmt::format("{} is longer than probe_every, {}", to_string(probe_timeout), to_string(probe_every))});
  for (std::size_t i = 0; i < edge_hosts.size(); ++i)
    if (!browser_source(edge_hosts[i]))
      out.push_back({fmt::format("edge_hosts[{}]", i), fmt::format("{:?} is not an address of the form https://HOST, https://*.DOMAIN, or the same with :PORT", edge_hosts[i])});
  check_ranges(out, "trusted_proxies", trusted_proxies);
  return out;
}

complaints autoscaler_options::check() const {
  complaints out;
  if (least > most)
    out.push_back({"least", fmt::format("{} edges at least are more than most, {}", least, most)});
  if (driver == scaling_driver::exec && command.empty())
    out.push_back({"command", "is empty: the driver exec needs a program"});
  for (std::size_t i = 0; i < command.size(); ++i)
    if (command[i].size() > 4096 || (i == 0 && command[i].empty()) || command[i].find('\0') != std::string::npos)
      out.push_back({fmt::format("command[{}]", i), "is empty, longer than 4096 bytes or holds a zero byte"});
  for (auto [field_name, value] : {std::pair{"token_file", &token_file}, std::pair{"authorities", &authorities}})
    if (!value->empty() && !value->starts_with('/'))
      out.push_back({field_name, fmt::format("{:?} is not an absolute path", *value)});
  check_url(out, "url", url, {"http", "https"});
  if (driver == scaling_driver::webhook && url.empty())
    out.push_back({"url", "is empty: the driver webhook needs an address"});
  auto host = std::string_view(url).substr(0, url.find_first_of("/?#", 7));
  host.remove_prefix(std::min<std::size_t>(7, host.size()));
  if (driver == scaling_driver::webhook && !token_file.empty() && url.starts_with("http://") && !is_loopback(host.substr(0, host.rfind(':'))))
    out.push_back({"url", "is reached without TLS: others on the way can read autoscaler.token_file's token", false});
  for (std::size_t i = 0; i < expected.size(); ++i) {
    auto at = [&](const char* name) { return fmt::format("expected[{}].{}", i, name); };
    auto from = parse_rfc3339(expected[i].from), until = parse_rfc3339(expected[i].until);
    if (!from)
      out.push_back({at("from"), from.error().text});
    if (!until)
      out.push_back({at("until"), until.error().text});
    if (from && until && *until <= *from)
      out.push_back({at("until"), fmt::format("{} is not after {}", expected[i].until, expected[i].from)});
  }
  return out;
}

namespace {

void check_shared_address(complaints& out, const edge_options& edge) {
  const auto& shared = edge.shared_address;
  if (shared.address.empty()) {
    if (!shared.interface.empty() || !shared.network.empty())
      out.push_back({"shared_address.address", "is empty: edge.shared_address needs the address and its interface"});
    return;
  }
  const auto address = parse_machine_address(shared.address);
  if (!address)
    out.push_back({"shared_address.address", address.error().text});
  if (shared.interface.empty())
    out.push_back({"shared_address.interface", "is empty: edge.shared_address needs the address and its interface"});
  else if (std::ranges::any_of(shared.interface, [](char c) { return c <= ' ' || c == '/' || c == 127; }) || shared.interface.starts_with('.'))
    out.push_back({"shared_address.interface", fmt::format("{:?} is not the name of a network interface", shared.interface)});
  if (!shared.network.empty())
    check_word(out, "shared_address.network", shared.network);
  if (edge.instances + edge.spare > 1)
    out.push_back({"instances",
                   fmt::format("{} edges on one node cannot have edge.shared_address: it needs edge.instances: 1 and edge.spare: 0", edge.instances + edge.spare)});
  if (edge.listen_host != "0.0.0.0")
    out.push_back({"listen_host",
                   fmt::format("{:?} is one address: with edge.shared_address it must be 0.0.0.0, for the edge answers at others, too", edge.listen_host)});
  if (edge.first_port == 0)
    out.push_back({"first_port", "is 0, which takes a free one: with edge.shared_address all edges of the network need the same port"});
  std::array<std::uint8_t, 16> ignored;
  if (address && edge.public_url.empty() && parse_address(edge.public_host, ignored) && edge.public_host != address->host)
    out.push_back({"public_host",
                   fmt::format("{:?} is not the address {} of edge.shared_address, which is where viewers must be sent", edge.public_host, address->host)});
}

} // namespace

complaints edge_options::check() const {
  complaints out;
  auto check_host = [&](std::string path, const std::string& host) {
    std::array<std::uint8_t, 16> ignored;
    if (!plain_word(host) && !parse_address(host, ignored))
      out.push_back({std::move(path), fmt::format("{:?} is not a host name or an address (without a port)", host)});
  };
  check_host("listen_host", listen_host);
  check_host("public_host", public_host);
  if (public_host.empty() && public_url.empty() && shared_address.address.empty() && (listen_host == "0.0.0.0" || listen_host == "::"))
    out.push_back({"public_host", fmt::format("is empty, but viewers cannot reach {}: write the name or address of this machine", listen_host)});
  if (!public_url.empty()) {
    auto one = edge_url(*this, 1, first_port);
    check_url(out, "public_url", one, {"http", "https"});
    if (one.find_first_of("{}?#;,'") != std::string::npos)
      out.push_back({"public_url", fmt::format("{:?} holds more than an address, {{n}} and {{port}}", public_url)});
    if (instances + spare > 1 && edge_url(*this, 1, 1) == edge_url(*this, 2, 2))
      out.push_back({"public_url", fmt::format("{:?} is one address for {} edges: write {{n}} or {{port}} where they differ", public_url, instances + spare)});
    if (!public_host.empty())
      out.push_back({"public_host", "is not used where edge.public_url says how viewers reach the edges", false});
  }
  check_certificate(out, "edge", certificate, key);
  if (first_port != 0 && first_port + instances + spare > 65'536)
    out.push_back({"first_port", fmt::format("{} leaves no room for {} ports", first_port, instances + spare)});
  for (std::size_t i = 0; i < origins.size(); ++i)
    check_url(out, fmt::format("origins[{}]", i), origins[i].empty() ? " " : origins[i], {"http", "https"});
  check_ranges(out, "networks", networks);
  for (std::size_t i = 0; i < networks.size(); ++i)
    for (std::size_t before = 0; before < i; ++before)
      if (auto a = parse_address_range(networks[before]), b = parse_address_range(networks[i]); a && b && *a == *b) {
        out.push_back({fmt::format("networks[{}]", i), fmt::format("{:?} is the same network as networks[{}]", networks[i], before)});
        break;
      }
  if (networks_only && networks.empty())
    out.push_back({"networks_only", "leaves nobody to serve: edge.networks is empty"});
  if (networks_only && spare > 0)
    out.push_back({"spare", "is not for edges that serve edge.networks only: the autoscaler starts edges for everybody"});
  if (!locality.empty() && (!plain_word(locality) || locality.front() == '.'))
    out.push_back({"locality", fmt::format("{:?} holds more than letters, digits, '-', '_' and '.', or begins with '.'", locality)});
  if (!locality.empty() && networks.empty())
    out.push_back({"locality", "is not used without edge.networks", false});
  check_shared_address(out, *this);
  return out;
}

std::string edge_url(const edge_options& options, unsigned number, std::uint16_t port) {
  auto url = options.public_url;
  if (url.empty()) {
    const auto& shared = options.shared_address.address;
    const auto own = shared.empty() ? options.listen_host : shared.substr(0, shared.find('/'));
    url = fmt::format("{}://{}", options.certificate.empty() ? "http" : "https", to_string(host_port{options.public_host.empty() ? own : options.public_host, port}));
  }
  url = with_words(with_words(std::move(url), "{n}", std::to_string(number)), "{port}", std::to_string(port));
  while (url.ends_with('/'))
    url.pop_back();
  return url;
}

bool node_config::has(role wanted) const {
  auto list = role_list();
  return std::find(list.begin(), list.end(), wanted) != list.end();
}

std::vector<role> node_config::role_list() const {
  std::vector<role> out;
  for (auto& named : enum_names(role{}))
    if (std::any_of(roles.begin(), roles.end(), [&](role_choice r) { return r == role_choice::all || to_string(r) == named.second; }))
      out.push_back(named.first);
  return out;
}

complaints node_config::check() const {
  complaints out;
  std::set<role_choice> seen;
  for (std::size_t i = 0; i < roles.size(); ++i)
    if (!seen.insert(roles[i]).second)
      out.push_back({fmt::format("roles[{}]", i), fmt::format("{} is listed twice", to_string(roles[i]))});
    else if (roles[i] == role_choice::all && roles.size() > 1)
      out.push_back({fmt::format("roles[{}]", i), "all includes every other role: list it alone"});

  bool coordinates = has(role::coordinator);
  if (coordinates && coordinator.lease_ttl < 3 * cluster.heartbeat)
    out.push_back({"coordinator.lease_ttl", fmt::format("{} is less than three of cluster.heartbeat, {}, which renew it", to_string(coordinator.lease_ttl), to_string(cluster.heartbeat))});
  bool elected = coordinates && coordinator.election == election_kind::etcd;
  if (coordinates && !elected && !cluster.join.empty())
    out.push_back({"cluster.join", "this node has the role coordinator, which others join: leave it empty, take the role away, or elect one of several (coordinator.election: etcd)"});
  if (elected && cluster.join.empty())
    out.push_back({"cluster.join", "is empty: with coordinator.election: etcd it names the cluster listeners of the other coordinators, which this one passes requests on to while it stands by"});
  if (elected && cluster.listen.empty())
    out.push_back({"cluster.listen", "is empty: with coordinator.election: etcd the other coordinators and all nodes must reach this one"});
  if (elected && coordinator.etcd_endpoints.empty())
    out.push_back({"coordinator.etcd_endpoints", "is empty: coordinator.election: etcd needs the client addresses of etcd's members, such as http://10.0.0.1:2379"});
  if (elected && !coordinator.etcd_endpoints.empty() && coordinator.etcd_endpoints.size() < 3)
    out.push_back({"coordinator.etcd_endpoints", "names fewer than three members: an etcd that cannot lose one is no safer than a single coordinator", false});
  if (coordinates && !elected && !coordinator.etcd_endpoints.empty())
    out.push_back({"coordinator.etcd_endpoints", "is not used while coordinator.election is single", false});
  if (coordinator.etcd_certificate.empty() != coordinator.etcd_key.empty())
    out.push_back({coordinator.etcd_key.empty() ? "coordinator.etcd_key" : "coordinator.etcd_certificate", "is empty: what etcd is shown is a certificate and its key"});
  bool certified = !coordinator.etcd_ca.empty() || !coordinator.etcd_certificate.empty();
  if (elected && certified && !coordinator.etcd_endpoints.empty() && std::ranges::none_of(coordinator.etcd_endpoints, [](auto& e) { return e.starts_with("https://"); }))
    out.push_back({coordinator.etcd_ca.empty() ? "coordinator.etcd_certificate" : "coordinator.etcd_ca", "is not used: no address of coordinator.etcd_endpoints begins with https://", false});
  for (std::size_t i = 0; i < coordinator.etcd_endpoints.size(); ++i) {
    auto& endpoint = coordinator.etcd_endpoints[i];
    auto path = fmt::format("coordinator.etcd_endpoints[{}]", i);
    check_url(out, path, endpoint.empty() ? " " : endpoint, {"http", "https"});
    constexpr std::string_view plain = "http://";
    auto host = endpoint.starts_with(plain) ? parse_host_port(std::string_view(endpoint).substr(plain.size())) : expected<host_port>(fail(error_code::invalid_config, {}));
    if (elected && host && !is_loopback(host->host) && !cluster.insecure)
      out.push_back({path, fmt::format("{:?} leaves this machine without TLS, and publish keys go there: use https://, or, on a network that nobody else reaches, cluster.insecure: true", endpoint), false});
  }
  if (!coordinates && cluster.join.empty())
    out.push_back({"cluster.join", "is empty, but without the role coordinator this node needs the address of one, such as control.example.org:4700"});
  if (has(role::edge) && edge.origins.empty() && !has(role::origin) && cluster.join.empty() && cluster.listen.empty())
    out.push_back({"edge.origins", "is empty, this node has no role origin and is in no cluster that could have one: the edges would have nothing to fetch from"});
  if (has(role::edge) && has(role::ingest) && edge.first_port != 0)
    if (auto rtmp = parse_host_port(ingest.rtmp_listen); rtmp && rtmp->port >= edge.first_port && rtmp->port < edge.first_port + edge.instances + edge.spare)
      out.push_back({"ingest.rtmp_listen", fmt::format("port {} is one of the edges' ports {}..{}", rtmp->port, edge.first_port, edge.first_port + edge.instances + edge.spare - 1)});
  if (auto listener = parse_host_port(http.listen); has(role::edge) && edge.first_port != 0 && listener && listener->port >= edge.first_port &&
                                                    listener->port < edge.first_port + edge.instances + edge.spare)
    out.push_back({"http.listen", fmt::format("port {} is one of the edges' ports {}..{}", listener->port, edge.first_port, edge.first_port + edge.instances + edge.spare - 1)});
  if (auto plain = parse_host_port(http.listen), secure = parse_host_port(http.tls_listen); plain && secure && secure->port != 0 && plain->port == secure->port)
    out.push_back({"http.tls_listen", fmt::format("port {} is that of http.listen", secure->port)});
  if (auto secure = parse_host_port(http.tls_listen); has(role::edge) && edge.first_port != 0 && secure && secure->port >= edge.first_port &&
                                                      secure->port < edge.first_port + edge.instances + edge.spare)
    out.push_back({"http.tls_listen", fmt::format("port {} is one of the edges' ports {}..{}", secure->port, edge.first_port, edge.first_port + edge.instances + edge.spare - 1)});
  const auto page = http.public_url.empty() && !http.tls_listen.empty() ? "https://" + http.tls_listen : http.public_url;
  if (has(role::edge) && page.starts_with("https://") && edge_url(edge, 1, edge.first_port).starts_with("http://"))
    out.push_back({edge.public_url.empty() ? "edge.certificate" : "edge.public_url",
                   fmt::format("playlists name {}, which browsers do not load in a page at {} (http.public_url): set edge.certificate and edge.key, or an https:// address in edge.public_url",
                               edge_url(edge, 1, edge.first_port), page), false});
  auto beyond = [](const std::string& text) {
    auto there = parse_host_port(text);
    return there && !is_loopback(there->host);
  };
  if (auto listener = parse_host_port(http.listen); listener && is_loopback(listener->host) && http.internal_url.empty() && (beyond(cluster.listen) || std::ranges::any_of(cluster.join, beyond)))
    out.push_back({"http.listen", fmt::format("{:?} is not reached by the other nodes, which ask this one whether it misses the coordinator too{}: write its address in your network, or http.internal_url",
                                              http.listen, has(role::origin) && origin.url.empty() ? ", and write to its origin" : ""), false});

  std::set<std::string> servers;
  for (std::size_t i = 0; i < rtmp_servers.size(); ++i)
    if (!servers.insert(rtmp_servers[i].name).second)
      out.push_back({fmt::format("rtmp_servers[{}].name", i), fmt::format("{:?} is the name of another server", rtmp_servers[i].name)});
  std::set<std::string> names;
  for (std::size_t i = 0; i < ladders.size(); ++i) {
    if (!names.insert(ladders[i].name).second)
      out.push_back({fmt::format("ladders[{}].name", i), fmt::format("{:?} is the name of another ladder", ladders[i].name)});
    for (auto& c : weir::check(ladders[i]))
      out.push_back({fmt::format("ladders[{}].{}", i, c.path), std::move(c.detail), c.fatal});
  }
  return out;
}

complaints check(const ladder_spec& ladder) {
  complaints out;
  static constexpr std::array presets{std::string_view("ultrafast"), std::string_view("superfast"), std::string_view("veryfast"), std::string_view("faster"),
                                      std::string_view("fast"),      std::string_view("medium"),    std::string_view("slow")};
  if (std::find(presets.begin(), presets.end(), ladder.preset) == presets.end())
    out.push_back({"preset", fmt::format("{:?} is not one of {}", ladder.preset, fmt::join(presets, ", "))});
  check_word(out, "name", ladder.name);
  std::set<std::string> names;
  for (std::size_t i = 0; i < ladder.rungs.size(); ++i) {
    auto& rung = ladder.rungs[i];
    check_word(out, fmt::format("rungs[{}].name", i), rung.name);
    if (!names.insert(rung.name).second)
      out.push_back({fmt::format("rungs[{}].name", i), fmt::format("{:?} is the name of another rung", rung.name)});
    if (i > 0 && rung.height > ladder.rungs[i - 1].height)
      out.push_back({fmt::format("rungs[{}].height", i), fmt::format("{} is above the {} of the rung before: list the largest first", rung.height, ladder.rungs[i - 1].height)});
    if (i > 0 && rung.video >= ladder.rungs[i - 1].video)
      out.push_back({fmt::format("rungs[{}].video", i),
                     fmt::format("{} is not below the {} of the rung before", to_string(rung.video), to_string(ladder.rungs[i - 1].video))});
  }
  return out;
}

std::vector<ladder_spec> built_in_ladders() {
  auto rung = [](std::string name, std::uint32_t height, std::int64_t video, std::uint32_t max_fps) {
    return rung_spec{std::move(name), height, bit_rate{video}, max_fps};
  };
  return {
    {"default", {rung("1080p", 1080, 5'000'000, 60), rung("720p", 720, 3'000'000, 60), rung("480p", 480, 1'400'000, 30), rung("360p", 360, 700'000, 30)},
     bit_rate{128'000}, "veryfast", false},
    {"economy", {rung("720p", 720, 2'500'000, 30), rung("480p", 480, 1'200'000, 30), rung("360p", 360, 600'000, 30)}, bit_rate{128'000}, "superfast", false},
    {"low", {rung("360p", 360, 600'000, 30), rung("240p", 240, 300'000, 30)}, bit_rate{64'000}, "superfast", false},
  };
}

} // namespace weir
