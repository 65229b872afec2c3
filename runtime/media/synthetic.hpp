#pragma once
// A sender without a camera: a moving test picture with a clock and a tone, in real time, to an RTMP server. `weir demo` publishes with it.
#include "schemas/error.hpp"
#include "schemas/units.hpp"

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

namespace weir::media {

/// First argument of the hidden mode that sends; the address comes in WEIR_SENDER_URL, because it holds the key.
inline constexpr std::string_view sender_word = "_sender";

struct synthetic_options {
  std::uint32_t width = 1280;
  std::uint32_t height = 720;
  std::uint32_t fps = 30;
  std::uint32_t seconds = 0; ///< 0: until stopped
  bit_rate video{2'500'000};
  std::uint32_t gop = 60;    ///< pictures from one key frame to the next
};

/// Sends until the time is over, `stop` is set or the server is lost. Blocks; a lost or silent server is noticed within 5 s, a set stop within a picture's
/// time. Fails with target_refused or unavailable (the server), media_failed, unsupported (an encoder or filter is missing).
expected<void> run_synthetic_sender(const std::string& rtmp_url, const synthetic_options& options, const std::atomic<bool>& stop);

/// The same picture and tone into an FLV file, as fast as they are encoded. `options.seconds` is not 0.
expected<void> make_synthetic_clip(const std::string& path, const synthetic_options& options);

} // namespace weir::media
