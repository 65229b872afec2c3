#include "runtime/network/capabilities.hpp"

#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>

namespace weir::testing {
namespace {

bool inherited(int capability) { return ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, capability, 0, 0) == 1; }

/// As systemd's AmbientCapabilities does.
bool let_inherit(int capability) {
  __user_cap_header_struct who{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct have[2]{};
  if (::syscall(SYS_capget, &who, have) != 0)
    return false;
  have[0].inheritable |= 1U << capability;
  return ::syscall(SYS_capset, &who, have) == 0 && ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) == 0;
}

TEST(Capabilities, OfTheNetworkAreNotInheritedByChildren) {
  bool possible = false;
  std::thread([&] { // what it does with itself ends with it
    possible = let_inherit(CAP_NET_ADMIN) && let_inherit(CAP_NET_RAW) && let_inherit(CAP_NET_BIND_SERVICE);
    if (!possible)
      return;
    ASSERT_TRUE(network::check_capabilities());
    auto kept = network::keep_capabilities_from_children();
    ASSERT_TRUE(kept) << kept.error().text;
    EXPECT_FALSE(inherited(CAP_NET_ADMIN));
    EXPECT_FALSE(inherited(CAP_NET_RAW));
    EXPECT_TRUE(inherited(CAP_NET_BIND_SERVICE)) << "nginx may need that one";
    EXPECT_TRUE(network::check_capabilities()) << "we go on";
    EXPECT_TRUE(network::keep_capabilities_from_children()) << "where there is nothing to do";
  }).join();
  if (!possible)
    GTEST_SKIP() << "this process has none to pass on";
}

} // namespace
} // namespace weir::testing
