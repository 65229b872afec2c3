#pragma once
// A document tree as JSON text. Inside runtime/describe only.
#include "runtime/describe/document.hpp"

namespace weir::describe {

/// Compact JSON; unquoted words that are neither numbers nor true and false become strings.
std::string json_of(const value& tree);

} // namespace weir::describe
