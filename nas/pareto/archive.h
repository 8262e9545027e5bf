// The non-dominated points of a growing set, with their hypervolume.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "nas/pareto/pareto.h"

namespace hwnas {

// Keeps the front of all points inserted so far. All objectives are minimised;
// equal points are all kept. The hypervolume grows by what each new point adds
// (ExclusiveHypervolume), so no insertion looks at more than the present front:
// it is linear in the front, plus the hypervolume of the few points within the
// box that the new one adds. With 5 objectives or more that is estimated where
// exactness would cost too much (pareto.h). Not thread-safe.
//
//   ParetoArchive archive(2);
//   archive.SetReference({0, 50});
//   archive.Insert({-91.5, 12.0}, /*id=*/7);
//   archive.hypervolume();  // 91.5 * 38
class ParetoArchive {
 public:
  // At least one objective.
  explicit ParetoArchive(int objectives) : objectives_(objectives) {}

  // Measures hypervolume with respect to `reference` from now on; one value for
  // each objective. Computes that of the present front anew.
  void SetReference(Point reference);
  // Empty if not set.
  const Point& reference() const { return reference_; }

  // Whether the point joined the front, which then loses what it dominates. A
  // point of another size, or with a value that is not finite, never joins.
  bool Insert(absl::Span<const double> point, int64_t id);

  // Whether Insert would be true.
  bool WouldJoin(absl::Span<const double> point) const;

  // Hypervolume that the point would add; 0 without a reference.
  double Gain(absl::Span<const double> point) const;
  // The same to choose among many candidates: rough, but cheap however many
  // objectives there are (RoughExclusiveHypervolumeOfRows).
  double RoughGain(absl::Span<const double> point) const;

  // The front, in no particular order: point i has id ids()[i].
  const std::vector<int64_t>& ids() const { return ids_; }
  absl::Span<const double> point(int i) const {
    return absl::MakeSpan(values_).subspan(static_cast<size_t>(i) * objectives_,
                                           objectives_);
  }
  int size() const { return static_cast<int>(ids_.size()); }

  // 0 without a reference. Points not strictly better than the reference
  // everywhere are on the front but add nothing.
  double hypervolume() const { return hypervolume_; }

 private:
  int objectives_;
  Point reference_;
  // Point after point, so that a scan stays in cache.
  std::vector<double> values_;
  std::vector<int64_t> ids_;
  double hypervolume_ = 0;
};

}  // namespace hwnas
