#include "runtime/viewing/viewing.hpp"

#include "runtime/base/secret.hpp"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>

namespace weir::viewing {

namespace {

constexpr std::size_t expiry_digits = 11; ///< until the year 5138; a number of nginx's JavaScript holds it exactly
constexpr std::size_t key_digits = 8;
constexpr std::size_t mac_digits = 32;
constexpr std::size_t longest_stream = 64;
constexpr std::string_view front = "/t/";

bool is_hex(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

using mac_text = std::array<char, mac_digits>;

/// On the request's path: nothing is allocated.
mac_text mac_of(std::string_view secret, std::string_view stream, std::string_view expires) {
  std::array<char, longest_stream + 1 + expiry_digits> message{};
  auto end = std::ranges::copy(stream, message.begin()).out;
  *end++ = '\n';
  end = std::ranges::copy(expires, end).out;
  auto digest = hmac_sha256(secret, {message.data(), static_cast<std::size_t>(end - message.begin())});
  mac_text out{};
  for (std::size_t i = 0; i < mac_digits; ++i)
    out[i] = "0123456789abcdef"[i % 2 == 0 ? digest[i / 2] >> 4 : digest[i / 2] & 15];
  return out;
}

} // namespace

expected<void> check_secret(std::string_view text) {
  const bool plain = std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '~' || c == '-';
  });
  if (text.size() < 32 || text.size() > 128 || !plain)
    return fail(error_code::invalid_config, "a secret for viewing tokens must have 32 to 128 letters, digits and signs of \"._~-\"");
  return {};
}

viewing_key key_of(std::string secret) {
  auto id = sha256_hex(secret).substr(0, key_digits);
  return {std::move(id), std::move(secret)};
}

viewing_rules with_version(viewing_rules rules) {
  std::string all;
  for (auto& key : rules.keys)
    all += key.secret + "\n";
  for (auto& name : rules.signed_only)
    all += "/" + name + "\n";
  auto digest = sha256_hex(all);
  std::from_chars(digest.data(), digest.data() + 15, rules.version, 16);
  rules.version += 1;
  return rules;
}

std::string make_token(const viewing_key& key, std::string_view stream, std::int64_t expires) {
  auto text = std::to_string(expires);
  auto mac = mac_of(key.secret, stream.substr(0, longest_stream), text.substr(0, expiry_digits));
  return fmt::format("{}.{}.{}", text, key.id, std::string_view(mac.data(), mac.size()));
}

expected<token_parts> parse_token(std::string_view text) {
  token_parts parts;
  auto dot = text.find('.');
  parts.expires_text = text.substr(0, dot);
  auto& digits = parts.expires_text;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), parts.expires);
  const bool number = !digits.empty() && digits.size() <= expiry_digits && digits.front() >= '1' && digits.front() <= '9' && error == std::errc{} && end == digits.data() + digits.size();
  auto rest = dot == std::string_view::npos ? std::string_view{} : text.substr(dot + 1);
  if (!number || rest.size() != key_digits + 1 + mac_digits || rest[key_digits] != '.')
    return fail(error_code::invalid_input, "this is no viewing token");
  parts.key = rest.substr(0, key_digits);
  parts.mac = rest.substr(key_digits + 1);
  if (!is_hex(parts.key) || !is_hex(parts.mac))
    return fail(error_code::invalid_input, "this is no viewing token");
  return parts;
}

address split(std::string_view path) {
  if (!path.starts_with(front))
    return {{}, {}, path};
  auto end = std::min(path.find('/', front.size()), path.size());
  return {path.substr(0, end), path.substr(front.size(), end - front.size()), path.substr(end)};
}

std::string_view words(verdict v) {
  switch (v) {
  case verdict::missing:
    return "this stream is watched by signed addresses only; please ask whoever gave you this one\n";
  case verdict::wrong:
    return "the signature of this address is wrong; please ask whoever gave it to you\n";
  case verdict::expired:
    return "this address has expired; please ask whoever gave it to you for a new one\n";
  case verdict::unheard:
    return "this node has only just started; please try again in a moment\n";
  case verdict::open:
  case verdict::good:
    break;
  }
  return {};
}

bool gate::use(viewing_rules rules) {
  std::lock_guard lock(using_); // of two at once the second one compares with the first
  if (gate::rules() == rules)
    return false;
  auto next = std::make_shared<known>();
  next->signed_only.insert(rules.signed_only.begin(), rules.signed_only.end());
  next->rules = std::move(rules);
  known_.publish(std::move(next));
  return true;
}

viewing_rules gate::rules() const {
  auto* all = known_.read();
  return all ? all->rules : viewing_rules{};
}

verdict gate::judge(std::string_view stream, std::string_view token, timestamp now, std::chrono::seconds grace) const {
  auto* all = known_.read();
  if (!all || all->rules.version == 0)
    return verdict::unheard;
  if (token.empty())
    return all->signed_only.contains(stream) ? verdict::missing : verdict::open;
  auto parts = parse_token(token);
  if (!parts || stream.size() > longest_stream)
    return verdict::wrong;
  for (auto& key : all->rules.keys)
    if (key.id == parts->key) {
      auto mac = mac_of(key.secret, stream, parts->expires_text);
      if (!constant_time_equal({mac.data(), mac.size()}, parts->mac))
        return verdict::wrong;
      return unix_seconds(now - grace) < parts->expires ? verdict::good : verdict::expired;
    }
  return verdict::wrong;
}

} // namespace weir::viewing
