#include "nas/strategy/basic_strategy.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <deque>
#include <limits>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/digest.h"

namespace hwnas {
namespace {

constexpr int kVaryAttempts = 32;
constexpr int kSampleAttempts = 64;
constexpr int kRepairs = 64;
// Points at which the evidence is asked whether it knows of a constraint.
constexpr int kEvidenceSample = 16;
// Children that are so many choices away from their parents are mostly old
// after so many times more trials than a point has others at that distance.
constexpr double kCrowded = 32;
constexpr double kEnumerableSize = 100000;
constexpr int kWalkLength = 20000;
constexpr int kMaxCount = 1000000;
constexpr size_t kMostChoicesKept = 16384;

// A hash of choices, the same in every process.
uint64_t ChoicesKey(const std::vector<int>& choices) {
  uint64_t key = choices.size();
  for (const int choice : choices) {
    // SplitMix64's mixing (Steele et al., OOPSLA 2014).
    key += 0x9e3779b97f4a7c15ull + static_cast<uint64_t>(choice);
    key = (key ^ (key >> 30)) * 0xbf58476d1ce4e5b9ull;
    key = (key ^ (key >> 27)) * 0x94d049bb133111ebull;
    key ^= key >> 31;
  }
  return key;
}

// Stream of the initial design; proposals have those from 1.
constexpr uint64_t kDesignStream = 0;

std::vector<Architecture> InitialDesign(const SearchSpace& space, int count,
                                        uint64_t seed) {
  Rng rng(seed, kDesignStream);
  std::vector<Architecture> design(count);
  std::vector<int> strata(count);
  for (const Decision& decision : space.decisions()) {
    for (int i = 0; i < count; ++i) strata[i] = i;
    rng.Shuffle(strata);
    const int options = static_cast<int>(decision.options.size());
    for (int i = 0; i < count; ++i) {
      const double position = (strata[i] + rng.Uniform()) / count;
      design[i].choices.push_back(
          std::min(static_cast<int>(position * options), options - 1));
    }
  }
  // The two ends of what is ordered.
  for (size_t k = 0; k < space.decisions().size(); ++k) {
    const Decision& decision = space.decisions()[k];
    if (!decision.ordered || count < 2) continue;
    design[0].choices[k] = 0;
    design[1].choices[k] = static_cast<int>(decision.options.size()) - 1;
  }
  for (Architecture& architecture : design) {
    if (space.Validate(architecture).ok()) {
      architecture = space.Canonicalize(architecture);
    } else {
      architecture = space.Sample(rng);
    }
  }
  return design;
}

}  // namespace

absl::uint128 BasicStrategy::DigestKey(absl::string_view digest) {
  const std::string other = IsSha256Hex(digest) ? "" : Sha256Hex(digest);
  if (!other.empty()) digest = other;
  uint64_t high = 0, low = 0;
  (void)absl::SimpleHexAtoi(digest.substr(0, 16), &high);
  (void)absl::SimpleHexAtoi(digest.substr(16, 16), &low);
  return absl::MakeUint128(high, low);
}

BasicStrategy::BasicStrategy(const SearchSpace* space, int objectives,
                             uint64_t seed, int initial_design)
    : space_(space),
      objectives_(objectives),
      seed_(seed),
      initial_design_(InitialDesign(*space, initial_design, seed)),
      size_(1) {
  // Points at each distance from one: elementary symmetric polynomials.
  std::array<double, 4> at = {1};
  for (const Decision& decision : space->decisions()) {
    const auto options = static_cast<double>(decision.options.size());
    size_ *= options;
    for (size_t k = at.size() - 1; k > 0; --k) {
      at[k] += at[k - 1] * (options - 1);
    }
  }
  for (size_t k = 0; k < crowded_after_.size(); ++k) {
    crowded_after_[k] = at[k + 1] > 0 ? kCrowded * at[k + 1]
                                      : std::numeric_limits<double>::infinity();
  }
}

void BasicStrategy::SpecialiseInitialDesign(
    std::vector<Architecture> architectures) {
  const size_t count = std::min(architectures.size(), initial_design_.size());
  std::move(architectures.begin(), architectures.begin() + count,
            initial_design_.end() - count);
}

void BasicStrategy::BeginWith(std::vector<Architecture> networks) {
  constexpr size_t kEnds = 2;
  favourite_count_ =
      std::min(networks.size(), static_cast<size_t>(favourites()));
  first_favourite_ = std::min(kEnds, initial_design_.size() - favourite_count_);
  std::move(networks.begin(), networks.begin() + favourite_count_,
            initial_design_.begin() + first_favourite_);
}

void BasicStrategy::Heed(const Problem& problem, const Evidence& evidence) {
  // Whether an objective that is known may lie beyond a preference's bounds.
  bool informed = problem.preference.has_value();
  Rng rng(seed_, kDesignStream);
  for (int i = 0; i < kEvidenceSample && !informed; ++i) {
    for (const MetricValue& value : evidence(space_->Sample(rng))) {
      for (const ConstraintSpec& constraint : problem.constraints) {
        informed |= constraint.key == value.key && std::isfinite(value.value);
      }
    }
  }
  if (!informed) return;
  problem_ = problem;
  evidence_ = evidence;
}

double BasicStrategy::KnownViolation(const Architecture& architecture) const {
  if (!evidence_) return 0;
  return problem_.Evaluate(evidence_(architecture)).Shown().violation;
}

absl::StatusOr<std::vector<Proposal>> BasicStrategy::Suggest(
    const SuggestRequest& request) {
  if (request.count < 0 || request.count > kMaxCount) {
    return absl::InvalidArgumentError(
        absl::StrCat("count: ", request.count, ", expected 0 to ", kMaxCount));
  }
  if (request.next_number < 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "next_number: ", request.next_number, ", expected at least 1"));
  }
  std::vector<Proposal> proposals;
  // Never reallocated: `taken` refers to the digests in it.
  proposals.reserve(request.count);
  Taken taken;
  taken.digests.reserve(request.count);
  FollowPending(request.pending);
  const int64_t earlier =
      observation_count_ + static_cast<int64_t>(request.pending.size());
  BeginSuggest(request);
  for (int i = 0; i < request.count; ++i) {
    std::optional<Proposal> proposal =
        Propose(request.next_number + i, earlier + i, taken);
    if (!proposal) break;
    OnProposed(*proposal);
    proposals.push_back(*std::move(proposal));
    taken.digests.insert(proposals.back().digest);
  }
  return proposals;
}

