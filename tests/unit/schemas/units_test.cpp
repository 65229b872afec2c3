#include "schemas/units.hpp"

#include <gtest/gtest.h>

using namespace weir;
using namespace std::chrono_literals;

TEST(BitRate, IsReadExactly) {
  EXPECT_EQ(parse_bit_rate("2.5M")->bits_per_second, 2'500'000);
  EXPECT_EQ(parse_bit_rate("800k")->bits_per_second, 800'000);
  EXPECT_EQ(parse_bit_rate("1G")->bits_per_second, 1'000'000'000);
  EXPECT_EQ(parse_bit_rate("1234567")->bits_per_second, 1'234'567);
  EXPECT_EQ(parse_bit_rate("0.001k")->bits_per_second, 1);
  EXPECT_EQ(parse_bit_rate("2.50M")->bits_per_second, 2'500'000);
}

TEST(BitRate, IsRefusedWhenItIsNone) {
  for (auto text : {"", "M", ".5M", "1.M", "1..5M", "-1k", "+1k", "1 M", "1m", "1e6", "0x10", "1,5M", "0.0001k", "99999999999G", "9223372036854775808"}) {
    auto r = parse_bit_rate(text);
    ASSERT_FALSE(r) << text;
    EXPECT_EQ(r.error().code, error_code::invalid_input);
  }
}

TEST(ByteSize, KnowsBothKindsOfPrefix) {
  EXPECT_EQ(parse_byte_size("512MiB")->bytes, 512LL << 20);
  EXPECT_EQ(parse_byte_size("10GB")->bytes, 10'000'000'000);
  EXPECT_EQ(parse_byte_size("1.5KiB")->bytes, 1536);
  EXPECT_EQ(parse_byte_size("7")->bytes, 7);
  EXPECT_EQ(parse_byte_size("7B")->bytes, 7);
  EXPECT_FALSE(parse_byte_size("7K"));
  EXPECT_FALSE(parse_byte_size("9999999999GiB"));
}

TEST(Duration, NeedsItsUnit) {
  EXPECT_EQ(*parse_duration("250ms"), 250ms);
  EXPECT_EQ(*parse_duration("1.5s"), 1500ms);
  EXPECT_EQ(*parse_duration("10m"), 10min);
  EXPECT_EQ(*parse_duration("1h"), 1h);
  EXPECT_EQ(*parse_duration("7d"), 168h);
  EXPECT_FALSE(parse_duration("5"));
  EXPECT_FALSE(parse_duration("1.5ms")) << "finer than a millisecond";
  EXPECT_FALSE(parse_duration("-1s"));
}

TEST(Quantities, PrintInTheirShortestExactForm) {
  EXPECT_EQ(to_string(bit_rate{2'500'000}), "2.5M");
  EXPECT_EQ(to_string(bit_rate{1'234'567}), "1234567");
  EXPECT_EQ(to_string(bit_rate{0}), "0");
  EXPECT_EQ(to_string(byte_size{512LL << 20}), "512MiB");
  EXPECT_EQ(to_string(byte_size{10'000'000'000}), "10GB");
  EXPECT_EQ(to_string(1500ms), "1500ms");
  EXPECT_EQ(to_string(std::chrono::milliseconds(90min)), "90m");
  EXPECT_EQ(to_string(0ms), "0s");
}

TEST(Quantities, ReadBackWhatTheyPrint) {
  std::uint64_t random = 7;
  for (int i = 0; i < 20'000; ++i) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    auto value = static_cast<std::int64_t>(random >> 20) >> (random % 40);
    if (i % 3 == 0)
      value *= 1000;
    EXPECT_EQ(parse_bit_rate(to_string(bit_rate{value}))->bits_per_second, value);
    EXPECT_EQ(parse_byte_size(to_string(byte_size{value}))->bytes, value);
    EXPECT_EQ(parse_duration(to_string(std::chrono::milliseconds(value)))->count(), value);
  }
}

TEST(Timestamp, ReadsBackWhatItPrints) {
  auto t = parse_rfc3339("2026-11-22T10:00:00.123Z");
  ASSERT_TRUE(t);
  EXPECT_EQ(to_rfc3339(*t), "2026-11-22T10:00:00.123Z");
  EXPECT_EQ(to_rfc3339(*parse_rfc3339("2024-02-29T23:59:59Z")), "2024-02-29T23:59:59.000Z");
  EXPECT_EQ(to_rfc3339(timestamp{}), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(to_rfc3339(*parse_rfc3339("1969-12-31T23:59:59.999Z")), "1969-12-31T23:59:59.999Z");
}

TEST(Timestamp, UnderstandsZones) {
  EXPECT_EQ(*parse_rfc3339("2026-11-22T12:30:00+02:30"), *parse_rfc3339("2026-11-22T10:00:00Z"));
  EXPECT_EQ(*parse_rfc3339("2026-11-22t05:00:00-05:00"), *parse_rfc3339("2026-11-22T10:00:00z"));
}

TEST(Timestamp, IsRefusedWhenItIsNone) {
  for (auto text : {"", "2026-11-22", "2026-11-22 10:00:00Z", "2026-11-22T10:00:00", "2026-02-30T10:00:00Z", "2026-13-01T10:00:00Z", "2026-11-22T24:00:00Z",
                    "2026-11-22T10:60:00Z", "2026-11-22T10:00:00.5", "2026-11-22T10:00:00+2:00", "2026-11-22T10:00:00Zjunk", "2026-11-22T10:00:00.Z",
                    "-026-11-22T10:00:00Z", "2026-11-22T1 :00:00Z"})
    EXPECT_FALSE(parse_rfc3339(text)) << text;
}
