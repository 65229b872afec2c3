#include "runtime/nginx/certificate.hpp"

#include "runtime/base/file.hpp"
#include "runtime/base/secret.hpp"

#include <cstdio>
#include <fmt/format.h>
#include <unistd.h>

namespace weir::nginx {
namespace {

constexpr std::size_t file_limit = 256 << 10;

} // namespace

certificate_keeper::certificate_keeper(certificate_files files, prefix folder, std::string copy)
  : files_(std::move(files)), folder_(std::move(folder)), copy_(std::move(copy)) {}

expected<std::string> certificate_keeper::read() const {
  auto chain = read_file(files_.certificate, file_limit);
  WEIR_TRY(chain);
  auto key = read_file(files_.key, file_limit);
  WEIR_TRY(key);
  return *chain + "\n" + *key;
}

expected<void> certificate_keeper::use(const std::string& pair, const text_with& text) const {
  const auto candidate = copy_ + ".new";
  WEIR_TRY(write_file_atomically(folder_.file(candidate), pair, 0600));
  const auto accepted = text(candidate).and_then([&](const std::string& configuration) { return folder_.check(configuration); });
  if (!accepted) {
    unlink(folder_.file(candidate).c_str()); // a key is not left about; the next candidate replaces it anyway
    return fail(accepted.error().in(fmt::format("{} and {}", files_.certificate, files_.key)));
  }
  if (std::rename(folder_.file(candidate).c_str(), folder_.file(copy_).c_str()) != 0)
    return fail(system_error(folder_.file(copy_)));
  return {};
}

expected<void> certificate_keeper::take(const text_with& text) {
  const auto pair = read();
  WEIR_TRY(pair);
  WEIR_TRY(use(*pair, text));
  served_ = seen_ = sha256_hex(*pair);
  return {};
}

certificate_keeper::news certificate_keeper::look(const text_with& text) {
  const auto pair = read();
  const auto found = pair ? sha256_hex(*pair) : pair.error().text;
  const bool settled = found == seen_;
  seen_ = found;
  if (found == served_) {
    trouble_.clear();
    refused_.clear();
    return news::none;
  }
  if (!settled || found == refused_)
    return news::none;
  if (const auto used = pair ? use(*pair, text) : expected<void>(fail(pair.error())); !used) {
    // What nginx says of a content holds until the content changes; a full disk or a slow machine does not: that is tried again.
    if (!pair || used.error().code == error_code::invalid_config)
      refused_ = found;
    const bool told = trouble_ == used.error().text;
    trouble_ = used.error().text;
    return told ? news::none : news::refused;
  }
  served_ = found;
  trouble_.clear();
  refused_.clear();
  return news::renewed;
}

} // namespace weir::nginx
