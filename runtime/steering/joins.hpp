#pragma once
// Admission of new viewers (balancing.md 5.1-5.3, 5.8). The load that edges report is old; what was assigned since is counted in,
// else a crowd lands on the edge that looked best a second ago.
#include "runtime/steering/concentration.hpp"
#include "runtime/steering/table.hpp"

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>

namespace weir::steering {

struct join_options {
  double epsilon = 0.1;               ///< an edge this far above its fair share takes no new viewers
  std::uint32_t draws = 4;            ///< more draws of a bucket after the first
  std::int64_t viewer_bps = 3'000'000; ///< expected mean rate of a viewer
  std::uint32_t settle_reports = 4;   ///< reports until a new viewer's traffic is fully in them
  double full = 0.9;                  ///< of an edge's capacity: closed to new viewers
  double calm_share = 0.005;          ///< of the egress of a stream's edges: newcomers of the last seconds up to that are no crowd …
  double calm_viewers = 8;            ///< … nor are that many
  double pull = 6;                    ///< the emptier of two edges is tried first in 0.5 + pull · (difference of their loads / their sum) of all cases
};

struct join {
  std::uint32_t bucket = 0;
  edge_epoch epoch = 0;          ///< joined(v): goes into the viewer's addresses
  std::uint16_t edge = 0;        ///< index into the table
  bool lowest_rungs_only = false; ///< the farm is over 95 % of its capacity: two rungs, not all (balancing.md 5.8)
  bool near = false;             ///< the edge is of the viewer's locality, which goes into its addresses, too
  std::uint32_t width = 1;       ///< fewer edges are not enough for this viewer, whatever the stream's width: goes into its addresses; 0: all
};

class join_admission {
public:
  explicit join_admission(join_options options = {}) : options_(options) {}

  /// Loads and counts of edges that stay are kept.
  void use(std::shared_ptr<const edge_table> table);
  /// An edge's own report; older sequences are ignored, a smaller one after a restart of the edge is taken when `restarted`.
  void report(const edge_name& edge, std::uint64_t sequence, std::int64_t bits_per_second, bool restarted = false);
  /// Viewers that another director sent to the edge since its last word.
  void assigned_elsewhere(const edge_name& edge, std::uint32_t viewers);
  /// A peer's counters are missing: draw by load interpretation instead of by estimates.
  void counters_lost(bool lost) { blind_ = lost; }
  /// Suspect and draining edges take no new viewers; those that are there stay.
  void close(const edge_name& edge, bool closed);
  /// For each second: who came before is a crowd no more.
  void calm_down();

  /// Draws a bucket for a new viewer, on an edge of its locality if one has room, else on one of those that serve its stream. `random` gives 64 random bits per
  /// call. Where a crowd comes upon a small stream, its viewers get more edges than the stream has, and keep them.
  /// Fails: unavailable (no edge), too_many (the farm is full).
  template <class Random>
  expected<join> admit(Random&& random, std::string_view locality = {}, stream_reach reach = {}) {
    if (auto found = near_.find(locality); found != near_.end()) {
      auto& near = found->second;
      for (std::uint32_t i = 0; i <= options_.draws; ++i) {
        auto bits = random();
        auto a = static_cast<std::uint32_t>(bits % bucket_count), b = static_cast<std::uint32_t>((bits >> 32) % bucket_count);
        auto of_a = place_of(*table_, a, locality)->primary, of_b = place_of(*table_, b, locality)->primary;
        bool other = prefers_other(of_a, of_b, bits);
        if (open(other ? of_b : of_a, near.edges))
          return take(other ? b : a, other ? of_b : of_a, near);
        if (open(other ? of_a : of_b, near.edges))
          return take(other ? a : b, other ? of_a : of_b, near);
      }
      if (auto left = roomiest(near.edges, false)) // the shares of closed edges shut those that are left, too
        if (auto bucket = bucket_of(*left, locality, random()))
          return take(*bucket, *left, near);
      if (table_->primary.empty()) // a viewer on a suspect edge is better than one that is turned away
        if (auto last = roomiest(near.edges, true))
          if (auto bucket = bucket_of(*last, locality, random()))
            return take(*bucket, *last, near);
      ++near.elsewhere; // full, closed, or nearly: spill crosses localities last, but it does (balancing.md 5.9)
    }
    WEIR_TRY(ready());
    const bool narrow = !edges_of(*table_, reach).empty();
    if (narrow)
      if (auto drawn = among_few(random, reach))
        return *drawn;
    auto take = [&](std::uint32_t bucket) {
      auto drawn = this->take(bucket, table_->primary[bucket]);
      drawn.width = narrow ? 0 : 1;
      return drawn;
    };
    if (!blind_)
      for (std::uint32_t i = 0; i <= options_.draws; ++i) {
        // Of two buckets the one whose edge has more room: with mixed bit rates the bound alone lets a crowd reach 1.13 of fair.
        auto bits = random();
        auto a = static_cast<std::uint32_t>(bits % bucket_count), b = static_cast<std::uint32_t>((bits >> 32) % bucket_count);
        auto bucket = prefers_other(table_->primary[a], table_->primary[b], bits) ? b : a;
        for (auto one : {bucket, a + b - bucket})
          if (open(table_->primary[one], all_))
            return take(one);
      }
    auto edge = blind_ ? by_interpretation(random()) : least_loaded();
    auto& own = buckets_[edge];
    return take(own[static_cast<std::size_t>(random() % own.size())]);
  }

