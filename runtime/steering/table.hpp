#pragma once
// Which edge serves which viewer. Viewers are drawn into 1,024 buckets at their multivariant request; a table gives each bucket
// an edge and a backup (weighted rendezvous order, bounded with epsilon 0: balancing.md 5, 6). Tables are versions ("edge epochs")
// made by the coordinator; directors keep a history because a listed segment keeps the edge of the epoch it was listed in.
//   table.hpp  tables and their history     joins.hpp  admission of new viewers       localities.hpp  who is near to whom
//   weights.hpp  feedback, slow start       liveness.hpp  phi accrual, probes, verdicts    concentration.hpp  small streams on few edges
// Everything here is pure: no clock, no thread, no I/O.
#include "schemas/error.hpp"
#include "schemas/node.hpp"

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weir::steering {

inline constexpr std::size_t bucket_count = 1024;
/// Most edges of one table.
inline constexpr std::size_t edge_limit = 1000;
/// Most tables that are kept, some 4 kB each: one each 5 s, the fastest that weights change, for 11 of the 12 h that a playlist may list.
inline constexpr std::size_t history_limit = 8192;

/// How much a bucket wants an edge: −w / ln h(bucket, edge), h uniform in (0, 1). The largest is its first choice.
double preference(std::uint32_t bucket, std::string_view edge, std::int64_t weight_milli);

/// The table of a new epoch. Shares of buckets follow the weights to one bucket; with `previous`, only as many buckets move as the
/// shares demand, each to the edge that it prefers among those with room. Edges of weight 0 get no bucket (unless all are 0: then
/// all count equally), those for their networks only never. Where no edge is for everybody the table has no buckets.
edge_table make_table(edge_epoch epoch, std::vector<edge_target> edges, const edge_table* previous = nullptr);

/// By which of the edges for everybody a stream is served: of its own order (concentration.hpp) the first `width`.
struct stream_reach {
  std::uint64_t stream = 0; ///< stream_seed()
  std::uint32_t width = 0;  ///< 0, and as many as there are: all of them
};

/// Where the viewers of a bucket fetch, as indices into edges.
struct place {
  std::uint16_t primary = 0, backup = 0;
  bool near = false; ///< primary is an edge of their locality
};
/// Of the edges of `locality` the one that the bucket prefers; the next of them is the backup, and where there is none the edge that the bucket has
/// without a locality. For viewers of no locality, or of one without an edge in this table, what the table says, or among the edges of the stream's reach.
/// nullopt: nobody serves them. An edge that leaves moves only its own viewers, and nothing but the table is asked, so all directors agree.
std::optional<place> place_of(const edge_table& table, std::uint32_t bucket, std::string_view locality, stream_reach reach = {});

/// Refuses a table from outside that could not be steered by: sizes, indices, names, addresses. Fails: invalid_input.
expected<void> check(const edge_table& table);

/// How many of the 1,024 buckets have another edge (by name) in `b` than in `a`.
std::size_t moved_buckets(const edge_table& a, const edge_table& b);
/// The most that move for viewers of any locality, or of none.
std::size_t moved_places(const edge_table& a, const edge_table& b);
/// The same by what moved them; none where one of the two has no edges, since nobody was there or nobody has a place.
struct bucket_moves {
  std::uint64_t edge_left = 0;   ///< their former edge is not in the table any more
  std::uint64_t edge_joined = 0; ///< their new edge was not in it before
  std::uint64_t weights = 0;     ///< both are in both: shares changed
  void add(const bucket_moves& more);
};
bucket_moves moves_between(const edge_table& a, const edge_table& b);

/// Tables by epoch. Copies are cheap (they share everything): publish a copy to the threads that serve requests.
class table_history {
public:
  /// Beyond history_limit the oldest go. Fails: invalid_input from check(); conflict when another table of that epoch is known already.
  expected<void> add(edge_table table);
  /// Tables that no listed entry refers to: all before `oldest`. The newest always stays.
  void forget_before(edge_epoch oldest);

  bool empty() const { return tables_->empty(); }
  /// 0 without tables. A director must not show an entry or take a viewer whose epoch is above this: the address would change.
  edge_epoch newest_epoch() const { return empty() ? 0 : tables_->back().first; }
  std::shared_ptr<const edge_table> newest() const { return empty() ? nullptr : tables_->back().second; }
  /// Whether it is known what an entry of that epoch was listed with. A former table that is gone cannot be told by another one, which names other edges
  /// and would give an address that players know another; epoch 0, before the first edge, never had a table and never gets one.
  bool knows(edge_epoch epoch) const { return epoch == 0 || find(epoch) != nullptr; }
  /// The edge of a bucket in an epoch; nullptr for an epoch without edges or without a table.
  const edge_target* edge(edge_epoch epoch, std::uint32_t bucket, bool backup, std::string_view locality = {}, stream_reach reach = {}) const;
  /// The newest epoch whose table has one of these edges; 0: none has.
  template <class Names>
  edge_epoch newest_with(const Names& names) const {
    for (auto at = tables_->rbegin(); at != tables_->rend(); ++at)
      for (auto& e : at->second->edges)
        if (names.contains(e.name))
          return at->first;
    return 0;
  }
  /// Its base address; empty where edge() is nullptr.
  std::string_view base_url(edge_epoch epoch, std::uint32_t bucket, bool backup, std::string_view locality = {}, stream_reach reach = {}) const;
  /// The base addresses of all edges that a table here names, sorted, each once.
  std::vector<std::string> urls() const;
  std::size_t size() const { return tables_->size(); }

private:
  using list = std::vector<std::pair<edge_epoch, std::shared_ptr<const edge_table>>>; ///< oldest first
  const edge_table* find(edge_epoch epoch) const;

  std::shared_ptr<const list> tables_ = std::make_shared<const list>(); ///< never changed: replaced
};

} // namespace weir::steering
