#include "actors/certificate_watch.hpp"

#include "runtime/cluster/authority.hpp"

#include <fmt/format.h>

namespace weir {

expected<void> certificate_watch::take(nginx::certificate_files files, const nginx::prefix& folder, const std::string& copy, const text_with& text) {
  file_ = folder.file(copy);
  keeper_.emplace(std::move(files), folder, copy);
  WEIR_TRY(keeper_->take(text));
  read();
  return {};
}

certificate_watch::news certificate_watch::look(const text_with& text, time_point now) {
  if (!keeper_ || now - looked_ < look_every)
    return news::none;
  looked_ = now;
  const auto seen = keeper_->look(text);
  if (seen == news::renewed)
    read();
  return seen;
}

void certificate_watch::read() {
  auto facts = cluster::read_certificate(file_);
  shown_ = facts ? fmt::format("{} until {}", facts->subject, to_rfc3339(facts->not_after)) : "not readable: " + facts.error().text;
}

} // namespace weir
