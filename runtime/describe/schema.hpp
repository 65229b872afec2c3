#pragma once
// JSON Schema 2020-12 of a described struct: types, bounds, units as patterns, words of enums, defaults, sentences; secrets are writeOnly.
// It follows the decoder's rules, so that an editor and a form complain where the decoder would.
#include "runtime/describe/shape.hpp"

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace weir::describe {

struct schema_options {
  std::string title;
  bool yaml = false; ///< for files: every scalar may be written as ${VAR}, every secret has its NAME_file twin
};

namespace detail {
nlohmann::ordered_json schema(const shape& type, const schema_options& options);
} // namespace detail

/// nlohmann::ordered_json; who calls it includes nlohmann/json.hpp.
template <described T>
auto schema_of(const schema_options& options = {}) {
  return detail::schema(shape_of<T>(), options);
}

} // namespace weir::describe
