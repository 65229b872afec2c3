#include "runtime/hls/log_news.hpp"

#include "runtime/describe/decode.hpp"
#include "runtime/describe/encode.hpp"
#include "runtime/hls/addresses.hpp"
#include "runtime/hls/live_parts.hpp"

#include <algorithm>
#include <charconv>
#include <limits>
#include <set>

#include <fmt/format.h>

namespace weir::hls {

using namespace std::chrono_literals;

namespace {

constexpr std::size_t instances_kept = 2;
constexpr std::int64_t longest_entry = 600 * 90'000; ///< 90 kHz
constexpr std::int64_t largest_rate = 1'000'000'000'000;
constexpr timestamp latest = std::chrono::sys_days(std::chrono::year(2200) / 1 / 1); ///< ages of earlier times fit in 64 bits of nanoseconds

/// The first line of a page.
struct page_head {
  std::string boot;
  std::uint64_t next = 0;
  bool all = true;
  timestamp now{};
  static constexpr auto fields() {
    using o = page_head;
    return std::tuple{field("boot", &o::boot, {1, 64}, "Names the origin's start."), field("next", &o::next, "To be asked with."),
                      field("all", &o::all, "Whether that is all there is now."), field("now", &o::now, "The origin's clock.")};
  }
};

/// What stands between quotes in a playlist.
bool is_quotable(std::string_view text) {
  return text.size() <= 200 && std::ranges::all_of(text, [](char c) { return c >= ' ' && c <= '~' && c != '"'; });
}

expected<void> check_parts(const stream_log& log) {
  auto bad = [&](std::string_view why) { return fail(error_code::invalid_input, fmt::format("log of stream {}: {}", log.stream, why)); };
  if (log.live_window < 0ms || log.live_window > log.window)
    return bad("live playlists list more than the window");
  if (log.part_target < 0ms || log.part_target > log.target)
    return bad("its parts are not shorter than its segments");
  auto& open = log.open;
  const bool any = open.epoch != 0 || !log.parts.empty();
  if (any && (log.part_target == 0ms || log.entries.empty()))
    return bad("it has parts that it cannot have");
  if (log.parts.size() > parts_of_a_log)
    return bad(fmt::format("it has {} parts, {} at most", log.parts.size(), parts_of_a_log));
  const auto next = log.entries.empty() ? 0 : log.entries.back().msn + 1;
  for (std::size_t i = 0; i < log.parts.size(); ++i) {
    auto& p = log.parts[i];
    const bool follows = i > 0 && p.msn == log.parts[i - 1].msn ? p.part == log.parts[i - 1].part + 1 : p.part == 0 && (i == 0 || p.msn > log.parts[i - 1].msn);
    if (!follows || p.part >= parts_of_a_segment || p.msn < log.entries.front().msn || p.msn > next || (p.msn == next && open.epoch == 0))
      return bad(fmt::format("part {} of {} is out of sequence", p.part, p.msn));
    if ((p.durations.size() != 1 && p.durations.size() != log.rungs.size()) || std::ranges::any_of(p.durations, [&](auto d) { return d <= 0 || d > log.part_target.count() * 90; }))
      return bad(fmt::format("part {} of {} has no durations for its rungs", p.part, p.msn));
  }
  if (open.epoch == 0)
    return {};
  const auto there = static_cast<std::uint32_t>(std::ranges::count(log.parts, next, &log_part::msn));
  const bool hinted = open.hint_msn == open.msn ? open.hint_part == there : open.hint_part == 0 && there > 0 && (open.hint_msn == open.msn + 1 || open.hint_msn == 0);
  if (open.msn != next || !hinted || open.time < timestamp{} || open.time > latest)
    return bad("what is being made does not follow from what is listed");
  return {};
}

expected<void> check_keys(const stream_log& log) {
  auto bad = [&](std::string_view why) { return fail(error_code::invalid_input, fmt::format("log of stream {}: {}", log.stream, why)); };
  if (log.keys_from && !log.entries.empty() && *log.keys_from > log.entries.back().msn + 1)
    return bad("it tells of key frames that are not there yet");
  std::size_t keys = 0;
  for (auto& e : log.entries) {
    if (!are_keys_of(e, log.rungs.size()) || (!e.keys.empty() && (!log.keys_from || e.msn < *log.keys_from)))
      return bad(fmt::format("entry {} has key frames that cannot be", e.msn));
    keys += e.keys.size() / 4;
  }
  if (keys > log_keys_limit)
    return bad(fmt::format("it has {} key frames, {} at most", keys, log_keys_limit));
  auto counts = [](auto& r) { return r.keys_peak.bits_per_second >= 0 && r.keys_peak.bits_per_second <= largest_rate && r.keys_gone <= std::uint64_t{1} << 62; };
  if (!std::ranges::all_of(log.rungs, counts))
    return bad("it counts key frames in a way that cannot be");
  return {};
}

/// Decoding has judged each value alone; this is what rendering relies on.
expected<void> check(const stream_log& log) {
  if (!is_address_word(log.stream))
    return fail(error_code::invalid_input, fmt::format("{:?} is no stream's name", log.stream));
  auto bad = [&](std::string_view why) { return fail(error_code::invalid_input, fmt::format("log of stream {}: {}", log.stream, why)); };
  if (log.target < 1s || log.target > 60s || log.hold_back < 0s || log.hold_back > 10min || log.window < 0s || log.window > 24h)
    return bad("its times are not those of a playlist");
  if (log.changed < timestamp{} || log.changed > latest)
    return bad("it changed at no time of ours");
  if (log.rungs.size() > max_rungs || (log.rungs.empty() && !log.entries.empty()))
    return bad(fmt::format("it has {} rungs, {} at most", log.rungs.size(), max_rungs));
  std::set<std::string_view> names;
  for (auto& r : log.rungs) {
    auto rate = [](bit_rate b) { return b.bits_per_second >= 0 && b.bits_per_second <= largest_rate; };
    if (!is_address_word(r.info.name) || !names.insert(r.info.name).second || !is_quotable(r.info.codecs) || !rate(r.peak) || !rate(r.average) || r.info.fps_milli < 0 ||
        r.info.fps_milli > 1'000'000 || !is_language(r.info.language) || (r.info.rendition && r.info.width > 0))
      return bad(fmt::format("its rung {:?} is none that can be listed", r.info.name));
  }
  for (std::size_t i = 0; i < log.entries.size(); ++i) {
    auto& e = log.entries[i];
    if (e.msn > std::numeric_limits<std::uint64_t>::max() / 2 || (i > 0 && (e.msn != log.entries[i - 1].msn + 1 || e.dsn < log.entries[i - 1].dsn)) || (e.discontinuity && e.dsn == 0))
      return bad(fmt::format("entry {} is out of sequence", e.msn));
    if ((e.durations.size() != 1 && e.durations.size() != log.rungs.size()) || std::ranges::any_of(e.durations, [](auto d) { return d < 0 || d > longest_entry; }))
      return bad(fmt::format("entry {} has no durations for its rungs", e.msn));
  }
  WEIR_TRY(check_keys(log));
  return check_parts(log);
}

/// The next line, without its end; the last one must have one too, else the page was cut off.
expected<std::string_view> take_line(std::string_view& text) {
  auto end = text.find('\n');
  if (end == std::string_view::npos)
    return fail(error_code::invalid_input, "the page is cut off");
  auto line = text.substr(0, end);
  text.remove_prefix(end + 1);
  return line;
}

} // namespace

std::string to_string(const news_mark& m) { return m.boot.empty() ? std::string{} : fmt::format("{}.{}", m.boot, m.number); }

expected<news_mark> parse_news_mark(std::string_view text) {
  news_mark mark;
  if (text.empty())
    return mark;
  auto dot = text.rfind('.');
  auto digits = text.substr(dot == std::string_view::npos ? text.size() : dot + 1);
  auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), mark.number);
  if (code != std::errc{} || end != digits.data() + digits.size() || !is_address_word(text.substr(0, dot)))
    return fail(error_code::invalid_input, fmt::format("after: {:?} is not BOOT.NUMBER", text.substr(0, 100)));
  mark.boot = text.substr(0, dot);
  return mark;
}

