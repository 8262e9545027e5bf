#include "controller/study/replay_tables.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "proto/convert/convert.h"

namespace hwnas::controller {
namespace {

// What a user reads of it.
absl::Status InSpec(const absl::Status& status) {
  if (status.ok()) return status;
  const std::string message = absl::StrCat("spec.replay.", status.message());
  return absl::IsInvalidArgument(status)
             ? absl::InvalidArgumentError(message)
             : absl::FailedPreconditionError(message);
}

}  // namespace

absl::StatusOr<std::shared_ptr<const ReplayTable>> ReplayTables::Load(
    const v1::StudySpec& spec) {
  if (dir_.empty()) {
    return absl::FailedPreconditionError(
        "spec.replay: this controller has no tables: start it with "
        "--tables_dir=FOLDER");
  }
  v1::StudySpec read_for;
  *read_for.mutable_space() = spec.space();
  *read_for.mutable_replay() = spec.replay();
  *read_for.mutable_objectives() = spec.objectives();
  *read_for.mutable_constraints() = spec.constraints();
  for (v1::ReplayFile& file : *read_for.mutable_replay()->mutable_tables()) {
    file.clear_sha256();
  }
  const std::string key = read_for.SerializeAsString();
  const ReplayConfig replay = FromProto(spec.replay());
  std::shared_ptr<const ReplayTable> known;
  {
    MutexLock lock(&mutex_);
    const auto found = loaded_.find(key);
    if (found != loaded_.end()) {
      known = found->second.lock();
      if (known == nullptr) loaded_.erase(found);
    }
  }
  if (known != nullptr) {
    HWNAS_RETURN_IF_ERROR(InSpec(known->CheckFiles(replay)));
    return known;
  }
  HWNAS_ASSIGN_OR_RETURN(const SpaceConfig config, SearchedSpace(spec));
  HWNAS_ASSIGN_OR_RETURN(const std::unique_ptr<SearchSpace> space,
                         CreateSpace(config));
  absl::StatusOr<std::shared_ptr<const ReplayTable>> table =
      ReplayTable::Load(replay, dir_, ProblemFromProto(spec), *space);
  if (!table.ok()) return InSpec(table.status());
  MutexLock lock(&mutex_);
  loaded_[key] = *table;
  return table;
}

void RecordTables(const ReplayTable& table, v1::ReplaySpec* replay) {
  for (int i = 0; i < replay->tables_size(); ++i) {
    replay->mutable_tables(i)->set_sha256(table.sha256()[i]);
  }
}

}  // namespace hwnas::controller
