// Proposes architectures to evaluate.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "nas/evidence.h"
#include "nas/problem.h"
#include "nas/space/search_space.h"
#include "nas/warm_start.h"

namespace hwnas {

// An architecture to evaluate.
struct Proposal {
  int64_t number = 0;  // Position in the study, from 1.
  Architecture architecture;
  std::string digest;
  // For people: "random", "mutation of 12", "crossover of 3 and 9".
  std::string origin;
};

// What a proposal came to, in the order in which the journal says so.
struct Observation {
  Proposal proposal;
  // evaluation.complete is false if the trial was rejected by a constraint
  // before all its stages ran (violation > 0), or failed (violation == 0).
  Evaluation evaluation;
  // Share of the training that the values are after, (0, 1]. Below 1: evidence
  // from a trial that waits, goes on or was stopped. Values of different
  // fidelities must not be compared as they are: a strategy may ignore such an
  // observation, or lift it to full fidelity (nas/fidelity/fidelity_lift.h) and
  // allow for its error. It must know the architecture as proposed either way.
  double fidelity = 1;
};

// What Suggest may know beside the observations.
struct SuggestRequest {
  // Number of the first proposal wanted; the others follow.
  int64_t next_number = 1;
  int count = 1;
  // Proposed before and not observed yet at any fidelity.
  absl::Span<const Proposal> pending;
};

// Not thread-safe: a study owns one strategy. It knows no store, clock or RPC.
//
// Suggest is a function of (space, config, seed), the observations so far in
// order, and the request: a strategy can be dropped at any time and rebuilt
// from the journal, and the search goes on as if nothing had happened. Its
// randomness for proposal n comes from Rng(seed, n).
class Strategy {
 public:
  virtual ~Strategy() = default;

  // At most `count` proposals, none of which repeats the digest of an
  // observation, of a pending proposal or of another in the answer. Fewer, or
  // none, only if no new architecture was found (the space may be exhausted).
  // Never blocks.
  virtual absl::StatusOr<std::vector<Proposal>> Suggest(
      const SuggestRequest& request) = 0;

  // In journal order: each trial that ends, and in a study with fidelities each
  // result at one. So a trial may come several times, each time at a higher
  // fidelity than before; the latest takes the place of the earlier ones. (A
  // trial that fails after a result comes again, with fidelity 1.)
  virtual absl::Status Observe(absl::Span<const Observation> results) = 0;

  virtual absl::string_view name() const = 0;

  // Suggest may take milliseconds: whoever has something else to do should not
  // wait for it.
  virtual bool IsSlow() const { return false; }
};

struct RandomConfig {};
// See nas/strategy/ageing_evolution.h.
struct AgeingEvolutionConfig {
  int population = 20;
  int sample_size = 20;
};
// See nas/strategy/nsga2.h.
struct Nsga2Config {
  int population = 16;
  double crossover = 0.9;
  double mutation = 0;  // Per choice; 0 means 1 / choices.
};
// See nas/strategy/quasi_random.h.
struct QuasiRandomConfig {};
// See nas/strategy/nsga3.h.
struct Nsga3Config {
  int population = 12;
  double crossover = 0.9;
  double mutation = 0;  // Per choice; 0 means 1 / choices.
};
// See nas/strategy/moead.h.
struct MoeadConfig {
  int population = 15;
  int neighbours = 10;
  double crossover = 0.9;
  double mutation = 0;  // Per choice; 0 means 1 / choices.
};
// See nas/strategy/local_search.h.
struct LocalSearchConfig {
  int starts = 5;
};
// See nas/strategy/reinforce.h.
struct ReinforceConfig {
  int initial_design = 20;
  int directions = 10;  // Weight vectors, if there are several objectives.
  double learning_rate = 1;
};
// See nas/strategy/bayesian.h.
struct BayesianConfig {
  int initial = 12;  // Trials before the first model.
};
// See nas/strategy/motpe.h.
struct MotpeConfig {
  int initial = 12;     // Trials before the first estimator.
  int candidates = 24;  // Compared for each proposal.
  bool multivariate = true;
};
// See nas/strategy/mo_bananas.h.
struct MoBananasConfig {
  int initial = 12;      // Trials before the first ensemble.
  int networks = 8;      // In the ensemble of each objective.
  int candidates = 200;  // Bred for each proposal.
};
// What we recommend: needs no tuning. Today Bayesian optimisation.
struct AutoConfig {};

using StrategyConfig =
    std::variant<AutoConfig, RandomConfig, AgeingEvolutionConfig, Nsga2Config,
                 QuasiRandomConfig, Nsga3Config, MoeadConfig, LocalSearchConfig,
                 ReinforceConfig, BayesianConfig, MotpeConfig, MoBananasConfig>;

// `space` must outlive the strategy, as must what `evidence` refers to. The
// strategy searches Problem::Searched(). From `sources` it takes half of its
// initial design and, if it models objectives, features (nas/warm_start.h).
// INVALID_ARGUMENT names the bad parameter.
absl::StatusOr<std::unique_ptr<Strategy>> CreateStrategy(
    const StrategyConfig& config, const SearchSpace* space,
    const Problem& problem, uint64_t seed, Evidence evidence = {},
    absl::Span<const SourceTrials> sources = {});

}  // namespace hwnas
