#include "runtime/network/network_interface.hpp"

#include "runtime/network/capabilities.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <cstring>
#include <ifaddrs.h>
#include <linux/if_packet.h>
#include <linux/rtnetlink.h>
#include <memory>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fmt/format.h>

namespace weir::network {

namespace {

constexpr std::size_t packets_at_a_time = 256;
constexpr timeval kernel_patience{.tv_sec = 1, .tv_usec = 0};

expected<ifreq> ask(int socket, const std::string& name, unsigned long what, const char* words) {
  ifreq request{};
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  if (::ioctl(socket, what, &request) != 0)
    return fail(system_error(fmt::format("{} of interface {}", words, name)));
  return request;
}

struct address_there {
  ipv4_address address{};
  bool alone = false; ///< all bits are the host's: as we put them there
};

expected<std::vector<address_there>> addresses_on(const std::string& name) {
  ifaddrs* first = nullptr;
  if (::getifaddrs(&first) != 0)
    return fail(system_error("the addresses of interface " + name));
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(first, &::freeifaddrs);
  std::vector<address_there> all;
  for (auto* one = first; one; one = one->ifa_next) {
    if (!one->ifa_addr || !one->ifa_netmask || one->ifa_addr->sa_family != AF_INET || one->ifa_name != name)
      continue;
    sockaddr_in address{}, mask{};
    std::memcpy(&address, one->ifa_addr, sizeof address);
    std::memcpy(&mask, one->ifa_netmask, sizeof mask);
    auto& made = all.emplace_back();
    std::memcpy(made.address.data(), &address.sin_addr, made.address.size());
    made.alone = mask.sin_addr.s_addr == INADDR_BROADCAST;
  }
  return all;
}

/// What is on the interface must leave room for the shared address: one of the machine's own beside it, and that one not by other hands than ours.
expected<void> check_addresses(const std::string& name, const machine_address& shared) {
  auto all = addresses_on(name);
  WEIR_TRY(all);
  bool own = false;
  for (auto& [address, alone] : *all) {
    const auto text = to_string(address);
    if (shared.host == text && !alone) // alone it is what we left after a kill -9
      return fail(error_code::invalid_config, fmt::format("edge.shared_address.address: {} is on {} already: Weir puts it there; take it out of the system's configuration", text, name));
    own = own || (shared.host != text && shared.network.contains(text));
  }
  if (!own)
    return fail(error_code::invalid_config,
                fmt::format("edge.shared_address.interface: {} has no address of its own in the network of {}: routes and ARP would not work", name, shared.host));
  return {};
}

} // namespace

expected<network_interface> network_interface::open(const std::string& name, const machine_address& shared) {
  WEIR_TRY(check_capabilities());
  network_interface made(name, shared);
  WEIR_TRY(made.attach());
  unique_fd kernel(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!kernel || ::setsockopt(kernel.get(), SOL_SOCKET, SO_RCVTIMEO, &kernel_patience, sizeof kernel_patience) != 0)
    return fail(system_error("opening a socket for rtnetlink"));
  made.kernel_ = std::move(kernel);
  return made;
}

expected<void> network_interface::attach() {
  const auto index = ::if_nametoindex(name_.c_str());
  if (index == 0)
    return fail(error_code::invalid_config, fmt::format("edge.shared_address.interface: there is no network interface {}", name_));
  unique_fd arp(::socket(AF_PACKET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(ETH_P_ARP)));
  if (!arp)
    return fail(system_error("opening a socket for ARP"));
  auto hardware = ask(arp.get(), name_, SIOCGIFHWADDR, "the hardware address");
  WEIR_TRY(hardware);
  if (hardware->ifr_hwaddr.sa_family != ARPHRD_ETHER)
    return fail(error_code::invalid_config, fmt::format("edge.shared_address.interface: {} is not Ethernet, where addresses can be shared", name_));
  WEIR_TRY(check_addresses(name_, shared_));
  sockaddr_ll here{};
  here.sll_family = AF_PACKET;
  here.sll_protocol = htons(ETH_P_ARP);
  here.sll_ifindex = static_cast<int>(index);
  if (::bind(arp.get(), reinterpret_cast<const sockaddr*>(&here), sizeof here) != 0)
    return fail(system_error("listening to ARP on " + name_));
  index_ = index;
  std::memcpy(mac_.data(), hardware->ifr_hwaddr.sa_data, mac_.size());
  arp_ = std::move(arp);
  return {};
}

bool network_interface::linked() {
  if (::if_nametoindex(name_.c_str()) != index_)
    return attach() && false; // one that is gone, or that the system has not set up yet, has no link either: the next call tries again
  auto flags = ask(arp_.get(), name_, SIOCGIFFLAGS, "the flags");
  return flags && (flags->ifr_flags & (IFF_UP | IFF_RUNNING)) == (IFF_UP | IFF_RUNNING);
}

expected<std::vector<ipv4_address>> network_interface::addresses() const {
  auto found = addresses_on(name_);
  WEIR_TRY(found);
  std::vector<ipv4_address> all;
  for (auto& one : *found)
    all.push_back(one.address);
  return all;
}

expected<void> network_interface::add(const ipv4_address& address) { return change(true, address); }
expected<void> network_interface::remove(const ipv4_address& address) { return change(false, address); }

expected<void> network_interface::change(bool add, const ipv4_address& address) {
  struct {
    nlmsghdr head{};
    ifaddrmsg body{};
    rtattr local_head{};
    ipv4_address local{};
    rtattr address_head{};
    ipv4_address address{};
  } wish;
  static_assert(sizeof wish == NLMSG_LENGTH(sizeof(ifaddrmsg)) + 2 * RTA_LENGTH(sizeof(ipv4_address)));
  wish.head.nlmsg_len = sizeof wish;
  wish.head.nlmsg_seq = ++asked_;
  wish.head.nlmsg_type = add ? RTM_NEWADDR : RTM_DELADDR;
  wish.head.nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | NLM_F_ACK | (add ? NLM_F_CREATE | NLM_F_EXCL : 0));
  wish.body.ifa_family = AF_INET;
  wish.body.ifa_prefixlen = 32;
  wish.body.ifa_scope = RT_SCOPE_UNIVERSE;
  wish.body.ifa_index = index_;
  wish.local_head = {.rta_len = RTA_LENGTH(sizeof(ipv4_address)), .rta_type = IFA_LOCAL};
  wish.address_head = {.rta_len = RTA_LENGTH(sizeof(ipv4_address)), .rta_type = IFA_ADDRESS};
  wish.local = wish.address = address;

