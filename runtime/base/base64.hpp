#pragma once
// Base64 with padding (RFC 4648, 4), as it stands in other programs' JSON. Tokens of ours are base64url (runtime/base/secret.hpp).
#include "schemas/error.hpp"

#include <string>
#include <string_view>

namespace weir {

std::string to_base64(std::string_view bytes);
/// Fails with invalid_input: a foreign character, wrong padding.
expected<std::string> from_base64(std::string_view text);

} // namespace weir
