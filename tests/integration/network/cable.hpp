#pragma once
// A real interface in a network namespace of the test's own: two ends of one cable, of which the far one is another machine.
#include "runtime/network/arp.hpp"
#include "schemas/config.hpp"

#include <chrono>
#include <cstdlib>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <string>
#include <thread>
#include <unistd.h>

namespace weir::testing {

inline int run(const std::string& command) { return std::system((command + " >/dev/null 2>&1").c_str()); }

template <class F>
bool eventually(F&& so) {
  for (int i = 0; i < 300; ++i) {
    if (so())
      return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

/// Runs in a namespace of its own, in which near (10.9.0.2) and far (10.9.0.3) are the ends of a cable; far has a namespace of its own where possible.
class Cable : public ::testing::Test {
protected:
  const machine_address shared = *parse_machine_address("10.9.0.5/24");
  const network::ipv4_address wanted{10, 9, 0, 5}, others{10, 9, 0, 6};
  std::string far = fmt::format("weir-far-{}", ::getpid());

  /// As after `ip link del near`: another interface of the same name, at the same cable.
  bool plug_in_anew() const {
    return run("ip link add near type veth peer name far netns " + far + " && ip addr add 10.9.0.2/24 dev near && ip link set near up") == 0 &&
           run("ip -n " + far + " addr add 10.9.0.3/24 dev far && ip -n " + far + " link set far up") == 0;
  }
  /// The thread is the namespace's: it is gone with it.
  template <class F>
  void inside(F&& test) {
    bool made = false;
    std::thread([&] {
      if (::unshare(CLONE_NEWNET) != 0 || run("ip link add near type veth peer name far") != 0 || run("ip addr add 10.9.0.2/24 dev near && ip link set near up") != 0)
        return;
      if (run("ip netns add " + far) != 0)
        return;
      if (run("ip link set far netns " + far) == 0 && run("ip -n " + far + " addr add 10.9.0.3/24 dev far") == 0 && run("ip -n " + far + " link set far up") == 0) {
        made = true;
        test();
      }
      run("ip netns del " + far);
    }).join();
    if (!made)
      GTEST_SKIP() << "no network namespace can be made here";
  }
};

} // namespace weir::testing