  /// Estimated egress of an edge, bit/s.
  double estimate(std::size_t edge) const;
  /// Viewers that were sent to each edge of the table, for as long as it is in there.
  std::map<std::string, std::uint64_t> admitted() const;
  /// Viewers of each locality of the table since it is in there: sent to an edge of their own, and elsewhere.
  struct nearness {
    std::uint64_t near = 0, elsewhere = 0;
  };
  std::map<std::string, nearness> by_locality() const;

private:
  struct edge_count {
    std::uint64_t sequence = 0;
    double reported = 0;
    std::uint64_t admitted = 0;
    std::deque<std::uint32_t> in_flight{0}; ///< viewers assigned, one count per report, newest last
    bool closed = false;
  };
  /// Edges that share viewers, as indices into the table.
  struct group {
    std::vector<std::uint16_t> edges;
    double fair_sum = 0;
  };
  struct near_group {
    group edges;
    std::uint64_t near = 0, elsewhere = 0;
  };
  expected<void> ready() const;
  /// Of a group, bit/s. Capacity 0: an edge without bound is in it, and it is never full.
  struct farm {
    double used = 0, capacity = 0;
  };
  farm whole(const group& of) const;
  bool open(std::size_t edge, const group& among) const;
  bool has_room(std::size_t edge, bool even_closed = false) const; ///< it takes viewers, and its capacity is not used up
  std::optional<std::uint16_t> roomiest(const group& among, bool even_closed) const;
  /// How many viewers may come to one edge within a few seconds, wherever the others are, before that makes a difference to it.
  double unnoticed() const;
  /// On the stream's edges; where more come than a few, or these are full, on twice as many, and so on. nullopt: it takes all edges. Those who come in a crowd do not
  /// fill the few edges up to their shares: as soon as the stream is wider they would go elsewhere, and with them the balance.
  template <class Random>
  std::optional<join> among_few(Random&& random, stream_reach reach) {
    const auto come = ++crowds_[reach.stream];
    for (auto width = reach.width;; width *= 2) {
      const auto few = edges_of(*table_, {reach.stream, width});
      if (few.empty())
        return std::nullopt;
      if (come > std::max(unnoticed() * width, width == reach.width ? options_.calm_viewers : 0))
        continue;
      for (std::uint32_t i = 0; i < few_draws; ++i) {
        auto bits = random();
        auto a = static_cast<std::uint32_t>(bits % bucket_count), b = static_cast<std::uint32_t>((bits >> 32) % bucket_count);
        auto of_a = place_among(*table_, few, a).primary, of_b = place_among(*table_, few, b).primary;
        if (prefers_other(of_a, of_b, bits)) {
          std::swap(a, b);
          std::swap(of_a, of_b);
        }
        for (auto [bucket, edge] : {std::pair{a, of_a}, {b, of_b}})
          if (has_room(edge)) {
            auto drawn = take(bucket, edge);
            drawn.width = width == reach.width ? 1 : width;
            return drawn;
          }
      }
    }
  }
  /// One of the buckets that have this edge in a locality; nullopt: there is none.
  std::optional<std::uint32_t> bucket_of(std::uint16_t edge, std::string_view locality, std::uint64_t random) const;
  /// Whether of two edges that were drawn b is tried first. `random`: its highest 12 bits count.
  bool prefers_other(std::size_t a, std::size_t b, std::uint64_t random) const;
  double relative(std::size_t edge) const; ///< estimate by fair share
  std::size_t least_loaded() const;
  std::size_t by_interpretation(std::uint64_t random) const;
  join take(std::uint32_t bucket, std::uint16_t edge);
  join take(std::uint32_t bucket, std::uint16_t edge, near_group& near);

  static constexpr std::uint32_t few_draws = 2; ///< of two buckets, for each width

  join_options options_;
  std::shared_ptr<const edge_table> table_;
  std::vector<edge_count*> counts_;                 ///< by index of the table
  std::vector<std::vector<std::uint32_t>> buckets_; ///< by index of the table
  std::unordered_map<std::string, edge_count> by_name_;
  group all_;                                       ///< edges for everybody
  std::map<std::string, near_group, std::less<>> near_; ///< by locality
  std::unordered_map<std::uint64_t, double> crowds_; ///< viewers of the last seconds, by stream_seed()
  bool blind_ = false;
};

} // namespace weir::steering
