// Many streams on few edges each (balancing.md 5.7): who serves which, with the decisions of production. Viewers are looked at one by one, since where one is depends on
// its stream; otherwise as in farm.hpp.
#include "runtime/hls/addresses.hpp"
#include "runtime/steering/concentration.hpp"
#include "tests/sim/balancing/farm.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <random>

#include <fmt/format.h>

namespace weir::balancing {
namespace {

class streams {
public:
  using time_point = edge_set::time_point;

  streams(std::size_t edges, std::int64_t capacity, std::size_t count, std::uint64_t seed) : random_(seed), streams_(count) {
    for (std::size_t e = 0; e < edges; ++e) {
      edge_spec spec;
      spec.name = edge_name{fmt::format("edge-{:03}", e)};
      spec.url = fmt::format("http://{}:8080", spec.name.value);
      spec.capacity_bps = capacity;
      set_.add(spec, now_);
      edges_.push_back({spec.name, double(capacity)});
    }
    for (std::size_t s = 0; s < count; ++s) {
      streams_[s].name = fmt::format("s{}", s);
      streams_[s].seed = steering::stream_seed(streams_[s].name + "~1");
    }
    for (auto& d : directors_)
      d.admission = steering::join_admission({.viewer_bps = mean_rate});
    run(40s); // audiences count as known
    worst_ = fullest_ = 0;
  }

  void run(seconds time) {
    for (; time > 0s; time -= 1s)
      step();
  }
  /// So many viewers of a stream, within this second.
  void arrive(std::size_t stream, std::size_t viewers = 1) {
    auto& s = streams_[stream];
    for (; viewers > 0; --viewers) {
      auto& d = directors_[random_() % 2];
      auto drawn = d.admission.admit(random_, {}, {s.seed, s.listed.empty() ? 0 : s.listed.back().width});
      ASSERT_TRUE(drawn);
      s.viewers.push_back({drawn->bucket, drawn->epoch, drawn->width, double(rates[random_() % rates.size()])});
      ++s.sessions;
      ++d.joins[tables_.newest()->edges[drawn->edge].name];
    }
  }
  void leave(std::size_t stream) { streams_[stream].viewers.clear(); }
  /// Who fetches the newest entry of a stream from the origin.
  std::set<std::uint16_t> pulled(std::size_t stream) const {
    std::set<std::uint16_t> all;
    auto& s = streams_[stream];
    for (auto& v : s.viewers)
      all.insert(at(s, v, s.listed.back()));
    return all;
  }
  std::uint32_t width(std::size_t stream) const { return streams_[stream].listed.back().width; }
  std::size_t size() const { return streams_.size(); }
  double worst() const { return worst_; }
  double fullest() const { return fullest_; }
  std::size_t changed() const { return changed_; } ///< listed entries whose address became another one for somebody (A18)
  std::size_t moved() const { return moved_; }     ///< viewers whose next entry is at another edge than the one before

private:
  struct viewer {
    std::uint32_t bucket = 0;
    edge_epoch joined = 0;
    std::uint32_t width = 1;
    double bps = 0;
    std::map<std::uint64_t, std::string> seen = {}; ///< by number of the entry; of some only
  };
  struct entry {
    std::uint64_t msn = 0;
    edge_epoch edges = 0;
    std::uint32_t width = 0;
  };
  struct one {
    std::string name;
    std::uint64_t seed = 0, sessions = 0;
    std::vector<viewer> viewers;
    std::deque<entry> listed;
    std::map<std::uint16_t, std::pair<std::uint64_t, double>> by_edge; ///< viewers and what they fetch
  };
  struct machine {
    edge_name name;
    double capacity = 0, load = 0;
    std::uint64_t sequence = 0;
    edge_load last = {}; ///< reported a second ago
  };
  struct decider {
    steering::join_admission admission;
    std::map<edge_name, std::uint32_t> joins = {};
    std::map<edge_name, std::uint32_t> told = {};
  };

  steering::stream_reach reach(const one& s, const viewer& v, const entry& e) const { return {s.seed, hls::wider(e.width, v.width)}; }
  std::uint16_t at(const one& s, const viewer& v, const entry& e) const {
    auto& table = *tables_.newest(); // of the newest entry
    return steering::place_of(table, v.bucket, {}, reach(s, v, e))->primary;
  }

  std::string_view url(const one& s, const viewer& v, const entry& e) const {
    return tables_.base_url(std::max(e.edges, v.joined), v.bucket, false, {}, reach(s, v, e));
  }

