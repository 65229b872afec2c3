#include "runtime/media/synthetic.hpp"

#include "runtime/base/log.hpp"
#include "runtime/media/av.hpp"
#include "runtime/media/libav_log.hpp"
#include "runtime/media/restream_pipeline.hpp"

#include <filesystem>
#include <fmt/format.h>
#include <thread>
extern "C" {
#include <libavcodec/avcodec.h>
#include <libavfilter/avfilter.h>
#include <libavfilter/buffersink.h>
#include <libavformat/avformat.h>
}

namespace weir::media {
namespace {

constexpr milliseconds write_deadline{5'000};
constexpr const char* font = "/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf";

struct free_graph {
  void operator()(AVFilterGraph* p) const { avfilter_graph_free(&p); }
};
struct close_output {
  void operator()(AVFormatContext* p) const {
    avio_closep(&p->pb);
    avformat_free_context(p);
  }
};

/// A picture or a sound: where it comes from and what encodes it.
struct track {
  std::unique_ptr<AVFilterGraph, free_graph> graph;
  AVFilterContext* sink = nullptr;
  av<AVCodecContext> encoder;
  av<AVFrame> next = new_frame();
  int stream = -1;

  /// Runs `description`, a filter graph without input.
  expected<void> open_graph(const std::string& description, const char* sink_name) {
    graph.reset(avfilter_graph_alloc());
    auto* end = avfilter_get_by_name(sink_name);
    if (!graph || !end)
      return fail(error_code::unsupported, fmt::format("libav has no filter {}", sink_name));
    graph->nb_threads = 1;
    AVFilterInOut *inputs = nullptr, *outputs = nullptr;
    auto code = avfilter_graph_parse2(graph.get(), description.c_str(), &inputs, &outputs);
    if (code >= 0)
      code = avfilter_graph_create_filter(&sink, end, "out", nullptr, nullptr, graph.get());
    if (code >= 0)
      code = outputs ? avfilter_link(outputs->filter_ctx, static_cast<unsigned>(outputs->pad_idx), sink, 0) : AVERROR(EINVAL);
    avfilter_inout_free(&inputs);
    avfilter_inout_free(&outputs);
    if (code >= 0)
      code = avfilter_graph_config(graph.get(), nullptr);
    if (code < 0)
      return av_fail(fmt::format("test signal {:?}", description), code);
    return {};
  }

  expected<void> open_encoder(const char* name, AVDictionary* settings) {
    auto code = avcodec_open2(encoder.get(), nullptr, &settings);
    av_dict_free(&settings);
    if (code < 0)
      return av_fail(name, code);
    return {};
  }

  expected<void> advance() {
    av_frame_unref(next.get());
    if (auto code = av_buffersink_get_frame(sink, next.get()); code < 0)
      return av_fail("test signal", code);
    return {};
  }
  /// When the next frame is due, in microseconds from the start.
  std::int64_t due() const { return av_rescale_q(next->pts, av_buffersink_get_time_base(sink), {1, 1'000'000}); }
};

class sender {
public:
  sender(const std::string& url, const synthetic_options& options, bool paced) : url_(url), options_(options), paced_(paced) {}

  expected<void> run(const std::atomic<bool>* stop) {
    if (options_.width < 32 || options_.height < 32 || options_.fps < 1 || options_.fps > 120 || options_.gop < 1 || options_.width % 2 || options_.height % 2)
      return fail(error_code::invalid_input, fmt::format("a test picture of {}×{} at {} fps", options_.width, options_.height, options_.fps));
    WEIR_TRY(open_picture());
    WEIR_TRY(open_tone());
    WEIR_TRY(open_output());
    const auto started = steady_clock::now();
    const auto end = std::int64_t{options_.seconds} * 1'000'000;
    WEIR_TRY(picture_.advance());
    WEIR_TRY(tone_.advance());
    while (!stop || !*stop) {
      auto& first = picture_.due() <= tone_.due() ? picture_ : tone_;
      const auto due = first.due();
      if (end > 0 && due >= end)
        break;
      if (paced_)
        std::this_thread::sleep_until(started + std::chrono::microseconds(due)); // the pace is what is made here
      WEIR_TRY(encode(first, first.next.get()));
      WEIR_TRY(first.advance());
    }
    WEIR_TRY(encode(picture_, nullptr));
    WEIR_TRY(encode(tone_, nullptr));
    writing_.arm(write_deadline);
    if (auto code = av_write_trailer(output_.get()); code < 0)
      return lost("ending", code);
    return {};
  }

private:
  expected<void> open_picture() {
    auto description = fmt::format("testsrc2=size={}x{}:rate={}", options_.width, options_.height, options_.fps);
    if (std::filesystem::exists(font))
      description += fmt::format(",drawtext=fontfile={}:text='%{{localtime}}':fontsize={}:fontcolor=white:box=1:boxcolor=black@0.6:boxborderw=6:x=(w-tw)/2:y=h-2*th",
                                 font, std::max(12u, options_.height / 14));
    description += ",format=yuv420p";
    WEIR_TRY(picture_.open_graph(description, "buffersink"));
    auto* codec = avcodec_find_encoder_by_name("libx264");
    picture_.encoder.reset(codec ? avcodec_alloc_context3(codec) : nullptr);
    if (!picture_.encoder)
      return fail(error_code::unsupported, "libav has no libx264");
    auto& e = *picture_.encoder;
    e.width = static_cast<int>(options_.width);
    e.height = static_cast<int>(options_.height);
    e.pix_fmt = AV_PIX_FMT_YUV420P;
    e.time_base = av_buffersink_get_time_base(picture_.sink);
    e.framerate = {static_cast<int>(options_.fps), 1};
    e.bit_rate = e.rc_max_rate = options_.video.bits_per_second;
    e.rc_buffer_size = static_cast<int>(std::min<std::int64_t>(e.bit_rate, 1 << 30));
    e.gop_size = static_cast<int>(options_.gop);
    e.keyint_min = e.gop_size;
    e.thread_count = 1;
    e.flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    AVDictionary* settings = nullptr;
    av_dict_set(&settings, "preset", "veryfast", 0);
    av_dict_set(&settings, "tune", "zerolatency", 0);
    av_dict_set(&settings, "sc_threshold", "0", 0);
    return picture_.open_encoder("libx264", settings);
  }

  expected<void> open_tone() {
    auto* codec = avcodec_find_encoder(AV_CODEC_ID_AAC);
    tone_.encoder.reset(codec ? avcodec_alloc_context3(codec) : nullptr);
    if (!tone_.encoder)
      return fail(error_code::unsupported, "libav has no AAC encoder");
    auto& e = *tone_.encoder;
    e.sample_rate = 48'000;
    e.sample_fmt = AV_SAMPLE_FMT_FLTP;
    av_channel_layout_default(&e.ch_layout, 2);
    e.bit_rate = 128'000;
    e.time_base = {1, e.sample_rate};
    e.flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    WEIR_TRY(tone_.open_encoder("aac", nullptr));
    WEIR_TRY(tone_.open_graph("sine=frequency=440:beep_factor=4:sample_rate=48000,volume=0.2,aformat=sample_fmts=fltp:channel_layouts=stereo", "abuffersink"));
    av_buffersink_set_frame_size(tone_.sink, static_cast<unsigned>(e.frame_size));
    return {};
  }

  expected<void> open_output() {
    AVFormatContext* context = nullptr;
    if (auto code = avformat_alloc_output_context2(&context, nullptr, "flv", url_.c_str()); code < 0)
      return av_fail("FLV muxer", code);
    output_.reset(context);
    context->interrupt_callback = {call_deadline::interrupt, &writing_};
    context->flags |= AVFMT_FLAG_FLUSH_PACKETS;
    for (auto* t : {&picture_, &tone_}) {
      auto* stream = avformat_new_stream(context, nullptr);
      if (!stream || avcodec_parameters_from_context(stream->codecpar, t->encoder.get()) < 0)
        return fail(error_code::media_failed, "no memory for a stream");
      stream->time_base = t->encoder->time_base;
      t->stream = stream->index;
    }
    AVDictionary* settings = nullptr;
    if (paced_)
      av_dict_set_int(&settings, "rw_timeout", std::chrono::microseconds(write_deadline).count(), 0);
    writing_.arm(write_deadline);
    auto code = avio_open2(&context->pb, url_.c_str(), AVIO_FLAG_WRITE, &context->interrupt_callback, &settings);
    av_dict_free(&settings);
    if (code < 0)
      return lost("opening", code);
    AVDictionary* muxer = nullptr;
    av_dict_set(&muxer, "flvflags", "no_duration_filesize", 0);
    code = avformat_write_header(context, &muxer);
    av_dict_free(&muxer);
    if (code < 0)
      return lost("opening", code);
    return {};
  }

  tl::unexpected<error> lost(std::string_view doing, int code) const {
    const bool refused = doing == "opening" && cause_of_refusal(code, {}) == end_cause::target_refused;
    return fail(refused ? error_code::target_refused : error_code::unavailable, fmt::format("{} {}: {}", doing, log::mask_target(url_), av_text(code)));
  }

  expected<void> encode(track& t, AVFrame* frame) {
    if (frame) {
      frame->pts = av_rescale_q(frame->pts, av_buffersink_get_time_base(t.sink), t.encoder->time_base);
      frame->pict_type = AV_PICTURE_TYPE_NONE;
    }
    if (auto code = avcodec_send_frame(t.encoder.get(), frame); code < 0)
      return av_fail("encoding", code);
    for (auto packet = new_packet();; av_packet_unref(packet.get())) {
      auto code = avcodec_receive_packet(t.encoder.get(), packet.get());
      if (code == AVERROR(EAGAIN) || code == AVERROR_EOF)
        return {};
      if (code < 0)
        return av_fail("encoding", code);
      packet->stream_index = t.stream;
      av_packet_rescale_ts(packet.get(), t.encoder->time_base, output_->streams[t.stream]->time_base);
      writing_.arm(write_deadline);
      if (code = av_interleaved_write_frame(output_.get(), packet.get()); code < 0)
        return lost("sending to", code);
    }
  }

  const std::string url_;
  const synthetic_options options_;
  const bool paced_;
  track picture_, tone_;
  call_deadline writing_; // before the output, which asks it until it is closed
  std::unique_ptr<AVFormatContext, close_output> output_;
};

} // namespace

expected<void> run_synthetic_sender(const std::string& rtmp_url, const synthetic_options& options, const std::atomic<bool>& stop) {
  return sender(rtmp_url, options, true).run(&stop);
}

expected<void> make_synthetic_clip(const std::string& path, const synthetic_options& options) {
  if (options.seconds == 0)
    return fail(error_code::invalid_input, "a clip without end");
  return sender(path, options, false).run(nullptr);
}

} // namespace weir::media
