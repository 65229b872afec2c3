#include "runtime/media/ladder.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <set>

namespace weir::media {
namespace {

/// A second, in level 5.2 of H.264: players need not show higher ones.
constexpr std::int64_t most_macroblocks = 2'073'600;

constexpr std::array presets{"ultrafast", "superfast", "veryfast", "faster", "fast", "medium"};

std::uint32_t even(double pixels) { return std::max(16u, static_cast<std::uint32_t>(pixels / 2 + 0.5) * 2); }

rung_plan plan_rung(const rung_spec& rung, std::string name, std::uint32_t height, const picture_shape& source) {
  const auto shape = double(source.width) * source.sar_num / (double(source.height) * source.sar_den);
  const auto width = std::min(even(height * shape), 4096u);
  const auto macroblocks = std::int64_t{(width + 15) / 16} * ((height + 15) / 16);
  // 1 % of slack: 59.94 and what a clock in milliseconds makes of 60 count as 60.
  const auto most = std::min(std::int64_t{rung.max_fps} * 1010, most_macroblocks * 1000 / macroblocks);
  const auto every = static_cast<std::uint32_t>(std::max<std::int64_t>(1, (source.fps_milli + most - 1) / most));
  return {std::move(name), width, height, every, source.fps_milli / every, rung.video};
}

} // namespace

expected<void> check_ladder(const ladder_spec& ladder) {
  if (ladder.rungs.empty())
    return fail(error_code::invalid_config, fmt::format("ladder {:?} has no rung", ladder.name));
  std::set<std::string> names;
  for (auto& rung : ladder.rungs)
    if (!names.insert(rung.name).second)
      return fail(error_code::invalid_config, fmt::format("ladder {:?} has two rungs named {:?}", ladder.name, rung.name));
  if (std::find(presets.begin(), presets.end(), ladder.preset) == presets.end())
    return fail(error_code::invalid_config, fmt::format("ladder {:?}: preset {:?} is none of {}", ladder.name, ladder.preset, fmt::join(presets, ", ")));
  return {};
}

expected<std::vector<rung_plan>> plan_ladder(const ladder_spec& ladder, const picture_shape& source) {
  WEIR_TRY(check_ladder(ladder));
  if (source.width == 0 || source.height == 0 || source.sar_num == 0 || source.sar_den == 0)
    return fail(error_code::unsupported, fmt::format("a picture of {}×{} pixels", source.width, source.height));
  if (std::uint64_t{source.width} * source.height > most_pixels)
    return fail(error_code::unsupported, fmt::format("a picture of {}×{} pixels, {} pixels are allowed", source.width, source.height, most_pixels));

  std::vector<rung_plan> plan;
  auto rungs = ladder.rungs;
  std::stable_sort(rungs.begin(), rungs.end(), [](auto& a, auto& b) { return a.height > b.height; });
  for (auto& rung : rungs)
    if (auto height = even(rung.height); height <= source.height + source.height % 2)
      plan.push_back(plan_rung(rung, rung.name, height, source));
  if (plan.empty()) {
    auto height = std::max(16u, source.height / 2 * 2);
    plan.push_back(plan_rung(rungs.back(), fmt::format("{}p", height), height, source));
  }
  return plan;
}

std::size_t most_left_out(std::size_t rungs, bool passed_through) { return rungs - std::min<std::size_t>(rungs, passed_through ? 2 : 1); }

std::vector<rung_plan> without_top(std::vector<rung_plan> plan, std::size_t left_out, bool passed_through) {
  const auto first = plan.begin() + (passed_through && !plan.empty() ? 1 : 0);
  plan.erase(first, first + static_cast<std::ptrdiff_t>(std::min(left_out, most_left_out(plan.size(), passed_through))));
  return plan;
}

} // namespace weir::media
