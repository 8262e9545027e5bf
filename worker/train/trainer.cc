#include "worker/train/trainer.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/status_macros.h"
#include "model/torch/graph_module.h"
#include "model/torch/torch_status.h"
#include "worker/train/batch_loader.h"
#include "worker/train/checkpoint.h"
#include "worker/train/schedule.h"

namespace hwnas::worker {
namespace {

namespace F = torch::nn::functional;
using torch::Tensor;

constexpr int64_t kEvaluationBatch = 256;

torch::Device TrainingDevice() {
  return torch::cuda::is_available() ? torch::Device(torch::kCUDA)
                                     : torch::Device(torch::kCPU);
}

// The floats as images {size, C, H, W}, channels-last, without a copy.
Tensor AsImages(float* data, int64_t size, const TensorShape& shape) {
  const int64_t c = shape.channels;
  const int64_t h = shape.height;
  const int64_t w = shape.width;
  return torch::from_blob(data, {size, c, h, w}, {h * w * c, 1, w * c, c},
                          torch::kFloat);
}

absl::Status CheckFit(const ModelGraph& graph, const TrainData& data,
                      const TrainOptions& options) {
  const Dataset& dataset = *data.dataset;
  // Not !=: clang-tidy reads what includes LibTorch as C++17.
  if (!(graph.input_shape() == dataset.image)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the network reads ", graph.input_shape().channels, "x",
        graph.input_shape().height, "x", graph.input_shape().width,
        " images, but those of ", dataset.name, " are ", dataset.image.channels,
        "x", dataset.image.height, "x", dataset.image.width));
  }
  if (graph.output_shape().elements() != dataset.classes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the network has ", graph.output_shape().elements(),
        " outputs, but data set ", dataset.name, " has ", dataset.classes,
        " classes: set the space's classes to ", dataset.classes));
  }
  if (data.train.empty() || data.evaluation.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "nothing to train on: ", data.train.size(), " training and ",
        data.evaluation.size(), " evaluation images"));
  }
  // Training keeps about every activation once and some gradients: a network
  // that cannot fit should fail here, not by the kernel's hand.
  const double batch =
      std::min<double>(options.batch, static_cast<double>(data.train.size()));
  double elements = 0;
  for (const Node& node : graph.nodes()) {
    elements += static_cast<double>(node.shape.elements());
  }
  const double needed = 4 * batch * elements;
  const double memory = static_cast<double>(sysconf(_SC_PHYS_PAGES)) *
                        static_cast<double>(sysconf(_SC_PAGESIZE));
  if (needed > memory && TrainingDevice().is_cpu()) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "training with batch ", batch, " needs at least ", needed / (1 << 20),
        " MiB for activations, but this machine has ", memory / (1 << 20)));
  }
  return absl::OkStatus();
}

Evaluation EvaluateModule(GraphModule& module, const Dataset& dataset,
                          const ImageSet& images,
                          absl::Span<const int32_t> indices,
                          const std::function<bool()>& cancelled) {
  torch::NoGradGuard no_grad;
  module.eval();
  const ImagePreparer preparer(dataset, {});
  const int64_t pixels = dataset.image.elements();
  const int64_t count = static_cast<int64_t>(indices.size());
  std::vector<float> buffer(std::min(kEvaluationBatch, count) * pixels);
  std::vector<int64_t> labels(buffer.size() / pixels);
  double loss = 0;
  int64_t correct = 0;
  for (int64_t begin = 0; begin < count; begin += kEvaluationBatch) {
    if (cancelled && cancelled()) break;
    const int64_t size = std::min(kEvaluationBatch, count - begin);
    for (int64_t i = 0; i < size; ++i) {
      const int32_t image = indices[begin + i];
      preparer.Prepare(images.pixels.data() + image * pixels, nullptr,
                       buffer.data() + i * pixels);
      labels[i] = images.labels[image];
    }
    const Tensor target = torch::from_blob(labels.data(), {size}, torch::kLong)
                              .to(module.device());
    const Tensor logits =
        module.Forward(AsImages(buffer.data(), size, dataset.image));
    loss +=
        F::cross_entropy(logits, target,
                         F::CrossEntropyFuncOptions().reduction(torch::kSum))
            .item<double>();
    correct += logits.argmax(1).eq(target).sum().item<int64_t>();
  }
  module.train();
  return {.accuracy =
              100.0 * static_cast<double>(correct) / static_cast<double>(count),
          .loss = loss / static_cast<double>(count)};
}

