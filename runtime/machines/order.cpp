#include "runtime/machines/order.hpp"

#include "runtime/base/secret.hpp"
#include "runtime/base/utf8.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace weir::machines {

using nlohmann::json;

namespace {

constexpr int deepest = 8;
constexpr std::size_t reason_limit = 300; ///< bytes
constexpr std::size_t name_limit = 253;   ///< bytes, as host names
constexpr std::string_view letters = "abcdefghijklmnopqrstuvwxyz234567"; ///< of names: none that is taken for another one
constexpr std::size_t drawn = 7, derived = 3; ///< letters at random, and those that follow from all before them

/// What a stranger wrote, as it may stand in a log or on a page.
std::string shown(std::string_view text) {
  std::string out;
  for (char c : text.substr(0, reason_limit))
    out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
  return to_valid_utf8(out); // it may have been cut within a letter
}

/// What no name has by chance that people think of.
std::string check_letters(std::string_view name) {
  auto digest = std::stoul(sha256_hex(name).substr(0, 8), nullptr, 16);
  std::string out;
  for (std::size_t i = 0; i < derived; ++i, digest /= letters.size())
    out += letters[digest % letters.size()];
  return out;
}

} // namespace

std::string_view to_string(order_kind kind) {
  constexpr std::array names{std::string_view("begin"), std::string_view("end"), std::string_view("list")};
  return names[static_cast<std::size_t>(kind)];
}

std::string to_json(const order& o) {
  nlohmann::ordered_json all{{"order", to_string(o.kind)}};
  if (o.kind != order_kind::list)
    all["machine"] = o.machine;
  all["cluster"] = o.cluster;
  all["prefix"] = o.prefix;
  return all.dump();
}

std::string key_of(const order& o) { return o.machine.empty() ? std::string(to_string(o.kind)) : fmt::format("{} {}", to_string(o.kind), o.machine); }

expected<answer> parse_answer(order_kind kind, std::string_view text) {
  auto bad = [](std::string why) { return fail(error_code::invalid_input, "the answer " + std::move(why)); };
  if (text.size() > answer_limit)
    return fail(error_code::too_large, fmt::format("the answer has {} bytes; at most {} are taken", text.size(), answer_limit));
  if (text.find_first_not_of(" \t\r\n") == text.npos)
    return bad("is empty: one JSON object is expected");
  bool deep = false;
  const auto watch = [&](int level, json::parse_event_t, json&) {
    deep |= level > deepest;
    return level <= deepest; // deeper values are not even kept
  };
  const auto object = json::parse(text, watch, false);
  if (deep)
    return bad(fmt::format("is nested deeper than {}", deepest));
  if (!object.is_object())
    return bad("is not one JSON object");
  if (auto accepted = object.find("accepted"); accepted != object.end() || kind != order_kind::list) {
    if (accepted == object.end() || !accepted->is_boolean())
      return bad("says neither \"accepted\": true nor false");
    if (!accepted->get<bool>()) {
      auto reason = object.find("reason");
      return fail(error_code::unavailable, reason != object.end() && reason->is_string() && !reason->get_ref<const std::string&>().empty()
                                             ? "refused: " + shown(reason->get_ref<const std::string&>())
                                             : std::string("refused without a reason"));
    }
  }
  answer out;
  if (kind != order_kind::list)
    return out;
  auto machines = object.find("machines");
  if (machines == object.end() || !machines->is_array())
    return bad("has no list \"machines\"");
  if (machines->size() > machines_limit)
    return fail(error_code::too_large, fmt::format("the answer lists {} machines; at most {} are taken", machines->size(), machines_limit));
  for (auto& one : *machines) {
    if (!one.is_string() || one.get_ref<const std::string&>().empty() || one.get_ref<const std::string&>().size() > name_limit)
      return bad(fmt::format("lists as a machine what is no name of 1 to {} bytes", name_limit));
    out.machines.push_back(one.get<std::string>());
  }
  std::ranges::sort(out.machines);
  auto twice = std::ranges::unique(out.machines);
  out.machines.erase(twice.begin(), twice.end());
  return out;
}

std::string prefix_of(std::string_view cluster) {
  std::string name;
  for (char c : cluster.substr(0, 40))
    name += std::isalnum(static_cast<unsigned char>(c)) != 0 ? static_cast<char>(std::tolower(static_cast<unsigned char>(c))) : '-';
  return name + "-edge-";
}

std::string make_name(std::string_view prefix) {
  std::array<std::uint8_t, drawn> random{};
  fill_random(random);
  std::string name(prefix);
  for (auto byte : random)
    name += letters[byte % letters.size()];
  return name + check_letters(name);
}

bool is_name(std::string_view prefix, std::string_view name) {
  return name.size() == prefix.size() + drawn + derived && name.starts_with(prefix) && name.ends_with(check_letters(name.substr(0, name.size() - derived)));
}

} // namespace weir::machines
