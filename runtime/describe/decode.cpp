#include "runtime/describe/decode.hpp"

#include "runtime/describe/json_tree.hpp"
#include "runtime/describe/scalars.hpp"
#include "runtime/describe/value_path.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <numeric>

namespace weir::describe {
namespace {

using value_kind = value::kind;
using shape_kind = shape::kind;

std::string_view wanted(const shape& type) {
  switch (type.is) {
    case shape_kind::boolean: return "true or false";
    case shape_kind::integer: return "a whole number";
    case shape_kind::bit_rate: return "a bit rate such as 2.5M or 800k";
    case shape_kind::byte_size: return "a size such as 512MiB or 10GB";
    case shape_kind::duration: return "a duration such as 2s, 250ms, 10m, 1h or 7d";
    case shape_kind::timestamp: return "a time such as 2026-11-22T10:00:00Z";
    case shape_kind::text: return "text";
    case shape_kind::enumeration: return "one of the listed words";
    case shape_kind::optional: return wanted(type.element());
    case shape_kind::list: return "a list";
    case shape_kind::map:
    case shape_kind::object: return "a map of keys and values";
  }
  return "";
}

std::string cut(std::string_view text) {
  constexpr std::size_t longest = 80;
  if (text.size() <= longest)
    return std::string(text);
  auto end = longest;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) // not in the middle of a character
    --end;
  return std::string(text.substr(0, end)) + "…";
}

bool within(wide n, const bounds<wide>& allowed) { return n >= allowed.min && n <= allowed.max; }

class decoder {
public:
  decoder(problems& found, const decode_options& options) : found_(found), options_(options) {}

  void object(const value& from, const shape& type, void* out) {
    if (from.is != value_kind::map && !nothing_written(from))
      return refuse(from, wanted(type));
    auto before = fatal_count();
    std::vector<bool> seen(type.fields.size(), false);
    for (auto& m : from.members)
      member_of(m, type, out, seen, from);
    if (!options_.partial)
      for (std::size_t i = 0; i < type.fields.size(); ++i)
        if (!seen[i] && missing(type.fields[i], out))
          complain(from.at, fmt::format("the key {} is missing: {}", type.fields[i].name, type.fields[i].sentence));
    if (type.check && fatal_count() == before)
      for (auto& c : type.check(out))
        complain_below(from, c);
  }

private:
  // `http:` with nothing below, as it stands when every key under it is commented out.
  static bool nothing_written(const value& from) { return from.is == value_kind::null && from.text.empty(); }

  std::ptrdiff_t fatal_count() const {
    return std::count_if(found_.begin(), found_.end(), [](auto& p) { return p.fatal; });
  }

  // An absent key keeps what is there: that must be within its bounds, too.
  static bool missing(const field_shape& f, const void* owner) {
    if (!f.allowed || f.is(read_only))
      return false;
    auto length = measure_of(f.type(), f.of_const(owner));
    return length && !within(*length, *f.allowed);
  }

  void member_of(const member& m, const shape& type, void* out, std::vector<bool>& seen, const value& owner) {
    for (std::size_t i = 0; i < type.fields.size(); ++i) {
      auto& f = type.fields[i];
      if (m.key == f.name) {
        if (seen[i])
          return; // the parser has reported the duplicate
        seen[i] = true;
        path_.push(f.name);
        if (!f.is(read_only))
          one(m.it, f.type(), &f, f.of(out));
        else if (!options_.skip_read_only)
          complain(m.at, "is reported, not set: leave it out");
        path_.pop();
        return;
      }
      if (options_.read_secret && f.is(secret) && m.key.size() == f.name.size() + 5 && m.key.starts_with(f.name) && m.key.ends_with("_file")) {
        seen[i] = true;
        path_.push(m.key);
        if (owner.find(f.name))
          complain(m.at, fmt::format("{} is given as well: keep one of them", f.name));
        else
          from_file(m.it, f, f.of(out));
        path_.pop();
        return;
      }
    }
    std::vector<std::string_view> known;
    for (auto& f : type.fields)
      known.push_back(f.name);
    auto near = nearest(m.key, known);
    path_.push(m.key);
    complain(m.at, near.empty() ? fmt::format("unknown, known are {}", fmt::join(known, ", ")) : fmt::format("unknown, did you mean {}?", near));
    path_.pop();
  }

