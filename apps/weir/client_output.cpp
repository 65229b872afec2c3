#include "apps/weir/client_output.hpp"

#include "runtime/describe/yaml_writer.hpp"
#include "schemas/units.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <fmt/format.h>
#include <iostream>
#include <unistd.h>

namespace weir::cli {
namespace {

const json* member(const json& object, std::string_view key) {
  auto found = object.is_object() ? object.find(std::string(key)) : object.end();
  return found == object.end() ? nullptr : &*found;
}

std::string shown_value(const json& value) {
  if (value.is_null())
    return "-";
  if (value.is_string()) {
    auto& text = value.get_ref<const std::string&>();
    return text.empty() ? "-" : printable(text);
  }
  if (value.is_boolean())
    return value.get<bool>() ? "yes" : "no";
  if (!value.is_array())
    return value.dump();
  std::string all;
  for (auto& item : value)
    all += (all.empty() ? "" : ", ") + shown_value(item);
  return all.empty() ? "-" : all;
}

bool is_flat(const json& value) {
  return !value.is_structured() || value.empty() || (value.is_array() && std::ranges::none_of(value, [](auto& item) { return item.is_structured(); }));
}

/// 1234567 with three digits and the prefix of its power of `step`.
std::string scaled(double value, double step, std::array<std::string_view, 5> units) {
  std::size_t power = 0;
  while (value >= step && power + 1 < units.size()) {
    value /= step;
    ++power;
  }
  return fmt::format("{:.{}f} {}", value, power == 0 || value >= 99.95 ? 0 : 1, units[power]);
}

} // namespace

bool colourful() {
  static const bool wanted = [] {
    auto* no = std::getenv("NO_COLOR"); // no-color.org: any value but the empty one
    return ::isatty(STDOUT_FILENO) != 0 && (!no || !*no);
  }();
  return wanted;
}

std::string painted(tone t, std::string_view text) {
  static constexpr std::array<std::string_view, 6> codes{"", "32", "33", "31;1", "2", "1"};
  auto code = codes[std::size_t(t)];
  return code.empty() || text.empty() || !colourful() ? std::string(text) : fmt::format("\x1b[{}m{}\x1b[0m", code, text);
}

tone tone_of(std::string_view phase) {
  for (auto good : {"live", "running", "ready", "serving"})
    if (phase == good)
      return tone::good;
  for (auto bad : {"crash_looping", "failed", "down", "dead"})
    if (phase == bad)
      return tone::bad;
  for (auto quiet : {"offline", "waiting", "done", "stopped", "left"})
    if (phase == quiet)
      return tone::dim;
  return tone::warning;
}

cell phase_cell(const json& object) {
  auto phase = shown(object, "phase");
  return {phase, tone_of(phase)};
}

std::string printable(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    auto c = static_cast<unsigned char>(text[i]);
    bool c1 = c == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0; // U+0080 to U+009F steer terminals too
    if (c1)
      ++i;
    if (c1 || c < 0x20 || c == 0x7f)
      out += c == '\n' || c == '\t' ? " " : "?";
    else
      out.push_back(text[i]);
  }
  return out;
}

std::size_t width_of(std::string_view text) {
  std::size_t width = 0;
  for (std::size_t i = 0; i < text.size(); ++i)
    if (text[i] == '\x1b')
      i = std::min(text.find('m', i), text.size());
    else if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80)
      ++width;
  return width;
}

std::string cut(std::string_view line, std::size_t width) {
  if (width_of(line) <= width)
    return std::string(line);
  std::string out;
  std::size_t used = 0;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\x1b') {
      auto end = std::min(line.find('m', i), line.size() - 1);
      out.append(line.substr(i, end - i + 1));
      i = end;
      continue;
    }
    used += (static_cast<unsigned char>(line[i]) & 0xc0) != 0x80;
    if (used < width)
      out.push_back(line[i]);
    else if (used == width && !out.ends_with("…"))
      out += "…";
  }
  return out;
}

table::table(std::initializer_list<std::string_view> titles) {
  auto& head = rows_.emplace_back();
  for (auto title : titles) {
    bool right = title.starts_with('>'); // numbers stand at the right
    head.push_back({std::string(title.substr(right)), tone::dim, right});
  }
}

