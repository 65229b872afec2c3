#include "tests/integration/election/etcd_members.hpp"

#include "runtime/cluster/authority.hpp"

#include <arpa/inet.h>
#include <chrono>
#include <cstdlib>
#include <fcntl.h>
#include <fmt/format.h>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
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

etcd_members::etcd_members(bool secured) : secured_(secured), ports_(free_ports()) {
  std::string name = std::filesystem::temp_directory_path() / "weir-etcd-XXXXXX";
  folder_ = mkdtemp(name.data());
  if (secured_) // as an operator would: with Weir's own commands
    for (auto& made : {cluster::make_authority(folder_ / "ca", "etcd"), cluster::issue(folder_ / "ca", "localhost"), cluster::issue(folder_ / "ca", "client")})
      if (!made)
        throw std::runtime_error(made.error().text);
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
    all.push_back(secured_ ? fmt::format("https://localhost:{}", ports_[i]) : fmt::format("http://127.0.0.1:{}", ports_[i]));
  return all;
}

election::etcd_options etcd_members::options() const {
  election::etcd_options all{.endpoints = endpoints(), .authorities = {}, .certificate = {}, .key = {}};
  if (secured_) {
    all.patience = 10s; // a handshake is work, and the machine of the tests is busy
    all.authorities = identity("ca.pem");
    all.certificate = identity("client.pem");
    all.key = identity("client.key");
  }
  return all;
}

http::client_request etcd_members::request(std::size_t member, const std::string& path) const {
  auto as = options();
  http::client_request wish;
  wish.url = as.endpoints[member] + path;
  wish.deadline = 2s;
  wish.authorities = as.authorities;
  wish.certificate = as.certificate;
  wish.key = as.key;
  return wish;
}

std::size_t etcd_members::leader() const {
  http::client web({});
  for (std::size_t i = 0; i < 3; ++i) {
    auto wish = request(i, "/v3/maintenance/status");
    wish.method = "POST";
    wish.body = "{}";
    auto answer = web.call(wish);
    auto said = answer ? nlohmann::json::parse(answer->body, nullptr, false) : nlohmann::json();
    if (said.is_object() && said.contains("leader") && said["leader"] == said["header"]["member_id"])
      return i;
  }
  throw std::runtime_error("no member of etcd says that it leads");
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
  auto client = fmt::format("{}://127.0.0.1:{}", secured_ ? "https" : "http", ports_[member]), peer = fmt::format("http://127.0.0.1:{}", ports_[3 + member]);
  std::vector<std::string> words{"etcd", "--name", fmt::format("m{}", member), "--data-dir", folder_ / fmt::format("m{}", member), "--listen-client-urls", client,
                                 "--advertise-client-urls", client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", all,
                                 "--initial-cluster-token", folder_.filename()};
  if (secured_)
    for (std::string word : {std::string("--client-cert-auth"), std::string("--trusted-ca-file"), identity("ca.pem"), std::string("--cert-file"), identity("localhost.pem"),
                             std::string("--key-file"), identity("localhost.key")})
      words.push_back(std::move(word));
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
    if (auto answer = web.call(request(member, "/health")); answer && answer->status == 200)
      return true;
    std::this_thread::sleep_for(50ms); // between two polls
  }
  return false;
}

} // namespace weir
