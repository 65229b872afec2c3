#pragma once
// The gzip coding of answers (RFC 9110 8.4.1.3, RFC 1952).
#include <string>
#include <string_view>

namespace weir::http {

/// Whether an Accept-Encoding field admits gzip: named, or covered by "*", with a weight above 0. Empty: no.
bool accepts_gzip(std::string_view accept_encoding);

/// The text as a gzip member; empty when it is empty or coding makes it no smaller.
std::string gzip(std::string_view text);

} // namespace weir::http
