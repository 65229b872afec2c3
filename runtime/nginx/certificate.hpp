#pragma once
// The certificate of an edge: the operator's two files, taken over as one pair into the folder of its nginx, again whenever their content changes.
//
//   certificate_keeper keeper({"/etc/letsencrypt/live/edge/fullchain.pem", "/etc/letsencrypt/live/edge/privkey.pem"}, folder, "edge.pem");
//   WEIR_TRY(keeper.take(text));             // before the first start; `text` names edge.pem
//   if (keeper.look(text) == certificate_keeper::news::renewed)   // each few seconds
//     child->signal(SIGHUP);
//
// nginx reads the copy alone. So it starts again with what it served, whatever stands in the operator's files by then.
#include "runtime/nginx/server.hpp"

#include <cstdint>
#include <functional>
#include <string>

namespace weir::nginx {

struct certificate_files {
  std::string certificate; ///< chain, PEM, the own certificate first
  std::string key;         ///< PEM
};

class certificate_keeper {
public:
  enum class news : std::uint8_t {
    none,
    renewed, ///< the copy is the new pair, which nginx accepts: it has to reload
    refused, ///< nginx does not accept the new pair, or it cannot be read: the copy is what it was; trouble() says why. Told once for each content
  };
  /// The configuration's text with another file in place of the copy; for `nginx -t` of a new pair beside the old one.
  using text_with = std::function<expected<std::string>(const std::string& certificate)>;

  /// `copy`: name of the copy in the folder.
  certificate_keeper(certificate_files files, prefix folder, std::string copy);

  /// Makes the copy. Blocks for up to 10 s. Errors: invalid_config with nginx's own words, too_large, not_found, io_failed.
  expected<void> take(const text_with& text);
  /// Whether the files hold something else than the copy. A change counts when two looks in a row saw the same: a pair is renewed file by file. Blocks for up
  /// to 10 s, only when there is a change.
  news look(const text_with& text);

  /// Why the files as they are now are not served; empty while they are.
  const std::string& trouble() const { return trouble_; }

private:
  expected<std::string> read() const;
  expected<void> use(const std::string& pair, const text_with& text) const;

  certificate_files files_;
  prefix folder_;
  std::string copy_;
  std::string served_;  ///< digest of the pair in the copy
  std::string seen_;    ///< digest of what the look before found
  std::string refused_; ///< digest of what was refused last
  std::string trouble_;
};

} // namespace weir::nginx
