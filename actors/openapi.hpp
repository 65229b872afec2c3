#pragma once
// GET /api/v1/openapi.json: the API's description (OpenAPI 3.1), made of the routes as they are added and of the structs that they take.
#include <nlohmann/json.hpp>

#include <string>
#include <string_view>

namespace weir {

class openapi {
public:
  struct route {
    std::string_view method;
    std::string_view pattern;       ///< "/api/v1/streams/{id}"
    std::string_view summary;
    int status = 200;               ///< of the good answer
    std::string_view takes = {};    ///< schema of the request's body
    std::string_view gives = {};    ///< schema of the answer's body
    bool paged = false;             ///< gives a page of them: {items, next}
  };

  /// Names a schema for `takes` and `gives`.
  void schema(std::string_view name, nlohmann::json of);
  void add(const route& r);
  /// The whole document as JSON text.
  std::string document(std::string_view version) const;

private:
  nlohmann::json paths_ = nlohmann::json::object();
  nlohmann::json schemas_ = nlohmann::json::object();
};

} // namespace weir
