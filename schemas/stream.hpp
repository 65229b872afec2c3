#pragma once
// A stream: what an organiser configured, and what is seen of it.
#include "schemas/field.hpp"
#include "schemas/ids.hpp"
#include "schemas/units.hpp"

#include <array>
#include <string>
#include <vector>

namespace weir {

enum class stream_phase : std::uint8_t {
  offline, ///< nobody publishes
  live,    ///< at least one publisher
  ending,  ///< the last publisher left; the grace runs, tasks go on
};
constexpr auto enum_names(stream_phase) {
  return std::array{std::pair{stream_phase::offline, std::string_view("offline")}, std::pair{stream_phase::live, std::string_view("live")},
                    std::pair{stream_phase::ending, std::string_view("ending")}};
}

/// A configured stream, as it is persisted.
struct stream_spec {
  stream_id id;
  std::string name;                    ///< public: names the play address; unique in the cluster
  std::string app = "live";            ///< RTMP application
  std::string vhost = "__defaultVhost__";
  bool enabled = true;
  std::string key;                     ///< secret: who knows it may publish
  std::string title;
  std::string comment;
  std::uint64_t revision = 0;          ///< grows with each change; the ETag
  timestamp created{};

  static constexpr auto fields() {
    using o = stream_spec;
    return std::tuple{
      field("id", &o::id, "Identifier of the stream.", read_only),
      field("name", &o::name, {1, 64}, "Public name: letters, digits, '-', '_' and '.'; names the play address and the RTMP stream."),
      field("app", &o::app, {1, 64}, "RTMP application that the stream is published to."),
      field("vhost", &o::vhost, {1, 255}, "RTMP virtual host; __defaultVhost__ where none is used."),
      field("enabled", &o::enabled, "Whether publishing is accepted."),
      field("key", &o::key, {0, 128}, "Secret that a publisher must present; made when empty.", secret),
      field("title", &o::title, {0, 200}, "Title shown to viewers.", cosmetic),
      field("comment", &o::comment, {0, 2000}, "Note for the organisers.", cosmetic),
      field("revision", &o::revision, "Grows with each change.", read_only),
      field("created", &o::created, "When the stream was added.", read_only),
    };
  }
};

/// One live connection of one encoder to one RTMP server. Identity: (server, service_id, client_id).
struct publisher {
  std::string server;     ///< name of the RTMP server
  std::string service_id; ///< changes with each start of that server
  std::string client_id;
  std::string address;    ///< of the encoder
  timestamp since{};

  static constexpr auto fields() {
    using o = publisher;
    return std::tuple{
      field("server", &o::server, "RTMP server."),
      field("service_id", &o::service_id, "Start of that server."),
      field("client_id", &o::client_id, "Connection on that server."),
      field("address", &o::address, "Address of the encoder."),
      field("since", &o::since, "When it was accepted."),
    };
  }
};

/// What is seen of a stream.
struct stream_status {
  stream_spec spec;
  stream_phase phase = stream_phase::offline;
  std::vector<publisher> publishers;
  std::string playback_url;
  std::vector<std::string> publish_urls; ///< without the key
  std::string input_server;              ///< RTMP server that the tasks read from
  std::string publication;               ///< names the time line that they read: the first publisher's for as long as copies of it go on

  static constexpr auto fields() {
    using o = stream_status;
    return std::tuple{
      field("spec", &o::spec, "As configured."),
      field("phase", &o::phase, "offline, live or ending."),
      field("publishers", &o::publishers, "Who publishes, on which server."),
      field("playback_url", &o::playback_url, "Address of the multivariant playlist."),
      field("publish_urls", &o::publish_urls, "Addresses to publish to, without the key."),
      field("input_server", &o::input_server, "RTMP server that the tasks read from."),
      field("publication", &o::publication, "Names the time line that the tasks read."),
    };
  }
};

} // namespace weir
