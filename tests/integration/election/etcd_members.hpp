#pragma once
// A real etcd of three members on free ports, in a folder of its own; every process is ended by its id.
#include "runtime/election/etcd.hpp"

#include <array>
#include <csignal>
#include <filesystem>
#include <string>
#include <vector>

namespace weir {

class etcd_members {
public:
  /// Returns when all three answer. Fails the process's test with what etcd logged otherwise.
  /// `secured`: clients speak TLS with them and show a certificate of an authority that is made for them.
  explicit etcd_members(bool secured = false);
  ~etcd_members();
  etcd_members(const etcd_members&) = delete;
  etcd_members& operator=(const etcd_members&) = delete;

  std::vector<std::string> endpoints() const;
  /// What a client needs that they let in.
  election::etcd_options options() const;
  /// A file of their authority's folder: ca.pem, client.pem and client.key, and localhost.* of their own.
  std::string identity(const std::string& file) const { return folder_ / "ca" / file; }
  /// The number of the one that the others elected.
  std::size_t leader() const;
  void signal(std::size_t member, int number);
  /// Ends a member and waits until it is gone.
  void kill(std::size_t member);
  void start(std::size_t member);
  /// Whether it answers within the time.
  bool healthy(std::size_t member, int seconds) const;

private:
  http::client_request request(std::size_t member, const std::string& path) const;

  const bool secured_;
  std::filesystem::path folder_;
  std::array<std::uint16_t, 6> ports_{}; ///< for clients, then for members
  std::array<pid_t, 3> processes_{};
};

} // namespace weir
