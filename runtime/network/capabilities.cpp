#include "runtime/network/capabilities.hpp"

#include "runtime/base/file.hpp"

#include <array>
#include <linux/capability.h>
#include <string_view>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

namespace weir::network {

namespace {

constexpr std::array needed{std::pair{CAP_NET_ADMIN, std::string_view("CAP_NET_ADMIN")}, std::pair{CAP_NET_RAW, std::string_view("CAP_NET_RAW")}};

} // namespace

expected<void> check_capabilities() {
  __user_cap_header_struct who{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct have[2]{};
  if (::syscall(SYS_capget, &who, have) != 0)
    return fail(system_error("asking for our capabilities"));
  for (auto [bit, word] : needed)
    if ((have[0].effective >> bit & 1) == 0)
      return fail(error_code::forbidden, fmt::format("edge.shared_address needs the capability {}, which this process does not have", word));
  return {};
}

expected<void> keep_capabilities_from_children() {
  for (auto [bit, word] : needed) {
    const int inherited = ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, bit, 0, 0);
    if (inherited < 0 || (inherited == 1 && ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_LOWER, bit, 0, 0) != 0))
      return fail(system_error(fmt::format("keeping the capability {} from children", word)));
  }
  return {};
}

} // namespace weir::network
