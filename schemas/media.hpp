#pragma once
// Ladders, segments: what the transcoder makes, the origin keeps and the director lists.
#include "schemas/field.hpp"
#include "schemas/ids.hpp"
#include "schemas/units.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <string>
#include <string_view>
#include <vector>

namespace weir {

/// One rung of a ladder, as an operator writes it (config/ladders/*.yaml).
struct rung_spec {
  std::string name;           ///< names the rung in addresses: "720p"
  std::uint32_t height = 720; ///< pixels; the width follows the source's shape
  bit_rate video{3'000'000};
  std::uint32_t max_fps = 60; ///< a faster source is halved

  static constexpr auto fields() {
    using o = rung_spec;
    return std::tuple{
      field("name", &o::name, {1, 16}, "Name of the rung in addresses, such as 720p."),
      field("height", &o::height, {64, 2160}, "Picture height in pixels; the width follows the source."),
      field("video", &o::video, {bit_rate{50'000}, bit_rate{50'000'000}}, "Average video bit rate; the ceiling is 1.1 times that."),
      field("max_fps", &o::max_fps, {1, 120}, "Highest frame rate; a faster source is reduced by a whole factor."),
    };
  }
};

/// A ladder is data: rungs from the largest to the smallest, one audio rendition for all.
struct ladder_spec {
  std::string name = "default";
  std::vector<rung_spec> rungs;
  bit_rate audio{128'000};
  std::string preset = "veryfast";
  bool pass_top = false; ///< copy the source as the top rung when its key frames allow

  static constexpr auto fields() {
    using o = ladder_spec;
    return std::tuple{
      field("name", &o::name, {1, 64}, "Name of the ladder."),
      field("rungs", &o::rungs, {1, 10}, "Rungs, largest first. Rungs above the source's height are left out."),
      field("audio", &o::audio, {bit_rate{32'000}, bit_rate{512'000}}, "AAC bit rate, stereo, shared by all rungs."),
      field("preset", &o::preset, {1, 16}, "x264 preset: veryfast (default), superfast (economy), faster (quality), ultrafast (emergency)."),
      field("pass_top", &o::pass_top, "Copy the source's picture as the top rung when its key frames lie on the grid."),
    };
  }
};

/// Whether that has the form of a language tag (BCP 47): "de", "pt-BR", "zh-Hant-TW"; or is empty.
constexpr bool is_language(std::string_view text) {
  auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  std::size_t in_part = 0;
  bool first = true;
  for (char c : text) {
    if (c == '-' ? in_part < (first ? 2 : 1) : ++in_part > 8 || !(letter(c) || (!first && c >= '0' && c <= '9')))
      return false;
    if (c == '-') {
      first = false;
      in_part = 0;
    }
  }
  return text.empty() || (text.size() <= 35 && in_part >= (first ? 2 : 1));
}

/// What a rung really is, read from the bit stream that was produced.
struct rung_info {
  std::string name;
  std::uint32_t width = 0;  ///< 0: no picture
  std::uint32_t height = 0;
  std::int64_t fps_milli = 0;
  std::string codecs;       ///< RFC 6381: "avc1.64001f,mp4a.40.2"
  bit_rate nominal;         ///< what its encoders are set to, with what the container adds; until measured values exist
  bool rendition = false;   ///< sound alone, for all rungs of its writer that have pictures alone (EXT-X-MEDIA)
  std::string language;     ///< of a rendition, BCP 47; empty: it is not said

  static constexpr auto fields() {
    using o = rung_info;
    return std::tuple{
      field("name", &o::name, "Name of the rung."),
      field("width", &o::width, "Pixels; 0 without picture."),
      field("height", &o::height, "Pixels; 0 without picture."),
      field("fps_milli", &o::fps_milli, "Frames a second, in thousandths."),
      field("codecs", &o::codecs, "RFC 6381 codecs parameter."),
      field("nominal", &o::nominal, "Bit rate that its encoders are set to, with what the container adds."),
      field("rendition", &o::rendition, "Sound for the rungs that have pictures alone."),
      field("language", &o::language, "Language of a rendition."),
    };
  }
  bool operator==(const rung_info&) const = default;
};

/// Most key frames of one segment that are told.
inline constexpr std::size_t segment_keys_limit = 64;

/// A key frame of a segment (trick play): those bytes of it, behind what players need before any segment, hold that picture whole.
struct key_frame {
  std::int64_t time = 0;    ///< 90 kHz, from the segment's first frame
  std::uint64_t offset = 0; ///< bytes: in MPEG-TS of its PES, behind the tables; in fragmented MP4 of its moof
  std::uint64_t bytes = 0;  ///< to the picture's end

  static constexpr auto fields() {
    using o = key_frame;
    return std::tuple{
      field("time", &o::time, {0, std::int64_t{1} << 48}, "From the segment's first frame, 90 kHz."),
      field("offset", &o::offset, {0, std::uint64_t{1} << 32}, "Where it begins in the segment."),
      field("bytes", &o::bytes, {1, std::uint64_t{1} << 32}, "Length."),
    };
  }
  bool operator==(const key_frame&) const = default;
};

/// One segment of one rung, as its writer announces it. Times are 90 kHz ticks of the publisher's clock, unwrapped to 64 bits.
struct segment_info {
  std::string rung;
  std::uint64_t slot = 0;           ///< floor((PTS − o + 2 ms) / D): the same for whoever cuts this publication
  std::int64_t first_pts = 0;       ///< 90 kHz
  std::int64_t duration = 0;        ///< 90 kHz
  bool independent = true;          ///< starts with an IDR frame
  bool discontinuity = false;       ///< the time line or the picture changed before this segment
  timestamp captured{};             ///< wall clock of the first frame (PROGRAM-DATE-TIME)
  std::uint64_t bytes = 0;
  std::vector<key_frame> keys;      ///< in order, the first one is the first frame; none: not known. Told beside the fields, which older origins take as they are

  static constexpr auto fields() {
    using o = segment_info;
    return std::tuple{
      field("rung", &o::rung, "Rung."),
      field("slot", &o::slot, "Number of the interval on the publisher's time line."),
      field("first_pts", &o::first_pts, "Time of the first frame, 90 kHz."),
      field("duration", &o::duration, "Duration, 90 kHz."),
      field("independent", &o::independent, "Starts with an IDR frame."),
      field("discontinuity", &o::discontinuity, "The time line or the picture changed before it."),
      field("captured", &o::captured, "Wall clock of the first frame."),
      field("bytes", &o::bytes, "Size."),
    };
  }
};

/// A segment's key frames, as its writer announces them.
struct key_frame_list {
  std::vector<key_frame> keys;

  static constexpr auto fields() { return std::tuple{field("keys", &key_frame_list::keys, {0, segment_keys_limit}, "In order.")}; }
};

/// One part of a segment that is still being made (low latency), as its writer announces it. A segment is the concatenation of its parts.
struct part_info {
  std::string rung;
  std::uint64_t slot = 0;      ///< of its segment
  std::uint32_t part = 0;      ///< from 0
  std::int64_t first_pts = 0;  ///< 90 kHz
  std::int64_t duration = 0;   ///< 90 kHz
  bool independent = false;    ///< has an IDR frame
  bool last = false;           ///< of its segment
  bool discontinuity = false;  ///< its segment's
  timestamp captured{};        ///< wall clock of the first frame of its segment
  std::uint64_t bytes = 0;

  static constexpr auto fields() {
    using o = part_info;
    return std::tuple{
      field("rung", &o::rung, "Rung."),
      field("slot", &o::slot, "Number of its segment's interval on the publisher's time line."),
      field("part", &o::part, "Number within the segment, from 0."),
      field("first_pts", &o::first_pts, "Time of the first frame, 90 kHz."),
      field("duration", &o::duration, "Duration, 90 kHz."),
      field("independent", &o::independent, "Has an IDR frame."),
      field("last", &o::last, "Is the last one of its segment."),
      field("discontinuity", &o::discontinuity, "The time line or the picture changed before its segment."),
      field("captured", &o::captured, "Wall clock of the first frame of its segment."),
      field("bytes", &o::bytes, "Size."),
    };
  }
};

/// Timing of a stream's HLS (hls.md 1).
enum class hls_profile : std::uint8_t { standard, quick, brief, low_latency };
constexpr auto enum_names(hls_profile) {
  return std::array{std::pair{hls_profile::standard, std::string_view("standard")}, std::pair{hls_profile::quick, std::string_view("quick")},
                    std::pair{hls_profile::brief, std::string_view("short")}, std::pair{hls_profile::low_latency, std::string_view("low_latency")}};
}

/// Most segments that a playlist lists: players load all of it anew with each segment.
inline constexpr int listed_segments_limit = 512;

/// What a profile means.
struct hls_timing {
  std::chrono::milliseconds target;    ///< TD = segment duration
  std::chrono::milliseconds gop;       ///< IDR grid
  std::chrono::milliseconds window;    ///< W
  std::chrono::milliseconds hold_back; ///< HB
  std::chrono::milliseconds part{};    ///< PART-TARGET, which is the writer's to say; 0: no parts
};
constexpr hls_timing timing_of(hls_profile p) {
  using namespace std::chrono_literals;
  switch (p) {
    case hls_profile::quick:
    case hls_profile::low_latency: return {4s, 2s, 60s, 12s};
    case hls_profile::brief: return {2s, 2s, 60s, 10s};
    case hls_profile::standard: break;
  }
  return {6s, 2s, 60s, 18s};
}

/// What encoders of rungs keep to (VBV): so much of their rate, in percent …
inline constexpr std::int64_t rate_ceiling = 110;
/// … and on top of it, within any one segment, the rate of so long: key frames of slides need it.
constexpr std::chrono::milliseconds rate_buffer(std::chrono::milliseconds segment) { return std::max(std::chrono::milliseconds(1'000), segment / 4); }
/// BANDWIDTH of such a rung before it is measured: no segment reaches 1.25 times that (hls.md V3).
constexpr bit_rate bandwidth_of(bit_rate rate, std::chrono::milliseconds segment) {
  return {std::max(rate.bits_per_second, rate.bits_per_second * (rate_ceiling + 100 * rate_buffer(segment).count() / segment.count()) / 124)};
}

} // namespace weir
