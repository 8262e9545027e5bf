// The fleet's service alone, in process, with a clock that the test moves.
#include "controller/rpc/fleet_service.h"

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "prometheus/registry.h"
#include "tests/controller/study/engine_harness.h"

namespace hwnas::controller {
namespace {

using ::testing::HasSubstr;

class FleetServiceTest : public ::testing::Test {
 protected:
  FleetServiceTest()
      : metrics_(std::make_shared<prometheus::Registry>()),
        access_(*Access::Create({}, &harness_.clock, &metrics_, NullLogger())),
        transfers_({}, access_.get(), &harness_.clock),
        service_({.hello_timeout = absl::Seconds(10),
                  .max_upload_memory_bytes = 1000},
                 harness_.engine.get(), &harness_.artifacts, access_.get(),
                 &transfers_, &harness_.clock, &metrics_, NullLogger()) {
    grpc::ServerBuilder builder;
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    stub_ = v1::FleetService::NewStub(server_->InProcessChannel({}));
  }
  ~FleetServiceTest() override {
    service_.CloseAll();
    server_->Shutdown();
    server_->Wait();
  }

  static v1::SessionRequest HelloOf(const std::string& id) {
    v1::SessionRequest request;
    *request.mutable_hello() = WorkerHello(id, "h");
    return request;
  }
  grpc::Status Upload(const std::string& data) {
    grpc::ClientContext context;
    v1::Artifact artifact;
    const auto writer = stub_->UploadArtifact(&context, &artifact);
    v1::ArtifactChunk chunk;
    chunk.set_data(data);
    writer->Write(chunk);
    writer->WritesDone();
    return writer->Finish();
  }

