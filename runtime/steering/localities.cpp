#include "runtime/steering/localities.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace weir::steering {

namespace {

constexpr unsigned v4_bits = 96; ///< all IPv4 addresses are one network of that length

/// The first `bits` bits; the others zero.
std::array<std::uint8_t, 16> masked(std::array<std::uint8_t, 16> bytes, unsigned bits) {
  for (unsigned i = 0; i < bytes.size(); ++i) {
    const unsigned kept = bits > 8 * i ? std::min(8U, bits - 8 * i) : 0;
    bytes[i] = static_cast<std::uint8_t>(bytes[i] & (0xff00U >> kept));
  }
  return bytes;
}

bool is_v4(const std::array<std::uint8_t, 16>& bytes) {
  return std::all_of(bytes.begin(), bytes.begin() + 10, [](auto b) { return b == 0; }) && bytes[10] == 0xff && bytes[11] == 0xff;
}

} // namespace

bool is_locality(std::string_view text) {
  return !text.empty() && text.size() <= 64 && text.front() != '.' && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
  });
}

expected<void> localities::add(std::string_view locality, const std::vector<std::string>& networks) {
  if (!is_locality(locality))
    return fail(error_code::invalid_input, fmt::format("{:?} is not the name of a locality", locality.substr(0, 64)));
  if (networks.size() > network_limit)
    return fail(error_code::too_many, fmt::format("locality {}: an edge names {} networks, {} are allowed", locality, networks.size(), network_limit));
  std::vector<address_range> ranges;
  for (auto& text : networks) {
    auto range = parse_address_range(text);
    WEIR_TRY(range);
    ranges.push_back(*range);
  }
  auto at = static_cast<std::size_t>(std::ranges::find(names_, locality) - names_.begin());
  if (at == names_.size()) {
    if (names_.size() >= locality_limit)
      return fail(error_code::too_many, fmt::format("locality {} would be one more than the {} that are allowed", locality, locality_limit));
    names_.emplace_back(locality);
  }
  for (auto& range : ranges)
    networks_[range.bits].emplace(range.prefix, static_cast<std::uint16_t>(at));
  return {};
}

std::string_view localities::of(std::string_view address) const {
  if (networks_.empty() || address.find('/') != std::string_view::npos)
    return {};
  auto one = parse_address_range(address);
  if (!one)
    return {};
  for (auto& [bits, of_length] : networks_) {
    if (bits < v4_bits && is_v4(one->prefix)) // ::/0 is every IPv6 address, not every IPv4 one
      break;
    if (auto found = of_length.find(masked(one->prefix, bits)); found != of_length.end())
      return names_[found->second];
  }
  return {};
}

} // namespace weir::steering
