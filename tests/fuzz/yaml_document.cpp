// Any text is a tree or problems, never a crash; a tree without problems keeps the limits.
#include "runtime/describe/document.hpp"

#include <cstdint>
#include <cstdlib>

namespace {
std::size_t depth(const weir::describe::value& v) {
  std::size_t deepest = 0;
  for (auto& item : v.items)
    deepest = std::max(deepest, depth(item) + 1);
  for (auto& m : v.members)
    deepest = std::max(deepest, depth(m.it) + 1);
  return deepest;
}
} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  weir::describe::problems found;
  auto tree = weir::describe::parse_yaml({reinterpret_cast<const char*>(data), size}, "f.yaml", found, {.bytes = 1 << 16, .depth = 16, .nodes = 1000});
  if (depth(tree) > 16 || (tree.broken && found.empty()))
    std::abort();
  return 0;
}
