// Tells networks apart by their graphs alone.
#pragma once

#include <cstdint>

#include "nas/graph/model_graph.h"

namespace hwnas {

// Equal for graphs that differ in names, the order of nodes and of what is
// added only; else different, but for rare chances.
uint64_t GraphFingerprint(const ModelGraph& graph);

}  // namespace hwnas
