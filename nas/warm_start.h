// What a search may take over from earlier ones.
#pragma once

#include <string>
#include <vector>

#include "absl/types/span.h"
#include "nas/evidence.h"
#include "nas/problem.h"
#include "nas/space/search_space.h"

namespace hwnas {

// What another search over the same decisions found out: for another device,
// another data set, another purpose. Nothing says that it is related.
struct SourceTrials {
  struct Trial {
    Architecture architecture;
    std::vector<double> values;  // One for each metric; NaN where unknown.
  };

  std::string name;  // Tells sources apart.
  Problem problem;   // What the source was for.
  std::vector<MetricKey> metrics;
  std::vector<Trial> trials;
};

// `evidence`, and after it one more value for each metric of each source which
// `evidence` does not know: what the network came to there, or else what a
// Gaussian process fitted to the source's trials expects. Its key is
// "metric@device/source", which no problem names: it is no value of the search,
// but a feature (nas/surrogate/feature_map.h), which the models of a strategy
// weigh by how well it explains the search's own trials. It is on the scale on
// which the source's values are easiest to model, the smaller the better. A
// metric with fewer than 8 values, or only one different, is left out; trials
// that are not valid in `space` are, too.
//
// `space`, and what `evidence` refers to, must outlive the result.
Evidence WithSources(const SearchSpace* space,
                     absl::Span<const SourceTrials> sources, Evidence evidence);

// Up to `count` different networks that were the best of their sources, spread
// over each source's front, from all sources in turn; canonical and valid in
// `space`.
std::vector<Architecture> BestOfSources(const SearchSpace& space,
                                        absl::Span<const SourceTrials> sources,
                                        int count);

}  // namespace hwnas
