// Any text in front of an address is a token in its one form, or an error; none that was not signed is let in.
#include "runtime/base/secret.hpp"
#include "runtime/viewing/viewing.hpp"

#include <cstdlib>
#include <fmt/format.h>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace weir;
  const auto address = viewing::split({reinterpret_cast<const char*>(data), size});
  if (address.prefix.size() + address.path.size() != size || (!address.token.empty() && address.token.find('/') != std::string_view::npos))
    std::abort();
  if (const auto parts = viewing::parse_token(address.token))
    if (address.token != fmt::format("{}.{}.{}", parts->expires, parts->key, parts->mac) || parts->expires < 1)
      std::abort();
  static viewing::gate door;
  static const bool ruled = door.use(viewing::with_version({.keys = {viewing::key_of(random_token(""))}, .signed_only = {"main"}})); // a secret that no input knows
  if (!ruled)
    std::abort();
  if (viewing::admits(door.judge("main", address.token, timestamp{std::chrono::seconds(1)})))
    std::abort();
  return 0;
}
