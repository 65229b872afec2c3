#pragma once
// The nginx of EDGE, INGEST and HTTP FRONT: swept folder, guarded process, when it is started again; its end and its status page as messages.
#include "actors/local_messages.hpp"
#include "runtime/base/log.hpp"
#include "runtime/http/client.hpp"
#include "runtime/nginx/server.hpp"
#include "runtime/supervise/backoff.hpp"

#include <optional>
#include <string>

namespace weir {

/// One nginx after the other in the same folder, for as long as its actor lives.
struct nginx_child {
  std::optional<nginx::prefix> folder;
  supervise::process process;
  supervise::backoff failures{1, {.first = std::chrono::milliseconds(100), .cap = std::chrono::seconds(10), .jitter_percent = 0, .park_after = 0}};
  std::uint64_t generation = 0; ///< of `process`: what is said of an earlier one counts no more
  std::uint64_t starts = 0;
  std::optional<supervise::steady_time> since; ///< when the one that runs was started
  std::string trouble;
  bool stopping = false; ///< it is not started again

  std::uint64_t restarts() const { return starts > 0 ? starts - 1 : 0; }
  pid_t pid() const { return process.running() ? process.pid() : 0; }

  /// Starts it where all is `ready`; `me` hears of its end, also of one that could not begin. Errors: that of `ready`, those of prefix::sweep() and process::spawn().
  template <class Self, class Handle>
  expected<void> start(Self* self, const Handle& me, std::string label, const expected<void>& ready = {}) {
    ++generation;
    auto spawned = ready ? spawn(me, generation, std::move(label)) : expected<supervise::process>(fail(ready.error()));
    if (!spawned) {
      trouble = spawned.error().text;
      self->send(me, process_ended{generation, 1, 0});
      return fail(spawned.error());
    }
    process = std::move(*spawned);
    trouble.clear();
    ++starts;
    since = self->clock().now();
    return {};
  }

  /// It has ended by itself: when it is to be started again. One that ran for a minute has made up for all failures before.
  supervise::backoff::retry ended(const process_ended& end, supervise::steady_time now) {
    trouble = fmt::format("nginx ended (exit code {}, signal {})", end.exit_code, end.signal);
    if (auto began = std::exchange(since, std::nullopt); began && now - *began >= std::chrono::minutes(1))
      failures.reset();
    return failures.failed(now);
  }

private:
  template <class Handle>
  expected<supervise::process> spawn(const Handle& who, std::uint64_t number, std::string label) const {
    WEIR_TRY(folder->sweep());
    auto how = folder->start();
    how.on_line = [label = std::move(label)](const std::string& line) { log::info("nginx", "line", "of={} text={}", label, line); };
    how.on_exit = [weak = caf::actor_cast<caf::actor_addr>(who), number](const supervise::exit_status& end) {
      tell_anon(caf::actor_cast<Handle>(caf::actor_cast<caf::strong_actor_ptr>(weak)), process_ended{number, end.code, end.signal});
    };
    return supervise::process::spawn(std::move(how));
  }
};

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
