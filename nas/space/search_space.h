// A search space: the architectures that a study may propose.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/rng.h"
#include "nas/graph/model_graph.h"

namespace hwnas {

// One choice to make: an option by its index.
struct Decision {
  std::string name;                  // "edge_0_1", "stage2.kernel1".
  std::vector<std::string> options;  // At least one.
  // The options have an order that a step mutation or a model may use.
  bool ordered = false;
};

// A point of a space: the index of the option taken at each decision. Only a
// value; what it means is up to the space.
struct Architecture {
  std::vector<int> choices;

  friend bool operator==(const Architecture&, const Architecture&) = default;
  friend auto operator<=>(const Architecture&, const Architecture&) = default;
};

struct DecodeOptions {
  // Keep operators that the output does not depend on. Benchmarks such as
  // NAS-Bench-201 count their FLOPs and parameters; nobody should train or
  // deploy them.
  bool keep_dead_nodes = false;
};

// Immutable, hence thread-safe. Architectures passed to any method but Validate
// must be valid; violating this is a programming error (CHECK).
class SearchSpace {
 public:
  virtual ~SearchSpace() = default;

  // Names the space with all its parameters: equal keys mean the same space.
  // Part of every digest.
  virtual std::string key() const = 0;

  virtual absl::Span<const Decision> decisions() const = 0;

  // Right number of choices, each in range, and whatever else the space asks.
  // INVALID_ARGUMENT names the decision and the value.
  virtual absl::Status Validate(const Architecture& architecture) const;

  // The same network with every choice that does not matter set to a fixed
  // value. Strategies propose canonical architectures only.
  virtual Architecture Canonicalize(const Architecture& architecture) const {
    return architecture;
  }

  // Text that is equal for architectures the space knows to compute the same
  // function (isomorphic cells, unused layers).
  virtual std::string CanonicalKey(const Architecture& architecture) const = 0;

  // SHA-256 of key() and CanonicalKey(): names the network everywhere.
  std::string Digest(const Architecture& architecture) const;

  // The space's own notation, for people, and its inverse, strict about what it
  // accepts. What the notation leaves out, because it does not matter, comes
  // back canonical: Canonicalize(FromText(ToText(a))) == Canonicalize(a).
  virtual std::string ToText(const Architecture& architecture) const = 0;
  virtual absl::StatusOr<Architecture> FromText(
      absl::string_view text) const = 0;

  // The network.
  virtual absl::StatusOr<ModelGraph> Decode(
      const Architecture& architecture, const DecodeOptions& options) const = 0;
  absl::StatusOr<ModelGraph> Decode(const Architecture& architecture) const {
    return Decode(architecture, DecodeOptions{});
  }

  // Uniform over the choices that matter and are valid together, canonical.
  virtual Architecture Sample(Rng& rng) const;
  // Changes exactly one choice that matters of the parent in its canonical or,
  // where a space has it so, another form (a network that differs whenever the
  // space can tell), canonical: a decision uniformly
  // among those that can be changed, then one of its other options uniformly.
  // The parent itself if the space has no other valid network one choice away.
  virtual Architecture MutateOne(const Architecture& parent, Rng& rng) const;
  // Each choice from either parent with equal probability, canonical; `a` if
  // no valid child is found in a few tries.
  virtual Architecture Crossover(const Architecture& a, const Architecture& b,
                                 Rng& rng) const;

  // Every network once: all distinct canonical points, in a fixed order;
  // nullopt if there may be more than `limit` points before canonicalisation.
  // Slow in general: looks at each.
  virtual std::optional<std::vector<Architecture>> Enumerate(
      double limit) const;

  // log10 of the number of points before canonicalisation.
  double Log10Size() const;

 protected:
  // Choices that mean the same network as `canonical`, at random: where
  // mutation begins. For spaces whose canonical form hides what one change
  // could bring in. By default the canonical form itself.
  virtual Architecture AnotherForm(const Architecture& canonical,
                                   Rng& rng) const;

  // Decisions that may matter in a canonical architecture, ascending. All,
  // unless the space knows better: mutation tries no others.
  virtual std::vector<int> Mattering(const Architecture& canonical) const;

  // OK unless fewer than one in 100 points is valid, so that Sample would
  // search for long. For the Create functions of spaces that ask for more than
  // ranges.
  absl::Status CheckValidPointsAreCommon() const;

  // Ends the program if `architecture` is not valid.
  void RequireValid(const Architecture& architecture) const;
};

}  // namespace hwnas
