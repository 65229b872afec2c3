#pragma once
// Which parts of a stream there are and which of them viewers see (low latency, hls.md 6). Beside its segment_log, which stays the one that makes numbers: parts
// live as long as this process, and a lost one is only that. No I/O: where the bytes lie is said, and kept elsewhere.
//
// Per PUT of a part:  locate() where its bytes belong    enter() once they are there    fill() into what is shown
// and fill() again whenever another log is shown.
#include "runtime/hls/segment_log.hpp"
#include "runtime/hls/stream_log.hpp"
#include "schemas/error.hpp"

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace weir::hls {

inline constexpr std::uint32_t parts_of_a_segment = 128; ///< most of them
inline constexpr std::size_t parts_of_a_log = 1024;      ///< most that are listed: of four target durations or so

/// Where the bytes of a part lie.
struct part_place {
  std::uint64_t instance = 0;
  lease_epoch epoch = 0;
  std::string rung;
  std::uint64_t msn = 0;
  std::uint32_t part = 0;
  auto operator<=>(const part_place&) const = default;
};

class live_parts {
public:
  /// Where a part belongs; MSNs below `undecided` are listed. Nothing: nobody will ever see it, because its segment is listed as a whole. Changes nothing.
  /// Fails: not_found (no such writer), unsupported (it makes no parts), invalid_input, conflict (another writer is in charge; its segment is listed already, or far
  /// away), already_exists.
  expected<std::optional<part_place>> locate(lease_epoch epoch, const part_info& part, const segment_log& log, std::uint64_t undecided) const;
  /// Its bytes are where locate() said.
  void enter(const part_place& place, const part_info& part);

  /// Says in `shown` which parts viewers see, and keeps them to their word from then on: nothing that is seen changes, or goes before its time. A part is seen
  /// when all active rungs have it, as the next one of the segment behind the newest one, if its writer made that one too and nothing between is missing.
  /// `log` is told what is promised of segments to come. True when something is other than it was last.
  bool fill(stream_log& shown, segment_log& log, edge_epoch edges, timestamp now);

private:
  struct arrival {
    std::int64_t duration = 0;
    bool independent = false;
    bool last = false;
  };
  using rungs_of_part = std::map<std::string, arrival>;
  struct segment {
    std::uint64_t instance = 0;
    lease_epoch epoch = 0;
    std::uint64_t slot = 0;
    part_info first; ///< any rung's: for its date
    std::vector<rungs_of_part> parts;
    std::size_t listed = 0; ///< of them; these get no further rung
    bool closed = false;    ///< its entry is listed: so is what is listed of it
  };
  std::size_t ready(const segment& s, const stream_log& shown) const;
  bool complete(const segment& s, std::size_t parts) const;
  void close(const stream_log& shown);
  void drop(const stream_log& shown);
  void open(stream_log& shown, segment_log& log, edge_epoch edges, timestamp now);
  void list(stream_log& shown) const;

  std::map<std::uint64_t, segment> segments_; ///< by MSN: those that have listed parts, and those that may come to
  std::uint64_t version_ = 0;
  std::vector<log_part> shown_parts_;
  open_segment shown_open_;
};

} // namespace weir::hls
