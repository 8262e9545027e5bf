// A search space restricted to given points: the rows of a benchmark table.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "nas/space/search_space.h"

namespace hwnas {

// The points of another space for which an answer is known. Everything about a
// point is the other space's affair. Samples are the other space's, while they
// are members, else uniform; mutation and crossover are those of the other
// space, moved to the nearest member (fewest different choices; one of them
// uniformly if there are several; never back to the parent of a mutation).
class TabulatedSpace final : public SearchSpace {
 public:
  // `members`: points of `inner`, in any order; those with equal canonical keys
  // count once. INVALID_ARGUMENT if there is none, or one is not valid.
  static absl::StatusOr<std::unique_ptr<TabulatedSpace>> Create(
      std::unique_ptr<SearchSpace> inner,
      absl::Span<const Architecture> members);

  const SearchSpace& inner() const { return *inner_; }
  int64_t size() const { return static_cast<int64_t>(members_.size()); }

  std::string key() const override { return key_; }
  absl::Span<const Decision> decisions() const override {
    return inner_->decisions();
  }
  absl::Status Validate(const Architecture& architecture) const override;
  Architecture Canonicalize(const Architecture& architecture) const override {
    return inner_->Canonicalize(architecture);
  }
  std::string CanonicalKey(const Architecture& architecture) const override {
    return inner_->CanonicalKey(architecture);
  }
  std::string ToText(const Architecture& architecture) const override {
    return inner_->ToText(architecture);
  }
  // NOT_FOUND for a point of the other space that is not a member.
  absl::StatusOr<Architecture> FromText(absl::string_view text) const override;
  using SearchSpace::Decode;
  absl::StatusOr<ModelGraph> Decode(
      const Architecture& architecture,
      const DecodeOptions& options) const override {
    return inner_->Decode(architecture, options);
  }
  std::optional<std::vector<Architecture>> Enumerate(
      double limit) const override;

  Architecture Sample(Rng& rng) const override;
  Architecture MutateOne(const Architecture& parent, Rng& rng) const override;
  Architecture Crossover(const Architecture& a, const Architecture& b,
                         Rng& rng) const override;

 private:
  TabulatedSpace() = default;

  // Index of a member nearest to `target` other than `except` (-1: none).
  int Nearest(const Architecture& target, int except, Rng& rng) const;
  // -1 if it is not a member.
  int IndexOf(const Architecture& architecture) const;

  // All constant after construction.
  std::unique_ptr<SearchSpace> inner_;
  std::string key_;
  std::vector<Architecture> members_;  // Canonical, ascending.
  std::vector<int> rows_;              // Choices of all members, in one block.
  absl::flat_hash_map<std::vector<int>, int> index_;  // By canonical choices.
};

}  // namespace hwnas
