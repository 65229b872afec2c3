#pragma once
// The one place where a stream's numbers are made: which segments exist, which of them are listed, under which MSN, DSN and
// date. One segment_log per stream at the origin; everything else (playlists, directors) is drawn from its snapshot.
// Rules: hls.md 3-5, cluster.md 5 and 10, media.md 9. It takes `now`, answers what changed, and does no I/O.
//
// How the origin uses it, per PUT of a segment:
//   1. locate()  says where the segment belongs, or why it is refused       3. offer()  enters it; entries may become listed
//   2. the bytes go to the segment_store                                    4. to_json() is saved, snapshot() is published
// If 2 fails, lost() makes a gap at once. tick() runs a few times a second. Where segments need maps, lacks_maps() says before 2 whether these have to be stored,
// and maps_stored() that they are.
#include "runtime/hls/addresses.hpp"
#include "runtime/hls/stream_log.hpp"
#include "schemas/error.hpp"

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::hls {

inline constexpr std::chrono::milliseconds shortest_part_target{20}; ///< not of each part

struct log_options {
  std::chrono::milliseconds grace = std::chrono::seconds(30);   ///< source away for longer: the stream has ended
  std::chrono::milliseconds give_up = std::chrono::minutes(10); ///< no segment for so long although the source is there: ended too
  std::chrono::milliseconds keep = std::chrono::minutes(10);    ///< an ended stream stays playable for so long
  std::chrono::milliseconds live_window{0};                     ///< how much of the window is for live playlists; 0: all
};

/// Where one stored segment or map lies.
struct segment_place {
  std::uint64_t instance = 0;
  lease_epoch epoch = 0;
  std::string rung;
  std::uint64_t msn = 0; ///< 0 of a map
  segment_kind kind = segment_kind::ts;
  bool operator==(const segment_place&) const = default;
};

enum class offer_result : std::uint8_t {
  accepted,
  duplicate,      ///< the same segment is there already: success for a writer that tries again
  fenced,         ///< a newer writer has taken over: the writer must exit
  unknown_writer, ///< no begin_writer() for this epoch
  unknown_rung,
  malformed,      ///< a number that cannot be
  too_late,       ///< its entry is listed as a gap
  too_far,        ///< its slot does not follow from the last one
  too_long,       ///< longer than TD + 0.5 s: the rule P2; becomes a gap
  uneven,         ///< its duration is not that of the other rungs; becomes a gap
  ended,          ///< the stream has ended; only a new writer begins anew
};
constexpr auto enum_names(offer_result) {
  using sv = std::string_view;
  return std::array{std::pair{offer_result::accepted, sv("accepted")},         std::pair{offer_result::duplicate, sv("duplicate")},
                    std::pair{offer_result::fenced, sv("fenced")},             std::pair{offer_result::unknown_writer, sv("unknown_writer")},
                    std::pair{offer_result::unknown_rung, sv("unknown_rung")}, std::pair{offer_result::malformed, sv("malformed")},
                    std::pair{offer_result::too_late, sv("too_late")},         std::pair{offer_result::too_far, sv("too_far")},
                    std::pair{offer_result::too_long, sv("too_long")},         std::pair{offer_result::uneven, sv("uneven")},
                    std::pair{offer_result::ended, sv("ended")}};
}

/// Whether these can be key frames of a segment of that duration and size: in order, from the first frame on, none within another one or outside.
bool is_row_of_keys(const std::vector<key_frame>& keys, std::int64_t duration, std::uint64_t bytes);
/// Whether what an entry tells of key frames can be, in a log with that many rungs. Its gaps and durations are judged already.
bool are_keys_of(const log_entry& e, std::size_t rungs);

/// The answer to a writer whose segment was not entered: fenced → fenced, malformed and the like → invalid_input, too late → conflict …
error refusal(offer_result why, std::string_view rung, std::uint64_t slot);

/// What a call changed.
struct log_change {
  std::size_t listed = 0; ///< entries that viewers can see now and could not before
  bool changed = false;   ///< the state must be saved
  bool ended = false;     ///< this call ended the stream
};

class segment_log {
public:
  /// `stream` must be an address word (addresses.hpp).
  segment_log(std::string stream, log_options options = {});

  /// Announces a writer. It takes over with its first accepted segment; until then an older one may go on (drain hands over
  /// without a hole). The same epoch again with the same publication renews its rungs. Fails: fenced, invalid_input.
  /// Another target duration than the running instance's ends that instance at the take-over, because TD may never change (P1); so does another part target.
  /// What a `standby` brings is kept aside for as long as the writer in charge brings the same slots; when one is missing, the standby's takes its place,
  /// without a discontinuity where both make the same rungs, and the standby is in charge from then on.
  /// `maps` is a digest of the maps of all its rungs; empty: its segments are MPEG-TS. A writer whose maps are those in force goes on with these; they never change
  /// within an epoch. From one container to the other begins a new instance, because nothing ends the reach of a map but another one.
  expected<void> begin_writer(lease_epoch epoch, std::string_view publication, std::vector<rung_info> rungs, hls_timing timing, bool standby = false, std::string_view maps = {});

  /// How long parts of that writer are at most; 0: it makes none. None: it is unknown.
  std::optional<std::chrono::milliseconds> part_target_of(lease_epoch epoch) const;

  /// Whose maps serve this writer's segments under that instance; 0: it is unknown, or makes MPEG-TS.
  lease_epoch maps_of(lease_epoch epoch, std::uint64_t instance) const;
  /// Whether maps of this writer have to lie in the store, under that instance, before one of its segments is offered there.
  bool lacks_maps(lease_epoch epoch, std::uint64_t instance) const;
  /// They do now, one for each rung that the writer announced.
  void maps_stored(lease_epoch epoch, std::uint64_t instance);
  /// All maps that must lie in the store: those of what is listed, and those of writers that may still come.
  std::vector<segment_place> maps() const;

  /// Where offer() would put the segment; changes nothing.
  tl::expected<segment_place, offer_result> locate(lease_epoch epoch, const segment_info& segment, timestamp now) const;
  /// Enters a segment whose bytes are stored at locate()'s place. `edges` is the edge epoch in force.
  offer_result offer(lease_epoch epoch, const segment_info& segment, edge_epoch edges, timestamp now, log_change* change = nullptr);
  /// The segment could not be stored: its place becomes a gap without waiting for it.
  void lost(lease_epoch epoch, const segment_info& segment, edge_epoch edges, timestamp now, log_change* change = nullptr);

  /// The publication is gone; gap entries keep the clock for `grace`, then the stream ends by itself.
  /// Repeated calls do not prolong it. A new writer's first segment ends this state, as does source_back().
  void source_lost(timestamp now);
  void source_back();
  /// The true end: lists what is complete, then ENDLIST. A later writer begins a new instance.
  log_change end(edge_epoch edges, timestamp now);
  /// Decides late rungs, appends gap entries, shortens the window, ends after the grace.
  log_change tick(edge_epoch edges, timestamp now);
  /// Somebody else kept this log until now: the time in which nobody did counts against no slot, so that writers can bring again what is not in. Whoever goes on
  /// with a log calls it once, before the first tick().
  void resumed(timestamp now);

  /// Segments that nobody may ask for any more (P10), and maps that no segment needs that is kept (as P17 says of keys); each is named once.
  /// The caller deletes them.
  std::vector<segment_place> take_expired(timestamp now);
  /// Whether a stored segment is listed, waiting to be, or within P10; after a restart the rest is leftovers.
  bool knows(const segment_place& place) const;

  /// How many edges serve what is listed from now on; 0: all.
  void use_width(std::uint32_t width) { width_ = width; }

  /// Empty entries until the stream is first listed.
  stream_log snapshot() const;

  /// The number of what the writer in charge makes in that slot, as things are. None for any other writer, and for what is far from the end.
  std::optional<std::uint64_t> msn_of(lease_epoch epoch, std::uint64_t slot) const;
  /// What viewers who see parts of a segment may rely on.
  struct promise {
    edge_epoch edges = 0;
    timestamp time{};    ///< with `first` only
    lease_epoch map = 0;
    std::uint32_t width = 0;
  };
  /// Promises that the entry of this number will have these edges, this width and, if it is of this writer and no seam, this date: that of a segment with such a `first` part.
  /// The first promise holds. Of what is an entry already: as it is. None when that one is of another writer or a seam, when another one is in charge, behind a gap
  /// in any of `rungs` (bits), and while nothing is listed. Promises are not saved.
  std::optional<promise> pin(std::uint64_t msn, lease_epoch whose, edge_epoch edges, std::uint32_t rungs, const part_info* first, timestamp now);

  const std::string& stream() const { return stream_; }
  std::uint64_t instance() const { return instance_; }
  bool ended() const { return ended_; }
  std::uint64_t fenced_count() const { return fenced_; }
  std::uint64_t refused_count() const { return refused_; }
  std::uint64_t next_msn() const { return next_msn_; }
  std::chrono::milliseconds target() const { return timing_.target; } ///< 0 before the first segment
  lease_epoch epoch() const { return writer_epoch_; } ///< of the writer that is in charge; 0 before the first
  /// The oldest edge epoch that a listed entry carries: stamps never fall. None while nothing is listed.
  std::optional<edge_epoch> oldest_edges() const { return open_ && !entries_.empty() ? std::optional(entries_.front().edges) : std::nullopt; }
  std::uint64_t standby_used() const { return standby_used_; } ///< times that a standby took over

  /// The whole state, versioned; written atomically by the origin after each change.
  std::string to_json() const;
  /// Fails: corrupt (anything that to_json() would not write), newer_schema, too_large.
  static expected<segment_log> from_json(std::string_view text, log_options options = {});

private:
  struct writer {
    std::string publication;
    std::vector<rung_info> rungs;
    hls_timing timing{};
    bool standby = false;
    std::string maps = {}; ///< digest; empty: MPEG-TS
  };
  /// The maps of one writer, as they lie in the store.
  struct map_set {
    std::uint64_t instance = 0;
    lease_epoch epoch = 0;
    std::string digest;
    std::vector<std::string> rungs;
  };
  struct rung_state {
    rung_info info;
    bool active = true;          ///< in the ladder of the current writer
    bool failing = false;        ///< late three times in a row; nobody waits for it
    std::uint32_t late = 0;      ///< in a row
    std::uint32_t good = 0;      ///< in a row, while failing
    timestamp left{};            ///< when it left the ladder
    std::int64_t peak = 0;       ///< bit/s
    std::int64_t bits = 0;       ///< of `ticks`; both are halved each hour
    std::int64_t ticks = 0;
    std::int64_t keys_peak = 0;  ///< bit/s
    std::vector<std::pair<std::int64_t, std::int64_t>> newest_keys = {}; ///< of the last 1.5 target durations: ticks until the next one, bits; not kept over restarts
    std::uint64_t keys_gone = 0; ///< as of a listed_rung
  };
  struct arrival {
    std::int64_t first_pts = 0;
    std::int64_t duration = 0;
    std::uint64_t bytes = 0;
    std::vector<key_frame> keys = {};
  };
  /// A slot that has segments and is not decided yet.
  struct waiting {
    std::map<std::size_t, arrival> rungs;
    std::uint32_t failed = 0; ///< bit i: will not come
    timestamp first_seen{};
    timestamp captured{};
    std::int64_t first_pts = 0;
    bool discontinuity = false;
    timestamp whole{}; ///< of a standby's: all rungs were there
  };
  struct expiring {
    segment_place place;
    timestamp due{};
  };
  enum class seam : std::uint8_t { none, same_offset, new_offset, new_instance, aside };
  struct plan {
    seam kind = seam::none;
    std::size_t rung = 0;
    std::uint64_t instance = 0;
    std::uint64_t msn = 0;
  };

  tl::expected<plan, offer_result> plan_of(lease_epoch epoch, const segment_info& segment, timestamp now) const;
  tl::expected<plan, offer_result> plan_in_run(std::size_t rung, const segment_info& segment, timestamp now) const;
  bool on_our_clock(const segment_info& segment) const;
  bool stands_by(const writer& w) const;
  bool moves_sound(const writer& w) const;
  void enter(waiting& slot, std::size_t rung, const segment_info& segment, timestamp now) const;
  /// Notes how far a standby is, also by what is listed already.
  void hear_standby(lease_epoch epoch, std::size_t rung, const segment_info& segment, timestamp now);
  bool standby_follows(std::uint64_t slot, timestamp now) const;
  bool cut_short(const waiting& w) const;
  bool partial(std::int64_t duration) const;
  bool begins_within(const waiting& w) const;
  bool full(std::size_t rung, std::int64_t duration) const;
  bool shorter(const waiting& one, const waiting& other) const;
  void put_aside(lease_epoch epoch, std::size_t rung, const segment_info& segment, timestamp now);
  void drop_aside(std::uint64_t below, timestamp now);
  void use_standby(timestamp now);
  void take_over(const plan& how, lease_epoch epoch, std::uint64_t slot, timestamp now);
  void adopt_rungs(const writer& w, timestamp now);
  void remove_rung(std::size_t index, timestamp now);
  void mark_failed(lease_epoch epoch, const segment_info& segment, timestamp now);
  void decide(timestamp now, bool flush);
  bool overdue(const waiting& w, timestamp now) const;
  bool complete(const waiting& w) const;
  void fill_up_to(std::uint64_t slot, timestamp now);
  void append(std::uint64_t slot, const waiting& w, timestamp now);
  void append_gap(std::int64_t duration, timestamp now);
  void push(log_entry entry, timestamp now);
  struct dated {
    timestamp time{};
    std::int64_t clock = 0; ///< as clock_, with it
  };
  dated date(std::int64_t first_pts, timestamp captured, bool seam) const;
  timestamp date_of(const waiting& w, bool seam);
  void judge(rung_state& r, bool came) const;
  void measure(rung_state& r, const arrival& a) const;
  void measure_key(rung_state& r, std::int64_t lasts, std::int64_t bits) const;
  void forget_keys(log_entry& oldest);
  std::uint64_t keys_gone_of_newcomer() const;
  void open_when_ready();
  void shorten(timestamp now);
  void expire(const log_entry& entry, std::chrono::milliseconds keep, timestamp now);
  lease_epoch map_of(const writer& w, lease_epoch epoch, std::uint64_t instance) const;
  const map_set* stored_maps(lease_epoch epoch, std::uint64_t instance) const;
  bool ahead(const map_set& maps) const;
  void drop_maps(std::chrono::milliseconds keep, timestamp now);
  void expire(const map_set& maps, std::chrono::milliseconds keep, timestamp now);
  segment_kind kind() const { return map_ != 0 ? segment_kind::fmp4 : segment_kind::ts; }
  void finish(timestamp now);
  void reset_instance(timestamp now);
  const log_entry* find(std::uint64_t msn) const;
  std::uint64_t msn_after_waiting() const;
  std::int64_t target_ticks() const;
  bool silent(timestamp now) const;
  std::uint32_t all_rungs() const { return static_cast<std::uint32_t>((std::uint64_t{1} << rungs_.size()) - 1); }
  std::chrono::milliseconds length() const;
  log_change since(std::uint64_t version, std::uint64_t first_new, bool was_open, bool was_ended) const;

  std::string stream_;
  log_options options_;
  // What lasts over instances.
  std::uint64_t instance_ = 1;
  std::uint64_t version_ = 0;
  std::uint64_t next_msn_ = 0;
  std::uint64_t dsn_ = 0;
  lease_epoch writer_epoch_ = 0;
  std::string publication_;
  std::map<lease_epoch, writer> announced_; ///< writers that may still take over, and the one in charge
  timestamp last_end_{};                    ///< where the last entry ends: dates never step back behind it
  // This instance.
  bool begun_ = false;  ///< has a first accepted segment
  bool open_ = false;   ///< visible to viewers
  bool ended_ = false;
  hls_timing timing_{};
  std::vector<rung_state> rungs_;
  std::vector<log_entry> entries_;
  std::optional<std::uint64_t> keys_from_; ///< as of a stream_log
  lease_epoch map_ = 0; ///< whose maps are in force; 0: MPEG-TS
  std::vector<map_set> maps_; ///< all that lie in the store and are not expiring
  // The current time line: MSN = slot + offset_ (modulo 2^64).
  std::uint64_t offset_ = 0;
  std::uint64_t next_slot_ = 0;      ///< slots below are decided by what their writer sent; above, only the clock made gaps
  bool seam_pending_ = false;        ///< the next entry with content carries a discontinuity
  bool clock_known_ = false;         ///< clock_ belongs to this time line
  std::int64_t clock_ = 0;           ///< wall clock − PTS, microseconds
  std::map<std::uint64_t, waiting> waiting_; ///< by slot
  // Not saved: a promise of parts ends with whoever showed them.
  struct pinned {
    edge_epoch edges = 0;
    std::uint32_t width = 0;
    lease_epoch writer = 0; ///< whose date it is; 0: there is none
    timestamp time{};
  };
  std::map<std::uint64_t, pinned> pins_; ///< by MSN
  // Not saved: after a restart the standby announces itself again.
  std::map<std::uint64_t, waiting> aside_;   ///< by slot: what the standby has brought and nobody needed yet
  lease_epoch standby_epoch_ = 0;
  std::uint64_t standby_slot_ = 0;           ///< newest that it brought whole
  std::pair<std::uint64_t, std::uint32_t> standby_rungs_; ///< of its newest slot: which have come, bit i
  timestamp standby_at_{};                   ///< when it last brought anything
  std::uint64_t standby_used_ = 0;
  edge_epoch edges_ = 0;
  std::uint32_t width_ = 0;
  timestamp last_listed_{};          ///< when an entry was last appended
  timestamp last_content_{};         ///< when a segment was last accepted
  timestamp lost_since_{};           ///< epoch start: the source is there
  timestamp ended_at_{};
  std::chrono::milliseconds longest_{}; ///< longest playlist so far
  std::deque<expiring> expiring_;
  std::uint64_t fenced_ = 0;
  std::uint64_t refused_ = 0;
};

} // namespace weir::hls
