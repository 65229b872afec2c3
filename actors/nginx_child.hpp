#pragma once
// How EDGE and INGEST start their nginx and ask how it is: swept folder, guarded process; its end and its status page as messages.
#include "actors/local_messages.hpp"
#include "runtime/base/log.hpp"
#include "runtime/http/client.hpp"
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

/// Asks one of nginx's own pages; `who` hears of it as status_page.
template <class Handle>
void fetch_status(http::client& client, const Handle& who, std::string url, std::chrono::milliseconds deadline) {
  http::client_request request;
  request.url = std::move(url);
  request.deadline = deadline;
  client.send(std::move(request), [weak = caf::actor_cast<caf::actor_addr>(who)](expected<http::client_response> answer) {
    auto strong = caf::actor_cast<Handle>(caf::actor_cast<caf::strong_actor_ptr>(weak));
    tell_anon(strong, answer ? status_page{answer->status, std::move(answer->body), {}} : status_page{0, {}, answer.error().text});
  });
}

} // namespace weir
