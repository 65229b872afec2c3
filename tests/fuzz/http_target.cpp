// Targets, paths, queries, ranges and entity tags as strangers may send them. Line 1 is the target, line 2 a Range, line 3 an If-None-Match.
#include "runtime/http/target.hpp"

#include <cstdio>
#include <cstdlib>

namespace {

void must(bool holds, const char* what) {
  if (holds)
    return;
  std::fprintf(stderr, "broken: %s\n", what);
  std::abort();
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace weir::http;
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  const auto line = [&] {
    const auto end = rest.find('\n');
    const auto taken = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    return taken;
  };
  const auto target = line();
  if (const auto parts = split(target); parts && parts->path != "*") {
    if (const auto path = normalise_path(parts->path)) {
      must(path->starts_with('/'), "a normal path begins with /");
      must(path->find("/../") == std::string::npos && !path->ends_with("/.."), "a normal path never climbs");
      must(path->find("//") == std::string::npos, "a normal path has no empty segment");
      must(!is_normal_path(parts->path) || *path == parts->path, "a path said to be normal is not changed");
    } else {
      must(!is_normal_path(parts->path), "a refused path is not normal");
    }
    const query_text query{std::string(parts->query)};
    for (auto& [name, value] : query.all())
      must(query.find(name).has_value(), "a listed name is found");
    must(!raw_query_value(parts->query, "t") || raw_query_value(parts->query, "t")->size() <= parts->query.size(), "a raw value lies in its query");
  }
  byte_range part;
  if (parse_range(line(), 1000, part) == range_verdict::part)
    must(part.length > 0 && part.offset < 1000 && part.offset + part.length <= 1000, "a part lies within its body");
  matches_etag(line(), "\"a\"");
  return 0;
}
