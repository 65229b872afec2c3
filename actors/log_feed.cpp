#include "actors/log_feed.hpp"

#include "actors/reporting.hpp"
#include "runtime/base/log.hpp"

#include <algorithm>

namespace weir {

using namespace std::chrono_literals;

namespace {

constexpr std::chrono::milliseconds waits = 5s;          ///< at the origin
constexpr std::chrono::milliseconds deadline = waits + 3s;
constexpr std::chrono::milliseconds first_pause = 250ms, longest_pause = 2s;
constexpr std::chrono::milliseconds shortest_round = 20ms; ///< changes that come together are told together
constexpr std::chrono::milliseconds next_page = 5ms;       ///< an origin that always has more must not take a thread for itself
constexpr auto trusted_shift = 24h;

} // namespace

log_feed_state::~log_feed_state() { cancel(); }

void log_feed_state::cancel() {
  if (under_way)
    setup.client->cancel(*under_way);
  under_way.reset();
}

http::client_request log_feed_state::question() const {
  http::client_request request;
  request.url = fmt::format("{}/origin/v1/logs?after={}&wait={}&reader={}", setup.origin.url, hls::to_string(have), to_string(waits), setup.reader);
  request.headers.add("Authorization", "Bearer " + setup.origin.read_token);
  request.deadline = deadline;
  request.response_limit = hls::page_limit;
  return request;
}

log_feed_state::next_step log_feed_state::take(const feed_answer& answer, time_point now, timestamp wall) {
  auto page = answer.status == 200 ? hls::parse_log_page(answer.body)
                                   : expected<hls::log_page>(fail(error_code::unavailable, answer.status == 0 ? answer.error : fmt::format("status {}", answer.status)));
  if (!page) {
    ++failures;
    if (++in_a_row == 2) // the first one may only be that nobody listens yet
      log::warn("director", "origin-not-heard", "origin={} node={} error={}", setup.origin.url, setup.origin.node.value, page.error().text);
    trouble = page.error().text;
    pause = std::clamp(pause * 2, first_pause, longest_pause);
    return {{.origin = setup.origin.url, .logs = {}, .all = false, .trouble = trouble}, pause};
  }
  if (!trouble.empty() || pages == 0)
    log::info("director", "origin-heard", "origin={} node={}", setup.origin.url, setup.origin.node.value);
  trouble.clear();
  in_a_row = 0;
  pause = {};
  have = page->next;
  ++pages;
  logs += page->logs.size();
  // How old a log is counts by the origin's own clock: ours may be seconds off, and nothing would be fresh, or stale.
  if (auto shift = wall - page->now; std::chrono::abs(shift) < trusted_shift)
    for (auto& log : page->logs)
      log.changed += shift;
  auto since = std::chrono::duration_cast<std::chrono::milliseconds>(now - asked);
  auto again = page->all ? std::max(shortest_round - since, 0ms) : next_page;
  return {{.origin = setup.origin.url, .logs = std::move(page->logs), .all = page->all, .trouble = {}}, again};
}

log_feed_actor::behavior_type log_feed(log_feed_actor::stateful_pointer<log_feed_state> self, log_feed_setup setup, director_actor director) {
  auto& my = self->state;
  my.setup = std::move(setup);
  my.started = self->clock().now();
  auto me = log_feed_actor{self};
  auto now = [self] { return self->clock().now(); };

  auto ask_origin = [=, &my] {
    my.cancel();
    my.asked = now();
    my.under_way = my.setup.client->send(my.question(), [weak = caf::actor_cast<caf::actor_addr>(me), round = ++my.round](expected<http::client_response> answer) {
      feed_answer told{.round = round, .status = 0, .body = {}, .error = {}};
      if (answer) {
        told.status = answer->status;
        told.body = std::move(answer->body);
      } else {
        told.error = answer.error().text;
      }
      tell_anon(caf::actor_cast<log_feed_actor>(caf::actor_cast<caf::strong_actor_ptr>(weak)), std::move(told));
    });
  };

  self->send(me, ask_logs{});
  return {
    [=, &my](const ask_logs& wish) {
      if (wish.round == 0 || (wish.round == my.round && !my.under_way))
        ask_origin();
    },
    [=, &my](const feed_answer& answer) {
      if (answer.round != my.round) // it was given up
        return;
      my.under_way.reset();
      auto next = my.take(answer, now(), std::chrono::system_clock::now());
      tell(self, director, std::move(next.news));
      tell_after(self, next.again, me, ask_logs{my.round});
    },
    [=, &my](const ask_status&) {
      nlohmann::json status{{"node", my.setup.origin.node.value}, {"after", hls::to_string(my.have)}, {"pages", my.pages}, {"logs", my.logs}, {"failures", my.failures},
                            {"trouble", my.trouble}};
      return report_of(self, "log_feed/" + my.setup.origin.url, status, my.started);
    },
  };
}

} // namespace weir
