#include "agent/sandbox/measuring_child.h"

#include <algorithm>
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
#include "common/text.h"
#include "proto/convert/convert.h"

namespace hwnas::agent {
namespace {

constexpr absl::Duration kStartTimeout = absl::Seconds(30);
// The agent answers from memory, or after one read of a sensor.
constexpr absl::Duration kAnswerTimeout = absl::Minutes(1);
// Others measure meanwhile, or train.
constexpr absl::Duration kPauseTimeout = absl::Hours(24);

// Without the agent there is nobody to measure for.
class Parent {
 public:
  explicit Parent(MessageSocket* socket) : socket_(socket) {}

  void Tell(const sandbox::ToParent& message) {
    if (!socket_->Send(message).ok()) _exit(1);
  }
  sandbox::FromParent Ask(const sandbox::ToParent& question,
                          absl::Duration timeout = kAnswerTimeout) {
    Tell(question);
    sandbox::FromParent answer;
    const absl::StatusOr<bool> came = socket_->Receive(&answer, timeout);
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

// What is loaded of the task, in place of a graph or another file.
class Preparation {
 public:
  explicit Preparation(const ModelTools& tools) : tools_(tools) {}

  absl::StatusOr<std::string> Onnx(const v1::MeasureTask& task) const {
    const int batch = task.measure().batch();
    if (task.has_graph()) {
      return tools_.export_graph(task.graph(), std::max(1, batch));
    }
    if (!task.has_onnx()) {
      return absl::InvalidArgumentError(
          "the task names no model: expected a graph or an ONNX file");
    }
    return task.onnx();
  }
  absl::StatusOr<std::string> Quantized(const v1::MeasureTask& task) const {
    if (!tools_.quantize) {
      return absl::FailedPreconditionError("models cannot be quantised here");
    }
    HWNAS_ASSIGN_OR_RETURN(const std::string onnx, Onnx(task));
    return tools_.quantize(onnx, task.measure().batch());
  }
  // For a program that does not know our batch.
  absl::StatusOr<std::string> ForCommand(const sandbox::ChildTask& task) const {
    HWNAS_ASSIGN_OR_RETURN(const std::string onnx, task.quantize()
                                                       ? Quantized(task.task())
                                                       : Onnx(task.task()));
    if (!tools_.fix_batch) return onnx;
    return tools_.fix_batch(onnx, task.task().measure().batch());
  }

 private:
  const ModelTools& tools_;
};

absl::Status Confine(const sandbox::ChildTask& task, Parent& parent) {
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
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Runtime>> CreateRuntime(
    const v1::MeasureTask& task, const ModelTools& tools) {
  if (task.measure().runtime() != "libtorch") return CreateOnnxRuntime();
  if (!tools.create_libtorch) {
    return absl::FailedPreconditionError("this agent has no LibTorch");
  }
  if (!task.has_graph()) {
    return absl::FailedPreconditionError(
        "libtorch rebuilds a network from its graph, and this is an ONNX file: "
        "expected the runtime onnxruntime");
  }
  return tools.create_libtorch();
}

absl::Status Measure(const sandbox::ChildTask& task, Parent& parent,
                     const ModelTools& tools, sandbox::Outcome& outcome) {
  HWNAS_ASSIGN_OR_RETURN(const std::unique_ptr<Runtime> runtime,
                         CreateRuntime(task.task(), tools));
  HWNAS_RETURN_IF_ERROR(Confine(task, parent));
  const Preparation preparation(tools);
  LatencyHooks hooks;
  hooks.progress = [&](const std::string& note) {
    sandbox::ToParent message;
    message.set_note(note);
    parent.Tell(message);
  };
  hooks.pause = [&]() -> absl::StatusOr<bool> {
    sandbox::ToParent question;
    question.set_pause(true);
    return parent.Ask(question, kPauseTimeout).others_measured();
  };
  if (task.prepare_only()) {
    hooks.progress("preparing the model");
    HWNAS_ASSIGN_OR_RETURN(*outcome.mutable_onnx(),
                           preparation.ForCommand(task));
    return absl::OkStatus();
  }
  v1::MeasureTask model = task.task();
  if (model.measure().precision() == "int8") {
    hooks.progress("quantising the model");
    HWNAS_ASSIGN_OR_RETURN(std::string onnx, preparation.Quantized(model));
    model.set_onnx(std::move(onnx));
  }
  GraphExporter export_graph = tools.export_graph;
  if (model.measure().runtime() == "libtorch") {
    export_graph = [](const v1::ModelGraph& graph,
                      int) -> absl::StatusOr<std::string> {
      return graph.SerializeAsString();
    };
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
  return InProcessMeasurer(std::move(options), runtime.get(),
                           std::move(export_graph), &clock)
      .Measure(model, hooks, *outcome.mutable_result());
}

}  // namespace

int RunMeasuringChild(const ModelTools& tools) {
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
  const absl::Status status = Measure(task, parent, tools, outcome);
  outcome.set_code(static_cast<int>(status.code()));
  // May quote the model.
  outcome.set_error(Printable(status.message()));
  parent.Tell(message);
  // No destructors: the runtime's may wait for threads that a model left busy.
  _exit(0);
}

}  // namespace hwnas::agent
