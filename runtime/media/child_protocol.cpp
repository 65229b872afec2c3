#include "runtime/media/child_protocol.hpp"

#include "runtime/base/utf8.hpp"

#include <fmt/format.h>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

namespace weir::media {
namespace {

using json = nlohmann::json;

// --- to JSON ------------------------------------------------------------------------------------------------------------------------------
template <class T>
json to_json(const T& x) {
  if constexpr (described<T>) {
    auto object = json::object();
    for_each_field<T>([&](const auto& f) { object[std::string(f.name)] = to_json(x.*(f.member)); });
    return object;
  } else if constexpr (is_std_vector<T>::value) {
    auto list = json::array();
    for (auto& one : x)
      list.push_back(to_json(one));
    return list;
  } else if constexpr (named_enum<T>) {
    return to_string(x);
  } else if constexpr (is_duration<T>::value) {
    return x.count();
  } else if constexpr (std::is_same_v<T, timestamp>) {
    return std::chrono::duration_cast<std::chrono::microseconds>(x.time_since_epoch()).count();
  } else if constexpr (std::is_same_v<T, bit_rate>) {
    return x.bits_per_second;
  } else if constexpr (std::is_same_v<T, std::string>) {
    return to_valid_utf8(x); // libav's texts quote what a stream says of itself
  } else {
    return x;
  }
}

// --- from JSON ----------------------------------------------------------------------------------------------------------------------------
constexpr std::size_t longest_text = 4096; ///< in a list of them

expected<void> bad(std::string_view name, std::string_view why) { return fail(error_code::invalid_input, fmt::format("{}: {}", name, why)); }

expected<std::int64_t> integer(const json& j, std::string_view name, std::int64_t min, std::int64_t max) {
  if (j.is_number_unsigned() ? j.get<std::uint64_t>() > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()) : !j.is_number_integer())
    return fail(error_code::invalid_input, fmt::format("{}: is not an integer", name));
  auto value = j.get<std::int64_t>();
  if (value < min || value > max)
    return fail(error_code::invalid_input, fmt::format("{}: {} is outside {} to {}", name, value, min, max));
  return value;
}

template <class F>
constexpr std::pair<std::int64_t, std::int64_t> range_of(const F& f) {
  using value = typename F::value_type;
  std::int64_t lowest = std::numeric_limits<std::int64_t>::min(), highest = std::numeric_limits<std::int64_t>::max();
  if constexpr (std::is_integral_v<value> && !std::is_same_v<value, bool>) {
    if constexpr (std::is_unsigned_v<value>)
      lowest = 0;
    if constexpr (sizeof(value) < 8)
      highest = static_cast<std::int64_t>(std::numeric_limits<value>::max());
    if (f.allowed)
      return {static_cast<std::int64_t>(f.allowed->min), static_cast<std::int64_t>(f.allowed->max)};
  } else if constexpr (is_duration<value>::value) {
    if (f.allowed)
      return {f.allowed->min.count(), f.allowed->max.count()};
  } else if constexpr (std::is_same_v<value, bit_rate>) {
    if (f.allowed)
      return {f.allowed->min.bits_per_second, f.allowed->max.bits_per_second};
  }
  return {lowest, highest};
}

template <described T>
expected<void> read_object(const json& j, T& x, std::string_view name);

template <class F, class T>
expected<void> read_value(const json& j, const F& f, T& x) {
  if constexpr (described<T>) {
    return read_object(j, x, f.name);
  } else if constexpr (is_std_vector<T>::value) {
    if (!j.is_array())
      return bad(f.name, "is not a list");
    if (f.allowed && (j.size() < f.allowed->min || j.size() > f.allowed->max))
      return bad(f.name, fmt::format("has {} entries, {} to {} are allowed", j.size(), f.allowed->min, f.allowed->max));
    x.clear(); // of the entries that it has by default
    for (auto& one : j)
      if constexpr (std::is_same_v<typename T::value_type, std::string>) {
        if (!one.is_string() || one.get_ref<const std::string&>().size() > longest_text)
          return bad(f.name, fmt::format("an entry is no text of at most {} bytes", longest_text));
        x.push_back(one.get<std::string>());
      } else {
        WEIR_TRY(read_object(one, x.emplace_back(), f.name));
      }
    return {};
  } else if constexpr (std::is_same_v<T, bool>) {
    if (!j.is_boolean())
      return bad(f.name, "is neither true nor false");
    x = j.get<bool>();
    return {};
  } else if constexpr (std::is_same_v<T, std::string> || named_enum<T>) {
    if (!j.is_string())
      return bad(f.name, "is not a text");
    auto& text = j.get_ref<const std::string&>();
    if constexpr (named_enum<T>) {
      auto value = from_string<T>(text);
      if (!value)
        return bad(f.name, fmt::format("does not know {:?}", text.substr(0, 40)));
      x = *value;
    } else {
      if (f.allowed && (text.size() < f.allowed->min || text.size() > f.allowed->max))
        return bad(f.name, fmt::format("has {} bytes, {} to {} are allowed", text.size(), f.allowed->min, f.allowed->max));
      x = text;
    }
    return {};
  } else {
    auto [min, max] = range_of(f);
    auto value = integer(j, f.name, min, max);
    if (!value)
      return fail(value.error());
    if constexpr (is_duration<T>::value)
      x = T{*value};
    else if constexpr (std::is_same_v<T, timestamp>)
      x = timestamp{std::chrono::duration_cast<timestamp::duration>(std::chrono::microseconds{std::clamp(*value, std::int64_t{0}, std::int64_t{1} << 52)})};
    else if constexpr (std::is_same_v<T, bit_rate>)
      x = bit_rate{*value};
    else
      x = static_cast<T>(*value);
    return {};
  }
}

template <described T>
expected<void> read_object(const json& j, T& x, std::string_view name) {
  if (!j.is_object())
    return bad(name, "is not an object");
  expected<void> result;
  std::size_t known = 0;
  for_each_field<T>([&](const auto& f) {
    if (!result)
      return;
    auto it = j.find(f.name);
    if (it == j.end()) {
      result = bad(f.name, fmt::format("is missing in {}", name));
      return;
    }
    ++known;
    result = read_value(*it, f, x.*(f.member));
  });
  if (result && known != j.size())
    return bad(name, "has unknown members");
  return result;
}

template <class T>
constexpr std::string_view name_of() {
  if constexpr (std::is_same_v<T, configure>) return "configure";
  if constexpr (std::is_same_v<T, stop_order>) return "stop";
  if constexpr (std::is_same_v<T, use_inputs_order>) return "use_inputs";
  if constexpr (std::is_same_v<T, go_on>) return "go_on";
  if constexpr (std::is_same_v<T, ready>) return "ready";
  if constexpr (std::is_same_v<T, input_report>) return "input";
  if constexpr (std::is_same_v<T, rungs_report>) return "rungs";
  if constexpr (std::is_same_v<T, segment_report>) return "segment";
  if constexpr (std::is_same_v<T, part_report>) return "part";
  if constexpr (std::is_same_v<T, heartbeat>) return "heartbeat";
  if constexpr (std::is_same_v<T, trouble>) return "trouble";
  if constexpr (std::is_same_v<T, end_report>) return "end";
}

template <class T>
expected<record> read_record(const json& body) {
  T x;
  WEIR_TRY(read_object(body, x, name_of<T>()));
  return record{std::move(x)};
}

template <class... T>
expected<record> read_any(const std::string& name, const json& body, const std::variant<T...>*) {
  expected<record> result = fail(error_code::invalid_input, fmt::format("no record is called {:?}", name.substr(0, 40)));
  ((name == name_of<T>() ? void(result = read_record<T>(body)) : void()), ...);
  return result;
}

} // namespace

