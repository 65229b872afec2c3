#pragma once
// A real etcd of three members on free ports, in a folder of its own; every process is ended by its id.
#include <array>
#include <csignal>
#include <filesystem>
#include <string>
#include <vector>

namespace weir {

class etcd_members {
public:
  /// Returns when all three answer. Fails the process's test with what etcd logged otherwise.
  etcd_members();
  ~etcd_members();
  etcd_members(const etcd_members&) = delete;
  etcd_members& operator=(const etcd_members&) = delete;

  std::vector<std::string> endpoints() const;
  void signal(std::size_t member, int number);
  /// Ends a member and waits until it is gone.
  void kill(std::size_t member);
  void start(std::size_t member);
  /// Whether it answers within the time.
  bool healthy(std::size_t member, int seconds) const;

private:
  std::filesystem::path folder_;
  std::array<std::uint16_t, 6> ports_{}; ///< for clients, then for members
  std::array<pid_t, 3> processes_{};
};

} // namespace weir
