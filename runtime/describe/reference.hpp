#pragma once
// What a person reads about a described struct: a YAML with every key, its sentence, what is allowed and its default; the same as Markdown tables.
#include "runtime/describe/shape.hpp"

#include <string>

namespace weir::describe {

namespace detail {
std::string reference_yaml(const shape& type);
std::string reference_markdown(const shape& type);
} // namespace detail

/// Every key with its default, so that the text itself decodes; a sample entry, commented out, below each list of structs.
template <described T>
std::string reference_yaml() {
  return detail::reference_yaml(shape_of<T>());
}

/// One section for each nested struct, one row for each key.
template <described T>
std::string reference_markdown() {
  return detail::reference_markdown(shape_of<T>());
}

} // namespace weir::describe