// Nesterov momentum in PyTorch's form, on flat tensors; weight decay only on
// the first `decayed_count()` parameters.
class FlatSgd {
 public:
  FlatSgd(GraphModule& module, const TrainOptions& options)
      : module_(module),
        momentum_(options.momentum),
        weight_decay_(options.weight_decay),
        velocity_(torch::zeros_like(module.flat_parameters())) {}

  void ZeroGradients() { module_.flat_gradients().zero_(); }

  void Step(double rate) {
    torch::NoGradGuard no_grad;
    Tensor& parameters = module_.flat_parameters();
    Tensor& gradients = module_.flat_gradients();
    const int64_t decayed = module_.decayed_count();
    if (weight_decay_ != 0 && decayed > 0) {
      gradients.narrow(0, 0, decayed)
          .add_(parameters.narrow(0, 0, decayed), weight_decay_);
    }
    if (momentum_ == 0) {
      parameters.add_(gradients, -rate);
      return;
    }
    velocity_.mul_(momentum_).add_(gradients);
    parameters.add_(gradients, -rate).add_(velocity_, -rate * momentum_);
  }

  Tensor& velocity() { return velocity_; }

 private:
  GraphModule& module_;
  const double momentum_;
  const double weight_decay_;
  Tensor velocity_;
};

std::vector<float> ToVector(const Tensor& tensor) {
  const Tensor flat = tensor.detach().to(torch::kCPU).contiguous().view({-1});
  const float* data = flat.data_ptr<float>();
  return std::vector<float>(data, data + flat.numel());
}

// Copies a stretch of `from` into the tensor.
void CopyInto(absl::Span<const float> from, const Tensor& tensor) {
  Tensor copy = torch::empty(tensor.sizes(), torch::kFloat);
  std::memcpy(copy.data_ptr<float>(), from.data(), from.size() * sizeof(float));
  tensor.detach().copy_(copy);
}

// The loop and its state; lives for one training.
class Training {
 public:
  Training(const ModelGraph& graph, const TrainData& data,
           const TrainOptions& options, const TrainHooks& hooks,
           const CheckpointOptions& checkpoint)
      : data_(data),
        options_(options),
        hooks_(hooks),
        checkpoint_(checkpoint),
        end_(checkpoint.pause_after > 0
                 ? std::min(checkpoint.pause_after, options.epochs)
                 : options.epochs),
        module_(graph, options.seed, TrainingDevice()),
        optimizer_(module_, options) {}

  absl::StatusOr<TrainOutcome> Run() {
    Resume();
    BatchLoaderOptions loading;
    loading.batch = options_.batch;
    loading.seed = options_.seed;
    loading.first_epoch = static_cast<int>(outcome_.epochs.size());
    loading.epochs = end_;
    if (options_.augment) {
      loading.augment.flip = data_.dataset->flip_keeps_class;
      loading.augment.crop_padding = options_.crop_padding;
    }
    loading.augment.cutout = options_.cutout;
    BatchLoader loader(*data_.dataset, data_.train, loading);
    const int64_t steps = loader.batches_per_epoch();
    const CosineSchedule schedule(
        options_.learning_rate,
        std::llround(options_.warmup_epochs * static_cast<double>(steps)),
        steps * options_.epochs);
    for (int epoch = loading.first_epoch; epoch < end_; ++epoch) {
      HWNAS_RETURN_IF_ERROR(TrainEpoch(epoch, schedule, loader));
      // What somebody has heard of is not trained again.
      if (checkpoint_.folder != nullptr && epoch + 1 < end_) {
        checkpoint_.folder->Save(checkpoint_.fingerprint, MakeCheckpoint());
      }
      if (hooks_.on_epoch) hooks_.on_epoch(outcome_.epochs.back());
    }
    outcome_.accuracy = outcome_.epochs.back().validation_accuracy();
    outcome_.loss = outcome_.epochs.back().validation_loss();
    outcome_.weights = ExportWeights(module_, "");
    if (end_ < options_.epochs) {
      outcome_.checkpoint =
          SerializeCheckpoint(checkpoint_.fingerprint, MakeCheckpoint());
    }
    return std::move(outcome_);
  }

