// Whatever an S3 server answers is refused, or a page whose keys mean what they are; a refusal becomes a line.
#include "runtime/origin/s3_store.hpp"
#include "runtime/origin/s3_wire.hpp"

#include <algorithm>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace weir::origin;
  const std::string_view text{reinterpret_cast<const char*>(data), size};
  auto line = [](const std::string& words) { return words.size() <= 300 && std::all_of(words.begin(), words.end(), [](char c) { return c >= ' ' && c <= '~'; }); };
  const auto refusal = parse_s3_refusal(text);
  if (!line(refusal.code) || !line(refusal.words))
    std::abort();
  auto look = [](std::string_view key) {
    const s3_layout at{"live/"};
    if (const auto k = at.segment(key); k && at.segment(k->stream, k->place, k->term, k->number) != key)
      std::abort();
    if (const auto k = at.log(key); k && at.log(k->stream, k->term, k->version) != key)
      std::abort();
    if (const auto k = at.claim(key); k && at.claim(k->term, k->holder) != key)
      std::abort();
    if (const auto k = at.opening(key); k && at.opening(*k) != key)
      std::abort();
  };
  look(text);
  if (const auto page = parse_s3_page(text))
    for (auto& o : page->objects) {
      if (o.key.empty())
        std::abort();
      look(o.key);
    }
  if (const auto prefix = checked_prefix(text); prefix && checked_prefix(*prefix).value_or("other") != *prefix)
    std::abort();
  if (const auto found = parse_s3_credentials(text); found && (found->key.access.empty() || found->key.secret.empty()))
    std::abort();
  return 0;
}
