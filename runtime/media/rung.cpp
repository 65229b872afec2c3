#include "runtime/media/rung.hpp"

#include <fmt/format.h>
extern "C" {
#include <libavcodec/avcodec.h>
#include <libavutil/opt.h>
#include <libswscale/swscale.h>
}

namespace weir::media {
namespace {

constexpr std::size_t most_pictures = 4;
constexpr std::size_t most_held_sound = 1024; ///< 20 s: the picture has stopped, the newest sound counts

/// Those that trick play can rely on, with times from the segment's first frame, which is one of them. A damaged source may count backwards.
std::vector<key_frame> within_segment(std::vector<key_frame> keys, ticks first_pts) {
  for (auto& k : keys)
    k.time -= first_pts;
  ticks newest = -1;
  std::erase_if(keys, [&](auto& k) { return k.time <= std::exchange(newest, std::max(newest, k.time)); });
  if (keys.empty() || keys.front().time != 0)
    return {};
  keys.resize(std::min(keys.size(), segment_keys_limit));
  return keys;
}

/// A rung is listed without VIDEO-RANGE, so players take it for SDR. HLG is made to be shown as that, and the function of BT.2020 is what it is called then. PQ is
/// not: under another name those would show it wrongly, too, that can convert it.
AVColorTransferCharacteristic listed_transfer(AVColorTransferCharacteristic of_source) {
  return of_source == AVCOL_TRC_ARIB_STD_B67 ? AVCOL_TRC_BT2020_10 : of_source;
}

expected<av<AVCodecContext>> open_x264(const rung_setup& setup) {
  auto* codec = avcodec_find_encoder_by_name("libx264");
  av<AVCodecContext> context(codec ? avcodec_alloc_context3(codec) : nullptr);
  if (!context)
    return fail(error_code::unsupported, "libav has no libx264");
  auto& plan = *setup.encoded;
  auto& e = *context;
  e.width = static_cast<int>(plan.width);
  e.height = static_cast<int>(plan.height);
  e.pix_fmt = AV_PIX_FMT_YUV420P;
  e.sample_aspect_ratio = {1, 1};
  e.time_base = {1, 90'000};
  e.framerate = {static_cast<int>(plan.fps_milli), 1000};
  e.bit_rate = plan.video.bits_per_second;
  e.rc_max_rate = e.bit_rate * rate_ceiling / 100;
  const auto buffer = rate_buffer(std::chrono::milliseconds{setup.cut.segment / 90});
  e.rc_buffer_size = static_cast<int>(std::min<std::int64_t>(e.bit_rate * buffer.count() / 1000, 1 << 30));
  e.gop_size = 600; // key frames come only where they are forced
  e.thread_count = 1;
  if (setup.part > 0)
    e.max_b_frames = 0;
  e.colorspace = setup.like->colorspace;
  e.color_primaries = setup.like->color_primaries;
  e.color_trc = listed_transfer(setup.like->color_trc);
  e.color_range = setup.like->format == AV_PIX_FMT_YUV420P ? setup.like->color_range : AVCOL_RANGE_MPEG;
  e.chroma_sample_location = setup.like->chroma_location;
  e.flags |= AV_CODEC_FLAG_GLOBAL_HEADER; // so that the parameter sets are known before the first picture …
  AVDictionary* settings = nullptr;
  av_dict_set(&settings, "preset", setup.preset.c_str(), 0);
  av_dict_set(&settings, "forced-idr", "1", 0);
  av_dict_set(&settings, "sc_threshold", "0", 0);
  if (setup.part > 0) { // a picture comes out before the next one goes in; not tune=zerolatency, which also counts on a steady rate
    av_dict_set(&settings, "rc-lookahead", "0", 0);
    av_dict_set(&settings, "mbtree", "0", 0);
  }
  if (setup.container == media_container::ts)
    av_dict_set(&settings, "x264-params", "repeat-headers=1", 0); // … and open each segment all the same; elsewhere the map has them
  auto code = avcodec_open2(&e, codec, &settings);
  av_dict_free(&settings);
  if (code < 0)
    return av_fail(fmt::format("x264 for {}×{}", plan.width, plan.height), code);
  return context;
}

} // namespace

expected<av<AVFrame>> scaler::operator()(const AVFrame& in) {
  if (in.width == width_ && in.height == height_ && in.format == AV_PIX_FMT_YUV420P)
    return same_frame(in);
  context_.reset(sws_getCachedContext(context_.release(), in.width, in.height, static_cast<AVPixelFormat>(in.format), width_, height_, AV_PIX_FMT_YUV420P,
                                      SWS_BICUBIC, nullptr, nullptr, nullptr));
  if (!context_)
    return fail(error_code::unsupported, fmt::format("no way from {}×{} pixels of format {} to {}×{}", in.width, in.height, in.format, width_, height_));
  auto out = new_frame();
  out->width = width_;
  out->height = height_;
  out->format = AV_PIX_FMT_YUV420P;
  if (auto code = av_frame_get_buffer(out.get(), 0); code < 0)
    return av_fail("picture", code);
  if (auto code = sws_scale(context_.get(), in.data, in.linesize, 0, in.height, out->data, out->linesize); code < 0)
    return av_fail("scaling", code);
  out->pts = in.pts;
  return out;
}

expected<std::unique_ptr<rung>> rung::open(const rung_setup& setup, pulse& progress, sink deliver, part_sink deliver_part) {
  std::unique_ptr<rung> r(new rung(progress, std::move(deliver), std::move(deliver_part)));
  r->cut_ = setup.cut;
  r->discontinuity_ = setup.discontinuity;
  const bool apart = setup.sound && !setup.sound_apart.empty();
  r->has_sound_ = setup.sound && !apart;
  r->info_.name = setup.name;
  carried streams{.container = setup.container, .part = setup.part};
  av<AVCodecParameters> made;
  const auto* picture = setup.copied;
  if (setup.encoded) {
    auto encoder = open_x264(setup);
    if (!encoder)
      return fail(encoder.error());
    r->encoder_ = std::move(*encoder);
    r->every_ = setup.encoded->every;
    r->info_.fps_milli = setup.encoded->fps_milli;
    streams.picture = setup.encoded->video;
    made.reset(avcodec_parameters_alloc());
    if (!made || avcodec_parameters_from_context(made.get(), r->encoder_.get()) < 0)
      return fail(error_code::media_failed, "no memory for an encoder");
    picture = made.get();
  } else if (setup.copied) {
    r->info_.fps_milli = setup.copied_fps_milli;
    streams.picture = setup.copied_rate;
  }
  if (picture) {
    r->has_picture_ = true;
    r->length_ = r->info_.fps_milli > 0 ? ticks_per_second * 1000 / r->info_.fps_milli : ticks_per_second / 25;
    r->info_.width = static_cast<std::uint32_t>(picture->width);
    r->info_.height = static_cast<std::uint32_t>(picture->height);
    r->info_.codecs = avc_name(picture->extradata, static_cast<std::size_t>(picture->extradata_size));
    if (r->info_.codecs.empty())
      return fail(error_code::media_failed, "a picture stream without parameter sets");
  }
  if (r->has_sound_) {
    r->info_.codecs += r->info_.codecs.empty() ? "mp4a.40.2" : ",mp4a.40.2";
    streams.sample_rate = setup.sound->sample_rate;
    streams.sound = setup.sound_rate;
  }
  streams.fps_milli = r->info_.fps_milli;
  r->info_.nominal = rate_of_segments(streams);
  auto writer = open_segment_writer(setup.container, picture, r->has_sound_ ? setup.sound : nullptr, r->length_, setup.part > 0);
  if (!writer)
    return fail(writer.error());
  r->writer_ = std::move(*writer);
  if (apart) {
    auto rendition = audio_rendition::open({setup.sound_apart, setup.sound, setup.sound_rate, setup.container, setup.longest_part, setup.discontinuity}, progress,
                                           r->deliver_, r->deliver_part_);
    if (!rendition)
      return fail(rendition.error());
    r->apart_ = std::move(*rendition);
  }
  r->part_.target = setup.part;
  r->part_.longest = setup.longest_part;
  r->part_.frame = r->length_;
  r->thread_ = std::thread([self = r.get()] { self->run(); });
  return r;
}

rung::~rung() { (void)finish(); }

std::size_t rung::waiting() const {
  std::lock_guard lock(mutex_);
  return pictures_;
}

void rung::push(item i) {
  std::unique_lock lock(mutex_);
  const bool picture = i.picture || i.copied;
  changed_.wait(lock, [&] { return !picture || pictures_ < most_pictures || failed_; });
  pictures_ += picture;
  queue_.push_back(std::move(i));
  changed_.notify_all();
}

void rung::encode(av<AVFrame> picture, bool key) {
  // Counted from the key frame, so that whatever is left out, key frames never are.
  since_key_ = key ? 0 : since_key_ + 1;
  if (since_key_ % every_ != 0)
    return;
  push({std::move(picture), nullptr, nullptr, key});
}

void rung::copy(av<AVPacket> picture) { push({nullptr, std::move(picture), nullptr, false}); }

void rung::sound(av<AVPacket> packet) {
  if (has_sound_ || apart_)
    push({nullptr, nullptr, std::move(packet), false});
}

expected<void> rung::finish() {
  {
    std::lock_guard lock(mutex_);
    finishing_ = true;
    changed_.notify_all();
  }
  if (thread_.joinable())
    thread_.join();
  return result_;
}

void rung::run() {
  for (;;) {
    item next;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return finishing_ || !queue_.empty(); });
      if (queue_.empty())
        break;
      next = std::move(queue_.front());
      queue_.pop_front();
      pictures_ -= next.picture || next.copied;
      changed_.notify_all();
    }
    // After a failure the queue is only emptied, so that nobody waits for this rung.
    if (failed_)
      continue;
    result_ = handle(std::move(next));
    if (!result_) {
      failed_ = true;
      std::lock_guard lock(mutex_);
      changed_.notify_all();
    }
  }
  if (!failed_)
    result_ = complete();
}

