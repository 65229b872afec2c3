// Whatever an edge answers is well or has a fault in words, and other bytes than the origin's are never well.
#include "runtime/nginx/edge_probe.hpp"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text{reinterpret_cast<const char*>(data), size};
  weir::http::client_response answer;
  answer.status = size % 2 == 0 ? 206 : 200;
  answer.headers.add("Access-Control-Allow-Origin", "*");
  answer.headers.add("Cache-Control", "max-age=3600");
  for (auto* name : {"Content-Range", "Content-Length", "Cache-Control"}) { // a line each, then the body
    const auto end = std::min(text.find('\n'), text.size());
    answer.headers.set(name, std::string(text.substr(0, end)));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  answer.body = text;
  const weir::probe_target newest{"/s/a~1/1/r/1.ts", text.size(), weir::nginx::head_digest(std::string(text) + "x")};
  if (text.size() < weir::nginx::probe_head && weir::nginx::fault_of(answer, newest).empty())
    std::abort();
  [[maybe_unused]] const auto fault = weir::nginx::fault_of(answer, {"/s/a~1/1/r/1.ts", 0, {}});
  return 0;
}
