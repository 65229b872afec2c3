#pragma once
// What the supervising process and its pipeline child say to each other: one record a message, JSON of at most 64 KiB, over a pair of
// AF_UNIX SOCK_SEQPACKET sockets. A record is an object with one member, named after the record: {"heartbeat": {…}}. Every member of a body is
// written and wanted, an unknown one is refused, and bounds hold in both directions, so that a child that a hostile stream has taken over can
// say nothing but valid records. Media never is inside a record: it travels beside it as a sealed memory file (channel.hpp).
#include "schemas/error.hpp"
#include "schemas/field.hpp"
#include "schemas/media.hpp"
#include "schemas/task.hpp"

#include <array>
#include <chrono>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace weir::media {

/// Bytes of the longest record.
inline constexpr std::size_t record_limit = 64 * 1024;

enum class pipeline_kind : std::uint8_t {
  hls,      ///< decode once, encode a ladder, cut segments
  restream, ///< copy to another server
};
constexpr auto enum_names(pipeline_kind) {
  return std::array{std::pair{pipeline_kind::hls, std::string_view("hls")}, std::pair{pipeline_kind::restream, std::string_view("restream")}};
}

enum class target_format : std::uint8_t { flv, mpegts };
constexpr auto enum_names(target_format) {
  return std::array{std::pair{target_format::flv, std::string_view("flv")}, std::pair{target_format::mpegts, std::string_view("mpegts")}};
}

/// What segments are packed in.
enum class media_container : std::uint8_t {
  ts,   ///< MPEG-TS: each segment stands alone
  fmp4, ///< fragmented MP4: players need a map before the first one
};
constexpr auto enum_names(media_container) {
  return std::array{std::pair{media_container::ts, std::string_view("ts")}, std::pair{media_container::fmp4, std::string_view("fmp4")}};
}

/// Where the sound of a ladder is.
enum class audio_packing : std::uint8_t {
  muxed,   ///< in each rung's segments, between the pictures
  separate ///< in segments of its own, once for all rungs
};
constexpr auto enum_names(audio_packing) {
  return std::array{std::pair{audio_packing::muxed, std::string_view("muxed")}, std::pair{audio_packing::separate, std::string_view("separate")}};
}
/// What the rung is called that has sound alone.
inline constexpr std::string_view audio_rung = "audio";

