// Profiles: measurements of a user's own ONNX file, in no study and no journal.
// They pass the same scheduler as every other task.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/limits.h"
#include "common/status_macros.h"
#include "controller/study/report_check.h"
#include "controller/study/study_engine.h"
#include "controller/study/task_names.h"
#include "proto/convert/resource_names.h"

namespace hwnas::controller {
namespace {

constexpr int kMaxProfileAttempts = 3;

// A study that does nothing but measure: its checks and defaults are ours.
v1::StudySpec SpecOf(const v1::ProfileModelRequest& request) {
  v1::StudySpec spec;
  auto* space = spec.mutable_space()->mutable_nasbench201();
  for (const int size : {3, 32, 32}) space->add_input(size);
  space->set_classes(10);
  v1::Objective* objective = spec.add_objectives();
  objective->set_minimize("latency_ms");
  objective->set_device(request.device_class());
  *spec.mutable_measure() = request.measure();
  spec.set_priority(request.priority());
  spec.mutable_budget()->set_trials(1);
  return spec;
}

}  // namespace

absl::StatusOr<int64_t> StudyEngine::StartProfile(
    const v1::ProfileModelRequest& request,
    std::shared_ptr<ProfileListener> listener) {
  if (request.onnx().empty() || request.onnx().size() > kMaxOnnxBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("onnx has ", request.onnx().size(),
                     " bytes: expected 1 to ", kMaxOnnxBytes));
  }
  if (request.device_class().empty()) {
    return absl::InvalidArgumentError(
        "device_class is empty: expected one such as \"x86_64\"");
  }
  const v1::StudySpec spec = SpecOf(request);
  HWNAS_RETURN_IF_ERROR(CheckStudySpec(spec));
  HWNAS_RETURN_IF_ERROR(CheckUser("user", request.user()));
  std::string only_executor;
  if (!request.device().empty()) {
    HWNAS_ASSIGN_OR_RETURN(const std::string id,
                           ParseDeviceName(request.device()));
    only_executor = AgentName(id);
  }

  DurableLock lock(this);
  Profile wanted;
  *wanted.task.mutable_measure() = WithDefaults(spec).measure();
  wanted.task.set_device_class(request.device_class());
  wanted.task.set_energy(request.energy());
  wanted.user = request.user();
  wanted.priority = request.priority();
  wanted.only_executor = std::move(only_executor);
  HWNAS_RETURN_IF_ERROR(CheckCapable(wanted));
  size_t waiting = request.onnx().size();
  for (const auto& [id, profile] : profiles_) {
    waiting += profile.task.onnx().size();
  }
  if (waiting > options_.max_profile_bytes) {
    return absl::ResourceExhaustedError(
        "too many profiles are waiting; try again later");
  }
  const int64_t id = ++last_profile_;
  wanted.id = id;
  wanted.task.set_onnx(request.onnx());
  Profile& profile = profiles_[id] = std::move(wanted);
  profile.listener = std::move(listener);
  v1::ProfileModelUpdate update;
  update.set_note("queued");
  profile.Tell(update);
  deps_.logger->info("event=profile_queued profile={} device_class={} bytes={}",
                     id, request.device_class(), request.onnx().size());
  Pump();
  return id;
}

QueuedTask StudyEngine::QueuedProfile(const Profile& profile) {
  const v1::MeasureSpec& measure = profile.task.measure();
  return {.user = profile.user,
          .priority = profile.priority,
          .check = profile.purpose != Profile::Purpose::kUser,
          .stage = v1::MEASURE,
          .device_class = profile.task.device_class(),
          .runtime = measure.runtime(),
          .precision = measure.precision(),
          .profile = measure.profile(),
          .labels = {measure.labels().begin(), measure.labels().end()},
          .energy = profile.task.energy(),
          .executor = profile.only_executor,
          .order = profile.id,
          .failed_executors = profile.failed_executors};
}

absl::Status StudyEngine::CheckCapable(const Profile& profile) const {
  const QueuedTask task = QueuedProfile(profile);
  std::set<std::string> classes;
  for (const auto& [name, executor] : fleet_.executors()) {
    const ExecutorSnapshot& snapshot = executor.snapshot;
    if (!executor.connected() || snapshot.kind != v1::AGENT) continue;
    if (IsCapable(snapshot, task)) return absl::OkStatus();
    classes.insert(snapshot.device_classes.begin(),
                   snapshot.device_classes.end());
  }
  std::string wanted = absl::StrCat("no device of class '", task.device_class,
                                    "' with runtime '", task.runtime, "'");
  if (task.precision != "fp32") {
    absl::StrAppend(&wanted, ", precision '", task.precision, "'");
  }
  if (!task.profile.empty()) {
    absl::StrAppend(&wanted, ", profile '", task.profile, "'");
  }
  if (!task.labels.empty()) {
    absl::StrAppend(&wanted, ", labels '", absl::StrJoin(task.labels, "', '"),
                    "'");
  }
  if (task.energy) absl::StrAppend(&wanted, " and a power source");
  if (!task.executor.empty()) {
    absl::StrAppend(&wanted, " and the name '", task.executor, "'");
  }
  return absl::FailedPreconditionError(
      absl::StrCat(wanted, " is connected; connected classes: ",
                   classes.empty() ? "none" : absl::StrJoin(classes, ", "),
                   task.energy ? WhyNoPower(task.device_class) : ""));
}

