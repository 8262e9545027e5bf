#include "worker/train/split.h"

#include <algorithm>
#include <cmath>

#include "common/rng.h"

namespace hwnas::worker {
namespace {

// Any constant will do, but changing it changes every result.
constexpr uint64_t kSplitSeed = 0x68776e61732d7631;  // "hwnas-v1"

}  // namespace

Split SplitTraining(absl::Span<const int32_t> labels,
                    double validation_fraction, double data_fraction) {
  int32_t classes = 0;
  for (const int32_t label : labels) classes = std::max(classes, label + 1);
  std::vector<std::vector<int32_t>> members(classes);
  for (size_t i = 0; i < labels.size(); ++i) {
    members[labels[i]].push_back(static_cast<int32_t>(i));
  }
  Split split;
  for (int32_t label = 0; label < classes; ++label) {
    std::vector<int32_t>& images = members[label];
    Rng rng(kSplitSeed, label);
    rng.Shuffle(images);
    const auto count = static_cast<double>(images.size());
    const auto held =
        static_cast<size_t>(std::llround(validation_fraction * count));
    const double rest = count - static_cast<double>(held);
    const auto kept = static_cast<size_t>(std::llround(data_fraction * rest));
    split.validation.insert(split.validation.end(), images.begin(),
                            images.begin() + held);
    split.train.insert(split.train.end(), images.begin() + held,
                       images.begin() + held + kept);
  }
  // Tiny sets may round to nothing.
  const auto fill = [&labels](std::vector<int32_t>& empty,
                              std::vector<int32_t>& other) {
    if (!empty.empty()) return;
    for (int32_t i = 0; i < static_cast<int32_t>(labels.size()); ++i) {
      if (std::find(other.begin(), other.end(), i) == other.end()) {
        empty.push_back(i);
        return;
      }
    }
    if (other.size() > 1) {
      empty.push_back(other.back());
      other.pop_back();
    }
  };
  if (validation_fraction > 0) fill(split.validation, split.train);
  fill(split.train, split.validation);
  std::sort(split.train.begin(), split.train.end());
  std::sort(split.validation.begin(), split.validation.end());
  return split;
}

}  // namespace hwnas::worker
