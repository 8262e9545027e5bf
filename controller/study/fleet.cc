#include "controller/study/fleet.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "proto/convert/resource_names.h"

namespace hwnas::controller {
namespace {

constexpr int kProtocolVersion = 1;
constexpr int kMaxSlots = 256;
constexpr int kMaxList = 64;
constexpr size_t kMaxName = 63;
constexpr size_t kMaxText = 256;
constexpr int kMaxHeldLeases = 4096;
constexpr size_t kMaxReplaced = 16;
constexpr absl::Duration kFirstRest = absl::Milliseconds(100);
// An Environment is informative; nobody needs more.
constexpr size_t kMaxEnvironmentBytes = 16 << 10;
constexpr size_t kMaxPowerBytes = 4 << 10;

bool IsName(const std::string& text, absl::string_view extra) {
  if (text.empty() || text.size() > kMaxName) return false;
  return std::all_of(text.begin(), text.end(), [&](char c) {
    return absl::ascii_islower(c) || absl::ascii_isdigit(c) ||
           extra.find(c) != absl::string_view::npos;
  });
}

template <typename List>
absl::Status CheckList(absl::string_view field, const List& list) {
  if (list.size() > kMaxList) {
    return absl::InvalidArgumentError(
        absl::StrCat("hello.", field, " has ", list.size(),
                     " entries: expected at most ", kMaxList));
  }
  for (const std::string& item : list) {
    if (!IsName(item, "-_.:")) {
      return absl::InvalidArgumentError(
          absl::StrCat("hello.", field, " '", item.substr(0, kMaxName),
                       "': expected 1 to 63 of [a-z0-9-_.:]"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckLabels(const v1::Hello& hello) {
  if (hello.labels_size() > kMaxLabels) {
    return absl::InvalidArgumentError(
        absl::StrCat("hello.labels has ", hello.labels_size(),
                     " entries: expected at most ", kMaxLabels));
  }
  for (const std::string& label : hello.labels()) {
    if (IsLabel(label)) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "hello.labels '", absl::CHexEscape(label.substr(0, kMaxName)),
        "': expected 1 to 63 of [a-z0-9_.-]"));
  }
  return absl::OkStatus();
}

absl::Status CheckCapabilities(const v1::Hello& hello) {
  if (hello.capabilities_size() > kMaxList) {
    return absl::InvalidArgumentError(
        absl::StrCat("hello.capabilities has ", hello.capabilities_size(),
                     " entries: expected at most ", kMaxList));
  }
  for (const v1::RuntimeCapability& capability : hello.capabilities()) {
    if (!IsName(capability.runtime(), "-_.:")) {
      return absl::InvalidArgumentError(absl::StrCat(
          "hello.capabilities.runtime '",
          absl::CHexEscape(capability.runtime().substr(0, kMaxName)),
          "': expected 1 to 63 of [a-z0-9-_.:]"));
    }
    HWNAS_RETURN_IF_ERROR(
        CheckList("capabilities.precisions", capability.precisions()));
    if (capability.description().size() > kMaxText) {
      return absl::InvalidArgumentError(
          absl::StrCat("hello.capabilities.description has ",
                       capability.description().size(),
                       " bytes: expected at most ", kMaxText));
    }
  }
  return absl::OkStatus();
}

std::map<std::string, std::vector<std::string>> RuntimesOf(
    const v1::Hello& hello) {
  std::map<std::string, std::vector<std::string>> runtimes;
  for (const std::string& runtime : hello.runtimes()) {
    runtimes[runtime] = {"fp32"};
  }
  for (const v1::RuntimeCapability& capability : hello.capabilities()) {
    const auto it = runtimes.find(capability.runtime());
    if (it == runtimes.end()) continue;
    it->second.assign(capability.precisions().begin(),
                      capability.precisions().end());
  }
  return runtimes;
}

std::vector<std::string> ProfilesOf(const v1::Hello& hello) {
  if (hello.profiles().empty()) return {"as_shipped"};
  return {hello.profiles().begin(), hello.profiles().end()};
}

ExecutorSnapshot SnapshotOf(const std::string& name, const v1::Hello& hello) {
  return {.name = name,
          .kind = hello.kind(),
          .slots = hello.slots(),
          .device_classes = {hello.device_classes().begin(),
                             hello.device_classes().end()},
          .runtimes = RuntimesOf(hello),
          .profiles = ProfilesOf(hello),
          .labels = {hello.labels().begin(), hello.labels().end()},
          .measures_energy = !hello.power().name().empty(),
          .datasets = {hello.datasets().begin(), hello.datasets().end()}};
}

}  // namespace

absl::Status Fleet::CheckEnvironment(const v1::Environment& environment) {
  if (environment.ByteSizeLong() <= kMaxEnvironmentBytes) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "environment has more than ", kMaxEnvironmentBytes, " bytes"));
}

v1::Executor::State Executor::state(absl::Time steady) const {
  if (!connected()) return v1::Executor::LOST;
  if (draining) return v1::Executor::DRAINING;
  if (quarantined(steady)) return v1::Executor::QUARANTINED;
  return v1::Executor::CONNECTED;
}

std::optional<double> Executor::FailureRate() const {
  if (failures.empty()) return std::nullopt;
  return static_cast<double>(
             std::count(failures.begin(), failures.end(), true)) /
         static_cast<double>(failures.size());
}

void Executor::Rate(bool failed) {
  failures.push_back(failed);
  if (failures.size() > kRatedAttempts) failures.pop_front();
}

absl::Status Fleet::CheckHello(const v1::Hello& hello) {
  if (hello.protocol_version() != kProtocolVersion) {
    return absl::FailedPreconditionError(
        absl::StrCat("hello.protocol_version is ", hello.protocol_version(),
                     ": this controller speaks ", kProtocolVersion,
                     "; install the same version of hwnas on both sides"));
  }
  if (hello.kind() != v1::WORKER && hello.kind() != v1::AGENT) {
    return absl::InvalidArgumentError(absl::StrCat(
        "hello.kind is ", hello.kind(), ": expected WORKER or AGENT"));
  }
  if (!IsName(hello.executor_id(), "-")) {
    return absl::InvalidArgumentError(absl::StrCat(
        "hello.executor_id is '", hello.executor_id().substr(0, kMaxName),
        "': expected 1 to 63 of [a-z0-9-]"));
  }
  if (hello.incarnation().empty() || hello.incarnation().size() > kMaxText) {
    return absl::InvalidArgumentError(
        absl::StrCat("hello.incarnation has ", hello.incarnation().size(),
                     " bytes: expected 1 to ", kMaxText));
  }
  if (hello.host_id().size() > kMaxText) {
    return absl::InvalidArgumentError(
        absl::StrCat("hello.host_id has ", hello.host_id().size(),
                     " bytes: expected at most ", kMaxText));
  }
  if (hello.slots() < 1 || hello.slots() > kMaxSlots) {
    return absl::InvalidArgumentError(absl::StrCat(
        "hello.slots is ", hello.slots(), ": expected 1 to ", kMaxSlots));
  }
  HWNAS_RETURN_IF_ERROR(CheckList("device_classes", hello.device_classes()));
  HWNAS_RETURN_IF_ERROR(CheckList("runtimes", hello.runtimes()));
  HWNAS_RETURN_IF_ERROR(CheckList("datasets", hello.datasets()));
  HWNAS_RETURN_IF_ERROR(CheckList("accelerators", hello.accelerators()));
  if (hello.kind() == v1::AGENT && hello.device_classes().empty()) {
    return absl::InvalidArgumentError(
        "hello.device_classes is empty: an agent measures for at least one");
  }
  if (hello.kind() == v1::AGENT && hello.runtimes().empty()) {
    return absl::InvalidArgumentError(
        "hello.runtimes is empty: an agent has at least one");
  }
  if (hello.held_leases_size() > kMaxHeldLeases) {
    return absl::InvalidArgumentError(
        absl::StrCat("hello.held_leases has ", hello.held_leases_size(),
                     " entries: expected at most ", kMaxHeldLeases));
  }
  HWNAS_RETURN_IF_ERROR(CheckList("profiles", hello.profiles()));
  HWNAS_RETURN_IF_ERROR(CheckLabels(hello));
  HWNAS_RETURN_IF_ERROR(CheckCapabilities(hello));
  HWNAS_RETURN_IF_ERROR(CheckEnvironment(hello.environment()));
  if (hello.power().ByteSizeLong() > kMaxPowerBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("hello.power has more than ", kMaxPowerBytes, " bytes"));
  }
  return absl::OkStatus();
}

std::string Fleet::NameOf(const v1::Hello& hello) {
  return hello.kind() == v1::AGENT ? AgentName(hello.executor_id())
                                   : WorkerName(hello.executor_id());
}

absl::StatusOr<Executor*> Fleet::Connect(const v1::Hello& hello,
                                         std::shared_ptr<ExecutorStream> stream,
                                         absl::Time now,
                                         bool* other_incarnation) {
  HWNAS_RETURN_IF_ERROR(CheckHello(hello));
  const std::string name = NameOf(hello);
  auto it = executors_.find(name);
  if (it == executors_.end()) {
    if (executors_.size() >= kMaxExecutors) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "the controller knows ", kMaxExecutors, " executors already"));
    }
    it = executors_
             .emplace(name,
                      Executor{.name = name, .running = running_->Watch(name)})
             .first;
  }
  Executor& executor = it->second;
  const std::string& before = executor.hello.incarnation();
  *other_incarnation = !before.empty() && before != hello.incarnation();
  if (std::find(executor.replaced.begin(), executor.replaced.end(),
                hello.incarnation()) != executor.replaced.end()) {
    return absl::AlreadyExistsError(
        absl::StrCat("another process has taken the id of ", name,
                     "; give each process its own with --id"));
  }
  if (*other_incarnation) {
    executor.replaced.push_back(before);
    if (executor.replaced.size() > kMaxReplaced) executor.replaced.pop_front();
  }
  if (executor.stream != nullptr) {
    executor.stream->Close(
        *other_incarnation ? absl::AlreadyExistsError(absl::StrCat(
                                 "another process took over the id of ", name))
                           : absl::AbortedError("replaced by a newer session"));
    sessions_.erase(executor.session_id);
  }
  slots_ -= OpenSlots(executor);
  executor.hello = hello;
  executor.hello.clear_held_leases();
  executor.snapshot = SnapshotOf(name, hello);
  executor.stream = std::move(stream);
  executor.draining = false;
  slots_ += OpenSlots(executor);
  executor.connect_time = now;
  executor.last_seen = now;
  executor.session_id = absl::StrCat(name, "#", ++last_session_);
  sessions_[executor.session_id] = &executor;
  in_order_.clear();
  return &executor;
}

