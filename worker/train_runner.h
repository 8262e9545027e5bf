// Turns a TRAIN task into a result: what a worker does between assignment and
// report.
//
//   graph, spec checked -> data set (cached) -> checkpoint of an earlier rung
//   -> cores (shared lock) -> Train -> weights and checkpoint uploaded if asked
//   -> measurements with provenance TRAINED
#pragma once

#include <list>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/log.h"
#include "common/mutex.h"
#include "fleet/fleet_client.h"
#include "hwnas/v1/fleet_service.pb.h"
#include "prometheus/registry.h"
#include "worker/train/checkpoint_folder.h"
#include "worker/train/dataset.h"

namespace hwnas::worker {

struct TrainRunnerOptions {
  // Where data sets lie; see DatasetLocation::worker_dir.
  std::string data_dir;
  // Interrupted trainings are kept here. Empty path: none are.
  CheckpointFolderOptions checkpoints;
  // Threads of a training whose study does not say; 0: LibTorch's own choice.
  int threads = 0;
  // File that keeps training and measurement apart; HostCoresLock.
  std::string cores_lock_path;
  // As announced to the controller; threads and runtime are filled in.
  v1::Environment environment;
};

// Thread-safe: called in one thread for each slot.
class TrainRunner final : public fleet::TaskRunner {
 public:
  TrainRunner(TrainRunnerOptions options, std::shared_ptr<Logger> logger,
              std::shared_ptr<prometheus::Registry> registry);
  ~TrainRunner() override;

  v1::TaskResult Run(const v1::Task& task,
                     fleet::TaskContext& context) override;
  void OnSpooled(const v1::Task& task, const v1::TaskResult& result) override;

 private:
  struct Metrics;

  absl::Status Train(const v1::Task& task, fleet::TaskContext& context,
                     v1::TaskResult* result);
  // The data set from memory if it was used lately.
  absl::StatusOr<std::shared_ptr<const Dataset>> Load(
      const std::string& name, const std::string& data_dir,
      const TensorShape& image);

  const TrainRunnerOptions options_;
  const std::shared_ptr<Logger> logger_;
  const std::unique_ptr<Metrics> metrics_;
  const std::unique_ptr<CheckpointFolder> checkpoints_;  // Null: none.

  struct Cached {
    std::string key;
    std::shared_ptr<const Dataset> dataset;
  };
  // Held while loading, so that two slots do not read the same files at once.
  Mutex mutex_;
  // Most recent first.
  std::list<Cached> cache_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace hwnas::worker
