#pragma once
// Takes texts apart that have one form each: addresses, and keys made of the same words.
#include <charconv>
#include <cstdint>
#include <string_view>

namespace weir::hls {

/// From the front; what does not fit makes it not ok, and nothing is taken any more.
struct text_reader {
  std::string_view rest;
  bool ok = true;

  void literal(std::string_view text) {
    ok = ok && rest.starts_with(text);
    if (ok)
      rest.remove_prefix(text.size());
  }
  bool maybe(std::string_view text) {
    const bool there = ok && rest.starts_with(text);
    if (there)
      rest.remove_prefix(text.size());
    return there;
  }
  /// One number has one name: no leading zero.
  std::uint64_t number() {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
    const auto digits = static_cast<std::size_t>(end - rest.data());
    ok = ok && error == std::errc{} && (digits == 1 || rest.front() != '0');
    if (ok)
      rest.remove_prefix(digits);
    return value;
  }
  bool done() const { return ok && rest.empty(); }
};

} // namespace weir::hls
