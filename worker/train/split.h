// Which training images train and which validate. The test images are apart
// from the start and no function here ever sees them.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace hwnas::worker {

struct Split {
  // Indices into the training images, ascending, disjoint.
  std::vector<int32_t> train;
  std::vector<int32_t> validation;
};

// The same for every trial and every seed, so that trials are compared on the
// same images; the same share of every class in each part (rounded). A smaller
// `data_fraction` keeps a subset of what a larger one keeps; the validation
// part does not depend on it. Neither part is empty if there are two images
// (and validation is asked for).
//
// `validation_fraction` in [0, 1), `data_fraction` in (0, 1]; labels >= 0.
Split SplitTraining(absl::Span<const int32_t> labels,
                    double validation_fraction, double data_fraction);

}  // namespace hwnas::worker