void BasicStrategy::FollowPending(absl::Span<const Proposal> pending) {
  std::vector<PendingTrial> now;
  now.reserve(pending.size());
  size_t next = 0;
  const auto drop = [this, &next] {
    const auto it = pending_digests_.find(pending_[next++].digest);
    if (--it->second == 0) pending_digests_.erase(it);
  };
  for (const Proposal& trial : pending) {
    while (next < pending_.size() && pending_[next].number < trial.number) {
      drop();
    }
    if (next < pending_.size() && pending_[next].number == trial.number &&
        pending_[next].digest == trial.digest) {
      now.push_back(std::move(pending_[next++]));
    } else {
      ++pending_digests_[trial.digest];
      now.push_back({trial.number, trial.digest});
    }
  }
  while (next < pending_.size()) drop();
  pending_ = std::move(now);
}

std::optional<Proposal> BasicStrategy::Accept(int64_t number,
                                              Candidate candidate, Taken& taken,
                                              LastResort& last) {
  std::optional<std::string> digest =
      DigestIfNew(candidate.architecture, taken);
  if (!digest) return std::nullopt;
  const double violation = KnownViolation(candidate.architecture);
  Proposal proposal{number, std::move(candidate.architecture),
                    *std::move(digest), std::move(candidate.origin)};
  if (!(violation > 0)) return proposal;
  if (!last.proposal || violation < last.violation) {
    last = {std::move(proposal), violation};
  }
  return std::nullopt;
}

std::optional<Proposal> BasicStrategy::ProposeDesigned(int64_t number,
                                                       Taken& taken,
                                                       LastResort& last) {
  const auto member = static_cast<size_t>(number - 1);
  if (member >= initial_design_.size()) return std::nullopt;
  const bool favourite = member >= first_favourite_ &&
                         member < first_favourite_ + favourite_count_;
  return Accept(number,
                {initial_design_[member],
                 favourite ? "best of another search" : "initial design"},
                taken, last);
}

