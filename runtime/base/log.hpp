#pragma once
// The log: lines for people on a terminal, JSON lines for machines elsewhere.
//
//   log::warn("coordinator", "task-backs-off", "task={} attempt={} error={}", task, attempt, why);
//
//   2026-11-22T10:00:00.123Z warn  coordinator task-backs-off task=7f… attempt=3 error="connection refused (target-refused)"
//   {"time":"…","level":"warn","component":"coordinator","event":"task-backs-off","task":"7f…","attempt":"3","error":"…"}
//
// Component and event are kebab-case literals, checked while compiling like the format itself. Each `name=` of the format starts a value; words before
// the first one are the message. Control characters in values are escaped, so a value cannot forge a line; every value passes mask(). From warn on, an
// event that repeats prints once in 10 s and then says `repeated=N`. Nothing here throws.
#include "runtime/base/format.hpp"
#include "schemas/error.hpp"

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weir::log {

enum class level : std::uint8_t { debug, info, warn, error, critical };
constexpr auto enum_names(level) {
  using sv = std::string_view;
  return std::array{std::pair{level::debug, sv("debug")}, std::pair{level::info, sv("info")}, std::pair{level::warn, sv("warn")},
                    std::pair{level::error, sv("error")}, std::pair{level::critical, sv("critical")}};
}

enum class format : std::uint8_t { automatic, text, json };
constexpr auto enum_names(format) {
  using sv = std::string_view;
  return std::array{std::pair{format::automatic, sv("automatic")}, std::pair{format::text, sv("text")}, std::pair{format::json, sv("json")}};
}

/// A literal in kebab-case; anything else does not compile. `Role` keeps components and events apart.
template <class Role>
struct kebab {
  std::string_view text;
  consteval kebab(const char* literal) : text(literal) {
    bool word = false; // the last character belongs to a word
    for (std::size_t i = 0; i < text.size(); ++i) {
      char c = text[i];
      bool fits = (c >= 'a' && c <= 'z') || (i > 0 && c >= '0' && c <= '9') || (c == '-' && word);
      if (!fits)
        throw "a log component or event is not kebab-case";
      word = c != '-';
    }
    if (!word)
      throw "a log component or event is not kebab-case";
  }
};
using component = kebab<struct component_role>;
using event = kebab<struct event_role>;

struct options {
  level lowest = level::info;
  format style = format::automatic; ///< automatic: text where the sink is a terminal, otherwise JSON lines
  std::string file;                 ///< empty: stderr
};

/// Opens the sink anew, also while running (so a rotated file is let go). Fails with io_failed and keeps the old sink.
expected<void> configure(const options& wanted);
/// Changes the level of a running program.
void set_level(level lowest) noexcept;
bool enabled(level wanted) noexcept;
/// Prints what repetition has held back. Happens by itself after 10 s and at exit.
void flush() noexcept;

/// Lines of level warn or above since the start, held back ones included: the source of weir_errors_total.
struct count {
  std::string component;
  std::string event;
  level severity = level::warn;
  std::uint64_t lines = 0;
};
std::vector<count> counts();

/// The text with the values of key=, token=, streamid=, password=, pass= and secret= arguments (also as JSON members), bearer tokens, viewing tokens
/// in addresses (/t/TOKEN) and the user information of URLs replaced by ***.
std::string mask(std::string_view text);
/// Also replaces each of the known secrets wherever it occurs (libav repeats its URL in its own lines). Secrets shorter than 4 bytes are left.
std::string mask(std::string_view text, std::span<const std::string> secrets);
/// The address of a restream target without its stream key: of the path only the first part stays, and of that only when another follows.
std::string mask_target(std::string_view url);

namespace detail {
void write(level severity, std::string_view component, std::string_view event, fmt::string_view format, fmt::format_args args) noexcept;
}

template <class... A>
void debug(component c, event e, fmt::format_string<A...> f, A&&... args) noexcept {
  if (enabled(level::debug))
    detail::write(level::debug, c.text, e.text, f, fmt::make_format_args(args...));
}
template <class... A>
void info(component c, event e, fmt::format_string<A...> f, A&&... args) noexcept {
  if (enabled(level::info))
    detail::write(level::info, c.text, e.text, f, fmt::make_format_args(args...));
}
template <class... A>
void warn(component c, event e, fmt::format_string<A...> f, A&&... args) noexcept {
  detail::write(level::warn, c.text, e.text, f, fmt::make_format_args(args...));
}
template <class... A>
void error(component c, event e, fmt::format_string<A...> f, A&&... args) noexcept {
  detail::write(level::error, c.text, e.text, f, fmt::make_format_args(args...));
}
template <class... A>
void critical(component c, event e, fmt::format_string<A...> f, A&&... args) noexcept {
  detail::write(level::critical, c.text, e.text, f, fmt::make_format_args(args...));
}

} // namespace weir::log
