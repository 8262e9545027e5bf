#include "nas/fidelity/fidelity_policy.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "nas/fidelity/asha.h"
#include "nas/fidelity/hyperband.h"
#include "nas/fidelity/learning_curve_stop.h"
#include "nas/fidelity/median_stop.h"

namespace hwnas {
namespace {

template <typename... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};
template <typename... Ts>
Overloaded(Ts...) -> Overloaded<Ts...>;

constexpr double kMaxEta = 1000;
constexpr int kMaxCohort = 100000;

template <typename T>
absl::Status OutOfRange(absl::string_view field, T value,
                        absl::string_view expected) {
  return absl::InvalidArgumentError(
      absl::StrCat(field, ": ", value, ", expected ", expected));
}

absl::Status CheckEta(absl::string_view kind, double eta) {
  if (eta == 0 || (eta > 1 && eta <= kMaxEta)) return absl::OkStatus();
  return OutOfRange(absl::StrCat(kind, ".eta"), eta,
                    absl::StrCat("more than 1, at most ", kMaxEta));
}

template <typename Config>
absl::Status CheckStop(absl::string_view kind, const Config& config) {
  if (config.min_epochs < 1) {
    return OutOfRange(absl::StrCat(kind, ".min_epochs"), config.min_epochs,
                      "at least 1");
  }
  if (config.min_trials < 1) {
    return OutOfRange(absl::StrCat(kind, ".min_trials"), config.min_trials,
                      "at least 1");
  }
  return absl::OkStatus();
}

}  // namespace

std::vector<int> GeometricRungs(int min_epochs, int max_epochs, double eta) {
  std::vector<int> rungs;
  for (double epochs = min_epochs; epochs * std::sqrt(eta) <= max_epochs;
       epochs *= eta) {
    const int rounded = static_cast<int>(std::lround(epochs));
    if (rounded >= max_epochs) break;
    if (rungs.empty() || rounded > rungs.back()) rungs.push_back(rounded);
  }
  rungs.push_back(max_epochs);
  return rungs;
}

absl::Status CheckFidelity(const FidelityConfig& config, int rungs) {
  if (HasRungs(config) && rungs < 2) {
    return absl::InvalidArgumentError(absl::StrCat(
        "rungs: ", rungs, ", expected at least 2: one below full fidelity"));
  }
  return std::visit(
      Overloaded{[&](const AshaConfig& c) -> absl::Status {
                   if (c.brackets < 1 || c.brackets > rungs) {
                     return OutOfRange(
                         "asha.brackets", c.brackets,
                         absl::StrCat("1 to the number of rungs, ", rungs));
                   }
                   return CheckEta("asha", c.eta);
                 },
                 [&](const SuccessiveHalvingConfig& c) -> absl::Status {
                   if (c.cohort < 0 || c.cohort > kMaxCohort) {
                     return OutOfRange("successive_halving.cohort", c.cohort,
                                       absl::StrCat("1 to ", kMaxCohort));
                   }
                   return CheckEta("successive_halving", c.eta);
                 },
                 [&](const HyperbandConfig& c) -> absl::Status {
                   return CheckEta("hyperband", c.eta);
                 },
                 [&](const MedianStopConfig& c) -> absl::Status {
                   return CheckStop("median_stop", c);
                 },
                 [&](const LearningCurveStopConfig& c) -> absl::Status {
                   if (!(c.chance > 0 && c.chance <= 0.5)) {
                     return OutOfRange("learning_curve_stop.chance", c.chance,
                                       "more than 0, at most 0.5");
                   }
                   return CheckStop("learning_curve_stop", c);
                 }},
      config);
}

bool HasRungs(const FidelityConfig& config) {
  return !std::holds_alternative<MedianStopConfig>(config) &&
         !std::holds_alternative<LearningCurveStopConfig>(config);
}

int NextFirstRung(const FidelityConfig& config, const RungTable& table) {
  return std::visit(Overloaded{[&](const AshaConfig& c) {
                                 return NextAshaFirstRung(c, table);
                               },
                               [&](const HyperbandConfig& c) {
                                 return NextHyperbandFirstRung(c, table);
                               },
                               [](const auto&) { return 0; }},
                    config);
}

std::optional<int64_t> NextPromotion(const FidelityConfig& config,
                                     const RungTable& table, bool proposing) {
  using Next = std::optional<int64_t>;
  return std::visit(
      Overloaded{[&](const AshaConfig& c) -> Next {
                   return NextAshaPromotion(c, table, proposing);
                 },
                 [&](const SuccessiveHalvingConfig& c) -> Next {
                   return NextHalvingPromotion(c, table, proposing);
                 },
                 [&](const HyperbandConfig& c) -> Next {
                   return NextHyperbandPromotion(c, table, proposing);
                 },
                 [](const auto&) -> Next { return std::nullopt; }},
      config);
}

std::optional<std::string> ReasonToStop(const FidelityConfig& config,
                                        const CurveTable& finished,
                                        const Curve& running) {
  using Reason = std::optional<std::string>;
  return std::visit(
      Overloaded{[&](const MedianStopConfig& c) -> Reason {
                   return MedianReasonToStop(c, finished, running);
                 },
                 [&](const LearningCurveStopConfig& c) -> Reason {
                   return LearningCurveReasonToStop(c, finished, running);
                 },
                 [](const auto&) -> Reason { return std::nullopt; }},
      config);
}

}  // namespace hwnas
