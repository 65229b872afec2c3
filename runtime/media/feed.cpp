#include "runtime/media/feed.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <map>
#include <set>
extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
}

namespace weir::media {
namespace {

// Bounds of the queue. The span is what a pipeline may fall behind before pictures are dropped unseen; the others guard memory.
constexpr ticks longest_backlog = 8 * ticks_per_second;
constexpr std::size_t most_packets = 8192;
constexpr milliseconds pause{500}; ///< in the flow of packets
constexpr std::size_t most_bytes = 96u << 20;
constexpr std::size_t most_packets_of_a_file = 256;

struct close_input {
  void operator()(AVFormatContext* p) const { avformat_close_input(&p); }
};

std::int64_t steady_ms() { return std::chrono::duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count(); }

} // namespace

struct feed::input {
  std::unique_ptr<AVFormatContext, close_input> context;
  int video = -1, audio = -1; ///< stream indexes; -1: none
  std::map<int, unwrapper> unwrap;
  std::map<int, av<AVPacket>> held; ///< by stream: waits for jump_detector's confirmation
  std::set<int> delivered;          ///< streams of which a packet came

  bool usable(unsigned i, AVMediaType type) const {
    auto* s = context->streams[i];
    return s->codecpar->codec_type == type && s->codecpar->codec_id != AV_CODEC_ID_NONE && !(s->disposition & AV_DISPOSITION_ATTACHED_PIC) &&
           avcodec_find_decoder(s->codecpar->codec_id);
  }
  // Takes the first usable stream of each type that has none yet. Whether something changed.
  bool choose() {
    auto before = std::pair(video, audio);
    for (unsigned i = 0; i < context->nb_streams; ++i) {
      if (video < 0 && usable(i, AVMEDIA_TYPE_VIDEO))
        video = static_cast<int>(i);
      if (audio < 0 && usable(i, AVMEDIA_TYPE_AUDIO))
        audio = static_cast<int>(i);
    }
    return before != std::pair(video, audio);
  }
  source_item streams() const {
    source_item item;
    item.what = source_item::kind::streams;
    if (video >= 0) {
      auto* s = context->streams[video];
      item.video_stream = same_parameters(*s->codecpar);
      if (s->sample_aspect_ratio.num > 0)
        item.video_stream->sample_aspect_ratio = s->sample_aspect_ratio;
      if (auto rate = s->avg_frame_rate; rate.num > 0 && rate.den > 0)
        item.fps_milli = av_rescale(rate.num, 1000, rate.den);
    }
    if (audio >= 0)
      item.audio_stream = same_parameters(*context->streams[audio]->codecpar);
    return item;
  }
};

feed::feed(feed_options options, pulse& progress, std::function<void(end_cause, std::string)> complain, std::function<void()> wake)
  : options_(std::move(options)), progress_(progress), complain_(std::move(complain)), wake_(std::move(wake)), heard_ms_(steady_ms()) {
  progress_.watch(deadline_);
  thread_ = std::thread([this] { run(); });
}

feed::~feed() {
  stop();
  thread_.join();
  progress_.forget(deadline_);
}

void feed::stop() {
  deadline_.cancel();
  std::lock_guard lock(mutex_);
  stopped_ = true;
  changed_.notify_all();
}

bool feed::stopping() const {
  std::lock_guard lock(mutex_);
  return stopped_;
}

std::optional<source_item> feed::take() {
  std::unique_lock lock(mutex_);
  if (queue_.empty())
    return std::nullopt;
  auto item = std::move(queue_.front());
  queue_.pop_front();
  if (item.packet)
    bytes_ -= static_cast<std::size_t>(item.packet->size);
  if (in_use_)
    progress_.packets_queued(queue_.size());
  changed_.notify_all();
  return item;
}

milliseconds feed::flowing_for() const { return flows_since_ms_ == 0 || silent_for() > pause ? milliseconds(0) : milliseconds(heard_ms_ - flows_since_ms_); }

milliseconds feed::silent_for() const { return milliseconds(steady_ms() - heard_ms_); }

ticks feed::backlog() const {
  std::lock_guard lock(mutex_);
  auto oldest = std::find_if(queue_.begin(), queue_.end(), [](auto& i) { return i.packet != nullptr; });
  auto newest = std::find_if(queue_.rbegin(), queue_.rend(), [](auto& i) { return i.packet != nullptr; });
  if (oldest == queue_.end())
    return 0;
  // A jump between them is no backlog.
  return std::clamp<ticks>(newest->packet->dts - oldest->packet->dts, 0, 60 * ticks_per_second);
}

void feed::push(source_item item) {
  std::unique_lock lock(mutex_);
  if (!options_.realtime)
    changed_.wait(lock, [&] { return stopped_ || queue_.size() < most_packets_of_a_file; });
  if (item.packet)
    bytes_ += static_cast<std::size_t>(item.packet->size);
  queue_.push_back(std::move(item));
  if (in_use_)
    progress_.packets_queued(queue_.size());
  lock.unlock();
  wake_();
}

void feed::finish(end_cause cause, int code, std::string text) {
  source_item item;
  item.cause = cause;
  item.code = code;
  item.text = std::move(text);
  push(std::move(item));
}

void feed::enqueue(av<AVPacket> packet, bool video) {
  if (options_.realtime) {
    auto span = backlog();
    std::unique_lock lock(mutex_);
    const bool full = span > longest_backlog || queue_.size() > most_packets || bytes_ > most_bytes;
    const bool roomy = span < longest_backlog / 2 && queue_.size() < most_packets / 2 && bytes_ < most_bytes / 2;
    // What follows a lost packet up to the next key frame cannot be decoded cleanly.
    if (full)
      dropping_ = true;
    else if (dropping_ && roomy && (!video || (packet->flags & AV_PKT_FLAG_KEY)))
      dropping_ = false;
    lock.unlock();
    if (dropping_) {
      if (video && in_use_)
        progress_.dropped(1);
      return;
    }
  }
  source_item item;
  item.what = source_item::kind::packet;
  item.video = video;
  item.read_at = std::chrono::system_clock::now();
  item.packet = std::move(packet);
  push(std::move(item));
}

void feed::take(input& in, av<AVPacket> packet) {
  const auto index = packet->stream_index;
  const auto video = index == in.video;
  if (!video && index != in.audio)
    return;
  if (packet->dts == AV_NOPTS_VALUE)
    packet->dts = packet->pts;
  if (packet->dts == AV_NOPTS_VALUE || packet->size <= 0)
    return;
  if (packet->pts == AV_NOPTS_VALUE)
    packet->pts = packet->dts;

  auto* stream = in.context->streams[index];
  // A stream that was only announced at first has its parameters now.
  if (in.delivered.insert(index).second)
    push(in.streams());
  ticks delay = 0;
  if (__builtin_sub_overflow(packet->pts, packet->dts, &delay))
    return;
  auto unwrap = in.unwrap.find(index);
  if (unwrap == in.unwrap.end()) {
    auto bits = stream->pts_wrap_bits;
    unwrap = in.unwrap.emplace(index, unwrapper(bits > 0 && bits < 48 ? av_rescale_q(1LL << bits, stream->time_base, {1, 90'000}) : 0)).first;
    if (newest_)
      unwrap->second.continue_from(*newest_);
  }
  av_packet_rescale_ts(packet.get(), stream->time_base, {1, 90'000});
  // Beyond this no arithmetic of ours or libav's could overflow; nothing real has it (3,000 years).
  constexpr std::int64_t farthest = 1LL << 53;
  if (packet->dts > farthest || packet->dts < -farthest || delay > farthest || delay < -farthest)
    return;
  packet->dts = unwrap->second(packet->dts);
  packet->pts = packet->dts + std::clamp<ticks>(av_rescale_q(delay, stream->time_base, {1, 90'000}), -60 * ticks_per_second, 60 * ticks_per_second);

  switch (jumps_.take(index, packet->dts)) {
    case jump_detector::verdict::pass: break;
    case jump_detector::verdict::drop: return;
    case jump_detector::verdict::hold: in.held[index] = std::move(packet); return;
    case jump_detector::verdict::jump: {
      source_item jump;
      jump.what = source_item::kind::jump;
      push(std::move(jump));
      newest_.reset();
      if (auto held = std::move(in.held[index]))
        enqueue(std::move(held), video);
      in.held.clear();
      break;
    }
  }
  in.held.erase(index);
  newest_ = std::max(newest_.value_or(packet->dts), packet->dts);
  const auto before = heard_ms_.exchange(steady_ms());
  if (flows_since_ms_ == 0 || heard_ms_ - before > pause.count())
    flows_since_ms_ = heard_ms_.load();
  troubled_ = false;
  progress_.read(packet->pts);
  enqueue(std::move(packet), video);
}

end_cause feed::read_from(input& in, std::string& why, int& code) {
  auto packet = new_packet();
  // Deadlines are for calls, not for runs of them: a source that trickles is not silent.
  for (;;) {
    deadline_.arm(options_.read_deadline);
    code = av_read_frame(in.context.get(), packet.get());
    deadline_.disarm();
    if (stopping())
      return end_cause::requested;
    if (code == AVERROR(EAGAIN))
      continue;
    if (code == AVERROR_EOF)
      return end_cause::source_ended;
    if (code < 0) {
      why = code == AVERROR_EXIT ? fmt::format("the source was silent for {} ms", options_.read_deadline.count()) : "reading the source: " + av_text(code);
      return end_cause::source_stalled;
    }
    if (packet->stream_index < 0 || static_cast<unsigned>(packet->stream_index) >= in.context->nb_streams) {
      av_packet_unref(packet.get());
      continue;
    }
    if ((in.video < 0 || in.audio < 0) && in.choose())
      push(in.streams());
    auto whole = new_packet();
    av_packet_move_ref(whole.get(), packet.get());
    take(in, std::move(whole));
  }
}

void feed::run() {
  for (bool reopened = false;;) {
    input in;
    std::string why;
    int code = 0;
    auto* context = avformat_alloc_context();
    if (!context)
      return finish(end_cause::encoder_error, AVERROR(ENOMEM), "no memory for the source");
    // The callback must be there before the first call that can block.
    context->interrupt_callback = {call_deadline::interrupt, &deadline_};
    context->correct_ts_overflow = 0; // would move time stamps by when we joined; we unwrap ourselves
    context->probesize = 200'000;
    context->max_analyze_duration = AV_TIME_BASE;
    AVDictionary* settings = nullptr;
    av_dict_set(&settings, "protocol_whitelist", "file,tcp,tls,rtmp,rtmps,rtmpt,srt,udp,unix", 0);
    av_dict_set(&settings, "format_whitelist", "flv,live_flv,mpegts,mov,matroska,avi,aac,mp3,wav", 0);
    if (options_.url.starts_with("rtmp")) {
      av_dict_set(&settings, "rtmp_live", "live", 0);
      av_dict_set_int(&settings, "rw_timeout", std::chrono::microseconds(options_.read_deadline).count(), 0);
    }
    deadline_.arm(options_.open_deadline);
    code = avformat_open_input(&context, options_.url.c_str(), nullptr, &settings); // frees the context when it fails
    av_dict_free(&settings);
    if (code >= 0) {
      in.context.reset(context);
      code = avformat_find_stream_info(context, nullptr);
    }
    deadline_.disarm();
    if (stopping())
      return finish(end_cause::requested, 0, "");

    auto cause = end_cause::source_stalled;
    if (code >= 0) {
      in.choose();
      auto streams = in.streams();
      streams.reopened = std::exchange(reopened, true);
      push(std::move(streams));
      cause = read_from(in, why, code);
    } else {
      why = "opening the source: " + av_text(code);
      if (code == AVERROR_INVALIDDATA || code == AVERROR_DEMUXER_NOT_FOUND || !options_.realtime)
        cause = end_cause::encoder_error;
    }
    if (cause != end_cause::source_stalled || !options_.realtime)
      return finish(cause, code == AVERROR_EOF ? 0 : code, why);
    if (silent_for() >= options_.patience)
      return finish(cause, code, why);
    troubled_ = true;
    complain_(cause, why);
    wake_();
    // A refused connection comes back at once: wait half a second before the next one.
    std::unique_lock lock(mutex_);
    if (changed_.wait_for(lock, milliseconds(500), [&] { return stopped_; })) {
      lock.unlock();
      return finish(end_cause::requested, 0, "");
    }
  }
}

} // namespace weir::media
