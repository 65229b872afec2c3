#include "runtime/base/log.hpp"

#include "runtime/base/clock.hpp"
#include "runtime/base/utf8.hpp"

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <iterator>
#include <map>
#include <mutex>
#include <spdlog/logger.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <thread>
#include <unistd.h>

namespace weir::log {
namespace {

constexpr auto quiet_time = seconds(10);
// Stands before each `name=` of the format while it is filled in; foreign values lose it below.
constexpr char separator = '\x1f';

struct value {
  std::string_view name;
  std::string text;
};

struct line {
  level severity;
  std::string_view component;
  std::string_view event;
  std::string message;
  std::vector<value> values;
};

bool starts_name(std::string_view rest, std::size_t& size) {
  size = 0;
  while (size < rest.size() && ((rest[size] >= 'a' && rest[size] <= 'z') || rest[size] == '_' || (size > 0 && rest[size] >= '0' && rest[size] <= '9')))
    ++size;
  return size > 0 && size < rest.size() && rest[size] == '=';
}

// The format with a separator before each name, and the names in order.
std::string split_format(std::string_view format, std::vector<std::string_view>& names) {
  std::string result;
  int depth = 0;
  for (std::size_t i = 0; i < format.size(); ++i) {
    if (std::size_t size = 0; depth == 0 && (i == 0 || format[i - 1] == ' ') && starts_name(format.substr(i), size)) {
      names.push_back(format.substr(i, size));
      result += separator;
      i += size; // now at the '=', which the separator replaces
      continue;
    }
    depth += format[i] == '{' ? 1 : format[i] == '}' ? -1 : 0;
    result += format[i];
  }
  return result;
}

std::string trimmed(std::string_view text) {
  while (!text.empty() && text.back() == ' ')
    text.remove_suffix(1);
  return std::string(text);
}

bool secret_name(std::string_view name) {
  constexpr std::array<std::string_view, 6> names{"key", "token", "streamid", "password", "pass", "secret"};
  auto same = [&](std::string_view n) {
    return n.size() == name.size() && std::equal(n.begin(), n.end(), name.begin(), [](char a, char b) { return a == (b >= 'A' && b <= 'Z' ? b + 32 : b); });
  };
  return std::any_of(names.begin(), names.end(), same);
}

line compose(level severity, std::string_view component, std::string_view event, fmt::string_view format, fmt::format_args args) {
  line l{severity, component, event, {}, {}};
  std::vector<std::string_view> names;
  auto marked = split_format({format.data(), format.size()}, names);
  // Values are filled in one piece each, so that one that holds a separator cannot move the others: count what the format itself has.
  auto filled = fmt::vformat(marked, args);
  std::vector<std::string_view> parts;
  std::string_view rest = filled;
  for (auto at = rest.find(separator); at != rest.npos; at = rest.find(separator)) {
    parts.push_back(rest.substr(0, at));
    rest.remove_prefix(at + 1);
  }
  parts.push_back(rest);
  if (parts.size() != names.size() + 1) { // a value brought a separator of its own: keep the words, give up the names
    l.message = mask(to_valid_utf8(filled));
    return l;
  }
  l.message = mask(to_valid_utf8(trimmed(parts[0])));
  for (std::size_t i = 0; i < names.size(); ++i)
    l.values.push_back({names[i], secret_name(names[i]) ? "***" : mask(to_valid_utf8(trimmed(parts[i + 1])))});
  return l;
}

void append_quoted(std::string& out, std::string_view text) {
  out += '"';
  for (char c : text)
    if (c == '"' || c == '\\')
      (out += '\\') += c;
    else if (c == '\n')
      out += "\\n";
    else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(c));
    else
      out += c;
  out += '"';
}

bool needs_quotes(std::string_view text) {
  return text.empty() || std::any_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) <= 0x20 || c == '"' || c == '\\' || c == 0x7f; });
}

std::string as_text(const line& l, timestamp at) {
  auto out = fmt::format("{} {:<5} {} {}", to_rfc3339(at), to_string(l.severity), l.component, l.event);
  if (!l.message.empty()) {
    out += ' ';
    if (std::any_of(l.message.begin(), l.message.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }))
      append_quoted(out, l.message);
    else
      out += l.message;
  }
  for (auto& [name, text] : l.values) {
    fmt::format_to(std::back_inserter(out), " {}=", name);
    if (needs_quotes(text))
      append_quoted(out, text);
    else
      out += text;
  }
  return out;
}

