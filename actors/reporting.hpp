#pragma once
// How every actor answers ask_status: its name, its kind, how long its mailbox is, and its status as JSON with secrets masked.
#include "actors/messages.hpp"
#include "runtime/describe/encode.hpp"

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace weir {

template <class Self>
actor_report report_of(Self* self, std::string name, std::string status, caf::actor_clock::time_point started, std::vector<caf::actor> children = {}, std::uint64_t restarts = 0) {
  auto uptime = std::chrono::duration_cast<std::chrono::milliseconds>(self->clock().now() - started).count();
  return {std::move(name), self->name(), std::move(status), self->mailbox().size(), restarts, uptime, std::move(children)};
}

template <class Self>
actor_report report_of(Self* self, std::string name, const nlohmann::json& status, caf::actor_clock::time_point started, std::vector<caf::actor> children = {},
                       std::uint64_t restarts = 0) {
  return report_of(self, std::move(name), status.dump(), started, std::move(children), restarts);
}

template <class Self, described T>
actor_report report_of(Self* self, std::string name, const T& status, caf::actor_clock::time_point started, std::vector<caf::actor> children = {},
                       std::uint64_t restarts = 0) {
  return report_of(self, std::move(name), describe::to_json(status), started, std::move(children), restarts);
}

} // namespace weir
