// An engine with simulated time, a store in memory, and executors that do
// nothing until the test lets them: whole searches in milliseconds, one thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "controller/study/study_engine.h"
#include "gtest/gtest.h"
#include "prometheus/registry.h"
#include "proto/convert/resource_names.h"
#include "tests/fakes/faulty_journal_store.h"
#include "tests/fakes/memory_artifact_store.h"
#include "tests/fakes/simulated_clock.h"
#include "tests/fakes/toy_study.h"

namespace hwnas::controller {

// A pseudo-random number in [0, 1) of a trial's architecture: the same in every
// run.
inline double Noise(const std::string& digest, int salt) {
  uint64_t bits = 0;
  (void)absl::SimpleHexAtoi(Sha256Hex(absl::StrCat(digest, salt)).substr(0, 12),
                            &bits);
  return static_cast<double>(bits) / static_cast<double>(uint64_t{1} << 48);
}

inline v1::Measurement Value(const std::string& metric, double value,
                             const std::string& device_class = "") {
  v1::Measurement m;
  m.set_metric(metric);
  m.set_value(value);
  m.set_device_class(device_class);
  m.set_sample_count(1);
  return m;
}

// Everything that a controller says to one session.
class FakeStream final : public ExecutorStream {
 public:
  void Send(const v1::SessionResponse& message) override {
    switch (message.message_case()) {
      case v1::SessionResponse::kWelcome:
        welcome = message.welcome();
        break;
      case v1::SessionResponse::kAssignment:
        tasks.push_back(message.assignment());
        break;
      case v1::SessionResponse::kResultAck:
        acks.push_back(message.result_ack());
        break;
      case v1::SessionResponse::kCancel:
        cancels.push_back(message.cancel());
        break;
      default:
        break;
    }
  }
  void Close(const absl::Status& status) override { closed = status; }

  std::optional<v1::Welcome> welcome;
  std::deque<v1::Task> tasks;
  std::vector<v1::ResultAck> acks;
  std::vector<v1::CancelTask> cancels;
  std::optional<absl::Status> closed;
};

inline v1::Hello WorkerHello(const std::string& id, const std::string& host) {
  v1::Hello hello;
  hello.set_kind(v1::WORKER);
  hello.set_executor_id(id);
  hello.set_incarnation("1");
  hello.set_host_id(host);
  hello.set_slots(1);
  hello.add_datasets("fashion-mnist");
  hello.set_protocol_version(1);
  return hello;
}

inline v1::Hello AgentHello(const std::string& id, const std::string& host,
                            const std::string& device_class = "x86_64") {
  v1::Hello hello = WorkerHello(id, host);
  hello.set_kind(v1::AGENT);
  hello.clear_datasets();
  hello.add_device_classes(device_class);
  hello.add_runtimes("onnxruntime");
  return hello;
}

// For executors that make their results up: nothing is trained.
inline v1::StudySpec ToySpec(int trials, uint64_t seed = 1) {
  v1::StudySpec spec = ToyStudy(trials);
  spec.mutable_strategy()->mutable_nsga2()->set_population(8);
  spec.set_seed(seed);
  return spec;
}

// A study whose trials are asked for and told.
inline v1::StudySpec ExternalSpec(int trials) {
  v1::StudySpec spec = ToySpec(trials);
  spec.clear_objectives();
  spec.clear_train();
  spec.add_objectives()->set_maximize("my_score");
  spec.mutable_external()->mutable_lease()->set_seconds(60);
  return spec;
}

// Keeps what a profile's caller would see.
class FakeListener final : public ProfileListener {
 public:
  void OnUpdate(const v1::ProfileModelUpdate& update) override {
    updates.push_back(update);
  }
  void OnEnd(const absl::Status& status) override { end = status; }
  std::vector<v1::ProfileModelUpdate> updates;
  std::optional<absl::Status> end;
};

class EngineHarness {
 public:
  EngineHarness() : EngineHarness(std::make_shared<FaultyJournalStore>()) {}
  // On journals that are there already.
  explicit EngineHarness(std::shared_ptr<FaultyJournalStore> journals,
                         std::string tables_dir = "")
      : journals(std::move(journals)), tables_dir(std::move(tables_dir)) {
    Start();
  }

