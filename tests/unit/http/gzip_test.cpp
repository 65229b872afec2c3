#include "runtime/http/gzip.hpp"

#include <gtest/gtest.h>
#include <libdeflate.h>

namespace weir::http::testing {

TEST(Gzip, IsAcceptedWhereTheClientSaysSo) {
  for (auto yes : {"gzip", "GZip", "gzip, deflate, br", "br;q=1.0, gzip;q=0.8, *;q=0.1", "deflate , gzip ; q=0.001", "*", "x-gzip", "gzip;q=1"})
    EXPECT_TRUE(accepts_gzip(yes)) << yes;
  for (auto no : {"", "identity", "deflate, br", "gzip;q=0", "gzip;q=0.000", "gzip; Q=0, *", "*;q=0", "gzipped", "br;gzip", ",,;,", "gzip;q="})
    EXPECT_FALSE(accepts_gzip(no)) << no;
}

TEST(Gzip, ComesBackAsItWas) {
  std::string text;
  for (int i = 0; i < 40; ++i)
    text += "#EXTINF:4.000,\nhttp://edge-1.example.org/s/conference~1/720p/" + std::to_string(1000 + i) + ".ts\n";
  auto coded = gzip(text);
  ASSERT_FALSE(coded.empty());
  EXPECT_LT(coded.size() * 5, text.size());
  std::string back(text.size(), '\0');
  std::size_t got = 0;
  auto* decoder = libdeflate_alloc_decompressor();
  EXPECT_EQ(libdeflate_gzip_decompress(decoder, coded.data(), coded.size(), back.data(), back.size(), &got), LIBDEFLATE_SUCCESS);
  libdeflate_free_decompressor(decoder);
  EXPECT_EQ(got, text.size());
  EXPECT_EQ(back, text);
}

TEST(Gzip, LeavesAloneWhatGainsNothing) {
  EXPECT_EQ(gzip(""), "");
  EXPECT_EQ(gzip("x"), "");
}

} // namespace weir::http::testing
