// The whole controller over the wire: real server on a free port, SQLite in a
// folder of its own, real fleet clients with runners that do no work.
#include "controller/server.h"

#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "fleet/fleet_client.h"
#include "gmock/gmock.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "hwnas/v1/device_service.grpc.pb.h"
#include "hwnas/v1/fleet_service.grpc.pb.h"
#include "hwnas/v1/study_service.grpc.pb.h"
#include "hwnas/v1/trial_service.grpc.pb.h"
#include "model/weights.h"
#include "nlohmann/json.hpp"
#include "proto/convert/convert.h"
#include "tests/controller/study/engine_harness.h"

namespace hwnas::controller {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

// Answers at once, with numbers that only depend on the architecture.
class ToyRunner final : public fleet::TaskRunner {
 public:
  v1::TaskResult Run(const v1::Task& task,
                     fleet::TaskContext& context) override {
    v1::TaskResult result;
    if (task.has_measure() && !task.measure().onnx().empty()) {
      *result.add_measurements() = Value("latency_ms", 1.5, "x86_64");
    } else if (task.has_measure()) {
      *result.add_measurements() =
          Value("latency_ms", 1 + 9 * Noise(task.trial(), 3), "x86_64");
    } else {
      const auto graph = FromProto(task.train().graph());
      if (!graph.ok()) {
        result.set_error(std::string(graph.status().message()));
        return result;
      }
      v1::EpochReport epoch;
      epoch.set_epoch(1);
      epoch.set_epoch_count(1);
      context.ReportEpoch(epoch);
      const auto digest = context.UploadArtifact(
          RandomWeights(*graph, task.train().seed()).SerializeAsString());
      if (!digest.ok()) {
        result.set_error(std::string(digest.status().message()));
        result.set_handed_back(true);
        return result;
      }
      result.set_weights_digest(*digest);
      *result.add_measurements() =
          Value("accuracy", 60 + 35 * Noise(task.trial(), 1));
    }
    return result;
  }
};

// A worker or agent in a thread of this process.
class Executor final {
 public:
  Executor(const v1::Hello& hello, const std::string& spool,
           std::shared_ptr<grpc::Channel> channel)
      : client_({.hello = hello, .spool_dir = spool}, std::move(channel),
                &runner_, Clock::Real(), NullLogger()),
        thread_([this] { status = client_.Run(); }) {}
  ~Executor() { Stop(); }
  void Stop() {
    client_.Drain();
    if (thread_.joinable()) thread_.join();
  }
  absl::Status status;

 private:
  ToyRunner runner_;
  fleet::FleetClient client_;
  std::thread thread_;
};

class ServerTest : public ::testing::Test {
 protected:
  ServerTest()
      : dir_(absl::StrCat(
            ::testing::TempDir(), "/hwnas_server_", getpid(), "_",
            ::testing::UnitTest::GetInstance()->current_test_info()->name())) {
    std::filesystem::remove_all(dir_);
    std::filesystem::create_directories(dir_);
  }
  ~ServerTest() override {
    server_ = nullptr;
    std::filesystem::remove_all(dir_);
  }

  ServerOptions Options() const {
    return {.listen = "127.0.0.1:0",
            .store = dir_ + "/store",
            .metrics = "",
            .port_file = dir_ + "/ports.json"};
  }
  void Start() {
    auto server = Server::Start(Options(), NullLogger());
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    channel_ = grpc::CreateChannel(server_->address(),
                                   grpc::InsecureChannelCredentials());
    studies_ = v1::StudyService::NewStub(channel_);
    trials_ = v1::TrialService::NewStub(channel_);
    fleet_ = v1::FleetService::NewStub(channel_);
    devices_ = v1::DeviceService::NewStub(channel_);
  }
  std::unique_ptr<Executor> StartExecutor(const v1::Hello& hello) {
    return std::make_unique<Executor>(
        hello, absl::StrCat(dir_, "/spool-", hello.executor_id()), channel_);
  }

