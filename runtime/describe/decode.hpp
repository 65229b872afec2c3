#pragma once
// Strict decoding of a tree into a described struct: nothing is guessed, everything that is wrong is reported at once.
//
//   restream_options options;
//   problems found;
//   if (!decode(parse_json(body, "", found), options, found)) return problem_json(found);
#include "runtime/describe/document.hpp"
#include "runtime/describe/shape.hpp"

#include <functional>

namespace weir::describe {

struct decode_options {
  bool partial = false;        ///< PATCH: keys that are absent keep their value, even required ones
  bool skip_read_only = false; ///< PUT of what GET showed: read-only keys are passed over instead of refused
  /// Reads the file that a secret's NAME_file twin names; without it (API bodies) the twins are unknown keys.
  std::function<expected<std::string>(const std::string& path, const place& written)> read_secret = {};
};

namespace detail {
bool decode(const value& from, const shape& type, void* out, problems& found, const decode_options& options);
} // namespace detail

/// Sets the named keys of `out`; false, with `out` as it was, when something fatal is wrong with this document (also when `found` already held
/// something fatal). A key is required when its default is outside its bounds. Warnings are added, too.
template <described T>
bool decode(const value& from, T& out, problems& found, const decode_options& options = {}) {
  T made = out;
  if (!detail::decode(from, shape_of<T>(), &made, found, options) || any_fatal(found))
    return false;
  out = std::move(made);
  return true;
}

/// A whole struct from JSON text; invalid_input with all problems in its text.
template <described T>
expected<T> from_json(std::string_view text, const decode_options& options = {}) {
  problems found;
  T out;
  if (!decode(parse_json(text, "", found), out, found, options))
    return fail(to_error(found, error_code::invalid_input));
  return out;
}

/// The nearest of the known words, or empty when none is near (edit distance of at most a third of the word).
std::string_view nearest(std::string_view word, const std::vector<std::string_view>& known);

} // namespace weir::describe
