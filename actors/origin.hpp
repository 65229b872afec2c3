#pragma once
#include "actors/coordinator_watch.hpp"
#include "actors/interfaces.hpp"
#include "runtime/base/secret.hpp"
#include "runtime/hls/log_news.hpp"
#include "runtime/http/server.hpp"
#include "runtime/metrics/metrics.hpp"
#include "runtime/origin/disk_crew.hpp"
#include "runtime/origin/intake.hpp"
#include "runtime/origin/part_shelf.hpp"
#include "runtime/origin/replicated_store.hpp"
#include "runtime/origin/store_queue.hpp"
#include "runtime/viewing/viewing.hpp"
#include "schemas/config.hpp"

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <thread>

namespace weir {

struct origin_setup {
  std::shared_ptr<origin::segment_store> store;
  origin_options options;
  hls::log_options log;
  node_name node; ///< that it is on
  /// Set: `store` is this one, and other origins have a part in it. It is taken over when the coordinator says so, and only then.
  std::shared_ptr<origin::replicated_store> copies = nullptr;
  std::string instance = {}; ///< of this start: a term counts for one start only
  std::string member = {};   ///< its name among those that keep copies; the node's when empty
  std::shared_ptr<origin::part_shelf> shelf = nullptr; ///< of parts (low latency), with the routes that give them out; without one it takes none
};

struct origin_state {
  static inline const char* name = "origin";
  using time_point = caf::actor_clock::time_point;

  origin_setup setup;
  origin::intake in;
  std::unique_ptr<origin::store_queue> queue; ///< its end, with this one's, waits a few seconds for what is being written
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
  metrics::histogram ages{metrics::scale::media}; ///< of the first frames of segments when they were listed, in seconds
  time_point started{};
  coordinator_watch watching;
  time_point names_told{};
  bool ready = false;        ///< the store is claimed and its logs are read
  origin_orders orders;      ///< newest ones: who writes to a shared store
  std::map<std::string, stream_notice> notices; ///< last ones, for when it is taken over
  std::uint64_t held = 0;    ///< the term with which this origin took over last
  bool asking = false;       ///< for orders
  std::thread loading;       ///< takes a shared store over and reads its logs; its end waits for that
  time_point load_again{};
  std::string not_ready_why = "the coordinator has not said yet which origin writes";
  std::string trouble;       ///< why it could not take over

  origin_state() = default;
  ~origin_state() {
    if (loading.joinable())
      loading.join();
  }

  /// Whether this start of this origin is the one that writes.
  bool holds() const;
  origin_word word() const;
  /// False for orders of a coordinator that was there before the one that gave the present ones.
  bool take(origin_orders& fresh);
  /// What will be the head of a segment that is being stored.
  void note_head(const origin::store_order& order);
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
/// What is in and what is shown is decided by origin::intake; here is only who hears of it. The store is asked on the threads of a store_queue, so a disk that
/// hangs makes gaps and holds up neither a writer nor another stream.
/// A store that other origins have a part in (origin.store: replicated) is taken over on a thread of its own, when the coordinator says so: whoever had it is fenced
/// off and stands by from then on. While the coordinator is away whoever writes goes on, and nobody takes over.
/// Parts of segments that are still being made go past the store, over a shelf in memory: viewers see them at once.
///
/// Parent:  the program; its end ends the node. Detached: it reads all logs at its start, and waits for the last writes at its end.
/// Tells:   LOG FEEDs of directors each log that changed, by HTTP; COORDINATOR the newest listed segment, for probes, which edge tables are still named, and
///          whether it has taken over.
/// Fails:   to start when a log cannot be read: its numbers would begin again; or when its store cannot be claimed.
/// Numbers: late rungs and gaps, and what was not stored in time, are decided every 250 ms, and orders are asked for; the tables in use are told every 5 s; 64 feeds wait
///          at a time, each for 20 s at most.
/// Source:  docs/2-how-it-works/4-playlists-and-edges.md
origin_actor::behavior_type origin_keeper(origin_actor::stateful_pointer<origin_state> self, origin_setup setup, coordinator_actor coordinator);

/// Gets a segment from elsewhere without a thread that waits; the other function is called once.
using segment_fetch = std::function<void(const origin::segment_id&, std::function<void(expected<std::shared_ptr<const std::string>>)>)>;

/// PUT of writers, segments and parts (by bearer token), GET of segments (for edges; those of a signed stream behind /t/TOKEN only, as `gate` says). `store` is what is
/// on this machine's disk, if anything is; `fetch`, if there is one, gets what is not there. Parts lie on `shelf` alone; a GET of the one that comes next waits for it.
void add_origin_routes(http::server& server, const origin_actor& origin, std::shared_ptr<origin::segment_store> store, const std::string& token, const origin_options& options,
                       std::shared_ptr<const viewing::gate> gate, segment_fetch fetch = nullptr, std::shared_ptr<origin::part_shelf> shelf = nullptr);
/// GET of the logs that changed (by a bearer token of its own), for directors.
void add_log_route(http::server& server, const origin_actor& origin, const std::string& read_token);

} // namespace weir
