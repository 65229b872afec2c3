#include "runtime/describe/sources.hpp"

#include "runtime/base/file.hpp"
#include "runtime/describe/value_path.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <fmt/format.h>
#include <unistd.h>

namespace weir::describe {
namespace {

constexpr std::string_view prefix = "WEIR_";
// Read by the client commands, by ./run and by tests; they configure no node.
constexpr std::array<std::string_view, 5> foreign{"WEIR_SERVER", "WEIR_TOKEN", "WEIR_TOKEN_FILE", "WEIR_CONFIG", "WEIR_SOURCE_DIR"};

bool is_name(std::string_view text) {
  auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  return !text.empty() && letter(text.front()) && std::all_of(text.begin(), text.end(), [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

class substituter {
public:
  substituter(const environment& variables, problems& found) : variables_(variables), found_(found) {}

  void walk(value& node) {
    if (node.is == value::kind::plain || node.is == value::kind::quoted)
      scalar(node);
    for (std::size_t i = 0; i < node.items.size(); ++i) {
      path_.push(i);
      walk(node.items[i]);
      path_.pop();
    }
    for (auto& m : node.members) {
      path_.push(m.key);
      walk(m.it);
      path_.pop();
    }
  }

private:
  void scalar(value& node) {
    if (node.text.find('$') == std::string::npos)
      return;
    std::string made;
    std::string_view rest = node.text;
    while (!rest.empty()) {
      auto dollar = std::min(rest.find('$'), rest.size());
      made += rest.substr(0, dollar);
      rest.remove_prefix(dollar);
      if (rest.starts_with("$$")) {
        made += '$';
        rest.remove_prefix(2);
      } else if (rest.starts_with("${")) {
        auto close = rest.find('}');
        auto inside = rest.substr(2, close == std::string_view::npos ? close : close - 2);
        auto mark = inside.find(":-");
        auto name = inside.substr(0, mark);
        if (close == std::string_view::npos || !is_name(name))
          return complain(node, "\"${\" starts no variable here: write ${NAME} or ${NAME:-default}, or $${ for the characters themselves");
        auto set = variables_.find(name);
        if (mark != std::string_view::npos)
          made += set == variables_.end() || set->second.empty() ? inside.substr(mark + 2) : std::string_view(set->second);
        else if (set != variables_.end())
          made += set->second;
        else
          return complain(node, fmt::format("the environment variable {0} is not set: set it, or write ${{{0}:-default}}", name));
        rest.remove_prefix(close + 1);
        node.substituted = true;
      } else if (!rest.empty()) {
        made += '$'; // a dollar on its own, as passwords have it
        rest.remove_prefix(1);
      }
    }
    node.text = std::move(made);
  }

  void complain(value& node, std::string detail) {
    found_.push_back(path_.problem_at(node.at, std::move(detail)));
    node.broken = true;
  }

  const environment& variables_;
  problems& found_;
  value_path path_;
};

void merge_below(value& into, value from, value_path& path, problems& found) {
  for (auto& m : from.members) {
    auto same = std::find_if(into.members.begin(), into.members.end(), [&](auto& other) { return other.key == m.key; });
    path.push(m.key);
    if (same == into.members.end())
      into.members.push_back(std::move(m));
    else if (same->it.is == value::kind::map && m.it.is == value::kind::map)
      merge_below(same->it, std::move(m.it), path, found);
    else
      found.push_back(path.problem_at(m.at, fmt::format("already set in {}: keep one of them", to_string(same->at))));
    path.pop();
  }
}

// Puts the value of one variable where its name leads.
class overrider {
public:
  overrider(const std::string& name, const std::string& text) : text_(text), at_{std::make_shared<const std::string>(fmt::format("environment variable {}", name)), 0, 0} {}

  // `rest` is what is left of the name, such as LOG_LEVEL.
  bool apply(value& node, const shape& type, std::string_view rest) {
    switch (type.is) {
      case shape::kind::optional: return apply(node, type.element(), rest);
      case shape::kind::object: return into_object(node, type, rest);
      case shape::kind::list: return into_list(node, type, rest);
      case shape::kind::map: return false;
      default:
        if (!rest.empty())
          return false;
        node = scalar(text_);
        return true;
    }
  }

private:
  value scalar(std::string_view text) const {
    value v;
    v.is = value::kind::plain;
    v.substituted = true;
    v.text = text;
    v.at = at_;
    return v;
  }

  bool into_object(value& node, const shape& type, std::string_view rest) {
    for (auto& f : type.fields) {
      std::string word(f.name);
      std::transform(word.begin(), word.end(), word.begin(), [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; });
      if (f.is(secret) && rest == word + "_FILE")
        return set(node, std::string(f.name) + "_file", [&](value& v) { return v = scalar(text_), true; });
      if (rest.starts_with(word) && (rest.size() == word.size() || rest[word.size()] == '_') &&
          set(node, f.name, [&](value& v) { return apply(v, f.type(), rest.size() == word.size() ? "" : rest.substr(word.size() + 1)); }))
        return true;
    }
    return false;
  }

  // Changes a member, made if absent, unless the change fails.
  template <class Change>
  bool set(value& node, std::string_view key, Change change) {
    auto found = std::find_if(node.members.begin(), node.members.end(), [&](auto& m) { return m.key == key; });
    value next = found == node.members.end() ? value{} : found->it;
    if (!change(next))
      return false;
    if (node.is != value::kind::map)
      node = {}, node.is = value::kind::map, node.at = at_, found = node.members.end();
    if (found == node.members.end())
      node.members.push_back({std::string(key), at_, std::move(next)});
    else
      found->it = std::move(next);
    return true;
  }

  bool into_list(value& node, const shape& type, std::string_view rest) {
    auto fresh = [&] {
      node = {};
      node.is = value::kind::list;
      node.at = at_;
    };
    if (rest.empty()) { // WEIR_ROLES=worker,edge
      fresh();
      for (std::string_view left = text_; !left.empty();) {
        auto comma = std::min(left.find(','), left.size());
        node.items.push_back(scalar(left.substr(0, comma)));
        left.remove_prefix(std::min(comma + 1, left.size()));
      }
      return true;
    }
    std::size_t index = 0;
    auto [end, code] = std::from_chars(rest.data(), rest.data() + rest.size(), index);
    auto after = static_cast<std::size_t>(end - rest.data());
    if (code != std::errc{} || (after < rest.size() && rest[after] != '_'))
      return false;
    value item = node.is == value::kind::list && index < node.items.size() ? node.items[index] : value{};
    if ((node.is == value::kind::list ? node.items.size() : 0) < index || !apply(item, type.element(), after == rest.size() ? "" : rest.substr(after + 1)))
      return false;
    if (node.is != value::kind::list)
      fresh();
    if (index == node.items.size())
      node.items.emplace_back();
    node.items[index] = std::move(item);
    return true;
  }

  const std::string& text_;
  place at_;
};

} // namespace

environment process_environment() {
  environment out;
  for (char** one = environ; *one; ++one) {
    std::string_view text = *one;
    if (auto equals = text.find('='); equals != std::string_view::npos)
      out.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return out;
}

void substitute(value& tree, const environment& variables, problems& found) { substituter(variables, found).walk(tree); }

void merge(value& into, value from, problems& found) {
  into.broken = into.broken || from.broken;
  value_path path;
  merge_below(into, std::move(from), path, found);
}

void override_from(value& tree, const shape& type, const environment& variables, problems& found) {
  for (auto it = variables.lower_bound(prefix); it != variables.end() && it->first.starts_with(prefix); ++it) {
    if (std::find(foreign.begin(), foreign.end(), it->first) != foreign.end())
      continue;
    if (!overrider(it->first, it->second).apply(tree, type, std::string_view(it->first).substr(prefix.size())))
      found.push_back({{std::make_shared<const std::string>("environment variable " + it->first), 0, 0}, "", "", "names no setting", false});
  }
}

std::function<expected<std::string>(const std::string& path, const place& written)> secret_reader(const environment& variables) {
  auto credentials = variables.find("CREDENTIALS_DIRECTORY");
  auto folder = credentials == variables.end() ? std::filesystem::path{} : std::filesystem::path(credentials->second);
  return [folder](const std::string& path, const place& written) -> expected<std::string> {
    auto base = !folder.empty() ? folder : written.line > 0 && written.file ? std::filesystem::path(*written.file).parent_path() : std::filesystem::path{};
    return read_secret_file(base / path);
  };
}

} // namespace weir::describe
