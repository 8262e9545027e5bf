#include "controller/rpc/study_service.h"

#include <algorithm>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/limits.h"
#include "common/mutex.h"
#include "common/status_macros.h"
#include "controller/rpc/reply.h"
#include "controller/rpc/update_stream.h"
#include "model/onnx/onnx_export.h"
#include "model/weights.h"
#include "proto/convert/resource_names.h"

namespace hwnas::controller {
namespace {

// What a watcher has yet to be told. Bounded: beyond this, changes of one trial
// become one update without a message.
constexpr size_t kMaxPendingMessages = 1024;
// Of one identity at once; without TLS there are none.
constexpr int kMaxWatches = 64;

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

// One call of WatchStudy.
class WatchReactor final : public UpdateStream<v1::StudyUpdate> {
 public:
  // `study_id`: or why it must not be watched.
  WatchReactor(StudyEngine* engine, Access* access,
               grpc::CallbackServerContext* context, ControllerMetrics* metrics,
               SerialQueue* queue, std::map<std::string, int>* watches,
               const absl::StatusOr<std::string>& study_id)
      : UpdateStream(queue, context),
        engine_(engine),
        metrics_(metrics),
        watches_(watches) {
    queue->Post([this, access, study_id] {
      HoldWhileValid(access);
      Begin(study_id);
    });
  }

 private:
  ~WatchReactor() override = default;

  // All of it runs on the queue.
  void Begin(absl::StatusOr<std::string> study_id) {
    const auto open = watches_->find(caller());
    if (study_id.ok() && open != watches_->end() &&
        open->second >= kMaxWatches) {
      study_id = absl::ResourceExhaustedError(
          absl::StrCat(caller(), " watches ", open->second,
                       " studies: expected at most ", kMaxWatches, " at once"));
    }
    if (study_id.ok()) {
      study_id_ = *study_id;
      watcher_ = std::make_shared<Watcher>([this] { Poke(); });
      if (const absl::Status status = engine_->AddWatcher(study_id_, watcher_);
          !status.ok()) {
        watcher_ = nullptr;
        study_id = status;
      }
    }
    if (watcher_ != nullptr && !caller().empty()) ++(*watches_)[caller()];
    if (!study_id.ok()) {
      End(Reply(metrics_, study_id.status()));
    }
    // Else the engine has told the watcher of the present state.
  }

  bool Next(v1::StudyUpdate* update,
            std::optional<grpc::Status>* end) override {
    Change change;
    if (!watcher_->Take(&change)) {
      if (study_ended_) *end = grpc::Status::OK;
      return false;
    }
    absl::StatusOr<v1::StudyUpdate> made =
        engine_->MakeUpdate(study_id_, change.trial);
    if (!made.ok()) {
      *end = Reply(metrics_, made.status());
      return false;
    }
    *update = *std::move(made);
    update->set_message(change.message);
    study_ended_ = update->study().state() == v1::Study::COMPLETED ||
                   update->study().state() == v1::Study::CANCELLED;
    return true;
  }

  void Release() override {
    if (watcher_ == nullptr) return;
    engine_->RemoveWatcher(study_id_, watcher_.get());
    watcher_->Detach();
    if (const auto it = watches_->find(caller());
        it != watches_->end() && --it->second <= 0) {
      watches_->erase(it);
    }
  }

