#pragma once
// Request targets, queries and ranges: pure parsers of text that strangers send. No I/O, no allocation where a caller gives the space.
#include "schemas/error.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weir::http {

/// The two halves of a request target as sent: "/a%20b?x=1" → {"/a%20b", "x=1"}. Absolute form loses scheme and authority; "*" stays.
struct split_target {
  std::string_view path;
  std::string_view query;
};
/// Refuses (invalid_input) what does not begin with "/", is not absolute-form http(s) and is not "*".
expected<split_target> split(std::string_view target);

/// Percent-decodes once and collapses "//" and "/./". Refuses bad escapes, control characters, "..", "%2F" and backslashes, because each of
/// them makes one resource reachable under a name that an access rule did not think of.
expected<std::string> normalise_path(std::string_view raw);
/// Whether normalise_path(raw) would return raw unchanged: the hot path then needs no copy.
bool is_normal_path(std::string_view raw);

/// Percent-decodes; `+` becomes a space when asked (queries and forms). Refuses bad escapes and NUL.
expected<std::string> percent_decode(std::string_view raw, bool plus_is_space = false);
/// Percent-encodes everything but unreserved characters.
std::string percent_encode(std::string_view text);

/// `a=1&b=2` as in a query or a form body. Lookup decodes; the first value of a name wins, because senders append what clients said
/// (nginx-rtmp: `&name=evil&call=play`).
class query_text {
public:
  query_text() = default;
  explicit query_text(std::string raw) : raw_(std::move(raw)) {}

  /// The decoded value; nothing when absent or badly escaped.
  std::optional<std::string> find(std::string_view name) const;
  bool has(std::string_view name) const { return find(name).has_value(); }
  /// All pairs in order, decoded; badly escaped pairs are left out. At most 256.
  std::vector<std::pair<std::string, std::string>> all() const;
  const std::string& raw() const { return raw_; }

private:
  std::string raw_;
};

/// The raw (still encoded) value of a name in a query, without allocation; nothing when absent.
std::optional<std::string_view> raw_query_value(std::string_view query, std::string_view name);

/// One byte range of a body of known size.
struct byte_range {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};
enum class range_verdict {
  whole,         ///< no Range, another unit, several ranges or bad syntax: answer 200 with everything (RFC 9110 14.2)
  part,          ///< answer 206
  unsatisfiable, ///< answer 416
};
range_verdict parse_range(std::string_view header, std::uint64_t size, byte_range& out);

/// Whether an If-None-Match list holds the entity tag (weak comparison) or is "*".
bool matches_etag(std::string_view if_none_match, std::string_view etag);

/// Case-insensitive comparison of ASCII text, as header names need it.
bool same_text(std::string_view a, std::string_view b);
/// Without blanks and tabs at both ends.
std::string_view trim(std::string_view text);

} // namespace weir::http
