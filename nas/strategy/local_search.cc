#include "nas/strategy/local_search.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "nas/pareto/constrained.h"

namespace hwnas {
namespace {

// Streams of Rng that no proposal has.
constexpr uint64_t kNeighbourStream = uint64_t{1} << 63;

}  // namespace

LocalSearchStrategy::LocalSearchStrategy(const LocalSearchConfig& config,
                                         const SearchSpace* space,
                                         int objectives, uint64_t seed)
    : BasicStrategy(space, objectives, seed, config.starts) {}

std::vector<LocalSearchStrategy::Neighbour> LocalSearchStrategy::NeighboursOf(
    const Proposal& proposal) const {
  Rng rng(seed(), kNeighbourStream | static_cast<uint64_t>(proposal.number));
  std::vector<Neighbour> neighbours;
  absl::flat_hash_set<std::string> known;
  for (size_t i = 0; i < space().decisions().size(); ++i) {
    const int options = static_cast<int>(space().decisions()[i].options.size());
    for (int option = 0; option < options; ++option) {
      if (option == proposal.architecture.choices[i]) continue;
      Architecture neighbour = proposal.architecture;
      neighbour.choices[i] = option;
      if (!space().Validate(neighbour).ok()) {
        neighbour = space().MutateOne(proposal.architecture, rng);
      }
      neighbour = space().Canonicalize(neighbour);
      std::string digest = space().Digest(neighbour);
      if (Observed(digest) || !known.insert(digest).second) continue;
      neighbours.push_back({std::move(neighbour), std::move(digest)});
    }
  }
  rng.Shuffle(neighbours);
  return neighbours;
}

void LocalSearchStrategy::Join(const Observation& observation,
                               const Evaluation& evaluation) {
  for (const Member& member : archive_) {
    const Evaluation& other = member.evaluation;
    const bool equal = StandingOf(other) == StandingOf(evaluation) &&
                       other.violation == evaluation.violation &&
                       (StandingOf(other) == Standing::kViolates ||
                        other.objectives == evaluation.objectives);
    if (equal || ConstrainedDominates(other, evaluation)) return;
  }
  archive_.erase(std::remove_if(archive_.begin(), archive_.end(),
                                [&evaluation](const Member& member) {
                                  return ConstrainedDominates(
                                      evaluation, member.evaluation);
                                }),
                 archive_.end());
  archive_.push_back({observation.proposal.number, observation.fidelity,
                      evaluation, NeighboursOf(observation.proposal)});
}

void LocalSearchStrategy::Learn(const Observation& observation) {
  archive_.erase(std::remove_if(archive_.begin(), archive_.end(),
                                [&observation](const Member& member) {
                                  return member.fidelity < 1 &&
                                         member.number ==
                                             observation.proposal.number;
                                }),
                 archive_.end());
  if (StandingOf(observation.evaluation) != Standing::kFailed) {
    Join(observation, AtFullFidelity(observation));
  }
  crowding_.reset();
  open_.clear();
  for (size_t i = 0; i < archive_.size(); ++i) {
    Member& member = archive_[i];
    while (member.next < member.neighbours.size() &&
           Observed(member.neighbours[member.next].digest)) {
      ++member.next;
    }
    if (member.next < member.neighbours.size()) {
      open_.push_back(static_cast<int>(i));
    }
  }
  if (open_.empty()) archive_.clear();
}

std::optional<BasicStrategy::Candidate> LocalSearchStrategy::Vary(
    int64_t /*number*/, int /*attempt*/, Rng& rng) {
  if (open_.empty()) return std::nullopt;
  if (!crowding_) {
    std::vector<const Evaluation*> evaluations;
    for (const Member& member : archive_) {
      evaluations.push_back(&member.evaluation);
    }
    crowding_ = RankAndCrowd(evaluations).crowding;
  }
  const int a = open_[rng.Below(open_.size())];
  const int b = open_[rng.Below(open_.size())];
  const Member& member = archive_[(*crowding_)[b] > (*crowding_)[a] ? b : a];
  const std::vector<Neighbour>& neighbours = member.neighbours;
  // From a random one on, the first that is not observed.
  size_t i = member.next + rng.Below(neighbours.size() - member.next);
  while (i < neighbours.size() && Observed(neighbours[i].digest)) ++i;
  if (i == neighbours.size()) i = member.next;
  return Candidate{neighbours[i].architecture,
                   absl::StrCat("neighbour of ", member.number)};
}

}  // namespace hwnas
