// Devices: who may use them, and whether their numbers can be trusted.
#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "absl/strings/numbers.h"
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

constexpr absl::Duration kShortestReservation = absl::Minutes(1);
constexpr absl::Duration kLongestReservation = absl::Hours(24 * 30);
constexpr absl::Duration kUsualReservation = absl::Hours(1);
constexpr size_t kMaxNoteBytes = 256;
// Cross-checks that may wait at once.
constexpr int kMaxCrossChecks = 16;

std::string DeviceOf(const Executor& executor) {
  return DeviceName(executor.hello.executor_id());
}

// The latency of a measurement, and what limits trust in it. Absent if there
// is none.
std::optional<v1::Measurement> LatencyOf(const v1::TaskResult& result) {
  for (const v1::Measurement& m : result.measurements()) {
    if (m.metric() == "latency_ms" && m.value() > 0) return m;
  }
  return std::nullopt;
}

std::vector<std::string> FlagsOf(const v1::Measurement& measurement) {
  return {measurement.flags().begin(), measurement.flags().end()};
}

// The same candidates are checked again after a restart.
bool IsChosen(const std::string& digest, double share) {
  uint64_t bits = 0;
  return absl::SimpleHexAtoi(digest.substr(0, 8), &bits) &&
         static_cast<double>(bits) < share * 4294967296.0;
}

absl::StatusOr<std::string> CheckedText(absl::string_view field,
                                        const std::string& text) {
  if (text.size() <= kMaxNoteBytes) return text;
  return absl::InvalidArgumentError(absl::StrCat(
      field, " has ", text.size(), " bytes: expected at most ", kMaxNoteBytes));
}

}  // namespace

absl::Status StudyEngine::ReadFarm() {
  return deps_.journals->Read(
      kFarmJournal, farm_.sequence(),
      [&](v1::JournalEvent&& event)
          ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return farm_.Apply(event); });
}

absl::Status StudyEngine::RecoverFarm() {
  if (absl::Status status = ReadFarm(); absl::IsDataLoss(status)) {
    // Studies go on; of devices nothing is known or learned any more.
    deps_.logger->error("event=corrupt_journal farm error=\"{}\"",
                        status.ToString());
    farm_broken_ = std::move(status);
    return absl::OkStatus();
  } else if (!status.ok()) {
    return status;
  }
  deps_.logger->info("event=recovered farm events={} devices={}",
                     farm_.sequence(), farm_.devices().size());
  return absl::OkStatus();
}

absl::Status StudyEngine::CommitDevice(v1::DeviceEvent event) {
  HWNAS_RETURN_IF_ERROR(farm_broken_);
  std::vector<v1::JournalEvent> events(1);
  *events[0].mutable_time() = ToProto(deps_.clock->Now());
  *events[0].mutable_device_event() = std::move(event);
  const absl::Status status = deps_.journals->Append(
      kFarmJournal, farm_.sequence(), absl::MakeSpan(events));
  if (absl::IsFailedPrecondition(status)) {
    // An append was made durable though the store reported an error.
    HWNAS_RETURN_IF_ERROR(ReadFarm());
    return absl::UnavailableError(status.message());
  }
  HWNAS_RETURN_IF_ERROR(status);
  return farm_.Apply(events[0]);
}

std::vector<const ExecutorSnapshot*> StudyEngine::FleetSnapshot() {
  const std::vector<ExecutorSnapshot*> fleet =
      fleet_.Snapshot(deps_.clock->Steady());
  for (ExecutorSnapshot* const executor : fleet) {
    if (executor->kind != v1::AGENT) continue;
    const DeviceRecord& device =
        farm_.Find(DeviceOf(fleet_.executors().at(executor->name)));
    executor->accepts &=
        !device.drained && (!device.quarantined || device.recheck);
    executor->checks_only = device.quarantined;
    executor->reserved_for =
        device.reservation ? device.reservation->user() : "";
  }
  return {fleet.begin(), fleet.end()};
}

// ---- Anchors and cross-checks ----

