#include "runtime/nginx/edge_config.hpp"

#include "runtime/nginx/edge_log.hpp"
#include "runtime/nginx/edge_probe.hpp"
#include "runtime/nginx/values.hpp"
#include "runtime/viewing/viewing.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <unistd.h>

namespace weir::nginx {

namespace {

/// What nobody has asked for that long goes from the cache, however long it is valid: the cache is memory. Who winds back to it in a long window has it fetched again;
/// the origin has the whole window.
constexpr std::chrono::seconds unasked_for = std::chrono::minutes(10);

/// nginx's own secure_link knows MD5 only. The form of the token is checked by the location's pattern; what is not "good" here, an exception included, is refused.
constexpr std::string_view script = R"(// Written by Weir: checks viewing tokens (runtime/viewing/viewing.hpp).
import crypto from 'crypto';

function judge(r) {
  const v = r.variables;
  if (!v.weir_secret) {
    return 'wrong';
  }
  const mac = crypto.createHmac('sha256', v.weir_secret).update(v.weir_of + '\n' + v.weir_expires).digest('hex').slice(0, 32);
  let differs = 0; // the same time wherever they differ
  for (let i = 0; i < 32; i++) {
    differs |= mac.charCodeAt(i) ^ v.weir_mac.charCodeAt(i);
  }
  if (differs !== 0) {
    return 'wrong';
  }
  return Date.now() < Number(v.weir_expires) * 1000 ? 'good' : 'expired';
}

export default { judge };
)";

/// A refusal as nginx takes it.
std::string said(viewing::verdict v) {
  auto line = viewing::words(v);
  return fmt::format("return {} \"{}\\n\";", v == viewing::verdict::unheard ? 503 : 403, line.substr(0, line.find('\n')));
}

} // namespace

std::string_view viewing_script() { return script; }

