// Replaces caf::io::basp::valid of libcaf_io 0.17.6, which is asked about the header of every message that comes over the wire. As shipped it lets 32 bytes
// of a stranger end the process (an empty handshake is dereferenced), allocates whatever length a header announces, ignores BASP's version, and takes messages
// from those who have not even begun with a handshake.
#include "runtime/cluster/strangers.hpp"

#include <caf/io/basp/header.hpp>
#include <caf/io/basp/version.hpp>

#include <cstdint>

namespace caf::io::basp {

namespace {

bool well_formed(const header& h) {
  constexpr std::uint32_t most_message = 16u << 20; // bytes; our largest is the view of a cluster
  constexpr std::uint32_t most_control = 64u << 10;
  auto fits = [&](std::uint32_t most) { return h.payload_len > 0 && h.payload_len <= most; };
  switch (h.operation) {
    case message_type::server_handshake:
      return h.operation_data == version && fits(most_control);
    case message_type::client_handshake:
      return h.source_actor == 0 && h.dest_actor == 0 && fits(most_control);
    case message_type::direct_message:
    case message_type::routed_message:
      return h.dest_actor != 0 && fits(most_message);
    case message_type::monitor_message:
      return h.operation_data == 0 && fits(most_control);
    case message_type::down_message:
      return h.source_actor != 0 && h.dest_actor == 0 && h.operation_data == 0 && fits(most_control);
    case message_type::heartbeat:
      return h.source_actor == 0 && h.dest_actor == 0 && h.payload_len == 0 && h.operation_data == 0;
    default:
      return false;
  }
}

} // namespace

bool valid(const header& h) {
  if (!well_formed(h))
    return false;
  auto* strangers = weir::cluster::strangers::here();
  return !strangers || strangers->may_say(h.operation == message_type::client_handshake);
}

} // namespace caf::io::basp
