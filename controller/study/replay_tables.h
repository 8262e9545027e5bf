// The benchmark tables of studies with `replay`, read once while they are used.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/mutex.h"
#include "estimator/replay_table.h"
#include "hwnas/v1/study.pb.h"

namespace hwnas::controller {

// Thread-safe. Reading takes time: up to a second for large files.
class ReplayTables {
 public:
  // `dir` empty: there are no tables.
  explicit ReplayTables(std::string dir) : dir_(std::move(dir)) {}

  // The tables of a study, which must be valid. INVALID_ARGUMENT or
  // FAILED_PRECONDITION names the field and, inside of a file, the place.
  absl::StatusOr<std::shared_ptr<const ReplayTable>> Load(
      const v1::StudySpec& spec);

 private:
  const std::string dir_;
  Mutex mutex_;
  // By what they were read for.
  std::map<std::string, std::weak_ptr<const ReplayTable>> loaded_
      ABSL_GUARDED_BY(mutex_);
};

// Writes the digests of the files into the study that begins with them.
void RecordTables(const ReplayTable& table, v1::ReplaySpec* replay);

}  // namespace hwnas::controller