v1::LeaseKey StudyEngine::ProfileLease(const Profile& profile) const {
  v1::LeaseKey lease;
  lease.set_task_id(ProfileTaskId(profile.id));
  lease.set_attempt(profile.attempt);
  lease.set_token(profile.token);
  return lease;
}

StudyEngine::Profile* StudyEngine::FindProfile(const v1::LeaseKey& lease) {
  for (auto& [id, profile] : profiles_) {
    if (!profile.executor.empty() && lease.task_id() == ProfileTaskId(id) &&
        lease.attempt() == profile.attempt && lease.token() == profile.token) {
      return &profile;
    }
  }
  return nullptr;
}

void StudyEngine::LeaseProfile(Profile& profile, const std::string& executor) {
  const absl::Time deadline = deps_.clock->Steady() + options_.lease_duration;
  ++profile.attempt;
  // Unlike any token of an earlier process, whose profiles are gone.
  profile.token =
      std::max(last_profile_token_ + 1, absl::ToUnixMicros(deps_.clock->Now()));
  last_profile_token_ = profile.token;
  profile.executor = executor;
  profile.running = RunningTasks::Task(&running_, /*study_id=*/"", profile.user,
                                       executor, v1::MEASURE);
  profile.deadline = deadline;
  v1::SessionResponse response;
  v1::Task* task = response.mutable_assignment();
  *task->mutable_lease() = ProfileLease(profile);
  *task->mutable_lease_deadline() = ToProto(WallTime(deadline));
  *task->mutable_measure() = profile.task;
  SendTo(executor, response);
  v1::ProfileModelUpdate update;
  update.set_note("assigned");
  if (const Executor* e = fleet_.Find(executor)) {
    update.set_device(DeviceName(e->hello.executor_id()));
  }
  profile.Tell(update);
  deps_.logger->info("event=lease task={} attempt={} executor={}",
                     ProfileTaskId(profile.id), profile.attempt, executor);
}

// Puts it back in the queue, or ends it.
void StudyEngine::FailProfile(Profile& profile, const std::string& error,
                              bool final) {
  v1::SessionResponse response;
  *response.mutable_cancel()->mutable_lease() = ProfileLease(profile);
  response.mutable_cancel()->set_reason(error);
  SendTo(profile.executor, response);
  if (!final && ++profile.failures < kMaxProfileAttempts) {
    profile.failed_executors.push_back(profile.executor);
    profile.Free();
    v1::ProfileModelUpdate update;
    update.set_note(absl::StrCat("queued again: ", error));
    profile.Tell(update);
    return;
  }
  if (profile.listener != nullptr) {
    profile.listener->OnEnd(absl::InternalError(
        absl::StrCat("the model could not be measured: ", error)));
  }
  const auto node = profiles_.extract(profile.id);
  if (node.mapped().purpose != Profile::Purpose::kUser) {
    HandleFailedCheck(node.mapped(), error);
  }
}

void StudyEngine::HandleProfileResult(const std::string& executor,
                                      const v1::TaskResult& result) {
  v1::SessionResponse ack;
  *ack.mutable_result_ack()->mutable_lease() = result.lease();
  Profile* profile = FindProfile(result.lease());
  if (profile == nullptr || profile->executor != executor) {
    ack.mutable_result_ack()->set_ignored(true);
    SendTo(executor, ack);
    return;
  }
  SendTo(executor, ack);
  Executor* e = fleet_.Find(executor);
  if (!result.error().empty()) {
    if (result.handed_back() && e != nullptr) {
      fleet_.RecordHandBack(*e, deps_.clock->Steady());
      profile->Free();
      return;
    }
    // An error here is as likely the file's as the machine's fault.
    FailProfile(*profile, result.error(), /*final=*/result.candidate_fault());
    return;
  }
  if (profile->purpose != Profile::Purpose::kUser) {
    const auto node = profiles_.extract(profile->id);
    HandleCheckResult(node.mapped(), result);
    return;
  }
  v1::ProfileModelUpdate update;
  update.set_note("done");
  *update.mutable_result() = result;
  if (e != nullptr) {
    update.set_device(DeviceName(e->hello.executor_id()));
    for (v1::Measurement& m :
         *update.mutable_result()->mutable_measurements()) {
      m.set_device(update.device());
    }
    fleet_.RecordSuccess(*e);
  }
  profile->Tell(update);
  profile->listener->OnEnd(absl::OkStatus());
  profiles_.erase(profile->id);
}

void StudyEngine::CancelProfile(int64_t id) {
  DurableLock lock(this);
  const auto it = profiles_.find(id);
  if (it == profiles_.end()) return;
  if (!it->second.executor.empty()) {
    v1::SessionResponse response;
    *response.mutable_cancel()->mutable_lease() = ProfileLease(it->second);
    response.mutable_cancel()->set_reason("the caller left");
    SendTo(it->second.executor, response);
  }
  profiles_.erase(it);
  Pump();
}

}  // namespace hwnas::controller