void StudyEngine::PlanChecks() {
  const absl::Time now = deps_.clock->Now();
  std::vector<std::string> over;
  for (const auto& [name, device] : farm_.devices()) {
    if (device.reservation &&
        FromProto(device.reservation->expire_time()) <= now) {
      over.push_back(name);
    }
  }
  for (const std::string& name : over) {
    v1::DeviceEvent event;
    event.set_device(name);
    event.mutable_reservation_ended()->set_reason("expired");
    if (!CommitDevice(std::move(event)).ok()) return;  // The next time.
    deps_.logger->info("event=reservation_ended device={}", name);
    if (const auto id = ParseDeviceName(name); id.ok()) {
      anchor_due_[AgentName(*id)] = now;
    }
  }
  for (auto it = profiles_.begin(); it != profiles_.end();) {
    const Profile& profile = it->second;
    const Executor* executor = fleet_.Find(profile.only_executor);
    const bool gone = profile.purpose != Profile::Purpose::kUser &&
                      (executor == nullptr || !executor->connected());
    it = gone ? profiles_.erase(it) : std::next(it);
  }
  for (const auto& [name, executor] : fleet_.executors()) {
    if (executor.hello.kind() == v1::AGENT) PlanAnchor(executor);
  }
}

void StudyEngine::PlanAnchor(const Executor& executor) {
  if (options_.checks.anchor_interval <= absl::ZeroDuration() ||
      !farm_broken_.ok() || !executor.connected() || executor.draining) {
    return;
  }
  const DeviceRecord& device = farm_.Find(DeviceOf(executor));
  const auto due = anchor_due_.find(executor.name);
  if (device.drained || device.reservation ||
      (device.quarantined && !device.recheck) || due == anchor_due_.end() ||
      due->second > deps_.clock->Now()) {
    return;
  }
  for (const auto& [id, profile] : profiles_) {
    if (profile.purpose == Profile::Purpose::kAnchor &&
        profile.only_executor == executor.name) {
      return;
    }
  }
  const auto& runtimes = executor.hello.runtimes();
  const bool usual = std::find(runtimes.begin(), runtimes.end(),
                               "onnxruntime") != runtimes.end();
  v1::StudySpec spec;
  spec.mutable_measure()->set_runtime(usual ? "onnxruntime" : runtimes[0]);
  Profile anchor;
  anchor.id = ++last_profile_;
  anchor.purpose = Profile::Purpose::kAnchor;
  *anchor.task.mutable_graph() = ToProto(AnchorGraph());
  *anchor.task.mutable_measure() = WithDefaults(spec).measure();
  anchor.task.set_device_class(executor.hello.device_classes(0));
  anchor.only_executor = executor.name;
  profiles_[anchor.id] = std::move(anchor);
}

void StudyEngine::PlanCrossCheck(const Run& run, const TrialRecord& trial,
                                 int stage, const Executor& executor,
                                 const v1::TaskResult& result) {
  if (trial.stages[stage].key.kind != v1::MEASURE ||
      !IsChosen(trial.digest.Hex(), options_.checks.cross_check_share)) {
    return;
  }
  const std::optional<v1::Measurement> latency = LatencyOf(result);
  if (!latency || !latency->flags().empty()) return;
  const absl::StatusOr<v1::Task> task = BuildTask(run, trial, stage);
  if (!task.ok()) return;
  Profile check;
  check.purpose = Profile::Purpose::kCrossCheck;
  check.task = task->measure();
  check.task.set_energy(false);
  check.other_device = DeviceOf(executor);
  check.other_latency_ms = latency->value();
  int waiting = 0;
  for (const auto& [id, profile] : profiles_) {
    waiting += profile.purpose == Profile::Purpose::kCrossCheck;
  }
  if (waiting >= kMaxCrossChecks) return;
  // The device that was compared with this one least.
  std::optional<std::pair<int64_t, std::string>> best;
  for (const ExecutorSnapshot* other : FleetSnapshot()) {
    if (other->name == executor.name || !other->accepts || other->checks_only ||
        !other->reserved_for.empty() ||
        !IsCapable(*other, QueuedProfile(check))) {
      continue;
    }
    int64_t compared = 0;
    for (const v1::CrossCheckRecord& record :
         farm_.Find(DeviceOf(*fleet_.Find(other->name))).cross_checks) {
      compared += record.other_device() == check.other_device;
    }
    const std::pair<int64_t, std::string> rank(compared, other->name);
    if (!best || rank < *best) best = rank;
  }
  if (!best) return;
  check.id = ++last_profile_;
  check.only_executor = best->second;
  profiles_[check.id] = std::move(check);
}

