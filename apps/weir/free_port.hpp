#pragma once
#include "schemas/error.hpp"

#include <cstdint>

namespace weir {

/// The first of `count` neighbouring TCP ports on loopback that nobody listens on now. Somebody may take them before we do: whoever binds them says so.
expected<std::uint16_t> free_ports(unsigned count = 1);

} // namespace weir
