#pragma once
// The configuration of nginx as caching edge (hls.md 9 to 12): segments, maps and parts below /s/ and nothing else; the same below /t/TOKEN/s/, where a viewing
// token (runtime/viewing) is checked before the cache is asked.
#include "schemas/error.hpp"
#include "schemas/units.hpp"
#include "schemas/viewing.hpp"

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

namespace weir::nginx {

struct edge_config {
  std::string listen = "0.0.0.0:8081";      ///< where viewers come
  std::string name;                         ///< of the edge, which its answers tell (edge_name_header) where others may answer at its address; empty: they tell none
  std::string certificate;                  ///< file with chain and key (PEM), absolute or relative to the prefix folder: TLS and HTTP/2; empty: plain HTTP
  std::string status;                       ///< where GET /status answers (stub_status): loopback "127.0.0.1:port" or "unix:/path"
  std::vector<std::string> origins;         ///< "host:port", asked in turn
  std::string parts;                        ///< where our part_front answers, on this machine; empty: parts are fetched as segments are
  std::string cache_path = "cache";         ///< absolute, or relative to the prefix folder; best on tmpfs
  byte_size cache_size{std::int64_t{1} << 30};
  std::string log_socket;                   ///< path of our unix datagram socket (edge_log_reader); empty: no access log
  std::chrono::milliseconds target_duration{4000}; ///< of the segments; the cache lock waits 3 of them and 1 s
  std::chrono::seconds segment_validity{std::chrono::hours(12)}; ///< at least the longest playlist window; names never repeat
  int workers = 1;
  int worker_connections = 8192;
  std::chrono::seconds drain{30};           ///< a reload lets transfers of the former configuration end for so long
  std::string js_module = "/usr/lib/nginx/modules/ngx_http_js_module.so"; ///< it checks the tokens; empty: it is compiled in
  std::vector<viewing_key> viewing_keys;    ///< whose tokens count; while there are none nothing is known of them: 503
  std::string worker_user;                  ///< when we are root: user of the workers, with a group of the same name (www-data); empty: root
};

/// What checks viewing tokens, and where the configuration looks for it: a file of that name beside it.
inline constexpr std::string_view viewing_script_file = "viewing.js";
std::string_view viewing_script();

/// The text of nginx.conf; paths in it are relative to the prefix folder. Errors: invalid_config, naming the setting and its value (of a secret, only the setting).
expected<std::string> render(const edge_config& config);

} // namespace weir::nginx