  grpc::Status Create(const std::string& id, const v1::StudySpec& spec) {
    grpc::ClientContext context;
    v1::CreateStudyRequest request;
    request.set_study_id(id);
    *request.mutable_spec() = spec;
    v1::Study study;
    return studies_->CreateStudy(&context, request, &study);
  }
  // Until the study ends.
  std::vector<v1::StudyUpdate> Watch(const std::string& name,
                                     grpc::Status* status = nullptr) {
    grpc::ClientContext context;
    v1::WatchStudyRequest request;
    request.set_name(name);
    const auto reader = studies_->WatchStudy(&context, request);
    std::vector<v1::StudyUpdate> updates;
    v1::StudyUpdate update;
    while (reader->Read(&update)) updates.push_back(update);
    const grpc::Status end = reader->Finish();
    if (status != nullptr) {
      *status = end;
    } else {
      EXPECT_TRUE(end.ok()) << end.error_message();
    }
    return updates;
  }
  grpc::Status Export(const v1::ExportModelRequest& request, std::string* onnx,
                      bool* trained) {
    grpc::ClientContext context;
    const auto reader = studies_->ExportModel(&context, request);
    v1::ExportModelChunk chunk;
    while (reader->Read(&chunk)) {
      if (onnx->empty()) *trained = chunk.trained();
      *onnx += chunk.data();
    }
    return reader->Finish();
  }

