// Our side of the ladder cases: one pipeline child as a worker runs it, reading a file as fast as it can. Its segments are received and let go of.
//
//   bench_ladder_cpu CLIP   →   {"cpu_seconds": 14.51, "media_seconds": 10.0, "segments": 8, "rungs": 4, "resident_mib": 391}
//
// CPU time is user + system of the child alone, from its end (wait4); media time is what the top rung's segments say they last.
#include "runtime/media/channel.hpp"
#include "runtime/media/child_main.hpp"

#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace weir::media {
namespace {

constexpr milliseconds longest_silence{60'000}; ///< heartbeats come every 250 ms, on a loaded machine too

configure four_rungs(const std::string& clip) {
  configure c;
  c.input_url = clip;
  c.realtime = false;
  c.ladder.rungs = {{"1080p", 1080, {5'000'000}}, {"720p", 720, {3'000'000}}, {"480p", 480, {1'400'000}}, {"360p", 360, {700'000}}};
  c.ladder.preset = "veryfast";
  return c;
}

struct outcome {
  std::map<std::string, std::int64_t> ticks; ///< of media, by rung, 90 kHz
  std::size_t segments = 0;
  end_report end;
};

/// Listens to the child until it has said its last word.
expected<outcome> listen(parent_channel& channel) {
  outcome seen;
  for (;;) {
    auto got = channel.receive(longest_silence);
    if (!got && got.error().code == error_code::unavailable)
      return seen;
    WEIR_TRY(got);
    if (auto* s = std::get_if<segment_report>(&got->what)) {
      seen.ticks[s->segment.rung] += s->segment.duration;
      ++seen.segments;
    } else if (auto* e = std::get_if<end_report>(&got->what))
      seen.end = *e;
  }
}

expected<void> run(const std::string& clip) {
  const auto wanted = four_rungs(clip);
  auto pair = make_channel();
  WEIR_TRY(pair);
  const auto parent = ::getpid();
  const auto child = ::fork();
  if (child < 0)
    return fail(error_code::io_failed, "no process for the child");
  if (child == 0) {
    ::close(pair->parent.fd());
    ::_exit(child_main(pair->child.release(), parent));
  }
  pair->child = owned_fd{};
  WEIR_TRY(pair->parent.send(wanted));
  auto seen = listen(pair->parent);
  WEIR_TRY(seen);
  int status = 0;
  rusage used{};
  if (::wait4(child, &status, 0, &used) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
    return fail(error_code::crashed, fmt::format("the child ended with wait status {}", status));
  if (seen->end.cause != end_cause::source_ended)
    return fail(error_code::media_failed, fmt::format("the child ended as {}: {}", to_string(seen->end.cause), seen->end.text));
  if (seen->ticks.size() != wanted.ladder.rungs.size())
    return fail(error_code::media_failed, fmt::format("{} rungs were made", seen->ticks.size()));

  auto seconds = [](const timeval& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6; };
  fmt::print("{{\"cpu_seconds\": {:.3f}, \"media_seconds\": {:.3f}, \"segments\": {}, \"rungs\": {}, \"resident_mib\": {}}}\n",
             seconds(used.ru_utime) + seconds(used.ru_stime), static_cast<double>(seen->ticks[wanted.ladder.rungs.front().name]) / 90'000, seen->segments,
             seen->ticks.size(), used.ru_maxrss / 1024);
  return {};
}

} // namespace
} // namespace weir::media

int main(int argc, char** argv) {
  if (argc != 2) {
    fmt::print(stderr, "usage: {} CLIP\n", argv[0]);
    return 2;
  }
  auto done = weir::media::run(argv[1]);
  if (!done)
    fmt::print(stderr, "{}\n", done.error().text);
  return done ? 0 : 1;
}
