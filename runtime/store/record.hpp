#pragma once
// How a described struct becomes the value of a key and back: a JSON object with one member for each field.
// Missing members leave the field at its default (older writer); members that this Weir does not know are handed back (newer writer).
#include "schemas/error.hpp"
#include "schemas/field.hpp"
#include "schemas/ids.hpp"
#include "schemas/units.hpp"

#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace weir::store::record {

using json = nlohmann::json;

template <class T>
struct is_id : std::false_type {};
template <class Tag>
struct is_id<id<Tag>> : std::true_type {};

template <described T>
json encode(const T& x);
template <described T>
expected<T> decode(const json& j, json* unknown);

template <class T>
json encode_value(const T& x) {
  if constexpr (described<T>)
    return encode(x);
  else if constexpr (is_id<T>::value)
    return x.value;
  else if constexpr (named_enum<T>)
    return to_string(x);
  else if constexpr (std::is_same_v<T, timestamp>)
    return std::chrono::nanoseconds(x.time_since_epoch()).count();
  else if constexpr (is_std_vector<T>::value) {
    auto list = json::array();
    for (auto& one : x)
      list.push_back(encode_value(one));
    return list;
  } else {
    static_assert(std::is_same_v<T, std::string> || std::is_integral_v<T>, "teach the store how this type is written");
    return x;
  }
}

/// Fails with what is wrong, without the key.
template <class T>
expected<void> decode_value(const json& j, T& x) {
  auto wrong = [&](std::string_view wanted) { return fail(error_code::corrupt, "is " + std::string(j.type_name()) + ", not " + std::string(wanted)); };
  if constexpr (described<T>) {
    auto inner = decode<T>(j, nullptr);
    WEIR_TRY(inner);
    x = std::move(*inner);
  } else if constexpr (is_std_vector<T>::value) {
    if (!j.is_array())
      return wrong("a list");
    for (auto& one : j)
      WEIR_TRY(decode_value(one, x.emplace_back()));
  } else if constexpr (std::is_same_v<T, bool>) {
    if (!j.is_boolean())
      return wrong("a truth value");
    x = j.get<bool>();
  } else if constexpr (std::is_integral_v<T>) {
    // The library would wrap a negative or too large number without a word.
    if (j.is_number_unsigned() ? j.get<std::uint64_t>() > static_cast<std::uint64_t>(std::numeric_limits<T>::max())
                               : !j.is_number_integer() || std::cmp_less(j.get<std::int64_t>(), std::numeric_limits<T>::min()))
      return wrong("an integer in range");
    x = j.get<T>();
  } else if constexpr (std::is_same_v<T, timestamp>) {
    std::int64_t nanoseconds = 0;
    WEIR_TRY(decode_value(j, nanoseconds));
    x = timestamp(std::chrono::nanoseconds(nanoseconds));
  } else {
    if (!j.is_string())
      return wrong("text");
    auto& text = j.get_ref<const std::string&>();
    if constexpr (is_id<T>::value)
      x = T(text);
    else if constexpr (named_enum<T>) {
      auto value = from_string<T>(text);
      if (!value)
        return fail(error_code::newer_schema, "has the value " + text + ", which this Weir does not know");
      x = *value;
    } else
      x = text;
  }
  return {};
}

template <described T>
json encode(const T& x) {
  auto j = json::object();
  for_each_field<T>([&](const auto& f) { j[std::string(f.name)] = encode_value(x.*(f.member)); });
  return j;
}

/// `unknown` takes the members that T does not have; where it is null such a member is an error.
template <described T>
expected<T> decode(const json& j, json* unknown) {
  if (!j.is_object())
    return fail(error_code::corrupt, "is " + std::string(j.type_name()) + ", not an object");
  T x;
  expected<void> result;
  std::size_t known = 0;
  for_each_field<T>([&](const auto& f) {
    auto found = j.find(f.name);
    if (!result || found == j.end())
      return;
    ++known;
    if (auto taken = decode_value(*found, x.*(f.member)); !taken)
      result = fail(taken.error().in(f.name));
  });
  WEIR_TRY(result);
  if (known == j.size())
    return x;
  if (!unknown)
    return fail(error_code::newer_schema, "has a member that this Weir does not know");
  *unknown = j;
  for_each_field<T>([&](const auto& f) { unknown->erase(std::string(f.name)); });
  return x;
}

} // namespace weir::store::record