std::optional<Proposal> BasicStrategy::ProposeVaried(int64_t number, Rng& rng,
                                                     Taken& taken,
                                                     LastResort& last) {
  for (int attempt = 0; attempt < kVaryAttempts; ++attempt) {
    std::optional<Candidate> candidate = Vary(number, attempt, rng);
    if (!candidate) break;
    std::optional<Proposal> proposal =
        Accept(number, *std::move(candidate), taken, last);
    if (proposal) return proposal;
  }
  return std::nullopt;
}

std::optional<Proposal> BasicStrategy::ProposeRepaired(int64_t number, Rng& rng,
                                                       Taken& taken,
                                                       LastResort& last) {
  std::optional<Proposal> proposal;
  for (int step = 0; !proposal && last.proposal && step < kRepairs; ++step) {
    proposal = Accept(number,
                      {space_->MutateOne(last.proposal->architecture, rng),
                       last.proposal->origin},
                      taken, last);
  }
  return proposal;
}

std::optional<Proposal> BasicStrategy::Propose(int64_t number, int64_t earlier,
                                               Taken& taken) {
  Rng rng(seed_, static_cast<uint64_t>(number));
  std::optional<Proposal> proposal;
  LastResort last;
  if (earlier < static_cast<int64_t>(initial_design_.size())) {
    proposal = ProposeDesigned(number, taken, last);
  } else if (size_ > 1) {
    proposal = ProposeVaried(number, rng, taken, last);
  }
  if (!proposal) proposal = ProposeRepaired(number, rng, taken, last);
  for (int attempt = 0; !proposal && attempt < kSampleAttempts; ++attempt) {
    proposal = Accept(number, {space_->Sample(rng), "random"}, taken, last);
  }
  if (!proposal) proposal = ProposeRepaired(number, rng, taken, last);
  if (proposal) return proposal;
  if (last.proposal) return std::move(last.proposal);
  return ProposeRemaining(number, rng, taken);
}

std::optional<std::string> BasicStrategy::DigestIfNew(
    const Architecture& architecture, Taken& taken) {
  const std::vector<int>& choices = architecture.choices;
  if (observed_choices_.contains(ChoicesKey(choices)) ||
      known_choices_.contains(choices) || taken.choices.contains(choices)) {
    return std::nullopt;
  }
  std::string digest = space_->Digest(architecture);
  if (Observed(digest)) {
    if (known_choices_.size() >= kMostChoicesKept) known_choices_.clear();
    known_choices_.insert(choices);
    return std::nullopt;
  }
  if (IsTaken(digest, taken)) {
    taken.choices.insert(choices);
    return std::nullopt;
  }
  return digest;
}

std::optional<Proposal> BasicStrategy::ProposeRemaining(int64_t number,
                                                        Rng& rng,
                                                        Taken& taken) {
  if (!remaining_ && enumerable_) {
    std::optional<std::vector<Architecture>> all =
        space_->Enumerate(kEnumerableSize);
    enumerable_ = all.has_value();
    if (all) {
      remaining_.emplace();
      for (Architecture& point : *all) {
        std::string digest = space_->Digest(point);
        remaining_->push_back({std::move(point), std::move(digest)});
      }
    }
  }
  if (!remaining_) {
    // Exact up to 2^53 points; beyond, any stretch of the space will do.
    const double bound = std::min(size_, 9007199254740992.0);
    const uint64_t size = static_cast<uint64_t>(bound);
    const uint64_t start = rng.Below(size);
    for (int step = 0; step < kWalkLength; ++step) {
      std::optional<Architecture> point = PointAt((start + step) % size);
      if (!point) continue;
      if (auto digest = DigestIfNew(*point, taken)) {
        return Proposal{number, *std::move(point), *std::move(digest),
                        "random"};
      }
    }
    return std::nullopt;
  }

  remaining_->erase(std::remove_if(remaining_->begin(), remaining_->end(),
                                   [this](const Remaining& point) {
                                     return Observed(point.digest);
                                   }),
                    remaining_->end());
  std::vector<const Remaining*> left;
  for (const Remaining& point : *remaining_) {
    if (!IsTaken(point.digest, taken)) left.push_back(&point);
  }
  if (left.empty()) return std::nullopt;
  const Remaining* chosen = nullptr;
  double least = 0;
  for (int attempt = 0; attempt < kSampleAttempts; ++attempt) {
    const Remaining* point = left[rng.Below(left.size())];
    const double violation = KnownViolation(point->architecture);
    if (chosen == nullptr || violation < least) {
      chosen = point;
      least = violation;
    }
    if (!(least > 0)) break;
  }
  return Proposal{number, chosen->architecture, chosen->digest, "random"};
}

