#include "schemas/units.hpp"

#include <array>
#include <charconv>
#include <fmt/chrono.h>
#include <fmt/format.h>

namespace weir {
namespace {

struct suffix {
  std::string_view text;
  std::int64_t factor;
};

constexpr std::array rate_suffixes{suffix{"G", 1'000'000'000}, suffix{"M", 1'000'000}, suffix{"k", 1'000}, suffix{"", 1}};
constexpr std::array size_suffixes{suffix{"GiB", 1LL << 30}, suffix{"MiB", 1LL << 20}, suffix{"KiB", 1LL << 10}, suffix{"GB", 1'000'000'000},
                                   suffix{"MB", 1'000'000},  suffix{"kB", 1'000},      suffix{"B", 1},           suffix{"", 1}};
constexpr std::array time_suffixes{suffix{"ms", 1}, suffix{"s", 1'000}, suffix{"m", 60'000}, suffix{"h", 3'600'000}, suffix{"d", 86'400'000}};

// Exact decimal arithmetic: digits, an optional point with at most 9 digits, then the suffix.
template <class Table>
expected<std::int64_t> parse(std::string_view text, const Table& table, std::string_view what, std::string_view example) {
  auto bad = [&] { return fail(error_code::invalid_input, fmt::format("{:?} is not a {} (write it like {})", text, what, example)); };
  std::size_t n = 0;
  while (n < text.size() && ((text[n] >= '0' && text[n] <= '9') || text[n] == '.'))
    ++n;
  auto number = text.substr(0, n);
  auto unit = text.substr(n);
  std::int64_t factor = 0;
  for (auto& s : table)
    if (s.text == unit)
      factor = s.factor;
  auto point = number.find('.');
  auto whole = number.substr(0, point);
  auto fraction = point == std::string_view::npos ? std::string_view{} : number.substr(point + 1);
  if (factor == 0 || whole.empty() || (point != std::string_view::npos && fraction.empty()) || fraction.find('.') != std::string_view::npos || fraction.size() > 9)
    return bad();
  std::int64_t value = 0;
  if (auto [end, code] = std::from_chars(whole.data(), whole.data() + whole.size(), value); code != std::errc{} || end != whole.data() + whole.size())
    return bad();
  std::int64_t result = 0;
  if (__builtin_mul_overflow(value, factor, &result))
    return bad();
  // At most 9 digits times at most 2^30 stays within 63 bits, so the fraction is exact too.
  std::int64_t digits = 0, scale = 1;
  for (char c : fraction) {
    digits = digits * 10 + (c - '0');
    scale *= 10;
  }
  if (digits * factor % scale != 0)
    return fail(error_code::invalid_input, fmt::format("{:?} is finer than the smallest {}", text, what));
  if (__builtin_add_overflow(result, digits * factor / scale, &result))
    return bad();
  return result;
}

// The largest suffix that divides, or one decimal place of it.
template <class Table>
std::string print(std::int64_t value, const Table& table) {
  for (auto& s : table)
    if (value != 0 && value % s.factor == 0)
      return fmt::format("{}{}", value / s.factor, s.text);
    else if (value > s.factor && s.factor >= 1000 && s.factor % 10 == 0 && value % (s.factor / 10) == 0)
      return fmt::format("{}.{}{}", value / s.factor, value % s.factor / (s.factor / 10), s.text);
  return "0";
}

} // namespace

expected<bit_rate> parse_bit_rate(std::string_view text) {
  return parse(text, rate_suffixes, "bit rate", "2.5M or 800k").map([](std::int64_t v) { return bit_rate{v}; });
}

expected<byte_size> parse_byte_size(std::string_view text) {
  return parse(text, size_suffixes, "size", "512MiB or 10GB").map([](std::int64_t v) { return byte_size{v}; });
}

expected<std::chrono::milliseconds> parse_duration(std::string_view text) {
  return parse(text, time_suffixes, "duration", "2s, 250ms, 10m, 1h or 7d").map([](std::int64_t v) { return std::chrono::milliseconds{v}; });
}

std::string to_string(bit_rate value) { return print(value.bits_per_second, rate_suffixes); }

std::string to_string(byte_size value) {
  constexpr std::array binary{suffix{"GiB", 1LL << 30}, suffix{"MiB", 1LL << 20}, suffix{"KiB", 1LL << 10}, suffix{"B", 1}};
  constexpr std::array decimal{suffix{"GB", 1'000'000'000}, suffix{"MB", 1'000'000}, suffix{"kB", 1'000}, suffix{"B", 1}};
  auto in_binary = print(value.bytes, binary), in_decimal = print(value.bytes, decimal);
  return in_binary.size() <= in_decimal.size() ? in_binary : in_decimal;
}

std::string to_string(std::chrono::milliseconds value) {
  auto ms = value.count();
  if (ms == 0)
    return "0s";
  for (auto& [text, factor] : std::array{suffix{"d", 86'400'000}, suffix{"h", 3'600'000}, suffix{"m", 60'000}, suffix{"s", 1'000}})
    if (ms % factor == 0)
      return fmt::format("{}{}", ms / factor, text);
  return fmt::format("{}ms", ms);
}

std::string to_rfc3339(timestamp t) {
  auto ms = std::chrono::floor<std::chrono::milliseconds>(t);
  auto s = std::chrono::floor<std::chrono::seconds>(ms);
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(std::chrono::system_clock::to_time_t(s)), (ms - s).count());
}

expected<timestamp> parse_rfc3339(std::string_view text) {
  auto bad = [&] { return fail(error_code::invalid_input, fmt::format("{:?} is not a time (write it like 2026-11-22T10:00:00Z)", text)); };
  auto number = [&](std::size_t at, std::size_t n, int& out) {
    return text.size() >= at + n && text[at] >= '0' && text[at] <= '9' && std::from_chars(text.data() + at, text.data() + at + n, out).ptr == text.data() + at + n;
  };
  int y = 0, mo = 0, d = 0, h = 0, mi = 0, s = 0;
  if (!number(0, 4, y) || !number(5, 2, mo) || !number(8, 2, d) || !number(11, 2, h) || !number(14, 2, mi) || !number(17, 2, s))
    return bad();
  if (text[4] != '-' || text[7] != '-' || (text[10] != 'T' && text[10] != 't') || text[13] != ':' || text[16] != ':' || h > 23 || mi > 59 || s > 60)
    return bad();
  auto date = std::chrono::year_month_day{std::chrono::year{y}, std::chrono::month{static_cast<unsigned>(mo)}, std::chrono::day{static_cast<unsigned>(d)}};
  if (!date.ok() || y < 1678 || y > 2261) // what nanoseconds in 64 bits reach
    return bad();
  timestamp t = std::chrono::sys_days{date} + std::chrono::hours{h} + std::chrono::minutes{mi} + std::chrono::seconds{s};
  std::size_t at = 19;
  if (at < text.size() && text[at] == '.') {
    std::int64_t nanos = 0, unit = 100'000'000;
    auto first = ++at;
    for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, unit /= 10)
      nanos += unit * (text[at] - '0');
    if (at == first)
      return bad();
    t += std::chrono::duration_cast<timestamp::duration>(std::chrono::nanoseconds{nanos});
  }
  auto zone = text.substr(at);
  if (zone == "Z" || zone == "z")
    return t;
  int zh = 0, zm = 0;
  if (zone.size() != 6 || (zone[0] != '+' && zone[0] != '-') || zone[3] != ':' || !number(at + 1, 2, zh) || !number(at + 4, 2, zm) || zh > 23 || zm > 59)
    return bad();
  auto shift = std::chrono::minutes{zh * 60 + zm};
  return zone[0] == '+' ? t - shift : t + shift;
}

} // namespace weir
