// Writes every file that follows from descriptions: weir_generate ROOT. Run it after a change to schemas/config.hpp; a house test compares.
#include "runtime/base/file.hpp"
#include "runtime/describe/config_commands.hpp"

#include <cstdio>
#include <filesystem>

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: weir_generate ROOT-OF-THE-REPOSITORY\n", stderr);
    return 2;
  }
  for (auto& file : weir::describe::generated_files()) {
    auto path = std::filesystem::path(argv[1]) / file.path;
    std::error_code failed;
    std::filesystem::create_directories(path.parent_path(), failed);
    if (auto written = weir::write_file_atomically(path, file.text); !written) {
      std::fprintf(stderr, "%s\n", written.error().text.c_str());
      return 1;
    }
    std::puts(file.path.c_str());
  }
  return 0;
}
