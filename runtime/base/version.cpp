#include "runtime/base/version.hpp"

namespace weir {

std::string_view version() { return WEIR_VERSION; }
std::string_view commit() { return WEIR_COMMIT; }

} // namespace weir
