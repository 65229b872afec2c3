// Whatever X-Forwarded-For says, the answer is the peer or a part of it that is an address, and nobody is believed whom we do not trust.
#include "runtime/http/auth.hpp"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace weir::http;
  static const auto ours = address_list::parse(std::vector<std::string>{"127.0.0.0/8", "10.0.0.0/8", "::1"}).value();
  static const auto all = address_list::parse(std::vector<std::string>{"0.0.0.0/0", "::/0"}).value();
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto cut = text.find('\n');
  const std::string_view lines[]{text.substr(0, cut), cut == text.npos ? std::string_view{} : text.substr(cut + 1)};
  if (address_behind(ours, "192.0.2.1", lines) != "192.0.2.1" || address_behind({}, "127.0.0.1", lines) != "127.0.0.1")
    std::abort();
  const auto who = address_behind(ours, "127.0.0.1", lines);
  if (!all.contains(who) || who.size() > 45)
    std::abort();
  return 0;
}