/// To the child, once, first: what to run.
struct configure {
  pipeline_kind kind = pipeline_kind::hls;
  std::string input_url;                       ///< rtmp://…, or a file's path in tests and benches
  bool realtime = true;                        ///< false: a file, read as fast as it is worked on; nothing is dropped
  std::chrono::milliseconds open_deadline{10'000};   ///< connecting and probing the source
  std::chrono::milliseconds read_deadline{3'000};    ///< one silent read of the source
  std::chrono::milliseconds source_patience{10'000}; ///< silence, reopening included, after which the run ends as source_stalled
  std::chrono::milliseconds write_deadline{5'000};   ///< one blocked write to a restream target
  std::chrono::milliseconds target_patience{4'000};  ///< time in which a restream target that cannot be opened for the moment is tried again
  std::chrono::milliseconds gop{2'000};              ///< G: distance of the IDR frames
  std::chrono::milliseconds segment{6'000};          ///< D: a multiple of G
  std::int64_t grid_offset = -1;               ///< o in 90 kHz ticks; -1: 0, or the first key frame modulo D where the top rung is passed through
  ladder_spec ladder{"default", {{"720p"}}};   ///< hls
  std::string target_url;                      ///< restream
  target_format format = target_format::flv;   ///< restream
  std::vector<std::string> more_inputs;        ///< where else the same source can be read
  bool leave_out_rungs = false;                ///< hls: the top rung is left out while the machine is too slow
  media_container container = media_container::ts; ///< hls
  std::chrono::milliseconds part{};                ///< hls, fmp4: low latency, no part of a segment is longer; 0: no parts
  audio_packing audio = audio_packing::muxed;      ///< hls

  /// All addresses of the source, the preferred one first.
  std::vector<std::string> inputs() const {
    std::vector<std::string> all{input_url};
    all.insert(all.end(), more_inputs.begin(), more_inputs.end());
    return all;
  }

  static constexpr auto fields() {
    using namespace std::chrono_literals;
    using o = configure;
    return std::tuple{
      field("kind", &o::kind, "Which pipeline."),
      field("input_url", &o::input_url, {1, 4096}, "Where the source is read.", secret),
      field("realtime", &o::realtime, "Whether the source delivers at its own pace."),
      field("open_deadline", &o::open_deadline, {100ms, 120s}, "Connecting and probing the source."),
      field("read_deadline", &o::read_deadline, {100ms, 120s}, "One silent read of the source."),
      field("source_patience", &o::source_patience, {0ms, 1h}, "Silence after which the run ends."),
      field("write_deadline", &o::write_deadline, {100ms, 120s}, "One blocked write to the target."),
      field("target_patience", &o::target_patience, {0ms, 60s}, "Time in which a target that cannot be opened is tried again."),
      field("gop", &o::gop, {200ms, 20s}, "Distance of the IDR frames."),
      field("segment", &o::segment, {200ms, 60s}, "Duration of a segment, a multiple of gop."),
      field("grid_offset", &o::grid_offset, {-1, 60 * 90'000}, "Phase of the segment grid, 90 kHz; -1: chosen here."),
      field("ladder", &o::ladder, "Rungs to make."),
      field("target_url", &o::target_url, {0, 4096}, "Where to send.", secret),
      field("format", &o::format, "Container of the target."),
      field("more_inputs", &o::more_inputs, {0, 16}, "Where else the same source can be read.", secret),
      field("leave_out_rungs", &o::leave_out_rungs, "Whether the top rung is left out while the machine is too slow."),
      field("container", &o::container, "What segments are packed in."),
      field("part", &o::part, {0ms, 2s}, "No part of a segment is longer; 0: no parts."),
      field("audio", &o::audio, "Whether sound has segments of its own."),
    };
  }
};

/// To the child, at any time: where the source can be read from now on, the preferred one first.
struct use_inputs_order {
  std::vector<std::string> inputs;
  static constexpr auto fields() { return std::tuple{field("inputs", &use_inputs_order::inputs, {1, 17}, "Addresses.", secret)}; }
};

/// To the child: finish the last segment and end within 1 s.
struct stop_order {
  std::string reason;
  static constexpr auto fields() { return std::tuple{field("reason", &stop_order::reason, {0, 1000}, "For the log.")}; }
};

/// To the child, each second where its work can harm once somebody else does it: without another one in time it ends at once.
struct go_on {
  std::chrono::milliseconds within{4'000};
  static constexpr auto fields() {
    using namespace std::chrono_literals;
    return std::tuple{field("within", &go_on::within, {500ms, 60s}, "Time in which the next one comes.")};
  }
};

/// From the child, first.
struct ready {
  std::int64_t pid = 0;
  std::string libav; ///< versions of the libraries that it runs on
  static constexpr auto fields() {
    return std::tuple{field("pid", &ready::pid, {1, 1LL << 32}, "Process."), field("libav", &ready::libav, {0, 200}, "Versions of libav.")};
  }
};

/// From the child: what the source is, as read from its streams. Again when it changes.
struct input_report {
  std::string video; ///< codec; empty: no picture
  std::uint32_t width = 0;
  std::uint32_t height = 0;
  std::int64_t fps_milli = 0;
  std::string audio; ///< codec; empty: no sound
  std::uint32_t channels = 0;
  std::uint32_t sample_rate = 0;

  static constexpr auto fields() {
    using o = input_report;
    return std::tuple{
      field("video", &o::video, {0, 64}, "Codec of the picture."),      field("width", &o::width, {0, 32768}, "Pixels."),
      field("height", &o::height, {0, 32768}, "Pixels."),               field("fps_milli", &o::fps_milli, {0, 1'000'000}, "Frames a second × 1000."),
      field("audio", &o::audio, {0, 64}, "Codec of the sound."),        field("channels", &o::channels, {0, 255}, "Channels."),
      field("sample_rate", &o::sample_rate, {0, 1'000'000}, "Samples a second."),
    };
  }
};

/// From the child, before the first segment of these rungs: the ladder as it is produced, largest first. Again when it changes.
struct rungs_report {
  std::vector<rung_info> rungs;
  std::int64_t grid_offset = 0; ///< o, to be configured in every later run on the same publication
  bool passed_through = false;  ///< the first rung is the source's own picture
  std::vector<std::string> maps; ///< by rung, base64: what players need before its segments; none where these stand alone
  std::chrono::milliseconds part{}; ///< no part is reported longer; 0: there are none

  static constexpr auto fields() {
    using namespace std::chrono_literals;
    using o = rungs_report;
    return std::tuple{
      field("rungs", &o::rungs, {1, 11}, "The ladder."),
      field("grid_offset", &o::grid_offset, {0, 60 * 90'000}, "Phase of the segment grid, 90 kHz."),
      field("passed_through", &o::passed_through, "Whether the first rung is copied."),
      field("maps", &o::maps, {0, 11}, "By rung, base64: what players need before its segments."),
      field("part", &o::part, {0ms, 2100ms}, "No part is longer; 0: there are none."),
    };
  }
};

/// From the child, with the segment's bytes as a sealed memory file.
struct segment_report {
  segment_info segment;
  std::vector<key_frame> keys; ///< of the segment
  static constexpr auto fields() {
    using o = segment_report;
    return std::tuple{field("segment", &o::segment, "The segment."), field("keys", &o::keys, {0, segment_keys_limit}, "Its key frames, in order.")};
  }
};

/// From the child, with the part's bytes likewise, before its segment's own report: a segment is the concatenation of its parts.
struct part_report {
  part_info part;
  static constexpr auto fields() { return std::tuple{field("part", &part_report::part, "The part.")}; }
};

/// How far one output has come: a rung, or the restream target.
struct output_pulse {
  std::string name;
  std::int64_t last_pts = -1; ///< 90 kHz; -1: nothing yet
  std::int64_t bytes = 0;     ///< encoded or sent
  static constexpr auto fields() {
    using o = output_pulse;
    return std::tuple{field("name", &o::name, {1, 16}, "Output."), field("last_pts", &o::last_pts, "Time of the last packet out, 90 kHz."),
                      field("bytes", &o::bytes, {0, 1LL << 53}, "Bytes put out.")};
  }
};

/// From the child every 250 ms, from a thread that never calls libav.
struct heartbeat {
  std::vector<output_pulse> outputs;
  std::int64_t last_read_pts = -1;     ///< of the last packet read, 90 kHz
  std::int64_t last_read_age = -1;     ///< ms since it was read; -1: none yet
  std::int64_t packets_read = 0;
  std::int64_t packets_queued = 0;
  std::int64_t frames_queued = 0;      ///< of the fullest rung
  std::int64_t dropped_frames = 0;
  std::int64_t speed_milli = 0;        ///< output media seconds a second × 1000, over the last 10 s
  std::int64_t fps_milli = 0;          ///< pictures out a second × 1000, over the last 10 s
  std::int64_t cpu_milliseconds = 0;
  std::int64_t resident_bytes = 0;
  std::int64_t output_bytes = 0;
  std::int64_t blocked_milliseconds = 0; ///< age of the oldest libav call on a socket that has not returned; 0: none

  static constexpr auto fields() {
    using o = heartbeat;
    constexpr std::int64_t far = 1LL << 53;
    return std::tuple{
      field("outputs", &o::outputs, {0, 11}, "Rungs or the target."),
      field("last_read_pts", &o::last_read_pts, "Time of the last packet read."),
      field("last_read_age", &o::last_read_age, {-1, far}, "ms since then."),
      field("packets_read", &o::packets_read, {0, far}, "Packets read."),
      field("packets_queued", &o::packets_queued, {0, far}, "Packets that wait."),
      field("frames_queued", &o::frames_queued, {0, far}, "Frames that wait in the fullest rung."),
      field("dropped_frames", &o::dropped_frames, {0, far}, "Frames dropped."),
      field("speed_milli", &o::speed_milli, {0, far}, "Speed."),
      field("fps_milli", &o::fps_milli, {0, far}, "Pictures out a second."),
      field("cpu_milliseconds", &o::cpu_milliseconds, {0, far}, "User and system time."),
      field("resident_bytes", &o::resident_bytes, {0, far}, "Memory in use."),
      field("output_bytes", &o::output_bytes, {0, far}, "All outputs."),
      field("blocked_milliseconds", &o::blocked_milliseconds, {0, far}, "Age of the oldest blocked call."),
    };
  }
};

/// From the child: something is wrong, the run goes on.
struct trouble {
  end_cause cause = end_cause::none; ///< what the run would end with if it came to that
  std::string text;
  static constexpr auto fields() {
    return std::tuple{field("cause", &trouble::cause, "Kind."), field("text", &trouble::text, {0, 2000}, "In words, secrets masked.")};
  }
};

/// From the child, last.
struct end_report {
  end_cause cause = end_cause::none;
  std::int64_t libav_code = 0; ///< 0: not libav's
  std::string text;
  static constexpr auto fields() {
    using o = end_report;
    return std::tuple{field("cause", &o::cause, "Why it ends."), field("libav_code", &o::libav_code, {-(1LL << 31), 1LL << 31}, "libav's error."),
                      field("text", &o::text, {0, 2000}, "In words, secrets masked.")};
  }
};

using record =
  std::variant<configure, stop_order, use_inputs_order, go_on, ready, input_report, rungs_report, segment_report, part_report, heartbeat, trouble, end_report>;

/// The JSON text of a record. Fails with too_large above record_limit and with invalid_input where a value is out of its bounds.
expected<std::string> encode(const record& r);
/// The record in a message. Fails with too_large, invalid_input; the text names the member.
expected<record> decode(std::string_view text);

} // namespace weir::media
