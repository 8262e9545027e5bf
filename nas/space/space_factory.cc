#include "nas/space/space_factory.h"

#include "common/status_macros.h"
#include "nas/space/dag.h"
#include "nas/space/declared.h"
#include "nas/space/macro.h"
#include "nas/space/mobile.h"
#include "nas/space/nasbench201.h"

namespace hwnas {
namespace {

absl::StatusOr<std::unique_ptr<SearchSpace>> Create(
    const Nasbench201Config& config) {
  HWNAS_ASSIGN_OR_RETURN(auto space, Nasbench201Space::Create(config));
  return std::unique_ptr<SearchSpace>(std::move(space));
}

absl::StatusOr<std::unique_ptr<SearchSpace>> Create(
    const MobileConfig& config) {
  HWNAS_ASSIGN_OR_RETURN(auto space, MobileSpace::Create(config));
  return std::unique_ptr<SearchSpace>(std::move(space));
}

absl::StatusOr<std::unique_ptr<SearchSpace>> Create(const MacroConfig& config) {
  HWNAS_ASSIGN_OR_RETURN(auto space, MacroSpace::Create(config));
  return std::unique_ptr<SearchSpace>(std::move(space));
}

absl::StatusOr<std::unique_ptr<SearchSpace>> Create(const DagConfig& config) {
  HWNAS_ASSIGN_OR_RETURN(auto space, DagSpace::Create(config));
  return std::unique_ptr<SearchSpace>(std::move(space));
}

absl::StatusOr<std::unique_ptr<SearchSpace>> Create(
    const DeclaredConfig& config) {
  HWNAS_ASSIGN_OR_RETURN(auto space, DeclaredSpace::Create(config));
  return std::unique_ptr<SearchSpace>(std::move(space));
}

}  // namespace

absl::StatusOr<std::unique_ptr<SearchSpace>> CreateSpace(
    const SpaceConfig& config) {
  return std::visit([](const auto& c) { return Create(c); }, config);
}

}  // namespace hwnas
