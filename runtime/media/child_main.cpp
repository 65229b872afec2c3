#include "runtime/media/child_main.hpp"

#include "runtime/media/hls_pipeline.hpp"
#include "runtime/media/libav_log.hpp"
#include "runtime/media/restream_pipeline.hpp"

#include <csignal>
#include <fmt/format.h>
#include <optional>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>
extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
}

namespace weir::media {
namespace {

constexpr milliseconds configure_deadline{10'000};
constexpr milliseconds stop_deadline{900}; ///< the supervisor allows 1 s

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool limits_memory = false; // their shadow memory is address space too
#else
constexpr bool limits_memory = true;
#endif

void restrain_this_process() {
  std::signal(SIGPIPE, SIG_IGN);
  // Each is a safeguard whose absence harms nothing by itself, so a system that forbids one is no reason to fail.
  const rlimit no_core{0, 0};
  (void)::setrlimit(RLIMIT_CORE, &no_core);
  if (limits_memory) {
    const rlimit memory{4ull << 30, 4ull << 30}; // of addresses: ten times what four rungs of 1080p take
    (void)::setrlimit(RLIMIT_AS, &memory);
  }
}

std::string libav_versions() {
  auto v = [](unsigned n) { return fmt::format("{}.{}.{}", n >> 16, n >> 8 & 0xff, n & 0xff); };
  return fmt::format("libavformat {} libavcodec {} ffmpeg {}", v(avformat_version()), v(avcodec_version()), av_version_info());
}

// Sends the end record, whoever comes first: the pipeline, or the clock of a pipeline that does not stop.
class last_word {
public:
  explicit last_word(child_channel& channel) : channel_(channel) {}
  bool say(const end_report& end) {
    if (said_.exchange(true))
      return false;
    (void)channel_.send(end);
    return true;
  }

private:
  child_channel& channel_;
  std::atomic<bool> said_{false};
};

template <class Pipeline>
int serve(const configure& settings, child_channel& channel) {
  pulse progress;
  Pipeline pipeline(settings, channel, progress);
  std::optional<heartbeat_thread> heart(std::in_place, progress, channel);
  last_word end(channel);
  std::atomic<bool> done{false};

  std::thread listener([&] {
    std::optional<steady_time> stop_by, alive_until;
    while (!done) {
      auto got = channel.receive(milliseconds(100));
      if (!got && (got.error().code == error_code::unavailable || got.error().code == error_code::io_failed))
        ::_exit(0); // nobody is left to work for
      if (got) {
        if (auto* order = std::get_if<use_inputs_order>(&got->what))
          pipeline.use(std::move(order->inputs));
        else if (auto* word = std::get_if<go_on>(&got->what))
          alive_until = steady_clock::now() + word->within;
      }
      if (alive_until && steady_clock::now() > *alive_until)
        ::_exit(0); // whoever watches over us hangs, and somebody else may be about to do our work
      if (got && std::holds_alternative<stop_order>(got->what) && !stop_by) {
        stop_by = steady_clock::now() + stop_deadline;
        pipeline.stop();
      }
      // A call that libav does not come back from (the resolver, a dead target) cannot be ended but with the process.
      if (stop_by && steady_clock::now() > *stop_by && end.say({end_cause::requested, 0, "stopped without the last segment"}))
        ::_exit(0);
    }
  });
  end_report report;
  try {
    report = pipeline.run();
  } catch (const std::exception& e) {
    report = {end_cause::encoder_error, 0, e.what()};
  }
  heart.reset(); // its last word comes before the end, after which nobody listens
  end.say(report);
  done = true;
  listener.join();
  return 0;
}

} // namespace

int child_main(int channel_fd, pid_t expected_parent) {
  child_channel channel{owned_fd{channel_fd}};
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || ::getppid() != expected_parent)
    return 1; // the parent died before the signal was ordered
  restrain_this_process();
  avformat_network_init();
  take_libav_log({});
  (void)channel.send(ready{::getpid(), libav_versions()});

  auto first = channel.receive(configure_deadline);
  if (!first)
    return 1;
  auto* settings = std::get_if<configure>(&first->what);
  if (!settings) {
    (void)channel.send(end_report{end_cause::bad_options, 0, "the first record does not configure"});
    return 0;
  }
  take_libav_log(secrets_of(*settings));
  if (settings->kind == pipeline_kind::restream)
    return serve<restream_pipeline>(*settings, channel);
  return serve<hls_pipeline>(*settings, channel);
}

} // namespace weir::media
