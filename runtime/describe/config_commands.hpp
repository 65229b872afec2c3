#pragma once
// `weir check` and `weir config schema|example|show` as plain functions, and every file that is generated from descriptions.
#include "runtime/describe/node_config.hpp"

#include <filesystem>
#include <iosfwd>
#include <string>
#include <vector>

namespace weir::describe {

enum class output_format { text, json };

/// Everything that is wrong, one line each (json: `{ok, problems: [{file, line, column, path, detail, severity}]}`). 0: good; 2: something fatal.
int check_command(const std::filesystem::path& path, std::ostream& out, output_format format = output_format::text,
                  const environment& variables = process_environment());
/// The values in force as YAML with the origin of each as a comment (json: `[{path, value, origin}]`), secrets masked. 0, or 2 with the problems.
int show_command(const std::filesystem::path& path, std::ostream& out, output_format format = output_format::text,
                 const environment& variables = process_environment());
/// JSON Schema of a node's YAML: config/schema.json.
std::string config_schema();
/// The commented example: config/reference.yaml.
std::string config_example();

/// What tools/generate writes and tests/house/generated compares.
struct generated_file {
  std::string path; ///< from the repository's root
  std::string text;
};
std::vector<generated_file> generated_files();

} // namespace weir::describe
