#include "runtime/media/audio_rendition.hpp"

#include <algorithm>
extern "C" {
#include <libavcodec/avcodec.h>
}

namespace weir::media {
namespace {

constexpr std::size_t most_held = 4096; ///< 87 s: the picture has stopped, the newest sound counts

} // namespace

expected<std::unique_ptr<audio_rendition>> audio_rendition::open(const rendition_setup& setup, pulse& progress, sink deliver, part_sink deliver_part) {
  std::unique_ptr<audio_rendition> r(new audio_rendition(progress, std::move(deliver), std::move(deliver_part)));
  auto writer = open_segment_writer(setup.container, nullptr, setup.sound, 0, setup.longest_part > 0);
  if (!writer)
    return fail(writer.error());
  r->writer_ = std::move(*writer);
  r->info_.name = setup.name;
  r->info_.codecs = "mp4a.40.2";
  r->info_.nominal =
    rate_of_segments({.container = setup.container, .sample_rate = setup.sound->sample_rate, .sound = setup.rate, .part = setup.longest_part});
  r->info_.rendition = true;
  r->longest_part_ = setup.longest_part;
  r->discontinuity_ = setup.discontinuity;
  return r;
}

expected<void> audio_rendition::take(av<AVPacket> packet) {
  progress_.put_out(info_.name, packet->pts, static_cast<std::size_t>(packet->size), false);
  come_to_ = std::max(come_to_.value_or(packet->pts), packet->pts + packet->duration);
  held_.push_back(std::move(packet));
  if (held_.size() > most_held)
    held_.pop_front();
  return go_on();
}

expected<void> audio_rendition::begin_segment(std::int64_t slot, ticks from) { return follow({step::kind::begin, from, slot}); }
expected<void> audio_rendition::end_part(ticks at, bool last) { return follow({last ? step::kind::last_part : step::kind::part, at, 0}); }
expected<void> audio_rendition::end_segment(ticks at) { return follow({step::kind::segment, at, 0}); }

expected<void> audio_rendition::finish() {
  finished_ = true;
  return go_on();
}

expected<void> audio_rendition::follow(step s) {
  steps_.push_back(s);
  return go_on();
}

expected<void> audio_rendition::go_on() {
  for (; !steps_.empty(); steps_.pop_front()) {
    const auto& next = steps_.front();
    if (next.what == step::kind::begin) {
      slot_ = next.slot;
      from_ = next.at;
      part_number_ = 0;
      first_.reset();
      part_first_.reset();
      continue;
    }
    if (!finished_ && (!come_to_ || *come_to_ < next.at - grid::tolerance))
      return {};
    WEIR_TRY(write_before(next.at));
    WEIR_TRY(next.what == step::kind::segment ? cut_segment() : cut_part(next.what == step::kind::last_part));
  }
  return {};
}

expected<void> audio_rendition::write_before(ticks at) {
  while (!held_.empty() && held_.front()->pts < at - grid::tolerance) {
    auto packet = std::move(held_.front());
    held_.pop_front();
    // Nothing begins before the first picture, nor lies in a hole between segments.
    if ((last_ && packet->pts <= *last_) || packet->pts < from_ - grid::tolerance)
      continue;
    last_ = packet->pts;
    first_ = first_.value_or(packet->pts);
    part_first_ = part_first_.value_or(packet->pts);
    end_ = packet->pts + packet->duration;
    WEIR_TRY(writer_->write_audio(*packet));
  }
  return {};
}

// A part of a picture or so may have no sound that begins within it: then there is none.
expected<void> audio_rendition::cut_part(bool last) {
  if (longest_part_ == 0 || !part_first_)
    return {};
  auto file = writer_->cut_part(segment_writer::part_end::newest, std::nullopt);
  if (!file)
    return fail(file.error());
  part_info part;
  part.rung = info_.name;
  part.slot = static_cast<std::uint64_t>(slot_);
  part.part = part_number_++;
  part.first_pts = *part_first_;
  part.duration = std::clamp<ticks>(end_ - *part_first_, 1, longest_part_);
  part.independent = true;
  part.last = last;
  part.discontinuity = discontinuity_;
  part_first_.reset();
  deliver_part_(std::move(part), *first_, std::move(*file));
  return {};
}

expected<void> audio_rendition::cut_segment() {
  if (!first_)
    return {};
  auto written = writer_->cut(std::nullopt);
  if (!written)
    return fail(written.error());
  segment_info segment;
  segment.rung = info_.name;
  segment.slot = static_cast<std::uint64_t>(slot_);
  segment.first_pts = *first_;
  segment.duration = std::max<ticks>(1, end_ - *first_);
  segment.discontinuity = std::exchange(discontinuity_, false);
  first_.reset();
  deliver_(std::move(segment), std::move(written->file));
  return {};
}

} // namespace weir::media
