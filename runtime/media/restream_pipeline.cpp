#include "runtime/media/restream_pipeline.hpp"

#include "runtime/media/libav_log.hpp"
#include "runtime/media/source.hpp"

#include <algorithm>
#include <atomic>
#include <fmt/format.h>
extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
}

namespace weir::media {
namespace {

constexpr ticks longest_look = ticks_per_second;
constexpr ticks longest_wait_for_pictures = 4 * ticks_per_second; ///< nginx-rtmp gives a new reader sound only until the next key frame
constexpr std::size_t most_looked_at = 600;
constexpr milliseconds refusal_window{2'000}; ///< a target that asks its own hooks first closes a refused connection so late
constexpr milliseconds try_again{300};        ///< each attempt is a question to the hooks of the target
constexpr milliseconds last_attempt{1'000};   ///< what the last one may take beyond the patience

struct failure {
  end_cause cause;
  int code;
  std::string text;
  bool passing = false; ///< may be over in a moment
};

struct close_output {
  void operator()(AVFormatContext* p) const {
    avio_closep(&p->pb);
    avformat_free_context(p);
  }
};

/// `words` in lower case.
bool says(std::string_view text, std::string_view words) {
  return std::search(text.begin(), text.end(), words.begin(), words.end(), [](char a, char b) { return std::tolower(static_cast<unsigned char>(a)) == b; }) !=
         text.end();
}

bool name_is_taken(std::string_view text) { return says(text, "already") || says(text, "badname"); }

} // namespace

end_cause cause_of_refusal(int code, std::string_view text) {
  if (name_is_taken(text) || says(text, "resolve") || says(text, "handshake"))
    return end_cause::target_unreachable;
  switch (code) {
    case AVERROR(EPERM):
    case AVERROR(EACCES):
    case AVERROR_UNKNOWN:
    case AVERROR_HTTP_UNAUTHORIZED:
    case AVERROR_HTTP_FORBIDDEN:
    // The connection stood and was closed instead of an answer: nginx-rtmp's way to refuse a key.
    case AVERROR_EOF:
    case AVERROR(EIO):
    case AVERROR(ECONNRESET):
    case AVERROR(EPIPE): return end_cause::target_refused;
    default: return end_cause::target_unreachable;
  }
}

bool may_open_soon(int code, std::string_view text) {
  // "Cannot open connection": the one that RTMP runs over.
  const bool early = says(text, "cannot open connection") || says(text, "handshake");
  return name_is_taken(text) || code == AVERROR(ECONNREFUSED) || (code == AVERROR(ECONNRESET) && early);
}

struct close_parser {
  void operator()(AVCodecParserContext* p) const { av_parser_close(p); }
};

/// The size of the picture as the bit stream itself tells it: libav's own look at a source that has only just begun may have ended before the first picture.
void learn_size(AVCodecParameters& stream, const std::vector<source_item>& items) {
  std::unique_ptr<AVCodecParserContext, close_parser> parser(av_parser_init(stream.codec_id));
  av<AVCodecContext> context(avcodec_alloc_context3(nullptr));
  if (!parser || !context || avcodec_parameters_to_context(context.get(), &stream) < 0)
    return;
  parser->flags |= PARSER_FLAG_COMPLETE_FRAMES;
  for (auto& i : items) {
    if (!i.video)
      continue;
    std::uint8_t* out = nullptr;
    int size = 0;
    (void)av_parser_parse2(parser.get(), context.get(), &out, &size, i.packet->data, i.packet->size, i.packet->pts, i.packet->dts, 0);
    if (parser->width > 0 && parser->height > 0) {
      stream.width = parser->width;
      stream.height = parser->height;
      return;
    }
  }
}

struct restream_pipeline::state {
  const configure settings;
  child_channel& out;
  pulse& progress;
  const std::vector<std::string> secrets = secrets_of(settings);
  source in;

  av<AVCodecParameters> video_stream, audio_stream;
  std::int64_t fps_milli = 0;
  std::vector<source_item> looked_at;
  bool looking = true;

  call_deadline writing;
  std::unique_ptr<AVFormatContext, close_output> target;
  std::atomic<bool> opened{false}, stopped{false};
  std::optional<steady_time> next_try, give_up_at; ///< while it cannot be opened for the moment
  int video = -1, audio = -1; ///< indexes in the target
  bool wait_for_key = true;
  std::array<ticks, 2> last_dts{-1, -1};
  std::optional<ticks> shift; ///< from the source's time to ours, which starts at 0 and never jumps
  std::int64_t sent = 0;
  steady_time opened_at{};

  state(const configure& c, child_channel& o, pulse& p)
    : settings(c), out(o), progress(p),
      in({c.inputs(), c.realtime, c.open_deadline, c.read_deadline, c.source_patience, false}, p, [this](end_cause cause, std::string why) {
        (void)out.send(trouble{cause, without_secrets(why, secrets)});
      }) {
    progress.watch(writing);
    progress.outputs({"target"});
  }

  tl::expected<void, failure> failed(end_cause cause, int code, std::string what) {
    auto detail = last_libav_error();
    return tl::unexpected<failure>(failure{cause, code, fmt::format("{}: {}{}{}", what, av_text(code), detail.empty() ? "" : "; ", detail)});
  }

  // libav begins to send before it is told whether it may: who is refused finds the connection closed.
  end_cause cause_of_loss(int code) const {
    return steady_clock::now() - opened_at < refusal_window ? cause_of_refusal(code, last_libav_error()) : end_cause::target_unreachable;
  }

  tl::expected<int, failure> add(const AVCodecParameters* parameters) {
    if (!parameters)
      return -1;
    if (avformat_query_codec(target->oformat, parameters->codec_id, FF_COMPLIANCE_NORMAL) != 1) {
      if (!next_try)
        (void)out.send(trouble{end_cause::bad_options, fmt::format("{} cannot carry {}", target->oformat->name, avcodec_get_name(parameters->codec_id))});
      return -1;
    }
    // A source that has only just begun may have told no more than its codec: no fault of the options, the next look will find it.
    if (parameters->codec_type == AVMEDIA_TYPE_VIDEO && (parameters->width <= 0 || parameters->height <= 0))
      return tl::unexpected<failure>(failure{end_cause::source_stalled, 0, "the source has not told the size of its picture yet"});
    auto* stream = avformat_new_stream(target.get(), nullptr);
    auto code = stream ? avcodec_parameters_copy(stream->codecpar, parameters) : AVERROR(ENOMEM);
    if (code < 0)
      return tl::unexpected<failure>(failure{end_cause::encoder_error, code, "stream parameters: " + av_text(code)});
    stream->codecpar->codec_tag = 0; // the source's container's
    stream->time_base = {1, 1000};
    if (fps_milli > 0 && parameters->codec_type == AVMEDIA_TYPE_VIDEO)
      stream->avg_frame_rate = {static_cast<int>(fps_milli), 1000};
    return stream->index;
  }

  tl::expected<void, failure> open(milliseconds limit) {
    const auto* format = settings.format == target_format::flv ? "flv" : "mpegts";
    AVFormatContext* context = nullptr;
    if (auto code = avformat_alloc_output_context2(&context, nullptr, format, settings.target_url.c_str()); code < 0)
      return tl::unexpected<failure>(failure{end_cause::encoder_error, code, "target: " + av_text(code)});
    target.reset(context);
    context->interrupt_callback = {call_deadline::interrupt, &writing};
    context->flags |= AVFMT_FLAG_FLUSH_PACKETS;
    for (auto [parameters, index] : {std::pair{video_stream.get(), &video}, std::pair{audio_stream.get(), &audio}}) {
      auto added = add(parameters);
      if (!added)
        return tl::unexpected(added.error());
      *index = *added;
    }
    if (video < 0 && audio < 0)
      return tl::unexpected<failure>(failure{end_cause::bad_options, 0, fmt::format("nothing in the source that {} can carry", format)});

    AVDictionary* settings_of = nullptr;
    av_dict_set(&settings_of, "protocol_whitelist", "tcp,tls,rtmp,rtmps,rtmpt,srt,udp", 0);
    av_dict_set_int(&settings_of, "rw_timeout", std::chrono::microseconds(settings.write_deadline).count(), 0);
    forget_last_libav_error();
    writing.arm(limit);
    auto code = avio_open2(&context->pb, settings.target_url.c_str(), AVIO_FLAG_WRITE, &context->interrupt_callback, &settings_of);
    av_dict_free(&settings_of);
    if (code < 0) {
      writing.disarm();
      auto refused = failed(cause_of_refusal(code, last_libav_error()), code, "opening the target");
      refused.error().passing = may_open_soon(code, last_libav_error());
      return refused;
    }
    opened_at = steady_clock::now();
    // The size and duration of a live stream are unknown: do not seek back for them.
    AVDictionary* muxer = nullptr;
    if (settings.format == target_format::flv)
      av_dict_set(&muxer, "flvflags", "no_duration_filesize", 0);
    writing.arm(limit);
    code = avformat_write_header(context, &muxer);
    av_dict_free(&muxer);
    writing.disarm();
    if (code == AVERROR(EINVAL) || code == AVERROR_INVALIDDATA)
      return failed(end_cause::bad_options, code, "header for the target");
    if (code < 0)
      return failed(cause_of_loss(code), code, "header for the target");
    opened = true;
    return {};
  }

  tl::expected<void, failure> open_or_wait() {
    const auto now = steady_clock::now();
    auto limit = settings.write_deadline;
    if (give_up_at)
      limit = std::min(limit, std::chrono::ceil<milliseconds>(*give_up_at - now) + last_attempt);
    else
      give_up_at = now + settings.target_patience;
    auto done = open(limit);
    if (done) {
      next_try.reset();
      return done;
    }
    target.reset();
    const auto next = steady_clock::now() + try_again;
    // A file would be over before the next attempt.
    if (!done.error().passing || !settings.realtime || next > *give_up_at)
      return done;
    if (!next_try)
      (void)out.send(trouble{done.error().cause,
                             without_secrets(fmt::format("{}; it is tried again for {} ms", done.error().text, settings.target_patience.count()), secrets).substr(0, 1900)});
    next_try = next;
    return {};
  }

  tl::expected<void, failure> write(source_item& item) {
    if (!opened)
      return {};
    auto& packet = *item.packet;
    const auto index = item.video ? video : audio;
    if (index < 0)
      return {};
    if (video >= 0 && wait_for_key) {
      if (!item.video || !(packet.flags & AV_PKT_FLAG_KEY))
        return {};
      wait_for_key = false;
    }
    auto& last = last_dts[static_cast<std::size_t>(index)];
    if (!shift)
      shift = std::max(last_dts[0], last_dts[1]) + 1 - packet.dts;
    const auto delay = std::max<ticks>(0, packet.pts - packet.dts);
    // In ms, the unit of FLV; what came before the first key frame's time is late sound.
    packet.dts = std::max<ticks>((packet.dts + *shift) / 90 * 90, last + 90);
    if (packet.dts < 0)
      return {};
    last = packet.dts;
    packet.pts = packet.dts + delay;
    const auto reached = packet.pts;
    packet.stream_index = index;
    av_packet_rescale_ts(&packet, {1, 90'000}, target->streams[index]->time_base);
    writing.arm(settings.write_deadline);
    auto code = av_write_frame(target.get(), &packet);
    writing.disarm();
    if (code == AVERROR(EINVAL) || code == AVERROR_INVALIDDATA) {
      progress.dropped(item.video ? 1 : 0); // one damaged packet
      return {};
    }
    if (code < 0 || (code = target->pb->error) < 0)
      return failed(cause_of_loss(code), code, code == AVERROR_EXIT ? "the target takes nothing" : "sending to the target");
    const auto total = avio_tell(target->pb);
    progress.put_out("target", reached, static_cast<std::size_t>(std::max<std::int64_t>(0, total - sent)), item.video);
    sent = std::max(sent, total);
    return {};
  }

  bool looked_enough() const {
    // A live source announces only what it sends already.
    bool picture = !video_stream && !settings.realtime, heard = !audio_stream;
    for (auto& i : looked_at)
      (i.video ? picture : heard) = true;
    return (picture && heard && !looked_at.empty()) || looked_at.size() >= most_looked_at ||
           (!looked_at.empty() && looked_at.back().packet->dts - looked_at.front().packet->dts > (picture ? longest_look : longest_wait_for_pictures));
  }

  // A stream that was announced and never came would leave a target waiting for it.
  tl::expected<void, failure> stop_looking() {
    looking = false;
    bool picture = false, heard = false;
    for (auto& i : looked_at)
      (i.video ? picture : heard) = true;
    if (!picture)
      video_stream.reset();
    if (!heard)
      audio_stream.reset();
    input_report r;
    if (video_stream && (video_stream->width <= 0 || video_stream->height <= 0))
      learn_size(*video_stream, looked_at);
    if (video_stream) {
      r.video = avcodec_get_name(video_stream->codec_id);
      r.width = static_cast<std::uint32_t>(std::clamp(video_stream->width, 0, 32768));
      r.height = static_cast<std::uint32_t>(std::clamp(video_stream->height, 0, 32768));
      r.fps_milli = std::clamp<std::int64_t>(fps_milli, 0, 1'000'000);
    }
    if (audio_stream) {
      r.audio = avcodec_get_name(audio_stream->codec_id);
      r.channels = static_cast<std::uint32_t>(std::clamp(audio_stream->ch_layout.nb_channels, 0, 255));
      r.sample_rate = static_cast<std::uint32_t>(std::clamp(audio_stream->sample_rate, 0, 1'000'000));
    }
    (void)out.send(r);
    if (auto done = open_or_wait(); !done)
      return done;
    for (auto& i : looked_at)
      if (auto written = write(i); !written)
        return written;
    looked_at.clear();
    return {};
  }

  tl::expected<void, failure> take(source_item& item) {
    switch (item.what) {
      case source_item::kind::streams:
        if (looking) {
          if (item.video_stream)
            video_stream = std::move(item.video_stream);
          if (item.audio_stream)
            audio_stream = std::move(item.audio_stream);
          fps_milli = item.fps_milli;
        } else if (item.reopened) {
          wait_for_key = true;
        } else if ((item.video_stream && video < 0) || (item.audio_stream && audio < 0)) {
          return tl::unexpected<failure>(failure{end_cause::encoder_error, 0, "the source has one stream more than at its start; sending begins anew"});
        }
        return {};
      case source_item::kind::jump:
        shift.reset();
        wait_for_key = true;
        return {};
      case source_item::kind::packet:
        if (!looking)
          return write(item);
        looked_at.push_back(std::move(item));
        return looked_enough() ? stop_looking() : tl::expected<void, failure>{};
      case source_item::kind::end: break;
    }
    return {};
  }

  end_report run() {
    auto end = [&](end_cause cause, int code, const std::string& text) { return end_report{cause, code, without_secrets(text, secrets).substr(0, 1900)}; };
    for (;;) {
      auto item = next_try ? in.next(*next_try) : std::optional(in.next());
      if (item && item->what == source_item::kind::end) {
        if (opened) {
          writing.arm(milliseconds(500));
          (void)av_write_trailer(target.get()); // whether the target hears the end changes nothing
        }
        return end(item->cause, item->code, item->text);
      }
      auto done = item ? take(*item) : tl::expected<void, failure>{};
      if (done && next_try && steady_clock::now() >= *next_try)
        done = open_or_wait();
      if (!done && stopped) // its call was cancelled
        return end(end_cause::requested, 0, "");
      if (!done)
        return end(done.error().cause, done.error().code, done.error().text);
    }
  }

  void stop() {
    stopped = true;
    if (!opened) // nothing was sent that could be ended in good order
      writing.cancel();
    in.stop();
  }
};

restream_pipeline::restream_pipeline(const configure& settings, child_channel& out, pulse& progress)
  : state_(std::make_unique<state>(settings, out, progress)) {}
restream_pipeline::~restream_pipeline() = default;
end_report restream_pipeline::run() { return state_->run(); }
void restream_pipeline::stop() { state_->stop(); }
void restream_pipeline::use(std::vector<std::string> inputs) { state_->in.use(std::move(inputs)); }

} // namespace weir::media
