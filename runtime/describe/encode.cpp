#include "runtime/describe/encode.hpp"

#include "runtime/base/utf8.hpp"
#include "runtime/describe/json_tree.hpp"
#include "runtime/describe/scalars.hpp"
#include "runtime/describe/yaml_writer.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace weir::describe {
namespace {

using json = nlohmann::ordered_json;

json tree_to_json(const value& tree) {
  switch (tree.is) {
    case value::kind::null: return nullptr;
    case value::kind::quoted: return tree.text;
    case value::kind::list: {
      auto out = json::array();
      for (auto& item : tree.items)
        out.push_back(tree_to_json(item));
      return out;
    }
    case value::kind::map: {
      auto out = json::object();
      for (auto& m : tree.members)
        out[m.key] = tree_to_json(m.it);
      return out;
    }
    case value::kind::plain: break;
  }
  if (tree.text == "true" || tree.text == "false")
    return tree.text == "true";
  if (is_decimal(tree.text) || (is_yaml_number(tree.text) && json::accept(tree.text)))
    return json::parse(tree.text, nullptr, false);
  return tree.text;
}

// The JSON that a json_text field holds, with the same limits as a request body; what is not JSON stays text.
json held_json(const std::string& text) {
  problems ignored;
  auto tree = parse_json(text, "", ignored);
  return ignored.empty() ? tree_to_json(tree) : json(to_valid_utf8(text));
}

json encode_one(const shape& type, const void* from, field_flags flags, const encode_options& options) {
  switch (type.is) {
    case shape::kind::boolean: return type.get(from) != 0;
    case shape::kind::integer: {
      auto n = type.get(from);
      return n < 0 ? json(static_cast<std::int64_t>(n)) : json(static_cast<std::uint64_t>(n));
    }
    case shape::kind::timestamp: return type.get(from) == 0 ? json(nullptr) : json(show_number(type, type.get(from)));
    case shape::kind::bit_rate:
    case shape::kind::byte_size:
    case shape::kind::duration:
    case shape::kind::enumeration: return show_number(type, type.get(from));
    case shape::kind::text: {
      auto& text = type.text(const_cast<void*>(from)); // reads only
      if (has(flags, secret) && !options.secrets)
        return text.empty() ? "" : "***";
      return has(flags, json_text) ? held_json(text) : json(to_valid_utf8(text));
    }
    case shape::kind::optional: return type.size(from) == 0 ? json(nullptr) : encode_one(type.element(), type.at(from, 0), flags, options);
    case shape::kind::list: {
      auto out = json::array();
      for (std::size_t i = 0; i < type.size(from); ++i)
        out.push_back(encode_one(type.element(), type.at(from, i), flags, options));
      return out;
    }
    case shape::kind::map: {
      auto out = json::object();
      for (std::size_t i = 0; i < type.size(from); ++i)
        out[to_valid_utf8(type.key(from, i))] = encode_one(type.element(), type.at(from, i), flags, options);
      return out;
    }
    case shape::kind::object: break;
  }
  auto out = json::object();
  for (auto& f : type.fields)
    out[std::string(f.name)] = encode_one(f.type(), f.of_const(from), flags | f.flags, options);
  return out;
}

void compare(const shape& type, const void* before, const void* after, const std::string& path, field_flags flags, std::vector<change>& out) {
  for (auto& f : type.fields) {
    auto name = path.empty() ? std::string(f.name) : fmt::format("{}.{}", path, f.name);
    auto& field_type = f.type();
    auto *old = f.of_const(before), *now = f.of_const(after);
    if (field_type.is == shape::kind::object)
      compare(field_type, old, now, name, flags | f.flags, out);
    else if (encode_one(field_type, old, f.flags, {.secrets = true}) != encode_one(field_type, now, f.flags, {.secrets = true}))
      out.push_back({std::move(name), flags | f.flags});
  }
}

} // namespace

std::string json_of(const value& tree) { return tree_to_json(tree).dump(-1, ' ', false, json::error_handler_t::replace); }

json detail::encode(const shape& type, const void* from, const encode_options& options) { return encode_one(type, from, field_flags::none, options); }

std::string detail::json_text_of(const shape& type, const void* from, const encode_options& options) {
  return encode_one(type, from, field_flags::none, options).dump(options.indent, ' ', false, json::error_handler_t::replace);
}

std::string detail::yaml_text_of(const shape& type, const void* from, const encode_options& options) {
  return yaml_block(encode_one(type, from, field_flags::none, options));
}

std::vector<change> detail::changed(const shape& type, const void* before, const void* after) {
  std::vector<change> out;
  compare(type, before, after, "", field_flags::none, out);
  return out;
}

bool only_cosmetic(const std::vector<change>& changes) {
  return std::all_of(changes.begin(), changes.end(), [](auto& c) { return has(c.flags, cosmetic); });
}

std::string yaml_inline(const json& value) {
  if (value.is_string()) {
    auto& text = value.get_ref<const std::string&>();
    return is_plain_safe(text) ? text : value.dump(-1, ' ', false, json::error_handler_t::replace);
  }
  if (!value.is_structured())
    return value.dump();
  std::string out;
  for (auto& [key, item] : value.items()) {
    auto text = yaml_inline(item);
    // A plain word with a colon would end at the comma for some readers: quote it inside flow style.
    if (item.is_string() && text.front() != '"' && text.find(':') != std::string::npos)
      text = item.dump();
    out += (out.empty() ? "" : ", ") + (value.is_object() ? yaml_inline(json(key)) + ": " : "") + text;
  }
  return value.is_object() ? "{" + out + "}" : "[" + out + "]";
}

std::string yaml_block(const json& value, std::size_t indent) {
  std::string blanks(indent, ' ');
  auto flat = [](const json& v) {
    return !v.is_structured() || v.empty() || (v.is_array() && std::none_of(v.begin(), v.end(), [](auto& item) { return item.is_structured(); }));
  };
  if (flat(value))
    return blanks + yaml_inline(value) + "\n";
  std::string out;
  for (auto& [key, item] : value.items())
    if (value.is_array()) {
      auto text = yaml_block(item, indent + 2);
      text[indent] = '-';
      out += text;
    } else if (flat(item)) {
      out += fmt::format("{}{}: {}\n", blanks, yaml_inline(json(key)), yaml_inline(item));
    } else {
      out += fmt::format("{}{}:\n{}", blanks, yaml_inline(json(key)), yaml_block(item, indent + 2));
    }
  return out;
}

} // namespace weir::describe
