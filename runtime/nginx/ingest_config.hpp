#pragma once
// The configuration of nginx as RTMP ingest (nginx-rtmp). Behaviour of its callbacks: rtmp-servers.md.
#include "schemas/error.hpp"

#include <chrono>
#include <string>
#include <vector>

namespace weir::nginx {

struct ingest_config {
  std::string listen = "0.0.0.0:1935";      ///< RTMP
  std::string statistics;                   ///< where GET /stat and /control answer: loopback "127.0.0.1:port" or "unix:/path". Whoever reaches it may kick
  std::vector<std::string> applications = {"live"};
  std::string hook_url;                     ///< "http://127.0.0.1:port/hooks/nginx-rtmp/SECRET?server=NAME", called for everything that happens
  /// "Still there" callbacks; 0: none. With them a hook server that dies ends every live session (measured, strict mode off too), and all
  /// that they say the statistics say as well.
  std::chrono::seconds update_every{0};
  std::chrono::seconds drop_idle{10};       ///< a publisher silent for so long is cut off
  std::vector<std::string> allow_play = {"127.0.0.1"}; ///< addresses and networks that may fetch streams (the workers)
  int worker_connections = 1024;
  std::string worker_user;                  ///< when we are root: user of the worker, with a group of the same name (www-data); empty: root
  std::string module = "/usr/lib/nginx/modules/ngx_rtmp_module.so";
};

/// The text of nginx.conf; paths in it are relative to the prefix folder. Errors: invalid_config, naming the setting and its value.
expected<std::string> render(const ingest_config& config);

} // namespace weir::nginx
