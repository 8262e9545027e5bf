#include "agent/sandbox/sandboxed_measurer.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <iostream>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "agent/measure/meter_options.h"
#include "agent/measure/steady_clock.h"
#include "agent/sandbox/child.pb.h"
#include "agent/sandbox/measuring_child.h"
#include "agent/sandbox/message_socket.h"
#include "common/child_process.h"
#include "common/files.h"
#include "common/status_macros.h"
#include "proto/convert/convert.h"

namespace hwnas::agent {
namespace {

// A cancellation is noticed within this time.
constexpr absl::Duration kSlice = absl::Milliseconds(100);
// Between the end of its connection and its own.
constexpr absl::Duration kPatience = absl::Seconds(2);
constexpr absl::Duration kSpareCpuTime = absl::Seconds(10);
// Its windows of idleness and inferences, of a slow source.
constexpr absl::Duration kEnergyTime = absl::Minutes(12);
constexpr int64_t kLeastMemoryBytes = int64_t{256} << 20;
constexpr size_t kMaxNoteBytes = 200;
constexpr size_t kMaxErrorBytes = 2000;
constexpr int kMaxMeasurements = 16;

int64_t AvailableMemoryBytes() {
  const auto text = ReadFile("/proc/meminfo", 1 << 16);
  if (!text.ok()) return 0;
  for (absl::string_view line : absl::StrSplit(*text, '\n')) {
    int64_t kilobytes = 0;
    if (absl::ConsumePrefix(&line, "MemAvailable:") &&
        absl::ConsumeSuffix(&line, "kB") &&
        absl::SimpleAtoi(line, &kilobytes)) {
      return kilobytes * 1024;
    }
  }
  return 0;
}

// A running child; killed and waited for when it goes out of scope.
class Child {
 public:
  static absl::StatusOr<Child> Start(std::vector<std::string> command,
                                     int socket) {
    ChildOptions options;
    options.program = command.front();
    // So `ps` shows no "exe".
    if (command.size() == 1) command.front() = "hwnas-agent";
    command.push_back(kMeasuringChildArgument);
    options.arguments = std::move(command);
    options.descriptors = {{socket, kMeasuringChildSocket}};
    HWNAS_ASSIGN_OR_RETURN(const pid_t pid, StartChild(std::move(options)));
    return Child(pid);
  }

  Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, 0)) {}
  Child& operator=(Child&&) = delete;
  ~Child() { Kill(); }

  // Returns its wait status; nullopt if it had to be killed because it did not
  // end within `patience`.
  std::optional<int> Wait(absl::Duration patience) {
    RealSteadyClock clock;
    const absl::Duration end = clock.Now() + patience;
    int status = 0;
    for (;;) {
      const pid_t ended = waitpid(pid_, &status, WNOHANG);
      if (ended == pid_) break;
      if (clock.Now() >= end) {
        Kill();
        return std::nullopt;
      }
      clock.SleepFor(absl::Milliseconds(1));
    }
    pid_ = 0;
    return status;
  }

 private:
  explicit Child(pid_t pid) : pid_(pid) {}

  void Kill() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
    pid_ = 0;
  }

  pid_t pid_;
};

std::string HowItEnded(std::optional<int> status) {
  if (!status) return "closed its connection and had to be killed";
  if (!WIFSIGNALED(*status)) {
    return absl::StrCat("ended without an answer (exit code ",
                        WEXITSTATUS(*status), ")");
  }
  switch (const int signal = WTERMSIG(*status)) {
    case SIGKILL:
      return "was killed, probably because the machine ran out of memory";
    case SIGXCPU:
      return "used up its processor time";
    default:
      return absl::StrCat("crashed: ", SignalName(signal));
  }
}

absl::Status StatusOf(const sandbox::Outcome& outcome) {
  if (outcome.code() == 0) return absl::OkStatus();
  const int code = outcome.code() > 0 && outcome.code() <= 16
                       ? outcome.code()
                       : static_cast<int>(absl::StatusCode::kUnknown);
  return absl::Status(static_cast<absl::StatusCode>(code),
                      outcome.error().substr(0, kMaxErrorBytes));
}