  const auto what = fmt::format("{} address {} {} {}", add ? "putting" : "taking", to_string(address), add ? "on" : "off", name_);
  if (::send(kernel_.get(), &wish, sizeof wish, 0) != sizeof wish)
    return fail(system_error(what));
  struct {
    nlmsghdr head;
    nlmsgerr body;
  } answer{};
  do { // what came too late for the question before is passed over
    const auto got = ::recv(kernel_.get(), &answer, sizeof answer, MSG_TRUNC);
    if (got < 0)
      return fail(system_error(what));
    if (static_cast<std::size_t>(got) < sizeof answer.head + sizeof answer.body.error || answer.head.nlmsg_type != NLMSG_ERROR)
      return fail(error_code::io_failed, what + ": the kernel's answer is none");
  } while (answer.head.nlmsg_seq != asked_);
  const int wrong = -answer.body.error;
  if (wrong == 0 || (add && wrong == EEXIST) || (!add && (wrong == EADDRNOTAVAIL || wrong == ENODEV)))
    return {};
  return fail(error_code::io_failed, fmt::format("{}: {}", what, std::strerror(wrong)));
}

expected<void> network_interface::send(const arp_packet& packet) {
  sockaddr_ll everybody{};
  everybody.sll_family = AF_PACKET;
  everybody.sll_protocol = htons(ETH_P_ARP);
  everybody.sll_ifindex = static_cast<int>(index_);
  everybody.sll_halen = 6;
  std::fill_n(everybody.sll_addr, 6, 0xff);
  const auto bytes = write_arp(packet);
  if (::sendto(arp_.get(), bytes.data(), bytes.size(), 0, reinterpret_cast<const sockaddr*>(&everybody), sizeof everybody) < 0)
    return fail(system_error("ARP on " + name_));
  return {};
}

std::vector<arp_packet> network_interface::receive() {
  std::vector<arp_packet> all;
  char bytes[256];
  for (std::size_t i = 0; i < packets_at_a_time; ++i) {
    const auto got = ::recv(arp_.get(), bytes, sizeof bytes, 0);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0) // nothing more; or the interface is down, which linked() knows
      break;
    if (auto packet = parse_arp({bytes, static_cast<std::size_t>(got)}); packet && packet->sender != mac_)
      all.push_back(*packet);
  }
  return all;
}

} // namespace weir::network
