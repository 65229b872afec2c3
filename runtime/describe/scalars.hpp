#pragma once
// What an unquoted word would mean to a YAML reader, and how numbers of each kind are written. Inside runtime/describe only.
#include "runtime/describe/shape.hpp"

#include <string>
#include <string_view>

namespace weir::describe {

bool is_decimal(std::string_view text);      ///< 0, 5, -12
bool is_yaml_number(std::string_view text);  ///< what YAML 1.1 or 1.2 reads as a number: 5, 010, 0x1f, 1e3, .5, 1_000, 1:30, .inf
bool is_yaml_boolean(std::string_view text); ///< what YAML 1.1 reads as a boolean: yes, On, n, TRUE
bool is_yaml_null(std::string_view text);
/// Whether the text means itself when it is written without quotes, for readers of YAML 1.1 and 1.2 alike.
bool is_plain_safe(std::string_view text);

/// A number of this kind in the form that people write: "2s", "2.5M", "30", "debug".
std::string show_number(const shape& type, wide n);
/// "36..2160", "1s..10m"; one bound alone where the other is only the type's own.
std::string show_range(const shape& type, const bounds<wide>& allowed);
std::string to_text(wide n);
/// What bounds speak of: the number itself, the length of a text or list; nothing for an optional or a struct.
std::optional<wide> measure_of(const shape& type, const void* x);

} // namespace weir::describe
