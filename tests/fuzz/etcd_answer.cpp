// Any answer of etcd is an error or values within their bounds; what is read of a pending change is what was written.
#include "runtime/election/ledger.hpp"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace weir::election;
  const std::string_view text{reinterpret_cast<const char*>(data), size};
  if (const auto page = parse_range(text))
    for (auto& one : page->records)
      if (one.key.empty())
        std::abort();
  [[maybe_unused]] const auto done = parse_transaction(text);
  if (const auto lease = parse_grant(text); lease && *lease == 0)
    std::abort();
  if (const auto left = parse_keep_alive(text); left && *left < 0)
    std::abort();
  if (const auto status = parse_member_status(text); status && (status->trouble.size() > 300 || status->trouble.find('\n') != std::string::npos))
    std::abort();
  if (const auto said = parse_refusal(static_cast<int>(size % 600), text); said.text.empty() || said.text.size() > 400)
    std::abort();
  if (const auto parts = parse_pending(text))
    for (auto& one : *parts)
      if (one.key.empty() || one.key.size() + one.value.size() > size)
        std::abort();
  return 0;
}
