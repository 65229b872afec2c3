// Any answer to an order is an error in few words on one line, or names within their bounds.
#include "runtime/machines/order.hpp"

#include <algorithm>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace weir::machines;
  const std::string_view text{reinterpret_cast<const char*>(data), size};
  for (const auto kind : {order_kind::begin, order_kind::end, order_kind::list}) {
    const auto said = parse_answer(kind, text);
    if (!said) {
      if (said.error().text.empty() || said.error().text.size() > 1000 || said.error().text.find('\n') != std::string::npos)
        std::abort();
      continue;
    }
    if (kind != order_kind::list && !said->machines.empty())
      std::abort();
    if (said->machines.size() > machines_limit || !std::ranges::is_sorted(said->machines))
      std::abort();
    for (auto& one : said->machines)
      if (one.empty() || one.size() > 253 || one.size() > size)
        std::abort();
  }
  return 0;
}
