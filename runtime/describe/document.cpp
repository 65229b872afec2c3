#include "runtime/describe/document.hpp"

#include "runtime/base/utf8.hpp"
#include "runtime/describe/scalars.hpp"
#include "runtime/describe/value_path.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

namespace weir::describe {
namespace {

struct stop {}; // thrown by our handlers to leave a parser, caught in the function that called it

// Builds the tree from a parser's events and reports what no format of ours allows.
class builder {
public:
  builder(std::string_view file, problems& out, const limits& allowed)
      : file_(std::make_shared<const std::string>(file)), out_(out), allowed_(allowed) {}

  place at(int line, int column) const { return {file_, line, column}; }

  void complain(place where, std::string detail) {
    value_path path;
    for (auto& f : open_)
      if (f.node->is == value::kind::list && !f.node->items.empty())
        path.push(f.node->items.size() - 1);
      else if (f.node->is == value::kind::map && f.keyed)
        path.push(f.node->members.back().key);
    out_.push_back(path.problem_at(std::move(where), std::move(detail)));
  }

  void key(std::string text, place where) {
    auto& top = open_.back();
    auto first = std::find_if(top.node->members.begin(), top.node->members.end(), [&](auto& m) { return m.key == text; });
    if (first != top.node->members.end())
      complain(where, fmt::format("the key {:?} was already used in line {}", text, first->at.line));
    top.node->members.push_back({std::move(text), std::move(where), {}});
    top.keyed = true;
  }
  bool wants_key() const { return !open_.empty() && open_.back().node->is == value::kind::map && !open_.back().keyed; }

  void scalar(value v) { place_value(std::move(v)); }

  void begin(value::kind is, place where) {
    if (open_.size() >= allowed_.depth) {
      complain(std::move(where), fmt::format("is nested more than {} levels deep", allowed_.depth));
      throw stop{};
    }
    value v;
    v.is = is;
    v.at = std::move(where);
    open_.push_back({place_value(std::move(v)), false});
  }
  void end() {
    open_.pop_back();
    if (!open_.empty())
      open_.back().keyed = false;
  }

  value take() { return std::move(root_); }

private:
  struct frame {
    value* node;
    bool keyed; // a map's last key has no value yet
  };

  // Pointers into the tree stay good: only the innermost open container grows.
  value* place_value(value v) {
    if (++nodes_ > allowed_.nodes) {
      complain(v.at, fmt::format("there are more than {} values", allowed_.nodes));
      throw stop{};
    }
    bool container = v.is == value::kind::list || v.is == value::kind::map;
    if (open_.empty()) {
      root_ = std::move(v);
      return &root_;
    }
    auto& top = open_.back();
    if (top.node->is == value::kind::list) {
      top.node->items.push_back(std::move(v));
      return &top.node->items.back();
    }
    top.node->members.back().it = std::move(v);
    top.keyed = container;
    return &top.node->members.back().it;
  }

