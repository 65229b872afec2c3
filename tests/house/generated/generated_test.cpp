// Files that follow from descriptions are checked in; this keeps them fresh, and every sample right.
#include "runtime/base/file.hpp"
#include "runtime/describe/config_commands.hpp"
#include "runtime/describe/decode.hpp"

#include <filesystem>
#include <gtest/gtest.h>

namespace weir::describe {
namespace {

namespace fs = std::filesystem;

const fs::path root = WEIR_SOURCE_DIR;

std::string content(const fs::path& path) { return read_file(path, 10 << 20).value_or("(cannot be read)"); }

TEST(Generated, FilesAreFresh) {
  for (auto& file : generated_files())
    EXPECT_TRUE(content(root / file.path) == file.text) << file.path << " is stale: run weir_generate on the repository's root";
}

TEST(Generated, EverySampleOfAConfigurationPassesTheCheck) {
  for (auto* sample : {"reference.yaml", "all-in-one.yaml", "cluster/control.yaml", "cluster/worker.yaml", "cluster/edge.yaml"}) {
    auto loaded = load_node_config(root / "config" / sample, {});
    for (auto& p : loaded.found)
      EXPECT_FALSE(p.fatal || p.detail.find("is not reached by the other nodes") != std::string::npos) << to_string(p);
    EXPECT_EQ(content(root / "config" / sample).substr(0, 31), "# yaml-language-server: $schema") << sample;
  }
}

TEST(Generated, EveryLadderFilePassesTheCheck) {
  std::size_t seen = 0;
  for (auto& entry : fs::directory_iterator(root / "config/ladders")) {
    if (entry.path().extension() != ".yaml")
      continue;
    problems found;
    auto ladder = load_ladder(entry.path(), found, {});
    ASSERT_TRUE(ladder) << ladder.error().text;
    EXPECT_EQ(ladder->name, entry.path().stem());
    ++seen;
  }
  EXPECT_GE(seen, 3u);
}

TEST(Generated, EverySettingHasASentence) {
  std::function<void(const shape&)> walk = [&](const shape& type) {
    for (auto& f : type.fields) {
      EXPECT_TRUE(f.sentence.ends_with('.')) << f.name;
      auto* inner = &f.type();
      while (inner->element)
        inner = &inner->element();
      walk(*inner);
    }
  };
  walk(shape_of<node_config>());
}

} // namespace
} // namespace weir::describe
