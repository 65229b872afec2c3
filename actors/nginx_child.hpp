#pragma once
// How EDGE and INGEST start their nginx: swept folder, guarded process, its end as a message.
#include "actors/local_messages.hpp"
#include "runtime/base/log.hpp"
#include "runtime/nginx/server.hpp"

#include <string>

namespace weir {

/// Starts nginx in its folder; `who` hears of its end with that generation.
template <class Handle>
expected<supervise::process> start_nginx(const nginx::prefix& folder, const Handle& who, std::uint64_t generation, std::string label) {
  WEIR_TRY(folder.sweep());
  auto how = folder.start();
  how.on_line = [label = std::move(label)](const std::string& line) { log::info("nginx", "line", "of={} text={}", label, line); };
  how.on_exit = [weak = caf::actor_cast<caf::actor_addr>(who), generation](const supervise::exit_status& end) {
    tell_anon(caf::actor_cast<Handle>(caf::actor_cast<caf::strong_actor_ptr>(weak)), process_ended{generation, end.code, end.signal});
  };
  return supervise::process::spawn(std::move(how));
}

} // namespace weir
