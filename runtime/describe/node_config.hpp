#pragma once
// A node's configuration as it really is: its YAML, conf.d/*.yaml beside it, the environment, files of secrets and ladders.
#include "runtime/describe/document.hpp"
#include "runtime/describe/sources.hpp"
#include "schemas/config.hpp"

#include <filesystem>

namespace weir::describe {

struct loaded_config {
  node_config config; ///< to be used only when good(); node.name is never empty and `ladders` holds every ladder there is
  problems found;     ///< sorted by place; warnings too
  value tree;         ///< what was written, with places

  bool good() const { return !any_fatal(found); }
};

/// Reads PATH and, in byte order, conf.d/*.yaml in its folder; ${VAR}; WEIR_… overrides; NAME_file secrets; ladder_files. Never throws.
loaded_config load_node_config(const std::filesystem::path& path, const environment& variables = process_environment());

/// The same from a text, without touching any file: includes, ladder files and secrets from files are left out.
loaded_config parse_node_config(std::string_view text, std::string_view file, const environment& variables);

/// One ladder from a file such as config/ladders/default.yaml; ${VAR} works there, too.
expected<ladder_spec> load_ladder(const std::filesystem::path& path, problems& found, const environment& variables);

/// One setting that is in force.
struct effective_value {
  std::string path;   ///< "http.listen"
  std::string value;  ///< as YAML on one line, secrets as ***
  std::string origin; ///< "weir.yaml:3:11", "environment variable WEIR_HTTP_LISTEN" or "default"
};
std::vector<effective_value> effective_values(const loaded_config& loaded);

} // namespace weir::describe
