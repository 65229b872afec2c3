#include "actors/task_types.hpp"

#include <algorithm>
#include <fmt/format.h>

namespace weir {
namespace {

std::vector<task_type>& registry() {
  static std::vector<task_type> types;
  return types;
}

} // namespace

const std::vector<task_type>& task_types() { return registry(); }

const task_type* find_task_type(std::string_view name) {
  auto found = std::ranges::find(registry(), name, &task_type::name);
  return found == registry().end() ? nullptr : &*found;
}

expected<std::string> canonical_options(std::string_view type, std::string_view options) {
  auto* t = find_task_type(type);
  if (!t)
    return fail(error_code::unsupported, fmt::format("there is no task type {:?}", type));
  describe::problems found;
  auto checked = t->check(describe::parse_json(options, "", found), {}, found);
  if (checked.empty() || describe::any_fatal(found))
    return fail(describe::to_error(found, error_code::invalid_config));
  return checked;
}

namespace detail {

describe::value without_masked(describe::value wanted, const std::vector<std::string_view>& secrets) {
  std::erase_if(wanted.members, [&](auto& m) { return m.it.text == "***" && std::ranges::find(secrets, m.key) != secrets.end(); });
  return wanted;
}

bool register_task_type(task_type type) {
  auto& types = registry();
  auto place = std::ranges::lower_bound(types, type.name, {}, &task_type::name);
  if (place != types.end() && place->name == type.name)
    return false;
  types.insert(place, std::move(type));
  return true;
}

} // namespace detail

} // namespace weir
