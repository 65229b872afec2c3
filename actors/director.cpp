#include "actors/director.hpp"

#include "actors/reporting.hpp"
#include "runtime/base/log.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <set>
#include <utility>

namespace weir {

using namespace std::chrono_literals;

namespace {

constexpr auto keep_ended = 10min;
constexpr auto audience_every = 5s;
constexpr auto first_word_every = 250ms; ///< we ask the coordinator
constexpr std::size_t instance_limit = 20'000; ///< twice what an origin keeps
constexpr std::uint64_t line_limit = 8'000'000; ///< some 200 bytes each; 10,000 streams with five rungs have 2 million in a window of a minute
constexpr auto peer_silent = 3s;         ///< a second for its word, one for the coordinator's list, one of patience
constexpr auto peer_forgotten = 60s;

std::uint64_t lines_of(const hls::stream_log& log) {
  auto key_frames = std::accumulate(log.entries.begin(), log.entries.end(), std::uint64_t{}, [](auto sum, auto& e) { return sum + e.keys.size() / 4; });
  return (log.entries.size() + log.parts.size()) * log.rungs.size() + key_frames;
}

/// Of two logs of one instance the one that is newer than the other says more: of segments, or of the parts behind them.
std::pair<std::uint64_t, std::uint64_t> age_of(const hls::stream_log& log) { return {log.version, log.parts_version}; }

std::string address_of(const hls::stream_log& log) { return fmt::format("{}~{}", log.stream, log.instance); }

nlohmann::json audience_status(const audience::books& books) {
  auto all = nlohmann::json::object();
  books.each([&](const std::string& name, const audience::stream_book& book) {
    auto edges = nlohmann::json::object();
    for (auto& [edge, of] : book.by_edge)
      edges[edge] = {{"stalls", of.stalls}, {"stalled_seconds", double(of.stalled_ms) / 1000}, {"played_seconds", double(of.played_ms) / 1000}};
    auto joins = book.joins.now();
    all[name] = {{"sessions", book.sessions}, {"beacons", book.beacons}, {"joins", {{"buckets", joins.buckets}, {"sum", joins.sum}}}, {"edges", std::move(edges)}};
  });
  return all;
}

} // namespace

director_state::feed_changes director_state::take(const origin_list& list) {
  feed_changes change;
  all_origins = all_origins || list.complete;
  for (auto& place : list.origins) {
    auto [at, fresh] = feeds.try_emplace(place.url);
    const bool other = fresh || at->second.place.read_token != place.read_token;
    at->second.place = place;
    (other ? change.begin : change.again).push_back(place.url);
  }
  // A coordinator that has only just started does not know everybody yet.
  if (list.complete)
    for (auto& [url, feed] : feeds)
      if (std::ranges::find(list.origins, url, &origin_place::url) == list.origins.end())
        change.end.push_back(url);
  return change;
}

bool director_state::take(feed_news news, time_point now) {
  auto from = feeds.find(news.origin);
  if (from == feeds.end()) // it was ended meanwhile
    return false;
  bool changed = from->second.trouble != news.trouble || (news.all && !from->second.heard);
  from->second.trouble = news.trouble;
  from->second.heard = from->second.heard || news.all;
  for (auto& log : news.logs) {
    auto address = address_of(log);
    auto waiting = std::accumulate(early.begin(), early.end(), std::uint64_t{0}, [](auto sum, auto& one) { return sum + lines_of(one.second); });
    const bool one_more = !streams.contains(address) && !early.contains(address) && streams.size() + early.size() >= instance_limit;
    if (one_more || lines + waiting + lines_of(log) > line_limit) {
      ++refused_logs;
      log::error("director", "log-refused", "origin={} stream={} error={}", news.origin, log.stream, one_more ? "too many instances are here already" : "too many entries are here already");
    } else if (!knows_edges_of(log)) {
      if (auto& waits = early[address]; waits.stream.empty() || age_of(waits) < age_of(log))
        waits = std::move(log);
    } else {
      changed = take(std::move(log), now) || changed;
    }
  }
  return changed;
}

bool director_state::heard_all() const {
  return watching.answered && (all_origins || !feeds.empty()) && std::ranges::all_of(feeds, [](auto& f) { return f.second.heard; });
}

std::vector<std::pair<edge_name, std::uint32_t>> director_state::take(const std::vector<director_joins>& joins, time_point now) {
  std::vector<std::pair<edge_name, std::uint32_t>> sent;
  for (auto& word : joins) {
    if (word.director == setup.node || word.edges.size() != word.viewers.size())
      continue;
    auto [at, fresh] = peers.try_emplace(word.director);
    auto& known = at->second;
    known.heard = std::max(known.heard, now - std::chrono::milliseconds(std::clamp<std::int64_t>(word.age_ms, 0, 3'600'000)));
    if (!fresh && word.sequence == known.sequence)
      continue;
    if (word.sequence < known.sequence) // it was started anew, and counts from nothing
      known.viewers.clear();
    known.sequence = word.sequence;
    std::map<edge_name, std::uint64_t> all;
    for (std::size_t i = 0; i < word.edges.size(); ++i) {
      auto before = known.viewers.find(word.edges[i]);
      auto counted = before != known.viewers.end() && before->second <= word.viewers[i] ? before->second : 0; // else the edge was away, and is counted anew
      if (!fresh && word.viewers[i] > counted) // those that were there before we heard of it are in the edges' own reports
        sent.emplace_back(word.edges[i], static_cast<std::uint32_t>(std::min<std::uint64_t>(word.viewers[i] - counted, std::numeric_limits<std::uint32_t>::max())));
      all[word.edges[i]] = word.viewers[i];
    }
    known.viewers = std::move(all);
  }
  return sent;
}

bool director_state::misses_peer(time_point now) {
  std::erase_if(peers, [&](auto& p) { return now - p.second.heard > peer_forgotten; });
  return std::ranges::any_of(peers, [&](auto& p) { return now - p.second.heard > peer_silent; });
}

director_joins director_state::own_joins() {
  director_joins word{.director = setup.node, .sequence = ++sequence, .edges = {}, .viewers = {}};
  setup.desk->with_admission([&](auto& admission) {
    for (auto& [edge, viewers] : admission.admitted())
      if (viewers > 0) {
        word.edges.emplace_back(edge);
        word.viewers.push_back(viewers);
      }
  });
  return word;
}

bool director_state::take(hls::stream_log log, time_point now) {
  auto& known = streams[address_of(log)];
  known.taken = now;
  if (known.stream && age_of(known.stream->log) >= age_of(log))
    return false;
  auto made = std::make_shared<director_view::stream>();
  const bool same_entries = known.stream && known.stream->log.version == log.version && known.stream->log.rungs.size() == log.rungs.size();
  if (!log.entries.empty())
    for (std::size_t i = 0; i < log.rungs.size(); ++i)
      made->rungs.emplace_back(log, i, same_entries && i < known.stream->rungs.size() ? &known.stream->rungs[i] : nullptr);
  made->log = std::move(log);
  lines += lines_of(made->log) - (known.stream ? lines_of(known.stream->log) : 0);
  known.stream = std::move(made);
  return true;
}

std::optional<audience_news> director_state::audience(time_point now) {
  if (now - audience_told < audience_every)
    return std::nullopt;
  audience_told = now;
  auto& books = setup.desk->audience();
  books.forget([&](std::string_view stream) { return shows(stream); });
  audience_news word{setup.node, books.sums()};
  return word.streams.empty() ? std::nullopt : std::optional(std::move(word));
}

bool director_state::shows(std::string_view stream) const {
  auto first = streams.lower_bound(fmt::format("{}~", stream)); // no name has this sign: its instances stand together
  return first != streams.end() && first->second.stream->log.stream == stream;
}

bool director_state::forget(time_point now) {
  auto oldest = oldest_table;
  auto named_by = [&](const hls::stream_log& log) {
    if (!log.entries.empty())
      oldest = std::min(oldest, log.entries.front().edges);
  };
  for (auto& [address, one] : streams)
    named_by(one.stream->log);
  for (auto& [address, log] : early)
    named_by(log);
  auto tables_before = tables.size(), streams_before = streams.size();
  tables.forget_before(oldest);
  if (tables.size() != tables_before)
    gather_urls();
  auto followed = [&](const hls::stream_log& log) {
    return std::ranges::any_of(streams, [&](auto& other) { return other.second.stream->log.stream == log.stream && other.second.stream->log.instance > log.instance; });
  };
  std::erase_if(streams, [&](auto& one) {
    auto& log = one.second.stream->log;
    if (now - one.second.taken <= keep_ended || !(log.ended || followed(log)))
      return false;
    lines -= lines_of(log);
    return true;
  });
  return tables.size() != tables_before || streams.size() != streams_before;
}

expected<void> director_state::take(edge_table table) {
  auto before = tables.newest();
  // Thousands of tables come one after the other at our start, nearly all with the same edges: to look at all of them each time would keep viewers waiting.
  const bool others = std::ranges::any_of(table.edges, [&](auto& e) { return !edge_urls || !std::ranges::binary_search(*edge_urls, e.url); });
  WEIR_TRY(tables.add(std::move(table)));
  if (others)
    gather_urls();
  if (watching.answered && before) // earlier ones moved nobody while we were here
    moves.add(steering::moves_between(*before, *tables.newest()));
  note_drains();
  return {};
}

bool director_state::take(const edge_list& list) {
  oldest_table = list.oldest_table;
  director_view::edge_phases seen;
  std::vector<std::string> named;
  for (auto& e : list.edges) {
    seen.emplace(e.spec.name, e.phase);
    named.push_back(e.spec.url);
  }
  const bool others = std::exchange(listed, named) != named && gather_urls(), same = phases && *phases == seen;
  const bool moved = gather_localities(list);
  if (!same) {
    phases = std::make_shared<const director_view::edge_phases>(std::move(seen));
    note_drains();
  }
  return others || moved || !same;
}

bool director_state::gather_localities(const edge_list& list) {
  std::map<std::string, std::vector<std::string>> all;
  for (auto& e : list.edges) {
    if (e.spec.locality.empty())
      continue;
    auto known = near.find(e.spec.locality);
    const bool unheard = e.spec.node.value.empty(); // its coordinator was started anew, and knows it from the table only
    auto& mine = unheard && known != near.end() ? known->second : e.spec.networks;
    if (mine.empty())
      continue;
    auto& its = all[e.spec.locality];
    if (its != mine) // nearly always they are written alike on each of its edges
      its.insert(its.end(), mine.begin(), mine.end());
  }
  if (std::exchange(near, all) == all)
    return false;
  auto made = std::make_shared<steering::localities>();
  for (auto& [locality, networks] : all)
    for (std::size_t at = 0; at < networks.size(); at += steering::network_limit) {
      const auto end = std::min(at + steering::network_limit, networks.size());
      if (auto added = made->add(locality, {networks.begin() + static_cast<std::ptrdiff_t>(at), networks.begin() + static_cast<std::ptrdiff_t>(end)}); !added)
        log::error("director", "locality-refused", "locality={} error={}", locality, added.error().text);
    }
  localities = made->size() == 0 ? nullptr : std::move(made);
  return true;
}

void director_state::note_drains() {
  std::set<edge_name> draining;
  if (phases)
    for (auto& [edge, phase] : *phases)
      if (phase == edge_phase::draining)
        draining.insert(edge);
  drained_until = draining.empty() ? 0 : tables.newest_with(draining);
}

bool director_state::gather_urls() {
  auto all = tables.urls();
  all.insert(all.end(), listed.begin(), listed.end());
  std::ranges::sort(all);
  all.erase(std::unique(all.begin(), all.end()), all.end());
  if (edge_urls && *edge_urls == all)
    return false;
  edge_urls = std::make_shared<const std::vector<std::string>>(std::move(all));
  return true;
}

std::shared_ptr<const director_view> director_state::view() const {
  auto made = std::make_shared<director_view>();
  made->tables = tables;
  made->edges = phases;
  made->drained_until = drained_until;
  made->edge_urls = edge_urls;
  made->localities = localities;
  made->complete = heard_all();
  for (auto& [url, feed] : feeds)
    if (!feed.trouble.empty())
      made->unreached[feed.place.node] = fmt::format("origin {} on node {} is not reached: {}", url, feed.place.node.value, feed.trouble);
  for (auto& [address, one] : streams) {
    made->by_address[address] = one.stream;
    auto& newest = made->live[one.stream->log.stream];
    if (!newest || newest->log.instance < one.stream->log.instance)
      newest = one.stream;
  }
  std::erase_if(made->live, [](auto& s) { return s.second->log.ended; });
  return made;
}

director_actor::behavior_type director(director_actor::stateful_pointer<director_state> self, director_setup setup, coordinator_actor coordinator) {
  auto& my = self->state;
  my.setup = std::move(setup);
  my.started = self->clock().now();
  auto me = director_actor{self};
  auto now = [self] { return self->clock().now(); };

  auto show = [&my] { my.setup.desk->show(my.view()); };
  auto begin_feed = [=, &my](director_state::origin_feed& feed) {
    end_child(self, feed.actor);
    feed.actor = self->spawn<caf::linked>(log_feed, log_feed_setup{feed.place, my.setup.node.value, my.setup.client}, me);
  };
  on_end_of_child(self, [=, &my](const caf::actor_addr& who, const caf::error& why) {
    for (auto& [url, feed] : my.feeds)
      if (feed.actor && feed.actor.address() == who) {
        log::error("director", "log-feed-died", "origin={} restarts={} reason={}", url, ++feed.restarts, caf::to_string(why));
        feed.actor = nullptr;
        begin_feed(feed);
        return true;
      }
    return false;
  });

  my.watching.follow(self, coordinator, watcher_actor{me});
  tell_after(self, first_word_every, me, tick{});
  return {
    [=, &my](feed_news& news) {
      if (my.take(std::move(news), now()))
        show();
    },
    [=, &my](const tick&) {
      if (my.forget(now()))
        show();
      my.setup.desk->expire(now());
      const bool blind = my.misses_peer(now());
      my.setup.desk->with_admission([&](auto& admission) {
        admission.counters_lost(blind);
        admission.calm_down();
      });
      if (my.watching.answered)
        tell(self, coordinator, my.own_joins());
      my.watching.follow(self, coordinator, watcher_actor{me});
      if (auto word = my.audience(now()))
        tell(self, coordinator, std::move(*word));
      tell_after(self, my.watching.answered ? 1s : first_word_every, me, tick{});
    },
    [=, &my](const stop&) {
      my.setup.desk->close();
      self->quit(caf::exit_reason::user_shutdown);
    },
    [=, &my](edge_table& table) {
      my.watching.hears_table(now());
      auto epoch = table.epoch;
      if (my.tables.knows(epoch))
        return;
      if (auto added = my.take(std::move(table)); !added) {
        log::error("director", "edge-table-refused", "epoch={} error={}", epoch, added.error().text);
        return;
      }
      for (auto waiting = my.early.begin(); waiting != my.early.end();) {
        if (!my.knows_edges_of(waiting->second)) {
          ++waiting;
          continue;
        }
        my.take(std::move(waiting->second), now());
        waiting = my.early.erase(waiting);
      }
      // The desk knows the table before a viewer can be given its epoch.
      show();
      my.setup.desk->with_admission([&](auto& admission) { admission.use(my.tables.newest()); });
    },
    [=, &my](const edge_list& list) {
      bool first = my.watching.hears(now()); // the tables came before it
      if (my.take(list) || first)
        show();
      const auto elsewhere = my.take(list.joins, now());
      const bool blind = my.misses_peer(now());
      my.setup.desk->with_admission([&](auto& admission) {
        admission.counters_lost(blind);
        for (auto& [edge, viewers] : elsewhere)
          admission.assigned_elsewhere(edge, viewers);
        for (auto& e : list.edges) {
          auto& seen = my.reported[e.spec.name];
          bool restarted = e.load.sequence < seen;
          if (e.load.sequence != seen)
            admission.report(e.spec.name, e.load.sequence, e.load.bits_per_second, restarted);
          seen = e.load.sequence;
          admission.close(e.spec.name, e.phase != edge_phase::serving);
        }
      });
    },
    [=, &my](const origin_list& list) {
      auto change = my.take(list);
      for (auto& url : change.end) {
        end_child(self, my.feeds[url].actor);
        my.feeds.erase(url);
      }
      for (auto& url : change.begin)
        begin_feed(my.feeds[url]);
      for (auto& url : change.again) // it may have been started anew, and the former connection tells us nothing
        tell(self, my.feeds[url].actor, ask_logs{});
      show();
    },
    [](const stream_notice&) {}, // the origin's log says all that playlists need
    [=, &my](const ask_status&) {
      auto& c = my.setup.desk->counts();
      nlohmann::json sessions = nlohmann::json::object(), localities = nlohmann::json::object();
      my.setup.desk->with_admission([&](auto& admission) {
        sessions = admission.admitted();
        for (auto& [locality, went] : admission.by_locality())
          localities[locality] = {{"near", went.near}, {"elsewhere", went.elsewhere}};
      });
      nlohmann::json status{{"streams", my.streams.size()},
                            {"edge_epoch", my.tables.newest_epoch()},
                            {"joins", c.joins.load()},
                            {"refused_joins", c.refused_joins.load()},
                            {"playlists", c.playlists.load()},
                            {"stale", c.stale.load()},
                            {"unknown", c.unknown.load()},
                            {"barred", c.barred.load()},
                            {"reloads", {{"waiting", my.setup.desk->waiting()}, {"waited", c.waited.load()}, {"late", c.late.load()}, {"crowded", c.crowded.load()}}},
                            {"sessions", sessions},
                            {"localities", localities},
                            {"audience", audience_status(my.setup.desk->audience())},
                            {"peers", my.peers.size()},
                            {"refused_logs", my.refused_logs},
                            {"moves", {{"edge_left", my.moves.edge_left}, {"edge_joined", my.moves.edge_joined}, {"weights", my.moves.weights}}}};
      std::vector<caf::actor> children;
      std::uint64_t restarts = 0;
      for (auto& [url, feed] : my.feeds) {
        if (feed.actor)
          children.push_back(caf::actor_cast<caf::actor>(feed.actor));
        restarts += feed.restarts;
      }
      return report_of(self, "director", status, my.started, std::move(children), restarts);
    },
  };
}

} // namespace weir
