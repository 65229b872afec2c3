#include "actors/edge_monitor.hpp"

#include "actors/reporting.hpp"
#include "runtime/http/client.hpp"
#include "runtime/nginx/edge_log.hpp"

namespace weir {

using namespace std::chrono_literals;

void edge_monitor_state::take(const edge_load& load, time_point now) {
  news.load = load;
  if (load.up) // a report that its nginx is gone is no sign of life
    watch.heartbeat(now);
  else
    trouble = load.trouble;
}

void edge_monitor_state::take(const probe_result& result) {
  probing = false;
  watch.probe({.answered = result.good, .first_byte = std::chrono::milliseconds(result.milliseconds), .playlist_age = {}, .target = {}});
  trouble = result.good ? std::string{} : "probe: " + result.error;
}

bool edge_monitor_state::judge(time_point now) {
  auto view = watch.view(now);
  bool tell = view != news.view || now - told >= 1s;
  news.view = view;
  news.phi_milli = static_cast<std::int64_t>(watch.phi(now) * 1000);
  news.text = view == steering::edge_view::up ? std::string{} : trouble.empty() ? fmt::format("silent, suspicion {:.1f}", watch.phi(now)) : trouble;
  if (tell)
    told = now;
  return tell;
}

edge_monitor_actor::behavior_type edge_monitor(edge_monitor_actor::stateful_pointer<edge_monitor_state> self, edge_spec spec, director_options options,
                                               std::shared_ptr<http::client> client, coordinator_actor coordinator) {
  auto& my = self->state;
  my.spec = std::move(spec);
  my.watch = steering::edge_watch{{.phi = double(options.suspect_phi), .slow = options.probe_timeout}};
  my.news.edge = my.spec.name;
  my.started = self->clock().now();
  auto me = edge_monitor_actor{self};
  auto now = [self] { return self->clock().now(); };

  auto judge = [=, &my] {
    if (my.still.listens(now()))
      return;
    if (my.judge(now()))
      tell(self, coordinator, my.news);
  };
  auto probe = [=, &my] {
    my.probing = true;
    my.probed = now();
    ++my.probes;
    http::client_request request;
    request.method = "GET";
    request.headers.add("User-Agent", std::string(nginx::edge_probe_agent));
    // Without a live stream any answer will do: the edge knows no path outside /s/ and says 404.
    bool live = !my.path.empty();
    request.url = my.spec.url + (live ? my.path : "/s/");
    if (live)
      request.headers.add("Range", "bytes=0-1023");
    request.authorities = options.edge_authorities; // who cannot verify the edge cannot use it, as a browser cannot
    request.deadline = options.probe_timeout;
    auto asked = std::chrono::steady_clock::now();
    client->send(std::move(request), [weak = caf::actor_cast<caf::actor_addr>(me), asked, live](expected<http::client_response> answer) {
      probe_result result;
      result.milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - asked).count();
      if (!answer)
        result.error = answer.error().text;
      else if (auto status = answer->status; live && status != 200 && status != 206)
        result.error = fmt::format("status {}", status);
      else if (!answer->headers.find("Access-Control-Allow-Origin"))
        result.error = "no Access-Control-Allow-Origin: browsers could not play";
      else
        result.good = true;
      tell_anon(caf::actor_cast<edge_monitor_actor>(caf::actor_cast<caf::strong_actor_ptr>(weak)), result);
    });
  };

  tell_after(self, 250ms, me, tick{});
  return {
    [=, &my](const edge_load& load) {
      my.take(load, now());
      judge();
    },
    [=, &my](const probe_path& news) { my.path = news.path; },
    [=, &my](const tick&) {
      my.still.ticked(now());
      if (!my.probing && now() - my.probed >= options.probe_every)
        probe();
      judge();
      tell_after(self, 250ms, me, tick{});
    },
    [=, &my](const probe_result& result) {
      my.take(result);
      judge();
    },
    [=, &my](const ask_status&) {
      nlohmann::json status{{"url", my.spec.url}, {"view", to_string(my.news.view)}, {"phi", double(my.news.phi_milli) / 1000}, {"probes", my.probes}, {"trouble", my.trouble}};
      return report_of(self, "edge_monitor/" + my.spec.name.value, status, my.started);
    },
  };
}

} // namespace weir
