#pragma once
// Sound: any codec in, one AAC stereo stream out that all rungs share.
#include "runtime/media/av.hpp"
#include "runtime/media/time_line.hpp"
#include "schemas/units.hpp"

#include <deque>
#include <functional>
#include <optional>

namespace weir::media {

/// Takes encoded packets; pts in ticks.
using sound_sink = std::function<void(av<AVPacket>)>;

/// Resamples to stereo and encodes. Time is counted in samples from the first one on and set anew only where the source differs by more than 100 ms:
/// a source that counts milliseconds would otherwise make every frame of a different length.
class sound_encoder {
public:
  /// `source_rate` decides for 44.1 or 48 kHz.
  static expected<std::unique_ptr<sound_encoder>> open(int source_rate, bit_rate rate);
  ~sound_encoder();

  /// Of the stream that comes out.
  const AVCodecParameters& parameters() const;
  /// A decoded frame whose pts is in ticks.
  expected<void> encode(const AVFrame& frame, const sound_sink& sink);
  /// Silence for what is missing up to `until`: from where the sound has come to, or from `from` where there was none yet.
  expected<void> fill(ticks from, ticks until, const sound_sink& sink);
  /// Where the sound has come to that was given; nothing while none was.
  std::optional<ticks> end() const;
  expected<void> finish(const sound_sink& sink);

private:
  struct state;
  explicit sound_encoder(std::unique_ptr<state> s);
  std::unique_ptr<state> state_;
};

} // namespace weir::media
