// Dominance, sorting, crowding and hypervolume over objective vectors. All
// objectives are minimised. Free functions over plain vectors; thread-safe.
#pragma once

#include <vector>

#include "absl/types/span.h"

namespace hwnas {

using Point = std::vector<double>;

// a <= b everywhere and a < b somewhere. Same size; no NaN.
bool Dominates(absl::Span<const double> a, absl::Span<const double> b);

// Indices of the points that no other point dominates, ascending. Equal points
// are all kept.
std::vector<int> NonDominated(absl::Span<const Point> points);

// Fronts of indices, best first, each ascending: the fronts of fast
// non-dominated sorting (Deb et al., 2002), found by the efficient
// non-dominated sort with binary search (ENS-BS; Zhang et al., 2015).
// O(n log n) for two objectives.
std::vector<std::vector<int>> NonDominatedSort(absl::Span<const Point> points);

// Crowding distance (Deb et al., 2002) of each point of one front, in order;
// infinite at the ends of each objective. Among equal values the earlier point
// comes first; an objective on which all points are equal adds nothing.
std::vector<double> CrowdingDistance(absl::Span<const Point> front);

// Lebesgue measure of what the points dominate, bounded by `reference`. Points
// not strictly better than the reference everywhere add nothing. 1-D and 2-D by
// a sweep, 3-D in O(n log n) (Beume et al., 2009), n-D by WFG (While et al.,
// 2012). Exact up to 4 objectives. With more it is exact for small fronts;
// since the exact effort grows exponentially with the objectives, the share of
// a point whose effort would be large is estimated from samples instead: within
// about 1 % over all, equal for equal points, a few milliseconds a point.
double Hypervolume(absl::Span<const Point> points,
                   absl::Span<const double> reference);

// Hypervolume that `point` would add to `others`. Linear in their number, plus
// the hypervolume of those within the box that `point` can add, which is
// estimated as above where it is large.
double ExclusiveHypervolume(absl::Span<const double> point,
                            absl::Span<const Point> others,
                            absl::Span<const double> reference);

// The same, of points laid out one after another in one block.
double ExclusiveHypervolumeOfRows(absl::Span<const double> point,
                                  absl::Span<const double> others,
                                  absl::Span<const double> reference);

// The same, to choose among many candidates: with 5 objectives or more it is
// estimated from 64 samples, to about an eighth of the box that the point can
// add, in microseconds.
double RoughExclusiveHypervolumeOfRows(absl::Span<const double> point,
                                       absl::Span<const double> others,
                                       absl::Span<const double> reference);

// ExclusiveHypervolume, where it is known that what the point adds lies in the
// box from it to `corner`, which is worse than the point everywhere.
double ExclusiveHypervolumeWithin(absl::Span<const double> point,
                                  absl::Span<const double> others,
                                  absl::Span<const double> corner);

// Hypervolume that each point adds to the others: 0 for a point that has an
// equal or a better one.
std::vector<double> HypervolumeContributions(
    absl::Span<const Point> points, absl::Span<const double> reference);

}  // namespace hwnas
