#pragma once
// fields() as a table at run time. shape_of<T>() is the only template with a body worth compiling; decoding, encoding, schema and reference
// walk the table, so that a described struct costs its users little.
#include "schemas/field.hpp"
#include "schemas/ids.hpp"
#include "schemas/units.hpp"

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weir::describe {

__extension__ typedef __int128 wide; // holds every 64-bit value, signed or not

struct shape;

struct field_shape {
  std::string_view name;
  std::string_view sentence;
  field_flags flags;
  std::optional<bounds<wide>> allowed; ///< of the value in its smallest unit, of a text's or list's length
  const shape& (*type)();
  void* (*of)(void* owner);

  bool is(field_flags f) const { return has(flags, f); }
  const void* of_const(const void* owner) const { return of(const_cast<void*>(owner)); } // only forms the member's address
};

/// What a type is made of. Only the functions of its kind are set; the pointers they take point to a value of the type.
struct shape {
  enum class kind : unsigned char { boolean, integer, bit_rate, byte_size, duration, timestamp, text, enumeration, optional, list, map, object };
  kind is;

  // numbers of all kinds, in the smallest unit: units, bits a second, bytes, milliseconds, ticks of the clock, the enum's number
  wide lowest = 0;
  wide highest = 0;
  wide step = 1; ///< a duration in seconds takes only whole ones: 1000
  wide (*get)(const void*) = nullptr;
  void (*set)(void*, wide) = nullptr;
  std::vector<std::pair<wide, std::string_view>> names; ///< of an enumeration

  std::string& (*text)(void*) = nullptr;

  // optional, list and map
  const shape& (*element)() = nullptr;
  std::size_t (*size)(const void*) = nullptr;
  const void* (*at)(const void*, std::size_t) = nullptr;
  std::string_view (*key)(const void*, std::size_t) = nullptr;
  void* (*add)(void*, std::string_view key) = nullptr; ///< optional: makes it hold a value
  void (*clear)(void*) = nullptr;

  // object
  std::vector<field_shape> fields;
  const void* (*initial)() = nullptr; ///< an object with every default
  std::vector<complaint> (*check)(const void*) = nullptr;
  void (*copy)(void*, const void*) = nullptr; ///< every kind: assigns
};

template <class T>
const shape& shape_of();

namespace detail {

template <class T>
struct is_text_id : std::false_type {};
template <class Tag>
struct is_text_id<id<Tag>> : std::true_type {};
template <class T>
struct is_text_map : std::false_type {};
template <class T>
struct is_text_map<std::map<std::string, T>> : std::true_type {};

/// Types with an order that bounds can speak of.
template <class T>
concept numeric = std::is_integral_v<T> || std::is_enum_v<T> || is_duration<T>::value || std::is_same_v<T, bit_rate> || std::is_same_v<T, byte_size> ||
                  std::is_same_v<T, timestamp>;

template <numeric T>
wide number(const T& x) {
  if constexpr (std::is_same_v<T, bit_rate>)
    return x.bits_per_second;
  else if constexpr (std::is_same_v<T, byte_size>)
    return x.bytes;
  else if constexpr (std::is_same_v<T, timestamp>)
    return x.time_since_epoch().count();
  else if constexpr (is_duration<T>::value)
    return std::chrono::duration_cast<std::chrono::milliseconds>(x).count();
  else
    return static_cast<wide>(x);
}

template <numeric T>
void set_number(T& x, wide n) {
  if constexpr (std::is_same_v<T, bit_rate>)
    x.bits_per_second = static_cast<std::int64_t>(n);
  else if constexpr (std::is_same_v<T, byte_size>)
    x.bytes = static_cast<std::int64_t>(n);
  else if constexpr (std::is_same_v<T, timestamp>)
    x = timestamp(timestamp::duration(static_cast<timestamp::rep>(n)));
  else if constexpr (is_duration<T>::value)
    x = std::chrono::duration_cast<T>(std::chrono::milliseconds(static_cast<std::int64_t>(n)));
  else
    x = static_cast<T>(n);
}

template <numeric T>
shape number_shape(shape::kind is) {
  shape s{.is = is};
  s.get = [](const void* x) { return number(*static_cast<const T*>(x)); };
  s.set = [](void* x, wide n) { set_number(*static_cast<T*>(x), n); };
  s.lowest = std::numeric_limits<std::int64_t>::min();
  s.highest = std::numeric_limits<std::int64_t>::max();
  if constexpr (std::is_integral_v<T>) {
    s.lowest = std::numeric_limits<T>::min();
    s.highest = std::numeric_limits<T>::max();
  } else if constexpr (is_duration<T>::value) {
    static_assert(std::ratio_greater_equal_v<typename T::period, std::milli>, "described durations count milliseconds or more");
    s.step = number(T(1));
    s.lowest = 0;
  } else if constexpr (!std::is_same_v<T, timestamp>) {
    s.lowest = 0;
  }
  return s;
}

template <class T>
shape object_shape() {
  static const T defaults{};
  shape s{.is = shape::kind::object};
  s.initial = [] { return static_cast<const void*>(&defaults); };
  if constexpr (checked<T>)
    s.check = [](const void* x) { return static_cast<const T*>(x)->check(); };
  [&]<std::size_t... I>(std::index_sequence<I...>) {
    auto one = [&]<std::size_t At>() {
      static constexpr auto f = std::get<At>(T::fields());
      using value_type = typename std::remove_cvref_t<decltype(f)>::value_type;
      field_shape out{f.name, f.sentence, f.flags, std::nullopt, &shape_of<value_type>, [](void* owner) { return static_cast<void*>(&(static_cast<T*>(owner)->*(f.member))); }};
      if constexpr (numeric<typename std::remove_cvref_t<decltype(f)>::bound_type>)
        if (f.allowed)
          out.allowed = bounds<wide>{number(f.allowed->min), number(f.allowed->max)};
      s.fields.push_back(out);
    };
    (one.template operator()<I>(), ...);
  }(std::make_index_sequence<std::tuple_size_v<decltype(T::fields())>>{});
  return s;
}

template <class T>
shape make_shape() {
  using kind = shape::kind;
  shape s{.is = kind::text};
  if constexpr (described<T>) {
    s = object_shape<T>();
  } else if constexpr (std::is_same_v<T, bool>) {
    s = number_shape<T>(kind::boolean);
  } else if constexpr (std::is_same_v<T, bit_rate>) {
    s = number_shape<T>(kind::bit_rate);
  } else if constexpr (std::is_same_v<T, byte_size>) {
    s = number_shape<T>(kind::byte_size);
  } else if constexpr (std::is_same_v<T, timestamp>) {
    s = number_shape<T>(kind::timestamp);
  } else if constexpr (is_duration<T>::value) {
    s = number_shape<T>(kind::duration);
  } else if constexpr (std::is_integral_v<T>) {
    s = number_shape<T>(kind::integer);
  } else if constexpr (named_enum<T>) {
    s = number_shape<T>(kind::enumeration);
    for (auto& [v, name] : enum_names(T{}))
      s.names.emplace_back(number(v), name);
  } else if constexpr (std::is_same_v<T, std::string>) {
    s.text = [](void* x) -> std::string& { return *static_cast<std::string*>(x); };
  } else if constexpr (is_text_id<T>::value) {
    s.text = [](void* x) -> std::string& { return static_cast<T*>(x)->value; };
  } else if constexpr (is_std_optional<T>::value) {
    s.is = kind::optional;
    s.element = &shape_of<typename T::value_type>;
    s.size = [](const void* x) { return std::size_t(static_cast<const T*>(x)->has_value()); };
    s.at = [](const void* x, std::size_t) { return static_cast<const void*>(&**static_cast<const T*>(x)); };
    s.add = [](void* x, std::string_view) { return static_cast<void*>(&static_cast<T*>(x)->emplace()); };
    s.clear = [](void* x) { static_cast<T*>(x)->reset(); };
  } else if constexpr (is_std_vector<T>::value) {
    s.is = kind::list;
    s.element = &shape_of<typename T::value_type>;
    s.size = [](const void* x) { return static_cast<const T*>(x)->size(); };
    s.at = [](const void* x, std::size_t i) { return static_cast<const void*>(&(*static_cast<const T*>(x))[i]); };
    s.add = [](void* x, std::string_view) { return static_cast<void*>(&static_cast<T*>(x)->emplace_back()); };
    s.clear = [](void* x) { static_cast<T*>(x)->clear(); };
  } else {
    static_assert(is_text_map<T>::value, "a described field is of a type that runtime/describe does not know");
    s.is = kind::map;
    s.element = &shape_of<typename T::mapped_type>;
    s.size = [](const void* x) { return static_cast<const T*>(x)->size(); };
    s.at = [](const void* x, std::size_t i) { return static_cast<const void*>(&std::next(static_cast<const T*>(x)->begin(), static_cast<std::ptrdiff_t>(i))->second); };
    s.key = [](const void* x, std::size_t i) { return std::string_view(std::next(static_cast<const T*>(x)->begin(), static_cast<std::ptrdiff_t>(i))->first); };
    s.add = [](void* x, std::string_view key) { return static_cast<void*>(&(*static_cast<T*>(x))[std::string(key)]); };
    s.clear = [](void* x) { static_cast<T*>(x)->clear(); };
  }
  s.copy = [](void* to, const void* from) { *static_cast<T*>(to) = *static_cast<const T*>(from); };
  return s;
}

} // namespace detail

/// Made once per type, at first use; thread-safe.
template <class T>
const shape& shape_of() {
  static const shape made = detail::make_shape<T>();
  return made;
}

} // namespace weir::describe
