#include "actors/observer.hpp"

#include "actors/reporting.hpp"
#include "runtime/base/log.hpp"
#include "runtime/nginx/edge_probe.hpp"
#include "runtime/viewing/viewing.hpp"

#include <algorithm>

namespace weir {

using namespace std::chrono_literals;

namespace {

constexpr auto tick_every = 100ms;
constexpr auto tell_every = 1s;
constexpr auto orders_hold = 3s;            ///< without a word of the coordinator
constexpr std::size_t probes_at_a_time = 32;
constexpr auto hurry = 1s;                  ///< for so long a probe follows the other …
constexpr auto hurried_every = 100ms;       ///< … at this pace

} // namespace

void observer_state::take(const probe_orders& news, time_point now) {
  ordered = now;
  if (news.authorities.empty() || !news.authorities_text.empty())
    authorities = news.authorities_text;
  std::erase_if(edges, [&](auto& e) {
    if (std::ranges::find(news.edges, e.first, &edge_spec::name) != news.edges.end())
      return false;
    probing -= e.second.probing;
    return true;
  });
  for (auto& spec : news.edges) {
    auto& w = edges[spec.name];
    if (w.spec.url != spec.url || orders.timeout != news.timeout) { // what was seen before says nothing of it
      probing -= w.probing;
      w = {.spec = {}, .watch = steering::edge_watch{{.slow = news.timeout}}, .trouble = {}};
      w.due = now + std::chrono::milliseconds(std::uniform_int_distribution<std::int64_t>(0, news.every.count())(chance));
    }
    w.spec = spec;
    if (std::ranges::find(news.urgent, spec.name) != news.urgent.end()) {
      w.hurried_until = now + hurry;
      w.due = std::min(w.due, now);
    }
  }
  orders = news;
  orders.authorities_text.clear();
}

std::vector<edge_name> observer_state::begin_probes(time_point now) {
  std::vector<edge_name> begun;
  if (now - ordered > orders_hold)
    return begun;
  std::vector<watched*> due;
  for (auto& [edge, w] : edges)
    if (!w.probing && now >= w.due)
      due.push_back(&w);
  std::ranges::sort(due, {}, &watched::due); // who waits longest is first
  for (auto* w : due) {
    if (probing >= probes_at_a_time)
      break;
    const bool hurried = now < w->hurried_until;
    const auto every = hurried ? std::chrono::milliseconds(hurried_every) : orders.every;
    w->due = now + every - std::chrono::milliseconds(std::uniform_int_distribution<std::int64_t>(0, every.count() / 10)(chance));
    w->probing = true;
    w->probe = ++probes;
    w->watch.asked(now);
    ++probing;
    begun.push_back(w->spec.name);
  }
  return begun;
}

void observer_state::take(const probe_ended& news) {
  auto known = edges.find(news.edge);
  if (known == edges.end() || !known->second.probing || known->second.probe != news.probe)
    return;
  auto& w = known->second;
  w.probing = false;
  --probing;
  w.watch.probe(news.result);
  w.milliseconds = news.result.took.count();
  w.trouble = news.result.trouble;
}

std::optional<edge_sighting> observer_state::say(time_point now) {
  auto changed = [&](auto& e) { return e.second.watch.view(now) != e.second.told; };
  if (asking || (now - told < tell_every && std::ranges::none_of(edges, changed)))
    return std::nullopt;
  told = now;
  edge_sighting news{node, {}, orders.authorities};
  for (auto& [edge, w] : edges) {
    w.told = w.watch.view(now);
    auto text = !w.trouble.empty() ? w.trouble : w.told == edge_view::suspect ? "no answer yet" : w.told == edge_view::brown_out ? "slow" : "";
    news.edges.push_back({edge, {.observer = node, .view = w.told, .good = w.watch.good_probes(), .milliseconds = w.milliseconds, .text = std::move(text)}});
  }
  return news;
}

observer_actor::behavior_type observer(observer_actor::stateful_pointer<observer_state> self, node_name node, std::shared_ptr<http::client> client, coordinator_actor coordinator) {
  auto& my = self->state;
  my.node = std::move(node);
  my.chance.seed(std::random_device{}());
  my.started = self->clock().now();
  auto me = observer_actor{self};
  auto now = [self] { return self->clock().now(); };

  auto probe = [=, &my](const edge_name& edge) {
    auto& w = my.edges.at(edge);
    nginx::edge_probe wanted{.url = w.spec.url, .name = edge.value, .newest = my.orders.newest, .deadline = std::max(my.orders.every, my.orders.timeout),
                             .authorities = my.authorities};
    nginx::send_probe(*client, wanted, [weak = caf::actor_cast<caf::actor_addr>(me), edge, number = w.probe](steering::probe_result result) {
      tell_anon(caf::actor_cast<observer_actor>(caf::actor_cast<caf::strong_actor_ptr>(weak)), probe_ended{edge, number, std::move(result)});
    });
  };
  auto say = [=, &my] {
    if (my.still.listens(now()))
      return;
    auto news = my.say(now());
    if (!news)
      return;
    my.asking = true;
    ask(self, tell_every, coordinator, std::move(*news))
      .then(
        [=, &my](const probe_orders& orders) {
          my.asking = false;
          my.take(orders, now());
        },
        [=, &my](const caf::error& e) { // it is away: without its word nothing is watched, and it is asked again in a second
          my.asking = false;
          log::debug("observer", "not-heard", "error={}", from_caf(e).text);
        });
  };

  tell_after(self, tick_every, me, tick{});
  return {
    [=, &my](const tick&) {
      my.still.ticked(now());
      for (auto& edge : my.begin_probes(now()))
        probe(edge);
      say();
      tell_after(self, tick_every, me, tick{});
    },
    [=, &my](const probe_ended& news) {
      my.take(news);
      say();
    },
    [=](const stop&) { self->quit(caf::exit_reason::user_shutdown); },
    [=, &my](const ask_status&) {
      nlohmann::json edges = nlohmann::json::object();
      for (auto& [edge, w] : my.edges)
        edges[edge.value] = {{"url", w.spec.url}, {"view", to_string(w.watch.view(now()))}, {"milliseconds", w.milliseconds}, {"trouble", w.trouble}};
      nlohmann::json status{{"probes", my.probes}, {"under_way", my.probing}, {"newest", viewing::split(my.orders.newest.path).path}, {"edges", std::move(edges)}};
      return report_of(self, "observer", status, my.started);
    },
  };
}

} // namespace weir
