#pragma once
#include "actors/coordinator_watch.hpp"
#include "actors/interfaces.hpp"
#include "actors/playlist_desk.hpp"

#include <map>
#include <memory>

namespace weir {

struct director_state {
  static inline const char* name = "director";
  using time_point = caf::actor_clock::time_point;

  struct entry {
    std::shared_ptr<const director_view::stream> stream;
    time_point taken{};
  };
  std::shared_ptr<playlist_desk> desk;
  std::map<std::string, entry> streams; ///< by "name~instance"
  std::map<std::string, hls::stream_log> early; ///< logs that name an edge set which is still on its way: shown now, their addresses would change later
  steering::table_history tables;
  edge_epoch oldest_table = 0;                 ///< that the coordinator keeps
  std::shared_ptr<const director_view::edge_phases> phases; ///< of edges; null until the coordinator was heard
  edge_epoch drained_until = 0;                ///< as in the view
  std::vector<std::string> listed; ///< addresses of the edges that the coordinator knows now, dead ones included: they may come back
  std::shared_ptr<const std::vector<std::string>> edge_urls; ///< of `listed` and of all tables
  std::map<edge_name, std::uint64_t> reported; ///< sequence of the last report that admission has
  time_point started{};
  coordinator_watch watching; ///< whoever has answered has told all edge tables
  node_name node; ///< that it is on
  time_point audience_told{}; ///< to the coordinator
  steering::bucket_moves moves; ///< of viewers to another edge, by tables that came since then

  /// Takes a log unless a newer one is there; prepares its playlists.
  bool take(hls::stream_log log, time_point now);
  /// Whether any instance of it is shown.
  bool shows(std::string_view stream) const;
  /// Whether every edge set that the log names is here.
  bool knows_edges_of(const hls::stream_log& log) const { return log.entries.empty() || log.entries.back().edges <= tables.newest_epoch(); }
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
  std::shared_ptr<const director_view> view() const;
};

/// Rewrites playlists so that each viewer fetches segments from the edge that suits it: prepares them here, PLAYLIST DESK hands them out.
///
/// Parent:  the program; its end ends the node.
/// Tells:   COORDINATOR how streams are watched; otherwise its work is the view at the desk.
/// Fails:   never; an edge table that does not check out is refused and counted in the log.
/// Numbers: a new log or table is shown at once; audiences are told every 5 s; an instance that is over for 10 minutes is forgotten.
/// Source:  docs/2-how-it-works/4-playlists-and-edges.md
director_actor::behavior_type director(director_actor::stateful_pointer<director_state> self, std::shared_ptr<playlist_desk> desk, coordinator_actor coordinator,
                                       std::vector<origin_actor> origins, node_name node);

} // namespace weir
