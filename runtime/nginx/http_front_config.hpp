#pragma once
// The configuration of nginx with TLS and HTTP/2 before a node's own HTTP listener: what viewers and people ask for, and nothing that nodes and RTMP servers say to each other.
#include "schemas/error.hpp"
#include "schemas/units.hpp"

#include <chrono>
#include <string>

namespace weir::nginx {

struct http_front_config {
  std::string listen = "0.0.0.0:443";
  std::string certificate;                  ///< file with chain and key (PEM), absolute or relative to the prefix folder
  std::string upstream;                     ///< "host:port" where the node listens
  byte_size body_limit{1 << 20};            ///< of a request
  int workers = 1;
  int worker_connections = 8192;
  std::chrono::seconds drain{4};            ///< a reload lets answers of the former configuration end for so long
  std::string worker_user;                  ///< when we are root: user of the workers, with a group of the same name (www-data); empty: root
};

/// The text of nginx.conf; paths in it are relative to the prefix folder. Errors: invalid_config, naming the setting and its value.
expected<std::string> render(const http_front_config& config);

} // namespace weir::nginx
