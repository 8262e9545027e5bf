// A search space and problems with known answers, for tests and benchmarks of
// strategies.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "nas/problem.h"
#include "nas/space/search_space.h"

namespace hwnas {

// `decisions` decisions of `options` options each, of which the last
// `interchangeable` may be permuted without changing the network: the canonical
// form has them sorted. Immutable.
class ToySpace final : public SearchSpace {
 public:
  ToySpace(int decisions, int options, int interchangeable = 0,
           bool ordered = false)
      : interchangeable_(interchangeable) {
    for (int i = 0; i < decisions; ++i) {
      Decision decision;
      decision.name = absl::StrCat("x", i);
      decision.ordered = ordered;
      for (int j = 0; j < options; ++j) {
        decision.options.push_back(absl::StrCat(j));
      }
      decisions_.push_back(decision);
    }
  }

  std::string key() const override {
    return absl::StrCat("toy ", decisions_.size(), " ",
                        decisions_[0].options.size(), " ", interchangeable_);
  }
  absl::Span<const Decision> decisions() const override { return decisions_; }
  Architecture Canonicalize(const Architecture& architecture) const override {
    Architecture canonical = architecture;
    std::sort(canonical.choices.end() - interchangeable_,
              canonical.choices.end());
    return canonical;
  }
  std::string CanonicalKey(const Architecture& architecture) const override {
    return ToText(Canonicalize(architecture));
  }
  std::string ToText(const Architecture& architecture) const override {
    return absl::StrJoin(architecture.choices, "-");
  }
  absl::StatusOr<Architecture> FromText(absl::string_view text) const override {
    Architecture architecture;
    for (absl::string_view part : absl::StrSplit(text, '-')) {
      int choice = 0;
      if (!absl::SimpleAtoi(part, &choice)) {
        return absl::InvalidArgumentError(absl::StrCat("choice: ", part));
      }
      architecture.choices.push_back(choice);
    }
    const absl::Status valid = Validate(architecture);
    if (!valid.ok()) return valid;
    return architecture;
  }
  absl::StatusOr<ModelGraph> Decode(const Architecture&,
                                    const DecodeOptions&) const override {
    return absl::UnimplementedError("a toy has no network");
  }

 private:
  std::vector<Decision> decisions_;
  int interchangeable_;
};

// Two objectives, "a" and "b", both minimised.
inline Problem ToyProblem() {
  Problem problem;
  problem.objectives = {{{"a", ""}, false, {}}, {{"b", ""}, false, {}}};
  return problem;
}

// ZDT1 (Zitzler, Deb and Thiele, 2000) on a grid: x0 in [0, 1] moves along the
// front, which is where all other choices are 0: b = 1 - sqrt(a).
inline Evaluation GridZdt1(const SearchSpace& space,
                           const Architecture& architecture) {
  const auto& x = architecture.choices;
  auto unit = [&](size_t i) {
    return static_cast<double>(x[i]) /
           static_cast<double>(space.decisions()[i].options.size() - 1);
  };
  double sum = 0;
  for (size_t i = 1; i < x.size(); ++i) sum += unit(i);
  const double g = 1 + 9 * sum / static_cast<double>(x.size() - 1);
  const double a = unit(0);
  return {{a, g * (1 - std::sqrt(a / g))}, 0, true};
}

// DTLZ2 (Deb et al., 2002) on a grid: the first `objectives` - 1 decisions move
// along the front, the part of the unit sphere where nothing is negative; the
// others are best in the middle. Where they are at an end, g is at its worst.
inline Evaluation GridDtlz2(const SearchSpace& space,
                            const Architecture& architecture, int objectives) {
  const auto& x = architecture.choices;
  auto unit = [&](size_t i) {
    return static_cast<double>(x[i]) /
           static_cast<double>(space.decisions()[i].options.size() - 1);
  };
  double g = 0;
  for (size_t i = objectives - 1; i < x.size(); ++i) {
    g += (unit(i) - 0.5) * (unit(i) - 0.5);
  }
  constexpr double kQuarterTurn = 1.5707963267948966;
  Evaluation evaluation{std::vector<double>(objectives, 1 + g), 0, true};
  for (int k = 0; k < objectives; ++k) {
    for (int i = 0; i < objectives - 1 - k; ++i) {
      evaluation.objectives[k] *= std::cos(unit(i) * kQuarterTurn);
    }
    if (k > 0) {
      evaluation.objectives[k] *=
          std::sin(unit(objectives - 1 - k) * kQuarterTurn);
    }
  }
  return evaluation;
}

// Any number of objectives, all minimised.
inline Problem ToyProblem(int objectives) {
  Problem problem;
  for (int k = 0; k < objectives; ++k) {
    problem.objectives.push_back({{absl::StrCat("f", k), ""}, false, {}});
  }
  return problem;
}

}  // namespace hwnas
