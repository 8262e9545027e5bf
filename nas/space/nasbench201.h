// The search space of NAS-Bench-201 (Dong and Yang, arXiv 2001.00326), also the
// topology space of NATS-Bench (arXiv 2009.00437), for any image and size.
//
// The network: 3x3 convolution and batch norm, three stages of `cells` equal
// cells (nas/space/nasbench201_cell.h) with channels, 2 * channels and 4 *
// channels, a residual block of stride 2 between stages, batch norm, ReLU,
// global average pooling, linear classifier. Notation: that of the cell.
#pragma once

#include <memory>
#include <string>

#include "nas/space/nasbench201_cell.h"
#include "nas/space/search_space.h"
#include "nas/space/space_factory.h"

namespace hwnas {

// Digests are those of the cells' classes.
class Nasbench201Space final : public SearchSpace {
 public:
  static absl::StatusOr<std::unique_ptr<Nasbench201Space>> Create(
      const Nasbench201Config& config);

  std::string key() const override;
  absl::Span<const Decision> decisions() const override {
    return cell_->decisions();
  }
  Architecture Canonicalize(const Architecture& architecture) const override;
  std::string CanonicalKey(const Architecture& architecture) const override;
  std::string ToText(const Architecture& architecture) const override;
  absl::StatusOr<Architecture> FromText(absl::string_view text) const override;
  using SearchSpace::Decode;
  absl::StatusOr<ModelGraph> Decode(
      const Architecture& architecture,
      const DecodeOptions& options) const override;

 private:
  Nasbench201Space(const Nasbench201Config& config,
                   std::unique_ptr<Nasbench201Cell> cell)
      : config_(config), cell_(std::move(cell)) {}

  // All constant after construction.
  const Nasbench201Config config_;
  const std::unique_ptr<Nasbench201Cell> cell_;
};

}  // namespace hwnas
