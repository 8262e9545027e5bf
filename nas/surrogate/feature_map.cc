#include "nas/surrogate/feature_map.h"

#include <cmath>
#include <map>
#include <string>
#include <utility>

#include "common/rng.h"
#include "nas/graph/graph_features.h"

namespace hwnas {
namespace {

constexpr int kSample = 200;
constexpr uint64_t kSampleSeed = 0x5eedfea7;
// Two features that correlate more than this are one.
constexpr double kCopy = 0.9999;
// Standardised features are kept within this many spreads.
constexpr double kFarthest = 6;

}  // namespace

FeatureMap::FeatureMap(const SearchSpace* space, Evidence evidence)
    : space_(space), evidence_(std::move(evidence)) {
  std::map<std::vector<std::string>, std::vector<int>> groups;
  const absl::Span<const Decision> decisions = space->decisions();
  for (size_t i = 0; i < decisions.size(); ++i) {
    layout_.options.push_back(static_cast<int>(decisions[i].options.size()));
    groups[decisions[i].options].push_back(static_cast<int>(i));
  }
  count_start_.assign(decisions.size(), -1);
  for (const auto& [options, members] : groups) {
    if (members.size() < 2) continue;
    for (const int member : members) count_start_[member] = counts_;
    counts_ += static_cast<int>(options.size());
  }

  Rng rng(kSampleSeed);
  std::vector<Architecture> sample;
  for (int i = 0; i < kSample; ++i) sample.push_back(space->Sample(rng));
  decodes_ = space->Decode(sample[0]).ok();
  std::vector<std::vector<double>> rows;
  for (const Architecture& architecture : sample) {
    rows.push_back(Raw(architecture));
  }
  std::vector<std::vector<double>> kept;
  for (size_t c = 0; c < rows[0].size(); ++c) {
    Column column;
    column.raw = static_cast<int>(c);
    // Evidence comes last.
    const size_t evidence_from =
        rows[0].size() - (evidence_ ? evidence_(sample[0]).size() : 0);
    column.logarithm = c >= evidence_from;
    std::vector<double> values;
    for (const auto& row : rows) {
      values.push_back(std::isfinite(row[c]) ? row[c] : 0);
      column.logarithm &= values.back() > 0;
    }
    double sum = 0, squares = 0;
    for (double& value : values) {
      if (column.logarithm) value = std::log(value);
      sum += value;
    }
    column.mean = sum / kSample;
    for (double& value : values) {
      value -= column.mean;
      squares += value * value;
    }
    if (!(squares > 1e-12 * kSample)) continue;
    column.scale = std::sqrt(squares / kSample);
    bool copy = false;
    for (const auto& other : kept) {
      double product = 0;
      for (int i = 0; i < kSample; ++i) product += other[i] * values[i];
      copy |= std::abs(product) / (kSample * column.scale) > kCopy;
    }
    if (copy) continue;
    for (double& value : values) value /= column.scale;
    kept.push_back(std::move(values));
    columns_.push_back(column);
  }
  layout_.numeric = static_cast<int>(columns_.size());
}

std::vector<double> FeatureMap::Raw(const Architecture& architecture) const {
  std::vector<double> raw;
  std::vector<double> counts(counts_, 0.0);
  for (size_t i = 0; i < architecture.choices.size(); ++i) {
    if (space_->decisions()[i].ordered) raw.push_back(architecture.choices[i]);
    if (count_start_[i] >= 0) {
      ++counts[count_start_[i] + architecture.choices[i]];
    }
  }
  raw.insert(raw.end(), counts.begin(), counts.end());
  if (decodes_) {
    const auto graph = space_->Decode(architecture);
    const std::vector<double> features =
        graph.ok() ? GraphFeatures(*graph) : std::vector<double>();
    raw.insert(raw.end(), features.begin(), features.end());
  }
  if (evidence_) {
    for (const MetricValue& value : evidence_(architecture)) {
      raw.push_back(value.value);
    }
  }
  return raw;
}

SurrogateInputs FeatureMap::Compute(
    absl::Span<const Architecture> architectures) const {
  const auto rows = static_cast<Eigen::Index>(architectures.size());
  SurrogateInputs inputs;
  inputs.one_hot = Eigen::MatrixXd::Zero(rows, layout_.one_hot_width());
  inputs.numeric.resize(rows, layout_.numeric);
  for (Eigen::Index r = 0; r < rows; ++r) {
    const Architecture& architecture = architectures[r];
    Eigen::Index start = 0;
    for (size_t i = 0; i < layout_.options.size(); ++i) {
      inputs.one_hot(r, start + architecture.choices[i]) = 1;
      start += layout_.options[i];
    }
    const std::vector<double> raw = Raw(architecture);
    for (size_t c = 0; c < columns_.size(); ++c) {
      const Column& column = columns_[c];
      double value = raw[column.raw];
      if (column.logarithm) value = std::log(std::max(value, 1e-300));
      value = std::isfinite(value) ? (value - column.mean) / column.scale : 0;
      inputs.numeric(r, c) = std::min(std::max(value, -kFarthest), kFarthest);
    }
  }
  return inputs;
}

}  // namespace hwnas
