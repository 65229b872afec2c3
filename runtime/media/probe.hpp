#pragma once
// Whether media really plays: decodes everything and reports what came out.
#include "schemas/error.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace weir::media {

/// What a piece of media holds. Times are 90 kHz ticks as the container has them; -1: none.
struct media_report {
  std::string video, audio;         ///< codecs; empty: no such stream
  std::string avc;                  ///< "avc1.64001f", from the parameter sets in the stream
  std::string aac;                  ///< "mp4a.40.2", as it was decoded; empty: no such sound
  std::string transfer;             ///< function of the picture, as the stream says: "bt709"; empty: it says none
  std::uint32_t width = 0, height = 0;
  std::uint32_t channels = 0, sample_rate = 0;
  std::int64_t pictures = 0;        ///< decoded
  std::int64_t samples = 0;         ///< decoded
  std::int64_t errors = 0;          ///< packets that did not decode, and pictures marked damaged
  bool starts_with_key = false;     ///< the first picture packet is a key frame
  std::int64_t first_pts = -1, last_pts = -1;             ///< of pictures
  std::int64_t first_sound_pts = -1, last_sound_pts = -1;
  std::vector<std::int64_t> key_pts; ///< of each key frame
  std::vector<std::uint32_t> luma;   ///< mean brightness of each picture, 0 to 255: black is about 16
};

/// Decodes a file, as one piece. Fails with invalid_input when libav cannot make anything of it.
expected<media_report> probe_file(const std::string& path);
/// The same of bytes in memory.
expected<media_report> probe_bytes(std::string_view bytes);

} // namespace weir::media
