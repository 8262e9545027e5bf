#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "proto/convert/convert.h"

namespace hwnas {
namespace {

// Of the rungs, unless it is said.
constexpr double kDefaultEta = 3;
// The first rung has 1 / eta^3 of the epochs, unless it is said.
constexpr double kDefaultHalvings = 3;

FrontOrder OrderFromProto(const std::string& name) {
  return name == kEpsilonNetOrder ? FrontOrder::kEpsilonNet
                                  : FrontOrder::kHypervolume;
}

template <typename Spec, typename Config>
void TakeRungs(const Spec& in, Config* out) {
  out->eta = in.eta();
  out->order = OrderFromProto(in.front_order());
}

template <typename Spec, typename Config>
void TakeStop(const Spec& in, int full_epochs, Config* out) {
  out->min_epochs = in.min_epochs() != 0 ? in.min_epochs()
                                         : std::max(1, (full_epochs + 9) / 10);
  if (in.min_trials() != 0) out->min_trials = in.min_trials();
}

template <typename Spec>
std::vector<int> RungsFrom(const v1::StudySpec& spec, const Spec& in) {
  if (!in.rungs().empty()) return {in.rungs().begin(), in.rungs().end()};
  const int full = FullEpochs(spec);
  if (spec.has_replay()) {
    std::vector<int> known;
    for (const v1::ReplayFidelity& shorter : spec.replay().fidelities()) {
      known.push_back(shorter.epochs());
    }
    known.push_back(full);
    return known;
  }
  const double eta = in.has_eta() ? in.eta() : kDefaultEta;
  if (full < 1 || !(eta > 1)) return {};
  const int first = in.min_epochs() != 0
                        ? in.min_epochs()
                        : static_cast<int>(std::ceil(
                              full / std::pow(eta, kDefaultHalvings) - 1e-9));
  return GeometricRungs(std::max(1, first), full, eta);
}

}  // namespace

absl::StatusOr<FidelityConfig> FidelityFromProto(const v1::StudySpec& spec) {
  const v1::FidelitySpec& proto = spec.fidelity();
  switch (proto.kind_case()) {
    case v1::FidelitySpec::kAsha: {
      AshaConfig config;
      TakeRungs(proto.asha(), &config);
      if (proto.asha().brackets() != 0) {
        config.brackets = proto.asha().brackets();
      }
      return config;
    }
    case v1::FidelitySpec::kSuccessiveHalving: {
      SuccessiveHalvingConfig config;
      TakeRungs(proto.successive_halving(), &config);
      config.cohort = proto.successive_halving().cohort();
      return config;
    }
    case v1::FidelitySpec::kHyperband: {
      HyperbandConfig config;
      TakeRungs(proto.hyperband(), &config);
      return config;
    }
    case v1::FidelitySpec::kMedianStop: {
      MedianStopConfig config;
      TakeStop(proto.median_stop(), FullEpochs(spec), &config);
      return config;
    }
    case v1::FidelitySpec::kLearningCurveStop: {
      LearningCurveStopConfig config;
      TakeStop(proto.learning_curve_stop(), FullEpochs(spec), &config);
      if (proto.learning_curve_stop().has_chance()) {
        config.chance = proto.learning_curve_stop().chance();
      }
      return config;
    }
    case v1::FidelitySpec::KIND_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("fidelity ", static_cast<int>(proto.kind_case()),
                   " is unknown: expected asha, successive_halving, hyperband, "
                   "median_stop or learning_curve_stop"));
}

int FullEpochs(const v1::StudySpec& spec) {
  constexpr int kDefaultEpochs = 12;
  if (spec.has_replay()) return spec.replay().epochs();
  return spec.train().epochs() != 0 ? spec.train().epochs() : kDefaultEpochs;
}

std::vector<int> RungsOf(const v1::StudySpec& spec) {
  const v1::FidelitySpec& fidelity = spec.fidelity();
  switch (fidelity.kind_case()) {
    case v1::FidelitySpec::kAsha:
      return RungsFrom(spec, fidelity.asha());
    case v1::FidelitySpec::kSuccessiveHalving:
      return RungsFrom(spec, fidelity.successive_halving());
    case v1::FidelitySpec::kHyperband:
      return RungsFrom(spec, fidelity.hyperband());
    case v1::FidelitySpec::kMedianStop:
    case v1::FidelitySpec::kLearningCurveStop:
    case v1::FidelitySpec::KIND_NOT_SET:
      break;
  }
  return {};
}

}  // namespace hwnas