  void from_file(const value& from, const field_shape& f, void* out) {
    std::string file;
    if (!text_of(from, file, "the name of a file"))
      return;
    auto read = options_.read_secret(file, from.at);
    if (!read)
      return complain(from.at, read.error().text);
    value v;
    v.is = value_kind::quoted;
    v.at = from.at;
    v.text = std::move(*read);
    one(v, f.type(), &f, out);
  }

  // `f` describes the field that the value belongs to; null for elements of lists and maps.
  void one(const value& from, const shape& type, const field_shape* f, void* out) {
    if (from.broken)
      return;
    if (f && f->is(json_text)) {
      type.text(out) = json_of(from);
      return;
    }
    switch (type.is) {
      case shape_kind::object: return object(from, type, out);
      case shape_kind::optional:
        if (from.is == value_kind::null)
          return type.clear(out);
        return one(from, type.element(), f, type.add(out, {}));
      case shape_kind::list: return list(from, type, f, out);
      case shape_kind::map: return map(from, type, out);
      case shape_kind::text: return text(from, type, f, out);
      case shape_kind::boolean: return boolean(from, type, out);
      case shape_kind::enumeration: return enumeration(from, type, out);
      default: return number(from, type, f, out);
    }
  }

  void list(const value& from, const shape& type, const field_shape* f, void* out) {
    if (from.is != value_kind::list)
      return refuse(from, from.is == value_kind::null ? "a list, [] for an empty one" : wanted(type));
    if (f && f->allowed && !within(static_cast<wide>(from.items.size()), *f->allowed))
      return complain(from.at, fmt::format("has {} entries, allowed are {}..{}", from.items.size(), to_text(f->allowed->min), to_text(f->allowed->max)));
    type.clear(out);
    for (std::size_t i = 0; i < from.items.size(); ++i) {
      path_.push(i);
      secret_element_ = f && f->is(secret);
      one(from.items[i], type.element(), nullptr, type.add(out, {}));
      secret_element_ = false;
      path_.pop();
    }
  }

  void map(const value& from, const shape& type, void* out) {
    if (nothing_written(from))
      return type.clear(out);
    if (from.is != value_kind::map)
      return refuse(from, wanted(type));
    type.clear(out);
    for (auto& m : from.members) {
      path_.push(m.key);
      one(m.it, type.element(), nullptr, type.add(out, m.key));
      path_.pop();
    }
  }

  bool text_of(const value& from, std::string& out, std::string_view what) {
    if (from.is == value_kind::null && !from.substituted)
      refuse(from, fmt::format("{}, \"\" for an empty one", what));
    else if (from.is != value_kind::plain && from.is != value_kind::quoted && !from.substituted)
      refuse(from, what);
    else if (from.is == value_kind::plain && !from.substituted && (is_yaml_number(from.text) || from.text == "true" || from.text == "false"))
      complain(from.at, fmt::format("{0} is a {1}, text is wanted: write \"{0}\"", shown(from), from.text == "true" || from.text == "false" ? "boolean" : "number"));
    else if (from.text.find('\0') != std::string::npos)
      complain(from.at, "holds the character U+0000");
    else {
      out = from.text;
      return true;
    }
    return false;
  }

  void text(const value& from, const shape& type, const field_shape* f, void* out) {
    is_secret_ = secret_element_ || (f && f->is(secret));
    std::string made;
    if (text_of(from, made, "text")) {
      auto& target = type.text(out);
      if (is_secret_ && made == "***") {
        if (target.empty())
          complain(from.at, "*** is how secrets are shown, not a secret");
      } else if (f && f->allowed && !within(static_cast<wide>(made.size()), *f->allowed)) {
        complain(from.at, made.empty() ? fmt::format("is empty, at least {} byte{} wanted", to_text(f->allowed->min), f->allowed->min == 1 ? " is" : "s are")
                                       : fmt::format("{} has {} bytes, allowed are {}..{}", shown(from), made.size(), to_text(f->allowed->min), to_text(f->allowed->max)));
      } else {
        target = std::move(made);
      }
    }
    is_secret_ = false;
  }

