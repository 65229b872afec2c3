#include "runtime/media/libav_log.hpp"

#include "runtime/base/log.hpp"
#include "runtime/base/utf8.hpp"

#include <algorithm>
#include <cstdarg>
#include <mutex>
#include <unistd.h>
extern "C" {
#include <libavutil/log.h>
}

namespace weir::media {
namespace {

struct {
  std::mutex mutex;
  std::vector<std::string> secrets;
  std::string line, last_error;
} shared;

void add_parts(std::vector<std::string>& out, std::string_view url, bool target) {
  auto add = [&](std::string_view part) {
    if (part.size() >= 4)
      out.emplace_back(part);
  };
  const auto scheme = url.find("://");
  if (scheme == url.npos)
    return;
  const auto rest = url.substr(scheme + 3);
  const auto authority = rest.substr(0, rest.find_first_of("/?#"));
  if (auto at = authority.rfind('@'); at != authority.npos) {
    const auto user = authority.substr(0, at);
    add(user);
    if (auto colon = user.find(':'); colon != user.npos)
      add(user.substr(colon + 1));
  }
  const auto arguments = rest.find('?');
  if (arguments != rest.npos) {
    auto left = rest.substr(arguments + 1);
    add(left);
    while (!left.empty()) {
      auto one = left.substr(0, left.find('&'));
      left.remove_prefix(std::min(left.size(), one.size() + 1));
      if (auto equals = one.find('='); equals != one.npos)
        add(one.substr(equals + 1));
    }
  }
  if (target) {
    add(rest.substr(std::min(rest.size(), authority.size() + 1)));
    const auto path = rest.substr(0, arguments);
    if (auto slash = path.rfind('/'); slash != path.npos) {
      add(rest.substr(slash + 1));
      add(path.substr(slash + 1));
    }
  }
}

void write_line(void* context, int level, const char* format, va_list arguments) {
  if (level > AV_LOG_WARNING)
    return;
  char text[2048];
  int prefix = 1;
  if (av_log_format_line2(context, level, format, arguments, text, sizeof text, &prefix) < 0)
    return;
  std::lock_guard lock(shared.mutex);
  shared.line += text;
  // Some messages come in pieces; a line without end is cut.
  if (shared.line.empty() || (shared.line.back() != '\n' && shared.line.size() < 4096))
    return;
  auto line = without_secrets(std::exchange(shared.line, {}), shared.secrets);
  while (!line.empty() && line.back() == '\n')
    line.pop_back();
  std::replace_if(line.begin(), line.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; }, ' ');
  if (level <= AV_LOG_ERROR)
    shared.last_error = line;
  line += '\n';
  // Best effort: a log that nobody reads must not stop a pipeline.
  [[maybe_unused]] auto written = ::write(STDERR_FILENO, line.data(), line.size());
}

} // namespace

std::vector<std::string> secrets_of(const configure& settings) {
  std::vector<std::string> out;
  for (auto& input : settings.inputs())
    add_parts(out, input, false);
  add_parts(out, settings.target_url, true);
  // The longest first: a short one inside it would leave the rest.
  std::sort(out.begin(), out.end(), [](auto& a, auto& b) { return a.size() > b.size(); });
  return out;
}

std::string without_secrets(std::string_view text, const std::vector<std::string>& secrets) { return log::mask(to_valid_utf8(text), secrets); }

void take_libav_log(std::vector<std::string> secrets) {
  {
    std::lock_guard lock(shared.mutex);
    shared.secrets = std::move(secrets);
  }
  av_log_set_callback(write_line);
}

std::string last_libav_error() {
  std::lock_guard lock(shared.mutex);
  return shared.last_error;
}

void forget_last_libav_error() {
  std::lock_guard lock(shared.mutex);
  shared.last_error.clear();
}

} // namespace weir::media
