#pragma once
// JSON from an RTMP server. Internal to runtime/rtmp.
#include "schemas/error.hpp"

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace weir::rtmp {

/// One object of at most `bytes`, nested at most `depth` deep. Names that occur twice at its top are refused: two readers could
/// take different ones.
expected<nlohmann::json> bounded_object(std::string_view text, std::size_t bytes, int depth);

/// A text field; numbers become text (ids were numbers in old versions of SRS). Absent or null: empty.
expected<std::string> text_field(const nlohmann::json& object, const char* name);

/// Whether a name or address is free of control bytes and of sensible length.
bool plain_text(std::string_view text);

} // namespace weir::rtmp
