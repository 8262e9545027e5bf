// Writes different NAS-Bench-201 networks at random as ONNX files:
//   export_cells FOLDER COUNT SEED [CHANNELS CELLS]
#include <iostream>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/files.h"
#include "common/rng.h"
#include "common/status_macros.h"
#include "model/onnx/onnx_export.h"
#include "model/weights.h"
#include "nas/space/space_factory.h"

namespace hwnas {
namespace {

absl::Status Export(const std::string& folder, int count, uint64_t seed,
                    const Nasbench201Config& config) {
  HWNAS_RETURN_IF_ERROR(MakeDirectories(folder));
  HWNAS_ASSIGN_OR_RETURN(const std::unique_ptr<SearchSpace> space,
                         CreateSpace(config));
  Rng rng(seed);
  std::set<std::string> seen;
  // The space has thousands.
  while (static_cast<int>(seen.size()) < count) {
    const Architecture architecture = space->Sample(rng);
    if (!seen.insert(space->Digest(architecture)).second) continue;
    HWNAS_ASSIGN_OR_RETURN(const ModelGraph graph, space->Decode(architecture));
    HWNAS_ASSIGN_OR_RETURN(const std::string onnx,
                           ExportOnnx(graph, RandomWeights(graph, 1)));
    HWNAS_RETURN_IF_ERROR(WriteFileAtomically(
        absl::StrFormat("%s/cell%03d.onnx", folder, seen.size()), onnx));
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace hwnas

int main(int argc, char** argv) {
  int count = 0;
  uint64_t seed = 0;
  hwnas::Nasbench201Config config;
  if ((argc != 4 && argc != 6) || !absl::SimpleAtoi(argv[2], &count) ||
      count < 1 || count > 1000 || !absl::SimpleAtoi(argv[3], &seed) ||
      (argc == 6 && (!absl::SimpleAtoi(argv[4], &config.channels) ||
                     !absl::SimpleAtoi(argv[5], &config.cells)))) {
    std::cerr << "Usage: export_cells FOLDER COUNT SEED [CHANNELS CELLS]   "
                 "(COUNT: 1 to 1000)"
              << std::endl;
    return 2;
  }
  const absl::Status status = hwnas::Export(argv[1], count, seed, config);
  if (!status.ok()) std::cerr << status.ToString() << std::endl;
  return status.ok() ? 0 : 1;
}