// What the child says is checked like anything that comes from outside.
absl::Status TakeOutcome(const sandbox::Outcome& outcome,
                         const v1::MeasureTask& task, const std::string& device,
                         v1::TaskResult& result) {
  if (outcome.code() != 0) {
    *result.mutable_environment() = outcome.result().environment();
    return StatusOf(outcome);
  }
  const v1::TaskResult& told = outcome.result();
  const bool sound =
      told.measurements_size() <= kMaxMeasurements &&
      std::all_of(told.measurements().begin(), told.measurements().end(),
                  [](const v1::Measurement& m) {
                    return std::isfinite(m.value()) && m.value() >= 0;
                  });
  if (!sound) {
    return absl::InternalError("the measuring process told nonsense");
  }
  *result.mutable_measurements() = told.measurements();
  for (v1::Measurement& measurement : *result.mutable_measurements()) {
    measurement.set_device(device);
    measurement.set_device_class(task.device_class());
    measurement.set_provenance(v1::MEASURED);
  }
  *result.mutable_environment() = told.environment();
  *result.mutable_latency_samples() = told.latency_samples();
  *result.mutable_missing_metrics() = told.missing_metrics();
  if (told.has_energy()) *result.mutable_energy() = told.energy();
  return absl::OkStatus();
}

sandbox::PowerRecord ToProto(const PowerRecord& record) {
  sandbox::PowerRecord proto;
  proto.set_failed_count(record.failed_count);
  proto.set_last_error(record.last_error);
  for (const PowerReading& reading : record.readings) {
    sandbox::PowerReading& to = *proto.add_readings();
    *to.mutable_time() = hwnas::ToProto(reading.time);
    if (reading.power_w) to.set_power_w(*reading.power_w);
    if (reading.energy_j) to.set_energy_j(*reading.energy_j);
    to.set_broken(reading.broken);
  }
  return proto;
}

}  // namespace

int64_t MemoryLimitBytes(const SandboxedMeasurerOptions& options) {
  if (options.max_memory_bytes > 0) return options.max_memory_bytes;
  return std::max(kLeastMemoryBytes,
                  AvailableMemoryBytes() / 4 * 3 / options.at_once);
}

absl::Status SandboxedMeasurer::Measure(const v1::MeasureTask& task,
                                        const LatencyHooks& hooks,
                                        v1::TaskResult& result) {
  HWNAS_ASSIGN_OR_RETURN(const LatencyMeterOptions meter,
                         MeterOptions(task.measure()));
  const InProcessMeasurerOptions& measurer = options_.measurer;
  const bool energy = task.energy() && measurer.power != nullptr;
  const absl::Duration time_limit = options_.time_limit + 2 * meter.max_time +
                                    (energy ? kEnergyTime : absl::Duration());
  sandbox::ChildTask first;
  *first.mutable_task() = task;
  first.set_device(measurer.device);
  first.set_why_no_power(measurer.why_no_power);
  if (measurer.power != nullptr) {
    const PowerSourceInfo& info = measurer.power->info();
    *first.mutable_power() = PowerSourceProto(info);
    *first.mutable_power_averaging() = hwnas::ToProto(info.averaging);
  }
  first.set_throttle_sensor(measurer.throttled != nullptr);
  HWNAS_ASSIGN_OR_RETURN(const sandbox::Outcome outcome,
                         RunChild(std::move(first), time_limit, hooks));
  return TakeOutcome(outcome, task, measurer.device, result);
}

absl::StatusOr<std::string> SandboxedMeasurer::Prepare(
    const v1::MeasureTask& task, bool quantize, const LatencyHooks& hooks) {
  sandbox::ChildTask first;
  *first.mutable_task() = task;
  // Whatever will measure it, here it is ONNX.
  first.mutable_task()->mutable_measure()->clear_runtime();
  first.set_prepare_only(true);
  first.set_quantize(quantize);
  HWNAS_ASSIGN_OR_RETURN(
      sandbox::Outcome outcome,
      RunChild(std::move(first), options_.time_limit, hooks));
  HWNAS_RETURN_IF_ERROR(StatusOf(outcome));
  return std::move(*outcome.mutable_onnx());
}

