// Study files: YAML, then meaning.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "cli/study_file.h"
#include "proto/convert/convert.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto study = hwnas::cli::LoadedStudy::Parse(
      "study.yaml", std::string(reinterpret_cast<const char*>(data), size));
  // What is wrong has a place and a message; what is right the controller
  // takes.
  if (!study.ok() && study.Render().empty()) std::abort();
  if (study.ok() && !hwnas::CheckStudySpec(study.spec()).ok()) std::abort();
  return 0;
}