expected<std::string> encode(const record& r) {
  auto text = std::visit([](const auto& body) { return json{{std::string(name_of<std::decay_t<decltype(body)>>()), to_json(body)}}.dump(); }, r);
  if (text.size() > record_limit)
    return fail(error_code::too_large, fmt::format("a record of {} bytes, {} are allowed", text.size(), record_limit));
  // What the other side would refuse must not leave this one.
  if (auto check = decode(text); !check)
    return fail(check.error());
  return text;
}

expected<record> decode(std::string_view text) {
  if (text.size() > record_limit)
    return fail(error_code::too_large, fmt::format("a record of {} bytes, {} are allowed", text.size(), record_limit));
  constexpr int deepest = 6;
  bool acceptable = true;
  std::vector<std::set<std::string>> seen;
  auto watch = [&](int depth, json::parse_event_t event, json& value) {
    acceptable = acceptable && depth <= deepest;
    if (event == json::parse_event_t::object_start)
      seen.emplace_back();
    else if (event == json::parse_event_t::object_end)
      seen.pop_back();
    else if (event == json::parse_event_t::key)
      acceptable = acceptable && seen.back().insert(value.get<std::string>()).second; // nlohmann would keep the last of two
    return acceptable;
  };
  auto j = json::parse(text.begin(), text.end(), watch, false);
  if (!acceptable)
    return fail(error_code::invalid_input, "a record repeats a member or is nested too deeply");
  if (j.is_discarded() || !j.is_object() || j.size() != 1)
    return fail(error_code::invalid_input, "a record is not a JSON object with one member");
  return read_any(j.begin().key(), j.begin().value(), static_cast<const record*>(nullptr));
}

} // namespace weir::media
