#pragma once
// One network interface of this machine: whether it is connected, which of our addresses are on it, and ARP with whoever else is there.
#include "runtime/base/file.hpp"
#include "runtime/network/arp.hpp"
#include "schemas/config.hpp"

#include <string>
#include <vector>

namespace weir::network {

class network_interface {
public:
  /// Fails: invalid_config where there is no Ethernet interface of that name, or it has no address of its own in that network, or the shared one
  /// already by somebody else's hand; forbidden without the capabilities
  /// CAP_NET_ADMIN and CAP_NET_RAW.
  static expected<network_interface> open(const std::string& name, const machine_address& shared);

  const std::string& name() const { return name_; }
  const mac_address& mac() const { return mac_; }
  /// Whether its cable, or what stands for one, is plugged in at both ends. False once where it was removed and made anew under its name: then this is about
  /// the new one, on which nothing of ours is.
  bool linked();
  /// What is on it now. Fails: io_failed.
  expected<std::vector<ipv4_address>> addresses() const;

  /// Puts an address on it, for this machine alone (/32), so that routes stay as they are. One that is there stays. Fails: io_failed.
  expected<void> add(const ipv4_address& address);
  /// Takes it off. One that is not there is off. Fails: io_failed.
  expected<void> remove(const ipv4_address& address);

  /// Asks everybody, or tells everybody. Fails: io_failed.
  expected<void> send(const arp_packet& packet);
  /// What others have sent since the last call; at most 256.
  std::vector<arp_packet> receive();

private:
  network_interface(std::string name, machine_address shared) : name_(std::move(name)), shared_(std::move(shared)) {}
  /// Fails: as open().
  expected<void> attach();
  expected<void> change(bool add, const ipv4_address& address);

  std::string name_;
  machine_address shared_;
  unsigned index_ = 0;
  mac_address mac_{};
  unique_fd arp_;
  unique_fd kernel_; ///< rtnetlink
  std::uint32_t asked_ = 0;
};

} // namespace weir::network
