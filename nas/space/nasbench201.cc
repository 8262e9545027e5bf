#include "nas/space/nasbench201.h"

#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "common/status_macros.h"
#include "nas/space/blocks.h"

namespace hwnas {
namespace {

absl::Status InRange(absl::string_view field, int value, int low, int high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("nasbench201.%s: %d is out of range: expected %d to %d",
                      field, value, low, high));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Nasbench201Space>> Nasbench201Space::Create(
    const Nasbench201Config& config) {
  HWNAS_RETURN_IF_ERROR(InRange("input[0]", config.input.channels, 1, 4096));
  // Two reductions must leave pixels of their own.
  HWNAS_RETURN_IF_ERROR(
      InRange("input[1]", config.input.height, 4, GraphLimits::kMaxImageSide));
  HWNAS_RETURN_IF_ERROR(
      InRange("input[2]", config.input.width, 4, GraphLimits::kMaxImageSide));
  HWNAS_RETURN_IF_ERROR(InRange("channels", config.channels, 1, 256));
  HWNAS_RETURN_IF_ERROR(InRange("cells", config.cells, 1, 20));
  HWNAS_RETURN_IF_ERROR(InRange("classes", config.classes, 2, 100000));
  auto cell =
      Nasbench201Cell::Create(config.operations, config.benchmark_classes);
  if (!cell.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("nasbench201.", cell.status().message()));
  }
  auto space = absl::WrapUnique(new Nasbench201Space(config, *std::move(cell)));
  // The largest network must be within what a graph may be.
  const absl::Status largest =
      space->Decode({space->cell_->Largest()}).status();
  if (!largest.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("nasbench201: the largest network is not possible: ",
                     largest.message()));
  }
  return space;
}

std::string Nasbench201Space::key() const {
  std::string key = absl::StrFormat(
      "nasbench201 input=%dx%dx%d channels=%d cells=%d "
      "classes=%d",
      config_.input.channels, config_.input.height, config_.input.width,
      config_.channels, config_.cells, config_.classes);
  // " operations=..." if they are not all, and which cells are equal.
  absl::StrAppend(&key, absl::StripPrefix(cell_->key(), "nasbench201"));
  return key;
}

Architecture Nasbench201Space::Canonicalize(
    const Architecture& architecture) const {
  RequireValid(architecture);
  Architecture result = architecture;
  cell_->Canonicalize(absl::MakeSpan(result.choices));
  return result;
}

std::string Nasbench201Space::CanonicalKey(
    const Architecture& architecture) const {
  RequireValid(architecture);
  return cell_->CanonicalKey(architecture.choices);
}

std::string Nasbench201Space::ToText(const Architecture& architecture) const {
  RequireValid(architecture);
  return cell_->ToText(architecture.choices);
}

absl::StatusOr<Architecture> Nasbench201Space::FromText(
    absl::string_view text) const {
  HWNAS_ASSIGN_OR_RETURN(std::vector<int> choices, cell_->FromText(text));
  return Architecture{std::move(choices)};
}

absl::StatusOr<ModelGraph> Nasbench201Space::Decode(
    const Architecture& architecture, const DecodeOptions& options) const {
  RequireValid(architecture);
  GraphBuilder b;
  int x = b.Input(config_.input);
  b.SetScope("stem.");
  x = b.Conv2d(x,
               {.out_channels = config_.channels, .kernel = 3, .padding = 1});
  x = b.BatchNorm(x);
  for (int stage = 1; stage <= 3; ++stage) {
    if (stage > 1) {
      b.SetScope(absl::StrCat("reduction", stage - 1, "."));
      x = AddReductionBlock(b, x, 2 * b.shape(x).channels);
    }
    for (int i = 1; i <= config_.cells; ++i) {
      x = cell_->Append(b, x, b.shape(x).channels, architecture.choices,
                        absl::StrCat("stage", stage, ".cell", i, "."), options);
    }
  }
  b.SetScope("head.");
  x = b.GlobalAvgPool(b.Relu(b.BatchNorm(x)));
  b.Linear(b.Flatten(x), config_.classes);
  return std::move(b).Build();
}

}  // namespace hwnas