  const std::string dir_;
  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::StudyService::Stub> studies_;
  std::unique_ptr<v1::TrialService::Stub> trials_;
  std::unique_ptr<v1::FleetService::Stub> fleet_;
  std::unique_ptr<v1::DeviceService::Stub> devices_;
};

TEST_F(ServerTest, RunsASearchWithAWorkerAndAnAgent) {
  Start();
  const auto worker = StartExecutor(WorkerHello("w1", "h"));
  const auto agent = StartExecutor(AgentHello("a1", "h"));
  const grpc::Status created = Create("s", ToySpec(12));
  ASSERT_TRUE(created.ok()) << created.error_message();
  const std::vector<v1::StudyUpdate> updates = Watch("studies/s");
  ASSERT_FALSE(updates.empty());
  EXPECT_FALSE(updates.front().has_trial());
  EXPECT_EQ(updates.back().study().state(), v1::Study::COMPLETED);
  EXPECT_EQ(updates.back().study().progress().completed_count(), 12);
  std::set<int64_t> seen;
  for (const auto& update : updates) seen.insert(update.trial().number());
  EXPECT_THAT(seen, ::testing::Contains(12));

  v1::Front front;
  {
    grpc::ClientContext context;
    v1::GetFrontRequest request;
    request.set_name("studies/s");
    ASSERT_TRUE(studies_->GetFront(&context, request, &front).ok());
  }
  ASSERT_FALSE(front.trials().empty());

  // A front member is exported with its trained weights, others without.
  v1::ExportModelRequest request;
  request.set_name(front.trials(0).name());
  std::string onnx, untrained;
  bool trained = false;
  ASSERT_TRUE(Export(request, &onnx, &trained).ok());
  EXPECT_TRUE(trained);
  EXPECT_GT(onnx.size(), 1000u);
  request.set_untrained(true);
  ASSERT_TRUE(Export(request, &untrained, &trained).ok());
  EXPECT_FALSE(trained);
  EXPECT_NE(onnx, untrained);
  for (const int batch : {-1, 4097}) {
    request.set_batch(batch);
    EXPECT_EQ(Export(request, &untrained, &trained).error_code(),
              grpc::StatusCode::INVALID_ARGUMENT);
  }

  // A watch of a study that has ended says so and ends.
  EXPECT_THAT(Watch("studies/s"), SizeIs(1));
}

TEST_F(ServerTest, ASlowWatcherDelaysNobody) {
  Start();
  const auto worker = StartExecutor(WorkerHello("w1", "h"));
  const auto agent = StartExecutor(AgentHello("a1", "h"));
  ASSERT_TRUE(Create("s", ToySpec(12)).ok());
  grpc::ClientContext context;
  v1::WatchStudyRequest request;
  request.set_name("studies/s");
  const auto idle = studies_->WatchStudy(&context, request);
  EXPECT_EQ(Watch("studies/s").back().study().state(), v1::Study::COMPLETED);
  context.TryCancel();
  EXPECT_FALSE(idle->Finish().ok());
}

TEST_F(ServerTest, GoesOnAfterARestart) {
  Start();
  ASSERT_TRUE(Create("s", ToySpec(6)).ok());
  server_->Stop();
  server_ = nullptr;
  Start();
  const auto worker = StartExecutor(WorkerHello("w1", "h"));
  const auto agent = StartExecutor(AgentHello("a1", "h"));
  EXPECT_EQ(Watch("studies/s").back().study().progress().completed_count(), 6);
}

TEST_F(ServerTest, ProfilesAModel) {
  Start();
  const auto agent = StartExecutor(AgentHello("a1", "h"));
  v1::ProfileModelRequest request;
  request.set_onnx("any");
  request.set_device_class("x86_64");
  v1::ProfileModelUpdate update, last;
  grpc::Status status;
  do {  // The agent needs a moment to connect.
    grpc::ClientContext context;
    const auto reader = devices_->ProfileModel(&context, request);
    while (reader->Read(&update)) last = update;
    status = reader->Finish();
  } while (status.error_code() == grpc::StatusCode::FAILED_PRECONDITION);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(last.device(), "devices/a1");
  EXPECT_EQ(last.result().measurements(0).value(), 1.5);

  grpc::ClientContext context;
  v1::ListDevicesRequest list;
  list.set_device_class("x86_64");
  v1::ListDevicesResponse devices;
  ASSERT_TRUE(devices_->ListDevices(&context, list, &devices).ok());
  ASSERT_THAT(devices.devices(), SizeIs(1));
  EXPECT_EQ(devices.devices(0).name(), "devices/a1");

  request.set_device_class("riscv");
  grpc::ClientContext other;
  const auto reader = devices_->ProfileModel(&other, request);
  EXPECT_FALSE(reader->Read(&update));
  status = reader->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(status.error_message(), HasSubstr("connected classes: x86_64"));
}

TEST_F(ServerTest, AsksAndTells) {
  Start();
  v1::StudySpec spec = ToySpec(3);
  spec.clear_objectives();
  spec.clear_train();
  spec.add_objectives()->set_maximize("my_score");
  spec.mutable_external();
  ASSERT_TRUE(Create("s", spec).ok());
  v1::AskTrialsRequest ask;
  ask.set_parent("studies/s");
  ask.set_count(3);
  v1::AskTrialsResponse asked;
  {
    grpc::ClientContext context;
    ASSERT_TRUE(trials_->AskTrials(&context, ask, &asked).ok());
  }
  ASSERT_THAT(asked.trials(), SizeIs(3));
  v1::TellTrialsRequest tell;
  for (const auto& trial : asked.trials()) {
    auto* report = tell.add_reports();
    report->set_trial(trial.trial().name());
    report->set_attempt(trial.attempt());
    *report->add_measurements() = Value("my_score", 7);
  }
  tell.mutable_reports(1)->set_trial("studies/s/trials/x");
  for (int repeat = 0; repeat < 2; ++repeat) {
    grpc::ClientContext context;
    v1::TellTrialsResponse told;
    ASSERT_TRUE(trials_->TellTrials(&context, tell, &told).ok());
    ASSERT_THAT(told.statuses(), SizeIs(3));
    EXPECT_EQ(told.statuses(0).code(), 0);
    EXPECT_EQ(told.statuses(1).code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_EQ(told.statuses(2).code(), 0);
  }
  grpc::ClientContext context;
  v1::TellTrialsRequest none;
  v1::TellTrialsResponse told;
  EXPECT_EQ(trials_->TellTrials(&context, none, &told).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(ServerTest, StoresArtifactsByContent) {
  Start();
  const std::string data(3'000'000, 'w');
  v1::Artifact artifact;
  for (int repeat = 0; repeat < 2; ++repeat) {
    grpc::ClientContext context;
    const auto writer = fleet_->UploadArtifact(&context, &artifact);
    for (size_t begin = 0; begin < data.size(); begin += 1 << 20) {
      v1::ArtifactChunk chunk;
      chunk.set_data(data.substr(begin, 1 << 20));
      ASSERT_TRUE(writer->Write(chunk));
    }
    writer->WritesDone();
    ASSERT_TRUE(writer->Finish().ok());
    EXPECT_EQ(artifact.digest(), Sha256Hex(data));
  }
  const auto download = [&](const std::string& digest, std::string* out) {
    grpc::ClientContext context;
    v1::DownloadArtifactRequest request;
    request.set_digest(digest);
    const auto reader = fleet_->DownloadArtifact(&context, request);
    v1::ArtifactChunk chunk;
    while (reader->Read(&chunk)) *out += chunk.data();
    return reader->Finish().error_code();
  };
  std::string back, nothing;
  EXPECT_EQ(download(artifact.digest(), &back), grpc::StatusCode::OK);
  EXPECT_EQ(back, data);
  EXPECT_EQ(download(Sha256Hex("other"), &nothing),
            grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(download("../../journal.db", &nothing),
            grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(ServerTest, RefusesSessionsThatBreakTheProtocol) {
  Start();
  const auto end_of = [&](const std::vector<v1::SessionRequest>& messages) {
    grpc::ClientContext context;
    const auto stream = fleet_->Session(&context);
    for (const auto& message : messages) stream->Write(message);
    v1::SessionResponse response;
    while (stream->Read(&response)) {
    }
    return stream->Finish();
  };
  v1::SessionRequest hello, heartbeat, garbage;
  *hello.mutable_hello() = WorkerHello("w1", "h");
  heartbeat.mutable_heartbeat();
  *garbage.mutable_hello() = WorkerHello("No Such Name!", "h");
  EXPECT_EQ(end_of({heartbeat}).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(end_of({hello, hello}).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(end_of({garbage}).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(end_of({v1::SessionRequest()}).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(ServerTest, ASecondProcessOfTheSameIdTakesOver) {
  Start();
  v1::SessionRequest hello;
  *hello.mutable_hello() = WorkerHello("w1", "h");
  v1::SessionResponse response;
  grpc::ClientContext first_context, second_context;
  const auto first = fleet_->Session(&first_context);
  ASSERT_TRUE(first->Write(hello));
  ASSERT_TRUE(first->Read(&response));
  EXPECT_TRUE(response.has_welcome());
  hello.mutable_hello()->set_incarnation("2");
  const auto second = fleet_->Session(&second_context);
  ASSERT_TRUE(second->Write(hello));
  ASSERT_TRUE(second->Read(&response));
  EXPECT_TRUE(response.has_welcome());
  EXPECT_FALSE(first->Read(&response));
  EXPECT_EQ(first->Finish().error_code(), grpc::StatusCode::ALREADY_EXISTS);
  grpc::ClientContext context;
  v1::ListExecutorsResponse executors;
  ASSERT_TRUE(fleet_->ListExecutors(&context, {}, &executors).ok());
  ASSERT_THAT(executors.executors(), SizeIs(1));
  EXPECT_EQ(executors.executors(0).state(), v1::Executor::CONNECTED);
  second_context.TryCancel();
  EXPECT_FALSE(second->Finish().ok());
}

TEST_F(ServerTest, AnswersBadNamesAndNumbersWithAnExplanation) {
  Start();
  using grpc::StatusCode;
  const auto get = [&](const std::string& name) {
    grpc::ClientContext context;
    v1::GetStudyRequest request;
    request.set_name(name);
    v1::Study study;
    return studies_->GetStudy(&context, request, &study);
  };
  for (const std::string name : {"", "s", "studies/", "studies/Bad Name",
                                 "studies/a/b", "studies/../../etc/passwd"}) {
    EXPECT_EQ(get(name).error_code(), StatusCode::INVALID_ARGUMENT) << name;
  }
  EXPECT_EQ(get(std::string(1 << 20, 's')).error_code(),
            StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(get("studies/unknown").error_code(), StatusCode::NOT_FOUND);
  grpc::Status status;
  EXPECT_THAT(Watch("studies/unknown", &status), SizeIs(0));
  EXPECT_EQ(status.error_code(), StatusCode::NOT_FOUND);
  EXPECT_THAT(Watch("nonsense", &status), SizeIs(0));
  EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);

  EXPECT_EQ(Create("Bad Id", ToySpec(3)).error_code(),
            StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Create("s", {}).error_code(), StatusCode::INVALID_ARGUMENT);
  v1::StudySpec spec = ToySpec(3);
  spec.mutable_budget()->set_trials(int64_t{1} << 62);
  EXPECT_EQ(Create("s", spec).error_code(), StatusCode::INVALID_ARGUMENT);
  spec = ToySpec(3);
  spec.mutable_objectives(0)->set_maximize("acuracy");
  const grpc::Status typo = Create("s", spec);
  EXPECT_EQ(typo.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(typo.error_message(), HasSubstr("accuracy"));

  grpc::ClientContext context;
  v1::ListStudiesRequest list;
  list.set_page_size(-5);
  v1::ListStudiesResponse studies;
  EXPECT_EQ(studies_->ListStudies(&context, list, &studies).error_code(),
            StatusCode::INVALID_ARGUMENT);
  std::string onnx;
  bool trained = false;
  v1::ExportModelRequest exported;
  exported.set_name("studies/unknown/trials/1");
  EXPECT_EQ(Export(exported, &onnx, &trained).error_code(),
            StatusCode::NOT_FOUND);
}

// One request and one response in bytes.
std::string Call(const std::shared_ptr<grpc::Channel>& channel,
                 const std::string& method, const std::string& message) {
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  const grpc::Slice slice(message);
  grpc::ByteBuffer request(&slice, 1), response;
  Mutex mutex;
  CondVar changed;
  bool done = false;
  grpc::Status status;
  stub.UnaryCall(&context, method, {}, &request, &response,
                 [&](grpc::Status s) {
                   MutexLock lock(&mutex);
                   status = std::move(s);
                   done = true;
                   changed.SignalAll();
                 });
  MutexLock lock(&mutex);
  while (!done) changed.Wait(&mutex);
  EXPECT_TRUE(status.ok()) << status.error_message();
  std::vector<grpc::Slice> slices;
  if (!status.ok() || !response.Dump(&slices).ok()) return "";
  std::string bytes;
  for (const auto& slice : slices) {
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return bytes;
}

TEST_F(ServerTest, SaysThatItIsHealthy) {
  Start();
  EXPECT_EQ(Call(channel_, "/grpc.health.v1.Health/Check", ""),
            std::string("\x08\x01"));  // status: SERVING.
}

TEST_F(ServerTest, DescribesItsServicesByReflection) {
  Start();
  const std::string method =
      "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
  // list_services, field 7.
  const std::string services = Call(channel_, method, std::string("\x3a\0", 2));
  for (const char* service : {"hwnas.v1.StudyService", "hwnas.v1.TrialService",
                              "hwnas.v1.FleetService", "hwnas.v1.DeviceService",
                              "grpc.health.v1.Health"}) {
    EXPECT_THAT(services, HasSubstr(service));
  }
  // file_containing_symbol, field 4.
  const std::string symbol = "hwnas.v1.StudyService";
  const std::string file =
      Call(channel_, method,
           "\x22" + std::string(1, static_cast<char>(symbol.size())) + symbol);
  EXPECT_THAT(file, HasSubstr("hwnas/v1/study_service.proto"));
  EXPECT_THAT(file, HasSubstr("WatchStudy"));
}

TEST_F(ServerTest, WritesItsPortsWhenItServes) {
  ServerOptions options = Options();
  options.metrics = "127.0.0.1:0";
  auto server = Server::Start(options, NullLogger());
  ASSERT_TRUE(server.ok()) << server.status();
  const auto text = ReadFile(dir_ + "/ports.json");
  ASSERT_TRUE(text.ok());
  const auto ports = nlohmann::json::parse(*text);
  EXPECT_EQ(ports.at("grpc"), (*server)->address());
  EXPECT_THAT(ports.at("metrics").get<std::string>(), HasSubstr("127.0.0.1:"));
}

TEST_F(ServerTest, SaysWhyItCannotStart) {
  Start();
  const auto error = [&](const ServerOptions& options) {
    const auto server = Server::Start(options, NullLogger());
    EXPECT_FALSE(server.ok());
    return server.status();
  };
  ServerOptions options = Options();
  const absl::Status locked = error(options);
  EXPECT_EQ(locked.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(locked.message()), HasSubstr("another controller"));

  options.store = dir_ + "/other";
  options.listen = server_->address();
  const absl::Status port = error(options);
  EXPECT_EQ(port.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(port.message()), HasSubstr(server_->address()));

  options.listen = "0.0.0.0:0";
  const absl::Status open = error(options);
  EXPECT_EQ(open.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(open.message()), HasSubstr("--insecure"));

  options.listen = "127.0.0.1:99999";
  EXPECT_EQ(error(options).code(), absl::StatusCode::kInvalidArgument);

  options = Options();
  options.store = dir_ + "/file/store";
  std::ofstream(dir_ + "/file") << "in the way";
  EXPECT_THAT(std::string(error(options).message()), HasSubstr("/file"));
  options.store = "";
  EXPECT_THAT(std::string(error(options).message()), HasSubstr("--store"));
}

}  // namespace
}  // namespace hwnas::controller
