#include "runtime/base/file.hpp"
#include "runtime/hls/addresses.hpp"
#include "runtime/origin/segment_store.hpp"

#include <cerrno>
#include <charconv>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace weir::origin {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view log_name = "log.json";
constexpr std::uint64_t log_limit = 8U << 20;

tl::unexpected<error> os_failure(std::string_view what, const fs::path& path, int number) {
  if (number == ENOENT)
    return fail(error_code::not_found, fmt::format("{} {}: there is no such file", what, path.string()));
  return fail(error_code::io_failed, fmt::format("{} {}: {}", what, path.string(), std::strerror(number)));
}

class folder_store final : public segment_store {
public:
  explicit folder_store(fs::path root) : root_(std::move(root)) {}

  expected<void> put(std::string_view stream, const hls::segment_place& place, std::span<const std::byte> bytes) override {
    auto path = path_of(stream, place);
    if (!path)
      return fail(std::move(path).error());
    std::error_code made;
    fs::create_directories(path->parent_path(), made);
    if (made)
      return os_failure("make the folder of", *path, made.value());
    return write_file_atomically(*path, {reinterpret_cast<const char*>(bytes.data()), bytes.size()}, 0644, sync::no);
  }

  expected<open_segment> open(std::string_view stream, const hls::segment_place& place) const override {
    auto path = path_of(stream, place);
    if (!path)
      return fail(std::move(path).error());
    unique_fd fd(::open(path->c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!fd)
      return os_failure("open", *path, errno);
    struct stat info{};
    if (::fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode))
      return fail(error_code::io_failed, fmt::format("open {}: not a file", path->string()));
    return open_segment{std::move(fd), static_cast<std::uint64_t>(info.st_size)};
  }

  expected<void> remove(std::string_view stream, const hls::segment_place& place) override {
    auto path = path_of(stream, place);
    if (!path)
      return fail(std::move(path).error());
    if (::unlink(path->c_str()) != 0 && errno != ENOENT)
      return os_failure("remove", *path, errno);
    // Folders of writers and instances that are over go with their last file; a folder in use is not empty and stays.
    auto folder = path->parent_path();
    for (int level = 0; level < 3 && ::rmdir(folder.c_str()) == 0; ++level)
      folder = folder.parent_path();
    return {};
  }

  expected<void> save_log(std::string_view stream, std::string_view json, bool durable) override {
    auto folder = stream_folder(stream);
    if (!folder)
      return fail(std::move(folder).error());
    std::error_code made;
    fs::create_directories(*folder, made);
    if (made)
      return os_failure("make", *folder, made.value());
    return write_file_atomically(*folder / log_name, json, 0644, durable ? sync::yes : sync::no);
  }

  expected<std::string> load_log(std::string_view stream) const override {
    auto folder = stream_folder(stream);
    if (!folder)
      return fail(std::move(folder).error());
    return read_file(*folder / log_name, log_limit);
  }

  expected<std::vector<std::string>> streams() const override {
    std::vector<std::string> names;
    std::error_code ec;
    for (fs::directory_iterator at(root_, ec), end; !ec && at != end; at.increment(ec))
      if (auto name = at->path().filename().string(); at->is_directory(ec) && hls::is_address_word(name))
        names.push_back(std::move(name));
    if (ec)
      return os_failure("list", root_, ec.value());
    return names;
  }

  expected<void> remove_stream(std::string_view stream) override {
    auto folder = stream_folder(stream);
    if (!folder)
      return fail(std::move(folder).error());
    std::error_code ec;
    fs::remove_all(*folder, ec);
    if (ec)
      return os_failure("remove", *folder, ec.value());
    return {};
  }

  expected<std::uint64_t> sweep(const std::function<bool(std::string_view, const hls::segment_place&)>& known) override {
    std::uint64_t gone = 0;
    std::vector<fs::path> leftovers;
    std::error_code ec;
    for (fs::recursive_directory_iterator at(root_, ec), end; !ec && at != end; at.increment(ec)) {
      if (!at->is_regular_file(ec))
        continue;
      auto parts = at->path().lexically_relative(root_);
      auto place = place_of(parts);
      bool is_log = std::distance(parts.begin(), parts.end()) == 2 && parts.filename() == log_name;
      if (!is_log && (!place || !known(place->first, place->second)))
        leftovers.push_back(at->path());
    }
    if (ec)
      return os_failure("look through", root_, ec.value());
    for (auto& path : leftovers) {
      if (::unlink(path.c_str()) != 0 && errno != ENOENT)
        return os_failure("remove", path, errno);
      ++gone;
      for (auto folder = path.parent_path(); folder != root_ && ::rmdir(folder.c_str()) == 0;)
        folder = folder.parent_path();
    }
    return gone;
  }

  expected<store_usage> usage() const override {
    store_usage u;
    std::error_code ec;
    for (fs::recursive_directory_iterator at(root_, ec), end; !ec && at != end; at.increment(ec)) {
      std::error_code gone; // a file may be removed while we look
      if (auto size = at->is_regular_file(gone) ? at->file_size(gone) : 0; !gone && size > 0) {
        ++u.files;
        u.bytes += size;
      }
    }
    if (ec && ec.value() != ENOENT)
      return os_failure("look through", root_, ec.value());
    struct statvfs room{};
    if (::statvfs(root_.c_str(), &room) != 0)
      return os_failure("measure", root_, errno);
    u.free_bytes = static_cast<std::uint64_t>(room.f_bavail) * room.f_frsize;
    return u;
  }

private:
  expected<fs::path> stream_folder(std::string_view stream) const {
    if (!hls::is_address_word(stream))
      return fail(error_code::invalid_input, fmt::format("{:?} cannot be the name of a stream", stream.substr(0, 100)));
    return root_ / stream;
  }

  expected<fs::path> path_of(std::string_view stream, const hls::segment_place& place) const {
    auto folder = stream_folder(stream);
    if (!folder)
      return folder;
    if (!hls::is_address_word(place.rung, 16))
      return fail(error_code::invalid_input, fmt::format("{:?} cannot be the name of a rung", place.rung.substr(0, 100)));
    return *folder / std::to_string(place.instance) / std::to_string(place.epoch) / place.rung / fmt::format("{}.ts", place.msn);
  }

  /// The segment that a relative path names; nothing when it is not one of ours.
  static std::optional<std::pair<std::string, hls::segment_place>> place_of(const fs::path& relative) {
    std::vector<std::string> parts;
    for (auto& part : relative)
      parts.push_back(part.string());
    auto number = [](std::string_view text, std::uint64_t& out) {
      auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
      return error == std::errc{} && end == text.data() + text.size();
    };
    hls::segment_place p;
    if (parts.size() != 5 || !parts[4].ends_with(".ts") || !number(parts[1], p.instance) || !number(parts[2], p.epoch) ||
        !number(std::string_view(parts[4]).substr(0, parts[4].size() - 3), p.msn))
      return std::nullopt;
    p.rung = parts[3];
    return std::pair{parts[0], p};
  }

  fs::path root_;
};

} // namespace

bool is_full(const error& e) {
  return e.code == error_code::io_failed && (e.text.ends_with(std::strerror(ENOSPC)) || e.text.ends_with(std::strerror(EDQUOT)));
}

expected<std::unique_ptr<segment_store>> open_folder_store(fs::path root) {
  std::error_code made;
  fs::create_directories(root, made);
  if (made)
    return os_failure("make", root, made.value());
  if (::access(root.c_str(), W_OK | X_OK) != 0)
    return os_failure("write into", root, errno);
  return std::make_unique<folder_store>(std::move(root));
}

} // namespace weir::origin
