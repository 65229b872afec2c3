// Any datagram is a request or nothing, any page a status or an error, and counting stays within bounds.
#include "runtime/nginx/edge_log.hpp"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text{reinterpret_cast<const char*>(data), size};
  using namespace std::chrono_literals;
  const weir::nginx::edge_counter::steady_time now{1s};
  weir::nginx::edge_counter counter(weir::edge_name("edge"), 4);
  if (const auto request = weir::nginx::parse_edge_line(text))
    for (int i = 0; i < 3; ++i)
      counter.add(*request, now);
  const auto load = counter.sample(now + 1s);
  if (load.hits + load.misses > load.requests || load.viewers > 1 || load.bits_per_second < 0 || load.streams.size() > 1)
    std::abort();
  [[maybe_unused]] const auto status = weir::nginx::parse_stub_status(text);
  return 0;
}
