// Numbers that describe a network as a whole, for models that learn from few
// examples.
#pragma once

#include <vector>

#include "nas/graph/model_graph.h"

namespace hwnas {

// A fixed number of features of what the output depends on: counts of operators
// by kind and kernel; length in convolutions of the longest, the shortest and
// the mean path from input to output, and the logarithm of the number of paths.
// The same length for every graph. O(nodes + edges).
std::vector<double> GraphFeatures(const ModelGraph& graph);

}  // namespace hwnas
