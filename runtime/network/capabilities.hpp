#pragma once
// What this process may do with the network beyond others, and that its children may not.
#include "schemas/error.hpp"

namespace weir::network {

/// CAP_NET_ADMIN puts addresses on interfaces, CAP_NET_RAW speaks ARP. Fails: forbidden without one of them.
expected<void> check_capabilities();
/// From now on no program that this thread starts, or a thread of its, inherits these two (as ambient ones, from systemd's AmbientCapabilities): nginx and
/// pipelines read what strangers send. Others are inherited as before. Fails: io_failed.
expected<void> keep_capabilities_from_children();

} // namespace weir::network
