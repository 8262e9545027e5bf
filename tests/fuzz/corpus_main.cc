// Runs a fuzz target once on each file of the folders that are given: what a
// fuzzer has found, and what it starts from, as an ordinary test.
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>

#include "common/files.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int main(int argc, char** argv) {
  int count = 0;
  for (int i = 1; i < argc; ++i) {
    for (const auto& file : std::filesystem::directory_iterator(argv[i])) {
      if (!file.is_regular_file()) continue;
      const auto text = hwnas::ReadFile(file.path());
      if (!text.ok()) {
        std::fprintf(stderr, "%s\n", text.status().ToString().c_str());
        return 1;
      }
      // Also what is cut off in the middle.
      for (const size_t size : {text->size(), text->size() / 2}) {
        LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(text->data()),
                               size);
      }
      ++count;
    }
  }
  std::printf("%d inputs\n", count);
  return count > 0 ? 0 : 1;
}
