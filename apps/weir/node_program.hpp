#pragma once
// One node: the roles of its configuration, wired together. This is the only place that knows all of them.
#include "actors/interfaces.hpp"
#include "actors/playlist_desk.hpp"
#include "actors/task_types.hpp"
#include "runtime/http/client.hpp"
#include "runtime/http/server.hpp"
#include "runtime/origin/replicated_store.hpp"
#include "runtime/origin/s3_store.hpp"
#include "schemas/config.hpp"

#include <atomic>
#include <caf/all.hpp>
#include <memory>
#include <string>
#include <vector>

namespace weir {

class node_program {
public:
  /// Opens and starts everything that the roles name. Fails with the first thing that cannot be had; what was started before is ended.
  static expected<std::unique_ptr<node_program>> start(node_config config);
  /// Ends everything, at the latest within 10 s.
  ~node_program();

  /// Whether a role has ended by itself: the node cannot go on, the log says which and why.
  bool role_died() const { return died_->load(); }

  const node_config& config() const { return config_; }
  /// Applies what can be applied while the node runs (the log's level is the program's own); returns the paths of what differs and takes a restart.
  std::vector<std::string> reload(const node_config& next);
  const std::string& api_token() const { return api_token_; }
  bool made_token() const { return made_token_; }   ///< it is the node's first start
  const std::string& token_file() const { return token_file_; }
  std::string base_url() const { return base_url_; } ///< where people reach it
  std::string publish_url(const std::string& app, const std::string& stream) const;
  const coordinator_actor& coordinator() const { return coordinator_; }
  caf::actor_system& system() { return *system_; }
  http::client& client() { return *client_; }

private:
  explicit node_program(node_config config);
  expected<void> open();
  expected<void> spawn();
  void end();
  runner_tools tools() const;

  node_config config_;
  node_config loaded_; ///< as it was read, before ports were chosen
  std::string api_token_, token_file_, base_url_, internal_url_;
  bool made_token_ = false;
  std::vector<rtmp_server> rtmp_servers_;

  // In the order of their lives: what stands lower is ended first.
  std::unique_ptr<caf::actor_system_config> system_config_;
  std::unique_ptr<caf::actor_system> system_;
  std::shared_ptr<http::client> client_;
  std::shared_ptr<origin::replica_desk> replica_desk_;
  std::shared_ptr<origin::replicated_store> copies_; ///< asks peers by client_ until it is closed
  std::shared_ptr<origin::s3_store> bucket_;         ///< is asked by client_ until it is closed
  std::unique_ptr<http::server> server_;
  std::shared_ptr<playlist_desk> desk_;
  struct root {
    std::string name;
    caf::actor actor;
  };
  std::vector<root> roots_; ///< in the order of their spawning; ended in reverse
  coordinator_actor coordinator_;
  node_actor node_;
  std::shared_ptr<std::atomic<bool>> died_ = std::make_shared<std::atomic<bool>>(false);
  caf::actor watcher_; ///< hears of every role's end
};

} // namespace weir
