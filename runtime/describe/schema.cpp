#include "runtime/describe/schema.hpp"

#include "runtime/describe/encode.hpp"
#include "runtime/describe/scalars.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace weir::describe {
namespace {

using json = nlohmann::ordered_json;

json number_of(wide n) { return n < 0 ? json(static_cast<std::int64_t>(n)) : json(static_cast<std::uint64_t>(n)); }

// A number that an editor cannot compute with: its unit is part of the text.
json with_unit(const char* pattern, std::initializer_list<const char*> examples) {
  json out{{"type", "string"}, {"pattern", pattern}};
  out["examples"] = json::array();
  for (auto* one : examples)
    out["examples"].push_back(one);
  return out;
}

json schema_of_type(const shape& type, const void* initial, const std::optional<bounds<wide>>& allowed, const schema_options& options);

json object_schema(const shape& type, const void* initial, const schema_options& options) {
  json out{{"type", "object"}, {"properties", json::object()}, {"additionalProperties", false}};
  auto required = json::array();
  for (auto& f : type.fields) {
    auto& field_type = f.type();
    auto* at = f.of_const(initial);
    bool raw = f.is(json_text);
    auto one = raw ? json{{"type", "object"}} : schema_of_type(field_type, at, f.allowed, options);
    std::string sentence(f.sentence);
    bool unit = field_type.is == shape::kind::bit_rate || field_type.is == shape::kind::byte_size || field_type.is == shape::kind::duration;
    if (unit && f.allowed)
      sentence += fmt::format(" ({})", show_range(field_type, *f.allowed));
    one["description"] = sentence;
    auto length = measure_of(field_type, at);
    bool needed = f.allowed && length && (*length < f.allowed->min || *length > f.allowed->max) && !f.is(read_only);
    if (needed)
      required.push_back(std::string(f.name));
    else if (!f.is(secret) && !raw && !f.is(read_only) && field_type.is != shape::kind::object && field_type.is != shape::kind::optional)
      one["default"] = detail::encode(field_type, at, {});
    if (f.is(secret))
      one["writeOnly"] = true;
    if (f.is(read_only))
      one["readOnly"] = true;
    out["properties"][std::string(f.name)] = std::move(one);
    if (options.yaml && f.is(secret))
      out["properties"][fmt::format("{}_file", f.name)] = json{{"type", "string"}, {"description", fmt::format("File that holds {}, readable by owner and group only.", f.name)}};
  }
  if (!required.empty())
    out["required"] = std::move(required);
  return out;
}

json schema_of_type(const shape& type, const void* initial, const std::optional<bounds<wide>>& allowed, const schema_options& options) {
  json out;
  switch (type.is) {
    case shape::kind::object: return object_schema(type, initial, options);
    case shape::kind::optional: {
      // An absent value has no instance to look at, but its own type always has one.
      auto& inner = type.element();
      auto one = schema_of_type(inner, inner.initial ? inner.initial() : nullptr, allowed, options);
      return json{{"anyOf", json::array({std::move(one), json{{"type", "null"}}})}};
    }
    case shape::kind::list:
    case shape::kind::map: {
      auto& inner = type.element();
      auto one = schema_of_type(inner, inner.initial ? inner.initial() : nullptr, std::nullopt, options);
      if (type.is == shape::kind::map)
        return json{{"type", "object"}, {"additionalProperties", std::move(one)}};
      out = json{{"type", "array"}, {"items", std::move(one)}};
      if (allowed)
        out["minItems"] = number_of(allowed->min), out["maxItems"] = number_of(allowed->max);
      return out;
    }
    case shape::kind::text:
      out = json{{"type", "string"}};
      if (allowed)
        out["minLength"] = number_of(allowed->min), out["maxLength"] = number_of(allowed->max);
      return out; // ${VAR} is text already
    case shape::kind::boolean: out = json{{"type", "boolean"}}; break;
    case shape::kind::integer:
      out = json{{"type", "integer"}, {"minimum", number_of(allowed ? allowed->min : type.lowest)}, {"maximum", number_of(allowed ? allowed->max : type.highest)}};
      break;
    case shape::kind::bit_rate: out = with_unit(R"(^[0-9]+(\.[0-9]{1,9})?[kMG]?$)", {"2.5M", "800k"}); break;
    case shape::kind::byte_size: out = with_unit(R"(^[0-9]+(\.[0-9]{1,9})?([kMG]B|[KMG]iB|B)?$)", {"512MiB", "10GB"}); break;
    case shape::kind::duration: out = with_unit(R"(^[0-9]+(\.[0-9]{1,9})?(ms|s|m|h|d)$)", {"2s", "250ms", "10m"}); break;
    case shape::kind::timestamp: out = json{{"type", json::array({"string", "null"})}, {"format", "date-time"}}; break;
    case shape::kind::enumeration:
      out = json{{"type", "string"}, {"enum", json::array()}};
      for (auto& [n, name] : type.names)
        out["enum"].push_back(std::string(name));
  }
  if ((type.is == shape::kind::bit_rate || type.is == shape::kind::byte_size) && out.contains("type"))
    out["type"] = json::array({"string", "integer"}); // bare bits a second and bytes
  if (!options.yaml)
    return out;
  json from_variable{{"type", "string"}, {"pattern", R"(\$\{[A-Za-z_])"}};
  return json{{"anyOf", json::array({std::move(out), std::move(from_variable)})}};
}

} // namespace

json detail::schema(const shape& type, const schema_options& options) {
  json out{{"$schema", "https://json-schema.org/draft/2020-12/schema"}};
  if (!options.title.empty())
    out["title"] = options.title;
  out.update(object_schema(type, type.initial(), options));
  return out;
}

} // namespace weir::describe
