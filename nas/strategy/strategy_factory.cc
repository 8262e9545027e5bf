#include <memory>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "nas/strategy/ageing_evolution.h"
#include "nas/strategy/bayesian.h"
#include "nas/strategy/nsga2.h"
#include "nas/strategy/random.h"
#include "nas/strategy/strategy.h"

namespace hwnas {
namespace {

template <typename... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};
template <typename... Ts>
Overloaded(Ts...) -> Overloaded<Ts...>;

using StrategyOr = absl::StatusOr<std::unique_ptr<Strategy>>;

template <typename T>
absl::Status OutOfRange(absl::string_view field, T value,
                        absl::string_view expected) {
  return absl::InvalidArgumentError(
      absl::StrCat(field, ": ", value, ", expected ", expected));
}

}  // namespace

StrategyOr CreateStrategy(const StrategyConfig& config,
                          const SearchSpace* space, const Problem& problem,
                          uint64_t seed, Evidence evidence) {
  if (space == nullptr) {
    return absl::InvalidArgumentError("space: none, expected a search space");
  }
  if (problem.objectives.empty()) {
    return absl::InvalidArgumentError("objectives: none, expected at least 1");
  }
  const int objectives = static_cast<int>(problem.objectives.size());
  return std::visit(
      Overloaded{
          [&](const AutoConfig&) -> StrategyOr {
            return CreateStrategy(BayesianConfig{}, space, problem, seed,
                                  std::move(evidence));
          },
          [&](const RandomConfig&) -> StrategyOr {
            return std::make_unique<RandomStrategy>(space, objectives, seed);
          },
          [&](const AgeingEvolutionConfig& c) -> StrategyOr {
            if (c.population < 2 || c.population > 10000) {
              return OutOfRange("ageing_evolution.population", c.population,
                                "2 to 10000");
            }
            if (c.sample_size < 1 || c.sample_size > c.population) {
              return OutOfRange(
                  "ageing_evolution.sample_size", c.sample_size,
                  absl::StrCat("1 to the population, ", c.population));
            }
            return std::make_unique<AgeingEvolutionStrategy>(c, space,
                                                             objectives, seed);
          },
          [&](const Nsga2Config& c) -> StrategyOr {
            if (c.population < 4 || c.population > 10000) {
              return OutOfRange("nsga2.population", c.population, "4 to 10000");
            }
            if (!(c.crossover >= 0 && c.crossover <= 1)) {
              return OutOfRange("nsga2.crossover", c.crossover, "0 to 1");
            }
            if (!(c.mutation >= 0 && c.mutation <= 1)) {
              return OutOfRange("nsga2.mutation", c.mutation,
                                "0 to 1, where 0 means 1 / choices");
            }
            return std::make_unique<Nsga2Strategy>(c, space, objectives, seed);
          },
          [&](const BayesianConfig& c) -> StrategyOr {
            if (c.initial < 2 || c.initial > 1000) {
              return OutOfRange("bayesian.initial", c.initial, "2 to 1000");
            }
            return std::make_unique<BayesianStrategy>(
                c, space, problem, std::move(evidence), seed);
          }},
      config);
}

}  // namespace hwnas
