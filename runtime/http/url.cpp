#include "runtime/http/url.hpp"

#include <algorithm>
#include <boost/url/parse.hpp>

namespace weir::http {

expected<url_parts> parse_url(std::string_view text) {
  auto parsed = boost::urls::parse_uri({text.data(), text.size()});
  if (!parsed)
    return fail(error_code::invalid_input, "is not an address: " + parsed.error().message());
  auto own = [](const auto& part) { return std::string(part.data(), part.size()); };
  url_parts parts{own(parsed->scheme()), own(parsed->encoded_host()), own(parsed->encoded_path())};
  std::ranges::transform(parts.scheme, parts.scheme.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return parts;
}

} // namespace weir::http