  void boolean(const value& from, const shape& type, void* out) {
    if (from.is == value_kind::plain && (from.text == "true" || from.text == "false"))
      type.set(out, from.text == "true");
    else if (from.is == value_kind::plain && is_yaml_boolean(from.text))
      complain(from.at, fmt::format("{} is a boolean only in YAML 1.1: write true or false", shown(from)));
    else if (from.is == value_kind::quoted && (from.text == "true" || from.text == "false"))
      complain(from.at, fmt::format("{} is text: write {} without quotes", shown(from), from.text));
    else
      refuse(from, wanted(type));
  }

  void enumeration(const value& from, const shape& type, void* out) {
    std::vector<std::string_view> known;
    for (auto& [n, name] : type.names)
      known.push_back(name);
    if (from.is != value_kind::plain && from.is != value_kind::quoted)
      return refuse(from, fmt::format("one of {}", fmt::join(known, ", ")));
    for (auto& [n, name] : type.names)
      if (name == from.text)
        return type.set(out, n);
    auto near = nearest(from.text, known);
    complain(from.at, fmt::format("{} is not one of {}{}", shown(from), fmt::join(known, ", "), near.empty() ? "" : fmt::format("; did you mean {}?", near)));
  }

  void number(const value& from, const shape& type, const field_shape* f, void* out) {
    if (type.is == shape_kind::timestamp && from.is == value_kind::null)
      return type.set(out, 0);
    if (from.is != value_kind::plain && (from.is != value_kind::quoted || type.is == shape_kind::integer)) {
      if (from.is == value_kind::quoted && is_decimal(from.text))
        return complain(from.at, fmt::format("{} is text: write {} without quotes", shown(from), from.text));
      return refuse(from, wanted(type));
    }
    wide n = 0;
    if (type.is == shape_kind::integer) {
      if (!is_decimal(from.text))
        return complain(from.at, fmt::format("{} {}", shown(from), not_decimal(from.text)));
      bool negative = from.text.front() == '-';
      for (char c : std::string_view(from.text).substr(negative))
        n = std::min<wide>(n * 10 + (c - '0'), wide(1) << 80); // far beyond every type, so it only has to stay there
      n = negative ? -n : n;
    } else if (!measure(from, type, n)) {
      return;
    }
    bounds<wide> allowed = f && f->allowed ? *f->allowed : bounds<wide>{type.lowest, type.highest};
    if (!within(n, allowed) || !within(n, {type.lowest, type.highest}))
      return complain(from.at, fmt::format("{} is outside {}", shown(from), show_range(type, allowed)));
    if (n % type.step != 0)
      return complain(from.at, fmt::format("{} is finer than {}", shown(from), show_number(type, type.step)));
    type.set(out, n);
  }

  // A quantity with its unit.
  bool measure(const value& from, const shape& type, wide& n) {
    switch (type.is) {
      case shape_kind::bit_rate:
        if (auto parsed = parse_bit_rate(from.text))
          return n = parsed->bits_per_second, true;
        break;
      case shape_kind::byte_size:
        if (auto parsed = parse_byte_size(from.text))
          return n = parsed->bytes, true;
        break;
      case shape_kind::duration:
        if (auto parsed = parse_duration(from.text))
          return n = parsed->count(), true;
        if (is_decimal(from.text)) {
          complain(from.at, fmt::format("{} has no unit: write {}s, {}ms, {}m, {}h or {}d", shown(from), from.text, from.text, from.text, from.text, from.text));
          return false;
        }
        break;
      default:
        if (auto parsed = parse_rfc3339(from.text))
          return n = parsed->time_since_epoch().count(), true;
    }
    refuse(from, wanted(type));
    return false;
  }

