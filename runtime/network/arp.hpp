#pragma once
// ARP packets as values (RFC 826, RFC 5227): who has an IPv4 address, and who says that it has it.
//   arp.hpp  packets, pure      network_interface.hpp  one interface of this machine: its addresses, and ARP on it
#include "schemas/error.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace weir::network {

using ipv4_address = std::array<std::uint8_t, 4>;
using mac_address = std::array<std::uint8_t, 6>;

/// Fails: invalid_input for anything but "10.0.0.5".
expected<ipv4_address> parse_ipv4(std::string_view text);
std::string to_string(const ipv4_address& address);
std::string to_string(const mac_address& address);

enum class arp_operation : std::uint16_t { request = 1, reply = 2 };

struct arp_packet {
  arp_operation operation = arp_operation::request;
  mac_address sender{};
  ipv4_address sender_address{};
  mac_address target{};
  ipv4_address target_address{};
  bool operator==(const arp_packet&) const = default;

  /// Somebody asks whether an address is free, in order to take it.
  bool is_probe() const { return operation == arp_operation::request && sender_address == ipv4_address{}; }
};

/// Asks whether somebody has the address, without telling anybody that we have it.
arp_packet arp_probe(const mac_address& own, const ipv4_address& address);
/// Tells everybody that it is here now.
arp_packet arp_announcement(const mac_address& own, const ipv4_address& address);

inline constexpr std::size_t arp_size = 28;
std::array<std::uint8_t, arp_size> write_arp(const arp_packet& packet);
/// The payload of an ARP frame; what pads it to a frame's least size is ignored. nullopt: it is no request or reply between Ethernet and IPv4.
std::optional<arp_packet> parse_arp(std::string_view payload);

} // namespace weir::network