void Fleet::Disconnect(const std::string& session_id, absl::Time now) {
  Executor* executor = FindSession(session_id);
  if (executor == nullptr) return;
  slots_ -= OpenSlots(*executor);
  executor->stream = nullptr;
  executor->last_seen = now;
  executor->session_id.clear();
  sessions_.erase(session_id);
}

void Fleet::Drain(Executor& executor) {
  slots_ -= OpenSlots(executor);
  executor.draining = true;
}

Executor* Fleet::FindSession(const std::string& session_id) {
  const auto it = sessions_.find(session_id);
  return it == sessions_.end() ? nullptr : it->second;
}

Executor* Fleet::Find(const std::string& name) {
  const auto it = executors_.find(name);
  return it == executors_.end() ? nullptr : &it->second;
}

void Fleet::RecordSuccess(Executor& executor) {
  ++executor.finished_count;
  executor.Rate(/*failed=*/false);
  executor.hand_backs = 0;
  EndQuarantine(executor);
}

void Fleet::EndQuarantine(Executor& executor) {
  executor.failed_in_row.clear();
  executor.blamed_in_row.clear();
  executor.quarantine_count = 0;
  executor.quarantine_end = absl::InfinitePast();
  executor.quarantine_reason.clear();
}

bool Fleet::RecordFailure(Executor& executor, const std::string& trial,
                          const std::string& error, absl::Time steady) {
  return Record(executor, &executor.failed_in_row, options_.failures, trial,
                error, steady, [](int failures) {
                  return absl::StrCat(
                      "failed ", failures,
                      failures == 1 ? " candidate" : " candidates",
                      " in a row");
                });
}