std::optional<Architecture> BasicStrategy::PointAt(uint64_t index) const {
  Architecture point;
  point.choices.reserve(space_->decisions().size());
  for (const Decision& decision : space_->decisions()) {
    const uint64_t options = decision.options.size();
    point.choices.push_back(static_cast<int>(index % options));
    index /= options;
  }
  if (!space_->Validate(point).ok()) return std::nullopt;
  return space_->Canonicalize(point);
}

BasicStrategy::Candidate BasicStrategy::Breed(const Proposal& mother,
                                              const Proposal& father,
                                              double crossover, double mutation,
                                              int attempt, Rng& rng) const {
  Candidate child;
  if (rng.Bernoulli(crossover) && mother.number != father.number) {
    child.architecture =
        space_->Crossover(mother.architecture, father.architecture, rng);
    child.origin =
        absl::StrCat("crossover of ", mother.number, " and ", father.number);
  } else {
    child.architecture = mother.architecture;
    child.origin = absl::StrCat("mutation of ", mother.number);
  }
  const size_t choices = space_->decisions().size();
  const double rate =
      mutation > 0 ? mutation : 1.0 / static_cast<double>(choices);
  int mutations = attempt / 4;
  for (const double trials : crowded_after_) {
    mutations += static_cast<double>(observation_count_) >= trials;
  }
  for (size_t i = 0; i < choices; ++i) mutations += rng.Bernoulli(rate);
  for (int i = 0; i < mutations; ++i) {
    child.architecture = space_->MutateOne(child.architecture, rng);
  }
  return child;
}

absl::Status BasicStrategy::Observe(absl::Span<const Observation> results) {
  for (const Observation& result : results) {
    const absl::Status valid = space_->Validate(result.proposal.architecture);
    if (!valid.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "proposal ", result.proposal.number, ": ", valid.message()));
    }
    const Evaluation& evaluation = result.evaluation;
    if (static_cast<int>(evaluation.objectives.size()) != objectives_) {
      return absl::InvalidArgumentError(
          absl::StrCat("proposal ", result.proposal.number, ": ",
                       evaluation.objectives.size(),
                       " objective values, expected ", objectives_));
    }
    for (int k = 0; evaluation.complete && k < objectives_; ++k) {
      if (!std::isfinite(evaluation.objectives[k])) {
        return absl::InvalidArgumentError(
            absl::StrCat("proposal ", result.proposal.number, ": objective ", k,
                         " is ", evaluation.objectives[k],
                         " in a complete evaluation, expected a finite value"));
      }
    }
    if (!(evaluation.violation >= 0)) {
      return absl::InvalidArgumentError(
          absl::StrCat("proposal ", result.proposal.number, ": violation ",
                       evaluation.violation, ", expected at least 0"));
    }
    if (!(result.fidelity > 0 && result.fidelity <= 1)) {
      return absl::InvalidArgumentError(
          absl::StrCat("proposal ", result.proposal.number, ": fidelity ",
                       result.fidelity, ", expected more than 0, at most 1"));
    }
  }
  for (const Observation& result : results) {
    if (observed_.insert(DigestKey(result.proposal.digest)).second) {
      ++observation_count_;
    }
    observed_choices_.insert(ChoicesKey(result.proposal.architecture.choices));
    lift_.Add(result.proposal.number, result.fidelity, result.evaluation);
    Learn(result);
  }
  return absl::OkStatus();
}

Evaluation BasicStrategy::AtFullFidelity(const Observation& observation) const {
  return Lifted(observation).evaluation;
}

FidelityLift::Lifted BasicStrategy::Lifted(
    const Observation& observation) const {
  return lift_.Lift(observation.evaluation, observation.fidelity);
}

RankAndCrowding BasicStrategy::Rank(
    absl::Span<const Observation* const> observations) const {
  std::vector<const Evaluation*> evaluations;
  evaluations.reserve(observations.size());
  std::deque<Evaluation> lifted;
  for (const Observation* observation : observations) {
    if (observation->fidelity < 1) {
      lifted.push_back(AtFullFidelity(*observation));
      evaluations.push_back(&lifted.back());
    } else {
      evaluations.push_back(&observation->evaluation);
    }
  }
  return RankAndCrowd(evaluations);
}

}  // namespace hwnas
