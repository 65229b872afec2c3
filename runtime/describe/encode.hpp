#pragma once
// Described structs as JSON and YAML: durations "2s", bit rates "2.5M", times in RFC 3339 (null: never), enums by name, ids as text. Secrets
// print as *** unless asked for; a json_text field shows what it holds, so whoever knows its type must mask it. Text that is not UTF-8 is mended.
#include "runtime/describe/shape.hpp"

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace weir::describe {

struct encode_options {
  bool secrets = false; ///< in clear: for storage and for the wire
  int indent = -1;      ///< of JSON text; -1: one line
};

namespace detail {
nlohmann::ordered_json encode(const shape& type, const void* from, const encode_options& options);
std::string json_text_of(const shape& type, const void* from, const encode_options& options);
std::string yaml_text_of(const shape& type, const void* from, const encode_options& options);
} // namespace detail

/// nlohmann::ordered_json; who calls it includes nlohmann/json.hpp.
template <described T>
auto encode(const T& from, const encode_options& options = {}) {
  return detail::encode(shape_of<T>(), &from, options);
}
template <described T>
std::string to_json(const T& from, const encode_options& options = {}) {
  return detail::json_text_of(shape_of<T>(), &from, options);
}
/// Block style, keys in the order of fields(); parse_yaml and decode give the same value back (with secrets in clear).
template <described T>
std::string to_yaml(const T& from, const encode_options& options = {}) {
  return detail::yaml_text_of(shape_of<T>(), &from, options);
}

/// One field that differs, with the flags of the structs around it.
struct change {
  std::string path; ///< "http.listen"; a list or map differs as a whole
  field_flags flags;
};

namespace detail {
std::vector<change> changed(const shape& type, const void* before, const void* after);
} // namespace detail

/// What differs. Nothing restarts when every change is cosmetic.
template <described T>
std::vector<change> changed_fields(const T& before, const T& after) {
  return detail::changed(shape_of<T>(), &before, &after);
}
bool only_cosmetic(const std::vector<change>& changes);

} // namespace weir::describe
