#pragma once
// The room of libav pipelines. Everything that decodes, encodes or speaks RTMP runs in a child process, because what libav meets on the net may hang it,
// crash it or take its memory. The child is the `weir` program itself in a hidden mode whose whole work is child_main(); its supervisor talks to it through
// a parent_channel (channel.hpp) in the records of child_protocol.hpp:
//
//   make_channel() → spawn with channel.child → receive ready → send configure → receive input, rungs, segment …, heartbeat every 250 ms → receive end
//
// Standard error of the child carries libav's own lines, secrets masked.
#include <string_view>
#include <sys/types.h>

namespace weir::media {

/// First argument of the hidden mode; the channel is descriptor 3.
inline constexpr std::string_view pipeline_word = "_pipeline";

/// Runs one pipeline as its supervisor says over `channel_fd` and returns the process's exit status: 0 once an end record was sent. Dies with the parent,
/// and at once when it is not `expected_parent`'s child or when the channel closes.
int child_main(int channel_fd, pid_t expected_parent);

} // namespace weir::media
