#include "runtime/http/target.hpp"

#include <algorithm>
#include <charconv>

namespace weir::http {
namespace {

constexpr std::size_t most_pairs = 256;

int hex(char c) {
  if (c >= '0' && c <= '9')
    return c - '0';
  if (c >= 'a' && c <= 'f')
    return c - 'a' + 10;
  if (c >= 'A' && c <= 'F')
    return c - 'A' + 10;
  return -1;
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

/// Calls f(name, value) for each raw pair until it returns false.
template <class F>
void each_pair(std::string_view query, F f) {
  for (std::size_t pairs = 0; !query.empty() && pairs < most_pairs; ++pairs) {
    const auto end = query.find('&');
    const auto pair = query.substr(0, end);
    query = end == std::string_view::npos ? std::string_view() : query.substr(end + 1);
    if (pair.empty())
      continue;
    const auto equals = pair.find('=');
    if (!f(pair.substr(0, equals), equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1)))
      return;
  }
}

std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || ec != std::errc() || end != text.data() + text.size())
    return std::nullopt;
  return value;
}

} // namespace

bool same_text(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return lower(x) == lower(y); });
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t'))
    text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t'))
    text.remove_suffix(1);
  return text;
}

expected<split_target> split(std::string_view target) {
  if (target == "*")
    return split_target{target, {}};
  for (std::string_view scheme : {"http://", "https://"})
    if (target.size() >= scheme.size() && same_text(target.substr(0, scheme.size()), scheme)) {
      target.remove_prefix(scheme.size());
      const auto path = target.find_first_of("/?");
      if (path == std::string_view::npos)
        return split_target{"/", {}};
      if (target[path] == '?')
        return split_target{"/", target.substr(path + 1)};
      target.remove_prefix(path);
      break;
    }
  if (!target.starts_with('/'))
    return fail(error_code::invalid_input, "request target does not begin with /");
  const auto mark = target.find('?');
  if (mark == std::string_view::npos)
    return split_target{target, {}};
  return split_target{target.substr(0, mark), target.substr(mark + 1)};
}

bool is_normal_path(std::string_view raw) {
  if (!raw.starts_with('/'))
    return false;
  for (std::size_t i = 0; i < raw.size(); ++i) {
    const char c = raw[i];
    if (c == '%' || c == '\\' || is_control(c))
      return false;
    // A dot or a slash after a slash may be ".", ".." or "//": left to the slow form.
    if (c == '/' && i + 1 < raw.size() && (raw[i + 1] == '/' || raw[i + 1] == '.'))
      return false;
  }
  return true;
}

expected<std::string> normalise_path(std::string_view raw) {
  if (!raw.starts_with('/'))
    return fail(error_code::invalid_input, "path does not begin with /");
  std::string path;
  path.reserve(raw.size());
  for (std::size_t i = 0; i < raw.size(); ++i) {
    char c = raw[i];
    if (c == '%') {
      const int high = i + 2 < raw.size() ? hex(raw[i + 1]) : -1;
      const int low = i + 2 < raw.size() ? hex(raw[i + 2]) : -1;
      if (high < 0 || low < 0)
        return fail(error_code::invalid_input, "bad percent escape in the path");
      c = static_cast<char>(high * 16 + low);
      i += 2;
      if (c == '/')
        return fail(error_code::invalid_input, "encoded slash in the path");
    }
    if (c == '\\' || is_control(c))
      return fail(error_code::invalid_input, "control character or backslash in the path");
    path.push_back(c);
  }
  std::string out;
  out.reserve(path.size());
  for (std::size_t at = 0; at < path.size();) {
    const auto next = std::min(path.find('/', at + 1), path.size());
    const auto segment = std::string_view(path).substr(at + 1, next - at - 1);
    const bool last = next == path.size();
    if (segment == "..")
      return fail(error_code::invalid_input, ".. in the path");
    if ((!segment.empty() && segment != ".") || last)
      out.append("/").append(segment == "." ? "" : segment);
    at = next;
  }
  return out;
}

