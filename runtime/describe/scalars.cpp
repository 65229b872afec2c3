#include "runtime/describe/scalars.hpp"

#include <algorithm>
#include <array>
#include <fmt/format.h>

namespace weir::describe {
namespace {

bool digit(char c) { return c >= '0' && c <= '9'; }

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return out;
}

template <std::size_t N>
bool one_of(std::string_view text, const std::array<std::string_view, N>& words) {
  return std::find(words.begin(), words.end(), text) != words.end();
}

} // namespace

bool is_decimal(std::string_view text) {
  if (text.starts_with('-'))
    text.remove_prefix(1);
  return !text.empty() && std::all_of(text.begin(), text.end(), digit) && (text.size() == 1 || text.front() != '0');
}

bool is_yaml_number(std::string_view text) {
  if (text.starts_with('-') || text.starts_with('+'))
    text.remove_prefix(1);
  auto low = lower(text);
  if (low == ".inf" || low == ".nan")
    return true;
  if (text.empty() || !(digit(text.front()) || (text.front() == '.' && text.size() > 1 && digit(text[1]))))
    return false;
  if (low.starts_with("0x") || low.starts_with("0o") || low.starts_with("0b"))
    return low.size() > 2 && std::all_of(low.begin() + 2, low.end(), [](char c) { return digit(c) || (c >= 'a' && c <= 'f') || c == '_'; });
  std::size_t i = 0, points = 0, colons = 0;
  for (; i < text.size() && (digit(text[i]) || text[i] == '_' || text[i] == '.' || text[i] == ':'); ++i) {
    points += text[i] == '.';
    colons += text[i] == ':';
  }
  if (points > 1 || text[i - 1] == ':')
    return false;
  if (i == text.size())
    return true;
  if (colons > 0 || (text[i] != 'e' && text[i] != 'E'))
    return false;
  ++i;
  if (i < text.size() && (text[i] == '-' || text[i] == '+'))
    ++i;
  return i < text.size() && std::all_of(text.begin() + static_cast<std::ptrdiff_t>(i), text.end(), digit);
}

bool is_yaml_boolean(std::string_view text) {
  static constexpr std::array<std::string_view, 8> words{"y", "n", "yes", "no", "on", "off", "true", "false"};
  return one_of(lower(text), words);
}

bool is_yaml_null(std::string_view text) {
  static constexpr std::array<std::string_view, 5> words{"", "~", "null", "Null", "NULL"};
  return one_of(text, words);
}

bool is_plain_safe(std::string_view text) {
  if (is_yaml_null(text) || is_yaml_boolean(text) || is_yaml_number(text) || text == "<<" || text.back() == ':')
    return false;
  auto first = text.front();
  bool word_start = digit(first) || (first >= 'a' && first <= 'z') || (first >= 'A' && first <= 'Z') || first == '/' || first == '_';
  return word_start && std::all_of(text.begin(), text.end(), [](char c) {
           return digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '.' || c == '/' || c == '-' || c == '@' || c == ':' || c == '+';
         });
}

std::string to_text(wide n) {
  if (n < 0)
    return fmt::format("{}", static_cast<std::int64_t>(n));
  return fmt::format("{}", static_cast<std::uint64_t>(n));
}

std::string show_number(const shape& type, wide n) {
  auto small = static_cast<std::int64_t>(n);
  switch (type.is) {
    case shape::kind::boolean: return n ? "true" : "false";
    case shape::kind::bit_rate: return weir::to_string(bit_rate{small});
    case shape::kind::byte_size: return weir::to_string(byte_size{small});
    case shape::kind::duration: return weir::to_string(std::chrono::milliseconds{small});
    case shape::kind::timestamp: return to_rfc3339(timestamp(timestamp::duration(small)));
    case shape::kind::enumeration:
      for (auto& [v, name] : type.names)
        if (v == n)
          return std::string(name);
      return "unknown";
    default: return to_text(n);
  }
}

std::optional<wide> measure_of(const shape& type, const void* x) {
  if (type.is == shape::kind::text)
    return static_cast<wide>(type.text(const_cast<void*>(x)).size()); // reads only
  if (type.is == shape::kind::list || type.is == shape::kind::map)
    return static_cast<wide>(type.size(x));
  if (type.get)
    return type.get(x);
  return std::nullopt;
}

std::string show_range(const shape& type, const bounds<wide>& allowed) {
  return fmt::format("{}..{}", show_number(type, allowed.min), show_number(type, allowed.max));
}

} // namespace weir::describe
