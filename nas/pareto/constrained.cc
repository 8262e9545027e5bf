#include "nas/pareto/constrained.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

namespace hwnas {

Standing StandingOf(const Evaluation& evaluation) {
  if (evaluation.violation > 0) return Standing::kViolates;
  return evaluation.complete ? Standing::kFeasible : Standing::kFailed;
}

bool ConstrainedDominates(const Evaluation& a, const Evaluation& b) {
  const Standing a_standing = StandingOf(a);
  const Standing b_standing = StandingOf(b);
  if (a_standing != b_standing) return a_standing < b_standing;
  switch (a_standing) {
    case Standing::kFeasible:
      return Dominates(a.objectives, b.objectives);
    case Standing::kViolates:
      return a.violation < b.violation;
    case Standing::kFailed:
      return false;
  }
  return false;
}

std::vector<std::vector<int>> ConstrainedNonDominatedSort(
    absl::Span<const Evaluation* const> evaluations) {
  std::vector<Point> feasible_points;
  std::vector<int> feasible;
  std::vector<int> violating;
  std::vector<int> failed;
  for (size_t i = 0; i < evaluations.size(); ++i) {
    const int index = static_cast<int>(i);
    switch (StandingOf(*evaluations[i])) {
      case Standing::kFeasible:
        feasible.push_back(index);
        feasible_points.push_back(evaluations[i]->objectives);
        break;
      case Standing::kViolates:
        violating.push_back(index);
        break;
      case Standing::kFailed:
        failed.push_back(index);
        break;
    }
  }
  std::vector<std::vector<int>> fronts = NonDominatedSort(feasible_points);
  for (std::vector<int>& front : fronts) {
    for (int& i : front) i = feasible[i];
  }
  std::stable_sort(violating.begin(), violating.end(), [&](int a, int b) {
    return evaluations[a]->violation < evaluations[b]->violation;
  });
  for (size_t i = 0; i < violating.size(); ++i) {
    if (i == 0 || evaluations[violating[i - 1]]->violation !=
                      evaluations[violating[i]]->violation) {
      fronts.emplace_back();
    }
    fronts.back().push_back(violating[i]);
  }
  if (!failed.empty()) fronts.push_back(std::move(failed));
  return fronts;
}

std::vector<std::vector<int>> ConstrainedNonDominatedSort(
    absl::Span<const Evaluation> evaluations) {
  std::vector<const Evaluation*> pointers;
  pointers.reserve(evaluations.size());
  for (const Evaluation& evaluation : evaluations) {
    pointers.push_back(&evaluation);
  }
  return ConstrainedNonDominatedSort(pointers);
}

RankAndCrowding RankAndCrowd(absl::Span<const Evaluation* const> evaluations) {
  RankAndCrowding result{std::vector<int>(evaluations.size()),
                         std::vector<double>(evaluations.size())};
  const std::vector<std::vector<int>> fronts =
      ConstrainedNonDominatedSort(evaluations);
  std::vector<Point> points;
  for (size_t rank = 0; rank < fronts.size(); ++rank) {
    const std::vector<int>& front = fronts[rank];
    for (int i : front) result.rank[i] = static_cast<int>(rank);
    if (StandingOf(*evaluations[front[0]]) != Standing::kFeasible) continue;
    points.clear();
    for (int i : front) points.push_back(evaluations[i]->objectives);
    const std::vector<double> crowding = CrowdingDistance(points);
    for (size_t j = 0; j < front.size(); ++j) {
      result.crowding[front[j]] = crowding[j];
    }
  }
  return result;
}

Point ReferenceOf(const Problem& problem,
                  absl::Span<const Evaluation> evaluations) {
  Point reference;
  for (size_t k = 0; k < problem.objectives.size(); ++k) {
    const ObjectiveSpec& objective = problem.objectives[k];
    if (objective.reference) {
      reference.push_back(objective.maximize ? -*objective.reference
                                             : *objective.reference);
      continue;
    }
    double worst = -std::numeric_limits<double>::infinity();
    double best = std::numeric_limits<double>::infinity();
    for (const Evaluation& evaluation : evaluations) {
      const double value = evaluation.objectives[k];
      if (!std::isfinite(value)) continue;
      worst = std::max(worst, value);
      best = std::min(best, value);
    }
    reference.push_back(worst >= best ? worst + 0.1 * (worst - best) : 0);
  }
  return reference;
}

}  // namespace hwnas
