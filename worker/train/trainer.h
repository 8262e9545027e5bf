// Trains one network on one data set.
//
//   batches (prefetched) -> forward -> smoothed cross-entropy -> backward
//   -> Nesterov SGD at a cosine rate;  each epoch -> evaluation -> hooks
//
// No LibTorch in this header.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "hwnas/v1/model_graph.pb.h"
#include "hwnas/v1/trial.pb.h"
#include "nas/graph/model_graph.h"
#include "worker/train/checkpoint_folder.h"
#include "worker/train/dataset.h"
#include "worker/train/train_options.h"

namespace hwnas::worker {

// What a caller may hear and say during a training. All are optional and called
// from the training thread.
struct TrainHooks {
  // Asked before every batch; true ends the training with CANCELLED.
  std::function<bool()> cancelled;
  std::function<void(const v1::EpochReport&)> on_epoch;
  // An interrupted training goes on: the epochs that are done, before any other
  // is trained.
  std::function<void(absl::Span<const v1::EpochReport>)> on_resume;
  // After every batch: images trained since the last call.
  std::function<void(int64_t)> on_images;
};

// Where an interrupted training goes on, and where it pauses.
struct CheckpointOptions {
  // For what a crash of this process should not lose: written after every epoch
  // but the last. Must outlive the training. Null: nowhere.
  CheckpointFolder* folder = nullptr;
  // Names what is trained and how: a checkpoint of anything else is ignored.
  std::string fingerprint;
  // A checkpoint of an earlier pause, to begin from unless the folder holds a
  // later one. Bytes that cannot be used are ignored: they only cost time.
  std::string begin;
  // Pause after so many epochs, counted from the beginning of the training; the
  // schedule stays that of all epochs. 0: train to the end.
  int pause_after = 0;
};

// Which images to train on and which to judge by.
struct TrainData {
  const Dataset* dataset = nullptr;  // Must outlive the training.
  std::vector<int32_t> train;        // Indices into dataset->train.
  // Indices into dataset->train, or dataset->test if `evaluate_test`.
  std::vector<int32_t> evaluation;
  bool evaluate_test = false;
  // Or the last before a pause. Reports of the others then have no validation
  // values.
  bool evaluate_last_epoch_only = false;
};

struct TrainOutcome {
  std::vector<v1::EpochReport> epochs;
  // After the last epoch, on the evaluation images.
  double accuracy = 0;  // Percent, [0, 100].
  double loss = 0;      // Mean cross-entropy in nats, not smoothed.
  v1::Weights weights;
  // Where a paused training goes on; empty at the end.
  std::string checkpoint;
  int64_t images = 0;  // Trained, counting each visit; without resumed epochs.
  double train_seconds = 0;  // Without evaluation.
};

// Deterministic on a CPU for equal arguments and number of threads; also across
// interruptions and pauses: 9 epochs are the same whether at once or 3 and 6.
// Sets LibTorch's number of threads for the calling thread.
//
// OUT_OF_RANGE: the loss is not finite; the network or the rate is at fault and
// another machine would see the same. INVALID_ARGUMENT: network and data set do
// not fit. RESOURCE_EXHAUSTED: not enough memory. CANCELLED.
absl::StatusOr<TrainOutcome> Train(const ModelGraph& graph,
                                   const TrainData& data,
                                   const TrainOptions& options,
                                   const TrainHooks& hooks = {},
                                   const CheckpointOptions& checkpoint = {});

// Loss and accuracy of a network with given weights.
struct Evaluation {
  double accuracy = 0;  // Percent, [0, 100].
  double loss = 0;      // Mean cross-entropy in nats.
};
absl::StatusOr<Evaluation> Evaluate(const ModelGraph& graph,
                                    const v1::Weights& weights,
                                    const Dataset& dataset,
                                    const ImageSet& images,
                                    absl::Span<const int32_t> indices);

// "libtorch 1.13.0".
std::string TrainingRuntime();
// "cuda:0", ... Empty without CUDA.
std::vector<std::string> Accelerators();

}  // namespace hwnas::worker
