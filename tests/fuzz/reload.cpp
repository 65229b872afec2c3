// Any three texts are a wish that the same numbers make again, or an error; and no wish is further ahead than a playlist answers for.
#include "runtime/hls/reload.hpp"

#include <algorithm>
#include <cstdlib>
#include <fmt/format.h>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace weir;
  std::string_view rest{reinterpret_cast<const char*>(data), size};
  const auto next = [&]() -> std::optional<std::string_view> {
    const auto end = rest.find('&');
    const auto word = rest.substr(0, end);
    rest.remove_prefix(std::min(word.size() + 1, rest.size()));
    return word.empty() ? std::nullopt : std::optional(word);
  };
  const auto msn = next(), part = next(), skip = next();
  const auto wish = hls::parse_reload(msn, part, skip);
  if (!wish)
    return 0;
  if (wish->msn.has_value() != msn.has_value() || wish->part.has_value() != part.has_value() || (wish->msn && fmt::format("{}", *wish->msn) != *msn))
    std::abort();
  static const hls::prepared_playlist playlist = [] {
    hls::stream_log log;
    log.stream = "s";
    log.target = std::chrono::seconds(4);
    log.part_target = std::chrono::milliseconds(333);
    log.rungs.resize(1);
    log.entries.resize(3);
    for (std::uint64_t i = 0; i < 3; ++i)
      log.entries[i] = {.msn = 10 + i, .dsn = 0, .epoch = 1, .edges = 1, .time = {}, .durations = {360'000}, .gaps = 0, .discontinuity = false, .map = 1};
    return hls::prepared_playlist(log, 0);
  }();
  const auto there = hls::has(playlist, *wish);
  if (there && !*there && *wish->msn > 14)
    std::abort();
  return 0;
}
