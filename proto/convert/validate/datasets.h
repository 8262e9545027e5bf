// The data sets that a study may name. Internal to proto/convert.
#pragma once

#include "absl/strings/string_view.h"
#include "nas/graph/model_graph.h"

namespace hwnas {

// A data set that hwnas reads, and the images that it holds.
struct DatasetInfo {
  absl::string_view name;
  TensorShape image;  // Zeros: whatever the files hold.
  int classes = 0;
};
inline constexpr DatasetInfo kDatasets[] = {
    {"fashion-mnist", {1, 28, 28}, 10}, {"mnist", {1, 28, 28}, 10},
    {"cifar10", {3, 32, 32}, 10},       {"cifar100", {3, 32, 32}, 100},
    {"folder", {0, 0, 0}, 0},
};

// nullptr if hwnas reads none of that name.
inline const DatasetInfo* FindDataset(absl::string_view name) {
  for (const DatasetInfo& dataset : kDatasets) {
    if (dataset.name == name) return &dataset;
  }
  return nullptr;
}

}  // namespace hwnas