expected<std::string> render(const edge_config& config) {
  using namespace std::chrono_literals;
  WEIR_TRY(check_address("listen", config.listen));
  if (!config.name.empty())
    WEIR_TRY(check_word("name", config.name));
  WEIR_TRY(check_local_address("status", config.status));
  if (!config.certificate.empty())
    WEIR_TRY(check_path("certificate", config.certificate.starts_with('/') ? config.certificate : "/" + config.certificate));
  if (config.origins.empty())
    return fail(error_code::invalid_config, "origins: at least one is needed");
  for (const auto& origin : config.origins)
    WEIR_TRY(check_address("origins", origin));
  if (!config.parts.empty())
    WEIR_TRY(check_local_address("parts", config.parts));
  WEIR_TRY(check_path("cache_path", config.cache_path.starts_with('/') ? config.cache_path : "/" + config.cache_path));
  WEIR_TRY(check_range("cache_size", config.cache_size.bytes, 1 << 20, std::int64_t{1} << 50));
  if (!config.log_socket.empty())
    WEIR_TRY(check_address("log_socket", "unix:" + config.log_socket));
  WEIR_TRY(check_range("target_duration", config.target_duration.count(), 200, 60000));
  WEIR_TRY(check_range("segment_validity", config.segment_validity.count(), 1, 86400));
  WEIR_TRY(check_range("workers", config.workers, 1, 256));
  WEIR_TRY(check_range("worker_connections", config.worker_connections, 64, 1 << 20));
  WEIR_TRY(check_range("drain", config.drain.count(), 1, 3600));
  if (!config.worker_user.empty())
    WEIR_TRY(check_word("worker_user", config.worker_user));
  if (!config.js_module.empty())
    WEIR_TRY(check_path("js_module", config.js_module));
  std::string secrets;
  for (const auto& key : config.viewing_keys) {
    if (auto good = viewing::check_secret(key.secret); !good)
      return fail(good.error().in("viewing_keys"));
    secrets += fmt::format("    {} {};\n", viewing::key_of(key.secret).id, key.secret);
  }
  const auto module = config.js_module.empty() ? std::string() : fmt::format("load_module {};\n", config.js_module);

  const bool several = config.origins.size() > 1;
  std::string servers;
  for (const auto& origin : config.origins)
    servers += fmt::format("    server {} max_fails={} fail_timeout={}s;\n", origin, several ? 1 : 2, several ? 10 : 2);
  // Each of them answers for all. One that stands still takes connections all the same: it must cost little time, and not again soon. When all have failed, each is
  // asked again at once: nginx alone would answer 502 until that time is over.
  if (several)
    for (const auto& origin : config.origins)
      servers += fmt::format("    server {} backup max_fails=0;\n", origin);
  const auto log = config.log_socket.empty() ? std::string("access_log off;")
                                             : fmt::format("access_log syslog:server=unix:{},nohostname,tag={} weir;", config.log_socket, edge_log_tag);
  const auto user = geteuid() != 0 ? std::string() : fmt::format("user {};\n", config.worker_user.empty() ? "root" : config.worker_user);
  // The lock must outlast the origin's worst answer: with nginx's 5 s a blocking reload becomes one origin request for each viewer.
  const auto lock = std::chrono::ceil<std::chrono::seconds>(3 * config.target_duration + 1s).count();

  const auto says_name = config.name.empty() ? std::string() : fmt::format("\n    add_header {} {} always;", edge_name_header, config.name);

  // What a location does before it asks anybody.
  const std::string preflight = R"(
      if ($request_method = OPTIONS) {
        return 204;
      })";
  const std::string without_query = R"(
      set $args "";)";
  const auto judged = fmt::format(R"(
      if ($weir_viewing = expired) {{
        {}
      }}
      if ($weir_viewing != good) {{
        {}
      }})", said(viewing::verdict::expired), said(viewing::verdict::wrong));
  const auto open_viewing = preflight + without_query;
  // While no key is known nobody's token can be judged, and players give up after a 403.
  const auto signed_viewing = preflight + (config.viewing_keys.empty() ? "\n      " + said(viewing::verdict::unheard) : judged + without_query);
  // Parts go by the cache, whose lock would keep whoever waits for one half a second longer. An origin may hold one as long as the lock, and the front has the last word.
  std::string parts_upstream, open_parts, signed_parts;
  if (!config.parts.empty()) {
    parts_upstream = fmt::format("  upstream parts {{\n    server {} max_fails=0;\n    keepalive 64;\n  }}\n", config.parts);
    for (auto [location, before] : {std::pair{&open_parts, &open_viewing}, {&signed_parts, &signed_viewing}})
      *location = fmt::format(R"(
      location ~ "/[0-9]+\.[0-9]+\.m4s$" {{{}
        proxy_cache off;
        proxy_read_timeout {}s;
        proxy_next_upstream error;
        proxy_max_temp_file_size 0;
        proxy_pass http://parts;
      }})", *before, lock + 2);
  }

  // Chain and key in one file: no moment in which nginx could read the one of yesterday with the other of today.
  const auto tls = config.certificate.empty() ? std::string() : fmt::format(R"(
    ssl_certificate {0};
    ssl_certificate_key {0};
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_cache shared:tls:8m;
    ssl_session_timeout 1h;)", config.certificate);

  // No `aio threads`: while a thread reads, nginx 1.22 knows of nothing to wait for, and a worker that is told to end, as at each reload, ends with the request
  // unanswered (measured: 187 of 280 reloads cut a viewer off, none of 120 without).
  // reuseport only where several workers need it: with it, an nginx that should be dead would silently keep its share of the viewers.
  return fmt::format(R"(# Written by Weir for a caching edge. Changes are lost at the next start.
{module}{user}daemon off;
pid nginx.pid;
error_log stderr warn;
worker_processes {workers};
worker_rlimit_nofile {files};
worker_shutdown_timeout {drain}s;

events {{
  worker_connections {connections};
}}

http {{
  client_body_temp_path temp/body;
  proxy_temp_path temp/proxy;
  fastcgi_temp_path temp/fastcgi;
  uwsgi_temp_path temp/uwsgi;
  scgi_temp_path temp/scgi;
  map $uri $weir_stream {{
    default -;
    "~^(?:/t/[^/]+)?/s/(?<weir_name>[A-Za-z0-9._-]{{1,64}})~[0-9]" $weir_name;
  }}
  map $weir_key $weir_secret {{
    default "";
{secrets}  }}
  map $upstream_http_x_cache $weir_front {{
    default -;
    HIT HIT;
    MISS MISS;
  }}
  map $upstream_cache_status $weir_cache {{
    default $upstream_cache_status;
    "" $weir_front;
  }}
  # Of what nobody else was asked for: the others say it themselves.
  map "$status $upstream_status" $weir_wait {{
    default "";
    "503 " 1;
  }}
  # An answer that becomes 416, because it has not the range asked for, goes through the headers twice.
  map "$status $upstream_status" $weir_cors {{
    volatile;
    default "*";
    "416 416" "*";
    "~^416 " "";
  }}
  map $weir_cors $weir_exposed {{
    volatile;
    default "";
    "*" "Age, Date, Retry-After, Content-Length, Content-Range";
  }}
  js_import weir from {script};
  js_set $weir_viewing weir.judge;
  log_format weir '{format}';
  {log}
  default_type application/octet-stream;
  server_tokens off;
  sendfile on;
  tcp_nopush on;
  keepalive_timeout 30s;
  keepalive_requests 100000;
  client_max_body_size 1k;
  client_header_timeout 10s;
  client_body_timeout 5s;
  send_timeout 20s;
  reset_timedout_connection on;

  proxy_cache_path {cache} levels=1:2 use_temp_path=off keys_zone=segments:32m max_size={cache_size} inactive={inactive}s;
  upstream origins {{
{servers}    keepalive 32;
  }}
{parts_upstream}
  server {{
    listen {listen}{http2}{reuseport};{tls}
    # `always`: a 404 or 502 without them is a network error in a browser.
    add_header Access-Control-Allow-Origin $weir_cors always;
    add_header Access-Control-Expose-Headers $weir_exposed always;
    add_header Access-Control-Allow-Methods "GET, HEAD, OPTIONS" always;
    add_header Access-Control-Allow-Headers "Range" always;
    add_header Access-Control-Max-Age "86400" always;
    add_header Timing-Allow-Origin "*" always;
    add_header X-Cache $upstream_cache_status always;
    add_header Retry-After $weir_wait always;{says_name}
    if ($request_method !~ ^(GET|HEAD|OPTIONS)$) {{
      return 405;
    }}
    location / {{
      return 404;
    }}
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host {host};
    proxy_set_header Accept-Encoding "";
    proxy_set_header Cookie "";
    proxy_set_header Authorization "";
    proxy_connect_timeout 1s;
    proxy_send_timeout 5s;
    proxy_read_timeout {read}s;
    proxy_next_upstream error timeout http_404 http_500 http_502 http_503 http_504;
    proxy_next_upstream_tries {tries};
    proxy_cache segments;
    proxy_cache_valid 200 206 {valid}s;
    proxy_cache_valid 404 410 1s;
    proxy_cache_lock on;
    proxy_cache_lock_timeout {lock}s;
    proxy_cache_lock_age {lock}s;
    proxy_cache_use_stale error timeout updating http_500 http_502 http_503 http_504;
    proxy_cache_background_update off;
    proxy_ignore_headers Set-Cookie Vary Cache-Control Expires X-Accel-Expires X-Accel-Redirect X-Accel-Limit-Rate X-Accel-Buffering;
    proxy_hide_header Set-Cookie;
    proxy_hide_header Vary;
    proxy_hide_header Access-Control-Allow-Origin;
    proxy_hide_header Access-Control-Expose-Headers;
    proxy_hide_header Access-Control-Allow-Methods;
    proxy_hide_header Access-Control-Allow-Headers;
    proxy_hide_header Access-Control-Allow-Credentials;
    proxy_hide_header Access-Control-Max-Age;
    proxy_hide_header Timing-Allow-Origin;

    # Whether a stream may be watched without a token is the origin's to say: what it answers here stands under a key of its own in the cache.
    location ^~ /s/ {{{open_viewing}
      proxy_cache_key $uri;
      proxy_cache_valid 403 404 410 1s;
      proxy_cache_valid 200 206 {valid}s;
      proxy_pass http://origins;{open_parts}
    }}
    # All viewers of a segment share it, whatever token brought them here. The origin sees the token of whoever was first, and judges it, too.
    location ~ "^/t/(?<weir_expires>[1-9][0-9]{{0,10}})\.(?<weir_key>[0-9a-f]{{8}})\.(?<weir_mac>[0-9a-f]{{32}})(?<weir_object>/s/(?<weir_of>[A-Za-z0-9._-]{{1,64}})~.+)$" {{
      default_type text/plain;{signed_viewing}
      proxy_cache_key "signed $weir_object";
      proxy_pass http://origins;{signed_parts}
    }}
    location ~ ^/t/[^/]*/s/ {{
      default_type text/plain;
      {wrong}
    }}
  }}

  server {{
    listen {status};
    access_log off;
    location = /status {{
      stub_status;
    }}
    location / {{
      return 404;
    }}
  }}
}}
)",
                     fmt::arg("module", module), fmt::arg("secrets", secrets), fmt::arg("script", viewing_script_file), fmt::arg("open_viewing", open_viewing),
                     fmt::arg("signed_viewing", signed_viewing), fmt::arg("open_parts", open_parts), fmt::arg("signed_parts", signed_parts), fmt::arg("parts_upstream", parts_upstream),
                     fmt::arg("wrong", said(viewing::verdict::wrong)), fmt::arg("user", user), fmt::arg("workers", config.workers), fmt::arg("files", 4 * config.worker_connections),
                     fmt::arg("drain", config.drain.count()), fmt::arg("connections", config.worker_connections), fmt::arg("format", edge_log_format),
                     fmt::arg("log", log), fmt::arg("cache", config.cache_path), fmt::arg("cache_size", config.cache_size.bytes),
                     fmt::arg("inactive", std::min(config.segment_validity, unasked_for).count()), fmt::arg("servers", servers), fmt::arg("listen", config.listen),
                     fmt::arg("reuseport", config.workers > 1 ? " reuseport" : ""), fmt::arg("http2", config.certificate.empty() ? "" : " ssl http2"), fmt::arg("tls", tls),
                     fmt::arg("host", config.origins.front().starts_with("unix:") ? "origin" : config.origins.front()),
                     fmt::arg("read", several ? 2 : lock + 1), fmt::arg("tries", config.origins.size()), fmt::arg("valid", config.segment_validity.count()), fmt::arg("lock", lock),
                     fmt::arg("status", config.status), fmt::arg("says_name", says_name));
}

} // namespace weir::nginx
