#include "worker/train_runner.h"

#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/host_cores_lock.h"
#include "common/limits.h"
#include "common/status_macros.h"
#include "prometheus/counter.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "proto/convert/convert.h"
#include "worker/train/split.h"
#include "worker/train/train_options.h"
#include "worker/train/trainer.h"

namespace hwnas::worker {
namespace {

constexpr size_t kCachedDatasets = 3;

// Another machine would fail as well.
bool IsCandidateFault(const absl::Status& status) {
  return absl::IsOutOfRange(status) || absl::IsInvalidArgument(status);
}

// Names what is trained and how, however far and from where.
std::string Fingerprint(const v1::TrainTask& task) {
  v1::TrainTask training;
  *training.mutable_graph() = task.graph();
  *training.mutable_train() = task.train();
  training.set_seed(task.seed());
  return training.SerializeAsString();
}

void AddMeasurement(const std::string& metric, double value,
                    const std::string& unit, v1::TaskResult* result) {
  v1::Measurement& measurement = *result->add_measurements();
  measurement.set_metric(metric);
  measurement.set_value(value);
  measurement.set_unit(unit);
  measurement.set_sample_count(1);
  measurement.set_provenance(v1::TRAINED);
}

}  // namespace

struct TrainRunner::Metrics {
  explicit Metrics(std::shared_ptr<prometheus::Registry> owner)
      : registry(std::move(owner)),
        images(prometheus::BuildCounter()
                   .Name("hwnas_worker_trained_images_total")
                   .Help("Images trained, counting every visit.")
                   .Register(*registry)
                   .Add({})),
        epochs(prometheus::BuildCounter()
                   .Name("hwnas_worker_epochs_total")
                   .Help("Epochs finished.")
                   .Register(*registry)
                   .Add({})),
        running(prometheus::BuildGauge()
                    .Name("hwnas_worker_running_tasks")
                    .Help("Trainings in hand.")
                    .Register(*registry)
                    .Add({})),
        seconds(prometheus::BuildHistogram()
                    .Name("hwnas_worker_task_duration_seconds")
                    .Help("Time from assignment to result by outcome.")
                    .Register(*registry)) {}

  prometheus::Histogram& Seconds(const std::string& outcome) {
    return seconds.Add({{"outcome", outcome}},
                       prometheus::Histogram::BucketBoundaries{
                           1, 2, 5, 10, 30, 60, 300, 1800, 7200, 43200});
  }

