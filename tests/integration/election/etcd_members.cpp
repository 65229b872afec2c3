#include "tests/integration/election/etcd_members.hpp"

#include "runtime/http/client.hpp"

#include <arpa/inet.h>
#include <chrono>
#include <cstdlib>
#include <fcntl.h>
#include <fmt/format.h>
#include <fstream>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace weir {

using namespace std::chrono_literals;

namespace {

/// A port that nobody has: of the kernel's choice, all open at the same time so that no two are the same.
std::array<std::uint16_t, 6> free_ports() {
  std::array<std::uint16_t, 6> ports{};
  std::vector<int> open;
  for (auto& port : ports) {
    int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    if (socket < 0 || ::bind(socket, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0 || ::getsockname(socket, reinterpret_cast<sockaddr*>(&at), &size) != 0)
      throw std::runtime_error("no free port");
    open.push_back(socket);
    port = ntohs(at.sin_port);
  }
  for (int socket : open)
    ::close(socket);
  return ports;
}

} // namespace

etcd_members::etcd_members() : ports_(free_ports()) {
  std::string name = std::filesystem::temp_directory_path() / "weir-etcd-XXXXXX";
  folder_ = mkdtemp(name.data());
  for (std::size_t i = 0; i < 3; ++i)
    start(i);
  for (std::size_t i = 0; i < 3; ++i)
    if (!healthy(i, 40)) {
      std::ostringstream log;
      log << std::ifstream(folder_ / fmt::format("m{}.log", i)).rdbuf();
      throw std::runtime_error("etcd does not come up:\n" + log.str());
    }
}

etcd_members::~etcd_members() {
  for (std::size_t i = 0; i < 3; ++i)
    if (processes_[i] != 0)
      kill(i);
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

std::vector<std::string> etcd_members::endpoints() const {
  std::vector<std::string> all;
  for (std::size_t i = 0; i < 3; ++i)
    all.push_back(fmt::format("http://127.0.0.1:{}", ports_[i]));
  return all;
}

void etcd_members::signal(std::size_t member, int number) { ::kill(processes_[member], number); }

void etcd_members::kill(std::size_t member) {
  ::kill(processes_[member], SIGKILL);
  ::waitpid(processes_[member], nullptr, 0);
  processes_[member] = 0;
}

void etcd_members::start(std::size_t member) {
  std::string all;
  for (std::size_t i = 0; i < 3; ++i)
    all += fmt::format("{}m{}=http://127.0.0.1:{}", i == 0 ? "" : ",", i, ports_[3 + i]);
  auto client = fmt::format("http://127.0.0.1:{}", ports_[member]), peer = fmt::format("http://127.0.0.1:{}", ports_[3 + member]);
  std::vector<std::string> words{"etcd", "--name", fmt::format("m{}", member), "--data-dir", folder_ / fmt::format("m{}", member), "--listen-client-urls", client,
                                 "--advertise-client-urls", client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", all,
                                 "--initial-cluster-token", folder_.filename()};
  std::vector<char*> arguments;
  for (auto& word : words)
    arguments.push_back(word.data());
  arguments.push_back(nullptr);
  int log = ::open((folder_ / fmt::format("m{}.log", member)).c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  auto child = ::fork();
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::dup2(log, 1);
    ::dup2(log, 2);
    ::execvp("etcd", arguments.data());
    ::_exit(127);
  }
  ::close(log);
  processes_[member] = child;
}

bool etcd_members::healthy(std::size_t member, int seconds) const {
  http::client web({});
  auto until = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  while (std::chrono::steady_clock::now() < until) {
    http::client_request wish;
    wish.url = endpoints()[member] + "/health";
    wish.deadline = 2s;
    if (auto answer = web.call(wish); answer && answer->status == 200)
      return true;
    std::this_thread::sleep_for(50ms); // between two polls
  }
  return false;
}

} // namespace weir
