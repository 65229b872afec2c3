#include "runtime/media/child_protocol.hpp"

#include "runtime/media/channel.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

namespace weir::media {
namespace {

configure full_configuration() {
  configure c;
  c.kind = pipeline_kind::restream;
  c.input_url = "rtmp://127.0.0.1/live/a?key=secret";
  c.realtime = false;
  c.grid_offset = 12'345;
  c.ladder.rungs = {{"720p", 720, bit_rate{3'000'000}, 60}, {"360p", 360, bit_rate{700'000}, 30}};
  c.target_url = "rtmps://example.org/app/key";
  c.format = target_format::mpegts;
  c.leave_out_rungs = true;
  c.part = std::chrono::milliseconds(333);
  c.audio = audio_packing::separate;
  return c;
}

TEST(ChildProtocol, CarriesEveryRecordThereAndBack) {
  segment_info s;
  s.rung = "720p";
  s.slot = 1'234'567;
  s.first_pts = 1LL << 40;
  s.duration = 540'000;
  s.discontinuity = true;
  s.captured = timestamp{std::chrono::microseconds{1'795'000'000'123'456}};
  s.bytes = 4711;
  part_info p{"720p", 1'234'567, 3, 1LL << 40, 90'000, true, true, true, s.captured, 815};
  heartbeat h;
  h.outputs = {{"720p", 90'000, 5'000}};
  h.speed_milli = 1'001;
  const record all[] = {full_configuration(),
                        stop_order{"drain"},
                        ready{7, "59"},
                        input_report{"h264", 1920, 1080, 29'970, "aac", 2, 48'000},
                        rungs_report{{{"720p", 1280, 720, 30'000, "avc1.64001f", bit_rate{3'000'000}},
                                       {.name = "audio", .codecs = "mp4a.40.2", .nominal = bit_rate{128'000}, .rendition = true}}, 90'000, true, {"AAAA"}, std::chrono::milliseconds(320)},
                        segment_report{s, {{0, 564, 1000}, {180'000, 200'000, 900}}},
                        part_report{p},
                        h,
                        trouble{end_cause::source_stalled, "silent"},
                        end_report{end_cause::target_refused, -541478725, "no"}};
  for (auto& r : all) {
    auto text = encode(r);
    ASSERT_TRUE(text) << text.error().text;
    auto back = decode(*text);
    ASSERT_TRUE(back) << *text << ": " << back.error().text;
    EXPECT_EQ(back->index(), r.index());
    EXPECT_EQ(encode(*back).value(), *text);
  }
  auto back = std::get<configure>(decode(encode(full_configuration()).value()).value());
  EXPECT_EQ(back.ladder.rungs[1].name, "360p");
  EXPECT_EQ(back.ladder.rungs[1].video.bits_per_second, 700'000);
  EXPECT_EQ(back.write_deadline, std::chrono::milliseconds(5'000));
  EXPECT_TRUE(back.leave_out_rungs);
  EXPECT_EQ(back.part, std::chrono::milliseconds(333));
  const std::vector<key_frame> keys{{0, 564, 1000}, {180'000, 200'000, 900}};
  EXPECT_EQ(std::get<segment_report>(decode(encode(segment_report{s, keys}).value()).value()).keys, keys);
  const auto many = std::vector<key_frame>(segment_keys_limit, {std::int64_t{1} << 40, std::uint64_t{1} << 31, std::uint64_t{1} << 31});
  EXPECT_TRUE(encode(segment_report{s, many}));
  auto more = many;
  more.push_back(many.front());
  EXPECT_FALSE(encode(segment_report{s, more})) << "more than a segment may have";
  auto segment = std::get<segment_report>(decode(encode(segment_report{s}).value()).value()).segment;
  EXPECT_EQ(segment.captured, s.captured);
  EXPECT_EQ(segment.first_pts, s.first_pts);
  auto part = std::get<part_report>(decode(encode(part_report{p}).value()).value()).part;
  EXPECT_EQ(part.part, 3U);
  EXPECT_TRUE(part.independent && part.last && part.discontinuity);
  EXPECT_EQ(part.captured, s.captured);
}

TEST(ChildProtocol, RefusesWhatIsNoRecord) {
  for (auto text : {"", "{", "[]", "null", "17", "\"stop\"", "{}", R"({"stop":{}})", R"({"stop":null})", R"({"stop":{"reason":1}})", R"({"nonsense":{}})",
                    R"({"stop":{"reason":"a"},"ready":{}})", R"({"stop":{"reason":"a","more":1}})", R"({"stop":{"reason":"a","reason":"b"}})",
                    R"({"ready":{"pid":0,"libav":""}})", R"({"ready":{"pid":1.5,"libav":""}})", R"({"ready":{"pid":18446744073709551615,"libav":""}})",
                    R"({"ready":{"pid":-1,"libav":""}})", R"({"end":{"cause":"made up","libav_code":0,"text":""}})",
                    R"({"end":{"cause":"none","libav_code":99999999999,"text":""}})", R"({"rungs":{"rungs":[],"grid_offset":0,"passed_through":false}})",
                    R"({"rungs":{"rungs":{},"grid_offset":0,"passed_through":false}})", R"({"rungs":{"rungs":[1],"grid_offset":0,"passed_through":false}})",
                    R"({"stop":{"reason":"a"}} {})", "{\"stop\":{\"reason\":\"\xff\"}}"}) {
    auto r = decode(text);
    ASSERT_FALSE(r) << text;
    EXPECT_EQ(r.error().code, error_code::invalid_input) << text;
  }
}

TEST(ChildProtocol, RefusesWhatIsTooLongOrTooDeep) {
  auto long_one = decode(R"({"stop":{"reason":")" + std::string(record_limit, 'a') + "\"}}");
  ASSERT_FALSE(long_one);
  EXPECT_EQ(long_one.error().code, error_code::too_large);
  std::string deep;
  for (int i = 0; i < 10'000; ++i)
    deep += R"({"a":)";
  EXPECT_FALSE(decode(deep));
  EXPECT_FALSE(encode(stop_order{std::string(2'000, 'a')})); // over its own bound
  auto parts = full_configuration();
  parts.part = std::chrono::milliseconds(2'001);
  EXPECT_FALSE(encode(parts));
}

TEST(ChildProtocol, RepairsTextThatIsNotUtf8) {
  auto text = encode(trouble{end_cause::none, "bad \xff byte"});
  ASSERT_TRUE(text);
  EXPECT_EQ(std::get<trouble>(decode(*text).value()).text, "bad \xEF\xBF\xBD byte");
}

struct ends {
  parent_channel parent;
  child_channel child;
};
ends connect() {
  auto pair = make_channel().value();
  return {std::move(pair.parent), child_channel{std::move(pair.child)}};
}

TEST(Channel, HandsSealedMediaOver) {
  auto [parent, child] = connect();
  auto file = memory_file::create().value();
  ASSERT_TRUE(file.append("segment", 7));
  segment_info s;
  s.rung = "a";
  s.bytes = file.size();
  s.keys = {{0, 0, 7}};
  auto sealed = std::move(file).seal();
  ASSERT_TRUE(sealed);
  ASSERT_TRUE(child.send(s, *sealed));
  auto got = parent.receive(seconds(5));
  ASSERT_TRUE(got) << got.error().text;
  EXPECT_EQ(read_sealed(got->media.get(), 7).value(), "segment");
  EXPECT_EQ(std::get<segment_report>(got->what).keys, s.keys);
  EXPECT_LT(::write(got->media.get(), "x", 1), 0) << "a sealed file was changed";
}

TEST(Channel, RefusesMediaThatIsNotSealedOrOfAnotherSize) {
  auto [parent, child] = connect();
  segment_info s;
  s.rung = "a";
  s.bytes = 3;
  owned_fd open_file{::memfd_create("t", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
  ASSERT_EQ(::write(open_file.get(), "abc", 3), 3);
  ASSERT_TRUE(child.send(s, open_file));
  EXPECT_EQ(parent.receive(seconds(5)).error().code, error_code::invalid_input);

  auto file = memory_file::create().value();
  ASSERT_TRUE(file.append("four", 4));
  auto sealed = std::move(file).seal().value();
  ASSERT_TRUE(child.send(s, sealed));
  EXPECT_EQ(parent.receive(seconds(5)).error().code, error_code::invalid_input);
  // The channel still works.
  ASSERT_TRUE(child.send(ready{1, ""}));
  EXPECT_TRUE(parent.receive(seconds(5)));
}

TEST(Channel, HandsPartsOverAsItDoesSegments) {
  auto [parent, child] = connect();
  auto file = memory_file::create().value();
  ASSERT_TRUE(file.append("part", 4));
  auto sealed = std::move(file).seal().value();
  part_info p;
  p.rung = "a";
  p.bytes = 4;
  ASSERT_TRUE(child.send(p, sealed));
  auto got = parent.receive(seconds(5));
  ASSERT_TRUE(got) << got.error().text;
  ASSERT_TRUE(std::holds_alternative<part_report>(got->what));
  EXPECT_EQ(read_sealed(got->media.get(), 4).value(), "part");
  p.bytes = 5;
  ASSERT_TRUE(child.send(p, sealed));
  EXPECT_EQ(parent.receive(seconds(5)).error().code, error_code::invalid_input);
  ASSERT_TRUE(child.send(record{part_report{p}}));
  EXPECT_EQ(parent.receive(seconds(5)).error().code, error_code::invalid_input) << "without its file";
}

TEST(Channel, RefusesASegmentWithoutItsFile) {
  auto [parent, child] = connect();
  segment_info s;
  s.rung = "a";
  ASSERT_TRUE(child.send(record{segment_report{s}}));
  EXPECT_EQ(parent.receive(seconds(5)).error().code, error_code::invalid_input);
}

TEST(Channel, TellsSilenceFromAnEnd) {
  auto [parent, child] = connect();
  EXPECT_EQ(parent.receive(milliseconds(20)).error().code, error_code::timeout);
  { child_channel gone = std::move(child); }
  EXPECT_EQ(parent.receive(seconds(5)).error().code, error_code::unavailable);
  EXPECT_EQ(parent.send(stop_order{}).error().code, error_code::unavailable);
}

TEST(Channel, RefusesAMessageThatIsTooLong) {
  int raw[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, raw), 0);
  parent_channel parent{owned_fd{raw[0]}};
  owned_fd other{raw[1]};
  std::string text(record_limit + 100, 'a');
  ASSERT_EQ(::send(other.get(), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
  EXPECT_EQ(parent.receive(seconds(5)).error().code, error_code::too_large);
}

} // namespace
} // namespace weir::media