bool Fleet::RecordBlame(Executor& executor, const std::string& trial,
                        const std::string& error, absl::Time steady) {
  return Record(executor, &executor.blamed_in_row, options_.blames, trial,
                error, steady, [](int blames) {
                  return absl::StrCat(
                      "said of ", blames,
                      blames == 1 ? " candidate" : " candidates in a row",
                      " what no other machine did");
                });
}

bool Fleet::Record(Executor& executor, std::set<std::string>* in_row, int most,
                   const std::string& trial, const std::string& error,
                   absl::Time steady, absl::FunctionRef<std::string(int)> say) {
  ++executor.failed_count;
  executor.Rate(/*failed=*/true);
  executor.hand_backs = 0;
  in_row->insert(trial);
  const int count = static_cast<int>(in_row->size());
  // After a quarantine one more is enough.
  if (count < (executor.quarantine_count > 0 ? 1 : most) ||
      executor.quarantined(steady)) {
    return false;
  }
  Quarantine(executor,
             absl::StrCat(say(count), "; last: ", error.substr(0, 512)),
             steady);
  return true;
}

void Fleet::ForgetBlame(Executor& executor, const std::string& trial) {
  executor.blamed_in_row.erase(trial);
}

void Fleet::Quarantine(Executor& executor, const std::string& reason,
                       absl::Time steady) {
  absl::Duration length = options_.first;
  for (int i = 0; i < executor.quarantine_count && length < options_.longest;
       ++i) {
    length *= 2;
  }
  ++executor.quarantine_count;
  executor.quarantine_end = steady + std::min(length, options_.longest);
  executor.quarantine_reason = reason;
  executor.failed_in_row.clear();
  executor.blamed_in_row.clear();
}

