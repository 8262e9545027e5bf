#include "bench/search/strategies.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace hwnas::bench {

std::vector<NamedStrategy> AllStrategies() {
  return {{"auto", AutoConfig{}},
          {"random", RandomConfig{}},
          {"quasi_random", QuasiRandomConfig{}},
          {"ageing_evolution", AgeingEvolutionConfig{}},
          {"nsga2", Nsga2Config{}},
          {"nsga3", Nsga3Config{}},
          {"moead", MoeadConfig{}},
          {"local_search", LocalSearchConfig{}},
          {"reinforce", ReinforceConfig{}},
          {"motpe", MotpeConfig{}},
          {"mo_bananas", MoBananasConfig{}},
          // What auto is made of, and a variant.
          {"bayesian", BayesianConfig{}, /*only_by_name=*/true},
          {"motpe_univariate", MotpeConfig{.multivariate = false},
           /*only_by_name=*/true}};
}

absl::StatusOr<std::vector<NamedStrategy>> FindStrategies(
    absl::Span<const std::string> names) {
  const std::vector<NamedStrategy> all = AllStrategies();
  std::vector<NamedStrategy> found;
  for (const std::string& name : names) {
    const size_t before = found.size();
    for (const NamedStrategy& known : all) {
      if (name == known.name || (name == "all" && !known.only_by_name)) {
        found.push_back(known);
      }
    }
    if (found.size() == before) {
      return absl::InvalidArgumentError(absl::StrCat(
          name, ", expected all or some of ",
          absl::StrJoin(all, ", ", [](std::string* out, const auto& known) {
            out->append(known.name);
          })));
    }
  }
  return found;
}

}  // namespace hwnas::bench
