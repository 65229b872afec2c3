#include "runtime/media/source.hpp"

#include <gtest/gtest.h>

namespace weir::media {
namespace {

constexpr ticks frame = 3600; // 25 a second

TEST(CopyMatcher, NeedsThreePicturesInARow) {
  copy_matcher m;
  for (std::uint64_t i = 0; i < 3; ++i) {
    m.saw(true, 100 + i, ticks(i) * frame);
    EXPECT_FALSE(m.offset());
    m.saw(false, 100 + i, ticks(i) * frame - 12'345);
  }
  ASSERT_TRUE(m.offset());
  EXPECT_EQ(*m.offset(), 12'345);
}

TEST(CopyMatcher, TakesWhicheverCopyComesFirst) {
  copy_matcher m;
  for (std::uint64_t i = 0; i < 10; ++i)
    m.saw(false, 100 + i, ticks(i) * frame);
  EXPECT_FALSE(m.offset());
  for (std::uint64_t i = 0; i < 3; ++i)
    m.saw(true, 100 + i, ticks(i) * frame + 900);
  EXPECT_EQ(m.offset(), 900);
}

TEST(CopyMatcher, ADifferentEncodingNeverAgrees) {
  copy_matcher m;
  for (std::uint64_t i = 0; i < 500; ++i) {
    m.saw(true, 1'000 + i, ticks(i) * frame);
    m.saw(false, 9'000 + i, ticks(i) * frame);
  }
  EXPECT_FALSE(m.offset());
}

// A still picture is the same bytes again and again: only the distance near what arrival times say is meant.
TEST(CopyMatcher, AStillPictureIsMatchedWhereItArrives) {
  copy_matcher m;
  m.expect(40'000);
  for (std::uint64_t i = 0; i < 100; ++i) {
    m.saw(true, 7 + i % 5, ticks(i) * frame + 40'500);
    m.saw(false, 7 + i % 5, ticks(i) * frame);
  }
  EXPECT_EQ(m.offset(), 40'500);
}

TEST(CopyMatcher, MillisecondsMayBeRoundedEitherWay) {
  copy_matcher m;
  for (std::uint64_t i = 0; i < 6; ++i) {
    m.saw(true, i, ticks(i) * frame);
    m.saw(false, i, ticks(i) * frame + (i % 2 == 0 ? 0 : 90));
  }
  ASSERT_TRUE(m.offset());
  EXPECT_LE(std::abs(*m.offset()), 90);
}

TEST(CopyMatcher, ForgetsWhatIsLongAgo) {
  copy_matcher m;
  for (std::uint64_t i = 0; i < 3; ++i)
    m.saw(true, i, ticks(i) * frame);
  m.saw(true, 99, 20 * ticks_per_second);
  for (std::uint64_t i = 0; i < 3; ++i)
    m.saw(false, i, ticks(i) * frame);
  EXPECT_FALSE(m.offset());
}

} // namespace
} // namespace weir::media
