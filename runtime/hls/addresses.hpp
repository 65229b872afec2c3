#pragma once
// The addresses of HLS objects (hls.md 10): made and taken apart here and nowhere else.
//
//   /hls/{stream}/index.m3u8                                        multivariant playlist, one answer per viewer and start
//   /p/{bucket}.{joined}[.b][~{locality}]/{stream}~{instance}/{rung}.m3u8   media playlist of a viewer's bucket; .b: backup pathway
//   /s/{stream}~{instance}/{epoch}/{rung}/{msn}.ts                  segment, below an edge's base address
//   /steer/{bucket}.{joined}[~{locality}]/{stream}                  Content Steering manifest
//
// In front of each may stand a viewing token, "/t/TOKEN" (runtime/viewing): whoever answers takes it off before the address is read here.
//
// Why no two objects share an address: {instance} changes when a stream ended and begins anew, {epoch} when another writer
// takes over, and MSNs of one stream never repeat at all. Numbers are decimal without leading zeros, so that each object
// has exactly one address and no cache holds it twice.
#include "schemas/error.hpp"
#include "schemas/ids.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace weir::hls {

/// Buckets that viewers are drawn into (balancing.md 6).
inline constexpr std::uint32_t bucket_count = 1024;

/// Whether a stream's or rung's name may stand in an address: 1 to `limit` of [A-Za-z0-9._-], not starting with a dot.
bool is_address_word(std::string_view text, std::size_t limit = 64);

/// What of a viewer decides which edge it fetches from; drawn at the multivariant request and kept in its addresses.
struct viewer_key {
  std::uint32_t bucket = 0;
  edge_epoch joined = 0;
  bool backup = false;
  std::string_view locality = {}; ///< whose edges it fetches from; empty: of no particular one. Stays when the viewer goes elsewhere: listed addresses hold
  bool operator==(const viewer_key&) const = default;
};

struct playlist_address {
  viewer_key viewer;
  std::string_view stream;
  std::uint64_t instance = 0;
  std::string_view rung;
};

struct segment_address {
  std::string_view stream;
  std::uint64_t instance = 0;
  lease_epoch epoch = 0;
  std::string_view rung;
  std::uint64_t msn = 0;
};

struct steering_address {
  viewer_key viewer;
  std::string_view stream;
};

std::string multivariant_path(std::string_view stream);
std::string path_of(const playlist_address& a);
std::string path_of(const segment_address& a);
std::string path_of(const steering_address& a);

/// Each takes exactly what the matching maker makes, without query; anything else is not_found. Views point into `path`.
expected<std::string_view> parse_multivariant_path(std::string_view path);
expected<playlist_address> parse_playlist_path(std::string_view path);
expected<segment_address> parse_segment_path(std::string_view path);
expected<steering_address> parse_steering_path(std::string_view path);

} // namespace weir::hls
