#include "runtime/describe/reference.hpp"

#include "runtime/describe/encode.hpp"
#include "runtime/describe/scalars.hpp"
#include "runtime/describe/yaml_writer.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace weir::describe {
namespace {

std::string words_of(const shape& type) {
  std::string out;
  for (auto& [n, name] : type.names)
    out += fmt::format("{}{}", out.empty() ? "" : ", ", name);
  return out;
}

// "1s..10m", "text of 1 to 64 bytes", "one of a, b"; empty where the default says it all.
std::string allowance(const shape& type, const std::optional<bounds<wide>>& allowed) {
  switch (type.is) {
    case shape::kind::boolean: return "true or false";
    case shape::kind::integer: return show_range(type, allowed.value_or(bounds<wide>{type.lowest, type.highest}));
    case shape::kind::bit_rate: return "bit rate" + (allowed ? ", " + show_range(type, *allowed) : std::string());
    case shape::kind::byte_size: return "size" + (allowed ? ", " + show_range(type, *allowed) : std::string());
    case shape::kind::duration: return "duration" + (allowed ? ", " + show_range(type, *allowed) : std::string());
    case shape::kind::timestamp: return "time";
    case shape::kind::text:
      if (!allowed)
        return "text";
      return allowed->min > 0 ? fmt::format("text, {} to {} bytes", to_text(allowed->min), to_text(allowed->max)) : fmt::format("text, up to {} bytes", to_text(allowed->max));
    case shape::kind::enumeration: return "one of " + words_of(type);
    case shape::kind::optional: return allowance(type.element(), allowed) + ", or absent";
    case shape::kind::list: {
      auto& inner = type.element();
      auto of = inner.is == shape::kind::object ? "entries as below" : inner.is == shape::kind::text ? "texts" : inner.is == shape::kind::enumeration ? words_of(inner) : "values";
      auto count = !allowed ? std::string() : allowed->min > 0 ? fmt::format(", {} to {} entries", to_text(allowed->min), to_text(allowed->max))
                                                                 : fmt::format(", up to {} entries", to_text(allowed->max));
      return fmt::format("list of {}{}", of, count);
    }
    case shape::kind::map: return "words of your choice";
    case shape::kind::object: break;
  }
  return {};
}

std::string notes(const field_shape& f) {
  std::string out;
  if (f.is(needs_restart))
    out += "needs a restart";
  if (f.is(secret))
    out += fmt::format("{}secret; or {}_file: PATH", out.empty() ? "" : "; ", f.name);
  return out;
}

// Lines of at most ~110 characters, each behind the blanks and the mark.
std::string comment(std::string_view text, const std::string& lead) {
  std::string out, line;
  for (std::size_t at = 0; at < text.size();) {
    auto blank = std::min(text.find(' ', at), text.size());
    auto word = text.substr(at, blank - at);
    if (!line.empty() && lead.size() + line.size() + 1 + word.size() > 110) {
      out += lead + line + "\n";
      line.clear();
    }
    line += (line.empty() ? "" : " ") + std::string(word);
    at = blank + 1;
  }
  return out + lead + line + "\n";
}

void write_yaml(const shape& type, const void* at, std::size_t indent, const std::string& mark, bool top, std::string& out) {
  for (auto& f : type.fields) {
    auto& field_type = f.type();
    auto* member = f.of_const(at);
    auto lead = mark + std::string(indent, ' ');
    auto extra = notes(f);
    auto allowed = allowance(field_type, f.allowed);
    if (top)
      out += "\n";
    auto sentence = std::string(f.sentence);
    if (!allowed.empty() || !extra.empty())
      sentence += fmt::format(" [{}{}{}]", allowed, !allowed.empty() && !extra.empty() ? "; " : "", extra);
    out += comment(sentence, lead + "# ");
    if (field_type.is == shape::kind::object) {
      out += fmt::format("{}{}:\n", lead, f.name);
      write_yaml(field_type, member, indent + 2, mark, false, out);
      continue;
    }
    bool with_entries = field_type.is == shape::kind::list && field_type.element().is == shape::kind::object;
    if (!with_entries || mark.empty()) // within a sample, the sample entry below is the value
      out += fmt::format("{}{}: {}\n", lead, f.name, yaml_inline(detail::encode(field_type, member, {})));
    if (!with_entries)
      continue;
    auto& inner = field_type.element();
    out += fmt::format("# {}{}: # an entry looks like this\n", std::string(indent, ' '), f.name);
    std::string entry;
    write_yaml(inner, inner.initial(), indent + 4, "# ", false, entry);
    // The dash stands before the first key, below its comment.
    if (auto first = entry.find(fmt::format("# {}{}:", std::string(indent + 4, ' '), inner.fields.front().name)); first != std::string::npos)
      entry[first + 2 + indent + 2] = '-';
    out += entry;
  }
}

std::string cell(std::string_view text) {
  std::string out;
  for (char c : text)
    out += c == '|' ? std::string("\\|") : std::string(1, c);
  return out;
}

void write_table(const shape& type, const void* at, std::string_view title, std::string_view sentence, std::string& out) {
  if (!title.empty())
    out += fmt::format("\n## {}\n\n{}\n", title, sentence);
  out += "\n| key | meaning | allowed | default | notes |\n|---|---|---|---|---|\n";
  for (auto& f : type.fields) {
    auto& field_type = f.type();
    if (field_type.is == shape::kind::object) {
      out += fmt::format("| `{}` | {} | keys below | | |\n", f.name, cell(f.sentence));
      continue;
    }
    auto shown = yaml_inline(detail::encode(field_type, f.of_const(at), {}));
    out += fmt::format("| `{}` | {} | {} | `{}` | {} |\n", f.name, cell(f.sentence), cell(allowance(field_type, f.allowed)), shown, notes(f));
  }
  auto below = [&](const field_shape& f) { return title.empty() ? std::string(f.name) : fmt::format("{}.{}", title, f.name); };
  for (auto& f : type.fields) {
    auto& field_type = f.type();
    if (field_type.is == shape::kind::object)
      write_table(field_type, f.of_const(at), below(f), f.sentence, out);
    else if (field_type.is == shape::kind::list && field_type.element().is == shape::kind::object)
      write_table(field_type.element(), field_type.element().initial(), below(f) + "[]", f.sentence, out);
  }
}

} // namespace

std::string detail::reference_yaml(const shape& type) {
  std::string out;
  write_yaml(type, type.initial(), 0, "", true, out);
  return out;
}

std::string detail::reference_markdown(const shape& type) {
  std::string out;
  write_table(type, type.initial(), "", "", out);
  return out;
}

} // namespace weir::describe
