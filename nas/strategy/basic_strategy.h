// What all strategies here share: they never repeat an architecture, they find
// what is left of a small space, and they start with a stratified sample.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/numeric/int128.h"
#include "common/rng.h"
#include "nas/fidelity/fidelity_lift.h"
#include "nas/pareto/constrained.h"
#include "nas/strategy/strategy.h"

namespace hwnas {

// Closes the loop around what makes an algorithm particular:
//
//   Suggest:  initial design, while there are fewer proposals than that
//             -> Vary, up to 32 times, until the outcome is new
//             -> uniform samples, up to 64
//             -> a uniform choice among all that is left, if the space has at
//                most 100,000 points; else the first new point in a walk over
//                20,000 points from a random one
//   Observe:  Learn, once for each observation
//
// so a space of at most 100,000 points is exhausted exactly, and no proposal
// takes unbounded work.
//
// With evidence (Heed) a candidate that is known to violate a constraint is
// passed over: if there are only such, the best of them is mutated until it
// does not, and if nothing that was tried will do, what violates least is
// proposed. Not thread-safe.
class BasicStrategy : public Strategy {
 public:
  absl::StatusOr<std::vector<Proposal>> Suggest(
      const SuggestRequest& request) final;
  absl::Status Observe(absl::Span<const Observation> results) final;

  // What is free to know from now on. Before the first Suggest.
  void Heed(const Problem& problem, const Evidence& evidence);

  // How many networks BeginWith has room for: half of the initial design.
  int favourites() const {
    return static_cast<int>(initial_design_.size()) / 2;
  }
  // Puts canonical networks that are likely good, the first `favourites()` of
  // them, in place of members of the initial design other than its ends. Before
  // the first Suggest.
  void BeginWith(std::vector<Architecture> networks);

 protected:
  struct Candidate {
    Architecture architecture;
    std::string origin;
  };

  // The first `initial_design` proposals of a study form a Latin hypercube
  // sample (McKay et al., 1979) over the decisions, made canonical: each option
  // of a decision is taken equally often. But the first two of them take the
  // first and the last option of every ordered decision: where sizes are
  // ordered these are the cheapest and the largest network, the two ends of
  // most fronts. `space` must outlive this.
  BasicStrategy(const SearchSpace* space, int objectives, uint64_t seed,
                int initial_design);

  const std::vector<Architecture>& initial_design() const {
    return initial_design_;
  }
  // Puts `architectures` in place of the last members of the initial design.
  void SpecialiseInitialDesign(std::vector<Architecture> architectures);

  // A candidate for proposal `number` made from what was learnt, which may be
  // an old one: then it is called again with the next attempt (from 0), and
  // should look further afield. nullopt: nothing to start from, propose a
  // random one. Must not change what Suggest answers later.
  virtual std::optional<Candidate> Vary(int64_t number, int attempt,
                                        Rng& rng) = 0;

  // Called first in every Suggest.
  virtual void BeginSuggest(const SuggestRequest& request) {}
  // `proposal` is in the answer; the next Vary comes after it.
  virtual void OnProposed(const Proposal& proposal) {}

  // Takes one checked observation in. It may be of a trial that was learnt at a
  // lower fidelity: then it takes the place of that.
  virtual void Learn(const Observation& observation) = 0;

  // How an observation would stand at full fidelity, by what is known now; and
  // how sure that is.
  Evaluation AtFullFidelity(const Observation& observation) const;
  FidelityLift::Lifted Lifted(const Observation& observation) const;
  // Ranks observations of any fidelities by that.
  RankAndCrowding Rank(absl::Span<const Observation* const> observations) const;

  const SearchSpace& space() const { return *space_; }
  int objectives() const { return objectives_; }
  uint64_t seed() const { return seed_; }
  bool Observed(absl::string_view digest) const {
    return observed_.contains(DigestKey(digest));
  }

  // What evolutionary strategies do: with probability `crossover` each choice
  // comes from either parent, else `mother` is copied; then each choice mutates
  // with probability `mutation` (0 means 1 / choices). One mutation more for
  // every 4 attempts, and for each number of mutations that hardly leads to
  // anything new after so many trials.
  Candidate Breed(const Proposal& mother, const Proposal& father,
                  double crossover, double mutation, int attempt,
                  Rng& rng) const;

