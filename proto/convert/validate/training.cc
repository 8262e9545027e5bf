// Trainings and their fidelity policies.
#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "proto/convert/convert.h"
#include "proto/convert/space_spec.h"
#include "proto/convert/validate/checker.h"
#include "proto/convert/validate/datasets.h"
#include "proto/convert/validate/rules.h"

namespace hwnas {
namespace {

// The first metric that only training gives; empty if there is none.
std::string TrainedMetric(const v1::StudySpec& spec) {
  for (const MetricKey& key : ProblemFromProto(spec).Keys()) {
    const MetricInfo* info = FindMetric(key.metric);
    if (info != nullptr && info->source == MetricSource::kTrained) {
      return key.metric;
    }
  }
  return "";
}

// Of the images that a network may be trained on.
int SmallestHeight(const v1::SpaceSpec& space) {
  const SpaceImages images = ImagesOf(space).value_or(SpaceImages{});
  int height = images.input.size() == 3 ? images.input[1] : kMaxImageSide;
  if (!images.resolutions.empty()) {
    height =
        *std::min_element(images.resolutions.begin(), images.resolutions.end());
  }
  // An impossible height is another error.
  return height < 1 ? kMaxImageSide : std::min(height, kMaxImageSide);
}

}  // namespace

void CheckTrain(const v1::StudySpec& spec, Checker* out) {
  if (spec.has_replay()) return;  // CheckReplay rejects it.
  const std::string trained = spec.has_external() ? "" : TrainedMetric(spec);
  if (!spec.has_train()) {
    if (!trained.empty()) {
      out->Add("spec.train",
               absl::StrCat("is required: ", trained,
                            " comes from training; expected at least "
                            "{dataset: fashion-mnist}"));
    }
    return;
  }
  const v1::TrainSpec& train = spec.train();
  const std::string path = "spec.train";
  std::vector<absl::string_view> names;
  for (const DatasetInfo& dataset : kDatasets) names.push_back(dataset.name);
  if (!train.dataset().empty()) {
    // An outside evaluator may use any.
    if (!spec.has_external()) {
      out->OneOf(path + ".dataset", "data set", train.dataset(), names);
    }
  } else if (!trained.empty()) {
    out->Add(path + ".dataset", absl::StrCat("is required: expected one of ",
                                             absl::StrJoin(names, ", ")));
  }
  if (train.data_dir().size() > kMaxPathBytes ||
      train.data_dir().find('\0') != std::string::npos) {
    out->Add(path + ".data_dir", absl::StrCat(Quoted(train.data_dir()),
                                              " is not a path of at most ",
                                              kMaxPathBytes, " bytes"));
  }
  const int epochs = train.epochs() == 0 ? 12 : train.epochs();
  out->Range(path + ".epochs", epochs, 1, kMaxEpochs);
  out->RangeIfSet(path + ".batch", train.batch(), 1, 65536);
  if (train.has_data_fraction()) {
    const double v = train.data_fraction();
    out->Require(v > 0 && v <= 1, path + ".data_fraction", v,
                 "greater than 0, at most 1");
  }
  if (train.has_validation_fraction()) {
    const double v = train.validation_fraction();
    out->Require(v > 0 && v <= 0.9, path + ".validation_fraction", v,
                 "greater than 0, at most 0.9");
  }
  if (train.has_learning_rate()) {
    const double v = train.learning_rate();
    out->Require(v > 0, path + ".learning_rate", v, "greater than 0");
  }
  if (train.has_momentum()) {
    const double v = train.momentum();
    out->Require(v >= 0 && v < 1, path + ".momentum", v, "0 to less than 1");
  }
  if (train.has_weight_decay()) {
    const double v = train.weight_decay();
    out->Require(v >= 0, path + ".weight_decay", v, "0 or greater");
  }
  if (train.has_label_smoothing()) {
    const double v = train.label_smoothing();
    out->Require(v >= 0 && v < 1, path + ".label_smoothing", v,
                 "0 to less than 1");
  }
  if (train.has_warmup_epochs()) {
    const double v = train.warmup_epochs();
    out->Require(v >= 0 && v <= epochs, path + ".warmup_epochs", v,
                 absl::StrCat("0 to ", epochs, ", the number of epochs"));
  }
  const int height = SmallestHeight(spec.space());
  if (train.has_crop_padding()) {
    out->Range(path + ".crop_padding", train.crop_padding(), 0, height);
  }
  out->RangeIfSet(path + ".cutout", train.cutout(), 1, 2 * height);
  out->RangeIfSet(path + ".threads", train.threads(), 1, 1024);
}
namespace {

// nullptr if the tables know no such training.
const v1::ReplayFidelity* FindReplayFidelity(const v1::StudySpec& spec,
                                             int epochs) {
  for (const v1::ReplayFidelity& fidelity : spec.replay().fidelities()) {
    if (fidelity.epochs() == epochs) return &fidelity;
  }
  return nullptr;
}

// What the kinds with rungs have in common.
template <typename Spec>
void CheckRungs(const v1::StudySpec& spec, const Spec& fidelity,
                const std::string& path, Checker* out) {
  const size_t before = out->size();
  const int full = FullEpochs(spec);
  if (fidelity.has_eta()) {
    const double eta = fidelity.eta();
    out->Require(eta > 1 && eta <= 1000, path + ".eta", eta,
                 "more than 1, at most 1000");
  }
  if (!fidelity.front_order().empty()) {
    out->OneOf(path + ".front_order", "order of a front",
               fidelity.front_order(), {kHypervolumeOrder, kEpsilonNetOrder});
  }
  if (full < 2) {
    out->Add(path, absl::StrCat("needs a training that can be cut short, but ",
                                "spec.train.epochs is ", full,
                                ": expected at least 2"));
    return;
  }
  if (fidelity.min_epochs() != 0) {
    out->Range(path + ".min_epochs", fidelity.min_epochs(), 1, full - 1);
    if (!fidelity.rungs().empty()) {
      out->Add(path + ".min_epochs",
               "is not expected with rungs, which say all");
    }
  }
  const auto& rungs = fidelity.rungs();
  constexpr int kMaxRungs = 32;
  if (spec.has_replay() && rungs.empty() && fidelity.min_epochs() != 0) {
    out->Add(path + ".min_epochs",
             "is not expected with replay: name rungs that its tables know");
  }
  if (!rungs.empty() && (rungs.size() < 2 || rungs.size() > kMaxRungs)) {
    out->Add(path + ".rungs",
             absl::StrCat(rungs.size(), " rungs: expected 2 to ", kMaxRungs));
  }
  for (int i = 0; i < std::min(rungs.size(), kMaxRungs); ++i) {
    const std::string rung = absl::StrCat(path, ".rungs[", i, "]");
    const int least = i == 0 ? 1 : rungs[i - 1] + 1;
    if (i + 1 == rungs.size() && rungs[i] != full) {
      out->Add(rung, absl::StrCat(rungs[i],
                                  " is not the whole training: "
                                  "expected ",
                                  full, ", the epochs of train"));
    } else if (rungs[i] < least) {
      out->Add(rung, absl::StrCat(rungs[i], ": expected at least ", least,
                                  i == 0 ? "" : ", more than the rung before"));
    } else if (i + 1 < rungs.size() && spec.has_replay() &&
               FindReplayFidelity(spec, rungs[i]) == nullptr) {
      out->Add(rung, absl::StrCat(rungs[i],
                                  " epochs are not among "
                                  "spec.replay.fidelities"));
    }
  }
  // Else what follows from it is wrong as well.
  if (out->size() == before && RungsOf(spec).size() < 2) {
    out->Add(path, absl::StrCat("has no rung below all ", full, " epochs"));
  }
}

template <typename Spec>
void CheckStop(const v1::StudySpec& spec, const Spec& fidelity,
               const std::string& path, Checker* out) {
  out->RangeIfSet(path + ".min_epochs", fidelity.min_epochs(), 1,
                  std::max(1, FullEpochs(spec)));
  out->RangeIfSet(path + ".min_trials", fidelity.min_trials(), 1, 100'000);
}

}  // namespace

void CheckFidelity(const v1::StudySpec& spec, Checker* out) {
  if (!spec.has_fidelity()) return;
  const v1::FidelitySpec& fidelity = spec.fidelity();
  if (fidelity.kind_case() == v1::FidelitySpec::KIND_NOT_SET) {
    out->Add("spec.fidelity",
             "has no kind: expected asha, successive_halving, hyperband, "
             "median_stop or learning_curve_stop");
    return;
  }
  if (spec.has_external()) {
    out->Add("spec.fidelity",
             "is not expected with external: your own program decides how far "
             "it trains");
    return;
  }
  const bool by_curve =
      fidelity.has_median_stop() || fidelity.has_learning_curve_stop();
  if (spec.has_replay() && by_curve) {
    out->Add("spec.fidelity",
             "cannot follow learning curves with replay, which has none: "
             "expected asha, successive_halving or hyperband");
    return;
  }
  if (spec.has_replay() && spec.replay().fidelities().empty()) {
    out->Add("spec.fidelity",
             "needs spec.replay.fidelities: what shorter trainings give");
    return;
  }
  if (!spec.has_replay() && TrainedMetric(spec).empty()) {
    out->Add("spec.fidelity",
             "has nothing to cut short: no objective or constraint comes from "
             "training");
    return;
  }
  switch (fidelity.kind_case()) {
    case v1::FidelitySpec::kAsha: {
      const std::string path = "spec.fidelity.asha";
      const size_t before = out->size();
      CheckRungs(spec, fidelity.asha(), path, out);
      if (out->size() == before) {
        out->RangeIfSet(path + ".brackets", fidelity.asha().brackets(), 1,
                        static_cast<int64_t>(RungsOf(spec).size()));
      }
      return;
    }
    case v1::FidelitySpec::kSuccessiveHalving: {
      const std::string path = "spec.fidelity.successive_halving";
      CheckRungs(spec, fidelity.successive_halving(), path, out);
      out->RangeIfSet(path + ".cohort", fidelity.successive_halving().cohort(),
                      1, 100'000);
      return;
    }
    case v1::FidelitySpec::kHyperband:
      CheckRungs(spec, fidelity.hyperband(), "spec.fidelity.hyperband", out);
      return;
    case v1::FidelitySpec::kMedianStop:
      CheckStop(spec, fidelity.median_stop(), "spec.fidelity.median_stop", out);
      return;
    case v1::FidelitySpec::kLearningCurveStop: {
      const std::string path = "spec.fidelity.learning_curve_stop";
      CheckStop(spec, fidelity.learning_curve_stop(), path, out);
      if (fidelity.learning_curve_stop().has_chance()) {
        const double chance = fidelity.learning_curve_stop().chance();
        out->Require(chance > 0 && chance <= 0.5, path + ".chance", chance,
                     "greater than 0, at most 0.5");
      }
      return;
    }
    case v1::FidelitySpec::KIND_NOT_SET:
      return;
  }
}

}  // namespace hwnas
