#pragma once
#include "actors/coordinator_watch.hpp"
#include "actors/interfaces.hpp"
#include "runtime/base/secret.hpp"
#include "runtime/hls/log_news.hpp"
#include "runtime/hls/segment_log.hpp"
#include "runtime/http/server.hpp"
#include "runtime/metrics/metrics.hpp"
#include "runtime/origin/segment_store.hpp"
#include "schemas/config.hpp"

#include <deque>
#include <map>
#include <memory>
#include <optional>

namespace weir {

struct origin_setup {
  std::shared_ptr<origin::segment_store> store;
  origin_options options;
  hls::log_options log;
  node_name node; ///< that it is on
};

struct origin_state {
  static inline const char* name = "origin";
  using time_point = caf::actor_clock::time_point;

  origin_setup setup;
  std::map<std::string, hls::segment_log> logs;
  hls::log_news news{random_uuid()}; ///< what viewers may see: saved logs only
  /// A director's feed that has all there is.
  struct waiting_reader {
    log_wish wish;
    time_point until{};
  };
  std::vector<waiting_reader> readers;
  struct stored_head {
    hls::segment_place place;
    probe_target probe; ///< without its path
  };
  std::map<std::string, std::deque<stored_head>> heads; ///< stream → what was stored last, listed or not
  edge_epoch edges = 0; ///< in force: stamped on every entry that is listed
  std::uint64_t written = 0, fenced = 0, refused = 0, full = 0;
  std::uint64_t bytes = 0;
  metrics::histogram ages{metrics::scale::media}; ///< of the first frames of segments when they were listed, in seconds
  time_point started{};
  coordinator_watch watching;
  time_point names_told{};

  /// Reads all logs and sweeps what no log knows. Fails: corrupt, naming the stream.
  expected<void> load(timestamp now);
  hls::segment_log& log_of(const std::string& stream);
  expected<void> announce(const writer_hello& hello);
  /// Stores one segment; `change` says what viewers see now.
  expected<void> take(const segment_offer& offer, timestamp now, hls::log_change& change);
  /// The oldest epoch that a listed entry carries; with nothing listed the one in force.
  edge_epoch oldest_named() const;
  /// Answers a reader, or keeps it until there is news. Fails for the reader: too_many wait, conflict when the same one asks again meanwhile.
  void take(log_wish wish, time_point now, timestamp wall);
  /// Answers whoever waits and has news, or has waited for long enough.
  void answer_readers(time_point now, timestamp wall);
  void dismiss_readers(const error& why);
  /// Its newest listed segment, in the smallest rendition that has one: for probes. Nothing when there is none.
  std::optional<segment_listed> newest_of(const hls::stream_log& shown) const;
  /// Notes how old the newest `listed` entries are, those apart that are gaps in every rung.
  void note_ages(const hls::stream_log& shown, std::size_t listed, timestamp now);
};

/// Segments behind an address: fenced writes, one segment log a stream, retention.
///
/// Parent:  the program; its end ends the node. Detached: it writes files.
/// Tells:   LOG FEEDs of directors each log that changed, by HTTP; COORDINATOR the newest listed segment, for probes, and which edge tables are still named.
/// Fails:   to start when a log cannot be read: its numbers would begin again.
/// Numbers: late rungs and gaps are decided every 250 ms; the tables in use are told every 5 s; 64 feeds wait at a time, each for 20 s at most.
/// Source:  docs/2-how-it-works/4-playlists-and-edges.md
origin_actor::behavior_type origin_keeper(origin_actor::stateful_pointer<origin_state> self, origin_setup setup, coordinator_actor coordinator);

/// PUT of writers and segments (by bearer token), GET of segments (for edges).
void add_origin_routes(http::server& server, const origin_actor& origin, std::shared_ptr<origin::segment_store> store, const std::string& token, byte_size upload_limit);
/// GET of the logs that changed (by a bearer token of its own), for directors.
void add_log_route(http::server& server, const origin_actor& origin, const std::string& read_token);

} // namespace weir
