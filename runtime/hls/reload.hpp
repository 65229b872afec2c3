#pragma once
// What a player asks of a low-latency playlist beside it (hls.md 6): an answer only when a segment or part is listed, and a delta.
#include "runtime/hls/playlist.hpp"

#include <cstdint>
#include <optional>
#include <string_view>

namespace weir::hls {

struct reload_wish {
  std::optional<std::uint64_t> msn;
  std::optional<std::uint32_t> part; ///< only with `msn`
  bool skip = false;
  bool operator==(const reload_wish&) const = default;
};

/// From the values of _HLS_msn, _HLS_part and _HLS_skip, as they stand in the query; of an unknown kind of skipping nothing is skipped. Fails: invalid_input.
expected<reload_wish> parse_reload(std::optional<std::string_view> msn, std::optional<std::string_view> part, std::optional<std::string_view> skip);

/// Whether this playlist, of a stream that goes on, has what is asked for; false: it will have it soon. Fails: invalid_input, where that is further ahead than a
/// player can know of.
expected<bool> has(const prepared_playlist& playlist, const reload_wish& wish);

} // namespace weir::hls
