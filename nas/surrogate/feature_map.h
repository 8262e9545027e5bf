// What a surrogate sees of an architecture.
#pragma once

#include <vector>

#include "absl/types/span.h"
#include "nas/evidence.h"
#include "nas/space/search_space.h"
#include "nas/surrogate/gaussian_process.h"

namespace hwnas {

// One-hot decisions, and numeric features:
// - the position of each ordered decision;
// - how often each option is taken, over all decisions with the same options;
// - GraphFeatures, if the space decodes;
// - the evidence, as it is or as a logarithm where all of a sample is positive.
// Standardised over a fixed random sample of the space; features that are
// constant there, or a copy of another, are left out. Immutable.
class FeatureMap {
 public:
  // `space` must outlive this. Looks at 200 random points.
  FeatureMap(const SearchSpace* space, Evidence evidence);

  const SurrogateLayout& layout() const { return layout_; }
  // One row for each canonical architecture.
  SurrogateInputs Compute(absl::Span<const Architecture> architectures) const;

 private:
  std::vector<double> Raw(const Architecture& architecture) const;

  // A numeric feature that is used.
  struct Column {
    int raw = 0;
    bool logarithm = false;
    double mean = 0;
    double scale = 1;
  };

  // Constant after construction.
  const SearchSpace* space_;
  const Evidence evidence_;
  bool decodes_ = false;
  // For each decision that shares its options with others, where its counts
  // start; -1: none.
  std::vector<int> count_start_;
  int counts_ = 0;
  std::vector<Column> columns_;
  SurrogateLayout layout_;
};

}  // namespace hwnas