expected<void> rung::handle(item i) {
  if (i.sound && apart_)
    return apart_->take(std::move(i.sound));
  if (i.sound) {
    if (!has_picture_) {
      held_.push_back(std::move(i.sound));
      return write_sound_before(std::numeric_limits<ticks>::max());
    }
    held_.push_back(std::move(i.sound));
    if (held_.size() > most_held_sound)
      held_.pop_front();
    return {};
  }
  if (i.copied)
    return write_picture(*i.copied);
  auto& picture = *i.picture;
  if (last_encoded_ && picture.pts <= *last_encoded_)
    return {};
  if (last_encoded_)
    length_ = std::min<ticks>(picture.pts - *last_encoded_, ticks_per_second);
  last_encoded_ = picture.pts;
  picture.pict_type = i.key ? AV_PICTURE_TYPE_I : AV_PICTURE_TYPE_NONE; // the decoder's type would be forced upon x264
  if (auto code = avcodec_send_frame(encoder_.get(), &picture); code < 0)
    return av_fail("encoding", code);
  return receive();
}

expected<void> rung::receive() {
  for (auto packet = new_packet();; av_packet_unref(packet.get())) {
    auto code = avcodec_receive_packet(encoder_.get(), packet.get());
    if (code == AVERROR(EAGAIN) || code == AVERROR_EOF)
      return {};
    if (code < 0)
      return av_fail("encoding", code);
    WEIR_TRY(write_picture(*packet));
  }
}

