// What a writer says is a map is refused, or two boxes that fill it.
#include "runtime/origin/intake.hpp"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes{reinterpret_cast<const char*>(data), size};
  if (weir::origin::is_map(bytes) && (size < 16 || size > weir::origin::map_limit || weir::origin::is_map(bytes.substr(0, size - 1)) || bytes.substr(4, 4) != "ftyp"))
    std::abort();
  return 0;
}
