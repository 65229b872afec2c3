#include "runtime/base/secret.hpp"

#include <cstdio>
#include <cstdlib>
#include <sodium.h>

namespace weir {
namespace {

void need_sodium() {
  static const bool ready = [] {
    if (sodium_init() < 0) {
      // Without a source of randomness no credential would be one.
      std::fputs("weir: libsodium finds no source of randomness\n", stderr);
      std::abort();
    }
    return true;
  }();
  (void)ready;
}

const unsigned char* bytes_of(std::string_view s) { return reinterpret_cast<const unsigned char*>(s.data()); }

} // namespace

void fill_random(std::span<std::uint8_t> out) {
  need_sodium();
  randombytes_buf(out.data(), out.size());
}

std::string random_token(std::string_view prefix) {
  digest256 random{};
  fill_random(random);
  return std::string(prefix) + base64url(random);
}

std::string random_uuid() {
  std::array<std::uint8_t, 16> u{};
  fill_random(u);
  u[6] = static_cast<std::uint8_t>((u[6] & 0x0f) | 0x40);
  u[8] = static_cast<std::uint8_t>((u[8] & 0x3f) | 0x80);
  std::array<char, 33> hex{};
  sodium_bin2hex(hex.data(), hex.size(), u.data(), u.size());
  std::string text(hex.data(), 32);
  for (std::size_t at : {20, 16, 12, 8})
    text.insert(at, 1, '-');
  return text;
}

bool constant_time_equal(std::string_view a, std::string_view b) {
  // Digests under a key that is new with each start have one length and say nothing about their inputs.
  static const digest256 key = [] {
    digest256 made{};
    fill_random(made);
    return made;
  }();
  auto digest = [](std::string_view s) {
    digest256 out{};
    crypto_generichash(out.data(), out.size(), bytes_of(s), s.size(), key.data(), key.size());
    return out;
  };
  auto da = digest(a), db = digest(b);
  return sodium_memcmp(da.data(), db.data(), da.size()) == 0;
}

std::string sha256_hex(std::string_view bytes) {
  need_sodium();
  digest256 digest{};
  crypto_hash_sha256(digest.data(), bytes_of(bytes), bytes.size());
  std::array<char, 65> hex{};
  sodium_bin2hex(hex.data(), hex.size(), digest.data(), digest.size());
  return hex.data();
}

digest256 hmac_sha256(std::string_view key, std::string_view message) {
  need_sodium();
  crypto_auth_hmacsha256_state state;
  crypto_auth_hmacsha256_init(&state, bytes_of(key), key.size());
  crypto_auth_hmacsha256_update(&state, bytes_of(message), message.size());
  digest256 out{};
  crypto_auth_hmacsha256_final(&state, out.data());
  return out;
}

namespace {

/// Exactly `out`'s length, or false.
bool from_base64url(std::string_view text, std::span<std::uint8_t> out) {
  std::size_t length = 0;
  const char* end = nullptr;
  return sodium_base642bin(out.data(), out.size(), text.data(), text.size(), nullptr, &length, &end, sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0 && length == out.size() &&
         end == text.data() + text.size();
}

std::string keyed_digest(std::string_view salt, std::string_view secret) { return base64url(hmac_sha256(salt, secret)); }

} // namespace

std::string salted_hash(std::string_view secret) {
  std::array<std::uint8_t, 16> random{};
  fill_random(random);
  auto salt = base64url(random);
  return salt + "$" + keyed_digest(salt, secret);
}

bool matches_hash(std::string_view secret, std::string_view hash) {
  auto cut = hash.find('$');
  return cut != std::string_view::npos && constant_time_equal(keyed_digest(hash.substr(0, cut), secret), hash.substr(cut + 1));
}

signing_key::signing_key(std::string_view seed) {
  need_sodium();
  digest256 digest{};
  crypto_hash_sha256(digest.data(), bytes_of(seed), seed.size());
  crypto_sign_seed_keypair(public_.data(), secret_.data(), digest.data());
}

std::string signing_key::public_key() const { return base64url(public_); }

std::string signing_key::sign(std::string_view text) const {
  std::array<std::uint8_t, crypto_sign_BYTES> out{};
  crypto_sign_detached(out.data(), nullptr, bytes_of(text), text.size(), secret_.data());
  return base64url(out);
}

bool verify_signature(std::string_view text, std::string_view signature, std::string_view public_key) {
  need_sodium();
  std::array<std::uint8_t, crypto_sign_BYTES> given{};
  std::array<std::uint8_t, crypto_sign_PUBLICKEYBYTES> key{};
  return from_base64url(signature, given) && from_base64url(public_key, key) &&
         crypto_sign_verify_detached(given.data(), bytes_of(text), text.size(), key.data()) == 0;
}

std::string base64url(std::span<const std::uint8_t> bytes) {
  std::string out(sodium_base64_encoded_len(bytes.size(), sodium_base64_VARIANT_URLSAFE_NO_PADDING), '\0');
  sodium_bin2base64(out.data(), out.size(), bytes.data(), bytes.size(), sodium_base64_VARIANT_URLSAFE_NO_PADDING);
  out.pop_back(); // the terminating zero
  return out;
}

} // namespace weir