  void step() {
    now_ += 1s;
    list();
    carry();
    report();
    judge();
    for (std::size_t d = 0; d < 2; ++d) {
      for (auto& [edge, viewers] : std::exchange(directors_[d].told, std::exchange(directors_[d].joins, {})))
        directors_[1 - d].admission.assigned_elsewhere(edge, viewers);
      directors_[d].admission.calm_down();
    }
  }
  void list() {
    if (tables_.empty() || now_.time_since_epoch() % 4s != 0s)
      return;
    for (auto& s : streams_) {
      const entry e{s.listed.empty() ? 1 : s.listed.back().msn + 1, tables_.newest_epoch(), widths_.width(s.name)};
      if (!s.listed.empty() && (s.listed.back().width != e.width || s.listed.back().edges != e.edges))
        for (auto& v : s.viewers)
          moved_ += url(s, v, s.listed.back()) != url(s, v, e);
      s.listed.push_back(e);
      if (s.listed.size() > 15)
        s.listed.pop_front();
      for (std::size_t n = 0; n < s.viewers.size(); n += 97) { // some of each stream, the first among them
        auto& v = s.viewers[n];
        for (auto& known : s.listed) {
          const std::string now_at{url(s, v, known)};
          const auto [seen, fresh] = v.seen.try_emplace(known.msn, now_at);
          changed_ += now_at.empty() || seen->second != now_at;
        }
        v.seen.erase(v.seen.begin(), v.seen.lower_bound(s.listed.front().msn));
      }
    }
  }
  void carry() {
    for (auto& e : edges_)
      e.load = 0;
    double sum = 0, most = 0;
    for (auto& s : streams_) {
      s.by_edge.clear();
      for (auto& v : s.viewers) {
        auto& [viewers, bps] = s.by_edge[at(s, v, s.listed.back())];
        ++viewers;
        bps += v.bps;
      }
      for (auto& [edge, seen] : s.by_edge)
        machine_of(edge).load += seen.second;
    }
    for (auto& e : edges_) {
      sum += e.load;
      most = std::max(most, e.load);
      fullest_ = std::max(fullest_, e.load / e.capacity);
    }
    if (sum > 0 && counting_)
      worst_ = std::max(worst_, most / (sum / double(edges_.size())));
  }
  machine& machine_of(std::uint16_t edge) { return *std::ranges::find(edges_, tables_.newest()->edges[edge].name, &machine::name); }
  void report() {
    for (auto& e : edges_) {
      edge_load news;
      news.edge = e.name;
      news.sequence = ++e.sequence;
      news.bits_per_second = static_cast<std::int64_t>(e.load);
      news.up = true;
      if (auto late = std::exchange(e.last, news); late.sequence > 0) {
        set_.take(late, now_);
        for (auto& d : directors_)
          d.admission.report(e.name, late.sequence, late.bits_per_second);
      }
    }
  }
  void judge() {
    for (auto& e : edges_)
      for (auto* observer : {"o1", "o2", "o3"})
        set_.observe(e.name, {.observer = node_name{observer}, .view = edge_view::up, .good = std::uint32_t(e.sequence), .milliseconds = 5, .text = ""}, now_);
    if (set_.judge(now_, 1).table) {
      ASSERT_TRUE(tables_.add(set_.table()));
      for (auto& d : directors_)
        d.admission.use(tables_.newest());
    }
    steering::stream_widths::demands seen;
    for (auto& s : streams_) {
      auto& its = seen[s.name];
      its.sessions = s.sessions;
      for (auto& [edge, fetched] : s.by_edge) {
        its.viewers += fetched.first;
        its.bits_per_second += static_cast<std::int64_t>(fetched.second);
      }
    }
    widths_.step(seen, set_.table(), now_);
  }

public:
  void begin_counting() {
    counting_ = true;
    worst_ = fullest_ = 0;
    moved_ = 0;
  }

private:
  std::mt19937_64 random_;
  time_point now_{std::chrono::hours(1)};
  std::vector<one> streams_;
  std::vector<machine> edges_;
  std::array<decider, 2> directors_;
  edge_set set_{director_options{}};
  steering::table_history tables_;
  steering::stream_widths widths_{now_, {.viewer_bps = mean_rate}};
  bool counting_ = false;
  double worst_ = 0, fullest_ = 0;
  std::size_t changed_ = 0, moved_ = 0;
};

TEST(Balancing, A19_AStreamWithFewViewersIsPulledByTwoEdges) {
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    streams farm(seed % 2 == 0 ? 30 : 10, 8 * giga, 1000, seed);
    std::size_t most = 0, twice = 0;
    for (std::size_t n = 0; n < 5; ++n) // each stream one viewer more within ten seconds
      for (std::size_t part = 0; part < 10; ++part) {
        for (std::size_t s = part; s < farm.size(); s += 10)
          farm.arrive(s);
        farm.run(1s);
        for (std::size_t s = 0; s < farm.size(); ++s)
          most = std::max(most, farm.pulled(s).size());
      }
    farm.begin_counting();
    farm.run(60s);
    for (std::size_t s = 0; s < farm.size(); ++s) {
      most = std::max(most, farm.pulled(s).size());
      twice += farm.pulled(s).size() == 2;
    }
    EXPECT_LE(most, 2U) << seed;
    EXPECT_GT(twice, farm.size() / 2) << "viewers of a stream share its edges";
    EXPECT_EQ(farm.changed(), 0U) << "A18";
    std::printf("A19 seed %d: most %zu, load max/mean %.3f\n", int(seed), most, farm.worst());
  }
}

TEST(Balancing, A2_A19_AFlashCrowdUponASmallStreamIsSpread) {
  std::size_t off = 0;
  constexpr std::uint64_t seeds = 10;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    streams farm(10, 35 * giga / 10, 400, seed);
    for (std::size_t n = 0; n < 40; ++n) {
      for (std::size_t s = n % 4; s < farm.size(); s += 4)
        farm.arrive(s);
      farm.run(1s);
    }
    farm.run(30s);
    ASSERT_EQ(farm.width(7), 2U);
    farm.begin_counting();
    for (std::size_t n = 0; n < 20; ++n) {
      farm.arrive(7, 400);
      farm.run(1s);
    }
    const auto worst = farm.worst();
    off += worst > 1.10;
    EXPECT_LT(farm.fullest(), 1.0) << seed;
    EXPECT_EQ(farm.pulled(7).size(), 10U);
    farm.run(60s);
    EXPECT_EQ(farm.changed(), 0U) << "A18, through all widths";
    EXPECT_LT(farm.fullest(), 1.0) << seed;
    std::printf("A2 upon a small stream, seed %d: worst max/mean %.3f, fullest %.2f, moved %zu of 12,000\n", int(seed), worst, farm.fullest(), farm.moved());
    farm.leave(7);
    farm.run(150s);
    EXPECT_EQ(farm.width(7), 2U) << "when the crowd is gone";
  }
  EXPECT_EQ(off, 0U) << "of " << seeds;
}

} // namespace
} // namespace weir::balancing