expected<std::string> percent_decode(std::string_view raw, bool plus_is_space) {
  std::string out;
  out.reserve(raw.size());
  for (std::size_t i = 0; i < raw.size(); ++i) {
    char c = raw[i];
    if (c == '%') {
      const int high = i + 2 < raw.size() ? hex(raw[i + 1]) : -1;
      const int low = i + 2 < raw.size() ? hex(raw[i + 2]) : -1;
      if (high < 0 || low < 0)
        return fail(error_code::invalid_input, "bad percent escape");
      c = static_cast<char>(high * 16 + low);
      i += 2;
    } else if (c == '+' && plus_is_space) {
      c = ' ';
    }
    if (c == '\0')
      return fail(error_code::invalid_input, "NUL in text");
    out.push_back(c);
  }
  return out;
}

std::string percent_encode(std::string_view text) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const bool letter_or_digit = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    const bool unreserved = letter_or_digit || c == '-' || c == '.' || c == '_' || c == '~';
    if (unreserved) {
      out.push_back(c);
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out.push_back('%');
    out.push_back(digits[byte >> 4]);
    out.push_back(digits[byte & 15]);
  }
  return out;
}

std::optional<std::string> query_text::find(std::string_view name) const {
  std::optional<std::string> found;
  each_pair(raw_, [&](std::string_view raw_name, std::string_view raw_value) {
    const auto decoded = percent_decode(raw_name, true);
    if (!decoded || *decoded != name)
      return true;
    if (auto value = percent_decode(raw_value, true))
      found = std::move(*value);
    return false;
  });
  return found;
}

std::vector<std::pair<std::string, std::string>> query_text::all() const {
  std::vector<std::pair<std::string, std::string>> pairs;
  each_pair(raw_, [&](std::string_view raw_name, std::string_view raw_value) {
    auto name = percent_decode(raw_name, true);
    auto value = percent_decode(raw_value, true);
    if (name && value)
      pairs.emplace_back(std::move(*name), std::move(*value));
    return true;
  });
  return pairs;
}

std::optional<std::string_view> raw_query_value(std::string_view query, std::string_view name) {
  std::optional<std::string_view> found;
  each_pair(query, [&](std::string_view raw_name, std::string_view raw_value) {
    if (raw_name != name)
      return true;
    found = raw_value;
    return false;
  });
  return found;
}

range_verdict parse_range(std::string_view header, std::uint64_t size, byte_range& out) {
  constexpr std::string_view unit = "bytes=";
  header = trim(header);
  if (header.size() < unit.size() || !same_text(header.substr(0, unit.size()), unit))
    return range_verdict::whole;
  const auto spec = trim(header.substr(unit.size()));
  const auto dash = spec.find('-');
  if (dash == std::string_view::npos || spec.find(',') != std::string_view::npos)
    return range_verdict::whole;
  const auto first_text = trim(spec.substr(0, dash));
  const auto last_text = trim(spec.substr(dash + 1));
  if (first_text.empty()) { // the last N bytes
    const auto suffix = number(last_text);
    if (!suffix)
      return range_verdict::whole;
    if (*suffix == 0 || size == 0)
      return range_verdict::unsatisfiable;
    out.length = std::min(*suffix, size);
    out.offset = size - out.length;
    return range_verdict::part;
  }
  const auto first = number(first_text);
  const auto last = last_text.empty() ? std::optional<std::uint64_t>(UINT64_MAX) : number(last_text);
  if (!first || !last || *last < *first)
    return range_verdict::whole;
  if (*first >= size)
    return range_verdict::unsatisfiable;
  out.offset = *first;
  out.length = std::min(*last, size - 1) - *first + 1;
  return range_verdict::part;
}

bool matches_etag(std::string_view if_none_match, std::string_view etag) {
  const auto strong = [](std::string_view tag) { return tag.starts_with("W/") ? tag.substr(2) : tag; };
  if (trim(if_none_match) == "*")
    return true;
  while (!if_none_match.empty()) {
    const auto comma = if_none_match.find(',');
    if (strong(trim(if_none_match.substr(0, comma))) == strong(etag))
      return true;
    if_none_match = comma == std::string_view::npos ? std::string_view() : if_none_match.substr(comma + 1);
  }
  return false;
}

} // namespace weir::http
