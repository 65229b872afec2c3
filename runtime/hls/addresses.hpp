#pragma once
// The addresses of HLS objects (hls.md 10): made and taken apart here and nowhere else.
//
//   /hls/{stream}/index.m3u8                                        multivariant playlist, one answer per viewer and start
//   /hls/{stream}/dvr.m3u8                                          the same, of playlists that reach back over the time-shift window
//   /p/{bucket}.{joined}[.b][.d][.w{width}][~{locality}]/{stream}~{instance}/{rung}.m3u8   media playlist of a viewer's bucket; .b: backup pathway; .d: time shift
//   /p/{as above}/{stream}~{instance}/{rung}/iframes.m3u8           the same of key frames alone (trick play)
//   /s/{stream}~{instance}/{epoch}/{rung}/{msn}.ts                  segment, below an edge's base address; .m4s: fragmented MP4
//   /s/{stream}~{instance}/{epoch}/{rung}/{msn}.{part}.m4s          part of a segment that is being made (low latency)
//   /s/{stream}~{instance}/{epoch}/{rung}/init.mp4                  what a player needs before any .m4s that names it (EXT-X-MAP): its epoch's writer made it
//   /steer/{bucket}.{joined}[.w{width}][~{locality}]/{stream}       Content Steering manifest
//
// In front of each may stand a viewing token, "/t/TOKEN" (runtime/viewing): whoever answers takes it off before the address is read here.
//
// Why no two objects share an address: {instance} changes when a stream ended and begins anew, {epoch} when another writer
// takes over, and MSNs of one stream never repeat at all. Numbers are decimal without leading zeros, so that each object
// has exactly one address and no cache holds it twice.
#include "schemas/error.hpp"
#include "schemas/ids.hpp"

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace weir::hls {

/// Buckets that viewers are drawn into (balancing.md 6).
inline constexpr std::uint32_t bucket_count = 1024;

/// Whether a stream's or rung's name may stand in an address: 1 to `limit` of [A-Za-z0-9._-], not starting with a dot.
bool is_address_word(std::string_view text, std::size_t limit = 64);

/// Of two numbers of edges the larger one; 0 is all of them, and more than any number.
constexpr std::uint32_t wider(std::uint32_t a, std::uint32_t b) { return a == 0 || b == 0 ? 0 : a > b ? a : b; }
/// No stream is wider than that, other than by having all edges.
inline constexpr std::uint32_t width_limit = 1000;

/// What of a viewer decides which edge it fetches from; drawn at the multivariant request and kept in its addresses.
struct viewer_key {
  std::uint32_t bucket = 0;
  edge_epoch joined = 0;
  bool backup = false;
  std::string_view locality = {}; ///< whose edges it fetches from; empty: of no particular one. Stays when the viewer goes elsewhere: listed addresses hold
  bool dvr = false;               ///< its playlists list the time-shift window, too
  std::uint32_t width = 1;        ///< edges that the stream must have for this viewer, at least; 0: all
  bool operator==(const viewer_key&) const = default;
};

struct playlist_address {
  viewer_key viewer;
  std::string_view stream;
  std::uint64_t instance = 0;
  std::string_view rung;
  bool iframes = false; ///< of key frames alone
};

/// What lies at a segment's address.
enum class segment_kind : std::uint8_t {
  ts,   ///< MPEG-TS
  fmp4, ///< moof + mdat: plays after its map
  map,  ///< ftyp + moov; of a writer and a rung there is one, without number
  part, ///< the moof + mdat of a part of a segment of kind fmp4
};
constexpr auto enum_names(segment_kind) {
  using sv = std::string_view;
  return std::array{std::pair{segment_kind::ts, sv("ts")}, std::pair{segment_kind::fmp4, sv("fmp4")}, std::pair{segment_kind::map, sv("map")},
                    std::pair{segment_kind::part, sv("part")}};
}
/// The media type that its bytes are served with (P20).
constexpr std::string_view media_type(segment_kind kind) {
  return kind == segment_kind::ts ? "video/mp2t" : kind == segment_kind::map ? "video/mp4" : "video/iso.segment";
}

/// Numbers of parts within a segment are below this.
inline constexpr std::uint32_t part_limit = 1000;

/// The last part of a segment's address, which is its file's name, too: "5.ts", "5.m4s", "init.mp4". Of a part "5.0.m4s": it has no file.
std::string segment_name(segment_kind kind, std::uint64_t msn, std::uint32_t part = 0);
/// Takes exactly what segment_name() makes of what has a file; of a map the number is 0. Fails: not_found.
expected<std::pair<segment_kind, std::uint64_t>> parse_segment_name(std::string_view name);

struct segment_address {
  std::string_view stream;
  std::uint64_t instance = 0;
  lease_epoch epoch = 0;
  std::string_view rung;
  std::uint64_t msn = 0; ///< 0 of a map
  segment_kind kind = segment_kind::ts;
  std::uint32_t part = 0; ///< of kind part: its number within the segment
};

struct steering_address {
  viewer_key viewer;
  std::string_view stream;
};

struct multivariant_address {
  std::string_view stream;
  bool dvr = false;
};

std::string multivariant_path(std::string_view stream, bool dvr = false);
std::string path_of(const playlist_address& a);
std::string path_of(const segment_address& a);
std::string path_of(const steering_address& a);

/// Each takes exactly what the matching maker makes, without query; anything else is not_found. Views point into `path`.
expected<multivariant_address> parse_multivariant_path(std::string_view path);
expected<playlist_address> parse_playlist_path(std::string_view path);
expected<segment_address> parse_segment_path(std::string_view path);
expected<steering_address> parse_steering_path(std::string_view path);

} // namespace weir::hls
