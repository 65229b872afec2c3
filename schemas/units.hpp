#pragma once
// Quantities that people write with their unit: "2.5M" bit/s, "512MiB", "2s".
#include "schemas/error.hpp"

#include <chrono>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

namespace weir {

/// Bits a second. Written as a decimal with k, M or G (powers of 1000): "800k", "2.5M".
struct bit_rate {
  std::int64_t bits_per_second = 0;
  auto operator<=>(const bit_rate&) const = default;
};

/// Bytes. Written with kB, MB, GB (powers of 1000) or KiB, MiB, GiB (powers of 1024); a bare number is bytes.
struct byte_size {
  std::int64_t bytes = 0;
  auto operator<=>(const byte_size&) const = default;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, bit_rate& x) {
  return f(x.bits_per_second);
}
template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, byte_size& x) {
  return f(x.bytes);
}

using timestamp = std::chrono::system_clock::time_point;
/// Whole seconds since 1970, as Unix counts them.
inline std::int64_t unix_seconds(timestamp t) { return std::chrono::floor<std::chrono::seconds>(t.time_since_epoch()).count(); }

expected<bit_rate> parse_bit_rate(std::string_view text);
expected<byte_size> parse_byte_size(std::string_view text);
/// Takes "250ms", "2s", "1.5s", "10m", "1h", "7d". A bare number is refused: the unit is part of the value.
expected<std::chrono::milliseconds> parse_duration(std::string_view text);

/// The shortest exact form: 2500000 → "2.5M", 1234567 → "1234567".
std::string to_string(bit_rate value);
std::string to_string(byte_size value);
std::string to_string(std::chrono::milliseconds value);
/// RFC 3339 in UTC with milliseconds: "2026-11-22T10:00:00.123Z".
std::string to_rfc3339(timestamp t);
expected<timestamp> parse_rfc3339(std::string_view text);

} // namespace weir
