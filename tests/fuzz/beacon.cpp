// Any body is a beacon within its bounds, or an error.
#include "runtime/audience/audience.hpp"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto word = weir::audience::parse_beacon({reinterpret_cast<const char*>(data), size});
  if (word && (word->stalls > 100 || word->join_ms > 300'000 || word->edge.size() > 256))
    std::abort();
  return 0;
}
