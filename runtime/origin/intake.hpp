#pragma once
// Which segments are in, on a store that takes its time: what the ORIGIN decides, without its actor, its threads and its clock.
//
// It never calls the store but at its start. What is to be done there it hands out as store_orders; how each went comes back as stored() or saved(). Meanwhile it
// goes on with everything else. A segment that is not stored when its time is up becomes a gap, and its writer hears `timeout`; a gap is never undone. Where others
// have a part in the store its writer hears `unavailable` instead, and the log alone says when its place becomes a gap: another origin may be about to take over.
//
// Parts of segments that are being made (low latency) are only passed on: they are seen at once, nobody stores them, and nobody was told that they last.
//
//   offer()  → put      stored() → entered in the stream's log → save_log      saved() → shown to viewers, and only now the writer is told that it is in
//
// So what a writer was told is stored survives kill -9, and so does what viewers have seen. One log a stream is saved at a time; what changes meanwhile goes
// with the next one.
#include "runtime/base/clock.hpp"
#include "runtime/hls/live_parts.hpp"
#include "runtime/hls/segment_log.hpp"
#include "runtime/origin/part_shelf.hpp"
#include "runtime/origin/segment_store.hpp"
#include "schemas/stream.hpp"

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace weir::origin {

struct intake_options {
  hls::log_options log;
  milliseconds window{0};         ///< 0: the profile's
  milliseconds dvr_window{0};     ///< longer than that: players may wind back so far
  milliseconds write_deadline{0}; ///< 0: the stream's target duration; at least 5 s where `shared`
  bool shared = false;            ///< other origins have a part in the store: that one of them claims it is no fault
  std::shared_ptr<part_shelf> shelf = nullptr; ///< where bytes of parts lie; without one no parts are taken
};

/// A segment as a writer brings it. `answer` is called once, by whoever called the intake: nothing when the segment is in; otherwise what refusal() says, or
/// timeout (final: its place is a gap), unavailable (try again), or why it could not be stored (final).
struct offered_segment {
  std::string stream;
  lease_epoch writer_epoch = 0;
  segment_info info;
  std::shared_ptr<const std::string> bytes;
  std::function<void(expected<void>)> answer;
};

/// What the store is asked to do next. `put` and `save_log` are answered with stored() and saved().
struct store_order {
  enum class kind : std::uint8_t { put, save_log, remove };
  kind what = kind::put;
  std::string stream;
  std::uint64_t ticket = 0;
  hls::segment_place place;                 ///< put, remove
  std::shared_ptr<const std::string> bytes; ///< put
  steady_time due{};                        ///< put
  std::string json;                         ///< save_log
};

/// What viewers of a stream may see from now on.
struct shown_news {
  std::string stream;
  std::size_t listed = 0; ///< entries at the end that are new; none where only parts are
  bool ended = false;     ///< it ended since the last news
};

inline constexpr std::size_t map_limit = 64 << 10; ///< bytes of a writer's map
/// Whether bytes from a writer are what comes before fragments: the boxes ftyp and moov, whole, and nothing else.
bool is_map(std::string_view bytes);

class intake {
public:
  /// `tickets`: the last one that was given, where another intake used the same queue before this one.
  explicit intake(intake_options options = {}, std::uint64_t tickets = 0);

  /// At start, blocking: claims the store under a term of its own, unless it is shared: then it was taken over before. Reads all logs, and sweeps what no log knows.
  /// `dir` names the place in errors.
  /// Fails: corrupt and newer_schema (naming the stream), and as the store does.
  expected<void> load(segment_store& store, std::string_view dir, timestamp wall);

  /// Fails: invalid_input, too_many (streams), fenced, unavailable.
  /// `maps`: of fragmented MP4, the map of each rung; none: MPEG-TS. They are stored before the first segment that needs them.
  /// `part`: how long its parts are at most, if it makes parts: these are of fragmented MP4.
  expected<void> announce(const std::string& stream, lease_epoch epoch, const std::string& publication, hls_profile profile, std::vector<rung_info> rungs, bool standby,
                          std::vector<std::shared_ptr<const std::string>> maps = {}, milliseconds part = {});
  void offer(offered_segment segment, steady_time now, timestamp wall);
  /// A part of a segment that its writer is making. That it is in promises nothing. Fails: not_found (its writer has to announce itself again), unsupported,
  /// invalid_input, conflict (no viewer will see it), already_exists, unavailable.
  expected<void> offer_part(const std::string& stream, lease_epoch epoch, const part_info& part, std::shared_ptr<const std::string> bytes, steady_time now, timestamp wall);
  void stored(const std::string& stream, std::uint64_t ticket, expected<void> result, steady_time now, timestamp wall);
  void saved(const std::string& stream, std::uint64_t ticket, expected<void> result, steady_time now);
  void source_lost(const std::string& stream, timestamp wall);
  void source_back(const std::string& stream);
  /// The true end of a stream; more often is fine.
  void end(const std::string& stream, steady_time now, timestamp wall);
  /// A few times a second: gaps for what is late, retention, what failed and is worth another try.
  void tick(steady_time now, timestamp wall);
  /// Answers all who wait with `unavailable` and takes nothing more.
  void close();

  /// Since the last call, in order.
  std::vector<store_order> take_orders() { return std::exchange(orders_, {}); }
  std::vector<shown_news> take_news() { return std::exchange(news_, {}); }

  /// The edge epoch in force: stamped on every entry that is listed. It never falls.
  void use_edges(edge_epoch edges) { edges_ = std::max(edges_, edges); }
  /// How many edges serve which stream: stamped likewise. While audiences are not known what a stream has holds.
  void use_widths(const width_list& widths);
  const width_list& widths() const { return widths_; }
  /// The oldest epoch that a listed entry carries; with nothing listed the one in force.
  edge_epoch oldest_named() const;

  /// Ahead of what is saved: for what people ask, never for viewers.
  const std::map<std::string, hls::segment_log>& logs() const { return logs_; }
  /// By stream, of those that were ever listed: what viewers may see.
  const std::map<std::string, hls::stream_log>& shown() const { return shown_; }
  std::size_t under_way() const; ///< segments without an answer
  std::uint64_t last_ticket() const { return tickets_; }
  bool ousted() const { return ousted_; } ///< another origin has claimed the store: this one shows and takes nothing more

  struct counters {
    std::uint64_t written = 0, bytes = 0;
    std::uint64_t fenced = 0, refused = 0; ///< by the log
    std::uint64_t full = 0;                ///< no room on the disk
    std::uint64_t late = 0;                ///< not stored in time
    std::uint64_t turned_away = 0;         ///< no room in the queue
    std::uint64_t parts = 0, parts_refused = 0;
  };
  const counters& counted() const { return counted_; }

private:
  enum class phase : std::uint8_t {
    held,     ///< has to wait for another one
    storing,  ///< the store has it
    in_log,   ///< stored; the log that knows it is being saved
    given_up, ///< answered; the store has it still
  };
  struct upload {
    offered_segment segment;
    std::vector<std::function<void(expected<void>)>> answers;
    steady_time due{};
    phase at = phase::held;
    hls::segment_place place;
    bool seam = false; ///< numbers begin anew with it, or its writer is heard for the first time
  };
  /// Maps that a writer announced: by rung.
  using writer_maps = std::vector<std::pair<std::string, std::shared_ptr<const std::string>>>;
  struct map_put {
    lease_epoch epoch = 0;
    std::uint64_t instance = 0;
    bool operator==(const map_put&) const = default;
  };
  /// A stream's work between its log and the store.
  struct line {
    std::map<std::uint64_t, upload> uploads; ///< by ticket: in the order in which they came
    std::deque<std::uint64_t> held;
    std::map<lease_epoch, std::uint64_t> offsets; ///< MSN − slot of what each writer brought last
    std::map<lease_epoch, writer_maps> maps;      ///< as announced; not saved: whoever begins anew makes writers announce themselves
    std::map<std::uint64_t, map_put> map_puts;    ///< by ticket: those that the store has
    std::deque<map_put> maps_put;                 ///< by this process: surely there
    std::optional<hls::live_parts> parts;         ///< once there are to be any
    steady_time maps_not_before{};                ///< of the next try, after a store refused one
    bool unsaved = false;                         ///< changed since the log was last handed out
    std::uint64_t saving = 0;                     ///< the ticket under which it is being saved; 0: it is not
    steady_time not_before{};                     ///< of the next try
    std::size_t listed = 0;                       ///< not handed out yet
    bool ended = false;
    std::optional<hls::stream_log> next;          ///< shown when the save under way is through
    std::size_t next_listed = 0;
    bool next_ended = false;
    std::vector<std::uint64_t> covered, uncovered; ///< uploads that are in with the save under way, with the next one
  };

  enum class readiness : std::uint8_t { now, later, never };
  readiness readiness_of(const std::string& stream, line& l, const upload& u, steady_time now, timestamp wall);
  bool bring_maps(const std::string& stream, line& l, const upload& u, const map_put& wanted, steady_time now);
  void map_stored(const std::string& stream, line& l, const map_put& put, const expected<void>& result, steady_time now);
  void begin_or_hold(const std::string& stream, line& l, std::uint64_t ticket, steady_time now, timestamp wall);
  bool may_begin(const line& l, const hls::segment_log& log, const upload& u, timestamp wall) const;
  void begin(const std::string& stream, line& l, std::uint64_t ticket, timestamp wall);
  void release(const std::string& stream, line& l, steady_time now, timestamp wall);
  void enter(const std::string& stream, line& l, std::uint64_t ticket, timestamp wall);
  steady_time due(const hls::segment_log& log, const segment_info& info, steady_time now) const;
  void give_up(const std::string& stream, line& l, std::uint64_t ticket, timestamp wall);
  void discard(const std::string& stream, const line& l, const hls::segment_place& place);
  void is_in(line& l, std::uint64_t ticket);
  void finish(line& l, std::uint64_t ticket, const expected<void>& result);
  tl::unexpected<error> refusal(hls::offer_result why, const segment_info& info);
  void note(line& l, const hls::log_change& change);
  void save(const std::string& stream, line& l, steady_time now);
  bool show_parts(const std::string& stream, line& l, steady_time now);
  void oust(const error& why);
  void turn_all_away();

  intake_options options_;
  std::map<std::string, hls::segment_log> logs_;
  std::map<std::string, line> lines_;
  std::map<std::string, hls::stream_log> shown_;
  std::vector<store_order> orders_;
  std::vector<shown_news> news_;
  std::uint64_t tickets_ = 0;
  edge_epoch edges_ = 0;
  width_list widths_;
  std::size_t held_bytes_ = 0;
  timestamp wall_{}; ///< as of the last call that said it
  bool ousted_ = false, closed_ = false;
  counters counted_;
};

class store_queue;
/// Hands the orders to the queue. `now` is on the clock that the intake was told, whichever that is. `told` hears of each put and each saved log, as store_queue says.
void carry_out(std::vector<store_order> orders, store_queue& queue, steady_time now, const std::function<void(store_order::kind, const std::string& stream, std::uint64_t ticket, expected<void>)>& told);

} // namespace weir::origin
