#pragma once
// libav's muxer into memory, as segment writers need it: no seeking, no interleaving, time stamps as they come.
#include "runtime/media/segment_writer.hpp"

#include <string_view>

struct AVDictionary;
struct AVRational;

namespace weir::media {

class segment_muxer {
public:
  segment_muxer() = default;
  segment_muxer(const segment_muxer&) = delete;
  segment_muxer& operator=(const segment_muxer&) = delete;
  virtual ~segment_muxer();

  /// `format` is libav's name of it, `called` ours, for errors. Then set what the format wants, and begin(). Fails: media_failed, io_failed.
  expected<void> open(const char* format, std::string_view called, const AVCodecParameters* video, const AVCodecParameters* audio);
  /// Writes the header. `settings` are taken. Fails: media_failed.
  expected<void> begin(AVDictionary* settings);
  /// To `stream`, `lead` later. Fails: media_failed, io_failed.
  expected<void> put(const AVPacket& packet, int stream);
  /// What was written since the file before; the next one is begun. Fails: media_failed, io_failed.
  expected<memory_file> cut();
  /// Keeps what is written from now on twice: in files, and in parts of them. Fails: io_failed.
  expected<void> keep_parts();
  /// What was written since the part before. Fails: media_failed, io_failed.
  expected<memory_file> cut_part();

  /// Bytes of the present file that libav has let go of.
  std::uint64_t written() const { return file_.size(); }

  AVFormatContext* context = nullptr;
  int video = -1, audio = -1; ///< their streams; -1: there is none

protected:
  /// Takes the muxer's bytes; false: they could not be kept.
  virtual bool take(const std::uint8_t* bytes, std::size_t size);
  /// Of a stream's time stamps there.
  virtual AVRational time_base(const AVCodecParameters& parameters) const;
  /// Makes libav let go of all that was put. Fails: media_failed, io_failed.
  expected<void> flush();

private:
  expected<int> add(const AVCodecParameters& parameters);

  std::string called_;
  memory_file file_;
  std::optional<memory_file> part_;
  bool pending_ = false; ///< something was put that may not be written yet
  expected<void> written_; ///< the first failure of the memory file
};

} // namespace weir::media
