#pragma once
// Where an origin keeps segments and the segment logs' states. An interface, so that another driver (object storage) can stand in.
//
// On disk, below one root:   {stream}/{instance}/{epoch}/{rung}/{msn}.ts, {msn}.m4s, init.mp4 (a map)      and      {stream}/log.json
// and  .claim (the term and its holder), .claim.lock: no stream's name begins with a dot.
// A file is written under a name that no reader asks for, and renamed when it is whole: nobody ever sees half of one, whatever
// dies when. Names are made from checked parts only; nothing that came over the network is ever a path.
#include "runtime/base/file.hpp"
#include "runtime/hls/segment_log.hpp"
#include "schemas/error.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weir::origin {

/// An open file, for sendfile(), or bytes in memory: a driver that keeps none of its own files has only these. One of both.
struct open_segment {
  unique_fd fd;
  std::uint64_t size = 0;
  std::shared_ptr<const std::string> bytes = nullptr; ///< set: the segment; `size` is theirs
};

struct store_usage {
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
  std::uint64_t free_bytes = 0; ///< of the file system
};

/// All calls block, as long as the disk or the network takes; they are safe from several threads, but writes to one stream come from its one owner.
/// Whoever writes has claimed the store before: put, save_log, remove, remove_stream and sweep fail with `fenced`, and change nothing, once another handle has
/// claimed it. Before the first claim of all anybody may write, but in a bucket nobody. Reads are never fenced.
class segment_store {
public:
  virtual ~segment_store() = default;

  /// From here on only this handle may write; a claim waits until a write that has begun to replace something is through. Durable. Claiming the same term again
  /// is fine for the handle that has it. Fails: fenced (that term or a higher one was claimed by another), invalid_input (0), corrupt, io_failed.
  virtual expected<void> claim(std::uint64_t term) = 0;
  /// The highest term that anybody claimed; 0 before the first. Fails: corrupt, io_failed.
  virtual expected<std::uint64_t> claimed() const = 0;

  /// All of `bytes` or nothing. Fails: invalid_input (a part that may not stand in a path), io_failed; a full disk is io_failed with
  /// is_full(error): the caller makes a gap.
  virtual expected<void> put(std::string_view stream, const hls::segment_place& place, std::span<const std::byte> bytes) = 0;
  /// Fails: not_found, invalid_input, io_failed.
  virtual expected<open_segment> open(std::string_view stream, const hls::segment_place& place) const = 0;
  /// Absent is fine.
  virtual expected<void> remove(std::string_view stream, const hls::segment_place& place) = 0;

  /// The state of a stream's segment log, replaced whole. `durable`: on disk before this returns (not needed per segment: a rename is
  /// seen by whoever starts after a crash of the process; only a power cut may bring back the one before).
  virtual expected<void> save_log(std::string_view stream, std::string_view json, bool durable = false) = 0;
  /// Fails: not_found, too_large, io_failed.
  virtual expected<std::string> load_log(std::string_view stream) const = 0;
  virtual expected<std::vector<std::string>> streams() const = 0;
  /// Everything of a stream, its log included: its numbers start anew after that. Nobody may write to that stream meanwhile.
  virtual expected<void> remove_stream(std::string_view stream) = 0;

  /// At start, while nobody puts anything: removes half-written files and, of each stream, segments that `known` does not claim. Returns how many went.
  virtual expected<std::uint64_t> sweep(const std::function<bool(std::string_view stream, const hls::segment_place& place)>& known) = 0;
  virtual expected<store_usage> usage() const = 0;
};

/// Whether a put failed because there is no room.
bool is_full(const error& e);

/// The driver for a folder. Makes it when absent. `holder` names this handle in claims: a later handle of the same name may go on with its term; empty: a name that
/// nobody else has. Fails: invalid_input (a holder with other characters than a stream's name may have), io_failed.
expected<std::unique_ptr<segment_store>> open_folder_store(std::filesystem::path root, std::string holder = {});

} // namespace weir::origin