void StudyEngine::HandleCheckResult(const Profile& profile,
                                    const v1::TaskResult& result) {
  const std::optional<v1::Measurement> latency = LatencyOf(result);
  if (!latency) {
    HandleFailedCheck(profile, "the result has no latency_ms");
    return;
  }
  Executor* executor = fleet_.Find(profile.only_executor);
  if (executor == nullptr) return;
  fleet_.RecordSuccess(*executor);
  if (profile.purpose == Profile::Purpose::kCrossCheck) {
    if (latency->flags().empty()) HandleCrossCheck(profile, latency->value());
    return;
  }
  HandleAnchor(DeviceOf(*executor), latency->value(), FlagsOf(*latency));
  const DeviceRecord& device = farm_.Find(DeviceOf(*executor));
  anchor_due_[executor->name] =
      deps_.clock->Now() + NextAnchorAfter(device, options_.checks);
  PlanAnchor(*executor);
}

void StudyEngine::HandleAnchor(const std::string& device, double latency_ms,
                               const std::vector<std::string>& flags) {
  const double limit = options_.checks.drift_limit;
  const DeviceRecord before = farm_.Find(device);
  v1::DeviceEvent event;
  event.set_device(device);
  *event.mutable_anchor() =
      JudgeAnchor(before, latency_ms, flags, deps_.clock->Now(), limit);
  const v1::AnchorRecord& anchor = event.anchor();
  deps_.logger->info(
      "event=anchor device={} latency_ms={:.4g} ratio={:.4f} good={} flags={}",
      device, latency_ms, anchor.ratio(), anchor.good(), flags.size());
  if (!CommitDevice(event).ok()) return;  // The next anchor says it again.
  const DeviceRecord& after = farm_.Find(device);
  if (before.quarantined && !after.quarantined) {
    deps_.logger->info("event=quarantine_over device={}", device);
  }
  if (after.quarantined) return;
  if (const auto reason = ReasonToQuarantine(after, limit)) {
    // If the store refuses now, the next anchor leads here again.
    (void)Quarantine(device, *reason, /*recheck=*/true, after.last_good_anchor);
  }
}

void StudyEngine::HandleCrossCheck(const Profile& profile, double latency_ms) {
  Executor* executor = fleet_.Find(profile.only_executor);
  const std::string here = DeviceOf(*executor);
  const std::string& there = profile.other_device;
  const double ratio = latency_ms / profile.other_latency_ms;
  deps_.logger->info("event=cross_check device={} other={} ratio={:.4f}", here,
                     there, ratio);
  for (const bool mirrored : {false, true}) {
    v1::DeviceEvent event;
    event.set_device(mirrored ? there : here);
    v1::CrossCheckRecord* record = event.mutable_cross_check();
    *record->mutable_time() = ToProto(deps_.clock->Now());
    record->set_other_device(mirrored ? here : there);
    record->set_ratio(mirrored ? 1 / ratio : ratio);
    if (!CommitDevice(std::move(event)).ok()) return;
  }
  std::vector<std::string> of_class;
  for (const auto& [name, other] : fleet_.executors()) {
    const auto& classes = other.hello.device_classes();
    if (other.hello.kind() == v1::AGENT &&
        std::find(classes.begin(), classes.end(),
                  profile.task.device_class()) != classes.end()) {
      of_class.push_back(DeviceOf(other));
    }
  }
  const auto odd =
      FindOddDevice(farm_, of_class, options_.checks.cross_check_limit);
  if (!odd) return;
  // Since when it differs is not known: a person decides about its results.
  (void)Quarantine(odd->device, odd->reason, /*recheck=*/false,
                   absl::InfiniteFuture());
}

