#pragma once
// Random values, comparisons and digests for credentials. All of libsodium that Weir uses is behind this door.
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace weir {

/// `prefix` and 256 random bits as base64url: "weir_3q2-7w…" (43 characters after the prefix).
std::string random_token(std::string_view prefix);

/// A UUID of version 4: "9f1c0e0a-1b7e-4d6c-8a7e-0c4b9d2f6a11".
std::string random_uuid();

/// Fills with random bytes fit for keys.
void fill_random(std::span<std::uint8_t> out);

/// Whether the two are equal; takes the same time wherever they differ, and does not tell their length.
bool constant_time_equal(std::string_view a, std::string_view b);

/// SHA-256 as 64 lower-case hexadecimal digits.
std::string sha256_hex(std::string_view bytes);

using digest256 = std::array<std::uint8_t, 32>;
/// HMAC-SHA-256 under a key of any length.
digest256 hmac_sha256(std::string_view key, std::string_view message);

/// A digest of a secret that many may be compared with and that does not tell it: "SALT$DIGEST".
std::string salted_hash(std::string_view secret);
/// Whether this is the secret that salted_hash() was made of; false for what is no such digest.
bool matches_hash(std::string_view secret, std::string_view hash);

/// Ed25519: says that a text comes from whoever has the seed.
class signing_key {
public:
  signing_key() = default;
  /// The same key for the same seed.
  explicit signing_key(std::string_view seed);
  /// base64url, as all of these.
  std::string public_key() const;
  std::string sign(std::string_view text) const;

private:
  std::array<std::uint8_t, 32> public_{};
  std::array<std::uint8_t, 64> secret_{};
};
/// False also for what is no key or no signature.
bool verify_signature(std::string_view text, std::string_view signature, std::string_view public_key);

/// base64url without padding (RFC 4648, 5).
std::string base64url(std::span<const std::uint8_t> bytes);

} // namespace weir
