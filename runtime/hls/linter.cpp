#include "runtime/hls/linter.hpp"

#include "schemas/media.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <functional>

#include <fmt/format.h>

namespace weir::hls {

using namespace std::chrono_literals;
using std::chrono::microseconds;
using std::chrono::milliseconds;

namespace {

constexpr std::size_t text_limit = 1U << 20;
constexpr std::size_t line_limit = 8192;
constexpr std::size_t entry_limit = 20'000;
constexpr std::size_t finding_limit = 1000;
constexpr std::uint64_t number_limit = std::uint64_t{1} << 62;

using attributes = std::map<std::string, std::string, std::less<>>;

std::optional<std::uint64_t> integer(std::string_view text) {
  std::uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value > number_limit)
    return std::nullopt;
  return value;
}

/// "6.00600" in microseconds; at most a day.
std::optional<microseconds> seconds(std::string_view text) {
  auto dot = text.find('.');
  auto whole = integer(text.substr(0, dot));
  if (!whole || *whole > 86'400)
    return std::nullopt;
  std::int64_t fraction = 0;
  if (dot != std::string_view::npos) {
    auto digits = text.substr(dot + 1);
    if (digits.empty() || digits.size() > 15 || !std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; }))
      return std::nullopt;
    for (std::size_t i = 0; i < 6; ++i)
      fraction = fraction * 10 + (i < digits.size() ? digits[i] - '0' : 0);
  }
  return microseconds{static_cast<std::int64_t>(*whole) * 1'000'000 + fraction};
}

