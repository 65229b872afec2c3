#pragma once
// Which Weir this is.
#include <string_view>

namespace weir {

std::string_view version(); ///< "0.1.0"
std::string_view commit();  ///< of the configured source tree; "unknown" without git

} // namespace weir