std::string table::text() const {
  std::vector<std::size_t> widths(rows_.front().size(), 0);
  for (auto& row : rows_)
    for (std::size_t i = 0; i < row.size(); ++i)
      widths[i] = std::max(widths[i], width_of(row[i].text));
  std::string out;
  for (auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      bool right = rows_.front()[i].right;
      std::string blanks(widths[i] - width_of(row[i].text), ' ');
      bool last = i + 1 == row.size();
      out += (right ? blanks : "") + painted(row[i].colour, row[i].text) + (right || last ? "" : blanks) + (last ? "" : "  ");
    }
    out += '\n';
  }
  return out;
}

std::string shown(const json& object, std::string_view key) {
  auto* value = member(object, key);
  return value ? shown_value(*value) : "-";
}

std::string age(const json& object, std::string_view key) {
  auto* value = member(object, key);
  auto at = value && value->is_string() ? parse_rfc3339(value->get_ref<const std::string&>()) : expected<timestamp>(fail(error_code::not_found, {}));
  if (!at)
    return "-";
  auto seconds = std::max<std::int64_t>(0, std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now() - *at).count());
  if (seconds < 600)
    return fmt::format("{} s", seconds);
  if (seconds < 2 * 3600)
    return fmt::format("{} min", seconds / 60);
  return seconds < 48 * 3600 ? fmt::format("{} h", seconds / 3600) : fmt::format("{} d", seconds / 86400);
}

std::string rate(const json& object, std::string_view key) {
  auto* value = member(object, key);
  if (!value || !value->is_number())
    return shown(object, key);
  return value->get<double>() == 0 ? "-" : scaled(value->get<double>(), 1000, {"bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"});
}

std::string bytes(const json& object, std::string_view key) {
  auto* value = member(object, key);
  return value && value->is_number() ? scaled(value->get<double>(), 1024, {"B", "KiB", "MiB", "GiB", "TiB"}) : shown(object, key);
}

void print_data(const client_options& options, const json& value) {
  if (options.form == "yaml")
    std::cout << describe::yaml_block(value);
  else
    std::cout << value.dump(2) << '\n';
}

void print_object(const client_options& options, const json& object, const std::vector<std::string_view>& first) {
  if (!options.table())
    return print_data(options, object);
  std::vector<std::string> keys;
  for (auto key : first)
    if (object.contains(std::string(key)))
      keys.emplace_back(key);
  for (auto& [key, value] : object.items())
    if (std::ranges::find(keys, key) == keys.end())
      keys.push_back(key);
  std::size_t width = 0;
  for (auto& key : keys)
    width = std::max(width, width_of(printable(key)));
  auto line = [&](const std::string& lead, tone t, const std::string& text) {
    std::cout << painted(tone::dim, lead) << std::string(width + 2 - std::min(width_of(lead), width), ' ') << painted(t, text) << '\n';
  };
  for (auto& key : keys) {
    auto& value = object[key];
    auto name = printable(key);
    if (is_flat(value)) {
      bool many = value.is_array() && value.size() > 1;
      if (!many)
        line(name, key == "phase" ? tone_of(shown_value(value)) : tone::plain, shown_value(value.is_object() ? json() : value));
      else
        for (std::size_t i = 0; i < value.size(); ++i)
          line(i == 0 ? name : "", tone::plain, shown_value(value[i]));
      continue;
    }
    auto block = describe::yaml_block(value);
    std::string_view rest(block);
    for (bool begun = false; !rest.empty(); begun = true) {
      auto end = std::min(rest.find('\n'), rest.size());
      line(begun ? "" : name, tone::plain, printable(rest.substr(0, end)));
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
  }
}

void print_list(const client_options& options, const json& items, table t, const std::function<std::vector<cell>(const json&)>& row) {
  if (!options.table())
    return print_data(options, items);
  for (auto& item : items)
    t.add(row(item));
  std::cout << t.text();
}

void say(const client_options& options, std::string_view text) {
  if (options.table())
    std::cout << text << '\n';
}

} // namespace weir::cli
