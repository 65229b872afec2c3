// Any body of an SRS callback is an error or a complete call.
#include "runtime/rtmp/hooks.hpp"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto call = weir::rtmp::parse_srs_hook({reinterpret_cast<const char*>(data), size}, "server");
  if (call && (call->server != "server" || (call->kind == weir::hook_kind::publish && (call->stream.empty() || call->client_id.empty()))))
    std::abort();
  return 0;
}
