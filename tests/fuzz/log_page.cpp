// What comes from an origin is refused, or playlists can be rendered of every log in it, and it goes on to other readers as it came.
#include "runtime/hls/log_news.hpp"
#include "runtime/hls/playlist.hpp"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace weir;
  using namespace weir::hls;
  const std::string_view text{reinterpret_cast<const char*>(data), size};
  if (const auto mark = parse_news_mark(text.substr(0, 100)); mark && parse_news_mark(to_string(*mark)) != *mark)
    std::abort();
  const auto page = parse_log_page(text);
  if (!page)
    return 0;
  for (auto& log : page->logs) {
    log_news news("boot");
    news.add(log);
    const auto again = parse_log_page(news.page({}, {}));
    if (!again || again->logs.size() != 1 || again->logs[0] != log)
      std::abort();
    if (log.entries.empty())
      continue;
    (void)multivariant(log, {1, 2, false});
    for (std::size_t rung = 0; rung < log.rungs.size(); ++rung)
      for (bool skip : {false, true}) {
        prepared_playlist playlist(log, rung, skip);
        if (has_iframes(log, rung) && prepared_playlist::iframes(log, rung).text(0, [](edge_epoch) { return std::string_view("http://e"); }).empty())
          std::abort();
        if (playlist.text(0, [](edge_epoch) { return std::string_view("http://e"); }).find("EXT-X-MEDIA-SEQUENCE") == std::string::npos || !playlist.reached(playlist.last_msn(), {}))
          std::abort();
      }
  }
  return 0;
}
