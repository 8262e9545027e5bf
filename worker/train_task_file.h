// `hwnas-worker --train_task`: one training to the end, without a controller.
#pragma once

#include <ostream>
#include <string>

#include "absl/status/status.h"

namespace hwnas::worker {

struct TrainTaskFileOptions {
  std::string task_path;     // A serialized v1.TrainTask.
  std::string weights_path;  // Written at the end; empty: nowhere.
  std::string data_dir;      // DatasetLocation::worker_dir.
  int threads = 0;
};

// Trains on all training images (validation ones too), judges by the test
// images, and writes a JSON object a line to `out`:
//   {"event":"epoch","epoch":1,"epochs":12,"train_loss":..,"images_per_second":..}
//   {"event":"done","test_accuracy":..,"test_loss":..,"seconds":..}
// Nothing that is decided during the training depends on the test images. The
// weights are those after the last epoch, not the best of several.
absl::Status RunTrainTaskFile(const TrainTaskFileOptions& options,
                              std::ostream& out);

}  // namespace hwnas::worker
