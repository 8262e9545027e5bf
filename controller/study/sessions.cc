// Sessions of workers and agents.
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/status_macros.h"
#include "controller/study/report_check.h"
#include "controller/study/study_engine.h"
#include "controller/study/task_names.h"
#include "proto/convert/convert.h"
#include "proto/convert/resource_names.h"

namespace hwnas::controller {
namespace {

// Beyond this the timer sees to what a session that begins or ends leads to:
// when thousands come at the same time, a round of the loop for each would take
// longer than all else.
constexpr size_t kAFewExecutors = 64;

}  // namespace

absl::StatusOr<std::string> StudyEngine::Connect(
    const v1::Hello& hello, std::shared_ptr<ExecutorStream> stream) {
  DurableLock lock(this);
  const absl::Time now = deps_.clock->Now();
  const absl::Time steady = deps_.clock->Steady();
  bool other_incarnation = false;
  HWNAS_ASSIGN_OR_RETURN(
      Executor * executor,
      fleet_.Connect(hello, std::move(stream), now, &other_incarnation));
  const std::string name = executor->name;
  const std::string session_id = executor->session_id;

  v1::SessionResponse response;
  v1::Welcome* welcome = response.mutable_welcome();
  welcome->set_session_id(session_id);
  *welcome->mutable_heartbeat_interval() = ToProto(options_.lease_duration / 3);
  std::set<std::pair<Run*, StageId>> held;
  std::set<int64_t> held_profiles;
  for (const v1::LeaseKey& lease : hello.held_leases()) {
    if (IsProfileTask(lease.task_id())) {
      Profile* profile = FindProfile(lease);
      if (profile != nullptr && profile->executor == name) {
        profile->deadline = steady + options_.lease_duration;
        held_profiles.insert(profile->id);
      } else {
        *welcome->add_dropped_leases() = lease;
      }
      continue;
    }
    const StageRef ref = FindStage(lease.task_id());
    if (IsLive(ref, lease, name)) {
      const StageId id(ref.trial->number, ref.stage);
      LiveLease& live = ref.run->live[id];
      live.confirmed = true;
      live.deadline = steady + options_.lease_duration;
      held.insert({ref.run, id});
      continue;
    }
    // Of an expired attempt: its result would still be welcome.
    const bool useful =
        ref.run != nullptr && ref.trial->state == v1::Trial::ACTIVE &&
        ref.trial->stages[ref.stage].state != v1::TrialStage::FINISHED;
    if (!useful) *welcome->add_dropped_leases() = lease;
  }
  executor->stream->Send(response);
  deps_.logger->info(
      "event=connected executor={} session={} slots={} host={} held={}", name,
      session_id, hello.slots(), Truncated(hello.host_id(), 64),
      hello.held_leases_size());

  // What it was given and does not have: lost with an earlier process of it,
  // or never arrived.
  const bool lacks_some = running_.OfExecutor(name).all() >
                          static_cast<int>(held.size() + held_profiles.size());
  for (auto& [study_id, run] : studies_) {
    if (!lacks_some) break;
    std::vector<StageId> lost;
    for (const auto& [id, live] : run->live) {
      if (live.running.executor() == name && !held.count({run.get(), id})) {
        lost.push_back(id);
      }
    }
    for (const StageId& id : lost) {
      const absl::Status status = FailAttempt(
          *run, *run->state.FindTrial(id.first), id.second,
          other_incarnation ? v1::AttemptFailed::EXPIRED
                            : v1::AttemptFailed::HANDED_BACK,
          other_incarnation
              ? absl::StrCat(name, " was restarted and lost the task")
              : absl::StrCat(name, " came back without the task"),
          /*candidate_fault=*/false);
      if (!status.ok()) break;  // The lease runs out instead.
    }
  }
  for (auto& [id, profile] : profiles_) {
    if (profile.executor == name && !held_profiles.count(id)) {
      profile.deadline = steady;  // Ends with the next round of the scheduler.
    }
  }
  if (hello.kind() == v1::AGENT) {
    anchor_due_[name] = now;
    PlanAnchor(*fleet_.Find(name));
  }
  if (fleet_.executors().size() <= kAFewExecutors) Pump();
  return session_id;
}

void StudyEngine::Disconnect(const std::string& session_id) {
  DurableLock lock(this);
  if (const Executor* executor = fleet_.FindSession(session_id)) {
    deps_.logger->info("event=disconnected executor={} session={}",
                       executor->name, session_id);
  }
  fleet_.Disconnect(session_id, deps_.clock->Now());
  if (fleet_.executors().size() <= kAFewExecutors) Pump();
}

absl::Status StudyEngine::OnHeartbeat(const std::string& session_id,
                                      const v1::Heartbeat& heartbeat) {
  DurableLock lock(this);
  Executor* executor = fleet_.FindSession(session_id);
  if (executor == nullptr) return absl::OkStatus();
  const absl::Time steady = deps_.clock->Steady();
  executor->last_seen = deps_.clock->Now();
  bool any_stopped = false;
  constexpr int kMaxTasks = 4096;
  if (heartbeat.tasks_size() > kMaxTasks) {
    return absl::InvalidArgumentError(
        absl::StrCat("heartbeat.tasks has ", heartbeat.tasks_size(),
                     " entries: expected at most ", kMaxTasks));
  }
  if (heartbeat.has_environment() &&
      Fleet::CheckEnvironment(heartbeat.environment()).ok()) {
    // Only what changes is told; a list is told whole.
    v1::Environment& environment = *executor->hello.mutable_environment();
    if (heartbeat.environment().pinned_cores_size() > 0) {
      environment.clear_pinned_cores();
    }
    environment.MergeFrom(heartbeat.environment());
    environment.DiscardUnknownFields();
  }
  for (const v1::TaskProgress& progress : heartbeat.tasks()) {
    const v1::LeaseKey& lease = progress.lease();
    const std::string note = Truncated(progress.note(), 200);
    if (IsProfileTask(lease.task_id())) {
      if (Profile* profile = FindProfile(lease);
          profile != nullptr && profile->executor == executor->name) {
        profile->deadline = steady + options_.lease_duration;
        if (note != profile->last_note) {
          profile->last_note = note;
          v1::ProfileModelUpdate update;
          update.set_note(note);
          update.set_device(DeviceName(executor->hello.executor_id()));
          profile->Tell(update);
        }
        continue;
      }
    } else if (const StageRef ref = FindStage(lease.task_id());
               IsLive(ref, lease, executor->name)) {
      LiveLease& live = ref.run->live[{ref.trial->number, ref.stage}];
      live.confirmed = true;
      live.deadline = steady + options_.lease_duration;
      live.note = note;
      const absl::StatusOr<bool> stopped =
          JudgeEpochs(*ref.run, *ref.trial, ref.stage, progress);
      // If the store refuses, the next epoch asks again.
      if (stopped.value_or(false)) {
        any_stopped = true;
        continue;
      }
      const v1::EpochReport& epoch = progress.epoch();
      if (progress.has_epoch() && epoch.epoch() != live.epoch.epoch()) {
        live.epoch = epoch;
        Notify(*ref.run, ref.trial->number,
               absl::StrFormat("trial %d epoch %d/%d loss=%.4g accuracy=%.4g",
                               ref.trial->number, epoch.epoch(),
                               epoch.epoch_count(), epoch.train_loss(),
                               epoch.validation_accuracy()));
      }
      continue;
    } else if (Straggler* straggler =
                   FindStraggler(ref, lease, executor->name)) {
      straggler->deadline = steady + options_.lease_duration;
      continue;
    }
    v1::SessionResponse response;
    *response.mutable_cancel()->mutable_lease() = lease;
    response.mutable_cancel()->set_reason("the lease is not live any more");
    executor->stream->Send(response);
  }
  if (any_stopped) Pump();
  return absl::OkStatus();
}

void StudyEngine::OnDrain(const std::string& session_id) {
  DurableLock lock(this);
  Executor* executor = fleet_.FindSession(session_id);
  if (executor == nullptr) return;
  fleet_.Drain(*executor);
  deps_.logger->info("event=draining executor={}", executor->name);
}

void StudyEngine::OnArtifact(const std::string& digest) {
  DurableLock lock(this);
  artifacts_.insert(digest);
  if (!weights_uses_.count(digest)) unclaimed_[digest] = deps_.clock->Now();
}

}  // namespace hwnas::controller