void StudyEngine::HandleFailedCheck(const Profile& profile,
                                    const std::string& error) {
  if (profile.purpose == Profile::Purpose::kCrossCheck) return;
  Executor* executor = fleet_.Find(profile.only_executor);
  if (executor == nullptr) return;
  anchor_due_[executor->name] =
      deps_.clock->Now() + options_.checks.recheck_interval;
  const std::string device = DeviceOf(*executor);
  if (farm_.Find(device).quarantined) return;
  (void)Quarantine(device,
                   absl::StrCat("the anchor cannot be measured: ", error),
                   /*recheck=*/true, absl::InfiniteFuture());
}

absl::Status StudyEngine::Quarantine(const std::string& device,
                                     const std::string& reason, bool recheck,
                                     absl::Time since) {
  HWNAS_ASSIGN_OR_RETURN(const std::string id, ParseDeviceName(device));
  HWNAS_ASSIGN_OR_RETURN(const int64_t taken_back,
                         Invalidate(device, since, reason));
  HWNAS_RETURN_IF_ERROR(GiveBack(AgentName(id), reason, /*user=*/""));
  v1::DeviceEvent event;
  event.set_device(device);
  event.mutable_quarantined()->set_reason(Truncated(reason, kMaxErrorBytes));
  event.mutable_quarantined()->set_recheck(recheck);
  event.mutable_quarantined()->set_invalidated_count(taken_back);
  HWNAS_RETURN_IF_ERROR(CommitDevice(std::move(event)));
  deps_.metrics->DeviceQuarantined();
  deps_.logger->warn(
      "event=device_quarantined device={} invalidated={} reason=\"{}\"", device,
      taken_back, reason);
  return absl::OkStatus();
}

absl::StatusOr<int64_t> StudyEngine::Invalidate(const std::string& device,
                                                absl::Time since,
                                                const std::string& reason) {
  HWNAS_ASSIGN_OR_RETURN(const std::string id, ParseDeviceName(device));
  const std::string executor = AgentName(id);
  // Trials whose results go, with the device class; then those that took a
  // result over.
  std::set<std::pair<std::string, std::string>> gone;
  std::map<Run*, std::vector<v1::JournalEvent>> events;
  int64_t count = 0;
  for (const bool taken_over : {false, true}) {
    for (auto& [study_id, run] : studies_) {
      if (!run->broken.ok()) continue;
      for (const TrialRecord& trial : run->state.trials()) {
        for (const StageRecord& stage : trial.stages) {
          if (stage.key.kind != v1::MEASURE ||
              stage.state != v1::TrialStage::FINISHED) {
            continue;
          }
          const bool own =
              stage.finished_attempt > 0 &&
              stage.attempts[stage.finished_attempt - 1].executor == executor &&
              stage.times.recorded > since;
          if (taken_over
                  ? !gone.count({stage.reused_from, stage.key.device_class})
                  : !own) {
            continue;
          }
          if (!taken_over) {
            gone.insert(
                {TrialName(study_id, trial.number), stage.key.device_class});
          }
          auto* event =
              events[run.get()].emplace_back().mutable_stage_invalidated();
          event->set_trial(trial.number);
          event->set_stage(v1::MEASURE);
          event->set_device_class(stage.key.device_class);
          event->set_reason(
              Truncated(absl::StrCat(device, ": ", reason), kMaxErrorBytes));
          ++count;
        }
      }
    }
  }
  for (auto& [run, of_study] : events) {
    const size_t size = of_study.size();
    std::vector<int64_t> trials;
    for (const v1::JournalEvent& event : of_study) {
      trials.push_back(event.stage_invalidated().trial());
    }
    HWNAS_RETURN_IF_ERROR(
        Commit(*run, std::move(of_study), trials[0],
               absl::StrCat(size, size == 1 ? " measurement" : " measurements",
                            " of ", device, " taken back: ", reason)));
    for (size_t i = 1; i < trials.size(); ++i) Notify(*run, trials[i], "");
  }
  return count;
}

