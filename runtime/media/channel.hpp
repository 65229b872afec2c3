#pragma once
// The two ends of the channel between a supervising process and its pipeline child (child_protocol.hpp), and the sealed memory files that carry media.
#include "runtime/base/clock.hpp"
#include "runtime/media/child_protocol.hpp"

#include <memory>
#include <mutex>
#include <utility>

namespace weir::media {

/// An open descriptor that closes itself.
class owned_fd {
public:
  owned_fd() = default;
  explicit owned_fd(int fd) : fd_(fd) {}
  owned_fd(owned_fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  owned_fd& operator=(owned_fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  owned_fd(const owned_fd&) = delete;
  ~owned_fd();

  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }
  explicit operator bool() const { return fd_ >= 0; }

private:
  int fd_ = -1;
};

/// Bytes that grow in memory outside this process's heap and that nobody can change once they are sealed.
class memory_file {
public:
  /// Fails with io_failed.
  static expected<memory_file> create();

  expected<void> append(const void* bytes, std::size_t size);
  std::uint64_t size() const { return size_; }
  /// Ends writing for good and hands the descriptor over.
  expected<owned_fd> seal() &&;

private:
  owned_fd fd_;
  std::uint64_t size_ = 0;
};

/// Whether the descriptor is a memory file of exactly this size that can never change again. What a child hands over is checked before it is used.
expected<void> check_sealed(int fd, std::uint64_t size);
/// The contents of a sealed file.
expected<std::string> read_sealed(int fd, std::uint64_t size);

/// What one receive() yields.
struct received {
  record what;
  owned_fd media; ///< with a segment_report or a part_report, checked; otherwise empty
};

/// One end of the pair. Sending is safe from several threads, receiving from one.
class record_channel {
public:
  record_channel() = default;
  explicit record_channel(owned_fd fd) : fd_(std::move(fd)), sending_(std::make_unique<std::mutex>()) {}

  /// Waits for a record. Fails with timeout after `wait`, with unavailable once the other side has closed, with invalid_input or too_large for a message
  /// that is no record (the channel stays usable), with io_failed otherwise.
  expected<received> receive(milliseconds wait);
  int fd() const { return fd_.get(); }

protected:
  expected<void> send_message(const record& r, int media);

private:
  owned_fd fd_;
  std::unique_ptr<std::mutex> sending_;
};

/// The supervising side.
class parent_channel : public record_channel {
public:
  using record_channel::record_channel;
  /// Fails with unavailable when the child is gone.
  expected<void> send(const record& r) { return send_message(r, -1); }
};

/// The child's side.
class child_channel : public record_channel {
public:
  using record_channel::record_channel;
  expected<void> send(const record& r) { return send_message(r, -1); }
  expected<void> send(const segment_info& segment, const owned_fd& media) { return send_message(segment_report{segment, segment.keys}, media.get()); }
  expected<void> send(const part_info& part, const owned_fd& media) { return send_message(part_report{part}, media.get()); }
};

struct channel_pair {
  parent_channel parent;
  owned_fd child; ///< close-on-exec, to be duplicated onto the child's descriptor by whoever spawns it
};
/// Fails with io_failed.
expected<channel_pair> make_channel();

} // namespace weir::media
