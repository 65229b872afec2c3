#include "runtime/nginx/http_front_config.hpp"

#include "runtime/nginx/values.hpp"

#include <fmt/format.h>
#include <unistd.h>

namespace weir::nginx {

expected<std::string> render(const http_front_config& config) {
  WEIR_TRY(check_address("listen", config.listen));
  WEIR_TRY(check_address("upstream", config.upstream));
  WEIR_TRY(check_path("certificate", config.certificate.starts_with('/') ? config.certificate : "/" + config.certificate));
  WEIR_TRY(check_range("body_limit", config.body_limit.bytes, 1 << 10, 64 << 20));
  WEIR_TRY(check_range("workers", config.workers, 1, 256));
  WEIR_TRY(check_range("worker_connections", config.worker_connections, 64, 1 << 20));
  WEIR_TRY(check_range("drain", config.drain.count(), 1, 3600));
  if (!config.worker_user.empty())
    WEIR_TRY(check_word("worker_user", config.worker_user));
  const auto user = geteuid() != 0 ? std::string() : fmt::format("user {};\n", config.worker_user.empty() ? "root" : config.worker_user);

  // Only what is named goes through: to the node every request comes from this machine, which hooks and metrics trust. nginx judges a path after decoding it, the node
  // takes it as it came, so what the two might read differently is refused.
  return fmt::format(R"conf(# Written by Weir for TLS and HTTP/2 before a node. Changes are lost at the next start.
{user}daemon off;
pid nginx.pid;
error_log stderr warn;
worker_processes {workers};
worker_rlimit_nofile {files};
worker_shutdown_timeout {drain}s;

events {{
  worker_connections {connections};
}}

http {{
  access_log off;
  client_body_temp_path temp/body;
  proxy_temp_path temp/proxy;
  fastcgi_temp_path temp/fastcgi;
  uwsgi_temp_path temp/uwsgi;
  scgi_temp_path temp/scgi;
  default_type text/plain;
  server_tokens off;
  keepalive_timeout 75s;
  keepalive_requests 100000;
  client_max_body_size {body};
  client_header_timeout 10s;
  client_body_timeout 10s;
  send_timeout 20s;
  reset_timedout_connection on;

  # What the node says goes on as it said it; what nginx says itself, a browser could not read without these (hls.md 11). A time of the header is an answer of the node.
  map $upstream_header_time $weir_cors {{
    default "";
    "" "*";
    - "*";
  }}
  map $weir_cors $weir_exposed {{
    default "";
    "*" "Age, Date, Retry-After";
  }}

  upstream node {{
    server {upstream} max_fails=0;
    keepalive 64;
  }}

  server {{
    listen {listen} ssl http2{reuseport};
    ssl_certificate {certificate};
    ssl_certificate_key {certificate};
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_cache shared:tls:8m;
    ssl_session_timeout 1h;
    add_header Access-Control-Allow-Origin $weir_cors always;
    add_header Access-Control-Expose-Headers $weir_exposed always;
    merge_slashes off;
    if ($request_uri ~* "^[^?]*(%2f|%5c|\\\\|/\.\.?(/|\?|$)|/%2e)") {{
      return 400;
    }}
    location / {{
      return 404;
    }}
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $http_host;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto https;
    proxy_connect_timeout 1s;
    proxy_send_timeout 10s;
    # Longer than a playlist that waits for its next part, and than the silence of a stream of events.
    proxy_read_timeout 120s;
    proxy_buffering off;
    proxy_max_temp_file_size 0;
    location = / {{
      proxy_pass http://node;
    }}
    location ~ ^/(livez|readyz)$ {{
      proxy_pass http://node;
    }}
    location ~ ^/(api|assets|beacon|hls|p|s|steer|t|watch)/ {{
      proxy_pass http://node;
    }}
  }}
}}
)conf",
                     fmt::arg("user", user), fmt::arg("workers", config.workers), fmt::arg("files", 4 * config.worker_connections), fmt::arg("drain", config.drain.count()),
                     fmt::arg("connections", config.worker_connections), fmt::arg("body", config.body_limit.bytes), fmt::arg("upstream", config.upstream),
                     fmt::arg("listen", config.listen), fmt::arg("reuseport", config.workers > 1 ? " reuseport" : ""), fmt::arg("certificate", config.certificate));
}

} // namespace weir::nginx