absl::Status StudyEngine::GiveBack(const std::string& executor,
                                   const std::string& reason,
                                   const std::string& user) {
  for (auto& [study_id, run] : studies_) {
    if (!run->broken.ok()) continue;
    std::vector<StageId> held;
    for (const auto& [stage_id, live] : run->live) {
      if (live.running.executor() == executor) held.push_back(stage_id);
    }
    for (const auto& [number, stage] : held) {
      const TrialRecord& trial = *run->state.FindTrial(number);
      const StageRecord before = trial.stages[stage];
      HWNAS_RETURN_IF_ERROR(FailAttempt(*run, trial, stage,
                                        v1::AttemptFailed::HANDED_BACK, reason,
                                        /*candidate_fault=*/false));
      SendCancel(before, TaskId(study_id, number, before.key), reason);
    }
  }
  for (auto& [id, profile] : profiles_) {
    if (profile.executor != executor ||
        (!user.empty() && profile.user == user)) {
      continue;
    }
    v1::SessionResponse response;
    *response.mutable_cancel()->mutable_lease() = ProfileLease(profile);
    response.mutable_cancel()->set_reason(reason);
    SendTo(executor, response);
    profile.Free();
    v1::ProfileModelUpdate update;
    update.set_note(absl::StrCat("queued again: ", reason));
    profile.Tell(update);
  }
  return absl::OkStatus();
}

// ---- What people ask for ----

absl::StatusOr<std::string> StudyEngine::FindDevice(
    const std::string& name) const {
  HWNAS_ASSIGN_OR_RETURN(const std::string id, ParseDeviceName(name));
  if (!fleet_.executors().count(AgentName(id)) &&
      !farm_.devices().count(DeviceName(id))) {
    return absl::NotFoundError(
        absl::StrCat("there is no device '", DeviceName(id), "'"));
  }
  return id;
}

absl::StatusOr<v1::Device> StudyEngine::ReserveDevice(
    const v1::ReserveDeviceRequest& request) {
  HWNAS_RETURN_IF_ERROR(CheckUser("user", request.user()));
  HWNAS_RETURN_IF_ERROR(CheckedText("note", request.note()).status());
  if (request.user().empty()) {
    return absl::InvalidArgumentError("user is empty: expected who has it");
  }
  if (request.name().empty() == request.device_class().empty()) {
    return absl::InvalidArgumentError(
        "expected either the name of a device or a device class");
  }
  const absl::Duration duration = request.has_duration()
                                      ? FromProto(request.duration())
                                      : kUsualReservation;
  if (duration < kShortestReservation || duration > kLongestReservation) {
    return absl::InvalidArgumentError(
        absl::StrCat("duration is ", absl::FormatDuration(duration),
                     ": expected ", absl::FormatDuration(kShortestReservation),
                     " to ", absl::FormatDuration(kLongestReservation)));
  }
  DurableLock lock(this);
  std::string id;
  if (!request.name().empty()) {
    HWNAS_ASSIGN_OR_RETURN(id, FindDevice(request.name()));
  } else {
    // Rather an idle one.
    std::optional<std::pair<bool, std::string>> best;
    for (const ExecutorSnapshot* e : FleetSnapshot()) {
      const bool of_class =
          std::find(e->device_classes.begin(), e->device_classes.end(),
                    request.device_class()) != e->device_classes.end();
      if (!of_class || !e->accepts || e->checks_only ||
          !e->reserved_for.empty()) {
        continue;
      }
      const std::pair<bool, std::string> rank(e->running.all() > 0, e->name);
      if (!best || rank < *best) best = rank;
    }
    if (!best) {
      return absl::FailedPreconditionError(
          absl::StrCat("no device of class '", request.device_class(),
                       "' is connected, in order and free of reservations"));
    }
    id = fleet_.Find(best->second)->hello.executor_id();
  }
  const DeviceRecord& device = farm_.Find(DeviceName(id));
  if (device.reservation && device.reservation->user() != request.user()) {
    return absl::FailedPreconditionError(absl::StrCat(
        DeviceName(id), " is reserved for ", device.reservation->user(),
        " until ",
        absl::FormatTime(FromProto(device.reservation->expire_time()))));
  }
  HWNAS_RETURN_IF_ERROR(GiveBack(AgentName(id),
                                 absl::StrCat("reserved for ", request.user()),
                                 request.user()));
  const absl::Time now = deps_.clock->Now();
  v1::DeviceEvent event;
  event.set_device(DeviceName(id));
  v1::Reservation* reservation = event.mutable_reserved();
  reservation->set_device(DeviceName(id));
  reservation->set_user(request.user());
  reservation->set_note(request.note());
  *reservation->mutable_create_time() = ToProto(now);
  *reservation->mutable_expire_time() = ToProto(now + duration);
  HWNAS_RETURN_IF_ERROR(CommitDevice(std::move(event)));
  deps_.logger->info("event=reserved device={} user={} until={}",
                     DeviceName(id), request.user(),
                     absl::FormatTime(now + duration));
  Pump();
  return DeviceView(id);
}