 private:
  using DigestSet = absl::flat_hash_set<absl::string_view>;
  using ChoiceSet = absl::flat_hash_set<std::vector<int>>;

  // What one Suggest must not propose, beside what is pending.
  struct Taken {
    DigestSet digests;  // Those that it has proposed.
    // Choices seen to have one of them. Only saves time.
    ChoiceSet choices;
  };

  // Brings `pending_` up to date: from one Suggest to the next few change, of
  // thousands perhaps.
  void FollowPending(absl::Span<const Proposal> pending);
  bool IsTaken(absl::string_view digest, const Taken& taken) const {
    return pending_digests_.contains(digest) || taken.digests.contains(digest);
  }
  // What is known to violate a constraint, and of that what violates least.
  struct LastResort {
    std::optional<Proposal> proposal;
    double violation = 0;
  };

  // By how much it is known to violate the constraints.
  double KnownViolation(const Architecture& architecture) const;
  // One new architecture with its digest; nullopt if none was found.
  std::optional<Proposal> Propose(int64_t number, int64_t earlier,
                                  Taken& taken);
  std::optional<Proposal> ProposeDesigned(int64_t number, Taken& taken,
                                          LastResort& last);
  std::optional<Proposal> ProposeVaried(int64_t number, Rng& rng, Taken& taken,
                                        LastResort& last);
  // From what violates a constraint by mutations to what does not, never
  // uphill.
  std::optional<Proposal> ProposeRepaired(int64_t number, Rng& rng,
                                          Taken& taken, LastResort& last);
  // The candidate, if it is new and not known to violate a constraint.
  std::optional<Proposal> Accept(int64_t number, Candidate candidate,
                                 Taken& taken, LastResort& last);
  std::optional<Proposal> ProposeRemaining(int64_t number, Rng& rng,
                                           Taken& taken);
  // The digest of an architecture that is neither observed nor taken; nullopt
  // of any other.
  std::optional<std::string> DigestIfNew(const Architecture& architecture,
                                         Taken& taken);
  // Point `index` of the space in mixed radix; nullopt if it is not valid.
  std::optional<Architecture> PointAt(uint64_t index) const;

  struct Remaining {
    Architecture architecture;
    std::string digest;
  };

  // Constant after construction.
  const SearchSpace* space_;
  int objectives_;
  uint64_t seed_;
  std::vector<Architecture> initial_design_;
  // Members of it that BeginWith put there: from this one, so many.
  size_t first_favourite_ = 0;
  size_t favourite_count_ = 0;
  double size_;  // Points before canonicalisation.
  // Trials after which children with 1, 2, ... mutations are mostly old.
  std::array<double, 3> crowded_after_;
  // What Heed was told; no evidence if it knows of no constraint.
  Problem problem_;
  Evidence evidence_;

  // The first half of a SHA-256, however it is written: 16 bytes for a trial,
  // and no two of them are ever equal by chance.
  static absl::uint128 DigestKey(absl::string_view digest);

  // Keys of the digests of all observations.
  absl::flat_hash_set<absl::uint128> observed_;
  // Hashes of the choices of all observations: late in a search most children
  // are old, and a digest costs more than all else about them. It follows from
  // the observations alone, so that what a chance collision leaves out (one
  // candidate in 10^13) is left out after a restart as well.
  absl::flat_hash_set<uint64_t> observed_choices_;
  // Other choices seen to have one of the digests. Only saves time.
  ChoiceSet known_choices_;
  // What was under evaluation at the last Suggest, and how many have a digest.
  struct PendingTrial {
    int64_t number = 0;
    std::string digest;
  };
  std::vector<PendingTrial> pending_;
  absl::flat_hash_map<std::string, int> pending_digests_;
  // Trials observed.
  int64_t observation_count_ = 0;
  FidelityLift lift_;
  // All distinct points of a small space that were not observed when last
  // looked at, in order of their index. Only saves time.
  std::optional<std::vector<Remaining>> remaining_;
  bool enumerable_ = true;  // As far as is known.
};

// Where `members` has the trial of `observation` from a lower fidelity; end()
// if nowhere.
template <typename Members>
auto FindEarlier(Members& members, const Observation& observation) {
  return std::find_if(members.begin(), members.end(),
                      [&observation](const Observation& member) {
                        return member.fidelity < 1 &&
                               member.proposal.number ==
                                   observation.proposal.number;
                      });
}

}  // namespace hwnas
