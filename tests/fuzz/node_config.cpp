// Any text is a configuration or problems with places inside the text; a configuration that is taken can be shown and read again.
#include "runtime/describe/decode.hpp"
#include "runtime/describe/encode.hpp"
#include "runtime/describe/node_config.hpp"

#include <cstdint>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace weir::describe;
  environment variables{{"NAME", "value"}, {"EMPTY", ""}};
  auto loaded = parse_node_config({reinterpret_cast<const char*>(data), size}, "f.yaml", variables);
  if (!loaded.good())
    return 0;
  effective_values(loaded);
  problems found;
  weir::node_config again;
  if (!decode(parse_yaml(to_yaml(loaded.config, {.secrets = true}), "again.yaml", found), again, found))
    std::abort();
  if (!changed_fields(loaded.config, again).empty())
    std::abort();
  return 0;
}
