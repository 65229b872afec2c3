#include "runtime/http/router.hpp"

#include <fmt/format.h>

namespace weir::http {
namespace {

/// Takes "/first" off "/first/rest" and returns "first".
std::string_view take_segment(std::string_view& rest) {
  rest.remove_prefix(1);
  const auto end = rest.find('/');
  const auto segment = rest.substr(0, end);
  rest = end == std::string_view::npos ? std::string_view() : rest.substr(end);
  return segment;
}

} // namespace

std::string_view literal_prefix(std::string_view pattern) { return pattern.substr(0, pattern.find('{')); }

expected<void> router::add(std::string_view method, std::string_view pattern, std::size_t index) {
  const auto bad = [&](std::string_view why) { return fail(error_code::invalid_config, fmt::format("route {}: {}", pattern, why)); };
  if (!pattern.starts_with('/'))
    return bad("does not begin with /");
  node* at = &root_;
  std::vector<std::string> names;
  for (auto rest = pattern; !rest.empty();) {
    const auto segment = take_segment(rest);
    std::unique_ptr<node>* next = nullptr;
    if (segment.starts_with('{') && segment.ends_with("...}")) {
      if (!rest.empty())
        return bad("a tail parameter must be last");
      names.emplace_back(segment.substr(1, segment.size() - 5));
      next = &at->tail;
    } else if (segment.starts_with('{') && segment.ends_with('}')) {
      names.emplace_back(segment.substr(1, segment.size() - 2));
      next = &at->parameter;
    } else if (segment.find_first_of("{}") != std::string_view::npos) {
      return bad("a parameter must be a whole segment");
    } else {
      next = &at->literals[std::string(segment)];
    }
    if (!*next)
      *next = std::make_unique<node>();
    at = next->get();
  }
  if (!at->methods.emplace(std::string(method), target{index, std::move(names)}).second)
    return fail(error_code::already_exists, fmt::format("route {} {} exists", method, pattern));
  return {};
}

const router::node* router::descend(const node& from, std::string_view rest, std::vector<std::string_view>& values) {
  if (rest.empty())
    return from.methods.empty() ? nullptr : &from;
  const auto tail = rest.substr(1);
  auto after = rest;
  const auto segment = take_segment(after);
  if (const auto literal = from.literals.find(segment); literal != from.literals.end())
    if (auto* found = descend(*literal->second, after, values))
      return found;
  if (from.parameter && !segment.empty()) {
    values.push_back(segment);
    if (auto* found = descend(*from.parameter, after, values))
      return found;
    values.pop_back();
  }
  if (from.tail) {
    values.push_back(tail);
    return from.tail.get();
  }
  return nullptr;
}

router::match router::find(std::string_view method, std::string_view path) const {
  match out;
  std::vector<std::string_view> values;
  const auto* at = path.starts_with('/') ? descend(root_, path, values) : nullptr;
  if (!at)
    return out;
  auto chosen = at->methods.find(method);
  if (chosen == at->methods.end() && method == "HEAD")
    chosen = at->methods.find("GET");
  if (chosen == at->methods.end()) {
    for (auto& [name, one] : at->methods) {
      out.allow += (out.allow.empty() ? "" : ", ") + name + (name == "GET" ? ", HEAD" : "");
      out.sibling = one.index;
    }
    out.allow += ", OPTIONS";
    return out;
  }
  out.index = chosen->second.index;
  for (std::size_t i = 0; i < values.size(); ++i)
    out.params.emplace_back(chosen->second.names[i], values[i]);
  return out;
}

} // namespace weir::http
