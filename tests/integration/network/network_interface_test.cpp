#include "runtime/network/network_interface.hpp"
#include "tests/integration/network/cable.hpp"

#include <linux/capability.h>
#include <sys/syscall.h>

namespace weir::testing {
namespace {

using namespace network;
using namespace std::chrono_literals;

class Interface : public Cable {
protected:
  /// Who has sent for an address within a second; empty: nobody.
  static std::string who_has(network_interface& near, const ipv4_address& address) {
    EXPECT_TRUE(near.send(arp_probe(near.mac(), address)));
    std::string who;
    for (int i = 0; i < 100 && who.empty(); ++i) {
      for (auto& packet : near.receive())
        if (packet.sender_address == address)
          who = network::to_string(packet.sender);
      std::this_thread::sleep_for(10ms);
    }
    return who;
  }
};

TEST_F(Interface, AddsAndRemovesAnAddressForItselfAlone) {
  inside([&] {
    auto near = network_interface::open("near", shared);
    ASSERT_TRUE(near) << near.error().text;
    EXPECT_TRUE(eventually([&] { return near->linked(); }));
    for (int twice = 0; twice < 2; ++twice)
      ASSERT_TRUE(near->add(wanted));
    EXPECT_EQ(run("ip addr show dev near | grep -q 'inet 10.9.0.5/32'"), 0);
    EXPECT_EQ(run("ip route | grep -c . | grep -qx 1"), 0) << "routes stay as they were";
    EXPECT_EQ(WEXITSTATUS(run("timeout 2 ip netns exec " + far + " bash -c '</dev/tcp/10.9.0.5/1'")), 1) << "refused at once, by this machine";
    for (int twice = 0; twice < 2; ++twice)
      ASSERT_TRUE(near->remove(wanted));
    EXPECT_NE(run("ip addr show dev near | grep -q 10.9.0.5"), 0);
    EXPECT_EQ(run("ip addr show dev near | grep -q 10.9.0.2/24"), 0);
  });
}

TEST_F(Interface, HearsWhoHasAnAddressAndNobodyWhereItIsFree) {
  inside([&] {
    auto near = network_interface::open("near", shared);
    ASSERT_TRUE(near) << near.error().text;
    ASSERT_TRUE(eventually([&] { return near->linked(); }));
    EXPECT_EQ(who_has(*near, wanted), "");
    ASSERT_EQ(run("ip -n " + far + " addr add 10.9.0.5/32 dev far"), 0);
    EXPECT_NE(who_has(*near, wanted), "");
    EXPECT_NE(who_has(*near, wanted), network::to_string(near->mac()));
    ASSERT_TRUE(near->add(others));
    EXPECT_EQ(who_has(*near, others), "") << "it does not answer itself";
  });
}

TEST_F(Interface, AnnouncesSoThatOthersFindTheAddressHereAtOnce) {
  inside([&] {
    auto near = network_interface::open("near", shared);
    ASSERT_TRUE(near) << near.error().text;
    ASSERT_TRUE(eventually([&] { return near->linked(); }));
    ASSERT_EQ(run("ip -n " + far + " neigh replace 10.9.0.5 lladdr 02:00:00:00:00:99 dev far nud reachable"), 0) << "as of the machine that died";
    ASSERT_TRUE(near->send(arp_announcement(near->mac(), wanted)));
    EXPECT_TRUE(eventually([&] { return run("ip -n " + far + " neigh show 10.9.0.5 | grep -q " + network::to_string(near->mac())) == 0; }));
  });
}

TEST_F(Interface, KnowsWhetherItsCableIsPluggedIn) {
  inside([&] {
    auto near = network_interface::open("near", shared);
    ASSERT_TRUE(near) << near.error().text;
    ASSERT_TRUE(eventually([&] { return near->linked(); }));
    ASSERT_EQ(run("ip -n " + far + " link set far down"), 0);
    EXPECT_TRUE(eventually([&] { return !near->linked(); }));
    ASSERT_EQ(run("ip -n " + far + " link set far up"), 0);
    EXPECT_TRUE(eventually([&] { return near->linked(); }));
    ASSERT_EQ(run("ip link del near"), 0);
    EXPECT_FALSE(near->linked()) << "one that is gone";
    EXPECT_FALSE(near->send(arp_probe(near->mac(), wanted)));
    EXPECT_FALSE(near->add(wanted));
  });
}

TEST_F(Interface, FollowsItsNameToOneThatIsMadeAnew) {
  inside([&] {
    auto near = network_interface::open("near", shared);
    ASSERT_TRUE(near) << near.error().text;
    ASSERT_TRUE(eventually([&] { return near->linked(); }));
    ASSERT_TRUE(near->add(wanted));
    auto there = near->addresses();
    ASSERT_TRUE(there) << there.error().text;
    EXPECT_EQ(*there, (std::vector<ipv4_address>{{10, 9, 0, 2}, wanted}));
    const auto before = near->mac();
    ASSERT_EQ(run("ip link del near"), 0);
    EXPECT_FALSE(near->linked());
    EXPECT_TRUE(near->remove(wanted)) << "it went with the interface";
    ASSERT_TRUE(plug_in_anew());
    ASSERT_TRUE(eventually([&] { return run("ip link show dev near | grep -q LOWER_UP") == 0; }));
    EXPECT_FALSE(near->linked()) << "once, for nothing of ours is on this one";
    EXPECT_TRUE(eventually([&] { return near->linked(); }));
    EXPECT_NE(near->mac(), before);
    ASSERT_TRUE(near->add(wanted));
    EXPECT_EQ(run("ip addr show dev near | grep -q 'inet 10.9.0.5/32'"), 0);
    ASSERT_EQ(run("ip -n " + far + " addr add 10.9.0.6/32 dev far"), 0);
    EXPECT_NE(who_has(*near, others), "") << "it speaks and hears there";
  });
}

TEST_F(Interface, SaysWhyItCannotBeUsed) {
  inside([&] {
    auto missing = network_interface::open("eth9", shared);
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().text, "edge.shared_address.interface: there is no network interface eth9");
    auto loop = network_interface::open("lo", shared);
    ASSERT_FALSE(loop);
    EXPECT_NE(loop.error().text.find("lo is not Ethernet"), std::string::npos) << loop.error().text;
    auto foreign = network_interface::open("near", *parse_machine_address("10.8.0.5/24"));
    ASSERT_FALSE(foreign);
    EXPECT_NE(foreign.error().text.find("near has no address of its own in the network of 10.8.0.5"), std::string::npos) << foreign.error().text;
    ASSERT_EQ(run("ip addr add 10.9.0.5/24 dev near"), 0);
    auto taken = network_interface::open("near", shared);
    ASSERT_FALSE(taken);
    EXPECT_NE(taken.error().text.find("10.9.0.5 is on near already"), std::string::npos) << taken.error().text;
    ASSERT_EQ(run("ip addr del 10.9.0.5/24 dev near && ip addr add 10.9.0.5/32 dev near"), 0);
    EXPECT_TRUE(network_interface::open("near", shared)) << "what a killed weir left";
    __user_cap_header_struct who{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0}; // this thread
    __user_cap_data_struct all[2]{}, none[2]{};
    ASSERT_EQ(::syscall(SYS_capget, &who, all), 0);
    none[0].permitted = all[0].permitted;
    none[1].permitted = all[1].permitted;
    ASSERT_EQ(::syscall(SYS_capset, &who, none), 0);
    auto forbidden = network_interface::open("near", shared);
    ASSERT_EQ(::syscall(SYS_capset, &who, all), 0);
    ASSERT_FALSE(forbidden);
    EXPECT_EQ(forbidden.error().code, error_code::forbidden);
    EXPECT_EQ(forbidden.error().text, "edge.shared_address needs the capability CAP_NET_ADMIN, which this process does not have");
  });
}

} // namespace
} // namespace weir::testing
