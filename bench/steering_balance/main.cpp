// Viewers who come and go on a simulated farm, with the directors, the edge table and the admission of production: how even the load is, and how often viewers change their edge.
//
//   bench_steering_balance EDGES VIEWERS SECONDS SEED   →   one line of JSON
#include "tests/sim/balancing/farm.hpp"

#include <nlohmann/json.hpp>

#include <charconv>
#include <cstdio>
#include <cstring>
#include <optional>

namespace weir::balancing {
namespace {

std::optional<std::uint64_t> number(const char* text) {
  std::uint64_t value = 0;
  auto end = text + std::strlen(text);
  auto [stop, fault] = std::from_chars(text, end, value);
  return fault == std::errc() && stop == end && value > 0 ? std::optional(value) : std::nullopt;
}

nlohmann::json steady(std::size_t edges, std::size_t viewers, seconds time, std::uint64_t seed) {
  farm_options o;
  // Three quarters full, whatever the audience: the farm is as large as its viewers need.
  o.capacities.assign(edges, std::max<std::int64_t>(8 * giga, std::int64_t(viewers) * mean_rate * 4 / 3 / std::int64_t(edges)));
  o.seed = seed;
  farm f(o);
  f.fill(viewers);
  f.steady(time);
  auto& seen = f.counted();
  return {{"mean", seen.mean()},         {"worst", seen.worst},   {"switches_a_minute", seen.switches_a_minute()}, {"viewers", f.viewers()},
          {"refused", seen.refused}, {"changed", seen.changed}, {"errors", seen.errors}};
}

} // namespace
} // namespace weir::balancing

int main(int argc, char** argv) {
  std::optional<std::uint64_t> given[4];
  for (int i = 0; i < 4 && i + 1 < argc; ++i)
    given[i] = weir::balancing::number(argv[i + 1]);
  if (argc != 5 || !given[0] || !given[1] || !given[2] || !given[3]) {
    std::fprintf(stderr, "usage: bench_steering_balance EDGES VIEWERS SECONDS SEED\n");
    return 2;
  }
  std::puts(weir::balancing::steady(*given[0], *given[1], weir::balancing::seconds(*given[2]), *given[3]).dump().c_str());
  return 0;
}