 private:
  bool cancelled() const { return hooks_.cancelled && hooks_.cancelled(); }

  absl::Status TrainEpoch(int epoch, const CosineSchedule& schedule,
                          BatchLoader& loader) {
    const int64_t steps = loader.batches_per_epoch();
    module_.SeedDropout(options_.seed ^
                        (uint64_t{0x9e3779b97f4a7c15} * (epoch + 1)));
    const absl::Time start = absl::Now();
    double loss_sum = 0;
    int64_t images = 0;
    for (int64_t step = 0; step < steps; ++step) {
      if (cancelled()) return absl::CancelledError("training cancelled");
      std::unique_ptr<Batch> batch = loader.Next();
      const Tensor labels =
          torch::from_blob(batch->labels.data(), {batch->size}, torch::kLong)
              .to(module_.device());
      optimizer_.ZeroGradients();
      const Tensor logits = module_.Forward(
          AsImages(batch->images.data(), batch->size, data_.dataset->image));
      const Tensor loss =
          F::cross_entropy(logits, labels,
                           F::CrossEntropyFuncOptions().label_smoothing(
                               options_.label_smoothing));
      const double value = loss.item<double>();
      if (!std::isfinite(value)) {
        return absl::OutOfRangeError(absl::StrCat(
            "the loss became ", value, " in epoch ", epoch + 1, ", step ",
            step + 1, " of ", steps, ": the network diverges at learning rate ",
            options_.learning_rate));
      }
      loss.backward();
      optimizer_.Step(schedule.At(epoch * steps + step));
      loss_sum += value * static_cast<double>(batch->size);
      images += batch->size;
      if (hooks_.on_images) hooks_.on_images(batch->size);
      loader.Recycle(std::move(batch));
    }
    const double seconds = absl::ToDoubleSeconds(absl::Now() - start);
    outcome_.images += images;
    outcome_.train_seconds += seconds;

    Evaluation evaluation;
    const bool evaluate = !data_.evaluate_last_epoch_only || epoch + 1 == end_;
    if (evaluate) {
      evaluation = EvaluateModule(
          module_, *data_.dataset,
          data_.evaluate_test ? data_.dataset->test : data_.dataset->train,
          data_.evaluation, hooks_.cancelled);
    }
    if (cancelled()) return absl::CancelledError("training cancelled");
    if (!std::isfinite(evaluation.loss)) {
      return absl::OutOfRangeError(absl::StrCat("the evaluation loss became ",
                                                evaluation.loss,
                                                " after epoch ", epoch + 1));
    }
    v1::EpochReport report;
    report.set_epoch(epoch + 1);
    report.set_epoch_count(options_.epochs);
    report.set_train_loss(loss_sum / static_cast<double>(images));
    report.set_validation_loss(evaluation.loss);
    report.set_validation_accuracy(evaluation.accuracy);
    report.set_images_per_second(static_cast<double>(images) /
                                 std::max(seconds, 1e-9));
    outcome_.epochs.push_back(report);
    return absl::OkStatus();
  }

  // Statistics are what is named but not trained.
  std::vector<Tensor> Statistics() const {
    std::vector<Tensor> statistics;
    for (const GraphModule::NamedTensor& tensor : module_.named_tensors()) {
      if (!tensor.spec.trainable) statistics.push_back(tensor.value);
    }
    return statistics;
  }

