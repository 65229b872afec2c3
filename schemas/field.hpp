#pragma once
// One description of every setting and every reported value.
//
//   struct thumbnail_options {
//     std::chrono::milliseconds every = std::chrono::seconds(10);
//     std::string token;
//     static constexpr auto fields() {
//       using o = thumbnail_options;
//       return std::tuple{
//         field("every", &o::every, {std::chrono::seconds(1), std::chrono::minutes(10)}, "Time from one picture to the next."),
//         field("token", &o::token, {0, 200}, "Sent to the target.", secret),
//       };
//     }
//   };
//
// From it come: strict decoding of YAML and JSON, JSON output, JSON Schema, reference.yaml, the docs (runtime/describe) and
// CAF's serialisation (below). The default of a field is its member's initialiser.
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <vector>

namespace weir {

/// What is special about a field; combine with |.
enum class field_flags : unsigned {
  none = 0,
  secret = 1,        ///< prints as ***, has a `NAME_file` twin in YAML
  needs_restart = 2, ///< a reload does not apply it
  cosmetic = 4,      ///< a change restarts nothing (names, comments)
  read_only = 8,     ///< reported, never taken from a request body
  json_text = 16,    ///< the text is a JSON document: shown and taken as what it holds, not as a string
};
constexpr field_flags operator|(field_flags a, field_flags b) { return static_cast<field_flags>(static_cast<unsigned>(a) | static_cast<unsigned>(b)); }
constexpr bool has(field_flags all, field_flags one) { return (static_cast<unsigned>(all) & static_cast<unsigned>(one)) != 0; }
inline constexpr auto secret = field_flags::secret;
inline constexpr auto needs_restart = field_flags::needs_restart;
inline constexpr auto cosmetic = field_flags::cosmetic;
inline constexpr auto read_only = field_flags::read_only;
inline constexpr auto json_text = field_flags::json_text;

template <class T>
struct is_std_vector : std::false_type {};
template <class T>
struct is_std_vector<std::vector<T>> : std::true_type {};
template <class T>
struct is_std_optional : std::false_type {};
template <class T>
struct is_std_optional<std::optional<T>> : std::true_type {};
template <class T>
struct is_duration : std::false_type {};
template <class R, class P>
struct is_duration<std::chrono::duration<R, P>> : std::true_type {};

namespace detail {
template <class T>
struct bound_type {
  // Numbers, durations and units: the value itself. Texts, ids, lists and maps: their length.
  using type = std::conditional_t<std::is_trivially_copyable_v<T>, T, std::size_t>;
};
template <class T>
struct bound_type<std::optional<T>> {
  using type = typename bound_type<T>::type;
};
} // namespace detail

/// Smallest and largest allowed value, both inclusive; for text and lists, of the length.
template <class T>
struct bounds {
  T min;
  T max;
};

/// One described member. Made by field().
template <class Owner, class T>
struct field_of {
  using owner_type = Owner;
  using value_type = T;
  using bound_type = typename detail::bound_type<T>::type;
  std::string_view name;
  T Owner::*member;
  std::optional<bounds<bound_type>> allowed;
  std::string_view sentence;
  field_flags flags = field_flags::none;

  constexpr bool is(field_flags f) const { return has(flags, f); }
};

template <class Owner, class T>
constexpr field_of<Owner, T> field(std::string_view name, T Owner::*member, std::string_view sentence, field_flags flags = field_flags::none) {
  return {name, member, std::nullopt, sentence, flags};
}
template <class Owner, class T>
constexpr field_of<Owner, T> field(std::string_view name, T Owner::*member, bounds<typename detail::bound_type<T>::type> allowed, std::string_view sentence,
                                   field_flags flags = field_flags::none) {
  return {name, member, allowed, sentence, flags};
}

/// A struct that lists its members in a static fields().
template <class T>
concept described = requires { std::remove_cvref_t<T>::fields(); };

/// What is wrong with a value although each of its fields is within bounds.
struct complaint {
  std::string path;   ///< below the struct that complains: "listen", "rungs[1].name"; empty for the whole
  std::string detail; ///< which value, why, what is allowed
  bool fatal = true;  ///< false: a warning
};

/// A struct with rules beyond bounds says `std::vector<complaint> check() const`; decoding calls it once all fields are right.
template <class T>
concept checked = requires(const T& x) {
  { x.check() } -> std::same_as<std::vector<complaint>>;
};

/// Calls f(field_of) for each described member, in order.
template <described T, class F>
constexpr void for_each_field(F&& f) {
  std::apply([&](const auto&... one) { (f(one), ...); }, std::remove_cvref_t<T>::fields());
}

/// CAF's serialisation of every described struct. The wire is positional: fields are append-only within a wire version.
/// CAF 0.17.6 cannot carry floating point, std::optional or std::variant: wire structs use integers (milli-units) and empty values.
template <class Inspector, described T>
typename Inspector::result_type inspect(Inspector& f, T& x) {
  return std::apply([&](const auto&... one) { return f((x.*(one.member))...); }, T::fields());
}

/// An enum whose values have names: `constexpr auto enum_names(phase) { return std::array{std::pair{phase::live, std::string_view("live")}, …}; }`
template <class E>
concept named_enum = std::is_enum_v<E> && requires(E e) { enum_names(e); };

template <named_enum E>
constexpr std::string_view to_string(E value) {
  for (auto& [v, name] : enum_names(E{}))
    if (v == value)
      return name;
  return "unknown";
}
template <named_enum E>
constexpr std::optional<E> from_string(std::string_view text) {
  for (auto& [v, name] : enum_names(E{}))
    if (name == text)
      return v;
  return std::nullopt;
}

} // namespace weir
