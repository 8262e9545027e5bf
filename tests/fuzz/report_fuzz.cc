// What executors send in their sessions, once it is a protobuf: Hello,
// Heartbeat or TaskResult. The first byte says which, and from whom:
//
//   byte % 3  0 Hello, 1 Heartbeat, 2 TaskResult
//   & 0x40    from the agent; else from the worker
//   & 0x80    names leases itself; else it gets the lease that is in hand
//
// A study is at work meanwhile: whatever arrives, its journal stays one that
// the checker finds nothing in.
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "controller/study/history_check.h"
#include "controller/study/report_check.h"
#include "controller/study/study_engine.h"
#include "prometheus/registry.h"
#include "tests/fakes/memory_artifact_store.h"
#include "tests/fakes/simulated_clock.h"
#include "tests/fakes/toy_study.h"

namespace hwnas::controller {
namespace {

// Keeps the lease of the latest task.
class LastTask final : public ExecutorStream {
 public:
  void Send(const v1::SessionResponse& message) override {
    if (message.has_assignment()) lease = message.assignment().lease();
  }
  void Close(const absl::Status&) override {}

  v1::LeaseKey lease;
};

v1::Hello HelloOf(v1::ExecutorKind kind) {
  v1::Hello hello;
  hello.set_kind(kind);
  hello.set_executor_id("e");
  hello.set_incarnation("1");
  hello.set_host_id(kind == v1::AGENT ? "a" : "w");
  hello.set_slots(1);
  hello.set_protocol_version(1);
  if (kind == v1::AGENT) {
    hello.add_device_classes("x86_64");
    hello.add_runtimes("onnxruntime");
  } else {
    hello.add_datasets("fashion-mnist");
  }
  return hello;
}

// Two trials that are measured, then trained for up to three epochs.
v1::StudySpec Spec() {
  v1::StudySpec spec = ToyStudy(/*trials=*/2);
  spec.mutable_strategy()->mutable_random();
  spec.mutable_train()->set_epochs(3);
  spec.mutable_fidelity()->mutable_median_stop();
  spec.set_seed(1);
  return spec;
}

// A controller with that study, a worker and an agent; each has a task.
class Service {
 public:
  Service() : artifacts_(&clock_), registry_(new prometheus::Registry) {
    metrics_ = std::make_unique<ControllerMetrics>(registry_);
    engine_ = *StudyEngine::Create({}, {.journals = journals_.get(),
                                        .artifacts = &artifacts_,
                                        .clock = &clock_,
                                        .metrics = metrics_.get(),
                                        .logger = NullLogger()});
    worker_id_ = *engine_->Connect(HelloOf(v1::WORKER), worker_);
    agent_id_ = *engine_->Connect(HelloOf(v1::AGENT), agent_);
    v1::CreateStudyRequest request;
    request.set_study_id("s");
    *request.mutable_spec() = Spec();
    if (!engine_->CreateStudy(request).ok()) std::abort();
    v1::TaskResult measured;
    *measured.mutable_lease() = agent_->lease;
    v1::Measurement& latency = *measured.add_measurements();
    latency.set_metric("latency_ms");
    latency.set_device_class("x86_64");
    latency.set_value(1);
    engine_->OnResult(agent_id_, measured);
    if (worker_->lease.task_id().empty() || agent_->lease.task_id().empty()) {
      std::abort();
    }
  }

  void Say(const v1::Hello& hello) {
    const bool good = Fleet::CheckHello(hello).ok();
    const auto session = engine_->Connect(hello, std::make_shared<LastTask>());
    // Only who is known may be refused although all is well.
    if (session.ok() && !good) std::abort();
    if (!session.ok() && good && hello.executor_id() != "e") std::abort();
    if (session.ok()) engine_->Disconnect(*session);
  }
  void Say(bool agent, bool own_lease, v1::Heartbeat heartbeat) {
    for (v1::TaskProgress& task : *heartbeat.mutable_tasks()) {
      if (!own_lease) *task.mutable_lease() = LeaseOf(agent);
    }
    (void)engine_->OnHeartbeat(agent ? agent_id_ : worker_id_, heartbeat);
  }
  void Say(bool agent, bool own_lease, v1::TaskResult result) {
    if (!own_lease) *result.mutable_lease() = LeaseOf(agent);
    if (CheckTaskResult(result).ok() &&
        !CheckMeasurements(result.measurements()).ok()) {
      std::abort();
    }
    // Twice is once.
    for (int i = 0; i < 2; ++i) {
      engine_->OnResult(agent ? agent_id_ : worker_id_, result);
    }
  }

  // What the outside sees, and what stays.
  void Check() {
    (void)engine_->Tick();
    if (!engine_->GetStudy("s").ok() || !engine_->GetFront("s").ok() ||
        !engine_->ListTrials("s", {}).ok() ||
        !engine_->ListExecutors({}).ok()) {
      std::abort();
    }
    if (!CheckHistory(*journals_, "s").violations.empty()) std::abort();
  }

 private:
  const v1::LeaseKey& LeaseOf(bool agent) const {
    return (agent ? agent_ : worker_)->lease;
  }

  SimulatedClock clock_;
  std::unique_ptr<JournalStore> journals_ = CreateMemoryJournalStore();
  MemoryArtifactStore artifacts_;
  std::shared_ptr<prometheus::Registry> registry_;
  std::unique_ptr<ControllerMetrics> metrics_;
  std::unique_ptr<StudyEngine> engine_;
  std::shared_ptr<LastTask> worker_ = std::make_shared<LastTask>();
  std::shared_ptr<LastTask> agent_ = std::make_shared<LastTask>();
  std::string worker_id_, agent_id_;
};

// Of bytes that are no message, what stands before the first that is wrong:
// most of what a fuzzer changes would otherwise never reach the service.
template <typename Message>
std::optional<Message> Parsed(const uint8_t* data, size_t size) {
  Message message;
  if (message.ParseFromArray(data, static_cast<int>(size))) return message;
  Message beginning;
  if (!beginning.ParseFromString(message.SerializeAsString())) {
    return std::nullopt;
  }
  return beginning;
}

}  // namespace
}  // namespace hwnas::controller

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hwnas::controller;  // NOLINT(build/namespaces)
  namespace v1 = hwnas::v1;
  if (size == 0) return 0;
  const int kind = (data[0] & 0x3f) % 3;
  const bool agent = (data[0] & 0x40) != 0, own_lease = (data[0] & 0x80) != 0;
  ++data;
  --size;
  if (kind == 0) {
    if (const auto hello = Parsed<v1::Hello>(data, size)) {
      Service service;
      service.Say(*hello);
      service.Check();
    }
  } else if (kind == 1) {
    if (const auto heartbeat = Parsed<v1::Heartbeat>(data, size)) {
      Service service;
      service.Say(agent, own_lease, *heartbeat);
      service.Check();
    }
  } else if (const auto result = Parsed<v1::TaskResult>(data, size)) {
    Service service;
    service.Say(agent, own_lease, *result);
    service.Check();
  }
  return 0;
}
