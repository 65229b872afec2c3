// Whatever a member answers is refused, or values within their bounds that go back into the same text; what it is asked for goes by the same parsers.
#include "runtime/hls/addresses.hpp"
#include "runtime/origin/replica.hpp"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace weir;
  using namespace weir::origin;
  const std::string_view text{reinterpret_cast<const char*>(data), size};
  if (const auto log = parse_log(text); log && !log->stamp.owner.empty()) {
    const auto again = parse_log(to_text(*log));
    if (!again || !(again->stamp == log->stamp) || again->json != log->json)
      std::abort();
  }
  if (const auto streams = parse_streams(text))
    for (auto& s : *streams)
      if (!hls::is_address_word(s.stream) || !hls::is_address_word(s.stamp.owner))
        std::abort();
  if (const auto segments = parse_segments(text); segments && parse_segments(to_text(*segments)) != *segments)
    std::abort();
  if (const auto mark = parse_mark(text); mark && parse_mark(to_text(*mark)) != *mark)
    std::abort();
  if (const auto word = parse_word(text); word && !word->settled.members.empty() && !check(word->settled))
    std::abort();
  if (const auto said = parse_refusal(static_cast<int>(size % 600), text); said.text.empty() || said.text.size() > 500 || said.code == error_code::none)
    std::abort();
  if (const auto listed = listed_segments(text))
    for (auto& s : *listed)
      if (!parse_segment(path_of(s)))
        std::abort();
  return 0;
}
