#include "nas/space/tabulated.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/digest.h"

namespace hwnas {
namespace {

// Samples and mutations of the other space that are tried first.
constexpr int kAttempts = 4;

}  // namespace

absl::StatusOr<std::unique_ptr<TabulatedSpace>> TabulatedSpace::Create(
    std::unique_ptr<SearchSpace> inner,
    absl::Span<const Architecture> members) {
  if (members.empty()) {
    return absl::InvalidArgumentError(
        "members: none, expected at least 1 point of the space");
  }
  auto space = std::unique_ptr<TabulatedSpace>(new TabulatedSpace());
  space->members_.reserve(members.size());
  for (size_t i = 0; i < members.size(); ++i) {
    const absl::Status valid = inner->Validate(members[i]);
    if (!valid.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("member ", i, ": ", valid.message()));
    }
    space->members_.push_back(inner->Canonicalize(members[i]));
  }
  std::sort(space->members_.begin(), space->members_.end());
  space->members_.erase(
      std::unique(space->members_.begin(), space->members_.end()),
      space->members_.end());
  std::string listed;
  for (size_t i = 0; i < space->members_.size(); ++i) {
    const std::vector<int>& choices = space->members_[i].choices;
    space->index_.emplace(choices, static_cast<int>(i));
    space->rows_.insert(space->rows_.end(), choices.begin(), choices.end());
    for (const int choice : choices) absl::StrAppend(&listed, choice, ",");
  }
  space->key_ =
      absl::StrCat(inner->key(), " restricted to ", space->members_.size(),
                   " points ", Sha256Hex(listed));
  space->inner_ = std::move(inner);
  return space;
}

int TabulatedSpace::IndexOf(const Architecture& architecture) const {
  const auto found = index_.find(inner_->Canonicalize(architecture).choices);
  return found == index_.end() ? -1 : found->second;
}

absl::Status TabulatedSpace::Validate(const Architecture& architecture) const {
  absl::Status valid = inner_->Validate(architecture);
  if (!valid.ok()) return valid;
  if (IndexOf(architecture) < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(inner_->ToText(architecture), " is not among the ",
                     members_.size(), " architectures of the table"));
  }
  return absl::OkStatus();
}

absl::StatusOr<Architecture> TabulatedSpace::FromText(
    absl::string_view text) const {
  absl::StatusOr<Architecture> read = inner_->FromText(text);
  if (read.ok() && IndexOf(*read) < 0) {
    return absl::NotFoundError(absl::StrCat(text, " is not among the ",
                                            members_.size(),
                                            " architectures of the table"));
  }
  return read;
}

std::optional<std::vector<Architecture>> TabulatedSpace::Enumerate(
    double limit) const {
  if (static_cast<double>(members_.size()) > limit) return std::nullopt;
  return members_;
}

Architecture TabulatedSpace::Sample(Rng& rng) const {
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const int index = IndexOf(inner_->Sample(rng));
    if (index >= 0) return members_[index];
  }
  return members_[rng.Below(members_.size())];
}

int TabulatedSpace::Nearest(const Architecture& target, int except,
                            Rng& rng) const {
  const size_t width = target.choices.size();
  int best = -1;
  size_t best_distance = std::numeric_limits<size_t>::max();
  uint64_t ties = 0;
  for (size_t i = 0; i < members_.size(); ++i) {
    if (static_cast<int>(i) == except) continue;
    const int* row = rows_.data() + i * width;
    size_t distance = 0;
    for (size_t k = 0; k < width && distance <= best_distance; ++k) {
      distance += row[k] != target.choices[k];
    }
    if (distance < best_distance) {
      best_distance = distance;
      best = static_cast<int>(i);
      ties = 1;
    } else if (distance == best_distance && rng.Below(++ties) == 0) {
      best = static_cast<int>(i);
    }
  }
  return best;
}

Architecture TabulatedSpace::MutateOne(const Architecture& parent,
                                       Rng& rng) const {
  const int from = IndexOf(parent);
  Architecture child;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    child = inner_->MutateOne(parent, rng);
    const int index = IndexOf(child);
    if (index >= 0 && index != from) return members_[index];
  }
  const int nearest = Nearest(child, from, rng);
  return nearest < 0 ? inner_->Canonicalize(parent) : members_[nearest];
}

Architecture TabulatedSpace::Crossover(const Architecture& a,
                                       const Architecture& b, Rng& rng) const {
  Architecture child = inner_->Crossover(a, b, rng);
  const int index = IndexOf(child);
  return members_[index >= 0 ? index : Nearest(child, /*except=*/-1, rng)];
}

}  // namespace hwnas
