#include "runtime/media/segment_writer.hpp"

#include "runtime/media/fmp4_writer.hpp"
#include "runtime/media/ts_writer.hpp"

#include <algorithm>
#include <cmath>

namespace weir::media {
namespace {

double frames_a_second(const carried& streams) { return streams.sample_rate / static_cast<double>(samples_of_a_frame); }
double pictures_a_second(const carried& streams) { return static_cast<double>(streams.fps_milli) / 1000; }

// Each picture and each frame of sound is a PES, which fills whole packets.
double bytes_of_ts(const carried& streams) {
  constexpr double packet = 188, payload = 184;
  constexpr double picture_header = 19 + 6 + 8; // PES, access unit delimiter, PCR
  constexpr double sound_header = 14 + 7;       // PES, ADTS
  double bytes = 3 * packet;                    // tables, about once a second
  if (const auto pictures = pictures_a_second(streams); pictures > 0)
    bytes += (static_cast<double>(streams.picture.bits_per_second) / 8 + pictures * (picture_header + payload / 2)) * packet / payload;
  if (const auto frames = frames_a_second(streams); frames > 0) {
    // Frames are of nearly one size, so what is left of the last packet is not half of it on average; but some need one more.
    const auto packets = (static_cast<double>(streams.sound.bits_per_second) / 8 / frames + sound_header) / payload;
    bytes += frames * packet * std::max(std::ceil(packets), packets + 0.5);
  }
  return bytes;
}

// Each sample has a place in a table, and each fragment a head: two of them a second, for key frames and for sound, and as many for each part.
double bytes_of_fmp4(const carried& streams) {
  constexpr double of_a_picture = 16, of_a_frame = 8, head = 200;
  const auto parts = streams.part > 0 ? static_cast<double>(ticks_per_second) / static_cast<double>(streams.part) : 0;
  return static_cast<double>(streams.picture.bits_per_second + streams.sound.bits_per_second) / 8 + pictures_a_second(streams) * of_a_picture +
         frames_a_second(streams) * of_a_frame + 2 * head * (1 + parts);
}

} // namespace

bit_rate rate_of_segments(const carried& streams) {
  return {std::llround(8 * (streams.container == media_container::fmp4 ? bytes_of_fmp4(streams) : bytes_of_ts(streams)))};
}

expected<std::unique_ptr<segment_writer>> open_segment_writer(media_container container, const AVCodecParameters* video, const AVCodecParameters* audio, ticks frame,
                                                              bool parts) {
  return container == media_container::fmp4 ? fmp4_writer::open(video, audio, frame, parts) : ts_writer::open(video, audio);
}

} // namespace weir::media
