// A searched cell: a small graph of operators that a space repeats in its
// network. The space owns the skeleton; the cell is one part of its choices.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "nas/graph/model_graph.h"
#include "nas/space/search_space.h"
#include "nas/space/space_factory.h"

namespace hwnas {

// Immutable, hence thread-safe. `choices` are one for each decision, each in
// range, and valid for any method but Validate.
class Cell {
 public:
  virtual ~Cell() = default;

  // Names the kind of cell with all its parameters; see SearchSpace::key().
  virtual std::string key() const = 0;
  virtual absl::Span<const Decision> decisions() const = 0;
  // What the cell asks beyond each choice's range.
  virtual absl::Status Validate(absl::Span<const int> /*choices*/) const {
    return absl::OkStatus();
  }
  // Uniform over the valid choices; not canonical.
  virtual std::vector<int> Sample(Rng& rng) const;
  // In place; see SearchSpace.
  virtual void Canonicalize(absl::Span<int> choices) const = 0;
  virtual std::string CanonicalKey(absl::Span<const int> choices) const = 0;
  // The cell's notation holds no blank.
  virtual std::string ToText(absl::Span<const int> choices) const = 0;
  virtual absl::StatusOr<std::vector<int>> FromText(
      absl::string_view text) const = 0;

  // What comes out whatever the weights.
  enum class Effect { kZeros, kInput, kOther };
  virtual Effect EffectOf(absl::Span<const int> /*choices*/) const {
    return Effect::kOther;
  }
  // Cells that compute what one of them, the root, does so many times in a row.
  struct Powers {
    int exponent = 1;  // Of the cell that is asked about.
    // Canonical, by exponent; that cell is among them.
    std::map<int, std::vector<int>> cells;
  };
  // Cells that compute the same in a row, in whatever numbers, are powers of
  // one root. By default each cell is its own.
  virtual Powers PowersOf(absl::Span<const int> choices) const;

  // Turns canonical choices into other ones of the same cell, at random; see
  // SearchSpace::AnotherForm. By default keeps them.
  virtual void Disguise(absl::Span<int> /*choices*/, Rng& /*rng*/) const {}

  // Appends the cell at one of its places, named by `scope` ("stage1.cell2.");
  // it keeps the image's size. Returns the id of its result, of about
  // `channels` channels.
  virtual int Append(GraphBuilder& b, int x, int channels,
                     absl::Span<const int> choices, const std::string& scope,
                     const DecodeOptions& options) const = 0;
  // Choices with the most parameters and operators.
  virtual std::vector<int> Largest() const = 0;
};

// INVALID_ARGUMENT begins with the field: "nasbench201.operations: ...".
absl::StatusOr<std::unique_ptr<Cell>> CreateCell(const CellConfig& config);

}  // namespace hwnas
