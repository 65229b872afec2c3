// Whatever a child says, the supervisor gets an error or a record that can be said again, word for word.
#include "runtime/media/child_protocol.hpp"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto r = weir::media::decode({reinterpret_cast<const char*>(data), size});
  if (!r)
    return 0;
  auto text = weir::media::encode(*r);
  if (!text) {
    if (text.error().code != weir::error_code::too_large) // replacing broken UTF-8 makes it longer
      std::abort();
    return 0;
  }
  auto again = weir::media::decode(*text);
  if (!again || weir::media::encode(*again).value_or("") != *text)
    std::abort();
  return 0;
}
