#include "nas/space/dag.h"

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/status_macros.h"
#include "nas/space/blocks.h"

namespace hwnas {
namespace {

absl::Status InRange(absl::string_view field, int value, int low, int high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("dag.%s: %d is out of range: expected %d to %d", field,
                      value, low, high));
}

}  // namespace

absl::StatusOr<std::unique_ptr<DagSpace>> DagSpace::Create(
    const DagConfig& config) {
  HWNAS_RETURN_IF_ERROR(InRange("input[0]", config.input.channels, 1, 4096));
  HWNAS_RETURN_IF_ERROR(InRange("stacks", config.stacks, 1, 6));
  // Each pooling must leave pixels.
  const int least = 1 << (config.stacks - 1);
  HWNAS_RETURN_IF_ERROR(InRange("input[1]", config.input.height, least,
                                GraphLimits::kMaxImageSide));
  HWNAS_RETURN_IF_ERROR(InRange("input[2]", config.input.width, least,
                                GraphLimits::kMaxImageSide));
  HWNAS_RETURN_IF_ERROR(InRange("channels", config.channels, 1, 1024));
  HWNAS_RETURN_IF_ERROR(InRange("cells", config.cells, 1, 20));
  HWNAS_RETURN_IF_ERROR(InRange("classes", config.classes, 2, 100000));
  auto cell = DagCell::Create(config.cell);
  if (!cell.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("dag.", cell.status().message()));
  }
  auto space = absl::WrapUnique(new DagSpace(config, *std::move(cell)));
  const absl::Status largest =
      space->Decode({space->cell_->Largest()}).status();
  if (!largest.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "dag: the largest network is not possible: ", largest.message()));
  }
  return space;
}

std::string DagSpace::key() const {
  return absl::StrFormat(
      "dag input=%dx%dx%d channels=%d stacks=%d cells=%d classes=%d cell %s",
      config_.input.channels, config_.input.height, config_.input.width,
      config_.channels, config_.stacks, config_.cells, config_.classes,
      cell_->key());
}

absl::Status DagSpace::Validate(const Architecture& architecture) const {
  HWNAS_RETURN_IF_ERROR(SearchSpace::Validate(architecture));
  return cell_->Validate(architecture.choices);
}

Architecture DagSpace::Sample(Rng& rng) const {
  return Canonicalize({cell_->Sample(rng)});
}

Architecture DagSpace::Canonicalize(const Architecture& architecture) const {
  RequireValid(architecture);
  Architecture result = architecture;
  cell_->Canonicalize(absl::MakeSpan(result.choices));
  return result;
}

std::string DagSpace::CanonicalKey(const Architecture& architecture) const {
  RequireValid(architecture);
  return cell_->CanonicalKey(architecture.choices);
}

std::string DagSpace::ToText(const Architecture& architecture) const {
  RequireValid(architecture);
  return cell_->ToText(architecture.choices);
}

absl::StatusOr<Architecture> DagSpace::FromText(absl::string_view text) const {
  HWNAS_ASSIGN_OR_RETURN(std::vector<int> choices, cell_->FromText(text));
  return Architecture{std::move(choices)};
}

Architecture DagSpace::AnotherForm(const Architecture& canonical,
                                   Rng& rng) const {
  Architecture result = canonical;
  cell_->Disguise(absl::MakeSpan(result.choices), rng);
  return result;
}

absl::StatusOr<ModelGraph> DagSpace::Decode(
    const Architecture& architecture, const DecodeOptions& options) const {
  RequireValid(architecture);
  GraphBuilder b;
  int x = b.Input(config_.input);
  b.SetScope("stem.");
  int channels = config_.channels;
  x = ConvBnAct(b, x, {.out_channels = channels, .kernel = 3, .padding = 1},
                OpKind::kRelu);
  for (int stack = 1; stack <= config_.stacks; ++stack) {
    if (stack > 1) {
      b.SetScope(absl::StrCat("pool", stack - 1, "."));
      x = b.MaxPool(x, {.kernel = 2, .stride = 2});
      channels *= 2;
    }
    for (int i = 1; i <= config_.cells; ++i) {
      x = cell_->Append(b, x, channels, architecture.choices,
                        absl::StrCat("stack", stack, ".cell", i, "."), options);
    }
  }
  b.SetScope("head.");
  b.Linear(b.Flatten(b.GlobalAvgPool(x)), config_.classes);
  return std::move(b).Build();
}

}  // namespace hwnas
