#pragma once
// What libav says: warnings and errors as masked lines on standard error, which the supervisor keeps the last of.
#include "runtime/media/child_protocol.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace weir::media {

/// The parts of a run's addresses that must not be seen: arguments, user information, and of a restream target everything behind its application.
std::vector<std::string> secrets_of(const configure& settings);
/// The text without these, and without whatever else looks like a key.
std::string without_secrets(std::string_view text, const std::vector<std::string>& secrets);

/// From now on libav's lines go to standard error without these secrets. Once, before any thread uses libav.
void take_libav_log(std::vector<std::string> secrets);
/// The last error that libav has logged, for errors whose number says too little (RTMP's refusals).
std::string last_libav_error();
void forget_last_libav_error();

} // namespace weir::media
