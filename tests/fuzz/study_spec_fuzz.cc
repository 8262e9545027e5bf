// Protobufs from the wire to the domain: a study's specification, and the graph
// of a network.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "hwnas/v1/model_graph.pb.h"
#include "hwnas/v1/study.pb.h"
#include "proto/convert/convert.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  hwnas::v1::StudySpec spec;
  if (spec.ParseFromArray(data, static_cast<int>(size)) &&
      hwnas::CheckStudySpec(spec).ok()) {
    // What was found good stays good with its defaults filled in.
    const hwnas::v1::StudySpec full = hwnas::WithDefaults(spec);
    if (!hwnas::CheckStudySpec(full).ok()) std::abort();
    if (!hwnas::FromProto(full.strategy()).ok()) std::abort();
    (void)hwnas::ProblemFromProto(full);
    (void)hwnas::StagesOf(full);
  }
  hwnas::v1::ModelGraph graph;
  if (graph.ParseFromArray(data, static_cast<int>(size))) {
    const auto domain = hwnas::FromProto(graph);
    // There and back again.
    if (domain.ok() && !hwnas::FromProto(hwnas::ToProto(*domain)).ok()) {
      std::abort();
    }
  }
  return 0;
}
