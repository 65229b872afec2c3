// A state from disk is refused, or it is a log that goes on: ticks, a new writer and segments must not break it.
#include "runtime/hls/playlist.hpp"
#include "runtime/hls/segment_log.hpp"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace weir;
  using namespace weir::hls;
  auto log = segment_log::from_json({reinterpret_cast<const char*>(data), size});
  if (!log)
    return 0;
  auto now = timestamp{} + std::chrono::hours(24 * 365 * 56);
  auto before = log->next_msn();
  log->tick(1, now);
  auto epoch = log->epoch() + 1;
  if (log->begin_writer(epoch, "fuzz", {{"r", 640, 360, 25'000, "avc1.64001f", {1'000'000}}}, timing_of(hls_profile::quick)))
    for (std::uint64_t slot = 5; slot < 10; ++slot) {
      now += std::chrono::seconds(4);
      log->offer(epoch, {"r", slot, static_cast<std::int64_t>(slot) * 360'000, 360'000, true, false, now, 1000, {{0, 0, 100}, {180'000, 500, 100}}}, 1, now);
    }
  auto snapshot = log->snapshot();
  for (std::size_t rung = 0; rung < snapshot.rungs.size() && !snapshot.entries.empty(); ++rung)
    for (bool iframes : {false, true})
      if (!iframes || has_iframes(snapshot, rung))
        (void)(iframes ? prepared_playlist::iframes(snapshot, rung) : prepared_playlist(snapshot, rung)).text(0, [](edge_epoch) { return std::string_view("http://e"); });
  (void)log->take_expired(now);
  if (log->next_msn() < before || !segment_log::from_json(log->to_json()))
    std::abort();
  return 0;
}
