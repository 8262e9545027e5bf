#include <memory>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "nas/strategy/ageing_evolution.h"
#include "nas/strategy/bayesian.h"
#include "nas/strategy/local_search.h"
#include "nas/strategy/mo_bananas.h"
#include "nas/strategy/moead.h"
#include "nas/strategy/motpe.h"
#include "nas/strategy/nsga2.h"
#include "nas/strategy/nsga3.h"
#include "nas/strategy/quasi_random.h"
#include "nas/strategy/random.h"
#include "nas/strategy/reinforce.h"
#include "nas/strategy/strategy.h"

namespace hwnas {
namespace {

template <typename... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};
template <typename... Ts>
Overloaded(Ts...) -> Overloaded<Ts...>;

using StrategyOr = absl::StatusOr<std::unique_ptr<BasicStrategy>>;

template <typename T>
absl::Status OutOfRange(absl::string_view field, T value,
                        absl::string_view expected) {
  return absl::InvalidArgumentError(
      absl::StrCat(field, ": ", value, ", expected ", expected));
}

// What the evolutionary strategies that breed have in common.
template <typename Config>
absl::Status CheckVariation(absl::string_view kind, const Config& c) {
  if (c.population < 4 || c.population > 10000) {
    return OutOfRange(absl::StrCat(kind, ".population"), c.population,
                      "4 to 10000");
  }
  if (!(c.crossover >= 0 && c.crossover <= 1)) {
    return OutOfRange(absl::StrCat(kind, ".crossover"), c.crossover, "0 to 1");
  }
  if (!(c.mutation >= 0 && c.mutation <= 1)) {
    return OutOfRange(absl::StrCat(kind, ".mutation"), c.mutation,
                      "0 to 1, where 0 means 1 / choices");
  }
  return absl::OkStatus();
}

// Without the part of the initial design that is from `sources`.
StrategyOr Create(const StrategyConfig& config, const SearchSpace* space,
                  const Problem& problem, uint64_t seed, Evidence evidence,
                  absl::Span<const SourceTrials> sources) {
  const int objectives = static_cast<int>(problem.Searched().objectives.size());
  return std::visit(
      Overloaded{
          [&](const AutoConfig&) -> StrategyOr {
            return Create(BayesianConfig{}, space, problem, seed,
                          std::move(evidence), sources);
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
            HWNAS_RETURN_IF_ERROR(CheckVariation("nsga2", c));
            return std::make_unique<Nsga2Strategy>(c, space, objectives, seed);
          },
          [&](const BayesianConfig& c) -> StrategyOr {
            if (c.initial < 2 || c.initial > 1000) {
              return OutOfRange("bayesian.initial", c.initial, "2 to 1000");
            }
            return std::make_unique<BayesianStrategy>(
                c, space, problem, std::move(evidence), seed, sources);
          },
          [&](const MotpeConfig& c) -> StrategyOr {
            if (c.initial < 2 || c.initial > 1000) {
              return OutOfRange("motpe.initial", c.initial, "2 to 1000");
            }
            if (c.candidates < 1 || c.candidates > 1000) {
              return OutOfRange("motpe.candidates", c.candidates, "1 to 1000");
            }
            return std::make_unique<MotpeStrategy>(c, space, problem, seed);
          },
          [&](const MoBananasConfig& c) -> StrategyOr {
            if (c.initial < 2 || c.initial > 1000) {
              return OutOfRange("mo_bananas.initial", c.initial, "2 to 1000");
            }
            if (c.networks < 2 || c.networks > 100) {
              return OutOfRange("mo_bananas.networks", c.networks, "2 to 100");
            }
            if (c.candidates < 1 || c.candidates > 10000) {
              return OutOfRange("mo_bananas.candidates", c.candidates,
                                "1 to 10000");
            }
            return std::make_unique<MoBananasStrategy>(
                c, space, problem, std::move(evidence), seed, sources);
          },
          [&](const QuasiRandomConfig&) -> StrategyOr {
            return std::make_unique<QuasiRandomStrategy>(space, objectives,
                                                         seed);
          },
          [&](const Nsga3Config& c) -> StrategyOr {
            HWNAS_RETURN_IF_ERROR(CheckVariation("nsga3", c));
            return std::make_unique<Nsga3Strategy>(c, space, objectives, seed);
          },
          [&](const MoeadConfig& c) -> StrategyOr {
            HWNAS_RETURN_IF_ERROR(CheckVariation("moead", c));
            if (c.neighbours < 2 || c.neighbours > c.population) {
              return OutOfRange(
                  "moead.neighbours", c.neighbours,
                  absl::StrCat("2 to the population, ", c.population));
            }
            return std::make_unique<MoeadStrategy>(c, space, objectives, seed);
          },
          [&](const LocalSearchConfig& c) -> StrategyOr {
            if (c.starts < 1 || c.starts > 10000) {
              return OutOfRange("local_search.starts", c.starts, "1 to 10000");
            }
            return std::make_unique<LocalSearchStrategy>(c, space, objectives,
                                                         seed);
          },
          [&](const ReinforceConfig& c) -> StrategyOr {
            if (c.initial_design < 0 || c.initial_design > 10000) {
              return OutOfRange("reinforce.initial_design", c.initial_design,
                                "0 to 10000");
            }
            if (c.directions < 1 || c.directions > 1000) {
              return OutOfRange("reinforce.directions", c.directions,
                                "1 to 1000");
            }
            if (!(c.learning_rate > 0 && c.learning_rate <= 10)) {
              return OutOfRange("reinforce.learning_rate", c.learning_rate,
                                "more than 0, at most 10");
            }
            return std::make_unique<ReinforceStrategy>(c, space, objectives,
                                                       seed);
          }},
      config);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Strategy>> CreateStrategy(
    const StrategyConfig& config, const SearchSpace* space,
    const Problem& problem, uint64_t seed, Evidence evidence,
    absl::Span<const SourceTrials> sources) {
  if (space == nullptr) {
    return absl::InvalidArgumentError("space: none, expected a search space");
  }
  if (problem.objectives.empty()) {
    return absl::InvalidArgumentError("objectives: none, expected at least 1");
  }
  HWNAS_ASSIGN_OR_RETURN(
      std::unique_ptr<BasicStrategy> strategy,
      Create(config, space, problem, seed, evidence, sources));
  if (evidence) strategy->Heed(problem, evidence);
  strategy->BeginWith(BestOfSources(*space, sources, strategy->favourites()));
  return strategy;
}

}  // namespace hwnas
