// `weir config srs` as an operator runs it: a YAML in, files for SRS out.
#include "tests/integration/cli/program.hpp"

#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <iterator>
#include <sys/stat.h>

namespace weir {
namespace {

using namespace testing;

class SrsCommand : public ::testing::Test {
protected:
  void SetUp() override {
    std::string made = "/tmp/weir-srs-XXXXXX";
    ASSERT_NE(::mkdtemp(made.data()), nullptr);
    folder = made;
    write("weir.yaml", R"(data_dir: /tmp/never-used
http:
  listen: 127.0.0.1:8080
  internal_url: http://10.0.0.1:8080
hooks:
  allow: [127.0.0.0/8, 10.0.0.0/24]
  secret: some-long-word
rtmp_servers:
  - name: srs1
    kind: srs
    rtmp_url: rtmp://10.0.0.9:1935
    api_url: http://10.0.0.9:1985
  - name: srs2
    kind: srs
    rtmp_url: rtmp://10.0.0.10:1935
    api_url: http://10.0.0.10:1985
)");
  }
  void TearDown() override { std::filesystem::remove_all(folder); }

  struct result {
    int status;
    std::string out, err;
  };
  result weir(std::vector<std::string> arguments) const {
    std::vector<std::string> all{"config", "srs", "-c", yaml()};
    all.insert(all.end(), arguments.begin(), arguments.end());
    program p(std::move(all));
    int status = p.wait();
    return {status, p.out, p.err};
  }
  std::string yaml() const { return folder / "weir.yaml"; }
  void write(const std::string& name, const std::string& text) const { std::ofstream(folder / name) << text; }
  static std::string read(const std::filesystem::path& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  std::filesystem::path folder;
};

TEST_F(SrsCommand, PrintsEachFileUnderItsName) {
  auto r = weir({"--edge", "edge-1=1936"});
  EXPECT_EQ(r.status, 0) << r.err;
  EXPECT_EQ(r.err, "");
  for (auto part : {"##### srs1.conf #####\n", "\n##### srs2.conf #####\n", "\n##### edge-1.conf #####\n", "server_id           srs2;",
                    "10.0.0.9:1935 10.0.0.10:1935;", "on_publish          http://10.0.0.1:8080/hooks/srs/some-long-word;"})
    EXPECT_NE(r.out.find(part), std::string::npos) << part << " in\n" << r.out;
}

TEST_F(SrsCommand, WritesPrivateFilesAndReplacesOnlyItsOwn) {
  auto out = folder / "srs";
  auto first = weir({"--out", out, "--edges", "2"});
  EXPECT_EQ(first.status, 0) << first.err;
  std::string names;
  for (auto name : {"srs1.conf", "srs2.conf", "edge-1.conf", "edge-2.conf"})
    names += (out / name).native() + "\n";
  EXPECT_EQ(first.out, names);
  struct stat seen {};
  ASSERT_EQ(::stat((out / "srs1.conf").c_str(), &seen), 0);
  EXPECT_EQ(seen.st_mode & 0777, 0600u) << "it holds the secret of the hooks";
  auto text = read(out / "srs1.conf");
  EXPECT_NE(weir({}).out.find(text), std::string::npos) << "the same as is printed";
  EXPECT_EQ(weir({"--out", out}).status, 0) << "its own may be written again";
  std::ofstream(out / "srs2.conf") << "listen 1935; # by hand\n";
  auto r = weir({"--out", out});
  EXPECT_EQ(r.status, 1);
  EXPECT_NE(r.err.find((out / "srs2.conf").native()), std::string::npos) << r.err;
  EXPECT_EQ(read(out / "srs2.conf"), "listen 1935; # by hand\n");
  EXPECT_EQ(read(out / "srs1.conf"), text);
}

TEST_F(SrsCommand, NamesThePlaceOfAValueThatCouldBreakOut) {
  auto good = read(yaml());
  auto with = [&](const std::string& from, const std::string& to) {
    auto text = good;
    text.replace(text.find(from), from.size(), to);
    write("weir.yaml", text);
    return weir({});
  };
  auto r = with("name: srs2", "name: \"srs2; include /etc/passwd\"");
  EXPECT_EQ(r.status, 2);
  EXPECT_EQ(r.out, "");
  EXPECT_NE(r.err.find(yaml() + ":13:11: rtmp_servers[1].name: "), std::string::npos) << r.err;
  r = with("rtmp://10.0.0.9:1935", "rtmp://10.0.0.9:1935{}");
  EXPECT_EQ(r.status, 2);
  EXPECT_NE(r.err.find(yaml() + ":11:15: rtmp_servers[0].rtmp_url: "), std::string::npos) << r.err;
  r = with("  internal_url: http://10.0.0.1:8080\n", "");
  EXPECT_EQ(r.status, 2);
  EXPECT_NE(r.err.find("http.internal_url: is empty"), std::string::npos) << r.err;
  r = with("10.0.0.0/24", "10.0.1.0/24");
  EXPECT_EQ(r.status, 0) << "a warning only";
  EXPECT_NE(r.err.find(": warning: hooks.allow: does not hold 10.0.0.9"), std::string::npos) << r.err;
  EXPECT_NE(r.out.find("##### srs1.conf #####"), std::string::npos);
}

TEST_F(SrsCommand, Exit2OnWrongUsage) {
  EXPECT_EQ(weir({"--edge", "edge-1"}).status, 2);
  EXPECT_EQ(weir({"--edge", "edge-1=name:1935"}).status, 2);
  EXPECT_EQ(weir({"--edges", "0"}).status, 2);
  EXPECT_EQ(weir({"--edges", "1", "--edge", "a=1"}).status, 2);
  std::filesystem::remove(yaml());
  EXPECT_EQ(weir({}).status, 2);
}

TEST_F(SrsCommand, TheHelpSaysThatSrsIsNotInDebian) { EXPECT_NE(weir({"--help"}).out.find("not in Debian"), std::string::npos); }

} // namespace
} // namespace weir
