#include "runtime/base/utf8.hpp"

#include <gtest/gtest.h>

using namespace weir;

TEST(Utf8, TakesEveryKindOfCharacter) {
  for (auto text : {"", "plain", "gr\xc3\xbc\xc3\x9f", "\xe2\x82\xac", "\xed\x9f\xbf", "\xf0\x9f\x8e\xa5", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_TRUE(valid_utf8(text)) << text;
    EXPECT_EQ(to_valid_utf8(text), text);
  }
}

TEST(Utf8, RefusesWhatLooksLikeIt) {
  // Lone continuation, overlong, surrogate, above U+10FFFF, cut off, impossible bytes.
  for (auto text : {"\x80", "\xc0\xaf", "\xc1\xbf", "\xe0\x80\xaf", "\xf0\x80\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xe2\x82", "\xc3", "\xff"})
    EXPECT_FALSE(valid_utf8(text)) << text;
}

TEST(Utf8, RepairsByteByByte) {
  EXPECT_EQ(to_valid_utf8("a\xff" "b"), "a\xef\xbf\xbd" "b");
  EXPECT_EQ(to_valid_utf8("\xe2\x82"), "\xef\xbf\xbd\xef\xbf\xbd");
  EXPECT_EQ(to_valid_utf8("\xc3\xc3\xbc"), "\xef\xbf\xbd\xc3\xbc");
}

TEST(Utf8, RepairIsAlwaysValid) {
  std::uint32_t random = 1;
  for (int i = 0; i < 5000; ++i) {
    std::string text;
    for (int n = 0; n < 12; ++n)
      text += static_cast<char>((random = random * 1664525 + 1013904223) >> 24);
    EXPECT_TRUE(valid_utf8(to_valid_utf8(text)));
  }
}
