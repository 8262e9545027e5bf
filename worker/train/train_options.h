// How to train: a v1.TrainSpec with every default filled in and checked.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "hwnas/v1/study.pb.h"
#include "nas/graph/model_graph.h"

namespace hwnas::worker {

// Plain value; see v1.TrainSpec for ranges.
struct TrainOptions {
  int epochs = 12;
  int batch = 128;
  double data_fraction = 1;
  double validation_fraction = 0.1;
  double learning_rate = 0.1;  // Peak.
  double momentum = 0.9;       // Nesterov.
  double weight_decay = 5e-4;  // Not on biases and batch normalisation.
  double label_smoothing = 0.1;
  double warmup_epochs = 0.6;
  bool augment = true;
  int crop_padding = 4;  // Pixels.
  int cutout = 0;        // Pixels; 0: none.
  int threads = 0;       // 0: as many as the process uses anyway.
  uint64_t seed = 0;
};

// INVALID_ARGUMENT names the field, the value and what was expected. `image` is
// the network's input, on which crop_padding's default depends.
absl::StatusOr<TrainOptions> ResolveTrainSpec(const v1::TrainSpec& spec,
                                              const TensorShape& image,
                                              uint64_t seed);

}  // namespace hwnas::worker
