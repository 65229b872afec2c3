#pragma once
// Absolute addresses that people write as settings, taken apart by a parser that knows RFC 3986.
#include "schemas/error.hpp"

#include <string>
#include <string_view>

namespace weir::http {

/// "rtmp://host:1935/app/key?x=1": each part as written, still percent-encoded.
struct url_parts {
  std::string scheme; ///< in small letters
  std::string host;   ///< without port; an IPv6 address keeps its brackets
  std::string path;   ///< with its first slash; may be empty
};
/// Fails with invalid_input for whatever is not an absolute address; its text does not repeat the address, which may hold a key.
expected<url_parts> parse_url(std::string_view text);

} // namespace weir::http
