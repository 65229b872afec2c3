#pragma once
// Playlists, rendered from a stream_log: multivariant per viewer, media playlists prepared once per (stream, rung) and given
// out per viewer as pieces, so that a request allocates nothing and only the edges' base addresses differ (hls.md 2, 3, 7, 8).
#include "runtime/hls/addresses.hpp"
#include "runtime/hls/stream_log.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace weir::hls {

/// Pathway names in STREAM-INF and in steering manifests.
inline constexpr std::string_view primary_pathway = "edge";
inline constexpr std::string_view backup_pathway = "backup";

/// The multivariant playlist of one viewer: the `most_rungs` cheapest of the active rungs on both pathways, the one nearest to 2000 kbit/s first.
/// `viewer.backup` is ignored. `prefix` ("/t/TOKEN") stands in front of each address. Fails: not_found while the stream is not listed.
expected<std::string> multivariant(const stream_log& log, viewer_key viewer, std::size_t most_rungs = max_rungs, std::string_view prefix = {});

/// The answer at a steering address. `ttl` is 30 s, 10 s while an edge drains (hls.md 7); `prefer_backup` puts that pathway first. Players ask again at
/// the same address: a RELOAD-URI without a host, which would say so, ends steering in Shaka with an exception.
std::string steering_manifest(std::chrono::seconds ttl, bool prefer_backup = false);

/// Index of a rung by name; rungs that left the ladder are found as long as they are listed. Fails: not_found.
expected<std::size_t> rung_index(const stream_log& log, std::string_view rung);

/// Whether that rung has an I-frame playlist: pictures, and key frames that are known.
bool has_iframes(const stream_log& log, std::size_t rung);

/// How far a playlist has come.
struct point {
  std::uint64_t msn = 0;
  std::int64_t part = -1; ///< -1: the whole segment
  bool operator==(const point&) const = default;
};

/// The same stream as players see it that wind back: the whole window, without parts.
stream_log for_time_shift(stream_log log);

/// One media playlist without its edges. Immutable: share it between threads.
class prepared_playlist {
public:
  /// `rung` is an index into log.rungs; log.entries must not be empty. Lists what is within live_window. `skip`: as a delta, without the entries that are further from the end than CAN-SKIP-UNTIL;
  /// whole where there are none, where the stream is over and where it is not low latency.
  prepared_playlist(const stream_log& log, std::size_t rung, bool skip = false);
  /// The same of key frames alone (trick play): byte ranges of whole segments, which has_iframes() says are known. Its numbers count key frames, and where an entry
  /// has none, that one.
  static prepared_playlist iframes(const stream_log& log, std::size_t rung);

  /// The playlist of a viewer as views that follow one another: hand them to a gathered write. `base(epoch, width)` gives the
  /// viewer's edge in that edge epoch, where so many edges serve the stream, as "http://host:port" (steering's table_history), asked once per distinct
  /// pair in order; `base(epoch)` is for who knows no widths. `width`: the viewer's own. `prefix` ("/t/TOKEN") stands behind each of them: the lines themselves are the same for all viewers of a bucket.
  /// A map lies on the edge of the segments behind it, and is named again where that changes: whoever can fetch a segment can fetch its map. Parts and the hint of
  /// the next one lie on the edge of their segment.
  /// Views live as long as this object, `prefix` and what `base` returns. `out` is cleared, its memory is used again.
  template <class Base>
  void pieces(edge_epoch joined, Base&& base, std::vector<std::string_view>& out, std::string_view prefix = {}, std::uint32_t width = 1) const {
    out.clear();
    out.push_back(std::string_view(text_).substr(0, head_));
    std::pair<edge_epoch, std::uint32_t> asked{};
    std::string_view host;
    for (auto& e : entries_) {
      const std::pair wanted{e.edges > joined ? e.edges : joined, wider(e.width, width)}; // hls.md 8.3
      if (out.size() == 1 || wanted != asked) {
        if constexpr (requires { base(edge_epoch{}, std::uint32_t{}); })
          host = base(wanted.first, wanted.second);
        else
          host = base(wanted.first);
        asked = wanted;
      }
      out.push_back(host);
      if (!prefix.empty())
        out.push_back(prefix);
      out.push_back(std::string_view(text_).substr(e.begin, e.size));
    }
    out.push_back(std::string_view(text_).substr(tail_));
  }

  /// The same as one text.
  template <class Base>
  std::string text(edge_epoch joined, Base&& base, std::string_view prefix = {}, std::uint32_t width = 1) const {
    std::vector<std::string_view> all;
    pieces(joined, base, all, prefix, width);
    std::string out;
    for (auto piece : all)
      out += piece;
    return out;
  }

  std::uint64_t last_msn() const { return last_msn_; }
  /// The newest listed part where it is of the segment behind last_msn(), else that one as a whole.
  point last_point() const { return open_parts_ > 0 ? point{last_msn_ + 1, static_cast<std::int64_t>(open_parts_) - 1} : point{last_msn_, -1}; }
  bool low_latency() const { return part_target_ > std::chrono::milliseconds(0); }
  std::chrono::milliseconds part_target() const { return part_target_; } ///< 0: it is not low latency
  /// Whether what a blocking request waits for is listed (hls.md 6): segment `msn` or a later one; with `part` that part of it or a later one. A number behind the
  /// last part of a whole segment means part 0 of the next. Of a whole segment of which no parts are listed all are there. True once the stream is over.
  bool reached(std::uint64_t msn, std::optional<std::uint32_t> part) const;
  bool ended() const { return ended_; }
  timestamp changed() const { return changed_; }
  std::chrono::milliseconds target() const { return target_; }
  /// Whether a director must answer 503 rather than this: older than 1.5 TD although the stream goes on (hls.md 8.2).
  bool stale(timestamp now) const { return !ended_ && now - changed_ > target_ * 3 / 2; }
  /// Grows with the log's version: an ETag is made of it, of parts_version() and of the edges.
  std::uint64_t version() const { return version_; }
  std::uint64_t parts_version() const { return parts_version_; } ///< 0 without parts

private:
  /// Up to what differs between a playlist of segments and one of key frames.
  prepared_playlist(const stream_log& log, const log_entry& front, std::uint64_t first_number, std::string_view kind, int version);
  void host_goes_here(edge_epoch edges, std::uint32_t width);
  /// EXT-X-MAP, if it is not the one in force.
  void name_map(const stream_log& log, std::size_t rung, lease_epoch of, edge_epoch edges, std::uint32_t width);
  void end_here(const stream_log& log);

  struct entry {
    edge_epoch edges;
    std::uint32_t width;
    std::size_t begin, size; ///< of text_: the path of a segment or a map, and all up to the next host
  };
  std::string text_;
  std::size_t head_ = 0;
  std::size_t tail_ = 0;
  std::vector<entry> entries_;
  std::tuple<lease_epoch, edge_epoch, std::uint32_t> map_{}; ///< in force, and the edges that it is named on
  std::uint64_t last_msn_ = 0;
  std::size_t last_parts_ = 0; ///< listed, of last_msn_
  std::size_t open_parts_ = 0; ///< listed, of the one behind
  std::chrono::milliseconds part_target_{};
  std::uint64_t version_ = 0, parts_version_ = 0;
  bool ended_ = false;
  timestamp changed_{};
  std::chrono::milliseconds target_{};
};

} // namespace weir::hls
