#pragma once
// What the origin tells directors of one stream: everything that its playlists are rendered from. A few kB of JSON (log_news.hpp).
#include "schemas/field.hpp"
#include "schemas/ids.hpp"
#include "schemas/media.hpp"
#include "schemas/units.hpp"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

namespace weir::hls {

/// Most rungs that one stream may have at a time, those that are leaving included (bits of a gap mask).
inline constexpr std::size_t max_rungs = 16;
/// Most key frames that a log tells of: what is further back than that many cannot be wound through by them.
inline constexpr std::size_t log_keys_limit = 8192;

/// A rung as it is listed.
struct listed_rung {
  rung_info info;
  bit_rate peak;      ///< largest rate of one segment; never below bandwidth_of() nominal
  bit_rate average;   ///< over the last hour or so; never below nominal
  bool active = true; ///< false: left the ladder or keeps failing; not in new multivariant playlists, gaps in its media playlist
  bit_rate keys_peak;  ///< largest rate of key frames alone, where each lasts until the next one; 0: none is known
  std::uint64_t keys_gone = 0; ///< number of the first entry that its I-frame playlist has for keys_from: never falls, whoever keeps the log

  static constexpr auto fields() {
    using o = listed_rung;
    return std::tuple{
      field("info", &o::info, "What the rung is."),
      field("peak", &o::peak, "Largest rate of one segment."),
      field("average", &o::average, "Rate over the last hour."),
      field("active", &o::active, "Whether new viewers are offered it."),
      field("keys_peak", &o::keys_peak, "Largest rate of key frames alone."),
      field("keys_gone", &o::keys_gone, "Number of the first I frame that is told."),
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
  std::vector<std::int64_t> keys = {}; ///< key frames, by rung and in order, four numbers each: rung, time, offset, bytes
  std::uint32_t width = 0;             ///< edges that serve it, of the stream's own order in `edges`; 0: all

  std::int64_t duration(std::size_t rung) const { return durations.size() == 1 ? durations[0] : durations[rung]; }
  bool gap(std::size_t rung) const { return ((gaps >> rung) & 1U) != 0; }

  void add_keys(std::size_t rung, const std::vector<key_frame>& more) {
    for (auto& k : more)
      keys.insert(keys.end(), {static_cast<std::int64_t>(rung), k.time, static_cast<std::int64_t>(k.offset), static_cast<std::int64_t>(k.bytes)});
  }
  /// Of a rung that is no more: those behind it are one nearer to the front from now on.
  void remove_keys(std::size_t rung) {
    std::vector<std::int64_t> others;
    for (std::size_t i = 0; i + 3 < keys.size(); i += 4)
      if (const auto its = static_cast<std::size_t>(keys[i]); its != rung)
        others.insert(others.end(), {static_cast<std::int64_t>(its > rung ? its - 1 : its), keys[i + 1], keys[i + 2], keys[i + 3]});
    keys = std::move(others);
  }
  std::vector<key_frame> keys_of(std::size_t rung) const {
    std::vector<key_frame> its;
    for (std::size_t i = 0; i + 3 < keys.size(); i += 4)
      if (static_cast<std::size_t>(keys[i]) == rung)
        its.push_back({keys[i + 1], static_cast<std::uint64_t>(keys[i + 2]), static_cast<std::uint64_t>(keys[i + 3])});
    return its;
  }
  /// How many entries I-frame playlists of that rung have for this one: where it has no key frames, a gap as long as all of it.
  std::uint64_t iframes(std::size_t rung) const {
    std::uint64_t n = 0;
    for (std::size_t i = 0; i + 3 < keys.size(); i += 4)
      n += static_cast<std::size_t>(keys[i]) == rung;
    return std::max<std::uint64_t>(n, 1);
  }

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
      field("keys", &o::keys, "Key frames, four numbers each: rung, time in it, offset and length in bytes."),
      field("width", &o::width, "How many edges serve it; 0: all."),
    };
  }
  bool operator==(const log_entry&) const = default;
};

/// One listed part (low latency), the same for every rung but for its duration. It lies on its segment's edges.
struct log_part {
  std::uint64_t msn = 0;
  std::uint32_t part = 0;
  std::vector<std::int64_t> durations; ///< 90 kHz, by rung; one value where all are equal
  std::uint32_t gaps = 0;              ///< bit i: rung i did not have it when it was listed: there it stays absent
  bool independent = false;

