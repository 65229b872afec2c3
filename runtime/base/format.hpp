#pragma once
// How our values print in log lines and error texts: ids as their text, enums as their word, quantities with their unit.
#include "schemas/error.hpp"
#include "schemas/field.hpp"
#include "schemas/ids.hpp"
#include "schemas/units.hpp"

#include <fmt/format.h>

template <class Tag>
struct fmt::formatter<weir::id<Tag>> : fmt::formatter<std::string_view> {
  auto format(const weir::id<Tag>& x, fmt::format_context& c) const { return fmt::formatter<std::string_view>::format(x.value, c); }
};

template <weir::named_enum E>
struct fmt::formatter<E> : fmt::formatter<std::string_view> {
  auto format(E x, fmt::format_context& c) const { return fmt::formatter<std::string_view>::format(weir::to_string(x), c); }
};

template <>
struct fmt::formatter<weir::error_code> : fmt::formatter<std::string_view> {
  auto format(weir::error_code x, fmt::format_context& c) const { return fmt::formatter<std::string_view>::format(weir::to_string(x), c); }
};

/// "TEXT (code)"
template <>
struct fmt::formatter<weir::error> {
  constexpr auto parse(fmt::format_parse_context& c) { return c.begin(); }
  auto format(const weir::error& x, fmt::format_context& c) const { return fmt::format_to(c.out(), "{} ({})", x.text, weir::to_string(x.code)); }
};

template <>
struct fmt::formatter<weir::bit_rate> : fmt::formatter<std::string_view> {
  auto format(weir::bit_rate x, fmt::format_context& c) const { return fmt::formatter<std::string_view>::format(weir::to_string(x), c); }
};

template <>
struct fmt::formatter<weir::byte_size> : fmt::formatter<std::string_view> {
  auto format(weir::byte_size x, fmt::format_context& c) const { return fmt::formatter<std::string_view>::format(weir::to_string(x), c); }
};
