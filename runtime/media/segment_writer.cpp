#include "runtime/media/segment_writer.hpp"

#include "runtime/media/fmp4_writer.hpp"
#include "runtime/media/ts_writer.hpp"

namespace weir::media {

expected<std::unique_ptr<segment_writer>> open_segment_writer(media_container container, const AVCodecParameters* video, const AVCodecParameters* audio, ticks frame,
                                                              bool parts) {
  return container == media_container::fmp4 ? fmp4_writer::open(video, audio, frame, parts) : ts_writer::open(video, audio);
}

} // namespace weir::media
