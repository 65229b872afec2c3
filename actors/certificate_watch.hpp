#pragma once
// The certificate of an nginx of ours, looked at from time to time: how EDGE and HTTP FRONT hold their nginx::certificate_keeper.
#include "actors/interfaces.hpp"
#include "runtime/nginx/certificate.hpp"

#include <optional>
#include <string>

namespace weir {

class certificate_watch {
public:
  using time_point = caf::actor_clock::time_point;
  using text_with = nginx::certificate_keeper::text_with;
  using news = nginx::certificate_keeper::news;
  static constexpr auto look_every = std::chrono::seconds(5);

  /// The configuration's text with another certificate.
  template <class Config>
  static text_with text_of(const Config& config) {
    return [&config](const std::string& certificate) {
      auto other = config;
      other.certificate = certificate;
      return render(other); // of its own kind of configuration
    };
  }

  /// Makes the copy of that name in the folder. Errors: those of certificate_keeper::take().
  expected<void> take(nginx::certificate_files files, const nginx::prefix& folder, const std::string& copy, const text_with& text);
  /// At most each look_every; nothing when there is no certificate. After `renewed` nginx has to reload.
  news look(const text_with& text, time_point now);

  /// Whose it is and until when, as viewers see it; empty without one.
  const std::string& shown() const { return shown_; }
  /// Why the operator's files as they are now are not served; empty while they are.
  std::string trouble() const { return keeper_ ? keeper_->trouble() : std::string{}; }

private:
  void read();

  std::optional<nginx::certificate_keeper> keeper_;
  std::string file_; ///< the copy
  std::string shown_;
  time_point looked_{};
};

} // namespace weir
