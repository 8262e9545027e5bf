// An ensemble of predictors for each objective, and Thompson sampling.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "nas/pareto/archive.h"
#include "nas/strategy/basic_strategy.h"
#include "nas/strategy/trial_memory.h"
#include "nas/surrogate/feature_map.h"
#include "nas/surrogate/network_ensemble.h"
#include "nas/surrogate/output_transform.h"

namespace hwnas {

// MO-BANANAS (Izquierdo, Guerrero-Viu et al., ICML workshop on AutoML, 2021,
// arXiv 2105.01015; BANANAS for one objective: White et al., AAAI 2021, arXiv
// 1910.11858): an ensemble of networks predicts each objective from features of
// an architecture. `candidates` architectures are bred by mutation of the best
// trials; of each every objective is drawn once from the normal distribution
// that the ensemble predicts (independent Thompson sampling); the draws are
// sorted by non-domination, and one of the first front is proposed.
//
// Variants, all ours:
// - networks are fitted in closed form (nas/surrogate/network_ensemble.h), to
//   the features of nas/surrogate/feature_map.h;
// - of the first front the draw that adds most hypervolume to the front of all
//   trials is proposed, where trials under evaluation count as if they had
//   ended as predicted;
// - the size of the violation of constraints is one more value that is drawn,
//   and draws are sorted under constrained non-domination;
// - an objective that the evidence knows is not drawn but taken from there, and
//   candidates that the evidence shows to violate a constraint are not
//   proposed;
// - the ensembles are fitted anew when the trials have grown by a twentieth; at
//   most 256 trials, those near the front first, take part: the cost of a
//   proposal does not grow with the history.
//
// Not thread-safe.
class MoBananasStrategy final : public BasicStrategy {
 public:
  // `config` must be valid (CreateStrategy). `space` must outlive this.
  MoBananasStrategy(const MoBananasConfig& config, const SearchSpace* space,
                    const Problem& problem, Evidence evidence, uint64_t seed,
                    absl::Span<const SourceTrials> sources = {});

  absl::string_view name() const override { return "mo_bananas"; }
  bool IsSlow() const override { return true; }

 private:
  // A trial at full fidelity.
  struct Example {
    std::vector<int> choices;
    FidelityLift::Lifted lifted;
  };
  // What is known of an architecture before it is evaluated.
  struct Description {
    Eigen::RowVectorXd features;
    Evaluation known;  // From the evidence; objectives are NaN where unknown.
  };
  // Of an objective, or (last) of the violation. No ensemble: nothing is known.
  struct Predictor {
    OutputTransform transform;
    std::optional<NetworkEnsemble> ensemble;
  };

  void BeginSuggest(const SuggestRequest& request) override;
  std::optional<Candidate> Vary(int64_t number, int attempt, Rng& rng) override;
  void OnProposed(const Proposal& proposal) override;
  void Learn(const Observation& observation) override;

  const Description& Describe(const std::vector<int>& choices);
  Eigen::MatrixXd FeaturesOf(
      absl::Span<const std::vector<int>* const> architectures);
  void Fit();
  void FitPredictor(int k, absl::Span<const int> rows,
                    const Eigen::MatrixXd& features, Rng& rng);
  // What predictor `k` is to predict of an example; NaN if not known.
  double Target(const Example& example, int k) const;
  void RankTrials();
  // The architecture is now under evaluation.
  void Believe(const std::vector<int>& choices);
  std::vector<Architecture> Breed(Rng& rng);
  // The best of new candidates, best first.
  std::vector<Architecture> Draw(Rng& rng);

  const MoBananasConfig config_;
  const Problem problem_;
  const Evidence evidence_;
  const FeatureMap features_;

  TrialMemory memory_;
  absl::flat_hash_set<std::vector<int>> spent_;
  // Results observed, and how many will have been when the examples are next
  // taken.
  int64_t observed_ = 0;
  int64_t next_fit_;
  // Taken when the ensembles were last due; at what number of results.
  std::vector<Example> examples_;
  int64_t due_ = 0;

  // The rest follows from what is above. Fitted to the examples of this number;
  // 0: never.
  int64_t fitted_ = 0;
  bool constrained_ = false;
  double margin_ = 1;  // By which a feasible trial keeps its constraints.
  std::vector<Predictor> predictors_;
  // Of memory_: the best trials, and the front of the feasible ones, both empty
  // if not known since the last observation.
  std::vector<int> best_;
  ParetoArchive front_;
  // With what is under way, each as if it had ended as predicted.
  absl::flat_hash_set<std::vector<int>> under_way_;
  ParetoArchive believed_front_;
  // For the present proposal.
  std::vector<Architecture> drawn_;
  // Only saves time.
  absl::flat_hash_map<std::vector<int>, Description> descriptions_;
};

}  // namespace hwnas
