#include "runtime/supervise/lines.hpp"

#include <algorithm>
#include <cstdint>

namespace weir::supervise {
namespace {

/// Length of the valid UTF-8 sequence at the front of `text`; 0 when there is none.
std::size_t utf8_length(std::string_view text) {
  const auto at = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const auto first = at(0);
  const std::size_t length = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
  if (length == 0 || length > text.size())
    return 0;
  for (std::size_t i = 1; i < length; ++i)
    if ((at(i) & 0xc0) != 0x80)
      return 0;
  // Overlong forms, surrogates and values above U+10FFFF differ from valid ones in the second byte.
  const bool wrong = (first == 0xe0 && at(1) < 0xa0) || (first == 0xed && at(1) > 0x9f) || (first == 0xf0 && at(1) < 0x90) || (first == 0xf4 && at(1) > 0x8f);
  return wrong ? 0 : length;
}

} // namespace

std::string printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const auto length = utf8_length(text);
    const auto byte = static_cast<std::uint8_t>(text.front());
    if (length == 0 || byte == 0x7f || (byte < 0x20 && byte != '\t'))
      out += '?';
    else
      out += text.substr(0, length);
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return out;
}

void line_ring::feed(std::string_view bytes, const line_sink& sink) {
  while (!bytes.empty()) {
    const auto end = bytes.find_first_of("\r\n");
    const auto piece = bytes.substr(0, end);
    const auto room = line_bytes_ - std::min(line_bytes_, open_.size());
    cut_ |= piece.size() > room;
    open_ += piece.substr(0, room);
    if (end == std::string_view::npos)
      return;
    complete(sink);
    bytes.remove_prefix(end + 1);
  }
}

void line_ring::finish(const line_sink& sink) { complete(sink); }

void line_ring::complete(const line_sink& sink) {
  if (open_.empty())
    return;
  auto line = printable(open_);
  if (cut_)
    line += " …";
  if (mask_)
    line = mask_(line);
  open_.clear();
  cut_ = false;
  kept_.push_back(std::move(line));
  if (sink)
    sink(kept_.back());
  while (kept_.size() > lines_)
    kept_.pop_front();
}

} // namespace weir::supervise
