#include "nas/graph/graph_features.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace hwnas {
namespace {

// Counts, in this order, before the totals.
enum Feature {
  kConv1,  // Dense convolutions by kernel.
  kConv3,
  kConvLarger,
  kDepthwise3,  // Grouped ones.
  kDepthwiseLarger,
  kPool,
  kJoin,  // Sums, products and concatenations.
  kActivation,
  kZeros,
  kCounts,
};

}  // namespace

std::vector<double> GraphFeatures(const ModelGraph& graph) {
  const ModelGraph live = RemoveDeadNodes(graph);
  std::vector<double> counts(kCounts, 0.0);
  // Convolutions on the longest, shortest and mean path to each node, and the
  // number of paths.
  const int size = live.size();
  std::vector<double> longest(size), shortest(size), mean(size), paths(size);
  for (int i = 0; i < size; ++i) {
    const Node& node = live.node(i);
    double step = 0;
    if (node.op == OpKind::kInput) {
      paths[i] = 1;
      continue;
    }
    switch (node.op) {
      case OpKind::kConv2d: {
        step = 1;
        const bool grouped = node.groups > 1;
        if (node.kernel == 1) {
          ++counts[kConv1];
        } else if (node.kernel == 3) {
          ++counts[grouped ? kDepthwise3 : kConv3];
        } else {
          ++counts[grouped ? kDepthwiseLarger : kConvLarger];
        }
        break;
      }
      case OpKind::kMaxPool:
      case OpKind::kAvgPool:
        ++counts[kPool];
        break;
      case OpKind::kAdd:
      case OpKind::kMul:
      case OpKind::kConcat:
        ++counts[kJoin];
        break;
      case OpKind::kRelu:
      case OpKind::kHardSwish:
        ++counts[kActivation];
        break;
      case OpKind::kZero:
        ++counts[kZeros];
        break;
      default:
        break;
    }
    shortest[i] = std::numeric_limits<double>::infinity();
    double sum = 0;
    for (const int input : node.inputs) {
      longest[i] = std::max(longest[i], longest[input] + step);
      shortest[i] = std::min(shortest[i], shortest[input] + step);
      paths[i] += paths[input];
      sum += paths[input] * (mean[input] + step);
    }
    // More paths than a double holds only matter as "many".
    paths[i] = std::min(paths[i], 1e100);
    mean[i] = std::min(sum / std::max(paths[i], 1.0), 1e6);
  }
  std::vector<double> features = std::move(counts);
  features.push_back(longest.back());
  features.push_back(shortest.back());
  features.push_back(mean.back());
  features.push_back(std::log(paths.back()));
  return features;
}

}  // namespace hwnas
