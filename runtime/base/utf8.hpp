#pragma once
// Text from outside is checked before it is stored: the JSON writer refuses what is not UTF-8.
#include <string>
#include <string_view>

namespace weir {

/// Whether the text is UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF.
bool valid_utf8(std::string_view text);

/// The text with each byte that breaks UTF-8 replaced by U+FFFD.
std::string to_valid_utf8(std::string_view text);

} // namespace weir
