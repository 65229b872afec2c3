#pragma once
// How answers look: aligned tables, colours on a terminal, JSON and YAML for programs. Text from elsewhere never reaches the terminal with control characters.
#include "apps/weir/client.hpp"

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace weir::cli {

enum class tone { plain, good, warning, bad, dim, bold };

/// Whether stdout takes colours: a terminal, and NO_COLOR is not set.
bool colourful();
/// The text in that colour, or as it is where colours are not wanted.
std::string painted(tone t, std::string_view text);
/// How a phase of a stream, task, node or edge is to be seen.
tone tone_of(std::string_view phase);

struct cell {
  std::string text;
  tone colour = tone::plain;
  bool right = false;
};
cell phase_cell(const json& object);

/// Columns as wide as their widest cell; the title line is dim.
class table {
public:
  table(std::initializer_list<std::string_view> titles);
  void add(std::vector<cell> row) { rows_.push_back(std::move(row)); }
  std::string text() const;

private:
  std::vector<std::vector<cell>> rows_;
};

/// A member as people read it: text as it is, numbers, yes/no, lists with commas, nothing as "-".
std::string shown(const json& object, std::string_view key);
/// "312 s", "5 min", "3 h", "12 d" since that time; "-" for none.
std::string age(const json& object, std::string_view key);
/// "6.2 Mbit/s" of a number of bits a second; of a text the text.
std::string rate(const json& object, std::string_view key);
std::string bytes(const json& object, std::string_view key);
/// Without control characters.
std::string printable(std::string_view text);
/// How many columns it takes, colours not counted.
std::size_t width_of(std::string_view text);
/// At most so many columns, colours kept whole.
std::string cut(std::string_view line, std::size_t width);

/// JSON or YAML as asked, when not a table.
void print_data(const client_options& options, const json& value);
/// One object: "key  value" lines, those in `first` at the top; or JSON or YAML.
void print_object(const client_options& options, const json& object, const std::vector<std::string_view>& first);
/// A list by the rows that `row` makes of its items; or JSON or YAML.
void print_list(const client_options& options, const json& items, table t, const std::function<std::vector<cell>(const json&)>& row);
/// A sentence for people, left out when data was asked for.
void say(const client_options& options, std::string_view text);

} // namespace weir::cli
