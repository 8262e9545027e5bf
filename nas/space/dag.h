// A space of free cells (nas/space/dag_cell.h), by default that of
// NAS-Bench-101 (Ying et al., arXiv 1902.09635): 423,624 different networks.
//
// The network: 3x3 convolution with batch norm and ReLU; `stacks` stacks of
// `cells` equal cells; between stacks 2x2 max pooling of stride 2, and twice
// the channels; global average pooling, linear classifier. Notation: that of
// the cell.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "nas/space/dag_cell.h"
#include "nas/space/search_space.h"
#include "nas/space/space_factory.h"

namespace hwnas {

class DagSpace final : public SearchSpace {
 public:
  static absl::StatusOr<std::unique_ptr<DagSpace>> Create(
      const DagConfig& config);

  std::string key() const override;
  absl::Span<const Decision> decisions() const override {
    return cell_->decisions();
  }
  absl::Status Validate(const Architecture& architecture) const override;
  Architecture Sample(Rng& rng) const override;
  Architecture Canonicalize(const Architecture& architecture) const override;
  std::string CanonicalKey(const Architecture& architecture) const override;
  std::string ToText(const Architecture& architecture) const override;
  absl::StatusOr<Architecture> FromText(absl::string_view text) const override;
  using SearchSpace::Decode;
  absl::StatusOr<ModelGraph> Decode(
      const Architecture& architecture,
      const DecodeOptions& options) const override;

 protected:
  Architecture AnotherForm(const Architecture& canonical,
                           Rng& rng) const override;

 private:
  DagSpace(const DagConfig& config, std::unique_ptr<DagCell> cell)
      : config_(config), cell_(std::move(cell)) {}

  // All constant after construction.
  const DagConfig config_;
  const std::unique_ptr<DagCell> cell_;
};

}  // namespace hwnas
