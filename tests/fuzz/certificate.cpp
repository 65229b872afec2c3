// Any text is an error or facts that can be printed on a terminal, and leaves no error behind for a TLS session to stumble over.
#include "runtime/cluster/authority.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <openssl/err.h>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto facts = weir::cluster::parse_certificate({reinterpret_cast<const char*>(data), size});
  const auto printable = [](const std::string& text) { return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; }); };
  if (facts && (!printable(facts->subject) || !printable(facts->issuer)))
    std::abort();
  if (facts && (weir::to_rfc3339(facts->not_before).size() != 24 || weir::to_rfc3339(facts->not_after).size() != 24))
    std::abort();
  if (ERR_peek_error() != 0 || (!facts && (!printable(facts.error().text) || facts.error().text.empty())))
    std::abort();
  return 0;
}