/// NAME=value,NAME="quoted, value"; each name once.
std::optional<attributes> attribute_list(std::string_view text) {
  attributes out;
  while (!text.empty()) {
    auto equals = text.find('=');
    if (equals == std::string_view::npos || equals == 0)
      return std::nullopt;
    auto name = text.substr(0, equals);
    if (!std::all_of(name.begin(), name.end(), [](char c) { return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-'; }))
      return std::nullopt;
    text.remove_prefix(equals + 1);
    std::string_view value;
    if (text.starts_with('"')) {
      auto close = text.find('"', 1);
      if (close == std::string_view::npos)
        return std::nullopt;
      value = text.substr(1, close - 1);
      text.remove_prefix(close + 1);
    } else {
      value = text.substr(0, text.find(','));
      if (value.empty() || value.find_first_of("\" \t") != std::string_view::npos)
        return std::nullopt;
      text.remove_prefix(value.size());
    }
    if (!text.empty()) {
      if (text.front() != ',' || text.size() == 1)
        return std::nullopt;
      text.remove_prefix(1);
    }
    if (!out.emplace(name, value).second)
      return std::nullopt;
  }
  return out;
}

/// Splits into lines and hands each to `line(number, text)`, which says what is wrong with it, if anything.
expected<void> each_line(std::string_view text, const std::function<std::string(std::size_t, std::string_view)>& line) {
  if (text.size() > text_limit)
    return fail(error_code::too_large, fmt::format("playlist of {} bytes, {} are allowed", text.size(), text_limit));
  for (std::size_t number = 1; !text.empty(); ++number) {
    auto end = text.find('\n');
    auto one = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (one.ends_with('\r'))
      one.remove_suffix(1);
    if (one.size() > line_limit)
      return fail(error_code::too_large, fmt::format("line {}: {} bytes, {} are allowed", number, one.size(), line_limit));
    std::string wrong;
    if (number == 1)
      wrong = one == "#EXTM3U" ? "" : "a playlist starts with #EXTM3U";
    else if (std::any_of(one.begin(), one.end(), [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 0x7f; }))
      wrong = "has a control character";
    else if (!one.empty())
      wrong = line(number, one);
    if (!wrong.empty())
      return fail(error_code::invalid_input, fmt::format("line {}: {}", number, wrong));
  }
  return {};
}

bool take(std::string_view& line, std::string_view tag) {
  if (!line.starts_with(tag))
    return false;
  line.remove_prefix(tag.size());
  return true;
}

/// A tag that may stand once: sets `to` or says why not.
std::string once(std::optional<std::uint64_t>& to, std::string_view tag, std::string_view value) {
  if (to)
    return fmt::format("{} stands there twice", tag);
  to = integer(value);
  return to ? "" : fmt::format("{} has no number", tag);
}

std::string show(microseconds d) { return fmt::format("{}.{:06} s", d.count() / 1'000'000, std::abs(d.count()) % 1'000'000); }
std::string show(const std::optional<timestamp>& t) { return t ? to_rfc3339(*t) : "none"; }

/// The part before the path, and the rest without a query: "http://host:80" and "/s/…"; the first is empty where the address is relative.
std::pair<std::string_view, std::string_view> host_and_path(std::string_view uri) {
  uri = uri.substr(0, uri.find('?'));
  auto scheme = uri.find("://");
  auto slash = scheme == std::string_view::npos ? 0 : uri.find('/', scheme + 3);
  return slash == std::string_view::npos ? std::pair{uri, std::string_view()} : std::pair{uri.substr(0, slash), uri.substr(slash)};
}

bool is_fragment(std::string_view path) { return path.ends_with(".m4s") || path.ends_with(".mp4") || path.ends_with(".m4v") || path.ends_with(".cmfv"); }

/// "1000@188": first byte and length; without the first one it follows `before`.
std::optional<std::pair<std::uint64_t, std::uint64_t>> byte_range(std::string_view text, std::optional<std::uint64_t> before) {
  const auto at = text.find('@');
  const auto length = integer(text.substr(0, at)), first = at == std::string_view::npos ? before : integer(text.substr(at + 1));
  if (!length || !first)
    return std::nullopt;
  return std::pair{*first, *length};
}

/// "1280x720".
bool is_size(std::string_view text) {
  const auto by = text.find('x');
  return by != std::string_view::npos && integer(text.substr(0, by)).value_or(0) > 0 && integer(text.substr(by + 1)).value_or(0) > 0;
}

std::string attribute(const parsed_variant& of, std::string_view name) {
  auto found = of.attributes.find(name);
  return found == of.attributes.end() ? std::string() : found->second;
}

bool names_sound(std::string_view codecs) {
  constexpr std::array<std::string_view, 5> known{"mp4a", "ac-3", "ec-3", "opus", "fLaC"};
  return std::ranges::any_of(known, [&](auto name) { return codecs.find(name) != std::string_view::npos; });
}

microseconds total(const parsed_media& p) {
  microseconds sum{};
  for (auto& e : p.entries)
    sum += e.duration;
  return sum;
}

} // namespace

expected<parsed_media> parse_media_playlist(std::string_view text) {
  parsed_media p;
  parsed_entry next;
  bool has_duration = false, is_multivariant = false, continues = false;
  std::string map;
  std::uint64_t seams = 0;
  std::size_t parts = 0;
  auto result = each_line(text, [&](std::size_t, std::string_view line) -> std::string {
    if (p.ended && line != "#EXT-X-ENDLIST" && !line.starts_with('#'))
      return "an address after #EXT-X-ENDLIST";
    if (!line.starts_with('#')) {
      if (!has_duration)
        return "an address without #EXTINF";
      if (p.entries.size() == entry_limit)
        return "too many entries";
      if (std::exchange(continues, false) && line != p.entries.back().uri)
        return "EXT-X-BYTERANGE without an offset goes on in another file";
      parts += next.parts.size();
      next.uri = std::string(line);
      next.dsn = seams;
      next.map = map;
      p.entries.push_back(std::move(next));
      next = {};
      has_duration = false;
      return "";
    }
    if (take(line, "#EXT-X-VERSION:"))
      return once(p.version, "EXT-X-VERSION", line);
    if (take(line, "#EXT-X-TARGETDURATION:"))
      return once(p.target_seconds, "EXT-X-TARGETDURATION", line);
    if (take(line, "#EXT-X-MEDIA-SEQUENCE:"))
      return p.entries.empty() ? once(p.first_msn, "EXT-X-MEDIA-SEQUENCE", line) : "EXT-X-MEDIA-SEQUENCE after the first entry";
    if (take(line, "#EXT-X-DISCONTINUITY-SEQUENCE:"))
      return p.entries.empty() && seams == 0 ? once(p.first_dsn, "EXT-X-DISCONTINUITY-SEQUENCE", line) : "EXT-X-DISCONTINUITY-SEQUENCE after the first entry or discontinuity";
    if (line == "#EXT-X-INDEPENDENT-SEGMENTS") {
      p.independent = true;
    } else if (take(line, "#EXT-X-SERVER-CONTROL:")) {
      auto a = attribute_list(line);
      if (!a)
        return "EXT-X-SERVER-CONTROL has no attribute list";
      if (auto hold = a->find("HOLD-BACK"); hold != a->end()) {
        auto s = seconds(hold->second);
        if (!s)
          return "HOLD-BACK has no number";
        p.hold_back = std::chrono::duration_cast<milliseconds>(*s);
      }
      for (auto [name, to] : {std::pair{"PART-HOLD-BACK", &p.part_hold_back}, std::pair{"CAN-SKIP-UNTIL", &p.skip_until}})
        if (auto given = a->find(name); given != a->end() && !(*to = seconds(given->second)))
          return fmt::format("{} has no number", name);
      if (auto blocks = a->find("CAN-BLOCK-RELOAD"); blocks != a->end())
        p.blocks = blocks->second == "YES";
    } else if (take(line, "#EXT-X-PART-INF:")) {
      auto a = attribute_list(line);
      auto target = a ? a->find("PART-TARGET") : attributes::iterator{};
      if (!a || target == a->end() || p.part_target || !(p.part_target = seconds(target->second)))
        return "EXT-X-PART-INF has no PART-TARGET, or stands there twice";
    } else if (take(line, "#EXT-X-PART:")) {
      auto a = attribute_list(line);
      auto get = [&](const char* name) { return a && a->contains(name) ? a->find(name)->second : std::string(); };
      auto lasts = seconds(get("DURATION"));
      if (!lasts || get("URI").empty())
        return "EXT-X-PART needs URI and DURATION";
      if (parts + next.parts.size() == entry_limit)
        return "too many parts";
      next.parts.push_back({get("URI"), *lasts, get("INDEPENDENT") == "YES", get("GAP") == "YES"});
    } else if (take(line, "#EXT-X-PRELOAD-HINT:")) {
      auto a = attribute_list(line);
      if (!a || !a->contains("TYPE") || !a->contains("URI") || p.hints.size() == 10)
        return "EXT-X-PRELOAD-HINT has no TYPE or URI, or is one of too many";
      if (a->find("TYPE")->second == "PART")
        p.hints.push_back(a->find("URI")->second);
    } else if (take(line, "#EXT-X-RENDITION-REPORT:")) {
      auto a = attribute_list(line);
      if (!a || !a->contains("URI") || p.reports.size() == 100)
        return "EXT-X-RENDITION-REPORT has no URI, or is one of too many";
      auto number = [&](const char* name) { return a->contains(name) ? integer(a->find(name)->second) : std::nullopt; };
      p.reports.push_back({a->find("URI")->second, number("LAST-MSN"), number("LAST-PART")});
    } else if (take(line, "#EXT-X-SKIP:")) {
      auto a = attribute_list(line);
      auto skipped = a && a->contains("SKIPPED-SEGMENTS") ? integer(a->find("SKIPPED-SEGMENTS")->second) : std::nullopt;
      if (!skipped || *skipped == 0 || p.skipped != 0 || !p.entries.empty())
        return "EXT-X-SKIP has no SKIPPED-SEGMENTS, stands there twice or behind an entry";
      p.skipped = *skipped;
    } else if (take(line, "#EXT-X-PLAYLIST-TYPE:")) {
      p.playlist_type = std::string(line);
    } else if (line == "#EXT-X-ENDLIST") {
      p.ended = true;
    } else if (line == "#EXT-X-DISCONTINUITY") {
      if (next.discontinuity)
        return "two discontinuities before one entry";
      next.discontinuity = true;
      ++seams;
    } else if (take(line, "#EXT-X-MAP:")) {
      auto a = attribute_list(line);
      if (!a || !a->contains("URI") || a->find("URI")->second.empty())
        return "EXT-X-MAP has no URI";
      map = a->find("URI")->second;
    } else if (line == "#EXT-X-I-FRAMES-ONLY") {
      p.iframes = true;
    } else if (take(line, "#EXT-X-BYTERANGE:")) {
      auto* last = p.entries.empty() || !p.entries.back().range ? nullptr : &*p.entries.back().range;
      if (next.range || !(next.range = byte_range(line, last ? std::optional(last->first + last->second) : std::nullopt)))
        return "EXT-X-BYTERANGE has no range, or stands there twice";
      continues = line.find('@') == std::string_view::npos;
    } else if (line == "#EXT-X-GAP") {
      next.gap = true;
    } else if (take(line, "#EXT-X-PROGRAM-DATE-TIME:")) {
      auto t = parse_rfc3339(line);
      if (!t || next.date)
        return "EXT-X-PROGRAM-DATE-TIME has no time, or stands there twice";
      next.date = *t;
    } else if (take(line, "#EXTINF:")) {
      auto comma = line.find(',');
      auto s = comma == std::string_view::npos ? std::nullopt : seconds(line.substr(0, comma));
      if (!s || has_duration)
        return "EXTINF has no duration, or stands there twice";
      next.duration = *s;
      has_duration = true;
    } else if (line.starts_with("#EXT-X-STREAM-INF") || line.starts_with("#EXT-X-I-FRAME-STREAM-INF")) {
      is_multivariant = true;
    }
    return ""; // comments and tags that do not concern us
  });
  WEIR_TRY(result);
  if (is_multivariant)
    return fail(error_code::invalid_input, "a multivariant playlist where a media playlist should be");
  if (text.empty() || has_duration || (next.parts.empty() && (next.gap || next.discontinuity || next.date || next.range)))
    return fail(error_code::invalid_input, "the playlist ends in the middle of an entry");
  for (std::size_t i = 0; i < p.entries.size(); ++i) {
    p.entries[i].msn = p.first_msn.value_or(0) + p.skipped + i;
    p.entries[i].dsn += p.first_dsn.value_or(0);
  }
  if (!next.parts.empty()) {
    next.msn = p.first_msn.value_or(0) + p.skipped + p.entries.size();
    next.dsn = p.first_dsn.value_or(0) + seams;
    next.map = map;
    p.open = std::move(next);
  }
  return p;
}

expected<parsed_multivariant> parse_multivariant_playlist(std::string_view text) {
  parsed_multivariant p;
  std::optional<attributes> next;
  bool is_media = false, has_steering = false;
  auto result = each_line(text, [&](std::size_t, std::string_view line) -> std::string {
    if (!line.starts_with('#')) {
      if (!next)
        return "an address without #EXT-X-STREAM-INF";
      if (p.variants.size() == entry_limit)
        return "too many variants";
      p.variants.push_back({std::move(*next), std::string(line)});
      next.reset();
      return "";
    }
    if (next)
      return "#EXT-X-STREAM-INF without an address";
    if (take(line, "#EXT-X-VERSION:"))
      return once(p.version, "EXT-X-VERSION", line);
    if (line == "#EXT-X-INDEPENDENT-SEGMENTS") {
      p.independent = true;
    } else if (take(line, "#EXT-X-CONTENT-STEERING:")) {
      auto a = attribute_list(line);
      if (!a || has_steering)
        return "EXT-X-CONTENT-STEERING has no attribute list, or stands there twice";
      has_steering = true;
      p.steering = std::move(*a);
    } else if (take(line, "#EXT-X-STREAM-INF:")) {
      next = attribute_list(line);
      if (!next)
        return "EXT-X-STREAM-INF has no attribute list";
    } else if (take(line, "#EXT-X-MEDIA:")) {
      auto a = attribute_list(line);
      if (!a || p.renditions.size() == entry_limit)
        return "EXT-X-MEDIA has no attribute list, or is one of too many";
      auto uri = a->contains("URI") ? a->find("URI")->second : std::string();
      p.renditions.push_back({std::move(*a), std::move(uri)});
    } else if (take(line, "#EXT-X-I-FRAME-STREAM-INF:")) {
      auto a = attribute_list(line);
      if (!a || p.iframes.size() == entry_limit)
        return "EXT-X-I-FRAME-STREAM-INF has no attribute list, or is one of too many";
      auto uri = a->contains("URI") ? a->find("URI")->second : std::string();
      p.iframes.push_back({std::move(*a), std::move(uri)});
    } else if (line.starts_with("#EXTINF") || line.starts_with("#EXT-X-TARGETDURATION")) {
      is_media = true;
    }
    return "";
  });
  WEIR_TRY(result);
  if (text.empty() || is_media)
    return fail(error_code::invalid_input, "not a multivariant playlist");
  if (next)
    return fail(error_code::invalid_input, "#EXT-X-STREAM-INF without an address at the end");
  return p;
}

std::vector<finding> linter::keep(std::vector<finding> found, std::string_view url) {
  for (auto& f : found) {
    f.url = std::string(url);
    if (all_.size() < finding_limit && seen_.insert(f.rule + ' ' + f.url + ' ' + f.text).second)
      all_.push_back(f);
  }
  return found;
}

/// Apple 6.1, 9.3, 9.4.
void linter::iframes_of(const parsed_multivariant& p, bool pictures, std::vector<finding>& out) const {
  auto wrong = [&](std::string what) { out.push_back({"V6", "", std::move(what)}); };
  if (options_.iframes && pictures && p.iframes.empty())
    wrong("no EXT-X-I-FRAME-STREAM-INF");
  std::set<std::string_view> uris;
  std::map<std::string, std::size_t> by_pathway;
  for (auto& v : p.variants)
    by_pathway[v.attributes.contains("PATHWAY-ID") ? v.attributes.find("PATHWAY-ID")->second : ""] = 0;
  for (auto& v : p.iframes) {
    auto get = [&](std::string_view name) {
      auto found = v.attributes.find(name);
      return found == v.attributes.end() ? std::string() : found->second;
    };
    if (v.uri.empty() || !uris.insert(v.uri).second)
      wrong(fmt::format("EXT-X-I-FRAME-STREAM-INF has no URI, or {:?} stands there twice", v.uri));
    if (integer(get("BANDWIDTH")).value_or(0) == 0 || !is_size(get("RESOLUTION")))
      wrong(fmt::format("{}: BANDWIDTH and RESOLUTION are needed", v.uri));
    if (auto codecs = get("CODECS"); codecs.empty() || codecs.find("mp4a") != std::string::npos)
      wrong(fmt::format("{}: CODECS {:?} are not those of a picture alone", v.uri, codecs));
    if (auto pathway = by_pathway.find(get("PATHWAY-ID")); pathway == by_pathway.end())
      wrong(fmt::format("{}: PATHWAY-ID {:?} is no variant's", v.uri, get("PATHWAY-ID")));
    else
      ++pathway->second;
  }
  for (auto& [name, offered] : by_pathway)
    if (offered != by_pathway.begin()->second)
      wrong(fmt::format("pathway {} does not offer as many I-frame playlists as {}", name, by_pathway.begin()->first));
}

/// The rules for renditions of sound: bis 4.4.6.1, 6.2.4; Apple 8.10.
void linter::renditions_of(const parsed_multivariant& p, std::vector<finding>& out) const {
  auto wrong = [&](std::string what) { out.push_back({"V7", "", std::move(what)}); };
  struct group {
    std::set<std::string> names, ids; ///< NAMEs; STABLE-RENDITION-IDs
    std::size_t preferred = 0;
    std::set<std::string> pathways; ///< of the variants that use it
  };
  std::map<std::string, group> groups;
  std::set<std::string_view> uris;
  for (auto& r : p.renditions) {
    if (attribute(r, "TYPE") != "AUDIO")
      continue;
    auto id = attribute(r, "GROUP-ID"), name = attribute(r, "NAME");
    auto& its = groups[id];
    if (id.empty() || name.empty() || !its.names.insert(name).second)
      wrong(fmt::format("a rendition of group {:?} has no GROUP-ID or NAME, or {:?} stands there twice", id, name));
    if (r.uri.empty() || !uris.insert(r.uri).second)
      wrong(fmt::format("rendition {:?} has no URI, or {:?} stands there twice", name, r.uri));
    if (!is_language(attribute(r, "LANGUAGE")))
      wrong(fmt::format("LANGUAGE {:?} of rendition {:?} is no language tag", attribute(r, "LANGUAGE"), name));
    const bool preferred = attribute(r, "DEFAULT") == "YES";
    if (preferred && (++its.preferred > 1 || attribute(r, "AUTOSELECT") != "YES"))
      wrong(fmt::format("rendition {:?} is DEFAULT and not AUTOSELECT, or not the only one of group {:?}", name, id));
    if (attribute(r, "CHANNELS").empty())
      wrong(fmt::format("rendition {:?} has no CHANNELS", name));
    its.ids.insert(attribute(r, "STABLE-RENDITION-ID"));
  }
  for (auto& v : p.variants) {
    auto id = attribute(v, "AUDIO");
    auto its = groups.find(id);
    if (id.empty()) {
      if (!groups.empty() && !names_sound(attribute(v, "CODECS")))
        wrong(fmt::format("{} has no sound, others have", v.uri));
      continue;
    }
    if (its == groups.end())
      wrong(fmt::format("{}: there is no group {:?} of renditions", v.uri, id));
    else
      its->second.pathways.insert(attribute(v, "PATHWAY-ID"));
    if (!names_sound(attribute(v, "CODECS")))
      wrong(fmt::format("{}: CODECS {:?} do not name the sound of its renditions", v.uri, attribute(v, "CODECS")));
  }
  for (auto& [id, its] : groups) {
    if (its.pathways.size() != 1)
      wrong(fmt::format("group {:?} is used on {} pathways, each has its own", id, its.pathways.size()));
    if (options_.pathways > 0 && (its.ids.contains("") || its.ids != groups.begin()->second.ids))
      wrong(fmt::format("group {:?} does not offer the renditions of {:?} by STABLE-RENDITION-ID", id, groups.begin()->first));
  }
}

std::vector<finding> linter::multivariant(std::string_view url, std::string_view text) {
  auto p = parse_multivariant_playlist(text);
  if (!p)
    return keep({{"syntax", "", p.error().text}}, url);
  std::vector<finding> out;
  auto wrong = [&](std::string_view rule, std::string what) { out.push_back({std::string(rule), "", std::move(what)}); };
  if (p->variants.empty())
    wrong("V4", "no variant");
  if (!p->independent)
    wrong("V8", "no EXT-X-INDEPENDENT-SEGMENTS");
  if (!p->version)
    wrong("V9", "no EXT-X-VERSION");
  std::map<std::string, std::set<std::string>> by_pathway;
  std::set<std::string> rates, uris;
  bool pictures = false;
  for (auto& v : p->variants) {
    auto get = [&](std::string_view name) {
      auto found = v.attributes.find(name);
      return found == v.attributes.end() ? std::string() : found->second;
    };
    auto peak = integer(get("BANDWIDTH")), average = integer(get("AVERAGE-BANDWIDTH"));
    if (!peak || *peak == 0 || !average || *average == 0)
      wrong("V1", fmt::format("{}: BANDWIDTH and AVERAGE-BANDWIDTH are needed", v.uri));
    else if (*average > *peak)
      wrong("V2", fmt::format("{}: AVERAGE-BANDWIDTH {} is above BANDWIDTH {}", v.uri, *average, *peak));
    auto codecs = get("CODECS");
    if (codecs.empty())
      wrong("V1", fmt::format("{}: no CODECS", v.uri));
    bool picture = codecs.find("avc") != std::string::npos || codecs.find("hvc") != std::string::npos || codecs.find("hev") != std::string::npos;
    pictures = pictures || picture;
    const bool sized = is_size(get("RESOLUTION"));
    auto rate = seconds(get("FRAME-RATE"));
    if (picture && (!sized || !rate || *rate <= 0us))
      wrong("V1", fmt::format("{}: RESOLUTION and FRAME-RATE are needed", v.uri));
    if (!uris.insert(v.uri).second)
      wrong("V4", fmt::format("{} stands there twice", v.uri));
    rates.insert(get("BANDWIDTH")); // each pathway lists them
    if (options_.pathways > 0) {
      if (get("PATHWAY-ID").empty() || get("STABLE-VARIANT-ID").empty())
        wrong("V11", fmt::format("{}: PATHWAY-ID and STABLE-VARIANT-ID are needed", v.uri));
      by_pathway[get("PATHWAY-ID")].insert(get("STABLE-VARIANT-ID"));
    }
  }
  iframes_of(*p, pictures, out);
  renditions_of(*p, out);
  if (rates.size() < options_.variants)
    wrong("V4", fmt::format("{} bit rates, {} are needed", rates.size(), options_.variants));
  if (options_.pathways > 0) {
    if (by_pathway.size() < options_.pathways)
      wrong("V11", fmt::format("{} pathways, {} are needed", by_pathway.size(), options_.pathways));
    for (auto& [name, variants] : by_pathway)
      if (variants != by_pathway.begin()->second)
        wrong("V11", fmt::format("pathway {} does not offer the variants of {}", name, by_pathway.begin()->first));
    auto first = p->steering.find("PATHWAY-ID");
    if (!p->steering.contains("SERVER-URI") || first == p->steering.end() || !by_pathway.contains(first->second))
      wrong("V11", "EXT-X-CONTENT-STEERING needs SERVER-URI and the PATHWAY-ID of a pathway");
  }
  return keep(std::move(out), url);
}

void linter::alone(const parsed_media& p, std::vector<finding>& out) const {
  auto wrong = [&](std::string_view rule, std::string what) { out.push_back({std::string(rule), "", std::move(what)}); };
  if (!p.target_seconds || *p.target_seconds == 0)
    return wrong("P1", "no EXT-X-TARGETDURATION");
  if (!p.first_msn || !p.first_dsn)
    wrong("P8", "EXT-X-MEDIA-SEQUENCE and EXT-X-DISCONTINUITY-SEQUENCE are needed");
  if (!p.playlist_type.empty())
    wrong("P14", "EXT-X-PLAYLIST-TYPE in a sliding playlist");
  if (!p.independent)
    wrong("V8", "no EXT-X-INDEPENDENT-SEGMENTS");
  auto target = std::chrono::seconds{static_cast<std::int64_t>(std::min<std::uint64_t>(*p.target_seconds, 86'400))};
  if (p.hold_back && *p.hold_back < 3 * target)
    wrong("P14", fmt::format("HOLD-BACK {} is below three target durations", to_string(*p.hold_back)));
  if (p.entries.empty())
    return wrong("P9", "no entries");
  if (!p.ended && total(p) < 3 * target - 500ms)
    wrong("P9", fmt::format("{} is shorter than three target durations", show(total(p))));
  std::set<std::string_view> uris;
  const parsed_entry* before = nullptr; ///< the last one that is no gap
  for (std::size_t i = 0; i < p.entries.size(); ++i) {
    auto& e = p.entries[i];
    if (!e.gap) {
      auto [host, path] = host_and_path(e.uri);
      auto [map_host, map_path] = host_and_path(e.map);
      if (is_fragment(path) == e.map.empty())
        wrong("P15", fmt::format("MSN {} {}", e.msn, e.map.empty() ? "is a fragment without EXT-X-MAP" : "is no fragment, and an EXT-X-MAP is in force"));
      if (!e.map.empty() && map_host != host)
        wrong("S3", fmt::format("MSN {} is at {}, its map at {}", e.msn, e.uri, e.map));
      if (!e.map.empty() && p.version.value_or(0) < 6)
        wrong("V9", "EXT-X-MAP needs EXT-X-VERSION 6");
      if (before && before->dsn == e.dsn && host_and_path(before->map).second != map_path)
        wrong("P11", fmt::format("MSN {} has another map than MSN {}, without a discontinuity", e.msn, before->msn));
      before = &e;
    }
    if (e.duration >= target + 500ms)
      wrong("P2", fmt::format("MSN {} lasts {}, the target is {} s", e.msn, show(e.duration), target.count()));
    if (e.duration <= 0us)
      wrong("P2", fmt::format("MSN {} lasts nothing", e.msn));
    if (!p.iframes && !uris.insert(e.uri).second)
      wrong("P4", fmt::format("{} stands there twice", e.uri));
    if (!e.date && (i == 0 || e.discontinuity))
      wrong("P12", fmt::format("MSN {} has no EXT-X-PROGRAM-DATE-TIME", e.msn));
    if (i == 0 || !e.date || !p.entries[i - 1].date)
      continue;
    auto off = std::chrono::duration_cast<microseconds>(*e.date - *p.entries[i - 1].date) - p.entries[i - 1].duration;
    bool steady = !e.discontinuity && !p.entries[i - 1].gap;
    if (*e.date <= *p.entries[i - 1].date || off < (e.discontinuity ? -2ms : -150ms) || (steady && off > 150ms))
      wrong("P12", fmt::format("MSN {} is dated {}, {} off the end of the one before", e.msn, show(e.date), show(off)));
  }
}

/// What byte ranges want of one playlist, and I-frame playlists of theirs.
void linter::alone_in_ranges(const parsed_media& p, std::vector<finding>& out) const {
  auto wrong = [&](std::string_view rule, std::string what) { out.push_back({std::string(rule), "", std::move(what)}); };
  const bool ranges = std::any_of(p.entries.begin(), p.entries.end(), [](auto& e) { return e.range.has_value(); });
  const bool maps = std::any_of(p.entries.begin(), p.entries.end(), [](auto& e) { return !e.map.empty(); });
  if (const std::uint64_t needed = p.iframes && maps ? 5 : p.iframes || ranges ? 4 : 0; p.version.value_or(1) < needed)
    wrong("V9", fmt::format("byte ranges or I frames need EXT-X-VERSION {}", needed));
  if (!p.iframes)
    return;
  if (p.open || !p.hints.empty() || std::any_of(p.entries.begin(), p.entries.end(), [](auto& e) { return !e.parts.empty(); }))
    wrong("V6", "an I-frame playlist with parts");
  std::map<std::string_view, std::uint64_t> ends; ///< by address: of what is listed of it
  for (auto& e : p.entries) {
    auto [end, first] = ends.try_emplace(e.uri, 0);
    if (e.range && e.range->second == 0)
      wrong("V6", fmt::format("MSN {} has no bytes", e.msn));
    if (e.gap && e.range)
      wrong("V6", fmt::format("MSN {} is a gap, and has a byte range", e.msn));
    // Whole ones begin with their key frame, and there is no other range of them.
    if (e.range ? e.range->first < end->second : !first)
      wrong("P4", fmt::format("MSN {} has bytes of {} that stand there already", e.msn, e.uri));
    end->second = e.range ? e.range->first + e.range->second : number_limit;
  }
}

/// What hls.md 6 wants of one playlist.
void linter::alone_in_parts(const parsed_media& p, std::vector<finding>& out) const {
  auto wrong = [&](std::string_view rule, std::string what) { out.push_back({std::string(rule), "", std::move(what)}); };
  if (p.skipped > 0)
    wrong("P4", fmt::format("a delta playlist, which leaves out {} entries, although nobody asked for one", p.skipped));
  const bool has_parts = p.open || std::any_of(p.entries.begin(), p.entries.end(), [](auto& e) { return !e.parts.empty(); });
  if (!p.part_target) {
    if (has_parts || !p.hints.empty())
      wrong("L2", "parts or a hint of them without EXT-X-PART-INF");
    return;
  }
  const auto target = std::chrono::seconds{static_cast<std::int64_t>(std::min<std::uint64_t>(p.target_seconds.value_or(0), 86'400))};
  const auto longest = *p.part_target;
  if (!p.blocks)
    wrong("L1", "no CAN-BLOCK-RELOAD=YES");
  if (!p.part_hold_back || *p.part_hold_back < 3 * longest)
    wrong("L1", fmt::format("PART-HOLD-BACK {} is below three part targets of {}", show(p.part_hold_back.value_or(0us)), show(longest)));
  if (p.skip_until && *p.skip_until < 6 * target)
    wrong("L1", fmt::format("CAN-SKIP-UNTIL {} is below six target durations", show(*p.skip_until)));
  if (p.hints.size() > 1)
    wrong("L4", "more than one EXT-X-PRELOAD-HINT of a part");
  if (p.ended && !p.hints.empty())
    wrong("L4", "a part is hinted at although the stream is over");

  std::set<std::string_view> uris(p.hints.begin(), p.hints.end());
  auto judge = [&](const parsed_entry& e, bool whole, std::string_view host) {
    microseconds sum{};
    for (auto& part : e.parts) {
      const bool last = &part == &e.parts.back();
      sum += part.duration;
      if (part.duration > longest || part.duration <= 0us)
        wrong("L2", fmt::format("a part of MSN {} lasts {}, the part target is {}", e.msn, show(part.duration), show(longest)));
      if (!last && !part.gap && part.duration * 100 < longest * 85)
        wrong("L2", fmt::format("a part of MSN {} lasts {}, less than 85 % of the part target {}, and is not the segment's last", e.msn, show(part.duration), show(longest)));
      if (!uris.insert(part.uri).second)
        wrong("L4", fmt::format("{} is a listed part, and stands there twice or is still hinted at", part.uri));
      if (auto its = host_and_path(part.uri).first; its != host)
        wrong("S3", fmt::format("MSN {} is at {}, its part at {}", e.msn, host, part.uri));
    }
    if (!e.parts.empty() && !e.parts.front().gap && !e.parts.front().independent)
      wrong("L6", fmt::format("the first part of MSN {} is not INDEPENDENT, although segments begin with an IDR frame", e.msn));
    if (whole && !e.parts.empty() && std::chrono::abs(sum - e.duration) > options_.frame)
      wrong("L3", fmt::format("MSN {} lasts {}, its parts {}", e.msn, show(e.duration), show(sum)));
    return sum;
  };
  microseconds behind{}; ///< from an entry's end to the playlist's
  if (p.open)
    behind = judge(*p.open, false, host_and_path(p.open->parts.front().uri).first);
  for (auto e = p.entries.rbegin(); e != p.entries.rend(); behind += e++->duration) {
    judge(*e, true, host_and_path(e->uri).first);
    if (!e->parts.empty() && behind > 3 * target)
      wrong("L3", fmt::format("parts of MSN {} are listed {} behind the end, three target durations are enough", e->msn, show(behind)));
    if (!e->parts.empty() && e->gap)
      wrong("L3", fmt::format("MSN {} is a gap, and has parts", e->msn));
  }
}

void linter::parts_against_history(const parsed_media& p, const parsed_media& last, std::vector<finding>& out) const {
  auto wrong = [&](std::string_view rule, std::string what) { out.push_back({std::string(rule), "", std::move(what)}); };
  if (last.part_target != p.part_target)
    wrong("L2", "EXT-X-PART-INF changed");
  std::map<std::uint64_t, const parsed_entry*> now;
  for (auto& e : p.entries)
    now[e.msn] = &e;
  if (p.open)
    now[p.open->msn] = &*p.open;
  const parsed_entry* newest = nullptr; ///< of the former playlist, with parts
  auto compare = [&](const parsed_entry& old) {
    if (old.parts.empty())
      return;
    newest = &old;
    auto found = now.find(old.msn);
    if (found == now.end() || found->second->parts.empty()) // of old segments they are taken away, all at once
      return;
    auto& parts = found->second->parts;
    for (std::size_t i = 0; i < old.parts.size(); ++i)
      if (i >= parts.size())
        return wrong("P4", fmt::format("part {} of MSN {} is gone, others of it are listed", i, old.msn));
      else if (old.parts[i].uri != parts[i].uri)
        wrong("S1", fmt::format("part {} of MSN {} moved from {} to {}", i, old.msn, old.parts[i].uri, parts[i].uri));
      else if (old.parts[i] != parts[i])
        wrong("P4", fmt::format("part {} of MSN {} changed", i, old.msn));
  };
  for (auto& e : last.entries)
    compare(e);
  if (last.open)
    compare(*last.open);
  if (last.hints.size() != 1 || !newest)
    return;
  // What came behind the newest part is what was hinted at, unless another writer has taken over in between.
  auto at = now.find(newest->msn);
  if (at == now.end() || at->second->parts.size() < newest->parts.size())
    return;
  const parsed_part* next = at->second->parts.size() > newest->parts.size() ? &at->second->parts[newest->parts.size()] : nullptr;
  if (auto following = std::next(at); !next && following != now.end() && !following->second->parts.empty() && !following->second->discontinuity)
    next = &following->second->parts.front();
  if (next && next->uri != last.hints.front())
    wrong("L4", fmt::format("{} was hinted at, {} has come", last.hints.front(), next->uri));
  else if (!next && !p.hints.empty() && p.hints.front() != last.hints.front() && at->second == now.rbegin()->second && p.entries.size() == last.entries.size())
    wrong("L4", fmt::format("{} was hinted at, {} is now, and no part came between", last.hints.front(), p.hints.front()));
}

/// A report for each other rendition that was looked at lately and goes on.
void linter::reports_of_others(std::string_view url, const parsed_media& p, timestamp now, std::vector<finding>& out) const {
  auto wrong = [&](std::string what) { out.push_back({"L5", "", std::move(what)}); };
  for (auto& r : p.reports)
    if (!r.last_msn || (p.part_target && !r.last_part && p.open))
      wrong(fmt::format("EXT-X-RENDITION-REPORT of {} has no LAST-MSN or LAST-PART", r.uri));
  if (!p.part_target || p.ended)
    return;
  const auto target = std::chrono::seconds{static_cast<std::int64_t>(std::min<std::uint64_t>(p.target_seconds.value_or(0), 86'400))};
  auto path = [](std::string_view of) { return of.substr(0, of.find('?')); };
  const auto folder = path(url).substr(0, path(url).rfind('/') + 1);
  for (auto& [other, seen] : history_) {
    auto its = path(other);
    if (its == path(url) || its.substr(0, its.rfind('/') + 1) != folder || now - seen.fetched > 2 * target || seen.last.entries.empty() || seen.last.entries.back().gap)
      continue;
    const auto name = its.substr(folder.size());
    if (std::none_of(p.reports.begin(), p.reports.end(), [&](auto& r) { return path(r.uri) == its || path(r.uri) == name; }))
      wrong(fmt::format("no EXT-X-RENDITION-REPORT of {}", its));
  }
}

void linter::against_history(const parsed_media& p, const history& before, timestamp now, std::vector<finding>& out) const {
  auto wrong = [&](std::string_view rule, std::string what) { out.push_back({std::string(rule), "", std::move(what)}); };
  auto& last = before.last;
  if (last.iframes != p.iframes)
    wrong("V6", "EXT-X-I-FRAMES-ONLY came or went");
  if (last.target_seconds != p.target_seconds)
    wrong("P1", "EXT-X-TARGETDURATION changed");
  if (!last.controlled_like(p))
    wrong("P14", "EXT-X-SERVER-CONTROL changed");
  if (last.ended && (!p.ended || p.entries.size() != last.entries.size()))
    wrong("P16", "the playlist changed after EXT-X-ENDLIST");
  if (p.entries.empty() || last.entries.empty())
    return;
  auto first = p.entries.front().msn, end = p.entries.back().msn + 1;
  auto old_first = last.entries.front().msn, old_end = last.entries.back().msn + 1;
  if (first < old_first || end < old_end)
    wrong(end < old_end ? "S2" : "P8", fmt::format("MSN {} to {} after {} to {}: it stepped back", first, end - 1, old_first, old_end - 1));
  if (p.first_dsn.value_or(0) < last.first_dsn.value_or(0))
    wrong("P8", fmt::format("EXT-X-DISCONTINUITY-SEQUENCE fell from {} to {}", last.first_dsn.value_or(0), p.first_dsn.value_or(0)));
  if (first > old_end)
    wrong("P4", fmt::format("MSN {} to {} were never seen", old_end, first - 1));
  for (auto msn = std::max(first, old_first); msn < std::min(end, old_end); ++msn) {
    auto &a = last.entries[msn - old_first], &b = p.entries[msn - first];
    if (a.uri != b.uri)
      wrong("S1", fmt::format("MSN {} moved from {} to {}", msn, a.uri, b.uri));
    if (a.range != b.range)
      wrong("S1", fmt::format("the byte range of MSN {} changed", msn));
    if (a.map != b.map && !a.gap && !b.gap)
      wrong("S1", fmt::format("the map of MSN {} moved from {:?} to {:?}", msn, a.map, b.map));
    if (a.gap != b.gap)
      wrong("P13", fmt::format("MSN {} {} a gap after it was listed", msn, b.gap ? "became" : "ceased to be"));
    if (a.duration != b.duration || a.date != b.date)
      wrong("P4", fmt::format("MSN {} changed its duration or date", msn));
    if (a.dsn != b.dsn || (a.discontinuity != b.discontinuity && msn > first))
      wrong("P8", fmt::format("MSN {} went from discontinuity {} to {}", msn, a.dsn, b.dsn));
  }
  // Seen for the first time at new_entry_seen, so it is at least that old.
  if (auto target = std::chrono::seconds{static_cast<std::int64_t>(std::min<std::uint64_t>(p.target_seconds.value_or(0), 86'400))};
      end <= old_end && !p.ended && now - before.new_entry_seen > 3 * target / 2)
    wrong("P6", fmt::format("nothing new after MSN {} for more than 1.5 target durations", old_end - 1));
}

/// One MSN means one instant, whichever rung or pathway is asked (P11, P12).
void linter::against_siblings(const parsed_media& p, std::vector<finding>& out) {
  auto wrong = [&](std::string_view rule, std::string what) { out.push_back({std::string(rule), "", std::move(what)}); };
  if (!target_seconds_)
    target_seconds_ = p.target_seconds;
  if (!first_seen_ || (first_seen_->iframes && !p.iframes)) {
    first_seen_ = p;
    first_seen_->entries.clear();
  }
  if (target_seconds_ != p.target_seconds)
    wrong("P1", "EXT-X-TARGETDURATION is not that of the other variants");
  if (!first_seen_->controlled_like(p))
    wrong("P14", "EXT-X-SERVER-CONTROL is not that of the other variants");
  if (p.iframes) // its numbers are its own
    return;
  if (first_seen_->part_target != p.part_target)
    wrong("L2", "EXT-X-PART-INF is not that of the other variants");
  for (auto& e : p.entries) {
    auto [known, added] = siblings_.try_emplace(e.msn, sibling{e.dsn, e.duration, e.date, e.discontinuity});
    if (added)
      continue;
    auto& s = known->second;
    if (s.dsn != e.dsn || (s.discontinuity != e.discontinuity && &e != &p.entries.front()))
      wrong("P11", fmt::format("MSN {} has discontinuity {} here, {} elsewhere", e.msn, e.dsn, s.dsn));
    if (s.date && e.date && std::chrono::abs(*s.date - *e.date) > options_.frame)
      wrong("P12", fmt::format("MSN {} is dated {} here, {} elsewhere", e.msn, show(e.date), show(s.date)));
    if (std::chrono::abs(s.duration - e.duration) > options_.frame)
      wrong("P3", fmt::format("MSN {} lasts {} here, {} elsewhere", e.msn, show(e.duration), show(s.duration)));
  }
  while (siblings_.size() > entry_limit)
    siblings_.erase(siblings_.begin());
}

std::vector<finding> linter::media(std::string_view url, std::string_view text, timestamp now) {
  auto p = parse_media_playlist(text);
  if (!p)
    return keep({{"syntax", "", p.error().text}}, url);
  std::vector<finding> out;
  alone(*p, out);
  alone_in_ranges(*p, out);
  alone_in_parts(*p, out);
  auto known = history_.find(url);
  if (known == history_.end()) {
    if (history_.size() == 1000)
      history_.erase(history_.begin());
    history_.emplace(url, history{*p, now, now});
  } else {
    against_history(*p, known->second, now, out);
    parts_against_history(*p, known->second.last, out);
    bool grew = !p->entries.empty() && (known->second.last.entries.empty() || p->entries.back().msn > known->second.last.entries.back().msn);
    if (grew)
      known->second.new_entry_seen = now;
    known->second.last = *p;
    known->second.fetched = now;
  }
  against_siblings(*p, out);
  reports_of_others(url, *p, now, out);
  return keep(std::move(out), url);
}

} // namespace weir::hls
