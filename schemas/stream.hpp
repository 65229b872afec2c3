#pragma once
// A stream: what an organiser configured, and what is seen of it.
#include "schemas/field.hpp"
#include "schemas/ids.hpp"
#include "schemas/units.hpp"
#include "schemas/viewing.hpp"

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
  viewing_access viewing = viewing_access::open;

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
      field("viewing", &o::viewing, "open: whoever knows the name may watch. signed: only who has a signed address that has not expired."),
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

/// How a stream is watched. What edges measure is of now; what directors count is since their starts, summed over those that were heard.
struct stream_audience {
  std::string stream;
  std::uint64_t viewers = 0;        ///< distinct (edge, address, agent) with a segment in the last 15 s
  std::int64_t bits_per_second = 0; ///< sent by edges in the last second
  std::uint64_t hits = 0;           ///< requests that edges answered from their caches in the last second
  std::uint64_t misses = 0;         ///< that they asked the origin for
  std::uint64_t sessions = 0;       ///< multivariant playlists given out
  std::uint64_t joins = 0;          ///< player pages that told how long the first picture took
  std::uint64_t join_ms = 0;        ///< sum of it
  std::uint64_t stalls = 0;         ///< times that a running picture stood still, by those pages
  std::uint64_t stalled_ms = 0;
  std::uint64_t played_ms = 0;

  static constexpr auto fields() {
    using o = stream_audience;
    return std::tuple{
      field("stream", &o::stream, "Stream."),
      field("viewers", &o::viewers, "Distinct viewers in the last 15 s, edge by edge."),
      field("bits_per_second", &o::bits_per_second, "Sent by edges in the last second."),
      field("hits", &o::hits, "Answered by edges from their caches in the last second."),
      field("misses", &o::misses, "Fetched from the origin in the last second."),
      field("sessions", &o::sessions, "Sessions that directors began since their starts."),
      field("joins", &o::joins, "Player pages that told how long the first picture took."),
      field("join_ms", &o::join_ms, "Sum of it, ms."),
      field("stalls", &o::stalls, "Times that a running picture stood still, as player pages tell."),
      field("stalled_ms", &o::stalled_ms, "How long in all, ms."),
      field("played_ms", &o::played_ms, "How long pictures ran, ms."),
    };
  }
};

/// How many edges serve new entries of a stream.
struct stream_width {
  std::string stream;
  std::uint32_t width = 0; ///< 0: all

  static constexpr auto fields() {
    using o = stream_width;
    return std::tuple{field("stream", &o::stream, "Stream."), field("width", &o::width, "Edges; 0: all.")};
  }
  bool operator==(const stream_width&) const = default;
};

/// The same of all streams.
struct width_list {
  std::uint32_t usual = 0;        ///< of those that are not named
  std::vector<stream_width> wide; ///< those that need another one
  bool known = false;             ///< audiences have been heard: until then what a stream has holds

  static constexpr auto fields() {
    using o = width_list;
    return std::tuple{field("usual", &o::usual, "Edges of a stream that is not named; 0: all."), field("wide", &o::wide, "Streams with other widths."),
                      field("known", &o::known, "Whether audiences have been heard.")};
  }
  bool operator==(const width_list&) const = default;
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
  stream_audience audience;
  std::uint32_t edges = 0;               ///< that its new segments are fetched from; 0: there is none

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
      field("audience", &o::audience, "How it is watched."),
      field("edges", &o::edges, "How many edges its new segments are fetched from."),
    };
  }
};

} // namespace weir
