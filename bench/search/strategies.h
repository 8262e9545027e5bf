// The strategies that benchmarks of the search compare, with their defaults.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "nas/strategy/strategy.h"

namespace hwnas::bench {

struct NamedStrategy {
  std::string name;
  StrategyConfig config;
  bool only_by_name = false;  // Not one of "all".
};

std::vector<NamedStrategy> AllStrategies();

// Those of these names, "all" for all. INVALID_ARGUMENT names an unknown one.
absl::StatusOr<std::vector<NamedStrategy>> FindStrategies(
    absl::Span<const std::string> names);

}  // namespace hwnas::bench