  // A controller that dies and comes back: only what is stored survives.
  void Restart() {
    engine = nullptr;
    Start();
  }

  struct Session {
    v1::Hello hello;
    std::string id;
    std::shared_ptr<FakeStream> stream = std::make_shared<FakeStream>();
    // Leases in hand: given and not answered.
    std::vector<v1::LeaseKey> held;
  };

  Session Connect(const v1::Hello& hello) {
    Session session;
    session.hello = hello;
    auto id = engine->Connect(hello, session.stream);
    EXPECT_TRUE(id.ok()) << id.status();
    session.id = id.value_or("");
    return session;
  }

  void Create(const std::string& study_id, const v1::StudySpec& spec,
              const std::string& user = "") {
    v1::CreateStudyRequest request;
    request.set_study_id(study_id);
    request.set_user(user);
    *request.mutable_spec() = spec;
    const auto study = engine->CreateStudy(request);
    ASSERT_TRUE(study.ok()) << study.status();
  }

  // What a healthy executor answers.
  v1::TaskResult Answer(const v1::Task& task) {
    v1::TaskResult result;
    *result.mutable_lease() = task.lease();
    const auto id = ParseTrialName(task.trial());
    EXPECT_TRUE(id.ok());
    const std::string digest =
        engine->GetTrial(id->study_id, id->number)->architecture().digest();
    if (task.has_train()) {
      const v1::TrainTask& train = task.train();
      const int all = std::max(1, train.train().epochs());
      const int epochs = train.until_epoch() > 0 ? train.until_epoch() : all;
      for (int epoch = 1; epoch <= epochs; ++epoch) {
        *result.add_epochs() = Epoch(digest, epoch, all);
      }
      const v1::EpochReport& last = *result.epochs().rbegin();
      *result.add_measurements() =
          Value("accuracy", last.validation_accuracy());
      *result.add_measurements() =
          Value("validation_loss", last.validation_loss());
      if (epochs == all) {
        result.set_weights_digest(
            Store(absl::StrCat("weights of ", task.trial())));
      } else {
        result.set_checkpoint_digest(
            Store(absl::StrCat("epoch ", epochs, " of ", task.trial())));
      }
    } else {
      const std::string& device = task.measure().device_class();
      const int salt = device == "x86_64" ? 3 : 3 + static_cast<int>(device[0]);
      *result.add_measurements() =
          Value("latency_ms", 1 + 9 * Noise(digest, salt), device);
    }
    return result;
  }

  // How a training stands after an epoch. The full one ends with `accuracy`
  // 60 to 95, which after a third of it is worse by about a fifth.
  static v1::EpochReport Epoch(const std::string& digest, int epoch, int all) {
    const double missing = 1 - static_cast<double>(epoch) / all;
    v1::EpochReport report;
    report.set_epoch(epoch);
    report.set_epoch_count(all);
    report.set_validation_accuracy((60 + 35 * Noise(digest, 1)) *
                                       (1 - 0.3 * missing) -
                                   4 * missing * Noise(digest, epoch + 7));
    report.set_validation_loss(Noise(digest, 2) + missing);
    return report;
  }

  // As an executor stores a file.
  std::string Store(const std::string& data) {
    const std::string digest = *artifacts.Put(data);
    engine->OnArtifact(digest);
    return digest;
  }

  void Reply(Session& session, const v1::TaskResult& result) {
    engine->OnResult(session.id, result);
  }
  static v1::TaskResult Failure(const v1::Task& task,
                                const std::string& error) {
    v1::TaskResult result;
    *result.mutable_lease() = task.lease();
    result.set_error(error);
    return result;
  }
  static v1::Task Take(Session& session) {
    EXPECT_FALSE(session.stream->tasks.empty()) << "no task was assigned";
    if (session.stream->tasks.empty()) return {};
    v1::Task task = session.stream->tasks.front();
    session.stream->tasks.pop_front();
    return task;
  }

