// Scores that say something of a network before anybody trains it.
#pragma once

#include "nas/graph/model_graph.h"

namespace hwnas {

// LogSynFlow (Cavagnero et al., "FreeREA", WACV 2023), which is SynFlow (Tanaka
// et al., NeurIPS 2020) with the gradients in logarithms: the sum over all
// weights w of convolutions and linear layers of
//
//   |w| log(1 + dR/d|w|),
//
// where R is the sum of the outputs for an image of ones if every weight is
// replaced by its magnitude and batch norms are left out. More is better.
//
// This variant needs neither weights nor a tensor library: it is that sum with
// every weight at its expected magnitude under He initialisation. All values of
// a node are then equal but for the borders, which are averaged, so one pass
// forward and one back over the graph give it, in logarithms, so that no depth
// overflows. Rectifiers and their kin are the identity, as they are for what is
// positive; gates (squeeze-excite) are open and have no gradient.
//
// Takes time proportional to the graph; thread-safe.
double ExpectedLogSynFlow(const ModelGraph& graph);

}  // namespace hwnas