expected<void> rung::write_picture(const AVPacket& packet) {
  if (last_picture_dts_ && packet.dts <= *last_picture_dts_)
    return {};
  const bool key = packet.flags & AV_PKT_FLAG_KEY;
  WEIR_TRY(end_part_before_newest(packet.dts));
  if (key)
    WEIR_TRY(begin_or_cut(packet.pts, packet.dts));
  if (!open_)
    return {};
  last_picture_dts_ = packet.dts;
  last_end_ = std::max(last_end_, packet.pts + length_);
  WEIR_TRY(write_sound_before(packet.dts));
  // As soon as is known that this one has no room: not only when its own end is.
  if (const auto begin = packet.dts + part_.reordering; begin > part_.begin && part_would_last(begin + part_.frame))
    WEIR_TRY(end_part(segment_writer::part_end::newest, begin, packet.dts));
  WEIR_TRY(writer_->write_video(packet));
  part_.has_key |= std::exchange(part_.newest_is_key, key);
  progress_.put_out(info_.name, packet.pts, static_cast<std::size_t>(packet.size), true);
  return {};
}

expected<void> rung::write_sound_before(ticks pts) {
  while (!held_.empty() && held_.front()->pts < pts) {
    auto packet = std::move(held_.front());
    held_.pop_front();
    if (last_sound_ && packet->pts <= *last_sound_)
      continue;
    if (!has_picture_)
      WEIR_TRY(begin_or_cut(packet->pts, std::nullopt));
    // Nothing begins before the first picture: a player would start with a frozen one.
    if (!open_ || (!last_sound_ && packet->pts + packet->duration < first_pts_))
      continue;
    last_sound_ = packet->pts;
    if (!has_picture_ && packet->pts > part_.begin && part_would_last(packet->pts + packet->duration))
      WEIR_TRY(end_part(segment_writer::part_end::newest, packet->pts, std::nullopt));
    if (!has_picture_)
      last_end_ = packet->pts + packet->duration;
    WEIR_TRY(writer_->write_audio(*packet));
    progress_.put_out(info_.name, packet->pts, static_cast<std::size_t>(packet->size), false);
  }
  return {};
}