std::string as_json(const line& l, timestamp at) {
  auto out = fmt::format(R"({{"time":"{}","level":"{}","component":"{}","event":"{}")", to_rfc3339(at), to_string(l.severity), l.component, l.event);
  if (!l.message.empty())
    append_quoted(out += R"(,"message":)", l.message);
  for (auto& [name, text] : l.values) {
    // A member must not stand twice; our own names win.
    bool taken = name == "time" || name == "level" || name == "component" || name == "event" || name == "message";
    fmt::format_to(std::back_inserter(out), R"(,"{}{}":)", name, taken ? "_" : "");
    append_quoted(out, text);
  }
  return out += '}';
}

struct repetition {
  level severity = level::warn;
  std::uint64_t lines = 0;
  std::uint64_t held_back = 0;
  line last{};
  steady_time printed{};
};

class journal {
public:
  // Never destroyed: other threads may log while the program exits.
  static journal& instance() {
    static journal* one = [] {
      auto* made = new journal;
      std::atexit([] { flush(); });
      return made;
    }();
    return *one;
  }

  std::atomic<level> lowest = level::info;

  expected<void> configure(const options& wanted) {
    try {
      spdlog::sink_ptr sink;
      if (wanted.file.empty())
        sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
      else
        sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(wanted.file);
      auto made = make(std::move(sink));
      std::lock_guard lock(mutex_);
      logger_ = std::move(made);
      json_ = wanted.style == format::json || (wanted.style == format::automatic && (!wanted.file.empty() || !isatty(STDERR_FILENO)));
      lowest = wanted.lowest;
      return {};
    } catch (const std::exception& e) {
      return fail(error_code::io_failed, fmt::format("log file {}: {}", wanted.file, e.what()));
    }
  }

  void take(line l) {
    std::lock_guard lock(mutex_);
    if (l.severity >= level::warn) {
      auto& r = repetitions_[{l.component, l.event}];
      auto now = steady_clock::now();
      r.severity = std::max(r.severity, l.severity);
      if (r.lines++ > 0 && now < r.printed + quiet_time) {
        r.last = std::move(l);
        if (r.held_back++ == 0)
          wake();
        return;
      }
      r.printed = now;
      if (r.held_back > 0) // the flusher was late
        l.values.push_back({"repeated", fmt::to_string(std::exchange(r.held_back, 0))});
    }
    print(l);
  }

  // Prints what has been held back long enough, or all of it; returns when to look again.
  steady_time print_held_back(steady_time now, bool all = false) {
    auto next = steady_time::max();
    for (auto& [name, r] : repetitions_) {
      if (r.held_back == 0)
        continue;
      if (!all && now < r.printed + quiet_time) {
        next = std::min(next, r.printed + quiet_time);
        continue;
      }
      r.last.values.push_back({"repeated", fmt::to_string(std::exchange(r.held_back, 0))});
      print(std::exchange(r.last, {}));
      r.printed = now;
    }
    return next;
  }

  void flush_all() {
    std::lock_guard lock(mutex_);
    print_held_back(steady_clock::now(), true);
    logger_->flush();
  }

  std::vector<count> counts() {
    std::lock_guard lock(mutex_);
    std::vector<count> result;
    for (auto& [name, r] : repetitions_)
      result.push_back({std::string(name.first), std::string(name.second), r.severity, r.lines});
    return result;
  }

private:
  static std::shared_ptr<spdlog::logger> make(spdlog::sink_ptr sink) {
    auto made = std::make_shared<spdlog::logger>("weir", std::move(sink));
    made->set_pattern("%v");
    made->set_level(spdlog::level::trace);
    made->flush_on(spdlog::level::trace);
    made->set_error_handler([](const std::string&) {}); // a full disk under the log must not end the program, and there is nowhere else to tell
    return made;
  }

  void print(const line& l) {
    auto at = std::chrono::system_clock::now();
    logger_->log(spdlog::level::info, spdlog::string_view_t(json_ ? as_json(l, at) : as_text(l, at)));
  }

  // The thread that prints held back lines exists only once something was held back.
  void wake() {
    if (!std::exchange(flushing_, true))
      std::thread([this] {
        ::pthread_setname_np(::pthread_self(), "weir-log");
        std::unique_lock lock(mutex_);
        for (;;) {
          auto next = print_held_back(steady_clock::now());
          if (next == steady_time::max())
            held_back_.wait(lock);
          else
            held_back_.wait_until(lock, next);
        }
      }).detach();
    held_back_.notify_one();
  }

