// Any answer of a server's list is an error or a list of that server.
#include "runtime/rtmp/lists.hpp"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text{reinterpret_cast<const char*>(data), size};
  for (const auto& list : {weir::rtmp::parse_nginx_stat(text, "server"), weir::rtmp::parse_srs_streams(text, "server")})
    if (list && list->server != "server")
      std::abort();
  weir::rtmp::parse_srs_vhosts(text);
  return 0;
}
