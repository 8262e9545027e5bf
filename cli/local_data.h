// Whether this machine has the data set that a study trains on: only that its
// files are there, so that a search does not start in vain.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "hwnas/v1/study.pb.h"

namespace hwnas::cli {

// `worker_dir` is the worker's --data_dir; may be empty. NOT_FOUND says where
// was looked and what to install. A name that is unknown here is OK: the worker
// knows better.
absl::Status CheckLocalData(const v1::TrainSpec& train,
                            const std::string& worker_dir);

}  // namespace hwnas::cli
