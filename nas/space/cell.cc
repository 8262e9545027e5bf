#include "nas/space/cell.h"

#include "absl/strings/str_cat.h"
#include "nas/space/dag_cell.h"
#include "nas/space/nasbench201_cell.h"

namespace hwnas {
namespace {

absl::StatusOr<std::unique_ptr<Cell>> Create(
    const Nasbench201CellConfig& config) {
  auto cell =
      Nasbench201Cell::Create(config.operations, config.benchmark_classes);
  if (!cell.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("nasbench201.", cell.status().message()));
  }
  return std::unique_ptr<Cell>(*std::move(cell));
}

absl::StatusOr<std::unique_ptr<Cell>> Create(const DagCellConfig& config) {
  auto cell = DagCell::Create(config);
  if (!cell.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("dag.", cell.status().message()));
  }
  return std::unique_ptr<Cell>(*std::move(cell));
}

}  // namespace

std::vector<int> Cell::Sample(Rng& rng) const {
  std::vector<int> choices(decisions().size());
  do {
    for (size_t i = 0; i < choices.size(); ++i) {
      choices[i] = static_cast<int>(rng.Below(decisions()[i].options.size()));
    }
  } while (!Validate(choices).ok());
  return choices;
}

Cell::Powers Cell::PowersOf(absl::Span<const int> choices) const {
  Powers powers;
  std::vector<int>& canonical = powers.cells[powers.exponent];
  canonical.assign(choices.begin(), choices.end());
  Canonicalize(absl::MakeSpan(canonical));
  return powers;
}

absl::StatusOr<std::unique_ptr<Cell>> CreateCell(const CellConfig& config) {
  return std::visit([](const auto& c) { return Create(c); }, config);
}

}  // namespace hwnas
