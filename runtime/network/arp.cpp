#include "runtime/network/arp.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <cstring>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace weir::network {

namespace {

constexpr std::array<std::uint8_t, 6> ethernet_and_ipv4{0, 1, 8, 0, 6, 4}; ///< kinds of hardware and protocol, and how long their addresses are

} // namespace

expected<ipv4_address> parse_ipv4(std::string_view text) {
  ipv4_address address{};
  if (::inet_pton(AF_INET, std::string(text).c_str(), address.data()) != 1)
    return fail(error_code::invalid_input, fmt::format("{:?} is not an IPv4 address", text));
  return address;
}

std::string to_string(const ipv4_address& address) { return fmt::format("{}", fmt::join(address, ".")); }
std::string to_string(const mac_address& address) { return fmt::format("{:02x}", fmt::join(address, ":")); }

arp_packet arp_probe(const mac_address& own, const ipv4_address& address) {
  return {.operation = arp_operation::request, .sender = own, .sender_address = {}, .target = {}, .target_address = address};
}

arp_packet arp_announcement(const mac_address& own, const ipv4_address& address) {
  return {.operation = arp_operation::request, .sender = own, .sender_address = address, .target = {}, .target_address = address};
}

std::array<std::uint8_t, arp_size> write_arp(const arp_packet& packet) {
  std::array<std::uint8_t, arp_size> bytes{};
  auto at = bytes.begin();
  auto put = [&](const auto& part) { at = std::ranges::copy(part, at).out; };
  put(ethernet_and_ipv4);
  put(std::array<std::uint8_t, 2>{0, static_cast<std::uint8_t>(packet.operation)});
  put(packet.sender);
  put(packet.sender_address);
  put(packet.target);
  put(packet.target_address);
  return bytes;
}

std::optional<arp_packet> parse_arp(std::string_view payload) {
  if (payload.size() < arp_size || std::memcmp(payload.data(), ethernet_and_ipv4.data(), ethernet_and_ipv4.size()) != 0 || payload[6] != 0)
    return std::nullopt;
  arp_packet packet;
  packet.operation = static_cast<arp_operation>(static_cast<std::uint8_t>(payload[7]));
  if (packet.operation != arp_operation::request && packet.operation != arp_operation::reply)
    return std::nullopt;
  auto* at = payload.data() + 8;
  auto take = [&](auto& part) {
    std::memcpy(part.data(), at, part.size());
    at += part.size();
  };
  take(packet.sender);
  take(packet.sender_address);
  take(packet.target);
  take(packet.target_address);
  return packet;
}

} // namespace weir::network