  std::shared_ptr<const std::string> file_;
  problems& out_;
  limits allowed_;
  value root_;
  std::vector<frame> open_;
  std::size_t nodes_ = 0;
};

class yaml_handler : public YAML::EventHandler {
public:
  yaml_handler(builder& tree, std::string_view text) : tree_(tree), text_(text) {
    for (auto end = text.find('\n'); end != std::string_view::npos; end = text.find('\n', end + 1))
      lines_.push_back(end + 1);
  }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) {
      tree_.complain(at(mark), "a second document starts here; one file holds one");
      throw stop{};
    }
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { scalar(mark, "?", anchor, written_null(mark)); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    tree_.complain(at(mark), "aliases (*name) are not allowed: write the value again");
    if (tree_.wants_key())
      throw stop{};
    value v;
    v.at = at(mark);
    v.broken = true;
    tree_.scalar(std::move(v));
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, const std::string& text) override { scalar(mark, tag, anchor, text); }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    begin(value::kind::list, mark, tag, anchor);
  }
  void OnSequenceEnd() override { tree_.end(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    begin(value::kind::map, mark, tag, anchor);
  }
  void OnMapEnd() override { tree_.end(); }

private:
  place at(const YAML::Mark& mark) const { return tree_.at(mark.line + 1, mark.column + 1); }

  // yaml-cpp tells neither ~ from nothing nor, for nothing, more than the place of the key.
  std::string written_null(const YAML::Mark& mark) const {
    if (mark.line == key_line_ && mark.column == key_column_)
      return {};
    auto start = lines_[std::min(static_cast<std::size_t>(mark.line), lines_.size() - 1)] + static_cast<std::size_t>(mark.column);
    for (std::string_view word : {"~", "null", "Null", "NULL"})
      if (text_.substr(std::min(start, text_.size())).starts_with(word))
        return std::string(word);
    return {};
  }

  void refuse_extras(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    if (anchor != 0)
      tree_.complain(at(mark), "anchors (&name) are not allowed");
    if (!tag.empty() && tag != "?" && tag != "!")
      tree_.complain(at(mark), fmt::format("tags (here {}) are not allowed", tag));
  }

  void begin(value::kind is, const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    refuse_extras(mark, tag, anchor);
    if (tree_.wants_key()) {
      tree_.complain(at(mark), "a list or map cannot be a key");
      throw stop{};
    }
    tree_.begin(is, at(mark));
  }

  void scalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, const std::string& text) {
    refuse_extras(mark, tag, anchor);
    bool quoted = tag != "?";
    if (tree_.wants_key()) {
      if (text == "<<" && !quoted)
        tree_.complain(at(mark), "merge keys (<<) are not allowed: write the values again");
      else if (text.empty())
        tree_.complain(at(mark), "the key is empty");
      tree_.key(text, at(mark));
      key_line_ = mark.line;
      key_column_ = mark.column;
      return;
    }
    value v;
    v.is = quoted ? value::kind::quoted : is_yaml_null(text) ? value::kind::null : value::kind::plain;
    v.text = text;
    v.at = at(mark);
    tree_.scalar(std::move(v));
  }

  builder& tree_;
  std::string_view text_;
  std::vector<std::size_t> lines_{0}; // where each line starts
  int documents_ = 0;
  int key_line_ = -1, key_column_ = -1; // of the last key
};

struct spot {
  int line = 1;
  int column = 1;
};

// What yaml-cpp and nlohmann would let pass or report without a place: bytes that are no text, tabs as indentation.
bool scan(std::string_view text, bool yaml, builder& tree, const limits& allowed) {
  if (text.size() > allowed.bytes) {
    tree.complain(tree.at(1, 1), fmt::format("the text has {} bytes, more than the {} that are allowed", text.size(), allowed.bytes));
    return false;
  }
  bool good = true;
  int line = 1;
  for (std::size_t start = 0; start <= text.size(); ++line) {
    auto end = std::min(text.find('\n', start), text.size());
    auto row = text.substr(start, end - start);
    start = end + 1;
    if (!valid_utf8(row)) {
      std::size_t bad = 0;
      while (bad < row.size() && valid_utf8(row.substr(0, bad + 1)))
        ++bad;
      // A character of several bytes is valid only when it is whole: the last prefix that is valid ends right before the fault.
      for (std::size_t n = row.size(); n > 0; --n)
        if (valid_utf8(row.substr(0, n))) {
          bad = n;
          break;
        }
      tree.complain(tree.at(line, static_cast<int>(bad) + 1), fmt::format("the byte 0x{:02x} is not UTF-8", static_cast<unsigned char>(row[bad])));
      good = false;
      continue;
    }
    for (std::size_t i = 0; i < row.size(); ++i) {
      auto c = static_cast<unsigned char>(row[i]);
      if ((c < 0x20 && c != '\t' && !(c == '\r' && i + 1 == row.size())) || c == 0x7f) {
        tree.complain(tree.at(line, static_cast<int>(i) + 1), fmt::format("the control character 0x{:02x} is not allowed", c));
        good = false;
        break;
      }
    }
    auto indent = row.find_first_not_of(' ');
    if (yaml && indent != std::string_view::npos && row[indent] == '\t' && row.find_first_not_of(" \t\r") != std::string_view::npos) {
      tree.complain(tree.at(line, static_cast<int>(indent) + 1), "the line is indented with a tab; YAML wants spaces");
      good = false;
    }
  }
  return good;
}

