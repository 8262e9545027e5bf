#include "tests/nas/space/graph_fingerprint.h"

#include <algorithm>
#include <bit>
#include <utility>
#include <vector>

namespace hwnas {
namespace {

uint64_t Mix(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
  return hash ^ (hash >> 29);
}

uint64_t OfAll(std::vector<uint64_t> hashes, bool ordered) {
  if (!ordered) std::sort(hashes.begin(), hashes.end());
  uint64_t hash = hashes.size();
  for (const uint64_t h : hashes) hash = Mix(hash, h);
  return hash;
}

uint64_t OfOperator(const Node& node) {
  uint64_t hash = 1;
  for (const int value :
       {static_cast<int>(node.op), node.shape.channels, node.shape.height,
        node.shape.width, node.out_channels, static_cast<int>(node.bias),
        node.kernel, node.stride, node.padding, node.groups,
        static_cast<int>(node.count_include_pad)}) {
    hash = Mix(hash, static_cast<uint64_t>(value));
  }
  return Mix(hash, std::bit_cast<uint64_t>(node.drop_rate));
}

}  // namespace

uint64_t GraphFingerprint(const ModelGraph& graph) {
  std::vector<uint64_t> hashes;
  for (const Node& node : graph.nodes()) {
    std::vector<uint64_t> inputs;
    for (const int input : node.inputs) inputs.push_back(hashes[input]);
    hashes.push_back(
        Mix(OfOperator(node), OfAll(inputs, node.op != OpKind::kAdd)));
  }
  // From here on also what reads a node: two that compute alike are two.
  for (int round = 0; round < 2; ++round) {
    std::vector<std::vector<uint64_t>> readers(hashes.size());
    for (int i = graph.size(); i-- > 0;) {
      hashes[i] = Mix(hashes[i], OfAll(readers[i], false));
      for (const int input : graph.node(i).inputs) {
        readers[input].push_back(hashes[i]);
      }
    }
    for (int i = 0; i < graph.size(); ++i) {
      std::vector<uint64_t> inputs;
      for (const int input : graph.node(i).inputs) {
        inputs.push_back(hashes[input]);
      }
      hashes[i] =
          Mix(hashes[i], OfAll(inputs, graph.node(i).op != OpKind::kAdd));
    }
  }
  return OfAll(std::move(hashes), false);
}

}  // namespace hwnas
