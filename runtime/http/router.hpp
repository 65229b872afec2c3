#pragma once
// The table of routes: "/api/v1/streams/{id}", "/assets/{rest...}". A literal segment beats a parameter, a parameter beats a tail.
#include "schemas/error.hpp"

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weir::http {

class router {
public:
  static constexpr std::size_t none = static_cast<std::size_t>(-1);

  /// Names the route `index`. Errors: invalid_config for a bad pattern, already_exists for a second one of the same shape and method.
  expected<void> add(std::string_view method, std::string_view pattern, std::size_t index);

  struct match {
    std::size_t index = none;                                             ///< none: see allow
    std::string allow;                                                    ///< methods that the path knows; empty: no such path
    std::size_t sibling = none;                                           ///< with allow: one route of that path
    std::vector<std::pair<std::string, std::string>> params;
  };
  /// `path` is normalised. HEAD finds GET's route.
  match find(std::string_view method, std::string_view path) const;

private:
  struct target {
    std::size_t index;
    std::vector<std::string> names; ///< of the parameters, in order
  };
  struct node {
    std::map<std::string, std::unique_ptr<node>, std::less<>> literals;
    std::unique_ptr<node> parameter;
    std::unique_ptr<node> tail;
    std::map<std::string, target, std::less<>> methods;
  };
  static const node* descend(const node& from, std::string_view rest, std::vector<std::string_view>& values);
  node root_;
};

/// Everything before the first parameter: "/hls/{stream}/index.m3u8" → "/hls/".
std::string_view literal_prefix(std::string_view pattern);

} // namespace weir::http
