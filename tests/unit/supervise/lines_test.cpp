#include "runtime/supervise/lines.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <vector>

using namespace weir::supervise;

namespace {

std::vector<std::string> lines_of(line_ring& ring, std::string_view bytes, std::size_t step) {
  std::vector<std::string> out;
  const auto keep = [&](const std::string& line) { out.push_back(line); };
  for (std::size_t at = 0; at < bytes.size(); at += step)
    ring.feed(bytes.substr(at, step), keep);
  ring.finish(keep);
  return out;
}

} // namespace

TEST(LineRing, CutsLinesWhereverTheReadsFall) {
  const std::vector<std::string> expected{"one", "two", "three", "last"};
  for (std::size_t step = 1; step < 24; ++step) {
    line_ring ring(10, 100);
    EXPECT_EQ(lines_of(ring, "one\ntwo\r\n\nthree\rlast", step), expected) << step;
  }
}

TEST(LineRing, KeepsOnlyTheLastLines) {
  line_ring ring(3, 100);
  lines_of(ring, "1\n2\n3\n4\n5\n", 1);
  EXPECT_EQ(std::vector(ring.last().begin(), ring.last().end()), (std::vector<std::string>{"3", "4", "5"}));
}

TEST(LineRing, CutsAnEndlessLineAndGoesOnAfterIt) {
  line_ring ring(3, 8);
  const auto lines = lines_of(ring, fmt::format("{:x<100000}\nnext\n", ""), 4096);
  EXPECT_EQ(lines, (std::vector<std::string>{"xxxxxxxx …", "next"}));
}

TEST(LineRing, MasksBeforeAnyoneSees) {
  line_ring ring(3, 100, [](std::string_view line) { return line.find("key=") == line.npos ? std::string(line) : "***"; });
  EXPECT_EQ(lines_of(ring, "rtmp://x/live?key=secret\nok\n", 7), (std::vector<std::string>{"***", "ok"}));
  EXPECT_EQ(ring.last().front(), "***");
}

TEST(Printable, ReplacesControlBytesAndBrokenUtf8) {
  EXPECT_EQ(printable("a\x1b[31mb\0c"
                      "\x7f"),
            "a?[31mb");
  EXPECT_EQ(printable("tab\tü€😀"), "tab\tü€😀");
  EXPECT_EQ(printable("\xff\xc0\xaf|\xed\xa0\x80|\xf4\x90\x80\x80|\xe2\x82"), "???|???|????|??");
}
