#pragma once
// Our own playlist linter: what a validator and a real player would reject, by the rule numbers of hls.md (V.., P.., S..).
//   V1-V11  multivariant     V6  I-frame playlists     V7  renditions     P1-P16  media playlist, its history and its siblings
//   S1  address or byte range of a listed entry, or address of its map, changed (8.1)
//   S2  an older version was served (8.2)     S3  a map or part lies on another edge than its segment     syntax  not a playlist at all
//   Low latency (6): L1  SERVER-CONTROL     L2  part target, and how long parts are     L3  where parts are listed, and that they make up their segment
//   L4  preload hint     L5  rendition reports     L6  independence
// The parsers take anything from outside within limits; the linter keeps a bounded history per address.
#include "schemas/error.hpp"
#include "schemas/units.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace weir::hls {

struct parsed_part {
  std::string uri;
  std::chrono::microseconds duration{};
  bool independent = false;
  bool gap = false;

  bool operator==(const parsed_part&) const = default;
};

struct parsed_report {
  std::string uri; ///< as it stands there
  std::optional<std::uint64_t> last_msn, last_part;
};

struct parsed_entry {
  std::uint64_t msn = 0;
  std::uint64_t dsn = 0;
  std::string uri;
  std::chrono::microseconds duration{};
  std::optional<timestamp> date;
  bool gap = false;
  bool discontinuity = false;
  std::string map; ///< address of the map in force; empty: none
  std::optional<std::pair<std::uint64_t, std::uint64_t>> range; ///< first byte, and how many; none: the whole of it
  std::vector<parsed_part> parts;
};

struct parsed_media {
  std::optional<std::uint64_t> version, target_seconds, first_msn, first_dsn;
  std::optional<std::chrono::milliseconds> hold_back;
  bool independent = false;
  bool ended = false;
  bool iframes = false; ///< of key frames alone
  std::string playlist_type;
  std::vector<parsed_entry> entries;

  // Low latency; where there is no part target, it is none.
  std::optional<std::chrono::microseconds> part_target, part_hold_back, skip_until;
  bool blocks = false;               ///< CAN-BLOCK-RELOAD
  std::uint64_t skipped = 0;         ///< entries that a delta playlist leaves out
  std::optional<parsed_entry> open;  ///< the segment that is being made: its parts
  std::vector<std::string> hints;    ///< of parts
  std::vector<parsed_report> reports;

  bool controlled_like(const parsed_media& o) const {
    return hold_back == o.hold_back && part_hold_back == o.part_hold_back && skip_until == o.skip_until && blocks == o.blocks;
  }
};

struct parsed_variant {
  std::map<std::string, std::string, std::less<>> attributes; ///< quotes removed
  std::string uri;
};

struct parsed_multivariant {
  std::optional<std::uint64_t> version;
  bool independent = false;
  std::map<std::string, std::string, std::less<>> steering; ///< empty: no EXT-X-CONTENT-STEERING
  std::vector<parsed_variant> variants;
  std::vector<parsed_variant> iframes; ///< EXT-X-I-FRAME-STREAM-INF
  std::vector<parsed_variant> renditions; ///< EXT-X-MEDIA; the address is empty where it has none
};

/// Fails: invalid_input with the line's number, too_large (1 MiB, 8 kB a line).
expected<parsed_media> parse_media_playlist(std::string_view text);
expected<parsed_multivariant> parse_multivariant_playlist(std::string_view text);

struct finding {
  std::string rule;
  std::string url; ///< of the playlist
  std::string text;
};

struct lint_options {
  std::chrono::milliseconds frame{100}; ///< how far dates and durations of one MSN may differ between rungs
  std::size_t variants = 1;             ///< at least so many bit rates (V4 wants 2 where the source allows)
  std::size_t pathways = 2;             ///< at least so many (V11); 0: steering is not looked at
  bool iframes = false;                 ///< what has pictures is to have I-frame playlists (V6)
};

/// Looks at every playlist of one playback address, in the order of fetching.
class linter {
public:
  explicit linter(lint_options options = {}) : options_(options) {}

  /// Each returns what is wrong with this fetch; findings() holds all (each once, the first thousand).
  std::vector<finding> multivariant(std::string_view url, std::string_view text);
  std::vector<finding> media(std::string_view url, std::string_view text, timestamp now);

  const std::vector<finding>& findings() const { return all_; }

private:
  struct history {
    parsed_media last;
    timestamp new_entry_seen{};
    timestamp fetched{};
  };
  struct sibling {
    std::uint64_t dsn;
    std::chrono::microseconds duration;
    std::optional<timestamp> date;
    bool discontinuity;
  };
  void alone(const parsed_media& p, std::vector<finding>& out) const;
  void iframes_of(const parsed_multivariant& p, bool pictures, std::vector<finding>& out) const;
  void renditions_of(const parsed_multivariant& p, std::vector<finding>& out) const;
  void alone_in_ranges(const parsed_media& p, std::vector<finding>& out) const;
  void alone_in_parts(const parsed_media& p, std::vector<finding>& out) const;
  void parts_against_history(const parsed_media& p, const parsed_media& last, std::vector<finding>& out) const;
  void reports_of_others(std::string_view url, const parsed_media& p, timestamp now, std::vector<finding>& out) const;
  void against_history(const parsed_media& p, const history& before, timestamp now, std::vector<finding>& out) const;
  void against_siblings(const parsed_media& p, std::vector<finding>& out);
  std::vector<finding> keep(std::vector<finding> found, std::string_view url);

  lint_options options_;
  std::map<std::string, history, std::less<>> history_;
  std::map<std::uint64_t, sibling> siblings_;      ///< by MSN, as the first rung had it
  std::optional<std::uint64_t> target_seconds_;
  std::optional<parsed_media> first_seen_; ///< of all rungs: what is said once for all of them, without entries
  std::vector<finding> all_;
  std::set<std::string> seen_;
};

} // namespace weir::hls
