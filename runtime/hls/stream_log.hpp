#pragma once
// What the origin tells directors of one stream: everything that its playlists are rendered from. A few kB of JSON (log_news.hpp).
#include "schemas/field.hpp"
#include "schemas/ids.hpp"
#include "schemas/media.hpp"
#include "schemas/units.hpp"

#include <string>
#include <vector>

namespace weir::hls {

/// Most rungs that one stream may have at a time, those that are leaving included (bits of a gap mask).
inline constexpr std::size_t max_rungs = 16;

/// A rung as it is listed.
struct listed_rung {
  rung_info info;
  bit_rate peak;      ///< largest rate of one segment; never below nominal
  bit_rate average;   ///< over the last hour or so; never below nominal
  bool active = true; ///< false: left the ladder or keeps failing; not in new multivariant playlists, gaps in its media playlist

  static constexpr auto fields() {
    using o = listed_rung;
    return std::tuple{
      field("info", &o::info, "What the rung is."),
      field("peak", &o::peak, "Largest rate of one segment."),
      field("average", &o::average, "Rate over the last hour."),
      field("active", &o::active, "Whether new viewers are offered it."),
    };
  }
  bool operator==(const listed_rung&) const = default;
};

/// One listed media sequence number, the same for every rung but for duration and gap. Never changes once it is listed.
struct log_entry {
  std::uint64_t msn = 0;
  std::uint64_t dsn = 0;
  lease_epoch epoch = 0;               ///< of the writer; part of the segment's path
  edge_epoch edges = 0;                ///< in force when it was listed: the stamp of hls.md 8.3
  timestamp time{};                    ///< PROGRAM-DATE-TIME, whole milliseconds
  std::vector<std::int64_t> durations; ///< 90 kHz, by rung; one value where all are equal
  std::uint32_t gaps = 0;              ///< bit i: absent in rung i
  bool discontinuity = false;          ///< EXT-X-DISCONTINUITY stands before it
  lease_epoch map = 0;                 ///< whose maps its segments need, part of their path; 0: they are MPEG-TS and need none

  std::int64_t duration(std::size_t rung) const { return durations.size() == 1 ? durations[0] : durations[rung]; }
  bool gap(std::size_t rung) const { return ((gaps >> rung) & 1U) != 0; }

  static constexpr auto fields() {
    using o = log_entry;
    return std::tuple{
      field("msn", &o::msn, "Media sequence number."),
      field("dsn", &o::dsn, "Discontinuity sequence number."),
      field("epoch", &o::epoch, "Epoch of the writer."),
      field("edges", &o::edges, "Edge epoch when it was listed."),
      field("time", &o::time, "Wall clock of the first frame."),
      field("durations", &o::durations, "By rung, 90 kHz; one value where all are equal."),
      field("gaps", &o::gaps, "Bit i: absent in rung i."),
      field("discontinuity", &o::discontinuity, "A discontinuity stands before it."),
      field("map", &o::map, "Epoch of the writer whose maps its segments need; 0 for MPEG-TS."),
    };
  }
  bool operator==(const log_entry&) const = default;
};

struct stream_log {
  std::string stream;
  std::uint64_t instance = 0;
  std::uint64_t version = 0; ///< grows with each change: a reader keeps the larger one
  std::chrono::milliseconds target{};
  std::chrono::milliseconds window{};
  std::chrono::milliseconds hold_back{};
  std::vector<listed_rung> rungs;
  std::vector<log_entry> entries; ///< oldest first, MSNs without holes; empty until the stream is first listed
  timestamp changed{};            ///< when an entry was last appended: directors answer 503 when it is too old
  bool ended = false;

  static constexpr auto fields() {
    using o = stream_log;
    return std::tuple{
      field("stream", &o::stream, "Public name of the stream."),
      field("instance", &o::instance, "Number of this life of the stream."),
      field("version", &o::version, "Grows with each change."),
      field("target", &o::target, "Target duration."),
      field("window", &o::window, "Window."),
      field("hold_back", &o::hold_back, "Hold-back."),
      field("rungs", &o::rungs, "Rungs."),
      field("entries", &o::entries, "Listed entries, oldest first."),
      field("changed", &o::changed, "When an entry was last appended."),
      field("ended", &o::ended, "Whether the stream is over."),
    };
  }
  bool operator==(const stream_log&) const = default;
};

} // namespace weir::hls
