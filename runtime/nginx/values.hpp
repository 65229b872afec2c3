#pragma once
// Values on their way into an nginx configuration. Each is checked against the few forms that it may have, so that nothing
// that a person or a program configured can end a directive and start another.
#include "schemas/error.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace weir::nginx {

/// "host:port" or "[v6]:port" with port 1 to 65535, or "unix:/path" of at most 107 bytes.
expected<void> check_address(std::string_view what, std::string_view value);
/// The same, of this machine only: 127.x.x.x, [::1], localhost or a unix socket.
expected<void> check_local_address(std::string_view what, std::string_view value);
/// An absolute path of letters, digits and "/._-+@".
expected<void> check_path(std::string_view what, std::string_view value);
/// 1 to 64 letters, digits, '_', '-' and '.': names of applications, users and hosts.
expected<void> check_word(std::string_view what, std::string_view value);
/// An IP address or network: "10.0.0.1", "10.0.0.0/8", "::1".
expected<void> check_network(std::string_view what, std::string_view value);
/// "http://host:port/path?query" of the characters that such a URL may have, without nginx's variables and separators.
expected<void> check_http_url(std::string_view what, std::string_view value);
/// "what" must lie between the two, inclusive.
expected<void> check_range(std::string_view what, std::int64_t value, std::int64_t least, std::int64_t most);

} // namespace weir::nginx
