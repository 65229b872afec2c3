#pragma once
// Owners for libav's objects, so that its headers stay inside the .cpp files of this room, and one deadline for whatever libav blocks in.
#include "runtime/base/clock.hpp"
#include "schemas/error.hpp"

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

struct AVCodecContext;
struct AVCodecParameters;
struct AVFormatContext;
struct AVFrame;
struct AVPacket;
struct SwsContext;
struct SwrContext;
struct AVBSFContext;

namespace weir::media {

struct av_free {
  void operator()(AVCodecContext* p) const;
  void operator()(AVCodecParameters* p) const;
  void operator()(AVFrame* p) const;
  void operator()(AVPacket* p) const;
  void operator()(SwsContext* p) const;
  void operator()(SwrContext* p) const;
  void operator()(AVBSFContext* p) const;
};
template <class T>
using av = std::unique_ptr<T, av_free>;

/// A new frame; a new reference to the same picture or samples. Running out of memory ends the process: its parent starts another.
av<AVFrame> new_frame();
av<AVFrame> same_frame(const AVFrame& frame);
av<AVPacket> new_packet();
av<AVPacket> same_packet(const AVPacket& packet);
av<AVCodecParameters> same_parameters(const AVCodecParameters& parameters);

/// libav's sentence for one of its error numbers.
std::string av_text(int code);
/// What failed and why, as media_failed.
tl::unexpected<error> av_fail(std::string_view what, int code);

/// The RFC 6381 name of H.264 parameter sets (Annex B or avcC): "avc1.64001f"; empty when there is none.
std::string avc_name(const std::uint8_t* extradata, std::size_t size);

/// Bounds libav's blocking calls: its interrupt callback asks expired(). One thread arms, any thread may ask or cancel.
class call_deadline {
public:
  void arm(milliseconds limit) {
    until_ = to_ms(steady_clock::now() + limit);
    since_ = to_ms(steady_clock::now());
  }
  void disarm() { since_ = 0; }
  /// Every later call ends at once.
  void cancel() { cancelled_ = true; }
  bool cancelled() const { return cancelled_; }
  bool expired() const { return cancelled_ || (since_ != 0 && to_ms(steady_clock::now()) > until_); }
  /// Age of the call that blocks now; 0: none.
  std::int64_t blocked_milliseconds() const {
    auto since = since_.load();
    return since == 0 ? 0 : std::max<std::int64_t>(0, to_ms(steady_clock::now()) - since);
  }
  static int interrupt(void* self) { return static_cast<const call_deadline*>(self)->expired() ? 1 : 0; }

private:
  static std::int64_t to_ms(steady_time t) { return std::chrono::duration_cast<milliseconds>(t.time_since_epoch()).count(); }
  std::atomic<std::int64_t> until_{0}, since_{0};
  std::atomic<bool> cancelled_{false};
};

} // namespace weir::media