  StudyEngine* const engine_;
  ControllerMetrics* const metrics_;
  std::map<std::string, int>* const watches_;
  std::string study_id_;
  std::shared_ptr<Watcher> watcher_;
  bool study_ended_ = false;
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
  v1::CreateStudyRequest theirs = *request;
  theirs.set_user(access_->UserOf(*context, request->user()));
  for (const v1::WarmStartSource& source : request->spec().warm_start()) {
    if (source.study().empty()) continue;
    const absl::Status allowed = access_->MayUse(*context, source.study());
    if (absl::IsPermissionDenied(allowed)) return Reply(metrics_, allowed);
  }
  absl::StatusOr<v1::Study> study = engine_->CreateStudy(theirs);
  // It was there before, and is somebody else's?
  if (study.ok() && study->user() != theirs.user()) {
    const absl::Status allowed = access_->MayUse(*context, request->study_id());
    if (!allowed.ok()) {
      study = absl::AlreadyExistsError(
          absl::StrCat("study '", request->study_id(),
                       "' exists and is somebody else's; choose another name"));
    }
  }
  return Reply(metrics_, std::move(study), response);
}

absl::StatusOr<std::string> StudyServiceImpl::StudyOf(
    const grpc::ServerContextBase& context, const std::string& name) {
  HWNAS_ASSIGN_OR_RETURN(std::string id, ParseStudyName(name));
  HWNAS_RETURN_IF_ERROR(access_->MayUse(context, id));
  return id;
}

absl::StatusOr<TrialId> StudyServiceImpl::TrialOf(
    const grpc::ServerContextBase& context, const std::string& name) {
  HWNAS_ASSIGN_OR_RETURN(TrialId id, ParseTrialName(name));
  HWNAS_RETURN_IF_ERROR(access_->MayUse(context, id.study_id));
  return id;
}

grpc::Status StudyServiceImpl::GetStudy(grpc::ServerContext* context,
                                        const v1::GetStudyRequest* request,
                                        v1::Study* response) {
  const auto id = StudyOf(*context, request->name());
  if (!id.ok()) return Reply(metrics_, id.status());
  return Reply(metrics_, engine_->GetStudy(*id), response);
}

grpc::Status StudyServiceImpl::ListStudies(
    grpc::ServerContext* context, const v1::ListStudiesRequest* request,
    v1::ListStudiesResponse* response) {
  absl::StatusOr<v1::ListStudiesResponse> listed =
      engine_->ListStudies(*request);
  if (listed.ok()) {
    // A page may become shorter than was asked for.
    auto& studies = *listed->mutable_studies();
    studies.erase(std::remove_if(studies.begin(), studies.end(),
                                 [&](const v1::Study& study) {
                                   return !StudyOf(*context, study.name()).ok();
                                 }),
                  studies.end());
  }
  return Reply(metrics_, std::move(listed), response);
}

grpc::Status StudyServiceImpl::PauseStudy(grpc::ServerContext* context,
                                          const v1::PauseStudyRequest* request,
                                          v1::Study* response) {
  const auto id = StudyOf(*context, request->name());
  if (!id.ok()) return Reply(metrics_, id.status());
  return Reply(metrics_, engine_->PauseStudy(*id), response);
}

grpc::Status StudyServiceImpl::ResumeStudy(
    grpc::ServerContext* context, const v1::ResumeStudyRequest* request,
    v1::Study* response) {
  const auto id = StudyOf(*context, request->name());
  if (!id.ok()) return Reply(metrics_, id.status());
  return Reply(metrics_, engine_->ResumeStudy(*id), response);
}

grpc::Status StudyServiceImpl::CancelStudy(
    grpc::ServerContext* context, const v1::CancelStudyRequest* request,
    v1::Study* response) {
  const auto id = StudyOf(*context, request->name());
  if (!id.ok()) return Reply(metrics_, id.status());
  return Reply(metrics_, engine_->CancelStudy(*id), response);
}

grpc::Status StudyServiceImpl::ListTrials(grpc::ServerContext* context,
                                          const v1::ListTrialsRequest* request,
                                          v1::ListTrialsResponse* response) {
  const auto id = StudyOf(*context, request->parent());
  if (!id.ok()) return Reply(metrics_, id.status());
  return Reply(metrics_, engine_->ListTrials(*id, *request), response);
}

grpc::Status StudyServiceImpl::GetTrial(grpc::ServerContext* context,
                                        const v1::GetTrialRequest* request,
                                        v1::Trial* response) {
  const auto id = TrialOf(*context, request->name());
  if (!id.ok()) return Reply(metrics_, id.status());
  return Reply(metrics_, engine_->GetTrial(id->study_id, id->number), response);
}

grpc::Status StudyServiceImpl::GetTrialSamples(
    grpc::ServerContext* context, const v1::GetTrialSamplesRequest* request,
    v1::TrialSamples* response) {
  const auto id = TrialOf(*context, request->name());
  if (!id.ok()) return Reply(metrics_, id.status());
  return Reply(metrics_, engine_->GetTrialSamples(id->study_id, id->number),
               response);
}

grpc::Status StudyServiceImpl::GetFront(grpc::ServerContext* context,
                                        const v1::GetFrontRequest* request,
                                        v1::Front* response) {
  const auto id = StudyOf(*context, request->name());
  if (!id.ok()) return Reply(metrics_, id.status());
  return Reply(metrics_, engine_->GetFront(*id, request->device_class()),
               response);
}

grpc::Status StudyServiceImpl::ExportModel(
    grpc::ServerContext* context, const v1::ExportModelRequest* request,
    grpc::ServerWriter<v1::ExportModelChunk>* writer) {
  if (const auto id = TrialOf(*context, request->name()); !id.ok()) {
    return Reply(metrics_, id.status());
  }
  Transfer transfer(transfers_, context);
  if (const absl::Status fits = transfer.Check(); !fits.ok()) {
    return Reply(metrics_, fits);
  }
  bool trained = false;
  const absl::StatusOr<std::string> onnx =
      Export(*engine_, *artifacts_, *request, &trained);
  if (!onnx.ok()) return Reply(metrics_, onnx.status());
  for (size_t begin = 0; begin < onnx->size(); begin += kChunkBytes) {
    v1::ExportModelChunk chunk;
    chunk.set_data(onnx->substr(begin, kChunkBytes));
    chunk.set_trained(begin == 0 && trained);
    if (!writer->Write(chunk)) break;  // The caller left.
    transfer.Moved();
  }
  return grpc::Status::OK;
}

grpc::ServerWriteReactor<v1::StudyUpdate>* StudyServiceImpl::WatchStudy(
    grpc::CallbackServerContext* context,
    const v1::WatchStudyRequest* request) {
  return new WatchReactor(engine_, access_, context, metrics_, &queue_,
                          &watches_, StudyOf(*context, request->name()));
}

}  // namespace hwnas::controller
