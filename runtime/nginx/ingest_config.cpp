#include "runtime/nginx/ingest_config.hpp"

#include "runtime/nginx/values.hpp"

#include <fmt/format.h>
#include <unistd.h>

namespace weir::nginx {

expected<std::string> render(const ingest_config& config) {
  WEIR_TRY(check_address("listen", config.listen));
  WEIR_TRY(check_local_address("statistics", config.statistics));
  WEIR_TRY(check_http_url("hook_url", config.hook_url));
  WEIR_TRY(check_path("module", config.module));
  WEIR_TRY(check_range("update_every", config.update_every.count(), 0, 3600));
  WEIR_TRY(check_range("drop_idle", config.drop_idle.count(), 1, 3600));
  WEIR_TRY(check_range("worker_connections", config.worker_connections, 16, 65536));
  if (config.applications.empty())
    return fail(error_code::invalid_config, "applications: at least one is needed");
  for (const auto& name : config.applications)
    WEIR_TRY(check_word("applications", name));
  for (const auto& network : config.allow_play)
    WEIR_TRY(check_network("allow_play", network));
  if (!config.worker_user.empty())
    WEIR_TRY(check_word("worker_user", config.worker_user));

  std::string players;
  for (const auto& network : config.allow_play)
    players += fmt::format("      allow play {};\n", network);
  std::string hooks;
  for (const auto* name : {"on_publish", "on_publish_done", "on_play", "on_play_done", "on_done"})
    hooks += fmt::format("      {} {};\n", name, config.hook_url);
  if (config.update_every.count() != 0)
    hooks += fmt::format("      on_update {};\n      notify_update_timeout {}s;\n", config.hook_url, config.update_every.count());

  std::string applications;
  for (const auto& name : config.applications)
    applications += fmt::format(R"(
    application {} {{
      live on;
      record off;
      wait_key on;
      wait_video off;
      drop_idle_publisher {}s;
{}      deny play all;
{}    }}
)",
                                name, config.drop_idle.count(), players, hooks);

  const auto user = geteuid() != 0 ? std::string() : fmt::format("user {};\n", config.worker_user.empty() ? "root" : config.worker_user);
  // One worker: a live stream and its statistics exist in the worker that took the publisher, and nowhere else.
  return fmt::format(R"(# Written by Weir for nginx-rtmp. Changes are lost at the next start.
load_module {};
{}daemon off;
pid nginx.pid;
error_log stderr warn;
worker_processes 1;
worker_shutdown_timeout 2s;

events {{
  worker_connections {};
}}

rtmp {{
  access_log off;
  server {{
    listen {};
    timeout 30s;
    chunk_size 4096;
    notify_method post;
    on_connect {};
    on_disconnect {};
{}  }}
}}

http {{
  access_log off;
  client_body_temp_path temp/body;
  proxy_temp_path temp/proxy;
  fastcgi_temp_path temp/fastcgi;
  uwsgi_temp_path temp/uwsgi;
  scgi_temp_path temp/scgi;
  server_tokens off;
  server {{
    listen {};
    location = /stat {{
      rtmp_stat all;
    }}
    location /control/ {{
      rtmp_control all;
    }}
    location / {{
      return 404;
    }}
  }}
}}
)",
                     config.module, user, config.worker_connections, config.listen, config.hook_url, config.hook_url, applications, config.statistics);
}

} // namespace weir::nginx
