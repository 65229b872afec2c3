#include "runtime/origin/disk_crew.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <future>

namespace weir::origin {
namespace {

using namespace std::chrono_literals;

TEST(DiskCrew, DoesWhatItTakes) {
  disk_crew crew(2, 100);
  std::atomic<int> done = 0;
  std::promise<void> all;
  for (int i = 0; i < 100; ++i)
    ASSERT_TRUE(crew.run([&] {
      if (++done == 100)
        all.set_value();
    }));
  ASSERT_EQ(all.get_future().wait_for(20s), std::future_status::ready);
  EXPECT_TRUE(crew.close(20s));
  EXPECT_FALSE(crew.run([] {})) << "closed";
}

TEST(DiskCrew, TakesNoMoreThanMayWaitAndLeavesWhatHangsBehind) {
  auto disk = std::make_shared<std::promise<void>>(); // answers when the test says so
  auto answers = disk->get_future().share();
  auto begun = std::make_shared<std::promise<void>>();
  auto ended = std::make_shared<std::promise<void>>();
  auto over = ended->get_future();
  auto kept = std::make_shared<int>(1);
  {
    disk_crew crew(1, 2);
    ASSERT_TRUE(crew.run([answers, begun, ended] {
      begun->set_value();
      answers.wait();
      ended->set_value();
    }));
    begun->get_future().wait();
    EXPECT_TRUE(crew.run([kept] { ADD_FAILURE() << "it was dropped"; }));
    EXPECT_TRUE(crew.run([] { ADD_FAILURE() << "it was dropped"; }));
    EXPECT_FALSE(crew.run([] { ADD_FAILURE() << "it was refused"; }));
    EXPECT_EQ(kept.use_count(), 2);
    EXPECT_FALSE(crew.close(10ms)) << "the disk hangs";
    EXPECT_EQ(kept.use_count(), 1) << "what was dropped holds nothing any more";
  }
  disk->set_value();
  EXPECT_EQ(over.wait_for(20s), std::future_status::ready) << "its thread went on by itself";
}

} // namespace
} // namespace weir::origin
