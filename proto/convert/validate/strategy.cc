// Strategies.
#include <string>

#include "absl/strings/str_cat.h"
#include "proto/convert/validate/checker.h"
#include "proto/convert/validate/rules.h"

namespace hwnas {
namespace {

// The fields that all strategies that breed have.
template <typename Proto>
void CheckVariation(const std::string& path, const Proto& proto, Checker* out) {
  out->RangeIfSet(path + ".population", proto.population(), 4, 10000);
  if (proto.has_crossover()) {
    const double p = proto.crossover();
    out->Require(p >= 0 && p <= 1, path + ".crossover", p,
                 "a probability, 0 to 1");
  }
  if (proto.has_mutation()) {
    const double p = proto.mutation();
    out->Require(p > 0 && p <= 1, path + ".mutation", p,
                 "a probability greater than 0, at most 1");
  }
}

}  // namespace

void CheckStrategy(const v1::StrategySpec& strategy, Checker* out) {
  switch (strategy.kind_case()) {
    case v1::StrategySpec::KIND_NOT_SET:
    case v1::StrategySpec::kAuto:
    case v1::StrategySpec::kRandom:
    case v1::StrategySpec::kQuasiRandom:
      return;
    case v1::StrategySpec::kAgeingEvolution: {
      const std::string path = "spec.strategy.ageing_evolution";
      const v1::AgeingEvolutionStrategy& ageing = strategy.ageing_evolution();
      const int population = ageing.population() == 0
                                 ? AgeingEvolutionConfig{}.population
                                 : ageing.population();
      const size_t before = out->size();
      out->Range(path + ".population", population, 2, 10000);
      const bool population_ok = out->size() == before;
      if (ageing.sample_size() != 0 && population_ok &&
          (ageing.sample_size() < 1 || ageing.sample_size() > population)) {
        out->Add(path + ".sample_size",
                 absl::StrCat(ageing.sample_size(),
                              " is out of range: expected 1 to ", population,
                              ", the population"));
      }
      return;
    }
    case v1::StrategySpec::kNsga2:
      CheckVariation("spec.strategy.nsga2", strategy.nsga2(), out);
      return;
    case v1::StrategySpec::kNsga3:
      CheckVariation("spec.strategy.nsga3", strategy.nsga3(), out);
      return;
    case v1::StrategySpec::kMoead: {
      const std::string path = "spec.strategy.moead";
      const v1::MoeadStrategy& moead = strategy.moead();
      const size_t before = out->size();
      CheckVariation(path, moead, out);
      if (out->size() != before) return;
      const int population = moead.population() == 0 ? MoeadConfig{}.population
                                                     : moead.population();
      out->RangeIfSet(path + ".neighbours", moead.neighbours(), 2, population);
      return;
    }
    case v1::StrategySpec::kLocalSearch:
      out->RangeIfSet("spec.strategy.local_search.starts",
                      strategy.local_search().starts(), 1, 10000);
      return;
    case v1::StrategySpec::kReinforce: {
      const std::string path = "spec.strategy.reinforce";
      const v1::ReinforceStrategy& reinforce = strategy.reinforce();
      if (reinforce.has_initial_design()) {
        out->Range(path + ".initial_design", reinforce.initial_design(), 0,
                   10000);
      }
      out->RangeIfSet(path + ".directions", reinforce.directions(), 1, 1000);
      if (reinforce.has_learning_rate()) {
        const double rate = reinforce.learning_rate();
        out->Require(rate > 0 && rate <= 10, path + ".learning_rate", rate,
                     "more than 0, at most 10");
      }
      return;
    }
    case v1::StrategySpec::kMotpe: {
      const std::string path = "spec.strategy.motpe";
      const v1::MotpeStrategy& motpe = strategy.motpe();
      out->RangeIfSet(path + ".initial", motpe.initial(), 2, 1000);
      out->RangeIfSet(path + ".candidates", motpe.candidates(), 1, 1000);
      return;
    }
    case v1::StrategySpec::kBayesian:
      out->RangeIfSet("spec.strategy.bayesian.initial",
                      strategy.bayesian().initial(), 2, 1000);
      return;
    case v1::StrategySpec::kMoBananas: {
      const std::string path = "spec.strategy.mo_bananas";
      const v1::MoBananasStrategy& bananas = strategy.mo_bananas();
      out->RangeIfSet(path + ".initial", bananas.initial(), 2, 1000);
      out->RangeIfSet(path + ".networks", bananas.networks(), 2, 100);
      out->RangeIfSet(path + ".candidates", bananas.candidates(), 1, 10000);
      return;
    }
  }
}

}  // namespace hwnas
