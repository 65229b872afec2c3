#include "runtime/rtmp/bounded_json.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <set>

namespace weir::rtmp {

expected<nlohmann::json> bounded_object(std::string_view text, std::size_t bytes, int depth) {
  using json = nlohmann::json;
  if (text.size() > bytes)
    return fail(error_code::too_large, fmt::format("{} bytes of JSON; at most {} are taken", text.size(), bytes));
  bool deep = false;
  std::set<std::string> names;
  std::string doubled;
  const auto watch = [&](int level, json::parse_event_t event, json& parsed) {
    deep |= level > depth;
    if (event == json::parse_event_t::key && level == 1 && !names.insert(parsed.get<std::string>()).second)
      doubled = parsed.get<std::string>();
    return level <= depth; // deeper values are not even kept
  };
  auto object = json::parse(text, watch, false);
  if (deep)
    return fail(error_code::too_large, fmt::format("JSON is nested deeper than {}", depth));
  if (!object.is_object())
    return fail(error_code::invalid_input, "the body is not a JSON object");
  if (!doubled.empty())
    return fail(error_code::invalid_input, fmt::format("the field {} occurs twice", doubled));
  return object;
}

expected<std::string> text_field(const nlohmann::json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end() || found->is_null())
    return std::string();
  std::string text;
  if (found->is_string())
    text = found->get<std::string>();
  else if (found->is_number_integer())
    text = found->dump();
  else
    return fail(error_code::invalid_input, fmt::format("the field {} is a JSON {}, not a text", name, found->type_name()));
  if (!plain_text(text))
    return fail(error_code::invalid_input, fmt::format("the field {} is too long or holds control bytes", name));
  return text;
}

bool plain_text(std::string_view text) {
  return text.size() <= 2048 && std::none_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

} // namespace weir::rtmp
