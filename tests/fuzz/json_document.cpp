// Any text is a tree or problems, never a crash; what we call JSON is JSON to nlohmann, too.
#include "runtime/describe/document.hpp"

#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  weir::describe::problems found;
  auto tree = weir::describe::parse_json(text, "f.json", found);
  if (tree.broken && found.empty())
    std::abort();
  if (found.empty() && !nlohmann::json::accept(text))
    std::abort();
  return 0;
}