  std::mutex mutex_;
  std::condition_variable held_back_;
  bool flushing_ = false;
  std::shared_ptr<spdlog::logger> logger_ = make(std::make_shared<spdlog::sinks::stderr_sink_mt>());
  bool json_ = !isatty(STDERR_FILENO);
  std::map<std::pair<std::string_view, std::string_view>, repetition> repetitions_; // keys are literals
};

bool word_character(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-'; }
bool ends_value(char c) { return static_cast<unsigned char>(c) <= 0x20 || std::string_view("&\"'<>").find(c) != std::string_view::npos; }

// Size of the secret that starts at text[at] because of the name that ends there; 0 when there is none. `at` moves to the secret.
std::size_t secret_after_name(std::string_view text, std::size_t& at) {
  std::size_t i = at;
  bool member = i < text.size() && text[i] == '"';
  i += member ? 1 : 0;
  while (member && i < text.size() && (text[i] == ' ' || text[i] == ':'))
    ++i;
  if (member ? i >= text.size() || text[i] != '"' || text[i - 1] == '"' : i >= text.size() || text[i] != '=')
    return 0;
  at = i + 1;
  bool quoted = member || (at < text.size() && text[at] == '"');
  at += quoted && !member ? 1 : 0;
  std::size_t end = at;
  while (end < text.size() && (quoted ? text[end] != '"' : !ends_value(text[end])))
    end += quoted && text[end] == '\\' && end + 1 < text.size() ? 2 : 1;
  return end - at;
}

/// Length of the viewing token (runtime/viewing) of an address that begins here with "/t/"; 0: there is none. nginx repeats addresses in its own lines.
std::size_t viewing_token_after(std::string_view address) {
  if (!address.starts_with("/t/"))
    return 0;
  auto token = address.substr(3);
  token = token.substr(0, std::min(token.find_first_not_of("0123456789abcdef."), token.size()));
  return token.size() > 32 ? token.size() : 0;
}

} // namespace

namespace detail {
void write(level severity, std::string_view component, std::string_view event, fmt::string_view format, fmt::format_args args) noexcept {
  try {
    journal::instance().take(compose(severity, component, event, format, args));
  } catch (...) {
    // Only memory can be short here; the line is lost, the program goes on.
  }
}
} // namespace detail

expected<void> configure(const options& wanted) { return journal::instance().configure(wanted); }
void set_level(level lowest) noexcept { journal::instance().lowest = lowest; }
bool enabled(level wanted) noexcept { return wanted >= journal::instance().lowest.load(std::memory_order_relaxed); }
std::vector<count> counts() { return journal::instance().counts(); }

void flush() noexcept {
  try {
    journal::instance().flush_all();
  } catch (...) {
    // As in write().
  }
}

std::string mask(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    if (word_character(text[i]) && (i == 0 || !word_character(text[i - 1]))) {
      std::size_t end = i;
      while (end < text.size() && word_character(text[end]))
        ++end;
      auto word = text.substr(i, end - i);
      out += word;
      i = end;
      if (secret_name(word)) {
        if (auto at = end; auto size = secret_after_name(text, at)) {
          (out += text.substr(end, at - end)) += "***";
          i = at + size;
        }
      } else if ((word == "Bearer" || word == "bearer") && i + 1 < text.size() && text[i] == ' ') {
        out += " ***";
        for (++i; i < text.size() && !ends_value(text[i]);)
          ++i;
      }
    } else if (text.substr(i).starts_with("://")) {
      out += "://";
      i += 3;
      auto authority = text.substr(i);
      authority = authority.substr(0, std::min(authority.find_first_of("/?# \t\r\n\"'<>"), authority.size()));
      if (auto user = authority.rfind('@'); user != authority.npos) {
        out += "***";
        i += user;
      }
    } else if (auto token = viewing_token_after(text.substr(i)); token > 0) {
      out += "/t/***";
      i += 3 + token;
    } else {
      out += text[i++];
    }
  }
  return out;
}

std::string mask(std::string_view text, std::span<const std::string> secrets) {
  std::string plain(text);
  for (auto& s : secrets)
    if (s.size() >= 4)
      for (auto at = plain.find(s); at != plain.npos; at = plain.find(s, at + 3))
        plain.replace(at, s.size(), "***");
  return mask(plain);
}

std::string mask_target(std::string_view url) {
  auto scheme = url.find("://");
  if (scheme == url.npos)
    return "***";
  auto path = url.find_first_of("/?#", scheme + 3);
  if (path == url.npos || path + 1 == url.size())
    return mask(url);
  auto next = url[path] == '/' ? url.find('/', path + 1) : url.npos;
  return mask(url.substr(0, next == url.npos ? path : next)) + "/***";
}

} // namespace weir::log
