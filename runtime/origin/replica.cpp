#include "runtime/origin/replica.hpp"

#include "runtime/describe/decode.hpp"
#include "runtime/hls/addresses.hpp"

#include <algorithm>
#include <charconv>
#include <optional>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace weir::origin {

namespace {

constexpr std::string_view log_head = "weir-log ";
constexpr std::size_t most_streams = 100'000, most_segments = 20'000, longest_refusal = 500;

std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t out = 0;
  auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (code != std::errc{} || end != text.data() + text.size())
    return std::nullopt;
  return out;
}

/// Cuts off what stands before the next `mark`; everything when there is none.
std::string_view cut(std::string_view& text, char mark) {
  auto at = std::min(text.find(mark), text.size());
  auto head = text.substr(0, at);
  text.remove_prefix(std::min(at + 1, text.size()));
  return head;
}

tl::unexpected<error> corrupt(std::string_view what, std::string_view text) { return fail(error_code::corrupt, fmt::format("{:?} is no {}", text.substr(0, 100), what)); }

expected<log_stamp> parse_stamp(std::string_view& line) {
  auto whole = line;
  auto term = number(cut(line, ' ')), version = number(cut(line, ' '));
  auto owner = cut(line, ' ');
  if (!term || !version || !is_member_name(owner))
    return corrupt("stamp of a log", whole);
  return log_stamp{*term, *version, std::string(owner)};
}

std::string text_of(const log_stamp& s) { return fmt::format("{} {} {}", s.term, s.version, s.owner); }

error_code code_of(std::string_view word) {
  for (auto code = static_cast<int>(error_code::invalid_input); code <= static_cast<int>(error_code::internal); ++code)
    if (to_string(static_cast<error_code>(code)) == word)
      return static_cast<error_code>(code);
  return error_code::unavailable;
}

} // namespace

std::string member_name(std::string_view node, std::string_view disk) { return fmt::format("{}.{}", node, disk); }

std::string_view disk_of(std::string_view member) {
  constexpr std::size_t digits = 8;
  if (member.size() <= digits + 1 || member[member.size() - digits - 1] != '.')
    return {};
  auto disk = member.substr(member.size() - digits);
  return disk.find_first_not_of("0123456789abcdef") == std::string_view::npos ? disk : std::string_view{};
}

std::string_view node_of(std::string_view member) {
  const auto disk = disk_of(member).size();
  return disk == 0 ? member : member.substr(0, member.size() - disk - 1);
}

bool is_member_name(std::string_view text) { return hls::is_address_word(text, 73) && hls::is_address_word(node_of(text)); }

std::size_t replica_view::needed() const { return quorum != 0 ? quorum : members.size() / 2 + 1; }

std::size_t replica_view::to_claim() const { return members.size() - needed() + 1; }

bool replica_view::has(std::string_view name) const { return std::ranges::find(members, name, &replica::name) != members.end(); }

bool replica_view::same_members(const replica_view& other) const {
  return members.size() == other.members.size() && needed() == other.needed() && std::ranges::all_of(members, [&](auto& m) { return other.has(m.name); });
}

expected<void> check(const replica_view& view) {
  auto bad = [](std::string why) { return fail(error_code::invalid_config, std::move(why)); };
  if (view.members.empty() || view.members.size() > most_members)
    return bad(fmt::format("{} origins keep copies; it must be 1 to {}", view.members.size(), most_members));
  if (view.needed() > view.members.size() || view.needed() * 2 <= view.members.size())
    return bad(fmt::format("{} copies of {} origins are wanted; it must be more than half of them, or two parts of a cut network would both go on", view.needed(), view.members.size()));
  std::set<std::string_view> names;
  for (auto& m : view.members) {
    if (!is_member_name(m.name))
      return bad(fmt::format("{:?} cannot be the name of an origin", m.name.substr(0, 100)));
    if (!names.insert(m.name).second)
      return bad(fmt::format("origin {} is named twice", m.name));
    if (m.url.size() > 500 || !(m.url.starts_with("http://") || m.url.starts_with("https://")))
      return bad(fmt::format("{:?} is not the address of origin {}: it should begin with http:// or https://", m.url.substr(0, 100), m.name));
  }
  if (view.mark.term != 0 && !is_member_name(view.mark.holder))
    return bad(fmt::format("{:?} cannot hold a term", view.mark.holder.substr(0, 100)));
  return {};
}

std::strong_ordering log_stamp::order(const log_stamp& other) const {
  if (auto by_term = term <=> other.term; by_term != 0)
    return by_term;
  return version <=> other.version;
}

std::string to_text(const stamped_log& log) { return fmt::format("{}{}\n{}", log_head, text_of(log.stamp), log.json); }

expected<stamped_log> parse_log(std::string_view text) {
  if (text.size() > replica_text_limit)
    return fail(error_code::too_large, fmt::format("a log of {} bytes is longer than {}", text.size(), replica_text_limit));
  if (!text.starts_with(log_head))
    return stamped_log{{}, std::string(text)};
  text.remove_prefix(log_head.size());
  if (text.find('\n') == std::string_view::npos)
    return corrupt("log of a stream", text);
  auto line = cut(text, '\n');
  auto stamp = parse_stamp(line);
  WEIR_TRY(stamp);
  if (!line.empty())
    return corrupt("stamp of a log", line);
  return stamped_log{std::move(*stamp), std::string(text)};
}

