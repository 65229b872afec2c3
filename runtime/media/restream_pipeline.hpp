#pragma once
// Copies a source to another server: nothing is decoded, packets are wrapped anew. A run serves one connection; its supervisor starts the next. Only
// where a target cannot be opened for a reason that may be over in a moment, the run itself tries again, for configure::target_patience: its source is
// open already. What arrives meanwhile is left out, and sending begins with the next key frame.
#include "runtime/media/channel.hpp"
#include "runtime/media/child_protocol.hpp"
#include "runtime/media/pulse.hpp"

#include <memory>

namespace weir::media {

class restream_pipeline {
public:
  /// `out` and `progress` outlive the pipeline.
  restream_pipeline(const configure& settings, child_channel& out, pulse& progress);
  ~restream_pipeline();

  /// Runs until the source ends, the target fails or stop() is called. The first refusal that is met with another attempt is told as trouble.
  end_report run();
  /// From any thread: ends run(), and where the source can be read from now on.
  void stop();
  void use(std::vector<std::string> inputs);

private:
  struct state;
  std::unique_ptr<state> state_;
};

/// What it means that a target could not be opened: refused where it answered and said no, otherwise unreachable. A name that is "already publishing" is
/// our own connection of a moment ago that the target has not given up yet.
end_cause cause_of_refusal(int libav_code, std::string_view libav_text);

/// Whether a target that could not be opened may let us in a moment later: the name is taken by a publisher that it has not given up yet, or nobody
/// listens, or the connection was reset before the target knew who comes. Not where it was closed later: that is how nginx-rtmp refuses a key.
bool may_open_soon(int libav_code, std::string_view libav_text);

} // namespace weir::media
