#include "controller/rpc/study_service.h"

#include <algorithm>
#include <deque>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/limits.h"
#include "common/mutex.h"
#include "common/status_macros.h"
#include "controller/rpc/reply.h"
#include "model/onnx/onnx_export.h"
#include "proto/convert/resource_names.h"

namespace hwnas::controller {
namespace {

// What a watcher has yet to be told. Bounded: beyond this, changes of one trial
// become one update without a message.
constexpr size_t kMaxPendingMessages = 1024;

struct Change {
  int64_t trial = 0;
  std::string message;
};

// The engine's end of a watch: collects changes and wakes the reactor. Outlives
// the reactor if need be, since the engine shares it.
class Watcher final : public StudyWatcher {
 public:
  explicit Watcher(std::function<void()> wake) : wake_(std::move(wake)) {}

  void OnChange(int64_t trial, const std::string& message) override {
    MutexLock lock(&mutex_);
    if (!wake_) return;
    if (changes_.size() < kMaxPendingMessages) {
      changes_.push_back({trial, message});
    } else {
      crowd_.insert(trial);
    }
    wake_();
  }

  bool Take(Change* change) {
    MutexLock lock(&mutex_);
    if (!changes_.empty()) {
      *change = std::move(changes_.front());
      changes_.pop_front();
      return true;
    }
    if (crowd_.empty()) return false;
    *change = {*crowd_.begin(), ""};
    crowd_.erase(crowd_.begin());
    return true;
  }

  // The reactor goes: no more calls to it.
  void Detach() {
    MutexLock lock(&mutex_);
    wake_ = nullptr;
  }

 private:
  Mutex mutex_;
  std::function<void()> wake_ ABSL_GUARDED_BY(mutex_);
  std::deque<Change> changes_ ABSL_GUARDED_BY(mutex_);
  std::set<int64_t> crowd_ ABSL_GUARDED_BY(mutex_);
};

// One call of WatchStudy. Deletes itself when gRPC and the queue are done with
// it.
class WatchReactor final : public grpc::ServerWriteReactor<v1::StudyUpdate> {
 public:
  WatchReactor(StudyEngine* engine, ControllerMetrics* metrics,
               SerialQueue* queue, const std::string& name)
      : engine_(engine), metrics_(metrics), queue_(queue) {
    queue_->Post([this, name] { Begin(name); });
  }

  void OnWriteDone(bool ok) override {
    {
      MutexLock lock(&mutex_);
      writing_ = false;
      if (!ok) cancelled_ = true;
    }
    Poke();
  }
  void OnCancel() override {
    {
      MutexLock lock(&mutex_);
      cancelled_ = true;
    }
    Poke();
  }
  void OnDone() override {
    // Behind every job that still names us.
    queue_->Post([this] { delete this; });
  }

 private:
  ~WatchReactor() override = default;

  // The rest runs on the queue.
  void Begin(const std::string& name) {
    absl::StatusOr<std::string> study_id = ParseStudyName(name);
    if (study_id.ok()) {
      study_id_ = *study_id;
      watcher_ = std::make_shared<Watcher>([this] { Poke(); });
      if (const absl::Status status = engine_->AddWatcher(study_id_, watcher_);
          !status.ok()) {
        watcher_ = nullptr;
        study_id = status;
      }
    }
    if (!study_id.ok()) {
      End(Reply(metrics_, study_id.status()));
    }
    // Else the engine has told the watcher of the present state.
  }

  // At most one Pump waits in the queue.
  void Poke() {
    MutexLock lock(&mutex_);
    if (poked_ || finished_) return;
    poked_ = true;
    queue_->Post([this] { Pump(); });
  }

  void Pump() {
    {
      MutexLock lock(&mutex_);
      poked_ = false;
      if (writing_ || finished_) return;
    }
    if (Cancelled()) {
      End(grpc::Status(grpc::StatusCode::CANCELLED, "the watcher left"));
      return;
    }
    Change change;
    if (!watcher_->Take(&change)) {
      if (study_ended_) End(grpc::Status::OK);
      return;
    }
    absl::StatusOr<v1::StudyUpdate> update =
        engine_->MakeUpdate(study_id_, change.trial);
    if (!update.ok()) {
      End(Reply(metrics_, update.status()));
      return;
    }
    update_ = *std::move(update);
    update_.set_message(change.message);
    study_ended_ = update_.study().state() == v1::Study::COMPLETED ||
                   update_.study().state() == v1::Study::CANCELLED;
    MutexLock lock(&mutex_);
    writing_ = true;
    StartWrite(&update_);
  }

  bool Cancelled() {
    MutexLock lock(&mutex_);
    return cancelled_;
  }

  void End(const grpc::Status& status) {
    if (watcher_ != nullptr) {
      engine_->RemoveWatcher(study_id_, watcher_.get());
      watcher_->Detach();
    }
    MutexLock lock(&mutex_);
    if (finished_) return;
    finished_ = true;
    Finish(status);
  }

  StudyEngine* const engine_;
  ControllerMetrics* const metrics_;
  SerialQueue* const queue_;
  // Used on the queue alone.
  std::string study_id_;
  std::shared_ptr<Watcher> watcher_;
  v1::StudyUpdate update_;
  bool study_ended_ = false;