absl::StatusOr<sandbox::Outcome> SandboxedMeasurer::RunChild(
    sandbox::ChildTask first, absl::Duration time_limit,
    const LatencyHooks& hooks) {
  const InProcessMeasurerOptions& measurer = options_.measurer;
  first.set_max_memory_bytes(MemoryLimitBytes(options_));
  // Should the agent be unable to kill it.
  *first.mutable_max_cpu_time() =
      hwnas::ToProto(2 * (time_limit + kSpareCpuTime) *
                     std::max(1, first.task().measure().threads()));

  HWNAS_ASSIGN_OR_RETURN(auto pair, MessageSocket::MakePair());
  MessageSocket socket = std::move(pair.first);
  std::optional<Child> child;
  {
    const MessageSocket theirs = std::move(pair.second);
    HWNAS_ASSIGN_OR_RETURN(Child started,
                           Child::Start(options_.program, theirs.fd()));
    child.emplace(std::move(started));
  }
  bool recording = false;
  absl::Cleanup stop_recording = [&] {
    if (recording) measurer.power->Stop();
  };
  std::string phase = "starting";
  RealSteadyClock clock;
  absl::Duration deadline = clock.Now() + time_limit;
  // Only the child needs the model from here on.
  absl::Status status = [&] {
    const sandbox::ChildTask sent = std::move(first);
    return socket.Send(sent);
  }();
  while (status.ok()) {
    if (hooks.cancelled()) {
      return absl::CancelledError(absl::StrCat("cancelled while ", phase));
    }
    if (clock.Now() >= deadline) {
      return absl::DeadlineExceededError(absl::StrCat(
          "the measuring process was killed while ", phase,
          ": it took more than ", absl::FormatDuration(time_limit)));
    }
    sandbox::ToParent message;
    const absl::StatusOr<bool> came =
        socket.Receive(&message, std::min(kSlice, deadline - clock.Now()));
    if (!came.ok()) {
      status = came.status();
      break;
    }
    if (!*came) continue;
    sandbox::FromParent answer;
    switch (message.kind_case()) {
      case sandbox::ToParent::kNote:
        phase = message.note().substr(0, kMaxNoteBytes);
        hooks.progress(phase);
        break;
      case sandbox::ToParent::kStartPower:
        if (measurer.power != nullptr) {
          measurer.power->Start();
          recording = true;
        }
        break;
      case sandbox::ToParent::kStopPower:
        if (recording) {
          *answer.mutable_power() = ToProto(measurer.power->Stop());
          recording = false;
        }
        status = socket.Send(answer);
        break;
      case sandbox::ToParent::kThrottled:
        if (measurer.throttled) {
          if (const auto bits = measurer.throttled()) {
            answer.set_throttled(*bits);
          }
        }
        status = socket.Send(answer);
        break;
      case sandbox::ToParent::kPause: {
        const absl::Duration begin = clock.Now();
        HWNAS_ASSIGN_OR_RETURN(const bool others_measured, hooks.pause());
        deadline += clock.Now() - begin;
        answer.set_others_measured(others_measured);
        status = socket.Send(answer);
        break;
      }
      case sandbox::ToParent::kLacking:
        // Once for each measurement, lest it be overlooked.
        std::cerr << "hwnas-agent: the measuring process is confined without "
                  << message.lacking().substr(0, kMaxNoteBytes) << std::endl;
        break;
      case sandbox::ToParent::kOutcome:
        return message.outcome();
      case sandbox::ToParent::KIND_NOT_SET:
        status = absl::DataLossError("a message without meaning");
        break;
    }
  }
  if (absl::IsDataLoss(status)) {
    return absl::InternalError(
        absl::StrCat("the measuring process told nonsense while ", phase, ": ",
                     std::string(status.message())));
  }
  return absl::InternalError(absl::StrCat("the measuring process ",
                                          HowItEnded(child->Wait(kPatience)),
                                          ", while ", phase));
}

}  // namespace hwnas::agent