std::string to_text(const std::vector<stamped_stream>& streams) {
  std::string text;
  for (auto& s : streams)
    text += fmt::format("{} {}{}\n", text_of(s.stamp), s.stream, s.removed ? " removed" : "");
  return text;
}

expected<std::vector<stamped_stream>> parse_streams(std::string_view text) {
  std::vector<stamped_stream> streams;
  while (!text.empty()) {
    if (streams.size() == most_streams)
      return fail(error_code::too_large, fmt::format("more than {} streams", most_streams));
    auto line = cut(text, '\n');
    auto stamp = parse_stamp(line);
    WEIR_TRY(stamp);
    auto stream = cut(line, ' ');
    if (!hls::is_address_word(stream) || (!line.empty() && line != "removed"))
      return corrupt("name of a stream", stream);
    streams.push_back({std::string(stream), std::move(*stamp), !line.empty()});
  }
  return streams;
}

std::string to_text(const claim_mark& mark) { return fmt::format("{} {}", mark.term, mark.holder); }

expected<claim_mark> parse_mark(std::string_view text) {
  auto whole = text;
  auto term = number(cut(text, ' '));
  if (!term || (*term != 0 && !is_member_name(text)) || (*term == 0 && !text.empty()))
    return corrupt("term and holder", whole);
  return claim_mark{*term, std::string(text)};
}

expected<replica_word> parse_word(std::string_view text) {
  auto word = describe::from_json<replica_word>(text);
  if (!word)
    return fail(error_code::corrupt, word.error().text.substr(0, longest_refusal));
  if (word->mark.term != 0 && !is_member_name(word->mark.holder))
    return corrupt("holder of a term", word->mark.holder);
  if (!word->settled.members.empty())
    WEIR_TRY(check(word->settled));
  if (!word->disk.empty() && disk_of(member_name("node", word->disk)) != word->disk)
    return corrupt("name of a disk", word->disk);
  return word;
}

std::string path_of(const segment_id& s) { return hls::path_of(hls::segment_address{s.stream, s.place.instance, s.place.epoch, s.place.rung, s.place.msn, s.place.kind}); }

expected<segment_id> parse_segment(std::string_view path) {
  auto a = hls::parse_segment_path(path);
  WEIR_TRY(a);
  if (a->kind == hls::segment_kind::part) // nobody stores it
    return fail(error_code::not_found, fmt::format("{:?} is a part", path.substr(0, 200)));
  return segment_id{std::string(a->stream), {a->instance, a->epoch, std::string(a->rung), a->msn, a->kind}};
}

std::string to_text(const std::vector<segment_id>& segments) {
  std::string text;
  for (auto& s : segments)
    text.append(path_of(s)).push_back('\n');
  return text;
}

expected<std::vector<segment_id>> parse_segments(std::string_view text) {
  std::vector<segment_id> segments;
  while (!text.empty()) {
    if (segments.size() == most_segments)
      return fail(error_code::too_large, fmt::format("more than {} segments", most_segments));
    auto line = cut(text, '\n');
    auto segment = parse_segment(line);
    if (!segment)
      return corrupt("segment", line);
    segments.push_back(std::move(*segment));
  }
  return segments;
}

error parse_refusal(int status, std::string_view body) {
  error said{error_code::unavailable, fmt::format("answered with status {}", status)};
  if (body.size() > 64 * 1024)
    return said;
  auto tree = nlohmann::json::parse(body, nullptr, false);
  if (!tree.is_object() || !tree.contains("code") || !tree["code"].is_string())
    return said;
  said.code = code_of(tree["code"].get_ref<const std::string&>());
  if (!tree.contains("detail") || !tree["detail"].is_string() || tree["detail"].get_ref<const std::string&>().empty())
    return said;
  auto text = tree["detail"].get<std::string>();
  // The end says most: the reason of the operating system stands there.
  if (text.size() > longest_refusal) {
    auto from = text.size() - longest_refusal;
    while (from < text.size() && (static_cast<unsigned char>(text[from]) & 0xC0U) == 0x80U) // not from within a character
      ++from;
    text.erase(0, from);
  }
  std::ranges::replace_if(text, [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 127; }, ' ');
  said.text = std::move(text);
  return said;
}

expected<std::vector<segment_id>> listed_segments(std::string_view log_json) {
  auto log = hls::segment_log::from_json(log_json);
  WEIR_TRY(log);
  auto shown = log->snapshot();
  std::vector<segment_id> segments;
  for (auto& entry : shown.entries)
    for (std::size_t rung = 0; rung < shown.rungs.size(); ++rung)
      if (!entry.gap(rung))
        segments.push_back({shown.stream, {shown.instance, entry.epoch, shown.rungs[rung].info.name, entry.msn, entry.map != 0 ? hls::segment_kind::fmp4 : hls::segment_kind::ts}});
  // Where a copy is made, what is newest comes first, and without its map no segment can be played. Also maps of what is not listed yet: the log believes them stored.
  for (auto& map : log->maps())
    segments.push_back({shown.stream, std::move(map)});
  return segments;
}

} // namespace weir::origin