absl::StatusOr<v1::Device> StudyEngine::ReleaseDevice(
    const v1::ReleaseDeviceRequest& request) {
  DurableLock lock(this);
  HWNAS_ASSIGN_OR_RETURN(const std::string id, FindDevice(request.name()));
  const DeviceRecord& device = farm_.Find(DeviceName(id));
  if (!device.reservation) return DeviceView(id);
  if (device.reservation->user() != request.user() && !request.force()) {
    return absl::FailedPreconditionError(
        absl::StrCat(DeviceName(id), " is reserved for ",
                     device.reservation->user(), ", not for '",
                     Truncated(request.user(), 63), "'; force ends it anyway"));
  }
  v1::DeviceEvent event;
  event.set_device(DeviceName(id));
  event.mutable_reservation_ended()->set_reason("released");
  HWNAS_RETURN_IF_ERROR(CommitDevice(std::move(event)));
  deps_.logger->info("event=reservation_ended device={}", DeviceName(id));
  anchor_due_[AgentName(id)] = deps_.clock->Now();
  PlanChecks();
  Pump();
  return DeviceView(id);
}

absl::StatusOr<v1::Device> StudyEngine::DrainDevice(
    const v1::DrainDeviceRequest& request) {
  HWNAS_ASSIGN_OR_RETURN(const std::string reason,
                         CheckedText("reason", request.reason()));
  DurableLock lock(this);
  HWNAS_ASSIGN_OR_RETURN(const std::string id, FindDevice(request.name()));
  v1::DeviceEvent event;
  event.set_device(DeviceName(id));
  event.mutable_drained()->set_reason(reason.empty() ? "drained" : reason);
  HWNAS_RETURN_IF_ERROR(CommitDevice(std::move(event)));
  deps_.logger->info("event=drained device={} reason=\"{}\"", DeviceName(id),
                     reason);
  return DeviceView(id);
}

absl::StatusOr<v1::Device> StudyEngine::QuarantineDevice(
    const v1::QuarantineDeviceRequest& request) {
  HWNAS_ASSIGN_OR_RETURN(const std::string reason,
                         CheckedText("reason", request.reason()));
  if (request.recheck() &&
      options_.checks.anchor_interval <= absl::ZeroDuration()) {
    return absl::FailedPreconditionError(
        "this controller measures no anchors, so none can end the quarantine; "
        "start it with --anchor_interval");
  }
  DurableLock lock(this);
  HWNAS_ASSIGN_OR_RETURN(const std::string id, FindDevice(request.name()));
  const absl::Time since = request.invalidate()
                               ? farm_.Find(DeviceName(id)).last_good_anchor
                               : absl::InfiniteFuture();
  HWNAS_RETURN_IF_ERROR(Quarantine(DeviceName(id),
                                   reason.empty() ? "by a person" : reason,
                                   request.recheck(), since));
  anchor_due_[AgentName(id)] = deps_.clock->Now();
  PlanChecks();
  Pump();
  return DeviceView(id);
}