  const std::shared_ptr<prometheus::Registry> registry;  // Owns the rest.
  prometheus::Counter& images;
  prometheus::Counter& epochs;
  prometheus::Gauge& running;
  prometheus::Family<prometheus::Histogram>& seconds;
};

TrainRunner::TrainRunner(TrainRunnerOptions options,
                         std::shared_ptr<Logger> logger,
                         std::shared_ptr<prometheus::Registry> registry)
    : options_(std::move(options)),
      logger_(std::move(logger)),
      metrics_(std::make_unique<Metrics>(std::move(registry))),
      checkpoints_(options_.checkpoints.path.empty()
                       ? nullptr
                       : std::make_unique<CheckpointFolder>(
                             options_.checkpoints, logger_)) {}

TrainRunner::~TrainRunner() = default;

v1::TaskResult TrainRunner::Run(const v1::Task& task,
                                fleet::TaskContext& context) {
  const absl::Time start = absl::Now();
  metrics_->running.Increment();
  v1::TaskResult result;
  *result.mutable_environment() = options_.environment;
  const absl::Status status = Train(task, context, &result);
  metrics_->running.Decrement();
  std::string outcome = "ok";
  if (!status.ok()) {
    result.set_error(std::string(status.message()));
    result.set_candidate_fault(IsCandidateFault(status));
    result.set_handed_back(absl::IsCancelled(status));
    outcome = absl::IsCancelled(status)  ? "cancelled"
              : result.candidate_fault() ? "candidate_fault"
                                         : "error";
  }
  const double seconds = absl::ToDoubleSeconds(absl::Now() - start);
  metrics_->Seconds(outcome).Observe(seconds);
  if (status.ok()) {
    logger_->info(
        "event=trained trial={} attempt={} seconds={:.2f} "
        "accuracy={:.3f}",
        task.trial(), task.lease().attempt(), seconds,
        result.measurements(0).value());
  } else {
    logger_->warn(
        "event=train_failed trial={} attempt={} outcome={} "
        "error=\"{}\"",
        task.trial(), task.lease().attempt(), outcome, result.error());
  }
  return result;
}

void TrainRunner::OnSpooled(const v1::Task& task,
                            const v1::TaskResult& result) {
  if (checkpoints_ == nullptr || !task.has_train()) return;
  if (result.error().empty() || result.candidate_fault()) {
    checkpoints_->Remove(Fingerprint(task.train()));
  }
}

absl::Status TrainRunner::Train(const v1::Task& task,
                                fleet::TaskContext& context,
                                v1::TaskResult* result) {
  if (!task.has_train()) {
    return absl::UnimplementedError("a worker only trains");
  }
  const v1::TrainTask& train = task.train();
  HWNAS_ASSIGN_OR_RETURN(const ModelGraph graph, FromProto(train.graph()));
  HWNAS_ASSIGN_OR_RETURN(
      TrainOptions options,
      ResolveTrainSpec(train.train(), graph.input_shape(), train.seed()));
  if (options.threads == 0) options.threads = options_.threads;
  context.ReportNote("reading the data set");
  HWNAS_ASSIGN_OR_RETURN(const std::shared_ptr<const Dataset> dataset,
                         Load(train.train().dataset(), train.train().data_dir(),
                              graph.input_shape()));
  Split split =
      SplitTraining(dataset->train.labels, options.validation_fraction,
                    options.data_fraction);
  TrainData data;
  data.dataset = dataset.get();
  data.train = std::move(split.train);
  data.evaluation = std::move(split.validation);

  context.ReportNote("waiting for cores");
  HWNAS_ASSIGN_OR_RETURN(const std::unique_ptr<HostCoresLock> cores,
                         HostCoresLock::Open(options_.cores_lock_path));
  HWNAS_RETURN_IF_ERROR(cores->Acquire(
      HostCoresLock::kShared, [&context] { return context.cancelled(); }));

  TrainHooks hooks;
  hooks.cancelled = [&context] { return context.cancelled(); };
  hooks.on_epoch = [&](const v1::EpochReport& epoch) {
    metrics_->epochs.Increment();
    context.ReportEpoch(epoch);
    logger_->debug(
        "event=epoch trial={} epoch={} epochs={} train_loss={:.4f} "
        "accuracy={:.2f} images_per_second={:.0f}",
        task.trial(), epoch.epoch(), epoch.epoch_count(), epoch.train_loss(),
        epoch.validation_accuracy(), epoch.images_per_second());
  };
  // The controller judges whole curves.
  hooks.on_resume = [&](absl::Span<const v1::EpochReport> epochs) {
    for (const v1::EpochReport& epoch : epochs) context.ReportEpoch(epoch);
    logger_->info("event=resumed trial={} attempt={} epochs={} of={}",
                  task.trial(), task.lease().attempt(), epochs.size(),
                  options.epochs);
  };
  hooks.on_images = [this](int64_t images) {
    metrics_->images.Increment(static_cast<double>(images));
  };
  CheckpointOptions checkpoint;
  checkpoint.fingerprint = Fingerprint(train);
  checkpoint.pause_after = train.until_epoch();
  if (!train.checkpoint_digest().empty()) {
    context.ReportNote("reading the checkpoint");
    absl::StatusOr<std::string> begin =
        context.DownloadArtifact(train.checkpoint_digest());
    if (begin.ok()) {
      checkpoint.begin = *std::move(begin);
    } else if (absl::IsCancelled(begin.status())) {
      return begin.status();
    } else {
      logger_->warn("event=checkpoint_missing trial={} digest={} error=\"{}\"",
                    task.trial(), train.checkpoint_digest(),
                    begin.status().ToString());
    }
  }
  checkpoint.folder = checkpoints_.get();
  context.ReportNote("training");
  HWNAS_ASSIGN_OR_RETURN(
      TrainOutcome outcome,
      worker::Train(graph, data, options, hooks, checkpoint));
  cores->Release();

  if (train.keep_weights()) {
    context.ReportNote("uploading weights");
    outcome.weights.set_architecture_digest(train.architecture_digest());
    HWNAS_ASSIGN_OR_RETURN(
        const std::string digest,
        context.UploadArtifact(outcome.weights.SerializeAsString()));
    result->set_weights_digest(digest);
  }
  if (train.keep_checkpoint() && !outcome.checkpoint.empty()) {
    context.ReportNote("uploading the checkpoint");
    HWNAS_ASSIGN_OR_RETURN(const std::string digest,
                           context.UploadArtifact(outcome.checkpoint));
    result->set_checkpoint_digest(digest);
  }
  AddMeasurement("accuracy", outcome.accuracy, "percent", result);
  AddMeasurement("validation_loss", outcome.loss, "nat", result);
  for (const v1::EpochReport& epoch : outcome.epochs) {
    *result->add_epochs() = epoch;
  }
  result->mutable_environment()->set_runtime(TrainingRuntime());
  result->mutable_environment()->set_threads(options.threads);
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const Dataset>> TrainRunner::Load(
    const std::string& name, const std::string& data_dir,
    const TensorShape& image) {
  const std::string key =
      absl::StrCat(name, "|", image.channels, "x", image.height, "x",
                   image.width, "|", data_dir);
  MutexLock lock(&mutex_);
  for (auto at = cache_.begin(); at != cache_.end(); ++at) {
    if (at->key == key) {
      cache_.splice(cache_.begin(), cache_, at);
      return at->dataset;
    }
  }
  const absl::Time start = absl::Now();
  HWNAS_ASSIGN_OR_RETURN(
      std::shared_ptr<const Dataset> dataset,
      LoadDataset(name, {.data_dir = data_dir, .worker_dir = options_.data_dir},
                  image));
  logger_->info(
      "event=dataset_loaded dataset={} train={} test={} seconds={:.2f}", name,
      dataset->train.size(), dataset->test.size(),
      absl::ToDoubleSeconds(absl::Now() - start));
  cache_.push_front({key, dataset});
  if (cache_.size() > kCachedDatasets) cache_.pop_back();
  return dataset;
}

}  // namespace hwnas::worker
