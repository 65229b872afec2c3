#include "runtime/machines/driver.hpp"

#include "runtime/base/file.hpp"
#include "runtime/base/log.hpp"
#include "runtime/base/utf8.hpp"
#include "runtime/http/client.hpp"
#include "runtime/supervise/process.hpp"

#include <fmt/format.h>

#include <map>
#include <mutex>
#include <set>
#include <utility>

namespace weir::machines {

namespace {

constexpr std::size_t kept_lines = 20; ///< of standard error
constexpr unsigned lines_per_second = 20;

/// The programs that run. Shared with their ends, which come from another thread and may come after us.
class running {
public:
  std::uint64_t number() {
    const std::scoped_lock lock(mutex_);
    return ++last_;
  }
  void add(std::uint64_t number, supervise::process one) {
    const std::scoped_lock lock(mutex_);
    if (ended_.erase(number) == 0)
      programs_.emplace(number, std::move(one));
  }
  /// What it said last, for the reason of its failure.
  void ended(std::uint64_t number) {
    supervise::process over; // destroyed without the lock
    const std::scoped_lock lock(mutex_);
    if (auto found = programs_.find(number); found != programs_.end()) {
      over = std::move(found->second);
      programs_.erase(found);
    } else {
      ended_.insert(number); // sooner than it was added
    }
  }
  void end_all() {
    std::map<std::uint64_t, supervise::process> all;
    const std::scoped_lock lock(mutex_);
    all.swap(programs_);
  }

private:
  std::mutex mutex_;
  std::uint64_t last_ = 0;
  std::map<std::uint64_t, supervise::process> programs_;
  std::set<std::uint64_t> ended_;
};

class exec final : public driver {
public:
  exec(std::vector<std::string> command, std::chrono::milliseconds deadline) : command_(std::move(command)), deadline_(deadline) {}
  ~exec() override { programs_->end_all(); }

  void send(const order& o, callback done) override {
    auto input = make_sealed_memory("order", to_json(o) + "\n");
    if (!input)
      return done(fail(input.error()));
    struct said {
      std::string answer, last_line;
    };
    auto its = std::make_shared<said>(); // told by one thread
    supervise::launch how{.program = command_.front(), .arguments = {command_.begin() + 1, command_.end()}};
    how.environment = {{"WEIR_ORDER", std::string(to_string(o.kind))}, {"WEIR_MACHINE", o.machine}, {"WEIR_CLUSTER", o.cluster}, {"WEIR_PREFIX", o.prefix}};
    how.input = input->get();
    how.capture = answer_limit;
    how.guarded = true;
    how.deadline = deadline_;
    how.kept_lines = kept_lines;
    how.lines_per_second = lines_per_second;
    how.on_line = [its, key = key_of(o)](const std::string& line) {
      log::info("machines", "program-said", "order={} line={}", key, line);
      its->last_line = line;
    };
    how.on_output = [its](std::string bytes) { its->answer = std::move(bytes); };
    const auto number = programs_->number();
    how.on_exit = [its, number, programs = programs_, kind = o.kind, program = command_.front(), deadline = deadline_, done](const supervise::exit_status& status) {
      programs->ended(number);
      auto failed = [&](error_code code, std::string why) { done(fail(code, fmt::format("{} {}", program, why))); };
      if (status.flooded)
        return failed(error_code::too_large, fmt::format("answered more than {} bytes", answer_limit));
      if (status.timed_out)
        return failed(error_code::timeout, fmt::format("did not end within {} s", std::chrono::ceil<std::chrono::seconds>(deadline) / std::chrono::seconds(1)));
      if (!status.ok())
        return failed(error_code::target_refused, fmt::format("ended with {}{}{}", supervise::to_string(status), its->last_line.empty() ? "" : ": ", its->last_line));
      auto answer = parse_answer(kind, its->answer);
      answer ? done(std::move(answer)) : done(fail(answer.error().in(program)));
    };
    auto one = supervise::process::spawn(std::move(how));
    if (!one)
      return done(fail(one.error()));
    programs_->add(number, std::move(*one));
  }

private:
  std::vector<std::string> command_;
  std::chrono::milliseconds deadline_;
  std::shared_ptr<running> programs_ = std::make_shared<running>();
};

class webhook final : public driver {
public:
  webhook(webhook_options options, std::shared_ptr<http::client> client) : options_(std::move(options)), client_(std::move(client)) {}

  void send(const order& o, callback done) override {
    http::client_request r{.method = "POST", .url = options_.url, .body = to_json(o)};
    r.headers.add("Content-Type", "application/json");
    r.headers.add("Accept", "application/json");
    if (o.kind != order_kind::list)
      r.headers.add("Idempotency-Key", key_of(o));
    if (!options_.token_file.empty()) {
      auto token = read_secret_file(options_.token_file);
      if (!token)
        return done(fail(token.error()));
      if (token->empty() || token->find_first_of(std::string_view("\r\n\0 ", 4)) != token->npos)
        return done(fail(error_code::invalid_input, options_.token_file + ": holds no token of one word"));
      r.headers.add("Authorization", "Bearer " + *token);
    }
    r.deadline = options_.deadline;
    r.response_limit = answer_limit;
    r.authorities = options_.authorities;
    client_->send(std::move(r), [done = std::move(done), kind = o.kind, url = http::masked_url(options_.url)](expected<http::client_response> got) {
      if (!got)
        return done(fail(got.error()));
      if (got->status < 200 || got->status > 299)
        return done(fail(error_code::target_refused, fmt::format("{} answered {}", url, got->status)));
      auto answer = parse_answer(kind, got->body);
      answer ? done(std::move(answer)) : done(fail(answer.error().in(url)));
    });
  }

private:
  webhook_options options_;
  std::shared_ptr<http::client> client_;
};

} // namespace

std::unique_ptr<driver> make_exec(std::vector<std::string> command, std::chrono::milliseconds deadline) { return std::make_unique<exec>(std::move(command), deadline); }

std::unique_ptr<driver> make_webhook(webhook_options options, std::shared_ptr<http::client> client) {
  return std::make_unique<webhook>(std::move(options), std::move(client));
}

} // namespace weir::machines