expected<void> rung::begin_or_cut(ticks pts, std::optional<ticks> dts) {
  const auto slot = cut_.slot(pts);
  if (slot < 0 || (open_ && slot <= slot_))
    return {};
  if (open_) {
    if (has_picture_)
      WEIR_TRY(write_sound_before(pts));
    // Across a hole of whole slots the segment ends with its last frame: what lies between is a gap.
    WEIR_TRY(slot == slot_ + 1 ? end_segment(pts, dts) : end_segment(std::min(pts, last_end_), std::nullopt));
  }
  open_ = true;
  slot_ = slot;
  first_pts_ = pts;
  last_end_ = pts;
  part_.number = 0;
  part_.begin = pts;
  part_.reordering = pts - dts.value_or(pts);
  return apart_ ? apart_->begin_segment(slot_, pts) : expected<void>{};
}

// A picture lasts until the next one comes. Where that is later than expected, and too late for the part, the next part begins with the picture.
expected<void> rung::end_part_before_newest(ticks dts) {
  const auto newest = last_picture_dts_.value_or(dts) + part_.reordering;
  if (!part_would_last(dts + part_.reordering) || newest <= part_.begin)
    return {};
  return end_part(segment_writer::part_end::before_newest, newest, std::nullopt);
}

expected<void> rung::end_part(segment_writer::part_end where, ticks end, std::optional<ticks> next_picture, bool last) {
  auto file = writer_->cut_part(where, next_picture);
  if (!file)
    return fail(file.error());
  const bool newest_too = where == segment_writer::part_end::newest;
  part_info part;
  part.rung = info_.name;
  part.slot = static_cast<std::uint64_t>(slot_);
  part.part = part_.number++;
  part.first_pts = part_.begin;
  // A picture that alone lasts too long cannot be split: what it lasts beyond is a hole of the source. Nor does the rounding of a source that counts milliseconds count.
  part.duration = std::clamp<ticks>(end - part_.begin, 1, part_.longest);
  part.independent = !has_picture_ || part_.has_key || (newest_too && part_.newest_is_key);
  part.last = last;
  part.discontinuity = discontinuity_;
  part_.begin = end;
  part_.has_key = false;
  part_.newest_is_key = part_.newest_is_key && !newest_too;
  deliver_part_(std::move(part), first_pts_, std::move(*file));
  return apart_ ? apart_->end_part(end, last) : expected<void>{};
}

expected<void> rung::end_segment(ticks end, std::optional<ticks> next_picture) {
  if (part_.target > 0)
    WEIR_TRY(end_part(segment_writer::part_end::newest, end, next_picture, true));
  auto written = writer_->cut(next_picture);
  if (!written)
    return fail(written.error());
  segment_info segment;
  segment.rung = info_.name;
  segment.slot = static_cast<std::uint64_t>(slot_);
  segment.first_pts = first_pts_;
  segment.duration = std::max<ticks>(1, end - first_pts_);
  segment.discontinuity = std::exchange(discontinuity_, false);
  segment.keys = within_segment(std::move(written->keys), first_pts_);
  deliver_(std::move(segment), std::move(written->file));
  return apart_ ? apart_->end_segment(end) : expected<void>{};
}

expected<void> rung::complete() {
  if (encoder_) {
    if (auto code = avcodec_send_frame(encoder_.get(), nullptr); code < 0)
      return av_fail("encoding", code);
    WEIR_TRY(receive());
  }
  if (!open_)
    return {};
  WEIR_TRY(write_sound_before(last_end_));
  WEIR_TRY(end_segment(last_end_, std::nullopt));
  return apart_ ? apart_->finish() : expected<void>{};
}

} // namespace weir::media
