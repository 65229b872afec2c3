#pragma once
// Where a node's values come from besides its YAML: the environment and an include folder. All work on the tree, so that every value keeps its origin.
#include "runtime/describe/document.hpp"
#include "runtime/describe/shape.hpp"

#include <filesystem>
#include <functional>
#include <map>
#include <string>

namespace weir::describe {

using environment = std::map<std::string, std::string, std::less<>>;
/// The variables of this process.
environment process_environment();

/// Replaces ${NAME}, ${NAME:-default} (also when NAME is empty) and $$ in every scalar. A variable that is not set and has no default is a problem.
void substitute(value& tree, const environment& variables, problems& found);

/// Lays one document over another: maps are merged, anything else may be set only once.
void merge(value& into, value from, problems& found);

/// Sets what WEIR_SECTION_KEY variables name: scalars as they are, lists from commas or by index (WEIR_CLUSTER_JOIN_0), a secret's file with _FILE.
/// A WEIR_ variable that names nothing is a warning, except those of the command line (WEIR_SERVER, WEIR_TOKEN…).
void override_from(value& tree, const shape& type, const environment& variables, problems& found);

/// Reads the file behind a secret's NAME_file: relative to $CREDENTIALS_DIRECTORY if that is set, otherwise to the YAML that names it. A file that
/// others may read is refused.
std::function<expected<std::string>(const std::string& path, const place& written)> secret_reader(const environment& variables);

} // namespace weir::describe
