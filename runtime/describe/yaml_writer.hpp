#pragma once
// JSON values as YAML text.
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace weir::describe {

/// On one line: scalars quoted only where they must be, lists and maps in flow style.
std::string yaml_inline(const nlohmann::ordered_json& value);
/// In block style below `indent` blanks; lists of scalars stay on one line.
std::string yaml_block(const nlohmann::ordered_json& value, std::size_t indent = 0);

} // namespace weir::describe