expected<log_page> parse_log_page(std::string_view text) {
  if (text.size() > page_limit)
    return fail(error_code::too_large, fmt::format("a page of logs has {} bytes, {} at most", text.size(), page_limit));
  auto first = take_line(text);
  WEIR_TRY(first);
  auto head = describe::from_json<page_head>(*first);
  if (!head)
    return fail(head.error().in("head of a page of logs"));
  if (!is_address_word(head->boot) || head->now < timestamp{} || head->now > latest)
    return fail(error_code::invalid_input, fmt::format("{:?} at {} is no start of an origin", head->boot, to_rfc3339(head->now)));
  log_page page{{std::move(head->boot), head->next}, head->all, head->now, {}};
  while (!text.empty()) {
    auto line = take_line(text);
    WEIR_TRY(line);
    auto log = describe::from_json<stream_log>(*line);
    if (!log)
      return fail(log.error().in("a log of a page"));
    WEIR_TRY(check(*log));
    page.logs.push_back(std::move(*log));
  }
  if (!page.all && page.logs.empty())
    return fail(error_code::invalid_input, "a page of logs that is not the last has none");
  return page;
}

void log_news::add(stream_log shown) {
  std::pair key{shown.stream, shown.instance};
  auto& one = logs_[key];
  by_number_.erase(one.number);
  one.number = ++newest_;
  one.log = std::move(shown);
  one.line.clear();
  by_number_[one.number] = &one;
  auto from = logs_.lower_bound({key.first, 0}), to = logs_.upper_bound({key.first, std::numeric_limits<std::uint64_t>::max()});
  for (auto more = std::distance(from, to) - static_cast<std::ptrdiff_t>(instances_kept); more > 0; --more) {
    by_number_.erase(from->second.number);
    from = logs_.erase(from);
  }
}

std::string log_news::page(const news_mark& after, timestamp now) {
  page_head head{boot_, knows(after) ? after.number : 0, true, now};
  std::string lines;
  for (auto at = by_number_.upper_bound(head.next); at != by_number_.end(); ++at) {
    auto& [number, one] = *at;
    if (lines.size() >= page_size) {
      head.all = false;
      break;
    }
    if (one->line.empty())
      one->line = describe::to_json(one->log) + '\n';
    lines += one->line;
    head.next = number;
  }
  if (head.all)
    head.next = newest_;
  return describe::to_json(head) + '\n' + lines;
}

} // namespace weir::hls