  // Answers assignments in turn until there are none, or `max_steps` are done.
  int Work(const std::vector<Session*>& sessions, int max_steps = 1 << 20) {
    int steps = 0;
    for (bool again = true; again && steps < max_steps;) {
      again = false;
      for (Session* session : sessions) {
        if (session->stream->tasks.empty() || steps >= max_steps) continue;
        Reply(*session, Answer(Take(*session)));
        ++steps;
        again = true;
      }
    }
    return steps;
  }

  v1::Study Study(const std::string& id) {
    const auto study = engine->GetStudy(id);
    EXPECT_TRUE(study.ok()) << study.status();
    return study.value_or(v1::Study());
  }
  v1::Trial Trial(const std::string& id, int64_t number) {
    const auto trial = engine->GetTrial(id, number);
    EXPECT_TRUE(trial.ok()) << trial.status();
    return trial.value_or(v1::Trial());
  }
  std::vector<v1::JournalEvent> Events(const std::string& study_id) {
    std::vector<v1::JournalEvent> events;
    EXPECT_TRUE(journals
                    ->Read(study_id, 0,
                           [&](v1::JournalEvent&& event) {
                             events.push_back(std::move(event));
                             return absl::OkStatus();
                           })
                    .ok());
    return events;
  }
  // Digests of what is stored.
  std::vector<std::string> Artifacts() {
    std::vector<std::string> digests;
    const std::vector<StoredArtifact> list = *artifacts.List();
    for (const StoredArtifact& artifact : list) {
      digests.push_back(artifact.digest);
    }
    return digests;
  }
  int CountEvents(const std::string& study_id,
                  v1::JournalEvent::EventCase kind) {
    int count = 0;
    for (const auto& event : Events(study_id)) {
      count += event.event_case() == kind;
    }
    return count;
  }
  // What a search is: its proposals in order, and its front.
  std::vector<std::string> Search(const std::string& study_id) {
    std::vector<std::string> lines;
    v1::ListTrialsRequest request;
    request.set_page_size(1000);
    const auto trials = engine->ListTrials(study_id, request);
    const auto front = engine->GetFront(study_id);
    EXPECT_TRUE(trials.ok() && front.ok());
    if (!trials.ok() || !front.ok()) return {};
    for (const v1::Trial& trial : trials->trials()) {
      lines.push_back(absl::StrCat(trial.number(), " ",
                                   trial.architecture().digest(), " ",
                                   trial.state()));
    }
    for (const v1::Trial& trial : front->trials()) {
      lines.push_back(absl::StrCat("front ", trial.number()));
    }
    return lines;
  }

  SimulatedClock clock;
  std::shared_ptr<FaultyJournalStore> journals;
  MemoryArtifactStore artifacts{&clock};
  std::string tables_dir;  // Of replays.
  // From the next start on.
  DeviceCheckOptions checks;
  Quotas quotas;
  int max_user_studies = 0;
  bool speculate = true;
  bool propose_apart = false;
  std::unique_ptr<StudyEngine> engine;

 private:
  void Start() {
    registry_ = std::make_shared<prometheus::Registry>();
    metrics_ = std::make_unique<ControllerMetrics>(registry_);
    auto created = StudyEngine::Create({.lease_duration = absl::Seconds(30),
                                        .tables_dir = tables_dir,
                                        .checks = checks,
                                        .quotas = quotas,
                                        .max_user_studies = max_user_studies,
                                        .speculate = speculate,
                                        .propose_apart = propose_apart},
                                       {.journals = journals.get(),
                                        .artifacts = &artifacts,
                                        .clock = &clock,
                                        .metrics = metrics_.get(),
                                        .logger = NullLogger()});
    ASSERT_TRUE(created.ok()) << created.status();
    engine = *std::move(created);
  }

  std::shared_ptr<prometheus::Registry> registry_;
  std::unique_ptr<ControllerMetrics> metrics_;
};

// A journal cut after `events` events.
inline std::shared_ptr<FaultyJournalStore> Prefix(EngineHarness& h,
                                                  const std::string& study_id,
                                                  int64_t events) {
  auto store = std::make_shared<FaultyJournalStore>();
  std::vector<v1::JournalEvent> all = h.Events(study_id);
  all.resize(events);
  EXPECT_TRUE(store->Append(study_id, 0, absl::MakeSpan(all)).ok());
  return store;
}

}  // namespace hwnas::controller
