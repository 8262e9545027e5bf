#include "agent/sandbox/measuring_child.h"

#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "agent/device/power/power_sampler.h"
#include "agent/device/process_memory.h"
#include "agent/measure/steady_clock.h"
#include "agent/runtime/onnx_runtime.h"
#include "agent/sandbox/child.pb.h"
#include "agent/sandbox/confinement.h"
#include "agent/sandbox/message_socket.h"
#include "common/status_macros.h"
#include "proto/convert/convert.h"

namespace hwnas::agent {
namespace {

constexpr absl::Duration kStartTimeout = absl::Seconds(30);
// The agent answers from memory, or after one read of a sensor.
constexpr absl::Duration kAnswerTimeout = absl::Minutes(1);

// Without the agent there is nobody to measure for.
class Parent {
 public:
  explicit Parent(MessageSocket* socket) : socket_(socket) {}

  void Tell(const sandbox::ToParent& message) {
    if (!socket_->Send(message).ok()) _exit(1);
  }
  sandbox::FromParent Ask(const sandbox::ToParent& question) {
    Tell(question);
    sandbox::FromParent answer;
    const absl::StatusOr<bool> came = socket_->Receive(&answer, kAnswerTimeout);
    if (!came.ok() || !*came) _exit(1);
    return answer;
  }

 private:
  MessageSocket* const socket_;
};

// The agent's sensor.
class ParentsPowerRecorder final : public PowerRecorder {
 public:
  ParentsPowerRecorder(const sandbox::ChildTask& task, Parent* parent)
      : info_{.name = task.power().name(),
              .includes = task.power().includes(),
              .interval = FromProto(task.power().interval()),
              .averaging = FromProto(task.power_averaging())},
        parent_(parent) {}

  const PowerSourceInfo& info() const override { return info_; }
  void Start() override {
    sandbox::ToParent message;
    message.set_start_power(true);
    parent_->Tell(message);
  }
  PowerRecord Stop() override {
    sandbox::ToParent message;
    message.set_stop_power(true);
    const sandbox::PowerRecord told = parent_->Ask(message).power();
    PowerRecord record = {.failed_count = told.failed_count(),
                          .last_error = told.last_error()};
    record.readings.reserve(told.readings_size());
    for (const sandbox::PowerReading& reading : told.readings()) {
      PowerReading& to = record.readings.emplace_back();
      to.time = FromProto(reading.time());
      if (reading.has_power_w()) to.power_w = reading.power_w();
      if (reading.has_energy_j()) to.energy_j = reading.energy_j();
      to.broken = reading.broken();
    }
    return record;
  }

 private:
  const PowerSourceInfo info_;
  Parent* const parent_;
};

absl::Status Measure(const sandbox::ChildTask& task, Parent& parent,
                     const GraphExporter& export_graph,
                     v1::TaskResult& result) {
  HWNAS_ASSIGN_OR_RETURN(const std::unique_ptr<Runtime> runtime,
                         CreateOnnxRuntime());
  HWNAS_ASSIGN_OR_RETURN(
      const std::string missing,
      ConfineThisProcess(
          {.socket = kMeasuringChildSocket,
           .writable = {kMeasuringChildSocket, ClearRefsDescriptor()},
           .max_memory_bytes = task.max_memory_bytes(),
           .max_cpu_time = FromProto(task.max_cpu_time())}));
  if (!missing.empty()) {
    sandbox::ToParent message;
    message.set_lacking(missing);
    parent.Tell(message);
  }
  RealSteadyClock clock;
  InProcessMeasurerOptions options;
  options.device = task.device();
  options.why_no_power = task.why_no_power();
  std::optional<ParentsPowerRecorder> power;
  if (task.has_power()) options.power = &power.emplace(task, &parent);
  if (task.throttle_sensor()) {
    options.throttled = [&]() -> std::optional<uint32_t> {
      sandbox::ToParent question;
      question.set_throttled(true);
      const sandbox::FromParent answer = parent.Ask(question);
      if (!answer.has_throttled()) return std::nullopt;
      return answer.throttled();
    };
  }
  LatencyHooks hooks;
  hooks.progress = [&](const std::string& note) {
    sandbox::ToParent message;
    message.set_note(note);
    parent.Tell(message);
  };
  return InProcessMeasurer(std::move(options), runtime.get(), export_graph,
                           &clock)
      .Measure(task.task(), hooks, result);
}

}  // namespace

int RunMeasuringChild(const GraphExporter& export_graph) {
  MessageSocket socket(kMeasuringChildSocket);
  sandbox::ChildTask task;
  const absl::StatusOr<bool> came = socket.Receive(&task, kStartTimeout);
  if (!came.ok() || !*came) {
    std::cerr << "hwnas-agent: " << kMeasuringChildArgument
              << " is for the agent's own use" << std::endl;
    return 2;
  }
  Parent parent(&socket);
  sandbox::ToParent message;
  sandbox::Outcome& outcome = *message.mutable_outcome();
  const absl::Status status =
      Measure(task, parent, export_graph, *outcome.mutable_result());
  outcome.set_code(static_cast<int>(status.code()));
  outcome.set_error(std::string(status.message()));
  parent.Tell(message);
  // No destructors: the runtime's may wait for threads that a model left busy.
  _exit(0);
}

}  // namespace hwnas::agent
