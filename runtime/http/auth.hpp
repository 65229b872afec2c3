#pragma once
// Who is asking: credentials in a request, address lists, rate limits. Decisions about what they may do are made elsewhere.
#include "runtime/http/message.hpp"

#include <array>
#include <chrono>
#include <cstdint>
#include <list>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace weir::http {

/// The token of `Authorization: Bearer …`; nothing when absent or of another scheme. Compare with matches_secret().
std::optional<std::string_view> bearer_token(const request& r);
/// The value of a cookie; the first of that name.
std::optional<std::string_view> cookie(const request& r, std::string_view name);
/// Whether both are equal and not empty, in constant time.
bool matches_secret(std::string_view given, std::string_view wanted);

/// IPv4 and IPv6 networks: "10.0.0.0/8", "::1", "192.0.2.7". IPv4 within IPv6 (::ffff:…) counts as IPv4.
class address_list {
public:
  address_list() = default;
  /// Errors: invalid_config, naming the first entry that is no address or network (host bits must be zero).
  static expected<address_list> parse(std::span<const std::string> entries);
  /// False for text that is no address.
  bool contains(std::string_view address) const;
  bool empty() const { return networks_.empty(); }

private:
  struct network {
    std::array<std::uint8_t, 16> bytes;
    unsigned bits;
  };
  std::vector<network> networks_;
};

/// Who asks through the proxies that are trusted: the last address of X-Forwarded-For (`lines`: its fields in their order) that none of them is. What a
/// stranger wrote there says nothing, so a peer that is not trusted is itself, and so is the last trusted one before something that is no address. At most
/// 16 addresses are looked at. The view points into what was given; no port, no brackets.
std::string_view address_behind(const address_list& trusted, std::string_view peer, std::span<const std::string_view> lines);

/// What a limiter should count an address as: itself for IPv4, its /64 for IPv6, because one customer has all of that.
std::string limiter_key(std::string_view address);

/// Token buckets by key, thread-safe. Holds at most `most_keys`: the one unused for longest is forgotten first.
class rate_limiter {
public:
  struct settings {
    double per_second = 10;
    double burst = 20;
    std::size_t most_keys = 10'000;
  };
  explicit rate_limiter(settings s) : settings_(s) {}
  /// Takes one token; false when the bucket is empty.
  bool take(std::string_view key, std::chrono::steady_clock::time_point now);
  std::size_t size() const;

private:
  struct bucket {
    std::string key;
    double tokens;
    std::chrono::steady_clock::time_point since;
  };
  settings settings_;
  mutable std::mutex guard_;
  std::list<bucket> buckets_; // most recently used first
  std::unordered_map<std::string_view, std::list<bucket>::iterator> by_key_;
};

} // namespace weir::http
