#include "actors/director.hpp"

#include "actors/reporting.hpp"
#include "runtime/base/log.hpp"

#include <algorithm>
#include <set>
#include <utility>

namespace weir {

using namespace std::chrono_literals;

namespace {

constexpr auto keep_ended = 10min;
constexpr auto audience_every = 5s;
constexpr auto first_word_every = 250ms; ///< we ask the coordinator

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

bool director_state::take(hls::stream_log log, time_point now) {
  auto& known = streams[address_of(log)];
  known.taken = now;
  if (known.stream && known.stream->log.version >= log.version)
    return false;
  auto made = std::make_shared<director_view::stream>();
  if (!log.entries.empty())
    for (std::size_t i = 0; i < log.rungs.size(); ++i)
      made->rungs.push_back({log.rungs[i].info.name, hls::prepared_playlist(log, i)});
  made->log = std::move(log);
  known.stream = std::move(made);
  return true;
}

bool director_state::shows(std::string_view stream) const {
  return std::ranges::any_of(streams, [&](auto& one) { return one.second.stream->log.stream == stream; });
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
  std::erase_if(streams, [&](auto& one) { return now - one.second.taken > keep_ended && (one.second.stream->log.ended || followed(one.second.stream->log)); });
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
  if (!same) {
    phases = std::make_shared<const director_view::edge_phases>(std::move(seen));
    note_drains();
  }
  return others || !same;
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
  made->complete = watching.answered;
  for (auto& [address, one] : streams) {
    made->by_address[address] = one.stream;
    auto& newest = made->live[one.stream->log.stream];
    if (!newest || newest->log.instance < one.stream->log.instance)
      newest = one.stream;
  }
  std::erase_if(made->live, [](auto& s) { return s.second->log.ended; });
  return made;
}

director_actor::behavior_type director(director_actor::stateful_pointer<director_state> self, std::shared_ptr<playlist_desk> desk, coordinator_actor coordinator,
                                       std::vector<origin_actor> origins, node_name node) {
  auto& my = self->state;
  my.desk = std::move(desk);
  my.node = std::move(node);
  my.started = self->clock().now();
  auto me = director_actor{self};
  auto now = [self] { return self->clock().now(); };

  my.watching.follow(self, coordinator, watcher_actor{me});
  for (auto& origin : origins)
    tell(self, origin, watch_logs{me});
  tell_after(self, first_word_every, me, tick{});
  return {
    [=, &my](hls::stream_log& log) {
      if (!my.knows_edges_of(log))
        my.early[address_of(log)] = std::move(log);
      else if (my.take(std::move(log), now()))
        my.desk->show(my.view());
    },
    [=, &my](const tick&) {
      if (my.forget(now()))
        my.desk->show(my.view());
      my.watching.follow(self, coordinator, watcher_actor{me});
      if (now() - my.audience_told >= audience_every) {
        my.audience_told = now();
        my.desk->audience().forget([&](std::string_view stream) { return my.shows(stream); });
        if (auto sums = my.desk->audience().sums(); !sums.empty())
          tell(self, coordinator, audience_news{my.node, std::move(sums)});
      }
      tell_after(self, my.watching.answered ? 1s : first_word_every, me, tick{});
    },
    [=](const stop&) { self->quit(caf::exit_reason::user_shutdown); },
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
      my.desk->show(my.view());
      my.desk->with_admission([&](auto& admission) { admission.use(my.tables.newest()); });
    },
    [=, &my](const edge_list& list) {
      bool first = my.watching.hears(now()); // the tables came before it
      if (my.take(list) || first)
        my.desk->show(my.view());
      my.desk->with_admission([&](auto& admission) {
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
    [](const stream_notice&) {}, // the origin's log says all that playlists need
    [=, &my](const ask_status&) {
      auto& c = my.desk->counts();
      nlohmann::json sessions = nlohmann::json::object();
      my.desk->with_admission([&](auto& admission) { sessions = admission.admitted(); });
      nlohmann::json status{{"streams", my.streams.size()},
                            {"edge_epoch", my.tables.newest_epoch()},
                            {"joins", c.joins.load()},
                            {"refused_joins", c.refused_joins.load()},
                            {"playlists", c.playlists.load()},
                            {"stale", c.stale.load()},
                            {"unknown", c.unknown.load()},
                            {"sessions", sessions},
                            {"audience", audience_status(my.desk->audience())},
                            {"moves", {{"edge_left", my.moves.edge_left}, {"edge_joined", my.moves.edge_joined}, {"weights", my.moves.weights}}}};
      return report_of(self, "director", status, my.started);
    },
  };
}

} // namespace weir
