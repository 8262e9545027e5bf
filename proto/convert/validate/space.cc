// Search spaces, and whether their networks fit the images.
#include <cmath>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "common/digest.h"
#include "common/rng.h"
#include "proto/convert/convert.h"
#include "proto/convert/space_spec.h"
#include "proto/convert/validate/checker.h"
#include "proto/convert/validate/datasets.h"
#include "proto/convert/validate/rules.h"

namespace hwnas {
namespace {

constexpr int kMaxChoices = 64;  // In one list of a space.
constexpr int kMaxStages = 16;
constexpr int kMaxImageChannels = 4096;
constexpr int kMaxClasses = 100'000;
constexpr int kMaxChannels = 4096;  // Of a stem or a stage.
constexpr int kMaxHeadChannels = 8192;

template <typename List, typename Check>
void CheckChoices(const std::string& path, const List& choices,
                  absl::string_view expected, Check is_valid, Checker* out) {
  if (choices.size() > kMaxChoices) {
    out->Add(path, absl::StrCat(choices.size(),
                                " choices are too many: expected at most ",
                                kMaxChoices));
    return;
  }
  std::set<double> seen;
  for (int i = 0; i < choices.size(); ++i) {
    const double value = choices[i];
    const std::string item = absl::StrCat(path, "[", i, "]");
    if (!(std::isfinite(value) && is_valid(value))) {
      out->Add(item, absl::StrCat(Number(value), " is out of range: expected ",
                                  expected));
    } else if (!seen.insert(value).second) {
      out->Add(item, absl::StrCat(Number(value), " is listed twice"));
    }
  }
}

// Returns whether the input's form is right.
bool CheckInput(const std::string& path, const std::vector<int>& input,
                Checker* out) {
  if (input.size() != 3) {
    out->Add(path, absl::StrCat(
                       input.empty() ? "is required"
                                     : absl::StrCat(input.size(), " numbers"),
                       ": expected channels, height and width of one image, "
                       "such as [3, 32, 32]"));
    return false;
  }
  const size_t before = out->size();
  out->Range(path + "[0]", input[0], 1, kMaxImageChannels);
  out->Range(path + "[1]", input[1], 1, kMaxImageSide);
  out->Range(path + "[2]", input[2], 1, kMaxImageSide);
  return out->size() == before;
}

void CheckNasbench201(const v1::Nasbench201Space& space,
                      const std::string& path, Checker* out) {
  out->RangeIfSet(path + ".channels", space.channels(), 1, 256);
  out->RangeIfSet(path + ".cells", space.cells(), 1, 20);
}

void CheckMobile(const v1::MobileSpace& space, const std::string& path,
                 Checker* out) {
  const auto between = [](double low, double high) {
    return [low, high](double value) { return value >= low && value <= high; };
  };
  CheckChoices(
      path + ".kernel_choices", space.kernel_choices(), "an odd number, 3 to 9",
      [](double v) { return v >= 3 && v <= 9 && std::fmod(v, 2) == 1; }, out);
  CheckChoices(path + ".expansion_choices", space.expansion_choices(),
               "1 to 10", between(1, 10), out);
  CheckChoices(path + ".depth_choices", space.depth_choices(), "1 to 8",
               between(1, 8), out);
  CheckChoices(
      path + ".width_choices", space.width_choices(),
      "a number greater than 0, at most 4",
      [](double v) { return v > 0 && v <= 4; }, out);
  CheckChoices(path + ".resolution_choices", space.resolution_choices(),
               absl::StrCat("1 to ", kMaxImageSide), between(1, kMaxImageSide),
               out);
  out->RangeIfSet(path + ".stem_channels", space.stem_channels(), 1,
                  kMaxChannels);
  out->RangeIfSet(path + ".stem_stride", space.stem_stride(), 1, 2);
  out->RangeIfSet(path + ".head_channels", space.head_channels(), 1,
                  kMaxHeadChannels);
  out->RangeIfSet(path + ".final_expand_channels",
                  space.final_expand_channels(), 1, kMaxHeadChannels);
  if (space.stages_size() > kMaxStages) {
    out->Add(path + ".stages", absl::StrCat(space.stages_size(),
                                            " stages are too many: expected at "
                                            "most ",
                                            kMaxStages));
    return;
  }
  for (int i = 0; i < space.stages_size(); ++i) {
    const std::string stage = absl::StrCat(path, ".stages[", i, "]");
    out->Range(stage + ".channels", space.stages(i).channels(), 1,
               kMaxChannels);
    out->RangeIfSet(stage + ".stride", space.stages(i).stride(), 1, 2);
  }
}

// The space's images are those of the data set.
void CheckFitsDataset(const DatasetInfo& dataset, const std::string& path,
                      const std::vector<int>& input, int classes,
                      Checker* out) {
  if (dataset.classes == 0) return;
  const TensorShape given{input[0], input[1], input[2]};
  if (given != dataset.image) {
    out->Add(path + ".input",
             absl::StrFormat("[%d, %d, %d] does not fit data set %s: expected "
                             "[%d, %d, %d]",
                             given.channels, given.height, given.width,
                             std::string(dataset.name), dataset.image.channels,
                             dataset.image.height, dataset.image.width));
  }
  if (classes != dataset.classes) {
    out->Add(
        path + ".classes",
        absl::StrFormat("%d does not fit data set %s: expected %d", classes,
                        std::string(dataset.name), dataset.classes));
  }
}

// There is such a space, and it has a point that is a network.
absl::Status TryOnePoint(const v1::SpaceSpec& spec) {
  absl::StatusOr<SpaceConfig> config = FromProto(spec);
  if (!config.ok()) return config.status();
  absl::StatusOr<std::unique_ptr<SearchSpace>> space = CreateSpace(*config);
  if (!space.ok()) return space.status();
  if (!ImagesOf(spec)) return absl::OkStatus();  // No networks.
  Rng rng(0);
  return (*space)->Decode((*space)->Sample(rng)).status();
}

}  // namespace

void CheckSpace(const v1::StudySpec& spec, Checker* out) {
  const v1::SpaceSpec& space = spec.space();
  const size_t before = out->size();
  if (space.kind_case() == v1::SpaceSpec::KIND_NOT_SET) {
    out->Add("spec.space",
             absl::StrCat("is required: expected ", SpaceKinds(),
                          ", such as {nasbench201: {input: [1, 28, 28], "
                          "classes: 10}}"));
    return;
  }
  const std::string path =
      absl::StrCat("spec.space.", v1::SpaceSpec::descriptor()
                                      ->FindFieldByNumber(space.kind_case())
                                      ->name());
  if (space.has_nasbench201()) CheckNasbench201(space.nasbench201(), path, out);
  if (space.has_mobile()) CheckMobile(space.mobile(), path, out);
  if (const std::optional<SpaceImages> images = ImagesOf(space)) {
    const std::string at = space.has_declared() ? path + ".network" : path;
    const bool input_ok = CheckInput(at + ".input", images->input, out);
    bool classes_ok = true;
    if (images->classes == 0) {
      out->Add(at + ".classes", "is required: expected 2 to 100000");
      classes_ok = false;
    } else if (images->classes < 2 || images->classes > kMaxClasses) {
      out->Range(at + ".classes", images->classes, 2, kMaxClasses);
      classes_ok = false;
    }
    if (input_ok && classes_ok && spec.has_train() && !spec.has_external()) {
      if (const DatasetInfo* dataset = FindDataset(spec.train().dataset())) {
        CheckFitsDataset(*dataset, at, images->input, images->classes, out);
      }
    }
  } else if (!spec.has_external() && !spec.has_replay()) {
    out->Add(path,
             "has no network to train, measure or count: expected external or "
             "replay, which answer trials without one");
  }
  if (out->size() != before) return;
  if (absl::Status status = TryOnePoint(space); !status.ok()) {
    // "mobile.input: ..." names the field already.
    const std::pair<std::string, std::string> parts =
        absl::StrSplit(std::string(status.message()), absl::MaxSplits(": ", 1));
    const bool named = absl::StartsWith("spec.space." + parts.first, path) &&
                       absl::StrContains(status.message(), ": ");
    out->Add(named ? "spec.space." + parts.first : path,
             named ? parts.second : std::string(status.message()));
  }
}

}  // namespace hwnas
