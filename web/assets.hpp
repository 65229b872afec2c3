#pragma once
// The pages that people see, embedded from web/dist: no file on disk is needed to serve them, no Node to build them.
//
//   index.html answers GET /, watch.html answers GET /watch/{stream}, everything else GET /assets/{path}.
#include <algorithm>
#include <span>
#include <string_view>

namespace weir::web {

struct asset {
  std::string_view path;         ///< name in web/dist: "index.html"
  std::string_view content_type; ///< with the charset for text
  std::string_view bytes;        ///< static storage
  std::string_view etag;         ///< strong, with its quotes: "\"6f1c…\""; from the bytes alone
};

/// All assets, ordered by path.
std::span<const asset> assets();

/// The asset of that name, or nullptr.
inline const asset* find_asset(std::string_view path) {
  const auto all = assets();
  const auto at = std::ranges::lower_bound(all, path, {}, &asset::path);
  return at != all.end() && at->path == path ? &*at : nullptr;
}

} // namespace weir::web
