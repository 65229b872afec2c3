// Playlists and addresses from anywhere: the parsers take them or refuse them, the linter survives any history.
#include "runtime/hls/addresses.hpp"
#include "runtime/hls/linter.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  weir::hls::linter lint;
  lint.multivariant("m", text);
  auto half = text.substr(0, size / 2);
  lint.media("a", text, weir::timestamp{});
  lint.media("a", half, weir::timestamp{} + std::chrono::seconds(5));
  lint.media("b", text, weir::timestamp{});
  (void)weir::hls::parse_playlist_path(text);
  (void)weir::hls::parse_segment_path(text);
  (void)weir::hls::parse_steering_path(text);
  (void)weir::hls::parse_multivariant_path(text);
  return 0;
}
