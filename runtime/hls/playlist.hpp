#pragma once
// Playlists, rendered from a stream_log: multivariant per viewer, media playlists prepared once per (stream, rung) and given
// out per viewer as pieces, so that a request allocates nothing and only the edges' base addresses differ (hls.md 2, 3, 7, 8).
#include "runtime/hls/addresses.hpp"
#include "runtime/hls/stream_log.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace weir::hls {

/// Pathway names in STREAM-INF and in steering manifests.
inline constexpr std::string_view primary_pathway = "edge";
inline constexpr std::string_view backup_pathway = "backup";

/// The multivariant playlist of one viewer: the `most_rungs` cheapest of the active rungs on both pathways, the one nearest to 2000 kbit/s first.
/// `viewer.backup` is ignored. `prefix` ("/t/TOKEN") stands in front of each address. Fails: not_found while the stream is not listed.
expected<std::string> multivariant(const stream_log& log, viewer_key viewer, std::size_t most_rungs = max_rungs, std::string_view prefix = {});

/// The answer at a steering address. `ttl` is 30 s, 10 s while an edge drains (hls.md 7); `prefer_backup` puts that pathway first; `prefix` as in multivariant().
std::string steering_manifest(const steering_address& at, std::chrono::seconds ttl, bool prefer_backup = false, std::string_view prefix = {});

/// Index of a rung by name; rungs that left the ladder are found as long as they are listed. Fails: not_found.
expected<std::size_t> rung_index(const stream_log& log, std::string_view rung);

/// One media playlist without its edges. Immutable: share it between threads.
class prepared_playlist {
public:
  /// `rung` is an index into log.rungs; log.entries must not be empty.
  prepared_playlist(const stream_log& log, std::size_t rung);

  /// The playlist of a viewer as views that follow one another: hand them to a gathered write. `base(epoch)` gives the
  /// viewer's edge in that edge epoch as "http://host:port" (steering's table_history), asked once per distinct epoch in
  /// order. `prefix` ("/t/TOKEN") stands behind each of them: the lines themselves are the same for all viewers of a bucket.
  /// A map lies on the edge of the segments behind it, and is named again where that changes: whoever can fetch a segment can fetch its map.
  /// Views live as long as this object, `prefix` and what `base` returns. `out` is cleared, its memory is used again.
  template <class Base>
  void pieces(edge_epoch joined, Base&& base, std::vector<std::string_view>& out, std::string_view prefix = {}) const {
    out.clear();
    out.push_back(std::string_view(text_).substr(0, head_));
    edge_epoch asked = 0;
    std::string_view host;
    for (auto& e : entries_) {
      auto epoch = e.edges > joined ? e.edges : joined; // hls.md 8.3
      if (out.size() == 1 || epoch != asked) {
        host = base(epoch);
        asked = epoch;
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
  std::string text(edge_epoch joined, Base&& base, std::string_view prefix = {}) const {
    std::vector<std::string_view> all;
    pieces(joined, base, all, prefix);
    std::string out;
    for (auto piece : all)
      out += piece;
    return out;
  }

  std::uint64_t last_msn() const { return last_msn_; }
  bool ended() const { return ended_; }
  timestamp changed() const { return changed_; }
  std::chrono::milliseconds target() const { return target_; }
  /// Whether a director must answer 503 rather than this: older than 1.5 TD although the stream goes on (hls.md 8.2).
  bool stale(timestamp now) const { return !ended_ && now - changed_ > target_ * 3 / 2; }
  /// Grows with the log's version: an ETag is made of it and of the edges.
  std::uint64_t version() const { return version_; }

private:
  struct entry {
    edge_epoch edges;
    std::size_t begin, size; ///< of text_: the path of a segment or a map, and all up to the next host
  };
  std::string text_;
  std::size_t head_ = 0;
  std::size_t tail_ = 0;
  std::vector<entry> entries_;
  std::uint64_t last_msn_ = 0;
  std::uint64_t version_ = 0;
  bool ended_ = false;
  timestamp changed_{};
  std::chrono::milliseconds target_{};
};

} // namespace weir::hls
