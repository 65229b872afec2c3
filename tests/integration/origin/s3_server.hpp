#pragma once
// A real S3 server of the test's own: s3_server.py, started when it is first asked for, ended with this process.
#include "runtime/origin/s3_store.hpp"

#include <filesystem>
#include <memory>
#include <string>

#include <sys/types.h>

namespace weir::origin {

class s3_server {
public:
  /// Throws when it does not start: python3-swift may be missing.
  static s3_server& one();

  /// Of its bucket, below a prefix that nobody has used before.
  s3_options options() const;
  std::string endpoint(std::string_view host) const;
  /// Each PUT of a segment takes so long from now on.
  void slow(std::chrono::milliseconds each) { tell("slow_ms", std::to_string(each.count())); }
  /// PUTs of keys that hold this text wait from now on, until let_go().
  void hold(const std::string& text);
  bool holds() const { return std::filesystem::exists(folder_ / "held"); } ///< one waits
  bool carried_out() const { return std::filesystem::exists(folder_ / "carried_out"); } ///< one that waited
  void let_go() { std::filesystem::remove(folder_ / "hold"); }
  void full(bool is);
  /// It takes connections and answers nothing, or goes on.
  void hang(bool does);

private:
  s3_server();
  ~s3_server();
  void tell(const std::string& what, const std::string& value);
  std::filesystem::path folder_;
  pid_t process_ = 0;
  std::uint16_t port_ = 0;
  pid_t owner_ = 0; ///< this process, not one that it forks
};

/// A handle with its own client.
std::shared_ptr<s3_store> open_s3(s3_options options);

} // namespace weir::origin