  Checkpoint MakeCheckpoint() {
    Checkpoint checkpoint;
    checkpoint.epochs = outcome_.epochs;
    checkpoint.parameters = ToVector(module_.flat_parameters());
    checkpoint.momentum = ToVector(optimizer_.velocity());
    for (const Tensor& tensor : Statistics()) {
      const std::vector<float> values = ToVector(tensor);
      checkpoint.statistics.insert(checkpoint.statistics.end(), values.begin(),
                                   values.end());
    }
    return checkpoint;
  }

  // A checkpoint that cannot be used only costs time.
  void Resume() {
    if (!checkpoint_.begin.empty()) {
      const auto begin =
          ParseCheckpoint(checkpoint_.begin, checkpoint_.fingerprint);
      if (begin.ok()) ResumeFrom(*begin);
    }
    if (checkpoint_.folder == nullptr) return;
    const std::optional<Checkpoint> interrupted =
        checkpoint_.folder->Find(checkpoint_.fingerprint, end_);
    if (interrupted && ResumeFrom(*interrupted) && hooks_.on_resume) {
      hooks_.on_resume(outcome_.epochs);
    }
  }

  // Nothing changes unless it leads further, and not too far.
  bool ResumeFrom(const Checkpoint& checkpoint) {
    const auto parameters =
        static_cast<size_t>(module_.flat_parameters().numel());
    size_t statistics = 0;
    for (const Tensor& tensor : Statistics()) statistics += tensor.numel();
    if (checkpoint.parameters.size() != parameters ||
        checkpoint.momentum.size() != parameters ||
        checkpoint.statistics.size() != statistics ||
        checkpoint.epochs.size() <= outcome_.epochs.size() ||
        checkpoint.epochs.size() > static_cast<size_t>(end_)) {
      return false;
    }
    torch::NoGradGuard no_grad;
    CopyInto(checkpoint.parameters, module_.flat_parameters());
    CopyInto(checkpoint.momentum, optimizer_.velocity());
    size_t at = 0;
    for (const Tensor& tensor : Statistics()) {
      CopyInto(
          absl::MakeSpan(checkpoint.statistics).subspan(at, tensor.numel()),
          tensor);
      at += tensor.numel();
    }
    outcome_.epochs = checkpoint.epochs;
    return true;
  }

  const TrainData& data_;
  const TrainOptions& options_;
  const TrainHooks& hooks_;
  const CheckpointOptions& checkpoint_;
  const int end_;  // Epochs finished when this run ends.
  GraphModule module_;
  FlatSgd optimizer_;
  TrainOutcome outcome_;
};

}  // namespace

absl::StatusOr<TrainOutcome> Train(const ModelGraph& graph,
                                   const TrainData& data,
                                   const TrainOptions& options,
                                   const TrainHooks& hooks,
                                   const CheckpointOptions& checkpoint) {
  HWNAS_RETURN_IF_ERROR(CheckFit(graph, data, options));
  return CatchTorch("training", [&]() -> absl::StatusOr<TrainOutcome> {
    if (options.threads > 0) at::set_num_threads(options.threads);
    return Training(graph, data, options, hooks, checkpoint).Run();
  });
}

absl::StatusOr<Evaluation> Evaluate(const ModelGraph& graph,
                                    const v1::Weights& weights,
                                    const Dataset& dataset,
                                    const ImageSet& images,
                                    absl::Span<const int32_t> indices) {
  return CatchTorch("evaluation", [&]() -> absl::StatusOr<Evaluation> {
    GraphModule module(graph, /*seed=*/0, TrainingDevice());
    HWNAS_RETURN_IF_ERROR(ImportWeights(weights, module));
    return EvaluateModule(module, dataset, images, indices, nullptr);
  });
}

std::string TrainingRuntime() {
  return absl::StrCat("libtorch ", TORCH_VERSION_MAJOR, ".",
                      TORCH_VERSION_MINOR, ".", TORCH_VERSION_PATCH);
}

std::vector<std::string> Accelerators() {
  std::vector<std::string> names;
  if (!torch::cuda::is_available()) return names;
  for (size_t i = 0; i < torch::cuda::device_count(); ++i) {
    names.push_back(absl::StrCat("cuda:", i));
  }
  return names;
}

}  // namespace hwnas::worker
