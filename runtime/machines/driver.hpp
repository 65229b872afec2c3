#pragma once
// Who carries orders out: a program of the operator's, or a service. Both get the order as JSON and answer in JSON (order.hpp).
#include "runtime/machines/order.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace weir::http {
class client;
}

namespace weir::machines {

class driver {
public:
  using callback = std::function<void(expected<answer>)>;

  virtual ~driver() = default;
  driver(const driver&) = delete;
  driver& operator=(const driver&) = delete;

  /// Returns soon. `done` runs once, perhaps at once and perhaps on another thread, and must not block. Errors: unavailable (refused), timeout, too_large,
  /// invalid_input (no answer as agreed), not_found (no such file with the token), target_refused (of a program: it failed, or there is none of that name;
  /// of a service: its status), io_failed. After any of them the order may have been carried out.
  virtual void send(const order& o, callback done) = 0;

protected:
  driver() = default;
};

/// A program and its words, run once for each order, never by a shell: the order on its standard input and, for scripts, as WEIR_ORDER, WEIR_MACHINE,
/// WEIR_CLUSTER and WEIR_PREFIX; the answer on its standard output, at most answer_limit; its standard error goes to the log. It has failed when its exit
/// code is not 0. At the deadline it and whatever it has started are ended, as they are when it ends itself, or we do.
std::unique_ptr<driver> make_exec(std::vector<std::string> command, std::chrono::milliseconds deadline);

struct webhook_options {
  std::string url;
  std::string token_file;  ///< read for each order, so that it may be renewed; empty: none
  std::string authorities; ///< file with trusted certificates; empty: the system's
  std::chrono::milliseconds deadline{60'000};
};
/// POSTs each order to an address, under `Idempotency-Key: begin NAME` and the token as a bearer. Statuses of 2xx are answers.
std::unique_ptr<driver> make_webhook(webhook_options options, std::shared_ptr<http::client> client);

} // namespace weir::machines
