#include "actors/rtmp_watch.hpp"

#include "actors/nginx_child.hpp"
#include "actors/reporting.hpp"
#include "runtime/base/log.hpp"
#include "runtime/http/client.hpp"
#include "runtime/http/url.hpp"
#include "runtime/rtmp/lists.hpp"

namespace weir {

using namespace std::chrono_literals;

namespace {

constexpr auto answer_within = 900ms;
constexpr auto drop_within = 1500ms;

std::string list_address(const rtmp_watch_setup& setup) {
  // SRS gives ten rows unless it is told how many. Its list of clients would name encoders that it has not asked us about yet.
  return setup.url + (setup.kind == rtmp_server_kind::srs ? "/api/v1/streams/?start=0&count=100000" : "/stat");
}

http::client_request drop_request(const rtmp_watch_setup& setup, const publication_list::item& who) {
  http::client_request request;
  request.deadline = drop_within;
  if (setup.kind == rtmp_server_kind::srs) {
    request.method = "DELETE";
    request.url = setup.url + "/api/v1/clients/" + http::percent_encode(who.client_id);
  } else
    request.url = setup.url + fmt::format("/control/drop/publisher?app={}&name={}", http::percent_encode(who.app), http::percent_encode(who.stream));
  return request;
}

} // namespace

expected<std::optional<publication_list>> rtmp_watch_state::take(const status_page& page) {
  auto waiting = std::exchange(unnamed, std::nullopt);
  if (page.status != 200)
    return fail(error_code::unavailable, page.error.empty() ? fmt::format("it answers {}", page.status) : page.error);
  if (setup.kind == rtmp_server_kind::nginx_rtmp)
    return rtmp::parse_nginx_stat(page.body, setup.server);
  const bool named = waiting.has_value();
  if (named) {
    auto names = rtmp::parse_srs_vhosts(page.body);
    WEIR_TRY(names);
    vhosts = std::move(*names);
  } else {
    auto list = rtmp::parse_srs_streams(page.body, setup.server);
    WEIR_TRY(list);
    waiting = std::move(*list);
  }
  for (auto& one : waiting->items)
    if (!one.vhost.empty() && !vhosts.contains(one.vhost)) {
      if (named) // it was started anew between the two answers
        return fail(error_code::unavailable, fmt::format("its list of streams names a vhost {:?} that its list of vhosts does not have", one.vhost));
      unnamed = std::move(waiting);
      return std::nullopt;
    }
  for (auto& one : waiting->items)
    if (!one.vhost.empty())
      one.vhost = vhosts.at(one.vhost);
  return waiting;
}

rtmp_watch_actor::behavior_type rtmp_watch(rtmp_watch_actor::stateful_pointer<rtmp_watch_state> self, rtmp_watch_setup setup, std::shared_ptr<http::client> client,
                                           coordinator_actor coordinator) {
  auto& my = self->state;
  my.setup = std::move(setup);
  my.started = self->clock().now();
  my.last.server = my.setup.server;
  auto me = rtmp_watch_actor{self};

  auto tell_health = [=, &my] {
    tell(self, coordinator, rtmp_health{my.setup.server, my.up, my.trouble, static_cast<std::uint32_t>(my.last.items.size())});
  };
  auto drop = [=, &my](const publication_list::item& who) {
    ++my.dropped;
    client->send(drop_request(my.setup, who), [server = my.setup.server, who](expected<http::client_response> answer) {
      log::info("rtmp-watch", "publisher-dropped", "server={} app={} stream={} client={} status={} error={}", server, who.app, who.stream, who.client_id,
                answer ? answer->status : 0, answer ? "" : answer.error().text);
    });
  };
  auto tell_list = [=, &my] {
    ask(self, 2s, coordinator, my.last)
      .then(
        [=](const drop_list& drops) {
          for (auto& who : drops.items)
            drop(who);
        },
        [=, &my](const caf::error& why) { log::debug("rtmp-watch", "list-untold", "server={} error={}", my.setup.server, from_caf(why).text); });
  };

  self->send(me, tick{});
  return {
    [=, &my](const server_started& news) {
      // A new start has no publishers: whoever is known of the one before is gone.
      my.service = news.service_id;
      my.last = {.server = my.setup.server, .service_id = my.service, .items = {}};
      tell_list();
    },
    [=, &my](const tick&) {
      tell_after(self, my.setup.poll_every, me, tick{});
      if (my.asking || (my.setup.ours && my.service.empty()))
        return;
      my.asking = true;
      fetch_status(*client, me, list_address(my.setup), answer_within);
    },
    [=, &my](const status_page& page) {
      auto list = my.take(page);
      if (list && !*list)
        return fetch_status(*client, me, my.setup.url + "/api/v1/vhosts/", answer_within);
      my.asking = false;
      auto trouble = list ? std::string{} : list.error().text;
      if (trouble != my.trouble && !list)
        log::warn("rtmp-watch", "list-unread", "server={} error={}", my.setup.server, trouble);
      my.trouble = trouble;
      my.up = list.has_value();
      if (list) { // unreachable is not empty: what it had stays until it answers or is given up
        if (my.setup.ours)
          (*list)->service_id = my.service;
        my.last = std::move(**list);
        tell_list();
      }
      tell_health();
    },
    [=](const stop&) { self->quit(caf::exit_reason::user_shutdown); },
    [=, &my](const ask_status&) {
      nlohmann::json status{{"url", my.setup.url}, {"up", my.up}, {"publishers", my.last.items.size()}, {"service", my.last.service_id}, {"dropped", my.dropped}, {"trouble", my.trouble}};
      return report_of(self, "rtmp-watch/" + my.setup.server, status, my.started);
    },
  };
}

} // namespace weir
