// No address that was ever listed changes (hls.md 8.2, A18), whatever becomes of edges, directors and the coordinator: random histories of a cluster
// whose tables, stamps and logs are made by the parts that make them.
#include "actors/director.hpp"
#include "actors/edge_set.hpp"
#include "runtime/hls/addresses.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <random>

namespace weir::testing {
namespace {

using namespace std::chrono_literals;

class cluster {
public:
  cluster(std::uint64_t seed, std::chrono::milliseconds window) : random_(seed), window_(window) {
    for (auto& d : directors_)
      restart(d);
    log_.stream = "conf";
    log_.instance = 1;
    log_.target = 6s;
    log_.window = window;
    log_.hold_back = 18s;
    hls::listed_rung rung;
    rung.info = {.name = "720p", .width = 1280, .height = 720, .fps_milli = 25'000, .codecs = "avc1.64001f,mp4a.40.2", .nominal = {3'000'000}};
    rung.peak = rung.average = {3'000'000};
    log_.rungs = {rung};
  }

  void step() {
    switch (draw(13)) {
    case 0: // an edge comes
      if (edges_.size() < 6) {
        auto name = fmt::format("e{}", ++named_);
        edges_[name] = edge_view::up;
        add(name);
      }
      break;
    case 1: // one dies, or is back
    case 2:
      if (auto* e = any_edge())
        e->second = e->second == edge_view::up ? edge_view::suspect : edge_view::up;
      break;
    case 3: // one is drained, or undrained
      if (auto* e = any_edge())
        coordinator_.drain(edge_name{e->first}, draw(2) == 0);
      break;
    case 4: // one is removed for good
      if (auto* e = any_edge(); e && draw(4) == 0) {
        coordinator_.remove(edge_name{e->first});
        edges_.erase(e->first);
      }
      break;
    case 5: loads_ = random_(); break; // weights follow
    case 6: restart(directors_[draw(directors_.size())]); break;
    case 7: // another coordinator: it has what was stored, and has not heard origins
      coordinator_ = edge_set{};
      coordinator_.restore(stored(), now_);
      for (auto& [name, view] : edges_)
        add(name);
      oldest_told_ = std::nullopt;
      break;
    case 8: // a quiet time
      for (auto n = draw(400); n > 0 && !log_.entries.empty(); --n)
        list();
      break;
    default: break;
    }
    live(std::chrono::seconds(1 + draw(12)));
    list();
    deliver();
    look();
  }

  std::size_t listed = 0; ///< addresses that viewers have seen
  std::size_t refusals = 0;
  std::size_t most_tables = 0;
  std::set<std::string, std::less<>> hosts;

private:
  struct a_director {
    std::shared_ptr<playlist_desk> desk;
    director_state state;
  };
  struct viewer {
    std::uint32_t bucket;
    edge_epoch joined;
    std::uint32_t width;
    std::array<std::map<std::uint64_t, std::string>, 2> seen{}; ///< number → address, on both pathways
  };

  std::size_t draw(std::size_t below) { return static_cast<std::size_t>(random_() % below); }
  std::map<std::string, edge_view>::value_type* any_edge() { return edges_.empty() ? nullptr : &*std::next(edges_.begin(), static_cast<std::ptrdiff_t>(draw(edges_.size()))); }
  void add(const std::string& name) {
    coordinator_.add({.name = edge_name{name}, .node = {}, .url = "http://" + name, .capacity_bps = 1'000'000'000}, now_);
  }
  std::vector<edge_table> stored() const {
    std::vector<edge_table> all;
    for (auto& [epoch, table] : store_)
      all.push_back(table);
    return all;
  }

  /// The coordinator's day: it sees edges, judges, stores, forgets.
  void live(std::chrono::milliseconds d) {
    for (auto until = now_ + d; now_ < until; now_ += 250ms) {
      std::uint64_t n = 0;
      for (auto& [name, view] : edges_) {
        edge_load load;
        load.edge = edge_name{name};
        load.bits_per_second = static_cast<std::int64_t>((loads_ >> (8 * n++ % 64)) & 0xff) * 3'000'000;
        load.up = true;
        coordinator_.take(load, now_);
        coordinator_.observe(load.edge, {.observer = node_name{"n"}, .view = view, .good = view == edge_view::up ? 9u : 0u, .milliseconds = 5, .text = {}}, now_);
      }
      auto change = coordinator_.judge(now_, oldest_told_.value_or(0));
      if (change.table)
        store_[coordinator_.table().epoch] = coordinator_.table();
      for (auto epoch : change.forgotten)
        store_.erase(epoch);
    }
    most_tables = std::max(most_tables, store_.size());
  }

  /// The origin lists another segment under the newest epoch that it has heard of, and says what its playlist names.
  void list() {
    now_ += 6s;
    if (draw(3) != 0)
      stamp_ = std::max(stamp_, coordinator_.table().epoch);
    hls::log_entry e;
    e.msn = next_msn_++;
    e.epoch = 7;
    e.edges = stamp_;
    e.time = timestamp{} + std::chrono::seconds(6 * e.msn);
    e.durations = {6 * 90'000};
    if (draw(3) == 0)
      width_ = static_cast<std::uint32_t>(draw(5));
    e.width = width_;
    log_.entries.push_back(e);
    while (log_.entries.size() > static_cast<std::size_t>(window_ / 6s))
      log_.entries.erase(log_.entries.begin());
    ++log_.version;
    if (draw(4) != 0) // it may not reach the coordinator for a while
      oldest_told_ = log_.entries.front().edges;
  }

  void restart(a_director& d) {
    d.desk = std::make_shared<playlist_desk>(30s, steering::join_options{}, "http://origin");
    d.state = director_state{};
    d.state.setup.desk = d.desk;
  }

  /// Tables, logs and lists reach each director in its own time and order; in the end it has all.
  void deliver() {
    log_.changed = std::chrono::system_clock::now();
    for (auto& d : directors_) {
      auto& my = d.state;
      auto take_log = [&] {
        if (my.knows_edges_of(log_))
          my.take(log_, now_);
        else
          my.early["conf~1"] = log_;
      };
      if (draw(2) == 0)
        take_log();
      for (auto& table : coordinator_.history()) {
        if (my.tables.knows(table.epoch))
          continue;
        auto taken = my.take(table);
        ASSERT_TRUE(taken) << taken.error().text;
        if (auto waiting = my.early.find("conf~1"); waiting != my.early.end() && my.knows_edges_of(waiting->second)) {
          my.take(waiting->second, now_);
          my.early.erase(waiting);
        }
        if (draw(3) == 0)
          my.forget(now_); // its tick comes at any time
      }
      if (draw(2) == 0)
        take_log();
      my.watching.answered = my.all_origins = true;
      my.take(edge_list{coordinator_.statuses(), coordinator_.oldest()});
      my.forget(now_);
      take_log();
      d.desk->show(my.view());
    }
  }

  std::pair<int, std::string> get(a_director& d, const viewer& v, bool backup) {
    auto path = hls::path_of(hls::playlist_address{{v.bucket, v.joined, backup, {}, false, v.width}, "conf", 1, "720p"});
    http::fast_request r;
    r.path = path;
    http::fast_answer a;
    EXPECT_TRUE(d.desk->answer_media(r, a));
    std::string text;
    for (auto piece : a.pieces())
      text += piece;
    return {a.status, text};
  }

  void look() {
    // A viewer comes to one of the directors and joins the newest epoch that this one knows.
    auto& host = directors_[draw(directors_.size())];
    viewers_.push_back({static_cast<std::uint32_t>(draw(1024)), host.state.tables.newest_epoch(), draw(3) == 0 ? static_cast<std::uint32_t>(draw(5)) : 1});
    if (viewers_.size() > 6)
      viewers_.erase(viewers_.begin() + static_cast<std::ptrdiff_t>(draw(viewers_.size())));
    for (auto& d : directors_)
      for (auto& v : viewers_)
        for (bool backup : {false, true}) {
          auto [status, text] = get(d, v, backup);
          if (status != 200) {
            ++refusals;
            continue;
          }
          auto& seen = v.seen[backup];
          auto number = log_.entries.front().msn;
          seen.erase(seen.begin(), seen.lower_bound(number)); // listed no more
          for (std::size_t at = 0, end = 0; (end = text.find('\n', at)) != std::string::npos; at = end + 1) {
            if (text[at] == '#')
              continue;
            auto address = std::string_view(text).substr(at, end - at);
            auto known = seen.find(number);
            if (known == seen.end()) {
              ASSERT_TRUE(address.starts_with("http://")) << address << ": whole and relative addresses are not mixed";
              ASSERT_TRUE(address.ends_with(fmt::format("/{}.ts", number)));
              hosts.emplace(address.substr(0, address.find("/s/")));
              seen.emplace(number, address);
              ++listed;
            } else {
              ASSERT_EQ(known->second, address) << "bucket " << v.bucket << " that joined " << v.joined;
            }
            ++number;
          }
          ASSERT_EQ(number, log_.entries.back().msn + 1);
        }
  }

  std::mt19937_64 random_;
  std::chrono::milliseconds window_;
  edge_set::time_point now_{100h};
  edge_set coordinator_;
  std::map<edge_epoch, edge_table> store_;
  std::map<std::string, edge_view> edges_;
  std::size_t named_ = 0;
  std::uint64_t loads_ = 0;
  std::optional<edge_epoch> oldest_told_; ///< by the origin to this coordinator
  edge_epoch stamp_ = 0;
  std::uint32_t width_ = 0;
  std::uint64_t next_msn_ = 0;
  hls::stream_log log_;
  std::array<a_director, 2> directors_;
  std::vector<viewer> viewers_;
};

class Addresses : public ::testing::TestWithParam<std::chrono::milliseconds> {};

TEST_P(Addresses, NeverChangeOnceTheyAreListed) {
  std::size_t most_hosts = 0;
  const std::uint64_t seeds = GetParam() > 10min ? 2 : 5; // long lists take long to compare
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    cluster c(seed, GetParam());
    for (int n = 0; n < 80 && !::testing::Test::HasFatalFailure(); ++n)
      c.step();
    ASSERT_FALSE(::testing::Test::HasFatalFailure()) << "seed " << seed;
    EXPECT_EQ(c.refusals, 0u) << "seed " << seed << ": every table that a listed entry names was there";
    EXPECT_GT(c.listed, 1000u);
    EXPECT_LT(c.most_tables, 500u) << "seed " << seed;
    most_hosts = std::max(most_hosts, c.hosts.size());
  }
  EXPECT_GE(most_hosts, 4u) << "the history has to be one in which they could have changed";
}

INSTANTIATE_TEST_SUITE_P(Windows, Addresses, ::testing::Values(60s, 10min, 1h), [](auto& of) { return fmt::format("Of{}Seconds", std::chrono::duration_cast<std::chrono::seconds>(of.param).count()); });

} // namespace
} // namespace weir::testing
