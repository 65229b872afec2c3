#include "runtime/base/file.hpp"
#include "runtime/base/secret.hpp"
#include "runtime/hls/addresses.hpp"
#include "runtime/origin/segment_store.hpp"

#include <cerrno>
#include <charconv>
#include <cstring>
#include <tuple>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace weir::origin {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view log_name = "log.json";
constexpr std::string_view claim_name = ".claim", lock_name = ".claim.lock";
constexpr std::uint64_t log_limit = 8U << 20;

tl::unexpected<error> os_failure(std::string_view what, const fs::path& path, int number) {
  if (number == ENOENT)
    return fail(error_code::not_found, fmt::format("{} {}: there is no such file", what, path.string()));
  return fail(error_code::io_failed, fmt::format("{} {}: {}", what, path.string(), std::strerror(number)));
}

struct claim_note {
  std::uint64_t term = 0;
  std::string holder;
};

class folder_store final : public segment_store {
public:
  folder_store(fs::path root, std::string holder) : root_(std::move(root)), holder_(std::move(holder)) {}

  expected<void> claim(std::uint64_t term) override {
    if (term == 0)
      return fail(error_code::invalid_input, "terms of a store begin at 1");
    auto alone = lock(LOCK_EX);
    WEIR_TRY(alone);
    auto last = last_claim();
    WEIR_TRY(last);
    if (last->term == term && last->holder == holder_)
      return {};
    if (last->term >= term)
      return fail(error_code::fenced, fmt::format("claim {} for term {}: term {} was claimed already", root_.string(), term, last->term));
    return write_file_atomically(root_ / claim_name, fmt::format("{} {}\n", term, holder_));
  }

  expected<std::uint64_t> claimed() const override {
    auto last = last_claim();
    WEIR_TRY(last);
    return last->term;
  }

  expected<void> put(std::string_view stream, const hls::segment_place& place, std::span<const std::byte> bytes) override {
    auto path = path_of(stream, place);
    if (!path)
      return fail(std::move(path).error());
    // A segment that a power failure takes is one hole; its map, which is written once, would be missing for as long as the writer goes on.
    const auto durable = place.kind == hls::segment_kind::map ? sync::yes : sync::no;
    return replace(*path, {reinterpret_cast<const char*>(bytes.data()), bytes.size()}, durable);
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
    return open_segment{.fd = std::move(fd), .size = static_cast<std::uint64_t>(info.st_size)};
  }

  expected<void> remove(std::string_view stream, const hls::segment_place& place) override {
    auto path = path_of(stream, place);
    if (!path)
      return fail(std::move(path).error());
    auto turn = may_write();
    WEIR_TRY(turn);
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
    return replace(*folder / log_name, json, durable ? sync::yes : sync::no);
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
    auto turn = may_write();
    WEIR_TRY(turn);
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
      if (parts == claim_name || parts == lock_name)
        continue;
      auto place = place_of(parts);
      bool is_log = std::distance(parts.begin(), parts.end()) == 2 && parts.filename() == log_name;
      if (!is_log && (!place || !known(place->first, place->second)))
        leftovers.push_back(at->path());
    }
    if (ec)
      return os_failure("look through", root_, ec.value());
    for (auto& path : leftovers) {
      auto turn = may_write();
      WEIR_TRY(turn);
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
  /// Between handles of this folder, in any process; let go when the file is closed.
  expected<unique_fd> lock(int how) const {
    auto path = root_ / lock_name;
    unique_fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644));
    if (!fd)
      return os_failure("open", path, errno);
    while (::flock(fd.get(), how) != 0)
      if (errno != EINTR)
        return os_failure("lock", path, errno);
    return fd;
  }

  expected<claim_note> last_claim() const {
    auto path = root_ / claim_name;
    auto text = read_file(path, 256);
    if (!text && text.error().code == error_code::not_found)
      return claim_note{};
    WEIR_TRY(text);
    claim_note last;
    auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), last.term);
    auto rest = std::string_view(*text).substr(static_cast<std::size_t>(end - text->data()));
    if (error != std::errc{} || last.term == 0 || rest.size() < 3 || rest.front() != ' ' || rest.back() != '\n')
      return fail(error_code::corrupt, fmt::format("{} does not say who may write here; it should be \"TERM HOLDER\"", path.string()));
    last.holder = rest.substr(1, rest.size() - 2);
    return last;
  }

  /// While what is returned lives nobody else can claim the folder: what is checked here still holds when a file is renamed or removed a moment later.
  expected<unique_fd> may_write() const {
    auto turn = lock(LOCK_SH);
    WEIR_TRY(turn);
    auto last = last_claim();
    WEIR_TRY(last);
    if (last->term != 0 && last->holder != holder_)
      return fail(error_code::fenced, fmt::format("another origin has claimed {} for term {}", root_.string(), last->term));
    return turn;
  }

  /// The bytes are written without the lock, because a slow disk must not hold up who takes over; only the rename is done under it.
  expected<void> replace(const fs::path& path, std::string_view bytes, sync durable) const {
    if (auto turn = may_write(); !turn)
      return fail(std::move(turn).error());
    fs::path aside = fmt::format("{}.{}.put", path.native(), random_uuid().substr(0, 8));
    expected<void> done = fail(error_code::not_found, {});
    for (int tries = 0; tries < 5 && !done && done.error().code == error_code::not_found; ++tries) {
      std::error_code made; // again when remove() has just taken an empty folder away on another thread
      fs::create_directories(path.parent_path(), made);
      if (made && made.value() != ENOENT)
        return os_failure("make the folder of", path, made.value());
      done = write_file_atomically(aside, bytes, 0644, durable);
    }
    WEIR_TRY(done);
    if (done = take_place(aside, path); !done) {
      ::unlink(aside.c_str());
      return done;
    }
    if (durable == sync::no)
      return {};
    unique_fd folder(::open(path.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!folder || ::fsync(folder.get()) != 0)
      return os_failure("sync the folder of", path, errno);
    return {};
  }

  expected<void> take_place(const fs::path& aside, const fs::path& path) const {
    auto turn = may_write();
    WEIR_TRY(turn);
    if (::rename(aside.c_str(), path.c_str()) != 0)
      return os_failure("rename to", path, errno);
    return {};
  }

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
    return *folder / std::to_string(place.instance) / std::to_string(place.epoch) / place.rung / hls::segment_name(place.kind, place.msn);
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
    if (parts.size() != 5 || !number(parts[1], p.instance) || !number(parts[2], p.epoch))
      return std::nullopt;
    auto name = hls::parse_segment_name(parts[4]);
    if (!name)
      return std::nullopt;
    std::tie(p.kind, p.msn) = *name;
    p.rung = parts[3];
    return std::pair{parts[0], p};
  }

  fs::path root_;
  std::string holder_;
};

} // namespace

bool is_full(const error& e) {
  return e.code == error_code::io_failed && (e.text.ends_with(std::strerror(ENOSPC)) || e.text.ends_with(std::strerror(EDQUOT)));
}

expected<std::unique_ptr<segment_store>> open_folder_store(fs::path root, std::string holder) {
  if (holder.empty())
    holder = random_uuid();
  if (!hls::is_address_word(holder))
    return fail(error_code::invalid_input, fmt::format("{:?} cannot be the holder of a store", holder.substr(0, 100)));
  std::error_code made;
  fs::create_directories(root, made);
  if (made)
    return os_failure("make", root, made.value());
  if (::access(root.c_str(), W_OK | X_OK) != 0)
    return os_failure("write into", root, errno);
  return std::make_unique<folder_store>(std::move(root), std::move(holder));
}

} // namespace weir::origin