  Mutex mutex_;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  bool poked_ ABSL_GUARDED_BY(mutex_) = false;
};

// The ONNX file of a trial, and whether its weights are trained.
absl::StatusOr<std::string> Export(StudyEngine& engine,
                                   ArtifactStore& artifacts,
                                   const v1::ExportModelRequest& request,
                                   bool* trained) {
  HWNAS_ASSIGN_OR_RETURN(const TrialId id, ParseTrialName(request.name()));
  HWNAS_ASSIGN_OR_RETURN(const TrialModel model,
                         engine.ModelOf(id.study_id, id.number));
  v1::Weights weights;
  *trained = !request.untrained() && !model.weights_digest.empty();
  if (*trained) {
    const absl::StatusOr<std::string> bytes =
        artifacts.Get(model.weights_digest);
    if (absl::IsNotFound(bytes.status())) {
      *trained = false;  // The trial has left the front meanwhile.
    } else if (!bytes.ok()) {
      return bytes.status();
    } else if (!weights.ParseFromString(*bytes)) {
      return absl::DataLossError(absl::StrCat(
          "the stored weights ", model.weights_digest, " are not readable"));
    }
  }
  if (!*trained) weights = RandomWeights(model.graph, /*seed=*/1);
  return ExportOnnx(model.graph, weights,
                    {.batch = request.batch() == 0 ? 1 : request.batch(),
                     .description = absl::StrCat(model.trial_name, ": ",
                                                 model.architecture.text())});
}

}  // namespace

grpc::Status StudyServiceImpl::CreateStudy(
    grpc::ServerContext* context, const v1::CreateStudyRequest* request,
    v1::Study* response) {
  return Reply(metrics_, engine_->CreateStudy(*request), response);
}

grpc::Status StudyServiceImpl::GetStudy(grpc::ServerContext* context,
                                        const v1::GetStudyRequest* request,
                                        v1::Study* response) {
  const auto id = ParseStudyName(request->name());
  if (!id.ok()) return Reply(metrics_, id.status());
  return Reply(metrics_, engine_->GetStudy(*id), response);
}

grpc::Status StudyServiceImpl::ListStudies(
    grpc::ServerContext* context, const v1::ListStudiesRequest* request,
    v1::ListStudiesResponse* response) {
  return Reply(metrics_, engine_->ListStudies(*request), response);
}

grpc::Status StudyServiceImpl::PauseStudy(grpc::ServerContext* context,
                                          const v1::PauseStudyRequest* request,
                                          v1::Study* response) {
  const auto id = ParseStudyName(request->name());
  if (!id.ok()) return Reply(metrics_, id.status());
  return Reply(metrics_, engine_->PauseStudy(*id), response);
}

grpc::Status StudyServiceImpl::ResumeStudy(
    grpc::ServerContext* context, const v1::ResumeStudyRequest* request,
    v1::Study* response) {
  const auto id = ParseStudyName(request->name());
  if (!id.ok()) return Reply(metrics_, id.status());
  return Reply(metrics_, engine_->ResumeStudy(*id), response);
}

grpc::Status StudyServiceImpl::CancelStudy(
    grpc::ServerContext* context, const v1::CancelStudyRequest* request,
    v1::Study* response) {
  const auto id = ParseStudyName(request->name());
  if (!id.ok()) return Reply(metrics_, id.status());
  return Reply(metrics_, engine_->CancelStudy(*id), response);
}

grpc::Status StudyServiceImpl::ListTrials(grpc::ServerContext* context,
                                          const v1::ListTrialsRequest* request,
                                          v1::ListTrialsResponse* response) {
  const auto id = ParseStudyName(request->parent());
  if (!id.ok()) return Reply(metrics_, id.status());
  return Reply(metrics_, engine_->ListTrials(*id, *request), response);
}

grpc::Status StudyServiceImpl::GetTrial(grpc::ServerContext* context,
                                        const v1::GetTrialRequest* request,
                                        v1::Trial* response) {
  const auto id = ParseTrialName(request->name());
  if (!id.ok()) return Reply(metrics_, id.status());
  return Reply(metrics_, engine_->GetTrial(id->study_id, id->number), response);
}

grpc::Status StudyServiceImpl::GetFront(grpc::ServerContext* context,
                                        const v1::GetFrontRequest* request,
                                        v1::Front* response) {
  const auto id = ParseStudyName(request->name());
  if (!id.ok()) return Reply(metrics_, id.status());
  return Reply(metrics_, engine_->GetFront(*id), response);
}

grpc::Status StudyServiceImpl::ExportModel(
    grpc::ServerContext* context, const v1::ExportModelRequest* request,
    grpc::ServerWriter<v1::ExportModelChunk>* writer) {
  bool trained = false;
  const absl::StatusOr<std::string> onnx =
      Export(*engine_, *artifacts_, *request, &trained);
  if (!onnx.ok()) return Reply(metrics_, onnx.status());
  for (size_t begin = 0; begin < onnx->size(); begin += kChunkBytes) {
    v1::ExportModelChunk chunk;
    chunk.set_data(onnx->substr(begin, kChunkBytes));
    chunk.set_trained(begin == 0 && trained);
    if (!writer->Write(chunk)) break;  // The caller left.
  }
  return grpc::Status::OK;
}

grpc::ServerWriteReactor<v1::StudyUpdate>* StudyServiceImpl::WatchStudy(
    grpc::CallbackServerContext* context,
    const v1::WatchStudyRequest* request) {
  return new WatchReactor(engine_, metrics_, &queue_, request->name());
}

}  // namespace hwnas::controller
