#include "runtime/base/utf8.hpp"

#include <cstdint>

namespace weir {
namespace {

// Bytes of the character that starts the text; 0 when none does.
std::size_t character(std::string_view text) {
  auto at = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  auto lead = at(0);
  if (lead < 0x80)
    return 1;
  std::size_t size = lead >= 0xc2 && lead <= 0xdf ? 2 : (lead & 0xf0) == 0xe0 ? 3 : lead >= 0xf0 && lead <= 0xf4 ? 4 : 0;
  if (size == 0 || text.size() < size)
    return 0;
  // The second byte decides overlong forms (e0, f0), surrogates (ed) and the upper end (f4).
  std::uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  std::uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  if (at(1) < low || at(1) > high)
    return 0;
  for (std::size_t i = 2; i < size; ++i)
    if ((at(i) & 0xc0) != 0x80)
      return 0;
  return size;
}

} // namespace

bool valid_utf8(std::string_view text) {
  while (!text.empty()) {
    auto n = character(text);
    if (n == 0)
      return false;
    text.remove_prefix(n);
  }
  return true;
}

std::string to_valid_utf8(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    auto n = character(text);
    result += n == 0 ? std::string_view("\xef\xbf\xbd") : text.substr(0, n);
    text.remove_prefix(n == 0 ? 1 : n);
  }
  return result;
}

} // namespace weir
