#include "runtime/http/auth.hpp"

#include "runtime/base/secret.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <charconv>
#include <fmt/format.h>

namespace weir::http {
namespace {

using address_bytes = std::array<std::uint8_t, 16>;

/// Both families in one space: IPv4 as ::ffff:a.b.c.d.
std::optional<address_bytes> parse_address(std::string_view text) {
  const std::string zero_ended(text);
  address_bytes out{};
  if (::inet_pton(AF_INET6, zero_ended.c_str(), out.data()) == 1)
    return out;
  out.fill(0);
  out[10] = out[11] = 0xff;
  if (::inet_pton(AF_INET, zero_ended.c_str(), out.data() + 12) == 1)
    return out;
  return std::nullopt;
}

/// The first `bits` bits; the others zero.
address_bytes masked(address_bytes a, unsigned bits) {
  for (unsigned i = 0; i < a.size(); ++i) {
    const unsigned kept = bits > 8 * i ? std::min(8U, bits - 8 * i) : 0;
    a[i] = static_cast<std::uint8_t>(a[i] & (0xff00U >> kept));
  }
  return a;
}

constexpr std::size_t forwarded_limit = 16;

/// Some proxies write 192.0.2.7:1234 or [2001:db8::1]:1234. What is neither stays as it is.
std::string_view without_port(std::string_view text) {
  if (text.starts_with('[')) {
    const auto end = text.find(']');
    const auto port = end == std::string_view::npos ? end : end + 1;
    return port == std::string_view::npos || (port < text.size() && text[port] != ':') ? text : text.substr(1, end - 1);
  }
  const auto colon = text.find(':');
  return colon != std::string_view::npos && text.find(':', colon + 1) == std::string_view::npos ? text.substr(0, colon) : text;
}

bool is_v4(const address_bytes& a) { return std::all_of(a.begin(), a.begin() + 10, [](auto b) { return b == 0; }) && a[10] == 0xff && a[11] == 0xff; }

} // namespace

std::optional<std::string_view> bearer_token(const request& r) {
  constexpr std::string_view scheme = "Bearer ";
  const auto header = r.header("Authorization");
  if (!header || header->size() <= scheme.size() || !same_text(header->substr(0, scheme.size()), scheme))
    return std::nullopt;
  return trim(header->substr(scheme.size()));
}

std::optional<std::string_view> cookie(const request& r, std::string_view name) {
  for (auto& [key, value] : r.headers) {
    if (!same_text(key, "Cookie"))
      continue;
    for (std::string_view rest = value; !rest.empty();) {
      const auto end = rest.find(';');
      const auto pair = trim(rest.substr(0, end));
      rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
      const auto equals = pair.find('=');
      if (equals != std::string_view::npos && pair.substr(0, equals) == name)
        return pair.substr(equals + 1);
    }
  }
  return std::nullopt;
}

bool matches_secret(std::string_view given, std::string_view wanted) { return constant_time_equal(given, wanted) && !wanted.empty(); }

expected<address_list> address_list::parse(std::span<const std::string> entries) {
  address_list out;
  for (const std::string_view entry : entries) {
    const auto bad = [&](std::string_view why) { return fail(error_code::invalid_config, fmt::format("address {}: {}", entry, why)); };
    const auto slash = entry.find('/');
    const auto host = entry.substr(0, slash);
    const auto bytes = parse_address(host);
    if (!bytes)
      return bad("neither an IPv4 nor an IPv6 address");
    const bool v4 = host.find(':') == std::string_view::npos;
    unsigned bits = v4 ? 32 : 128;
    if (slash != std::string_view::npos) {
      const auto text = entry.substr(slash + 1);
      const unsigned most = bits;
      const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), bits);
      if (text.empty() || ec != std::errc() || end != text.data() + text.size() || bits > most)
        return bad(fmt::format("the prefix length must be 0 to {}", most));
    }
    if (v4)
      bits += 96;
    if (masked(*bytes, bits) != *bytes)
      return bad("bits behind the prefix length are set");
    out.networks_.push_back({*bytes, bits});
  }
  return out;
}

bool address_list::contains(std::string_view address) const {
  const auto bytes = parse_address(address);
  return bytes && std::any_of(networks_.begin(), networks_.end(), [&](const network& n) {
           // ::/0 is every IPv6 address, not every IPv4 one.
           return masked(*bytes, n.bits) == n.bytes && (n.bits >= 96 || !is_v4(*bytes));
         });
}

std::string_view address_behind(const address_list& trusted, std::string_view peer, std::span<const std::string_view> lines) {
  auto known = peer;
  std::size_t looked_at = 0;
  for (auto line = lines.rbegin(); line != lines.rend(); ++line)
    for (auto rest = *line; !rest.empty();) {
      if (looked_at++ == forwarded_limit || !trusted.contains(known))
        return known;
      const auto comma = rest.rfind(',');
      const auto next = without_port(trim(comma == std::string_view::npos ? rest : rest.substr(comma + 1)));
      rest = comma == std::string_view::npos ? std::string_view{} : rest.substr(0, comma);
      if (next.find_first_not_of("0123456789abcdefABCDEF.:") != std::string_view::npos || !parse_address(next))
        return known;
      known = next;
    }
  return known;
}

std::string limiter_key(std::string_view address) {
  const auto bytes = parse_address(address);
  if (!bytes || is_v4(*bytes))
    return std::string(address);
  return std::string(reinterpret_cast<const char*>(bytes->data()), 8);
}

bool rate_limiter::take(std::string_view key, std::chrono::steady_clock::time_point now) {
  std::lock_guard lock(guard_);
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) {
    if (by_key_.size() >= settings_.most_keys && !buckets_.empty()) {
      by_key_.erase(buckets_.back().key);
      buckets_.pop_back();
    }
    buckets_.push_front({std::string(key), settings_.burst, now});
    by_key_.emplace(buckets_.front().key, buckets_.begin());
  } else {
    buckets_.splice(buckets_.begin(), buckets_, found->second);
  }
  auto& b = buckets_.front();
  const auto passed = std::chrono::duration<double>(now - b.since).count();
  b.tokens = std::min(settings_.burst, b.tokens + std::max(0.0, passed) * settings_.per_second);
  b.since = std::max(b.since, now);
  if (b.tokens < 1)
    return false;
  b.tokens -= 1;
  return true;
}

std::size_t rate_limiter::size() const {
  std::lock_guard lock(guard_);
  return buckets_.size();
}

} // namespace weir::http
