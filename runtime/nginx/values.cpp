#include "runtime/nginx/values.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <charconv>
#include <fmt/format.h>
#include <sys/un.h>

namespace weir::nginx {
namespace {

bool is_letter_or_digit(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

bool consists_of(std::string_view text, std::string_view signs) {
  return std::all_of(text.begin(), text.end(), [&](char c) { return is_letter_or_digit(c) || signs.find(c) != signs.npos; });
}

/// The refusal shows the value in one line, whatever it holds.
auto refused(std::string_view what, std::string_view value, std::string_view allowed) {
  std::string shown;
  for (const char c : value.substr(0, 80))
    shown += c >= 0x20 && c < 0x7f ? c : '?';
  return fail(error_code::invalid_config, fmt::format("{} '{}': {}", what, shown, allowed));
}

} // namespace

expected<void> check_address(std::string_view what, std::string_view value) {
  constexpr std::string_view allowed = "must be host:port, [IPv6]:port or unix:/path";
  if (value.starts_with("unix:")) {
    if (value.size() - 5 >= sizeof(sockaddr_un::sun_path))
      return refused(what, value, "the path of a unix socket has at most 107 bytes");
    return check_path(what, value.substr(5));
  }
  const auto colon = value.rfind(':');
  if (colon == value.npos || colon == 0)
    return refused(what, value, allowed);
  const auto host = value.substr(0, colon), port = value.substr(colon + 1);
  const bool v6 = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (v6 ? !consists_of(host.substr(1, host.size() - 2), ":.") : !consists_of(host, ".-_"))
    return refused(what, value, allowed);
  int number = 0;
  const auto end = port.data() + port.size();
  if (const auto parsed = std::from_chars(port.data(), end, number); parsed.ec != std::errc{} || parsed.ptr != end || number < 1 || number > 65535)
    return refused(what, value, "the port must be 1 to 65535");
  return {};
}

expected<void> check_local_address(std::string_view what, std::string_view value) {
  if (!value.starts_with("unix:") && !value.starts_with("127.") && !value.starts_with("[::1]:") && !value.starts_with("localhost:"))
    return refused(what, value, "must be an address of this machine only: 127.0.0.1:port, [::1]:port or unix:/path");
  return check_address(what, value);
}

expected<void> check_path(std::string_view what, std::string_view value) {
  if (!value.starts_with('/') || value.size() > 4000 || !consists_of(value, "/._-+@"))
    return refused(what, value, "must be an absolute path of letters, digits and /._-+@");
  return {};
}

expected<void> check_word(std::string_view what, std::string_view value) {
  if (value.empty() || value.size() > 64 || !consists_of(value, "_-."))
    return refused(what, value, "must be 1 to 64 letters, digits, '_', '-' or '.'");
  return {};
}

expected<void> check_network(std::string_view what, std::string_view value) {
  constexpr std::string_view allowed = "must be an IP address or network such as 10.0.0.0/8 or ::1";
  const auto slash = std::min(value.find('/'), value.size());
  const std::string address(value.substr(0, slash));
  if (!consists_of(address, ".:")) // inet_pton would stop at a zero byte
    return refused(what, value, allowed);
  in6_addr binary{};
  const bool v4 = inet_pton(AF_INET, address.c_str(), &binary) == 1;
  if (!v4 && inet_pton(AF_INET6, address.c_str(), &binary) != 1)
    return refused(what, value, allowed);
  if (slash == value.size())
    return {};
  const auto bits = value.substr(slash + 1);
  int number = -1;
  const auto end = bits.data() + bits.size();
  if (const auto parsed = std::from_chars(bits.data(), end, number); parsed.ec != std::errc{} || parsed.ptr != end || number < 0 || number > (v4 ? 32 : 128))
    return refused(what, value, allowed);
  return {};
}

expected<void> check_http_url(std::string_view what, std::string_view value) {
  constexpr std::string_view scheme = "http://";
  if (!value.starts_with(scheme) || value.size() > 1000)
    return refused(what, value, "must be http://host:port/path");
  const auto rest = value.substr(scheme.size());
  const auto slash = rest.find('/');
  if (slash == rest.npos || !consists_of(rest.substr(slash), "/?=&%._~+@,:-"))
    return refused(what, value, "must be http://host:port/path of letters, digits and /?=&%._~+@,:-");
  return check_address(what, rest.substr(0, slash));
}

expected<void> check_range(std::string_view what, std::int64_t value, std::int64_t least, std::int64_t most) {
  if (value < least || value > most)
    return fail(error_code::invalid_config, fmt::format("{} {}: must be {} to {}", what, value, least, most));
  return {};
}

} // namespace weir::nginx
