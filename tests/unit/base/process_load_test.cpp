#include "runtime/base/process_load.hpp"

#include "runtime/base/clock.hpp"
#include "runtime/base/version.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

using namespace weir;

TEST(MachineCpu, IsTheBusyShareOfAllCores) {
  machine_cpu cpu;
  // Two cores; 100 of the 200 ticks between the readings were busy, iowait counts as idle.
  EXPECT_EQ(cpu.read_milli("cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1\ncpu1 1\nintr 5\n").value(), 0);
  EXPECT_EQ(cpu.read_milli("cpu  150 10 120 780 120 5 10 5 0 0\ncpu0 1\ncpu1 1\nintr 5\n").value(), 1000);
  EXPECT_FALSE(cpu.read_milli("nonsense"));
}

TEST(MachineCpu, IsReadFromTheRealMachine) {
  machine_cpu cpu;
  ASSERT_TRUE(cpu.read_milli());
  auto until = steady_clock::now() + seconds(10);
  auto use = cpu.read_milli();
  while (use && *use == 0 && steady_clock::now() < until) // this loop is the load
    use = cpu.read_milli();
  ASSERT_TRUE(use);
  EXPECT_GT(*use, 0);
  EXPECT_LE(*use, sysconf(_SC_NPROCESSORS_CONF) * 1000);
}

TEST(UsableCores, RespectTheLimitOfTheControlGroup) {
  EXPECT_EQ(cores_of_cpu_max("max 100000\n"), 0);
  EXPECT_EQ(cores_of_cpu_max("150000 100000\n"), 1500);
  EXPECT_EQ(cores_of_cpu_max("1 100000"), 1);
  EXPECT_EQ(cores_of_cpu_max("rubbish"), 0);
  EXPECT_EQ(cores_of_cpu_max("5 0"), 0);
  EXPECT_GE(usable_cores_milli(), 1);
  EXPECT_LE(usable_cores_milli(), sysconf(_SC_NPROCESSORS_CONF) * 1000);
}

TEST(MachineMemory, IsPartlyUsed) {
  auto memory = read_machine_memory();
  ASSERT_TRUE(memory);
  EXPECT_GT(memory->used.bytes, 0);
  EXPECT_LT(memory->used.bytes, memory->total.bytes);
}

TEST(ProcessLoad, GrowsWithWork) {
  auto before = read_process_load(getpid());
  ASSERT_TRUE(before);
  auto until = steady_clock::now() + seconds(10);
  auto now = before;
  while (now && now->cpu_milliseconds < before->cpu_milliseconds + 50 && steady_clock::now() < until)
    now = read_process_load(getpid());
  ASSERT_TRUE(now);
  EXPECT_GE(now->cpu_milliseconds, before->cpu_milliseconds + 50);
  EXPECT_GT(now->resident.bytes, 0);
  EXPECT_GE(now->virtual_size.bytes, now->resident.bytes);
  EXPECT_GE(now->threads, 1u);
  auto age = std::chrono::system_clock::now() - now->started;
  EXPECT_GT(age, seconds(-2));
  EXPECT_LT(age, std::chrono::hours(1));
}

TEST(ProcessLoad, OfNobodyIsNotFound) { EXPECT_EQ(read_process_load(0x7ffffff0).error().code, error_code::not_found); }

TEST(OpenFiles, AreCounted) {
  auto before = count_open_files();
  ASSERT_TRUE(before);
  auto fd = dup(0);
  EXPECT_EQ(*count_open_files(), *before + 1);
  close(fd);
}

TEST(Host, HasANameAndWeirAVersion) {
  EXPECT_FALSE(hostname().empty());
  EXPECT_FALSE(version().empty());
  EXPECT_FALSE(commit().empty());
}
