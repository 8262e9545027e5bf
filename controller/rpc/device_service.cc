#include "controller/rpc/device_service.h"

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "common/mutex.h"
#include "controller/rpc/reply.h"
#include "controller/rpc/update_stream.h"
#include "proto/convert/resource_names.h"

namespace hwnas::controller {
namespace {

// Notes beyond this are dropped; the result never is.
constexpr size_t kMaxPendingUpdates = 64;

// The engine's end of a profile; outlives the reactor if need be.
class Listener final : public ProfileListener {
 public:
  explicit Listener(std::function<void()> wake) : wake_(std::move(wake)) {}

  void OnUpdate(const v1::ProfileModelUpdate& update) override {
    MutexLock lock(&mutex_);
    if (updates_.size() >= kMaxPendingUpdates && !update.has_result()) return;
    updates_.push_back(update);
    if (wake_) wake_();
  }
  void OnEnd(const absl::Status& status) override {
    MutexLock lock(&mutex_);
    end_ = status;
    if (wake_) wake_();
  }

  bool Take(v1::ProfileModelUpdate* update) {
    MutexLock lock(&mutex_);
    if (updates_.empty()) return false;
    *update = std::move(updates_.front());
    updates_.pop_front();
    return true;
  }
  std::optional<absl::Status> end() {
    MutexLock lock(&mutex_);
    return end_;
  }
  void Detach() {
    MutexLock lock(&mutex_);
    wake_ = nullptr;
  }

 private:
  Mutex mutex_;
  std::function<void()> wake_ ABSL_GUARDED_BY(mutex_);
  std::deque<v1::ProfileModelUpdate> updates_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mutex_);
};

// One call of ProfileModel.
class ProfileReactor final : public UpdateStream<v1::ProfileModelUpdate> {
 public:
  ProfileReactor(StudyEngine* engine, Access* access,
                 grpc::CallbackServerContext* context,
                 ControllerMetrics* metrics, SerialQueue* queue,
                 v1::ProfileModelRequest request)
      : UpdateStream(queue, context),
        engine_(engine),
        metrics_(metrics),
        listener_(std::make_shared<Listener>([this] { Poke(); })) {
    queue->Post([this, access, request = std::move(request)] {
      HoldWhileValid(access);
      const auto id = engine_->StartProfile(request, listener_);
      if (id.ok()) {
        profile_id_ = *id;
        Poke();
      } else {
        End(Reply(metrics_, id.status()));
      }
    });
  }

 private:
  ~ProfileReactor() override = default;

  // All of it runs on the queue.
  bool Next(v1::ProfileModelUpdate* update,
            std::optional<grpc::Status>* end) override {
    if (listener_->Take(update)) return true;
    if (const auto status = listener_->end()) *end = Reply(metrics_, *status);
    return false;
  }

  void Release() override {
    if (profile_id_) engine_->CancelProfile(*profile_id_);
    listener_->Detach();
  }

  StudyEngine* const engine_;
  ControllerMetrics* const metrics_;
  const std::shared_ptr<Listener> listener_;
  std::optional<int64_t> profile_id_;
};

}  // namespace

grpc::Status DeviceServiceImpl::ListDevices(
    grpc::ServerContext* context, const v1::ListDevicesRequest* request,
    v1::ListDevicesResponse* response) {
  return Reply(metrics_, engine_->ListDevices(*request), response);
}

grpc::Status DeviceServiceImpl::GetDevice(grpc::ServerContext* context,
                                          const v1::GetDeviceRequest* request,
                                          v1::Device* response) {
  const auto id = ParseDeviceName(request->name());
  if (!id.ok()) return Reply(metrics_, id.status());
  return Reply(metrics_, engine_->GetDevice(*id), response);
}

grpc::Status DeviceServiceImpl::ReserveDevice(
    grpc::ServerContext* context, const v1::ReserveDeviceRequest* request,
    v1::Device* response) {
  v1::ReserveDeviceRequest theirs = *request;
  theirs.set_user(access_->UserOf(*context, request->user()));
  return Reply(metrics_, engine_->ReserveDevice(theirs), response);
}

grpc::Status DeviceServiceImpl::ReleaseDevice(
    grpc::ServerContext* context, const v1::ReleaseDeviceRequest* request,
    v1::Device* response) {
  if (request->force() && !access_->IsAdmin(*context)) {
    return Reply(metrics_, absl::PermissionDeniedError(
                               "only an admin ends somebody else's "
                               "reservation"));
  }
  v1::ReleaseDeviceRequest theirs = *request;
  theirs.set_user(access_->UserOf(*context, request->user()));
  return Reply(metrics_, engine_->ReleaseDevice(theirs), response);
}

grpc::Status DeviceServiceImpl::DrainDevice(
    grpc::ServerContext* context, const v1::DrainDeviceRequest* request,
    v1::Device* response) {
  return Reply(metrics_, engine_->DrainDevice(*request), response);
}

grpc::Status DeviceServiceImpl::QuarantineDevice(
    grpc::ServerContext* context, const v1::QuarantineDeviceRequest* request,
    v1::Device* response) {
  return Reply(metrics_, engine_->QuarantineDevice(*request), response);
}

grpc::Status DeviceServiceImpl::ResumeDevice(
    grpc::ServerContext* context, const v1::ResumeDeviceRequest* request,
    v1::Device* response) {
  return Reply(metrics_, engine_->ResumeDevice(*request), response);
}

grpc::ServerWriteReactor<v1::ProfileModelUpdate>*
DeviceServiceImpl::ProfileModel(grpc::CallbackServerContext* context,
                                const v1::ProfileModelRequest* request) {
  v1::ProfileModelRequest theirs = *request;
  theirs.set_user(access_->UserOf(*context, request->user()));
  return new ProfileReactor(engine_, access_, context, metrics_, &queue_,
                            std::move(theirs));
}

}  // namespace hwnas::controller
