#include "runtime/hls/reload.hpp"

#include "runtime/hls/text_reader.hpp"

#include <algorithm>
#include <chrono>
#include <limits>

namespace weir::hls {

using namespace std::chrono_literals;

namespace {

/// How many parts behind the last one a player may ask for (bis 6.2.5.2).
std::int64_t advance_limit(std::chrono::milliseconds part_target) { return part_target < 1s ? (3'000 + part_target.count() - 1) / part_target.count() : 3; }

expected<std::uint64_t> number(std::string_view text) {
  text_reader in{text};
  const auto value = in.number();
  if (!in.done())
    return fail(error_code::invalid_input, "_HLS_msn and _HLS_part are decimal numbers");
  return value;
}

} // namespace

expected<reload_wish> parse_reload(std::optional<std::string_view> msn, std::optional<std::string_view> part, std::optional<std::string_view> skip) {
  reload_wish wish;
  wish.skip = skip == "YES" || skip == "v2";
  if (part && !msn)
    return fail(error_code::invalid_input, "_HLS_part needs _HLS_msn");
  if (msn) {
    auto value = number(*msn);
    WEIR_TRY(value);
    wish.msn = *value;
  }
  if (part) {
    auto value = number(*part);
    WEIR_TRY(value);
    wish.part = static_cast<std::uint32_t>(std::min<std::uint64_t>(*value, std::numeric_limits<std::uint32_t>::max()));
  }
  return wish;
}

expected<bool> has(const prepared_playlist& playlist, const reload_wish& wish) {
  if (!wish.msn || playlist.reached(*wish.msn, wish.part))
    return true;
  if (*wish.msn > playlist.last_msn() + 2)
    return fail(error_code::invalid_input, "_HLS_msn is too far ahead");
  const auto last = playlist.last_point();
  if (wish.part && *wish.msn > playlist.last_msn() && *wish.part > (last.msn == *wish.msn ? last.part : -1) + advance_limit(playlist.part_target()))
    return fail(error_code::invalid_input, "_HLS_part is too far ahead");
  return false;
}

} // namespace weir::hls
