#include "runtime/network/arp.hpp"

#include <gtest/gtest.h>

namespace weir::testing {
namespace {

using namespace network;

constexpr mac_address ours{0x02, 0, 0, 0, 0, 0x0a}, theirs{0x02, 0, 0, 0xff, 0, 0x0b};
constexpr ipv4_address address{10, 0, 0, 5}, other{10, 0, 0, 77};

std::string bytes_of(const arp_packet& packet) {
  const auto bytes = write_arp(packet);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST(Arp, AsksForAnAddressWithoutClaimingIt) {
  const std::string expected("\x00\x01\x08\x00\x06\x04\x00\x01\x02\x00\x00\x00\x00\x0a\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x0a\x00\x00\x05", arp_size);
  EXPECT_EQ(bytes_of(arp_probe(ours, address)), expected) << "RFC 5227 2.1.1";
  EXPECT_TRUE(arp_probe(ours, address).is_probe());
}

TEST(Arp, AnnouncesAnAddressAsBothEnds) {
  const auto packet = arp_announcement(ours, address);
  EXPECT_EQ(packet.sender_address, address);
  EXPECT_EQ(packet.target_address, address) << "RFC 5227 2.3";
  EXPECT_FALSE(packet.is_probe());
}

TEST(Arp, ReadsWhatItWrites) {
  const arp_packet reply{.operation = arp_operation::reply, .sender = theirs, .sender_address = address, .target = ours, .target_address = other};
  for (auto& packet : {reply, arp_probe(ours, address), arp_announcement(theirs, other)}) {
    EXPECT_EQ(parse_arp(bytes_of(packet)), packet);
    EXPECT_EQ(parse_arp(bytes_of(packet) + std::string(18, '\x7f')), packet) << "padded to a frame's least size";
  }
  EXPECT_FALSE(reply.is_probe());
}

TEST(Arp, TakesNothingElse) {
  const auto good = bytes_of(arp_probe(ours, address));
  for (std::size_t n = 0; n < good.size(); ++n)
    EXPECT_EQ(parse_arp(good.substr(0, n)), std::nullopt) << n;
  for (std::size_t at = 0; at < 8; ++at)
    for (char value : {'\x03', '\xff'}) {
      auto bad = good;
      bad[at] = value;
      EXPECT_EQ(parse_arp(bad), std::nullopt) << at;
    }
}

TEST(Arp, AddressesAreText) {
  EXPECT_EQ(to_string(address), "10.0.0.5");
  EXPECT_EQ(to_string(theirs), "02:00:00:ff:00:0b");
  ASSERT_TRUE(parse_ipv4("10.0.0.5"));
  EXPECT_EQ(*parse_ipv4("10.0.0.5"), address);
  for (auto bad : {"", "10.0.0", "10.0.0.5/24", "10.0.0.256", "::1", "edge"})
    EXPECT_FALSE(parse_ipv4(bad)) << bad;
}

} // namespace
} // namespace weir::testing
