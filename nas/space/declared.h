// Declared spaces: a study itself says what there is to choose from, and
// optionally the network that the choices decide about; no C++ is needed.
//
// The network, if there is one, is in nas/space/declared_network.h. Which
// choices matter follows from it, too: those that it looks at.
//
// A choice has options: names without an order, values in an order, or a range
// of integers. It may matter only under conditions on earlier choices. Rules
// forbid combinations. A space without a network has points, digests and
// notation like any other, but nothing to train or measure: for trials answered
// by a table or by the user's own program.
//
// Notation: each choice that matters, in order: "depth=3 op0=conv width=16".
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "nas/space/declared_network.h"
#include "nas/space/search_space.h"
#include "nas/space/space_factory.h"

namespace hwnas {

// Choices that do not matter are canonically their first option, and no part of
// the canonical key; those in rules always count as looked at. With a network,
// the key is what the network is made of: architectures that come to the same
// blocks share a digest, though their canonical choices may differ.
class DeclaredSpace final : public SearchSpace {
 public:
  static absl::StatusOr<std::unique_ptr<DeclaredSpace>> Create(
      const DeclaredConfig& config);

  std::string key() const override { return key_; }
  absl::Span<const Decision> decisions() const override { return decisions_; }
  // Also the rules: a forbidden combination of choices that matter.
  absl::Status Validate(const Architecture& architecture) const override;
  Architecture Canonicalize(const Architecture& architecture) const override;
  std::string CanonicalKey(const Architecture& architecture) const override;
  std::string ToText(const Architecture& architecture) const override;
  absl::StatusOr<Architecture> FromText(absl::string_view text) const override;
  // FAILED_PRECONDITION without a network.
  using SearchSpace::Decode;
  absl::StatusOr<ModelGraph> Decode(
      const Architecture& architecture,
      const DecodeOptions& options) const override;
  // As in any space; quicker without a network.
  Architecture MutateOne(const Architecture& parent, Rng& rng) const override;
  std::optional<std::vector<Architecture>> Enumerate(
      double limit) const override;

 protected:
  std::vector<int> Mattering(const Architecture& canonical) const override;

 private:
  // A choice with one of some options.
  struct Condition {
    int decision;
    uint64_t options;  // One bit for each.
  };
  using Conditions = std::vector<Condition>;

  DeclaredSpace() = default;
  // Decodes a few points.
  absl::Status TryNetworks() const;
  absl::Status AddChoice(const DeclaredChoice& choice, const std::string& path);
  // `number` stands for # in names of choices; empty: it must not occur.
  absl::StatusOr<Conditions> Compile(
      const std::vector<DeclaredCondition>& conditions,
      absl::string_view number, const std::string& path) const;
  // All conditions hold; a choice that does not matter fulfils none.
  static bool Holds(const Conditions& conditions,
                    const Architecture& architecture,
                    const std::vector<bool>& active);
  // Which choices matter by their own conditions.
  std::vector<bool> Active(const Architecture& architecture) const;
  // Sets what has no active condition to the first option, finds what else the
  // network does not look at, and returns which choices matter.
  std::vector<bool> Settle(Architecture* architecture) const;

  // All constant after construction.
  std::string key_;
  bool all_matter_ = false;  // Always, each choice.
  std::vector<Decision> decisions_;
  std::vector<Conditions> when_;                // Of each decision.
  std::vector<std::vector<std::string>> text_;  // "name=option" of each option.
  std::vector<Conditions> forbidden_;
  std::unique_ptr<DeclaredNetwork> network_;  // May be null.
};

}  // namespace hwnas
