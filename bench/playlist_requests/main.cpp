// Our side of the playlist cases: the real desk behind the real HTTP server on one thread, its answers counted as in a node, shown what a director shows.
// A segment is listed every 4 s, as in a broadcast, so that no view grows stale and threads change to the next one under load.
//
//   bench_playlist_requests [STREAMS]   →   "port 40123" on its first line; SIGTERM or SIGINT ends it
#include "actors/director.hpp"
#include "actors/http_metrics.hpp"

#include <csignal>
#include <cstdlib>
#include <fmt/format.h>

namespace weir {
namespace {

constexpr auto timing = timing_of(hls_profile::quick);
constexpr std::size_t listed = 15;
constexpr std::int64_t segment_ticks = 4 * 90'000;
constexpr edge_epoch older = 1, newer = 2;

edge_table table_of(edge_epoch epoch, const edge_table* previous) {
  std::vector<edge_target> edges;
  for (int i = 1; i <= 4; ++i) // the newer table moves some buckets to the fourth edge
    edges.push_back({edge_name{fmt::format("edge-{}", i)}, fmt::format("http://10.0.0.{}:8081", i), epoch == older && i == 4 ? 500 : 1000, 1'000'000'000});
  return steering::make_table(epoch, std::move(edges), previous);
}

/// Lists one more segment. The window always spans both tables, as it does for a minute after each change of the edge set.
void append(hls::stream_log& log) {
  hls::log_entry entry;
  entry.msn = log.entries.empty() ? 184'467 : log.entries.back().msn + 1;
  entry.epoch = 7;
  entry.time = std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now());
  entry.durations = {segment_ticks};
  log.entries.push_back(entry);
  if (log.entries.size() > listed)
    log.entries.erase(log.entries.begin());
  for (std::size_t i = 0; i < log.entries.size(); ++i)
    log.entries[i].edges = i < listed / 2 ? older : newer;
  log.changed = std::chrono::system_clock::now();
  ++log.version;
}

hls::stream_log broadcast(std::string stream) {
  hls::stream_log log;
  log.stream = std::move(stream);
  log.instance = 1;
  log.target = timing.target;
  log.window = timing.window;
  log.hold_back = timing.hold_back;
  for (auto [name, width, height, rate] : {std::tuple{"1080p", 1920u, 1080u, 5'128'000}, std::tuple{"720p", 1280u, 720u, 3'128'000},
                                           std::tuple{"480p", 854u, 480u, 1'528'000}, std::tuple{"360p", 640u, 360u, 828'000}})
    log.rungs.push_back({.info = {name, width, height, 30'000, "avc1.640028,mp4a.40.2", {rate}}, .peak = {rate}, .average = {rate}});
  while (log.entries.size() < listed)
    append(log);
  return log;
}

expected<void> run(std::size_t streams) {
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  pthread_sigmask(SIG_BLOCK, &ends, nullptr); // before any thread is started, so that all of them have it

  director_state director;
  auto first = table_of(older, nullptr);
  auto second = table_of(newer, &first);
  WEIR_TRY(director.tables.add(std::move(first)));
  WEIR_TRY(director.tables.add(std::move(second)));
  std::vector<hls::stream_log> logs{broadcast("bench")};
  while (logs.size() < streams)
    logs.push_back(broadcast(fmt::format("bench-{}", logs.size())));
  auto desk = std::make_shared<playlist_desk>(std::chrono::seconds(30));
  auto show = [&] {
    for (auto& log : logs)
      director.take(log, {});
    desk->show(director.view());
  };
  show();

  http::server server({.listen = "127.0.0.1:0", .threads = 1});
  add_director_routes(server, desk);
  count_answers(server, std::make_shared<metrics::registry>());
  WEIR_TRY(server.start());
  fmt::print("port {}\n", server.port());
  std::fflush(stdout);
  const timespec until_next{.tv_sec = timing.target.count() / 1000, .tv_nsec = 0};
  while (::sigtimedwait(&ends, nullptr, &until_next) < 0) {
    for (auto& log : logs)
      append(log);
    show();
  }
  server.stop();
  return {};
}

} // namespace
} // namespace weir

int main(int argc, char** argv) {
  auto done = weir::run(argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 1);
  if (!done)
    fmt::print(stderr, "{}\n", done.error().text);
  return done ? 0 : 1;
}
