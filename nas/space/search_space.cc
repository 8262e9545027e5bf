#include "nas/space/search_space.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/digest.h"

namespace hwnas {
namespace {

constexpr int kSampleAttempts = 10'000;
constexpr int kCrossoverAttempts = 8;

Architecture AnyPoint(absl::Span<const Decision> decisions, Rng& rng) {
  Architecture point;
  point.choices.reserve(decisions.size());
  for (const Decision& decision : decisions) {
    point.choices.push_back(
        static_cast<int>(rng.Below(decision.options.size())));
  }
  return point;
}

}  // namespace

absl::Status SearchSpace::Validate(const Architecture& architecture) const {
  const absl::Span<const Decision> all = decisions();
  if (architecture.choices.size() != all.size()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("architecture has %d choices: the space expects %d",
                        architecture.choices.size(), all.size()));
  }
  for (size_t i = 0; i < all.size(); ++i) {
    const int choice = architecture.choices[i];
    if (choice < 0 || choice >= static_cast<int>(all[i].options.size())) {
      return absl::InvalidArgumentError(
          absl::StrFormat("choice %d of decision %d (%s) is out of range: "
                          "expected 0 to %d",
                          choice, i, all[i].name, all[i].options.size() - 1));
    }
  }
  return absl::OkStatus();
}

void SearchSpace::RequireValid(const Architecture& architecture) const {
  const absl::Status status = Validate(architecture);
  if (status.ok()) return;
  std::fprintf(stderr, "SearchSpace: not a point of %s: %s\n", key().c_str(),
               std::string(status.message()).c_str());
  std::abort();
}

std::string SearchSpace::Digest(const Architecture& architecture) const {
  return Sha256Hex(absl::StrCat(key(), "\n", CanonicalKey(architecture)));
}

Architecture SearchSpace::Sample(Rng& rng) const {
  // Valid points are common: not finding one means a defect of the space, which
  // Canonicalize reports.
  Architecture result;
  for (int attempt = 0; attempt < kSampleAttempts; ++attempt) {
    result = AnyPoint(decisions(), rng);
    if (Validate(result).ok()) break;
  }
  return Canonicalize(result);
}

absl::Status SearchSpace::CheckValidPointsAreCommon() const {
  constexpr int kPoints = 5000;
  Rng rng(0);
  int valid = 0;
  absl::Status last;
  for (int i = 0; i < kPoints; ++i) {
    const absl::Status status = Validate(AnyPoint(decisions(), rng));
    valid += status.ok();
    if (!status.ok()) last = status;
  }
  if (valid * 100 >= kPoints) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrFormat(
      "of %d random points %d are valid (the last: %s): expected at least one "
      "in 100",
      kPoints, valid, last.message()));
}

Architecture SearchSpace::AnotherForm(const Architecture& canonical,
                                      Rng& /*rng*/) const {
  return canonical;
}

std::vector<int> SearchSpace::Mattering(
    const Architecture& /*canonical*/) const {
  std::vector<int> all(decisions().size());
  std::iota(all.begin(), all.end(), 0);
  return all;
}

Architecture SearchSpace::MutateOne(const Architecture& parent,
                                    Rng& rng) const {
  const Architecture canonical = Canonicalize(parent);
  const std::string from_key = CanonicalKey(canonical);
  const Architecture from = AnotherForm(canonical, rng);
  std::vector<int> order = Mattering(canonical);
  rng.Shuffle(order);
  for (const int decision : order) {
    std::vector<int> options(decisions()[decision].options.size());
    std::iota(options.begin(), options.end(), 0);
    rng.Shuffle(options);
    for (const int option : options) {
      if (option == from.choices[decision]) continue;
      Architecture child = from;
      child.choices[decision] = option;
      if (!Validate(child).ok()) continue;
      if (CanonicalKey(child) != from_key) return Canonicalize(child);
    }
  }
  return canonical;
}

Architecture SearchSpace::Crossover(const Architecture& a,
                                    const Architecture& b, Rng& rng) const {
  const Architecture one = Canonicalize(a);
  const Architecture other = Canonicalize(b);
  for (int attempt = 0; attempt < kCrossoverAttempts; ++attempt) {
    Architecture child = one;
    for (size_t i = 0; i < child.choices.size(); ++i) {
      if (rng.Bernoulli(0.5)) child.choices[i] = other.choices[i];
    }
    if (Validate(child).ok()) return Canonicalize(child);
  }
  return one;
}

std::optional<std::vector<Architecture>> SearchSpace::Enumerate(
    double limit) const {
  double size = 1;
  for (const Decision& decision : decisions()) {
    size *= static_cast<double>(decision.options.size());
  }
  if (size > limit) return std::nullopt;
  std::vector<Architecture> points;
  absl::flat_hash_set<std::vector<int>> known;
  Architecture point;
  point.choices.assign(decisions().size(), 0);
  for (uint64_t i = 0; i < static_cast<uint64_t>(size); ++i) {
    if (Validate(point).ok()) {
      Architecture canonical = Canonicalize(point);
      if (known.insert(canonical.choices).second) {
        points.push_back(std::move(canonical));
      }
    }
    for (size_t k = 0; k < point.choices.size(); ++k) {
      if (++point.choices[k] <
          static_cast<int>(decisions()[k].options.size())) {
        break;
      }
      point.choices[k] = 0;
    }
  }
  return points;
}

double SearchSpace::Log10Size() const {
  double sum = 0;
  for (const Decision& decision : decisions()) {
    sum += std::log10(static_cast<double>(decision.options.size()));
  }
  return sum;
}

}  // namespace hwnas
