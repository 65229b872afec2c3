// Any frame is an ARP packet or nothing, and what is read is written as it was.
#include "runtime/network/arp.hpp"

#include <cstdlib>
#include <cstring>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto packet = weir::network::parse_arp({reinterpret_cast<const char*>(data), size});
  if (!packet)
    return 0;
  const auto bytes = weir::network::write_arp(*packet);
  if (std::memcmp(bytes.data(), data, bytes.size()) != 0)
    std::abort();
  return weir::network::to_string(packet->sender).size() == 17 && weir::network::to_string(packet->sender_address).size() >= 7 ? 0 : (std::abort(), 0);
}
