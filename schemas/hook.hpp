#pragma once
// What RTMP servers tell us, in one form for SRS and nginx-rtmp (rtmp-servers.md). A hook is a hint: it may be lost, doubled or late.
#include "schemas/field.hpp"
#include "schemas/stream.hpp"

#include <array>
#include <string>
#include <vector>

namespace weir {

enum class hook_kind : std::uint8_t {
  connect,   ///< a client opened a connection
  publish,   ///< asks: may this client publish?
  unpublish, ///< the client stopped publishing
  play,      ///< asks: may this client play?
  stop,      ///< the client stopped playing
  close,     ///< the connection is gone, whatever it did
  update,    ///< still publishing or playing (nginx-rtmp); must never be refused for our own trouble
  note,      ///< anything else (dvr, hls, record): counted, no effect
};
constexpr auto enum_names(hook_kind) {
  using sv = std::string_view;
  return std::array{std::pair{hook_kind::connect, sv("connect")}, std::pair{hook_kind::publish, sv("publish")}, std::pair{hook_kind::unpublish, sv("unpublish")},
                    std::pair{hook_kind::play, sv("play")},       std::pair{hook_kind::stop, sv("stop")},       std::pair{hook_kind::close, sv("close")},
                    std::pair{hook_kind::update, sv("update")},   std::pair{hook_kind::note, sv("note")}};
}

struct hook_call {
  hook_kind kind = hook_kind::note;
  std::string server;     ///< name of the RTMP server
  std::string service_id; ///< start of that server; empty when it does not say
  std::string client_id;
  std::string address;    ///< of the client
  std::string vhost;
  std::string app;
  std::string stream;     ///< public name; empty on connect and close
  std::string key;        ///< value of the `key` argument, percent-decoded; empty when absent
  bool playing = false;   ///< update: of a player, not of a publisher

  static constexpr auto fields() {
    using o = hook_call;
    return std::tuple{
      field("kind", &o::kind, "What happened."),
      field("server", &o::server, "RTMP server."),
      field("service_id", &o::service_id, "Start of that server."),
      field("client_id", &o::client_id, "Connection on that server."),
      field("address", &o::address, "Address of the client."),
      field("vhost", &o::vhost, "Virtual host."),
      field("app", &o::app, "Application."),
      field("stream", &o::stream, "Public name of the stream."),
      field("key", &o::key, "Key that the client presented.", secret),
      field("playing", &o::playing, "Of a player, not of a publisher."),
    };
  }
};

/// Whether the RTMP server should go on with the client.
struct hook_verdict {
  bool accept = false;
  std::string reason; ///< in words, for logs and events; never holds the key

  static constexpr auto fields() {
    using o = hook_verdict;
    return std::tuple{field("accept", &o::accept, "Whether to go on."), field("reason", &o::reason, "Why, in words.")};
  }
};

/// The truth that hooks only hint at: everyone who publishes on one server now, as its own list says.
struct publication_list {
  std::string server;
  std::string service_id;
  struct item {
    std::string app;
    std::string stream;
    std::string client_id;
    std::string address; ///< empty: the list does not say
    std::string vhost;   ///< as in the hooks; empty where there are none
    static constexpr auto fields() {
      using o = item;
      return std::tuple{field("app", &o::app, "Application."), field("stream", &o::stream, "Stream."), field("client_id", &o::client_id, "Connection."),
                        field("address", &o::address, "Address of the encoder."), field("vhost", &o::vhost, "Virtual host.")};
    }
  };
  std::vector<item> items;

  static constexpr auto fields() {
    using o = publication_list;
    return std::tuple{field("server", &o::server, "RTMP server."), field("service_id", &o::service_id, "Start of that server."),
                      field("items", &o::items, "Publishers.")};
  }
};

} // namespace weir