void Fleet::RecordHandBack(Executor& executor, absl::Time steady) {
  constexpr int kMaxDoublings = 8;
  executor.rest_end =
      steady + kFirstRest * (1 << std::min(executor.hand_backs, kMaxDoublings));
  ++executor.hand_backs;
}

void Fleet::Forget(absl::Time now, absl::Time steady) {
  for (auto it = executors_.begin(); it != executors_.end();) {
    const Executor& executor = it->second;
    if (!executor.connected() && executor.last_seen + kForgetAfter < now &&
        !executor.quarantined(steady) && executor.running->all() == 0) {
      running_->Unwatch(executor.name);
      it = executors_.erase(it);
      in_order_.clear();
    } else {
      ++it;
    }
  }
}

void Fleet::Arrange() {
  in_order_.clear();
  in_order_.reserve(executors_.size());
  absl::flat_hash_map<absl::string_view, int> hosts;
  for (auto& [name, executor] : executors_) {
    const std::string& host = executor.hello.host_id();
    executor.snapshot.host =
        host.empty()
            ? 0
            : hosts.try_emplace(host, static_cast<int>(hosts.size()) + 1)
                  .first->second;
    in_order_.push_back(&executor);
  }
}

std::vector<ExecutorSnapshot*> Fleet::Snapshot(absl::Time steady) {
  if (in_order_.size() != executors_.size()) Arrange();
  std::vector<ExecutorSnapshot*> fleet;
  fleet.reserve(in_order_.size());
  for (Executor* const executor : in_order_) {
    ExecutorSnapshot& snapshot = executor->snapshot;
    snapshot.accepts = executor->state(steady) == v1::Executor::CONNECTED &&
                       steady >= executor->rest_end;
    snapshot.running = *executor->running;
    fleet.push_back(&snapshot);
  }
  return fleet;
}

}  // namespace hwnas::controller