  EngineHarness harness_;
  ControllerMetrics metrics_;
  const std::unique_ptr<Access> access_;
  Transfers transfers_;
  FleetServiceImpl service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<v1::FleetService::Stub> stub_;
};

TEST_F(FleetServiceTest, ClosesAStreamThatDoesNotSayHello) {
  v1::SessionResponse response;
  grpc::ClientContext polite_context, slow_context, silent_context;
  const auto polite = stub_->Session(&polite_context);
  ASSERT_TRUE(polite->Write(HelloOf("polite")));
  ASSERT_TRUE(polite->Read(&response));
  const auto slow = stub_->Session(&slow_context);
  harness_.clock.Advance(absl::Seconds(9));
  service_.Tick();
  ASSERT_TRUE(slow->Write(HelloOf("slow")));
  ASSERT_TRUE(slow->Read(&response));
  EXPECT_TRUE(response.has_welcome());

  const auto silent = stub_->Session(&silent_context);
  std::atomic<bool> ended{false};
  grpc::Status status;
  std::thread reader([&] {
    v1::SessionResponse nothing;
    EXPECT_FALSE(silent->Read(&nothing));
    status = silent->Finish();
    ended = true;
  });
  // The server may take a while to see the stream.
  while (!ended) {
    harness_.clock.Advance(absl::Seconds(11));
    service_.Tick();
    std::this_thread::yield();
  }
  reader.join();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_THAT(status.error_message(), HasSubstr("no Hello within 10s"));

  const auto executors = harness_.engine->ListExecutors({});
  ASSERT_EQ(executors->executors_size(), 2);
  for (const v1::Executor& executor : executors->executors()) {
    EXPECT_EQ(executor.state(), v1::Executor::CONNECTED) << executor.name();
  }
}

TEST_F(FleetServiceTest, AFloodOfProgressHoldsUpNoResult) {
  harness_.Create("s", ToySpec(1));
  // It talks without a pause until the other has its answer.
  std::atomic<bool> answered{false};
  std::vector<std::thread> talkers;
  for (int i = 0; i < 4; ++i) {
    talkers.emplace_back([&, i] {
      grpc::ClientContext context;
      const auto stream = stub_->Session(&context);
      v1::SessionResponse response;
      EXPECT_TRUE(stream->Write(HelloOf(absl::StrCat("talker-", i))));
      EXPECT_TRUE(stream->Read(&response));
      v1::SessionRequest beat;
      for (int task = 0; task < 100; ++task) {
        v1::TaskProgress* progress = beat.mutable_heartbeat()->add_tasks();
        progress->set_note(std::string(100, 'x'));
      }
      while (!answered && stream->Write(beat)) {
        // Each heartbeat of a lease that is not live is answered; it does not
        // read that.
      }
      context.TryCancel();
    });
  }
  grpc::ClientContext context;
  const auto stream = stub_->Session(&context);
  v1::SessionRequest hello;
  *hello.mutable_hello() = AgentHello("a", "h2");
  v1::SessionResponse response;
  ASSERT_TRUE(stream->Write(hello));
  ASSERT_TRUE(stream->Read(&response));
  ASSERT_TRUE(stream->Read(&response));
  ASSERT_TRUE(response.has_assignment());
  v1::SessionRequest request;
  *request.mutable_result() = harness_.Answer(response.assignment());
  ASSERT_TRUE(stream->Write(request));
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_TRUE(response.has_result_ack());
  EXPECT_FALSE(response.result_ack().ignored());
  answered = true;
  for (std::thread& talker : talkers) talker.join();
  context.TryCancel();
}

TEST_F(FleetServiceTest, RefusesAResultBeforeHello) {
  grpc::ClientContext context;
  const auto stream = stub_->Session(&context);
  v1::SessionRequest request;
  request.mutable_result()->mutable_lease()->set_task_id("s/1/train");
  ASSERT_TRUE(stream->Write(request));
  v1::SessionResponse response;
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(FleetServiceTest, BoundsTheMemoryOfUnfinishedUploads) {
  EXPECT_EQ(Upload(std::string(1001, 'x')).error_code(),
            grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_TRUE(Upload(std::string(1000, 'x')).ok());
  grpc::ClientContext context;
  v1::Artifact artifact;
  const auto unfinished = stub_->UploadArtifact(&context, &artifact);
  v1::ArtifactChunk chunk;
  chunk.set_data(std::string(600, 'a'));
  ASSERT_TRUE(unfinished->Write(chunk));
  while (service_.upload_memory_bytes() < 600) std::this_thread::yield();
  const grpc::Status status = Upload(std::string(600, 'b'));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(status.error_message(), HasSubstr("try again"));
  EXPECT_TRUE(Upload(std::string(400, 'b')).ok());
  unfinished->WritesDone();
  EXPECT_TRUE(unfinished->Finish().ok());
  EXPECT_EQ(artifact.size_bytes(), 600);
  EXPECT_TRUE(Upload(std::string(600, 'b')).ok());
}

TEST_F(FleetServiceTest, EndsATransferThatStandsStill) {
  grpc::ClientContext context;
  v1::Artifact artifact;
  const auto upload = stub_->UploadArtifact(&context, &artifact);
  v1::ArtifactChunk chunk;
  chunk.set_data(std::string(300, 'a'));
  for (size_t bytes = 300; bytes <= 900; bytes += 300) {
    ASSERT_TRUE(upload->Write(chunk));
    while (service_.upload_memory_bytes() < bytes) std::this_thread::yield();
    harness_.clock.Advance(absl::Seconds(59));
    transfers_.Tick();
  }
  EXPECT_EQ(service_.upload_memory_bytes(), 900u);
  harness_.clock.Advance(absl::Seconds(2));
  transfers_.Tick();
  EXPECT_EQ(upload->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(FleetServiceTest, CutsOffAClosedSessionThatDoesNotRead) {
  grpc::ClientContext context;
  const auto stream = stub_->Session(&context);
  ASSERT_TRUE(stream->Write(HelloOf("deaf")));
  const auto state = [&] {
    const auto executors = harness_.engine->ListExecutors({});
    return executors->executors_size() == 0 ? v1::Executor::STATE_UNSPECIFIED
                                            : executors->executors(0).state();
  };
  while (state() != v1::Executor::CONNECTED) std::this_thread::yield();
  // It reads neither the welcome nor that the session ends.
  service_.CloseAll();
  while (state() == v1::Executor::CONNECTED) {
    harness_.clock.Advance(absl::Seconds(1));
    service_.Tick();
    std::this_thread::yield();
  }
  context.TryCancel();
}

}  // namespace
}  // namespace hwnas::controller
