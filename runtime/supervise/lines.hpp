#pragma once
// What a child writes, cut into lines that are safe to log: bounded in length and number, without control bytes, always UTF-8.
#include <cstddef>
#include <deque>
#include <functional>
#include <string>
#include <string_view>

namespace weir::supervise {

/// Cuts a stream of bytes into lines and keeps the last ones. A line ends at \n or \r; a longer one is cut and its rest dropped.
class line_ring {
public:
  using line_sink = std::function<void(const std::string&)>;
  using masker = std::function<std::string(std::string_view)>;

  line_ring(std::size_t lines, std::size_t line_bytes, masker mask = {}) : lines_(lines), line_bytes_(line_bytes), mask_(std::move(mask)) {}

  /// Takes the next bytes; `sink` gets each line that they complete, masked.
  void feed(std::string_view bytes, const line_sink& sink);
  /// The stream has ended: what is left without a line end is a line too.
  void finish(const line_sink& sink);

  const std::deque<std::string>& last() const { return kept_; }

private:
  void complete(const line_sink& sink);

  std::size_t lines_;
  std::size_t line_bytes_;
  masker mask_;
  std::string open_;
  bool cut_ = false;
  std::deque<std::string> kept_;
};

/// The text with control bytes and broken UTF-8 replaced by '?'.
std::string printable(std::string_view text);

} // namespace weir::supervise
