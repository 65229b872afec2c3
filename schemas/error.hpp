#pragma once
// What can go wrong, as values. Exceptions stop where the throwing library is called; broken invariants assert.
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace weir {

/// Append-only: the numbers travel between nodes. Each value has a sentence and an HTTP status in error.cpp.
enum class error_code : std::uint16_t {
  none = 0,
  invalid_input,   ///< text from outside does not follow its format
  invalid_config,  ///< a setting is unknown, of the wrong type or outside its bounds
  not_found,       ///< the named thing does not exist
  already_exists,  ///< a thing of that name exists
  conflict,        ///< the thing changed since it was read (If-Match)
  fenced,          ///< a newer epoch has taken over
  unauthorized,    ///< no or wrong credentials
  forbidden,       ///< known, but not allowed
  too_large,       ///< over a limit of size or depth
  too_many,        ///< over a limit of rate or number
  timeout,         ///< no answer within the deadline
  unavailable,     ///< the part that should answer is not there now
  io_failed,       ///< the operating system refused
  corrupt,         ///< stored data does not check out
  newer_schema,    ///< stored data was written by a newer Weir
  media_failed,    ///< libav or an encoder refused
  source_ended,    ///< the input ended as it should
  source_stalled,  ///< the input is silent
  target_refused,  ///< the target of a restream refuses
  crashed,         ///< a child process died
  hung,            ///< a child process made no progress
  overloaded,      ///< slower than real time
  unsupported,     ///< valid, but this Weir cannot do it
  internal,        ///< a bug in Weir
};

/// One sentence that says what the code means.
std::string_view sentence(error_code code);
/// The status with which the code is answered over HTTP.
int http_status(error_code code);
/// The stable kebab-case word of the code, as in `problem+json` and in `errors_total{code}`.
std::string_view to_string(error_code code);

/// What failed, with which value, why, where. Callers add context in front and never rewrite.
struct error {
  error_code code = error_code::internal;
  std::string text;

  /// The same error with `context: ` in front of its text.
  [[nodiscard]] error in(std::string_view context) const& { return {code, std::string(context) + ": " + text}; }
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, error& x) {
  return f(x.code, x.text);
}

template <class T>
using expected = tl::expected<T, error>;

/// `return fail(error_code::not_found, "stream x");`
inline tl::unexpected<error> fail(error_code code, std::string text) { return tl::unexpected<error>(error{code, std::move(text)}); }
inline tl::unexpected<error> fail(error e) { return tl::unexpected<error>(std::move(e)); }

/// Leaves the function with the error of an expected expression; otherwise goes on.
#define WEIR_TRY(expression)                                     \
  do {                                                           \
    if (auto&& weir_try_ = (expression); !weir_try_)             \
      return ::weir::fail(std::move(weir_try_).error());         \
  } while (false)

} // namespace weir