  std::int64_t duration(std::size_t rung) const { return durations.size() == 1 ? durations[0] : durations[rung]; }
  bool gap(std::size_t rung) const { return ((gaps >> rung) & 1U) != 0; }

  static constexpr auto fields() {
    using o = log_part;
    return std::tuple{
      field("msn", &o::msn, "Of its segment."),
      field("part", &o::part, "Number within the segment, from 0."),
      field("durations", &o::durations, "By rung, 90 kHz; one value where all are equal."),
      field("gaps", &o::gaps, "Bit i: absent in rung i."),
      field("independent", &o::independent, "Has an IDR frame."),
    };
  }
  bool operator==(const log_part&) const = default;
};

/// The segment behind the newest listed one, while parts of it are made: what players may ask for before it is there.
struct open_segment {
  std::uint64_t msn = 0;
  lease_epoch epoch = 0;    ///< of its writer; 0: there is none, and no parts are listed
  edge_epoch edges = 0;     ///< pinned: the segment's own entry gets the same
  lease_epoch map = 0;
  timestamp time{};         ///< PROGRAM-DATE-TIME, once its first part is there
  std::uint64_t hint_msn = 0; ///< the part that comes next: of this segment, or the first of the one behind it; 0: none is promised
  std::uint32_t hint_part = 0;
  edge_epoch hint_edges = 0;
  std::uint32_t width = 0, hint_width = 0; ///< pinned like `edges` and `hint_edges`

  static constexpr auto fields() {
    using o = open_segment;
    return std::tuple{
      field("msn", &o::msn, "Media sequence number that it will have."),
      field("epoch", &o::epoch, "Epoch of its writer; 0: no parts are listed."),
      field("edges", &o::edges, "Edge epoch that its entry will have."),
      field("map", &o::map, "Epoch of the writer whose maps it needs."),
      field("time", &o::time, "Wall clock of its first frame."),
      field("hint_msn", &o::hint_msn, "Segment of the part that comes next; 0: none is promised."),
      field("hint_part", &o::hint_part, "Number of the part that comes next."),
      field("hint_edges", &o::hint_edges, "Edge epoch of the part that comes next."),
      field("width", &o::width, "Width that its entry will have."),
      field("hint_width", &o::hint_width, "Width of the part that comes next."),
    };
  }
  bool operator==(const open_segment&) const = default;
};

struct stream_log {
  std::string stream;
  std::uint64_t instance = 0;
  std::uint64_t version = 0; ///< grows with each change: a reader keeps the larger one
  std::chrono::milliseconds target{};
  std::chrono::milliseconds window{};
  std::chrono::milliseconds live_window{}; ///< what live playlists list of it; 0: all. The rest is for time shift
  std::chrono::milliseconds hold_back{};
  std::vector<listed_rung> rungs;
  std::vector<log_entry> entries; ///< oldest first, MSNs without holes; empty until the stream is first listed
  std::optional<std::uint64_t> keys_from; ///< MSN of the oldest entry of which key frames are told; none: of none
  timestamp changed{};            ///< when an entry was last appended: directors answer 503 when it is too old
  bool ended = false;
  std::chrono::milliseconds part_target{}; ///< low latency: no part is longer; 0: no parts
  std::uint64_t parts_version = 0;         ///< grows with each part, whatever the version
  std::vector<log_part> parts;             ///< oldest first: of the newest entries, then of `open`
  open_segment open;

  static constexpr auto fields() {
    using o = stream_log;
    return std::tuple{
      field("stream", &o::stream, "Public name of the stream."),
      field("instance", &o::instance, "Number of this life of the stream."),
      field("version", &o::version, "Grows with each change."),
      field("target", &o::target, "Target duration."),
      field("window", &o::window, "Window."),
      field("live_window", &o::live_window, "How much of it live playlists list; 0: all."),
      field("hold_back", &o::hold_back, "Hold-back."),
      field("rungs", &o::rungs, "Rungs."),
      field("entries", &o::entries, "Listed entries, oldest first."),
      field("keys_from", &o::keys_from, "Oldest entry of which key frames are told."),
      field("changed", &o::changed, "When an entry was last appended."),
      field("ended", &o::ended, "Whether the stream is over."),
      field("part_target", &o::part_target, "No part is longer; 0: there are no parts."),
      field("parts_version", &o::parts_version, "Grows with each part."),
      field("parts", &o::parts, "Parts of the newest segments, oldest first."),
      field("open", &o::open, "The segment that is being made."),
    };
  }
  bool operator==(const stream_log&) const = default;
};

} // namespace weir::hls