absl::StatusOr<v1::Device> StudyEngine::ResumeDevice(
    const v1::ResumeDeviceRequest& request) {
  DurableLock lock(this);
  HWNAS_ASSIGN_OR_RETURN(const std::string id, FindDevice(request.name()));
  v1::DeviceEvent event;
  event.set_device(DeviceName(id));
  event.mutable_resumed()->set_reason("by a person");
  HWNAS_RETURN_IF_ERROR(CommitDevice(std::move(event)));
  deps_.logger->info("event=resumed device={}", DeviceName(id));
  if (Executor* executor = fleet_.Find(AgentName(id))) {
    fleet_.EndQuarantine(*executor);
  }
  anchor_due_[AgentName(id)] = deps_.clock->Now();
  PlanChecks();
  Pump();
  return DeviceView(id);
}

// ---- Views ----

v1::Device StudyEngine::DeviceView(const std::string& executor_id) const {
  const std::string name = DeviceName(executor_id);
  v1::Device view;
  view.set_name(name);
  v1::DeviceHealth* health = view.mutable_health();
  const auto it = fleet_.executors().find(AgentName(executor_id));
  if (it != fleet_.executors().end()) {
    const Executor& executor = it->second;
    *view.mutable_device_classes() = executor.hello.device_classes();
    *view.mutable_executor() = ExecutorView(executor);
    *view.mutable_runtimes() = executor.hello.runtimes();
    if (const auto rate = executor.FailureRate()) {
      health->set_failure_rate(*rate);
    }
  } else {
    // Remembered, but not seen by this process.
    view.mutable_executor()->set_name(AgentName(executor_id));
    view.mutable_executor()->set_kind(v1::AGENT);
    view.mutable_executor()->set_state(v1::Executor::LOST);
  }
  const DeviceRecord& device = farm_.Find(name);
  if (device.reservation) *view.mutable_reservation() = *device.reservation;
  health->set_drained(device.drained);
  health->set_quarantined(device.quarantined);
  health->set_reason(device.reason);
  health->set_invalidated_count(device.invalidated_count);
  health->mutable_anchors()->Assign(device.anchors.begin(),
                                    device.anchors.end());
  health->mutable_cross_checks()->Assign(device.cross_checks.begin(),
                                         device.cross_checks.end());
  return view;
}

absl::StatusOr<v1::ListDevicesResponse> StudyEngine::ListDevices(
    const v1::ListDevicesRequest& request) {
  HWNAS_ASSIGN_OR_RETURN(const int size, PageSize(request.page_size()));
  HWNAS_RETURN_IF_ERROR(CheckPageToken(request.page_token()));
  DurableLock lock(this);
  v1::ListDevicesResponse response;
  std::string last;
  const auto& executors = fleet_.executors();
  for (auto it = executors.upper_bound(request.page_token());
       it != executors.end(); ++it) {
    const v1::Hello& hello = it->second.hello;
    if (hello.kind() != v1::AGENT ||
        (!request.device_class().empty() &&
         std::find(hello.device_classes().begin(), hello.device_classes().end(),
                   request.device_class()) == hello.device_classes().end())) {
      continue;
    }
    if (response.devices_size() == size) {
      response.set_next_page_token(last);
      break;
    }
    *response.add_devices() = DeviceView(hello.executor_id());
    last = it->first;
  }
  return response;
}

absl::StatusOr<v1::Device> StudyEngine::GetDevice(
    const std::string& executor_id) {
  DurableLock lock(this);
  HWNAS_ASSIGN_OR_RETURN(const std::string id,
                         FindDevice(DeviceName(executor_id)));
  return DeviceView(id);
}

}  // namespace hwnas::controller
