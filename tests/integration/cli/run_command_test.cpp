// A node as the program starts it.
#include "tests/integration/cli/program.hpp"

#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sys/resource.h>

namespace weir {
namespace {

using namespace testing;
namespace fs = std::filesystem;

class RunCommand : public ::testing::Test {
protected:
  RunCommand() {
    std::ofstream(folder / "node.yaml") << "roles: [coordinator]\ndata_dir: " << (folder / "data").native() << "\nhttp:\n  listen: 127.0.0.1:0\n";
    getrlimit(RLIMIT_NOFILE, &before);
  }
  ~RunCommand() override {
    setrlimit(RLIMIT_NOFILE, &before);
    fs::remove_all(folder);
  }
  fs::path folder = [] {
    std::string name = fs::temp_directory_path() / "weir-run-XXXXXX";
    return fs::path(mkdtemp(name.data()));
  }();
  rlimit before{};
};

TEST_F(RunCommand, OpensAsManyFilesAsTheSystemAllows) {
  rlimit files{256, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &files), 0);
  program weir({"run", "--config", folder / "node.yaml"});
  ASSERT_TRUE(weir.says("ready")) << weir.err;
  ASSERT_EQ(prlimit(weir.pid(), RLIMIT_NOFILE, nullptr, &files), 0);
  EXPECT_EQ(files.rlim_cur, before.rlim_max);
  EXPECT_EQ(weir.err.find("few-open-files") != std::string::npos, before.rlim_max < 4096) << weir.err;
}

TEST_F(RunCommand, NamesTheFileForEtcdThatIsMissing) {
  auto refused = [&](const std::string& files) {
    std::ofstream(folder / "node.yaml") << "roles: [coordinator]\ndata_dir: " << (folder / "data").native() << "\nhttp:\n  listen: 127.0.0.1:0\n"
                                        << "cluster: {listen: \"127.0.0.1:0\", join: [\"127.0.0.1:1\"]}\n"
                                        << "coordinator: {election: etcd, etcd_endpoints: [\"https://127.0.0.1:1\"], " << files << "}\n";
    program weir({"run", "--config", folder / "node.yaml"});
    EXPECT_NE(weir.wait(), 0);
    return weir.err;
  };
  auto absent = (folder / "absent").native();
  auto said = refused("etcd_ca: " + absent);
  EXPECT_NE(said.find("coordinator.etcd_ca: " + absent + ": No such file"), std::string::npos) << said;
  said = refused("etcd_certificate: " + absent + ", etcd_key: " + absent);
  EXPECT_NE(said.find("coordinator.etcd_certificate, etcd_key: " + absent + ": No such file"), std::string::npos) << said;
}

} // namespace
} // namespace weir
