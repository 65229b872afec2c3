#pragma once
// The task types that this program links. A new one is a folder under actors/tasks/ whose last line registers it:
//   WEIR_TASK_TYPE(thumbnail, options, run, "Writes one JPEG of the picture every few seconds.")
// Checking, schema, API, form, docs and placement follow from its options' fields().
#include "actors/interfaces.hpp"
#include "runtime/describe/decode.hpp"
#include "runtime/describe/encode.hpp"
#include "runtime/describe/schema.hpp"
#include "runtime/supervise/backoff.hpp"

#include <nlohmann/json.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace weir {

namespace http {
class client;
}

/// What a node lends to its runners.
struct runner_tools {
  std::shared_ptr<http::client> http;
  std::vector<ladder_spec> ladders;
  std::string program = "/proc/self/exe"; ///< that knows the pipelines' hidden mode
  supervise::backoff_rule retry;          ///< of a task's process that fails
  int niceness = 0;                       ///< of a task's process, 0 to 19
};

struct task_type {
  std::string name;
  std::string summary;
  bool needs_origin = false; ///< writes segments
  nlohmann::ordered_json (*schema)();
  /// The wanted options as JSON text with every default filled in; empty, with `found` saying all that is wrong, when they cannot be. `old` (may be empty)
  /// are the options in force: absent keys keep their value, and so does a secret that comes back as the *** under which it was shown.
  std::string (*check)(const describe::value& wanted, std::string_view old, describe::problems& found);
  /// The options for people: secrets as ***.
  std::string (*masked)(std::string_view options);
  /// CPU cores × 1000 that placement counts with.
  std::int64_t (*cost_milli)(std::string_view options);
  /// What of the options a running process depends on: cosmetic ones are as by default.
  std::string (*process)(std::string_view options);
  /// Whether a second run on another node is wanted, for when the first one ends.
  bool (*standby)(std::string_view options);
  /// Whether a run that is slower than real time goes to a node with room, rather than doing less where it is.
  bool (*moves)(std::string_view options);
  /// Starts a RUNNER as a linked child of the NODE.
  std::function<task_runner_actor(caf::local_actor* node, node_actor teller, task_order order, const runner_tools& tools)> spawn;
};

/// All that are linked, by name.
const std::vector<task_type>& task_types();
/// Null when there is none of that name.
const task_type* find_task_type(std::string_view name);
/// check() of stored or foreign text as one error; unsupported when there is no such type.
expected<std::string> canonical_options(std::string_view type, std::string_view options);

namespace detail {
bool register_task_type(task_type type);
/// Takes the members away that are secret and say ***.
describe::value without_masked(describe::value wanted, const std::vector<std::string_view>& secrets);

/// Options that were checked before they were stored.
template <described Options>
Options stored_options(std::string_view text) {
  return describe::from_json<Options>(text).value_or(Options{});
}

template <described Options>
std::string check_options(const describe::value& wanted, std::string_view old, describe::problems& found) {
  std::vector<std::string_view> secrets;
  for_each_field<Options>([&](const auto& f) {
    if (f.is(secret))
      secrets.push_back(f.name);
  });
  Options options = old.empty() ? Options{} : stored_options<Options>(old);
  auto named = old.empty() ? wanted : without_masked(wanted, secrets);
  return describe::decode(named, options, found, {.partial = !old.empty()}) ? describe::to_json(options, {.secrets = true}) : std::string{};
}

template <described Options, class Run>
task_type make_task_type(std::string name, std::string summary, Run run) {
  task_type t;
  t.name = std::move(name);
  t.summary = std::move(summary);
  t.needs_origin = Options::needs_origin;
  t.schema = [] { return describe::schema_of<Options>(); };
  t.check = check_options<Options>;
  t.masked = [](std::string_view text) { return describe::to_json(stored_options<Options>(text)); };
  t.cost_milli = [](std::string_view text) { return stored_options<Options>(text).cost_milli(); };
  t.process = [](std::string_view text) {
    auto options = stored_options<Options>(text);
    for_each_field<Options>([&](const auto& f) {
      if (f.is(cosmetic))
        options.*(f.member) = Options{}.*(f.member);
    });
    return describe::to_json(options, {.secrets = true});
  };
  t.standby = [](std::string_view text) {
    if constexpr (requires(Options o) { o.standby; })
      return stored_options<Options>(text).standby;
    else
      return (void)text, false;
  };
  t.moves = [](std::string_view text) {
    if constexpr (requires(Options o) { o.moves(); })
      return stored_options<Options>(text).moves();
    else
      return (void)text, true;
  };
  t.spawn = [run](caf::local_actor* node, node_actor teller, task_order order, const runner_tools& tools) -> task_runner_actor {
    auto options = stored_options<Options>(order.options);
    return node->spawn<caf::linked>(run, std::move(teller), std::move(order), std::move(options), tools);
  };
  return t;
}
} // namespace detail

/// The last line of a task type's file. `run` is the behaviour of its RUNNER: (self, node, order, options, tools).
#define WEIR_TASK_TYPE(name, options, run, summary) \
  [[maybe_unused]] const bool registered = ::weir::detail::register_task_type(::weir::detail::make_task_type<options>(#name, summary, run));

} // namespace weir