// The characters of a JSON text; remembers where the token that is being read starts, which nlohmann does not tell.
class json_cursor {
public:
  explicit json_cursor(std::string_view text) : text_(text) {}
  bool done() const { return next_ == text_.size(); }
  char peek() const { return text_[next_]; }
  spot token() const { return token_; }
  spot here() const { return here_; }

  void advance() {
    char c = text_[next_++];
    if (in_string_) {
      in_string_ = escaped_ || c != '"';
      escaped_ = !escaped_ && c == '\\';
    } else if (c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == ',' || c == ':' || c == '}' || c == ']') {
      in_word_ = false;
    } else if (c == '"' || c == '{' || c == '[') {
      in_word_ = false;
      in_string_ = c == '"';
      token_ = here_;
    } else if (!in_word_) {
      in_word_ = true;
      token_ = here_;
    }
    here_ = c == '\n' ? spot{here_.line + 1, 1} : spot{here_.line, here_.column + 1};
  }

private:
  std::string_view text_;
  std::size_t next_ = 0;
  spot here_, token_;
  bool in_string_ = false, escaped_ = false, in_word_ = false;
};

class json_iterator {
public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = char;

  explicit json_iterator(json_cursor* cursor = nullptr) : cursor_(cursor) {}
  char operator*() const { return cursor_->peek(); }
  json_iterator& operator++() {
    cursor_->advance();
    return *this;
  }
  json_iterator operator++(int) {
    auto before = *this;
    ++*this;
    return before;
  }
  // Only ever compared with the end, which has no cursor.
  bool operator==(const json_iterator& other) const {
    auto* one = cursor_ ? cursor_ : other.cursor_;
    return cursor_ == other.cursor_ || one->done();
  }
  bool operator!=(const json_iterator& other) const { return !(*this == other); }

private:
  json_cursor* cursor_;
};

class json_handler : public nlohmann::json_sax<nlohmann::json> {
public:
  json_handler(builder& tree, const json_cursor& cursor) : tree_(tree), cursor_(cursor) {}

  bool null() override { return scalar(value::kind::null, "null"); }
  bool boolean(bool x) override { return scalar(value::kind::plain, x ? "true" : "false"); }
  bool number_integer(number_integer_t x) override { return scalar(value::kind::plain, fmt::format("{}", x)); }
  bool number_unsigned(number_unsigned_t x) override { return scalar(value::kind::plain, fmt::format("{}", x)); }
  bool number_float(number_float_t, const string_t& text) override { return scalar(value::kind::plain, text); }
  bool string(string_t& x) override { return scalar(value::kind::quoted, std::move(x)); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return begin(value::kind::map); }
  bool key(string_t& x) override {
    tree_.key(x, at());
    return true;
  }
  bool end_object() override { return end(); }
  bool start_array(std::size_t) override { return begin(value::kind::list); }
  bool end_array() override { return end(); }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& e) override {
    std::string_view why = e.what();
    why = why.substr(std::min(why.find(": ") + 2, why.size()));
    if (auto text = why.find("; last read"); text != std::string_view::npos)
      why = why.substr(0, text);
    // nlohmann puts its own place in front, as "syntax error …".
    if (auto what = why.find("syntax error"); what != std::string_view::npos)
      why = why.substr(what);
    auto before = cursor_.here();
    tree_.complain(tree_.at(before.line, std::max(1, before.column - 1)), fmt::format("is not JSON: {}", why));
    return false;
  }

