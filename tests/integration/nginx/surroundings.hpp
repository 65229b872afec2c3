#pragma once
// A folder of one's own, conditions with a deadline, and a look at other processes.
#include "runtime/nginx/server.hpp"

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

namespace surroundings {

using namespace std::chrono_literals;

template <class F>
bool eventually(F condition, std::chrono::milliseconds deadline = 10s) {
  for (const auto end = std::chrono::steady_clock::now() + deadline; std::chrono::steady_clock::now() < end; std::this_thread::sleep_for(10ms))
    if (condition())
      return true;
  return condition();
}

class folder {
public:
  folder() {
    char name[] = "/tmp/weir-nginx-XXXXXX";
    path_ = mkdtemp(name);
  }
  ~folder() {
    std::error_code busy;
    std::filesystem::remove_all(path_, busy);
  }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

private:
  std::string path_;
};

/// Running processes (no zombies) of nginx in this folder.
inline std::vector<pid_t> nginx_in(const std::string& path) {
  std::vector<pid_t> out;
  std::error_code gone;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", gone)) {
    const auto name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") == std::string::npos && std::filesystem::read_symlink(entry.path() / "cwd", gone) == path &&
        std::filesystem::read_symlink(entry.path() / "exe", gone).filename() == "nginx")
      out.push_back(std::stoi(name));
  }
  return out;
}

/// Those of them that serve viewers, also while they are shutting down.
inline std::vector<pid_t> workers_in(const std::string& path) {
  auto all = nginx_in(path);
  std::erase_if(all, [](pid_t pid) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/cmdline");
    std::string title;
    return !std::getline(file, title, '\0') || !title.starts_with("nginx: worker process");
  });
  return all;
}

inline pid_t master_of(const weir::nginx::prefix& prefix) {
  pid_t pid = 0;
  std::ifstream(prefix.file("nginx.pid")) >> pid;
  return pid;
}

} // namespace surroundings
