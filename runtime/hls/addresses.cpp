#include "runtime/hls/addresses.hpp"

#include "runtime/hls/text_reader.hpp"

#include <algorithm>
#include <tuple>

#include <fmt/format.h>

namespace weir::hls {

namespace {

/// Eats a path from the left; once something did not fit, `ok` stays false and nothing more is eaten.
struct path_reader : text_reader {
  std::string_view word_before(std::string_view stop, std::size_t limit) {
    auto at = ok ? rest.find(stop) : std::string_view::npos;
    ok = at != std::string_view::npos && is_address_word(rest.substr(0, at), limit);
    if (!ok)
      return {};
    auto word = rest.substr(0, at);
    rest.remove_prefix(at + stop.size());
    return word;
  }
  viewer_key viewer() {
    viewer_key v;
    auto bucket = number();
    ok = ok && bucket < bucket_count;
    v.bucket = static_cast<std::uint32_t>(bucket);
    literal(".");
    v.joined = number();
    return v;
  }
  /// What follows the viewer's numbers, up to and with the next slash.
  void suffix(viewer_key& v) {
    if (maybe(".w")) {
      const auto width = number();
      ok = ok && width != viewer_key{}.width && width <= width_limit;
      v.width = static_cast<std::uint32_t>(width);
    }
    if (maybe("~"))
      v.locality = word_before("/", 64);
    else
      literal("/");
  }
};

tl::unexpected<error> no_such(std::string_view path) {
  return fail(error_code::not_found, fmt::format("{:?} is not an address of this kind", path.substr(0, 200)));
}

constexpr std::size_t rung_limit = 16;
constexpr std::string_view media_end = ".m3u8", iframes_end = "/iframes.m3u8"; ///< behind the rung's name, which has no slash

std::string suffix_of(const viewer_key& v) {
  auto suffix = v.width == viewer_key{}.width ? std::string{} : fmt::format(".w{}", v.width);
  return v.locality.empty() ? suffix : fmt::format("{}~{}", suffix, v.locality);
}

} // namespace

bool is_address_word(std::string_view text, std::size_t limit) {
  return !text.empty() && text.size() <= limit && text.front() != '.' && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
  });
}

std::string segment_name(segment_kind kind, std::uint64_t msn, std::uint32_t part) {
  switch (kind) {
    case segment_kind::map: return "init.mp4";
    case segment_kind::part: return fmt::format("{}.{}.m4s", msn, part);
    case segment_kind::fmp4: return fmt::format("{}.m4s", msn);
    case segment_kind::ts: break;
  }
  return fmt::format("{}.ts", msn);
}

expected<std::pair<segment_kind, std::uint64_t>> parse_segment_name(std::string_view name) {
  if (name == "init.mp4")
    return std::pair{segment_kind::map, std::uint64_t{0}};
  path_reader in{name};
  auto msn = in.number();
  const bool fragment = in.maybe(".m4s");
  if (!fragment)
    in.literal(".ts");
  if (!in.done())
    return no_such(name);
  return std::pair{fragment ? segment_kind::fmp4 : segment_kind::ts, msn};
}

std::string multivariant_path(std::string_view stream, bool dvr) { return fmt::format("/hls/{}/{}.m3u8", stream, dvr ? "dvr" : "index"); }

std::string path_of(const playlist_address& a) {
  return fmt::format("/p/{}.{}{}{}{}/{}~{}/{}{}", a.viewer.bucket, a.viewer.joined, a.viewer.backup ? ".b" : "", a.viewer.dvr ? ".d" : "", suffix_of(a.viewer), a.stream,
                     a.instance, a.rung, a.iframes ? iframes_end : media_end);
}

std::string path_of(const segment_address& a) { return fmt::format("/s/{}~{}/{}/{}/{}", a.stream, a.instance, a.epoch, a.rung, segment_name(a.kind, a.msn, a.part)); }

std::string path_of(const steering_address& a) { return fmt::format("/steer/{}.{}{}/{}", a.viewer.bucket, a.viewer.joined, suffix_of(a.viewer), a.stream); }

expected<multivariant_address> parse_multivariant_path(std::string_view path) {
  path_reader in{path};
  multivariant_address a;
  in.literal("/hls/");
  a.stream = in.word_before("/", 64);
  a.dvr = in.maybe("dvr.m3u8");
  if (!a.dvr)
    in.literal("index.m3u8");
  if (!in.done())
    return no_such(path);
  return a;
}

expected<playlist_address> parse_playlist_path(std::string_view path) {
  path_reader in{path};
  playlist_address a;
  in.literal("/p/");
  a.viewer = in.viewer();
  a.viewer.backup = in.maybe(".b");
  a.viewer.dvr = in.maybe(".d");
  in.suffix(a.viewer);
  a.stream = in.word_before("~", 64);
  a.instance = in.number();
  in.literal("/");
  // A rung's name may itself hold dots: only the last ".m3u8" ends it.
  a.iframes = in.rest.ends_with(iframes_end);
  const auto end = a.iframes ? iframes_end : media_end;
  const bool suffixed = in.rest.ends_with(end);
  a.rung = in.rest.substr(0, in.rest.size() - (suffixed ? end.size() : 0));
  if (!in.ok || !suffixed || !is_address_word(a.rung, rung_limit))
    return no_such(path);
  return a;
}

expected<segment_address> parse_segment_path(std::string_view path) {
  path_reader in{path};
  segment_address a;
  in.literal("/s/");
  a.stream = in.word_before("~", 64);
  a.instance = in.number();
  in.literal("/");
  a.epoch = in.number();
  in.literal("/");
  a.rung = in.word_before("/", rung_limit);
  if (!in.ok)
    return no_such(path);
  if (auto name = parse_segment_name(in.rest)) {
    std::tie(a.kind, a.msn) = *name;
    return a;
  }
  a.kind = segment_kind::part;
  a.msn = in.number();
  in.literal(".");
  auto part = in.number();
  in.literal(".m4s");
  if (!in.done() || part >= part_limit)
    return no_such(path);
  a.part = static_cast<std::uint32_t>(part);
  return a;
}

expected<steering_address> parse_steering_path(std::string_view path) {
  path_reader in{path};
  steering_address a;
  in.literal("/steer/");
  a.viewer = in.viewer();
  in.suffix(a.viewer);
  a.stream = in.rest;
  if (!in.ok || !is_address_word(a.stream))
    return no_such(path);
  return a;
}

} // namespace weir::hls
