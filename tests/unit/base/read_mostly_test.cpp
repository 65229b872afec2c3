#include "runtime/base/read_mostly.hpp"
#include <gtest/gtest.h>
#include <thread>
#include <vector>

namespace weir {
namespace {

struct pair {
  int first;
  int second; // always the same as first
};

TEST(ReadMostly, IsNullBeforeAnythingWas) {
  read_mostly<pair> nothing, something;
  something.publish(std::make_shared<const pair>(1, 1));
  EXPECT_EQ(something.read()->first, 1);
  EXPECT_EQ(nothing.read(), nullptr) << "although this thread has read another one";
}

TEST(ReadMostly, OneIsNotTakenForAnother) {
  read_mostly<pair> a, b;
  a.publish(std::make_shared<const pair>(1, 1));
  b.publish(std::make_shared<const pair>(2, 2));
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(a.read()->first, 1);
    EXPECT_EQ(b.read()->first, 2);
  }
}

TEST(ReadMostly, WhatIsReadIsWholeAndNeverOlderThanBefore) {
  constexpr int last = 20'000;
  read_mostly<pair> value;
  value.publish(std::make_shared<const pair>(0, 0));
  std::atomic<int> broken{0};
  std::vector<std::thread> readers;
  for (int i = 0; i < 3; ++i)
    readers.emplace_back([&] {
      for (int before = 0; before < last;) {
        auto* now = value.read();
        if (now->first != now->second || now->first < before)
          return void(++broken);
        before = now->first;
      }
    });
  for (int i = 1; i <= last; ++i)
    value.publish(std::make_shared<const pair>(i, i));
  for (auto& reader : readers)
    reader.join();
  EXPECT_EQ(broken.load(), 0);
}

} // namespace
} // namespace weir
