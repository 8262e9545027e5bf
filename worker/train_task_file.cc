#include "worker/train_task_file.h"

#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "common/files.h"
#include "common/status_macros.h"
#include "hwnas/v1/fleet_service.pb.h"
#include "proto/convert/convert.h"
#include "worker/train/dataset.h"
#include "worker/train/trainer.h"

namespace hwnas::worker {
namespace {

std::vector<int32_t> AllOf(const ImageSet& images) {
  std::vector<int32_t> all(images.size());
  std::iota(all.begin(), all.end(), 0);
  return all;
}

}  // namespace

absl::Status RunTrainTaskFile(const TrainTaskFileOptions& options,
                              std::ostream& out) {
  HWNAS_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(options.task_path));
  v1::TrainTask task;
  if (!task.ParseFromString(bytes)) {
    return absl::InvalidArgumentError(absl::StrCat(
        options.task_path, " is not a serialized hwnas.v1.TrainTask"));
  }
  HWNAS_ASSIGN_OR_RETURN(const ModelGraph graph, FromProto(task.graph()));
  HWNAS_ASSIGN_OR_RETURN(
      TrainOptions train,
      ResolveTrainSpec(task.train(), graph.input_shape(), task.seed()));
  if (train.threads == 0) train.threads = options.threads;
  HWNAS_ASSIGN_OR_RETURN(const std::shared_ptr<const Dataset> dataset,
                         LoadDataset(task.train().dataset(),
                                     {.data_dir = task.train().data_dir(),
                                      .worker_dir = options.data_dir},
                                     graph.input_shape()));
  const absl::Time start = absl::Now();
  TrainData data;
  data.dataset = dataset.get();
  data.train = AllOf(dataset->train);
  data.evaluation = AllOf(dataset->test);
  data.evaluate_test = true;
  data.evaluate_last_epoch_only = true;
  TrainHooks hooks;
  hooks.on_epoch = [&out](const v1::EpochReport& epoch) {
    out << absl::StrFormat(
               "{\"event\":\"epoch\",\"epoch\":%d,\"epochs\":%d,"
               "\"train_loss\":%.6g,\"images_per_second\":%.1f}",
               epoch.epoch(), epoch.epoch_count(), epoch.train_loss(),
               epoch.images_per_second())
        << std::endl;
  };
  HWNAS_ASSIGN_OR_RETURN(TrainOutcome outcome,
                         Train(graph, data, train, hooks));
  if (!options.weights_path.empty()) {
    outcome.weights.set_architecture_digest(task.architecture_digest());
    HWNAS_RETURN_IF_ERROR(WriteFileAtomically(
        options.weights_path, outcome.weights.SerializeAsString()));
  }
  out << absl::StrFormat(
             "{\"event\":\"done\",\"test_accuracy\":%.4f,\"test_loss\":%.6g,"
             "\"seconds\":%.2f}",
             outcome.accuracy, outcome.loss,
             absl::ToDoubleSeconds(absl::Now() - start))
      << std::endl;
  return absl::OkStatus();
}

}  // namespace hwnas::worker
