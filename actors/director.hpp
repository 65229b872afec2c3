#pragma once
#include "actors/coordinator_watch.hpp"
#include "actors/interfaces.hpp"
#include "actors/log_feed.hpp"
#include "actors/playlist_desk.hpp"

#include <map>
#include <memory>
#include <optional>

namespace weir {

struct director_setup {
  node_name node; ///< that it is on
  std::shared_ptr<playlist_desk> desk;
  std::shared_ptr<http::client> client; ///< for the logs of origins
};

struct director_state {
  static inline const char* name = "director";
  using time_point = caf::actor_clock::time_point;

  struct entry {
    std::shared_ptr<const director_view::stream> stream;
    time_point taken{};
  };
  /// An origin whose logs are followed.
  struct origin_feed {
    origin_place place;
    log_feed_actor actor;
    bool heard = false;  ///< it has told all that it had
    std::string trouble = "not asked yet";
    std::uint32_t restarts = 0; ///< of the LOG FEED
  };
  /// Another director, as the coordinator tells of it.
  struct peer {
    std::uint64_t sequence = 0;
    std::map<edge_name, std::uint64_t> viewers;
    time_point heard{};
  };
  director_setup setup;
  std::map<std::string, origin_feed> feeds; ///< by address
  bool all_origins = false;          ///< the coordinator has told all that there are
  std::map<node_name, peer> peers;
  std::uint64_t sequence = 0; ///< of what the coordinator was told of our viewers
  std::uint64_t refused_logs = 0;
  std::uint64_t lines = 0; ///< of all prepared playlists: entries and parts × rungs
  std::map<std::string, entry> streams; ///< by "name~instance"
  std::map<std::string, hls::stream_log> early; ///< logs that name an edge set which is still on its way: shown now, their addresses would change later
  steering::table_history tables;
  edge_epoch oldest_table = 0;                 ///< that the coordinator keeps
  std::shared_ptr<const director_view::edge_phases> phases; ///< of edges; null until the coordinator was heard
  edge_epoch drained_until = 0;                ///< as in the view
  std::vector<std::string> listed; ///< addresses of the edges that the coordinator knows now, dead ones included: they may come back
  std::shared_ptr<const std::vector<std::string>> edge_urls; ///< of `listed` and of all tables
  std::map<edge_name, std::uint64_t> reported; ///< sequence of the last report that admission has
  /// Which edges are near to whom, as the coordinator tells of them.
  std::map<std::string, std::vector<std::string>> near; ///< networks by locality
  std::shared_ptr<const steering::localities> localities;
  time_point started{};
  coordinator_watch watching; ///< whoever has answered has told all edge tables
  time_point audience_told{}; ///< to the coordinator
  steering::bucket_moves moves; ///< of viewers to another edge, by tables that came since then

  /// Which feeds must be begun, must ask again, and are over.
  struct feed_changes {
    std::vector<std::string> begin, again, end;
  };
  feed_changes take(const origin_list& list);
  /// True when the view changes.
  bool take(feed_news news, time_point now);
  /// Whether all has been heard that there is: what is not known then is not there.
  bool heard_all() const;
  /// How many viewers the other directors sent where since their last words.
  std::vector<std::pair<edge_name, std::uint32_t>> take(const std::vector<director_joins>& joins, time_point now);
  /// Whether a director that was there a moment ago is not heard any more: what it does is not in anybody's numbers.
  bool misses_peer(time_point now);
  /// Our own word.
  director_joins own_joins();
  /// Takes a log unless a newer one is there; prepares its playlists.
  bool take(hls::stream_log log, time_point now);
  /// How streams are watched, when it is time to tell and there is something to tell.
  std::optional<audience_news> audience(time_point now);
  /// Whether any instance of it is shown.
  bool shows(std::string_view stream) const;
  /// Whether every edge set that the log names is here.
  bool knows_edges_of(const hls::stream_log& log) const {
    return log.entries.empty() || std::max({log.entries.back().edges, log.open.edges, log.open.hint_edges}) <= tables.newest_epoch();
  }
  /// Forgets instances that ended or were followed by another one long ago, and edge sets that the coordinator forgot, unless an entry here names them:
  /// right after our start we know fewer entries than viewers do, so what we know is no reason to forget.
  bool forget(time_point now);
  /// Takes a table. Fails: as table_history::add().
  expected<void> take(edge_table table);
  /// Takes what the coordinator sees of edges; true when the view changes.
  bool take(const edge_list& list);
  void note_drains();
  /// Gathers `edge_urls` anew; true when they changed.
  bool gather_urls();
  /// Takes which networks the edges are near to; true when they changed.
  bool gather_localities(const edge_list& list);
  std::shared_ptr<const director_view> view() const;
};

/// Rewrites playlists so that each viewer fetches segments from the edge that suits it: prepares them here, PLAYLIST DESK hands them out.
///
/// Parent:  the program; its end ends the node.
/// Tells:   COORDINATOR how many viewers went where and how streams are watched; its work is the view at the desk.
/// Fails:   never; an edge table or a log that does not check out is refused and named in Weir's log.
/// Numbers: a new log or table is shown at once; an instance that is over for 10 minutes is forgotten; 20,000 instances; 8 million entries of rungs; a peer is missed after 3 s, for a minute.
/// Source:  docs/2-how-it-works/4-playlists-and-edges.md
director_actor::behavior_type director(director_actor::stateful_pointer<director_state> self, director_setup setup, coordinator_actor coordinator);

} // namespace weir
