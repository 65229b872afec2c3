#include "actors/openapi.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

namespace weir {

using nlohmann::json;

namespace {

json content(std::string_view type, json schema) { return {{std::string(type), {{"schema", std::move(schema)}}}}; }
json reference(std::string_view name) { return {{"$ref", fmt::format("#/components/schemas/{}", name)}}; }
json parameter(std::string_view name, std::string_view in, std::string_view about, json schema) {
  return {{"name", name}, {"in", in}, {"required", in == "path"}, {"description", about}, {"schema", std::move(schema)}};
}

} // namespace

void openapi::schema(std::string_view name, json of) {
  of.erase("$schema");
  schemas_[std::string(name)] = std::move(of);
}

void openapi::add(const route& r) {
  json parameters = json::array();
  for (std::size_t at = r.pattern.find('{'); at != std::string_view::npos; at = r.pattern.find('{', at + 1)) {
    auto name = r.pattern.substr(at + 1, r.pattern.find('}', at) - at - 1);
    parameters.push_back(parameter(name, "path", name == "id" ? "Identity" : "Name", {{"type", "string"}}));
  }
  if (r.paged) {
    parameters.push_back(parameter("limit", "query", "Most items of a page", {{"type", "integer"}, {"minimum", 1}, {"maximum", 1000}, {"default", 100}}));
    parameters.push_back(parameter("cursor", "query", "`next` of the page before", {{"type", "string"}}));
  }
  if (r.method == "PUT" || r.method == "PATCH" || r.method == "DELETE")
    parameters.push_back(parameter("If-Match", "header", "ETag of the version that is meant; another one answers 412", {{"type", "string"}}));
  if (r.status == 201)
    parameters.push_back(parameter("Idempotency-Key", "header", "The same creation sent again under the same key is answered with what the first one made", {{"type", "string"}, {"maxLength", 128}}));

  json good{{"description", r.status == 204 ? "Done" : r.status == 201 ? "Made" : "OK"}};
  if (!r.gives.empty())
    good["content"] = content("application/json", r.paged ? json{{"type", "object"},
                                                                 {"properties", {{"items", {{"type", "array"}, {"items", reference(r.gives)}}}, {"next", {{"type", json::array({"string", "null"})}}}}}}
                                                          : reference(r.gives));
  json operation{{"summary", r.summary},
                 {"responses", {{std::to_string(r.status), std::move(good)}, {"default", {{"description", "Refused"}, {"content", content("application/problem+json", reference("Problem"))}}}}}};
  if (!parameters.empty())
    operation["parameters"] = std::move(parameters);
  if (!r.takes.empty())
    operation["requestBody"] = {{"required", true}, {"content", content("application/json", reference(r.takes))}};
  std::string method(r.method);
  std::ranges::transform(method, method.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  paths_[std::string(r.pattern)][method] = std::move(operation);
}

std::string openapi::document(std::string_view version) const {
  auto schemas = schemas_;
  schemas["Problem"] = {{"type", "object"},
                        {"description", "RFC 9457; `code` is stable"},
                        {"properties",
                         {{"type", {{"type", "string"}}},
                          {"title", {{"type", "string"}}},
                          {"status", {{"type", "integer"}}},
                          {"detail", {{"type", "string"}}},
                          {"code", {{"type", "string"}}},
                          {"errors", {{"type", "array"}, {"items", {{"type", "object"}, {"properties", {{"pointer", {{"type", "string"}}}, {"detail", {{"type", "string"}}}}}}}}}}}};
  json all{{"openapi", "3.1.0"},
           {"info", {{"title", "Weir"}, {"version", version}, {"summary", "Streams, their tasks, nodes and edges of a live-streaming cluster"}}},
           {"servers", json::array({{{"url", "/"}}})},
           {"security", json::array({{{"token", json::array()}}})},
           {"paths", paths_},
           {"components", {{"schemas", std::move(schemas)}, {"securitySchemes", {{"token", {{"type", "http"}, {"scheme", "bearer"}}}}}}}};
  return all.dump(1);
}

} // namespace weir
