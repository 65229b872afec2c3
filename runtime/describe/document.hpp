#pragma once
// Describe: everything that follows from a struct's fields().
//
//   document.hpp   YAML or JSON text → a neutral tree with positions; limits and strictness live here
//   shape.hpp      fields() → a table at run time, so that the rest is not a template
//   decode.hpp     tree → struct, all problems at once          encode.hpp     struct → JSON
//   schema.hpp     struct → JSON Schema 2020-12                 reference.hpp  struct → commented YAML, Markdown
//   node_config.hpp  the node's YAML with includes, environment and secrets from files; config_commands.hpp  `weir check`, `weir config …`
//
// The only door to yaml-cpp. Nothing here throws; every parser has limits.
#include "schemas/error.hpp"

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace weir::describe {

/// Where a value was written. Lines and columns count from 1 (columns in bytes); line 0: not from a text, `file` says from where.
struct place {
  std::shared_ptr<const std::string> file;
  int line = 0;
  int column = 0;
};
/// "FILE:LINE:COL", "FILE" or nothing.
std::string to_string(const place& at);

/// One thing that is wrong with a document.
struct problem {
  place at;
  std::string path;    ///< "edge.origins[0]"; empty for the document itself
  std::string pointer; ///< the same as a JSON pointer: "/edge/origins/0"
  std::string detail;  ///< what, which value, what is allowed
  bool fatal = true;   ///< false: a warning
};
using problems = std::vector<problem>;

/// "FILE:LINE:COL: path: detail", without the parts that are empty; a warning says so before its path.
std::string to_string(const problem& p);
bool any_fatal(const problems& all);
/// All fatal problems in one error, "; " between them, places left out: for answers to single requests.
error to_error(const problems& all, error_code code);

struct member;

/// A node of the tree. Scalars keep their text: what it means depends on the type that is wanted.
struct value {
  enum class kind : unsigned char {
    null,   ///< YAML ~, null or nothing; JSON null
    plain,  ///< unquoted: 5, true, 2s, words
    quoted, ///< a string for certain
    list,
    map,
  };
  kind is = kind::null;
  bool substituted = false; ///< the text came from the environment, so its type is taken from what is wanted
  bool broken = false;      ///< already reported, not worth a second problem; of a root: the text could not be read to its end
  std::string text;
  place at;
  std::vector<value> items;
  std::vector<member> members; ///< in the order of the text

  const value* find(std::string_view key) const;
};

struct member {
  std::string key;
  place at; ///< of the key
  value it;
};

struct limits {
  std::size_t bytes = 1 << 20;
  std::size_t depth = 64;
  std::size_t nodes = 100'000;
};

/// Adds to `out` what is wrong and reads on where it can, so that decoding finds the rest. An empty text is an empty map. `file` is its name in problems.
value parse_yaml(std::string_view text, std::string_view file, problems& out, const limits& allowed = {});
/// The same for JSON. Duplicate keys, invalid UTF-8 and anything after the document are refused.
value parse_json(std::string_view text, std::string_view file, problems& out, const limits& allowed = {});

} // namespace weir::describe