private:
  place at() const { return tree_.at(cursor_.token().line, cursor_.token().column); }
  bool scalar(value::kind is, std::string text) {
    value v;
    v.is = is;
    v.text = std::move(text);
    v.at = at();
    tree_.scalar(std::move(v));
    return true;
  }
  bool begin(value::kind is) {
    tree_.begin(is, at());
    return true;
  }
  bool end() {
    tree_.end();
    return true;
  }

  builder& tree_;
  const json_cursor& cursor_;
};

value broken_root(const builder& tree) {
  value root;
  root.at = tree.at(1, 1);
  root.broken = true;
  return root;
}

} // namespace

void value_path::push(std::string_view key) { steps_.push_back({std::string(key), 0, false}); }
void value_path::push(std::size_t index) { steps_.push_back({{}, index, true}); }

std::string value_path::text() const {
  std::string out;
  for (auto& s : steps_)
    out += s.in_list ? fmt::format("[{}]", s.index) : fmt::format("{}{}", out.empty() ? "" : ".", s.key);
  return out;
}

std::string value_path::pointer() const {
  std::string out;
  for (auto& s : steps_) {
    out += '/';
    if (s.in_list)
      out += std::to_string(s.index);
    for (char c : s.key)
      out += c == '~' ? std::string("~0") : c == '/' ? std::string("~1") : std::string(1, c);
  }
  return out;
}

problem value_path::problem_at(place at, std::string detail, bool fatal) const { return {std::move(at), text(), pointer(), std::move(detail), fatal}; }

std::string to_string(const place& at) {
  if (!at.file)
    return {};
  return at.line == 0 ? *at.file : fmt::format("{}:{}:{}", *at.file, at.line, at.column);
}

std::string to_string(const problem& p) {
  auto text = to_string(p.at);
  if (!p.fatal)
    text += text.empty() ? "warning" : ": warning";
  if (!p.path.empty())
    text += (text.empty() ? "" : ": ") + p.path;
  return text + (text.empty() ? "" : ": ") + p.detail;
}

bool any_fatal(const problems& all) {
  return std::any_of(all.begin(), all.end(), [](auto& p) { return p.fatal; });
}

error to_error(const problems& all, error_code code) {
  std::string text;
  for (auto& p : all)
    if (p.fatal)
      text += fmt::format("{}{}{}{}", text.empty() ? "" : "; ", p.path, p.path.empty() ? "" : ": ", p.detail);
  return {code, std::move(text)};
}

const value* value::find(std::string_view key) const {
  auto found = std::find_if(members.begin(), members.end(), [&](auto& m) { return m.key == key; });
  return found == members.end() ? nullptr : &found->it;
}

value parse_yaml(std::string_view text, std::string_view file, problems& out, const limits& allowed) {
  builder tree(file, out, allowed);
  if (text.starts_with("\xef\xbb\xbf"))
    text.remove_prefix(3);
  if (!scan(text, true, tree, allowed))
    return broken_root(tree);
  bool whole = false;
  std::istringstream in{std::string(text)};
  try {
    YAML::Parser parser(in);
    yaml_handler handler(tree, text);
    while (parser.HandleNextDocument(handler)) {
    }
    whole = true;
  } catch (const stop&) {
    // already reported
  } catch (const YAML::Exception& e) {
    tree.complain(tree.at(e.mark.line + 1, e.mark.column + 1), fmt::format("is not YAML: {}", e.msg));
  }
  auto root = tree.take();
  if (root.is == value::kind::null) {
    root.is = value::kind::map;
    root.at = tree.at(1, 1);
  }
  root.broken = root.broken || !whole;
  return root;
}

value parse_json(std::string_view text, std::string_view file, problems& out, const limits& allowed) {
  builder tree(file, out, allowed);
  if (!scan(text, false, tree, allowed))
    return broken_root(tree);
  json_cursor cursor(text);
  json_handler handler(tree, cursor);
  bool whole = false;
  try {
    whole = nlohmann::json::sax_parse(json_iterator(&cursor), json_iterator(), &handler);
  } catch (const stop&) {
    // already reported
  }
  auto root = tree.take();
  root.broken = !whole;
  return root;
}

} // namespace weir::describe
