#pragma once
// What happened: one line of the event log that operators read and the dashboard follows.
#include "schemas/field.hpp"
#include "schemas/ids.hpp"
#include "schemas/units.hpp"

#include <string>

namespace weir {

struct event {
  std::uint64_t number = 0; ///< grows by one; the SSE id
  timestamp at{};
  std::string kind;         ///< kebab-case: "stream-live", "task-crash-looping", "edge-dead"
  std::string subject;      ///< "stream/NAME", "task/ID", "node/NAME", "edge/NAME"
  std::string text;         ///< one sentence with the cause
  std::string actor;        ///< who caused it: "api", "hook", "coordinator", a node's name

  static constexpr auto fields() {
    using o = event;
    return std::tuple{
      field("number", &o::number, "Grows by one."),
      field("at", &o::at, "When."),
      field("kind", &o::kind, "What kind of event."),
      field("subject", &o::subject, "What it is about."),
      field("text", &o::text, "What happened and why."),
      field("actor", &o::actor, "Who caused it."),
    };
  }
};

} // namespace weir
