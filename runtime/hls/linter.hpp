#pragma once
// Our own playlist linter: what a validator and a real player would reject, by the rule numbers of hls.md (V.., P.., S..).
//   V1-V11  multivariant     P1-P16  media playlist, its history and its siblings     S1  address of a listed entry, or of its map, changed (8.1)
//   S2  an older version was served (8.2)     S3  a map lies on another edge than its segments     syntax  not a playlist at all
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

struct parsed_entry {
  std::uint64_t msn = 0;
  std::uint64_t dsn = 0;
  std::string uri;
  std::chrono::microseconds duration{};
  std::optional<timestamp> date;
  bool gap = false;
  bool discontinuity = false;
  std::string map; ///< address of the map in force; empty: none
};

struct parsed_media {
  std::optional<std::uint64_t> version, target_seconds, first_msn, first_dsn;
  std::optional<std::chrono::milliseconds> hold_back;
  bool independent = false;
  bool ended = false;
  std::string playlist_type;
  std::vector<parsed_entry> entries;
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
  };
  struct sibling {
    std::uint64_t dsn;
    std::chrono::microseconds duration;
    std::optional<timestamp> date;
    bool discontinuity;
  };
  void alone(const parsed_media& p, std::vector<finding>& out) const;
  void against_history(const parsed_media& p, const history& before, timestamp now, std::vector<finding>& out) const;
  void against_siblings(const parsed_media& p, std::vector<finding>& out);
  std::vector<finding> keep(std::vector<finding> found, std::string_view url);

  lint_options options_;
  std::map<std::string, history, std::less<>> history_;
  std::map<std::uint64_t, sibling> siblings_;      ///< by MSN, as the first rung had it
  std::optional<std::uint64_t> target_seconds_;
  std::optional<std::chrono::milliseconds> hold_back_;
  std::vector<finding> all_;
  std::set<std::string> seen_;
};

} // namespace weir::hls
