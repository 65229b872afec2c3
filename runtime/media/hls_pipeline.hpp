#pragma once
// From a source to the segments of a ladder: decode once, scale each rung from the next larger, one thread a rung, one sound for all. Key frames stand
// on a grid of the publisher's clock, so rungs, restarts and several transcoders of one publication cut at the same frames (media.md 9).
#include "runtime/media/child_protocol.hpp"
#include "runtime/media/channel.hpp"
#include "runtime/media/pulse.hpp"

#include <memory>

namespace weir::media {

class hls_pipeline {
public:
  /// `out` and `progress` outlive the pipeline.
  hls_pipeline(const configure& settings, child_channel& out, pulse& progress);
  ~hls_pipeline();

  /// Runs until the source ends, something fails or stop() is called; the last segments are delivered before it returns.
  end_report run();
  /// From any thread: ends run(), and where the source can be read from now on.
  void stop();
  void use(std::vector<std::string> inputs);

private:
  struct state;
  std::unique_ptr<state> state_;
};

} // namespace weir::media
