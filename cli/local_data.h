// Whether this machine has the data that a study needs, so that a search does
// not start in vain.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/study_file.h"
#include "estimator/replay_table.h"
#include "hwnas/v1/study.pb.h"

namespace hwnas::cli {

// The data set of a training: only that its files are there.
// `worker_dir` is the worker's --data_dir; may be empty. NOT_FOUND says where
// was looked and what to install. A name that is unknown here is OK: the worker
// knows better.
absl::Status CheckLocalData(const v1::TrainSpec& train,
                            const std::string& worker_dir);

// Where the tables of a study file lie: `option` (--tables), else the folder of
// the file if they are there, else $HWNAS_DATA_DIR.
std::string TablesDir(const std::string& option, const std::string& study_file,
                      const v1::ReplaySpec& replay);

// Reads the tables of a study with `replay`; what is wrong becomes an error of
// the study. nullptr then, and for any other study.
std::unique_ptr<ReplayTable> LoadLocalTables(LoadedStudy* study,
                                             const std::string& tables_dir);

// What is in the folders that a study file starts from, for each in order; what
// is wrong becomes an error of the study. Folders are relative to the file.
std::vector<v1::SourceTrials> LoadLocalSources(LoadedStudy* study,
                                               const std::string& study_file);

}  // namespace hwnas::cli