  static std::string not_decimal(std::string_view text) {
    auto bare = text.substr(text.starts_with('-') || text.starts_with('+'));
    auto digits = [](std::string_view t) { return !t.empty() && std::all_of(t.begin(), t.end(), [](char c) { return c >= '0' && c <= '9'; }); };
    if (digits(bare) && bare.size() > 1 && bare.front() == '0') {
      auto trimmed = bare.substr(std::min(bare.find_first_not_of('0'), bare.size() - 1));
      return fmt::format("has a leading zero, which YAML 1.1 reads as octal: write {}", trimmed);
    }
    if (digits(bare) && text.front() == '+')
      return fmt::format("has a plus sign: write {}", bare);
    if (!is_yaml_number(text))
      return "is not a whole number";
    if (bare.find('_') != std::string_view::npos)
      return "has underscores: write only digits";
    if (bare.find(':') != std::string_view::npos)
      return "is a number of base 60 in YAML 1.1: write a decimal number";
    if (bare.size() > 1 && bare[0] == '0' && bare[1] != '.' && bare[1] != 'e' && bare[1] != 'E')
      return "is not decimal: write a decimal number";
    return "is a floating-point number, a whole one is wanted";
  }

  std::string shown(const value& v) const {
    if (is_secret_ || secret_element_)
      return "***";
    switch (v.is) {
      case value_kind::null: return v.text.empty() ? "nothing" : v.text;
      case value_kind::plain: return cut(v.text);
      case value_kind::quoted: return fmt::format("{:?}", cut(v.text));
      case value_kind::list: return "a list";
      case value_kind::map: return "a map";
    }
    return "";
  }

  void refuse(const value& from, std::string_view what) {
    if (from.is == value_kind::null)
      complain(from.at, fmt::format("{}, wanted is {}", from.text.empty() ? "no value is written" : fmt::format("{} is no value", from.text), what));
    else
      complain(from.at, fmt::format("{} is not {}", shown(from), what));
  }

  void complain(const place& at, std::string detail, bool fatal = true) { found_.push_back(path_.problem_at(at, std::move(detail), fatal)); }

  // Finds the place of what a check() names, or of the nearest thing around it that is written.
  void complain_below(const value& from, const complaint& c) {
    auto* here = &from;
    place at = from.at;
    std::size_t steps = 0;
    for (std::string_view rest = c.path; !rest.empty(); ++steps) {
      if (rest.front() == '[') {
        auto close = rest.find(']');
        std::size_t index = 0;
        for (char digit : rest.substr(1, close - 1))
          index = index * 10 + static_cast<std::size_t>(digit - '0');
        path_.push(index);
        here = here && index < here->items.size() ? &here->items[index] : nullptr;
        rest.remove_prefix(close + 1);
      } else {
        auto key = rest.substr(0, rest.find_first_of(".["));
        path_.push(key);
        here = here ? here->find(key) : nullptr;
        rest.remove_prefix(key.size());
      }
      if (rest.starts_with('.'))
        rest.remove_prefix(1);
      at = here ? here->at : at;
    }
    complain(at, c.detail, c.fatal);
    for (; steps > 0; --steps)
      path_.pop();
  }

  problems& found_;
  const decode_options& options_;
  value_path path_;
  bool is_secret_ = false;      // the text that is being read must not show in a problem
  bool secret_element_ = false; // the same for the elements of a list
};

// Optimal string alignment: insertions, deletions, replacements and swapped neighbours cost one each.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1), last(b.size() + 1), now(b.size() + 1);
  std::iota(last.begin(), last.end(), std::size_t(0));
  for (std::size_t i = 1; i <= a.size(); ++i) {
    now[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      now[j] = std::min({last[j] + 1, now[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        now[j] = std::min(now[j], before[j - 2] + 1);
    }
    before = std::exchange(last, now);
  }
  return last[b.size()];
}

} // namespace

bool detail::decode(const value& from, const shape& type, void* out, problems& found, const decode_options& options) {
  if (from.broken)
    return false; // what is missing from the tree would only be noise
  decoder(found, options).object(from, type, out);
  return !any_fatal(found);
}

std::string_view nearest(std::string_view word, const std::vector<std::string_view>& known) {
  constexpr std::size_t longest = 64; // words from outside may be long, and comparing costs their product
  std::string_view best;
  std::size_t best_distance = std::min(word.size(), longest) / 3 + 1;
  if (word.size() <= longest)
    for (auto one : known)
      if (auto d = distance(word, one); d < best_distance) {
        best = one;
        best_distance = d;
      }
  return best;
}

} // namespace weir::describe
