// A controller's FleetService that does exactly what the test tells it.
//
//   FakeController controller;
//   FleetClient client(options, controller.Channel(), &runner, ...);
//   std::thread serving([&] { client.Run(); });
//   auto session = controller.Accept();     // Its Hello has arrived.
//   session->Welcome();
//   session->Assign(task);
//   v1::TaskResult result = session->NextResult();
//   session->Ack(result.lease());
//
// Waiting ends with a test failure after ten seconds.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/digest.h"
#include "common/limits.h"
#include "common/mutex.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "hwnas/v1/fleet_service.grpc.pb.h"

namespace hwnas {

inline constexpr absl::Duration kFakeTimeout = absl::Seconds(10);

// One stream. Thread-safe.
class FakeSession {
 public:
  using Stream =
      grpc::ServerReaderWriter<v1::SessionResponse, v1::SessionRequest>;

  FakeSession(v1::Hello hello, Stream* stream, grpc::ServerContext* context)
      : hello_(std::move(hello)), stream_(stream), context_(context) {}

  const v1::Hello& hello() const { return hello_; }

  void Send(const v1::SessionResponse& response) {
    MutexLock lock(&mutex_);
    if (stream_ != nullptr) stream_->Write(response);
  }
  void Welcome(absl::Duration heartbeat = absl::Milliseconds(20),
               const std::vector<v1::LeaseKey>& dropped = {}) {
    v1::SessionResponse response;
    v1::Welcome& welcome = *response.mutable_welcome();
    welcome.set_session_id("fake");
    welcome.mutable_heartbeat_interval()->set_seconds(
        absl::ToInt64Seconds(heartbeat));
    welcome.mutable_heartbeat_interval()->set_nanos(static_cast<int>(
        absl::ToInt64Nanoseconds(heartbeat % absl::Seconds(1))));
    for (const v1::LeaseKey& lease : dropped) {
      *welcome.add_dropped_leases() = lease;
    }
    Send(response);
  }
  void Assign(const v1::Task& task) {
    v1::SessionResponse response;
    *response.mutable_assignment() = task;
    Send(response);
  }
  void Ack(const v1::LeaseKey& lease) {
    v1::SessionResponse response;
    *response.mutable_result_ack()->mutable_lease() = lease;
    Send(response);
  }
  void Cancel(const v1::LeaseKey& lease, const std::string& reason) {
    v1::SessionResponse response;
    *response.mutable_cancel()->mutable_lease() = lease;
    response.mutable_cancel()->set_reason(reason);
    Send(response);
  }
  void Drain() {
    v1::SessionResponse response;
    response.mutable_drain();
    Send(response);
  }
  // Breaks the stream.
  void Cut() {
    MutexLock lock(&mutex_);
    if (context_ != nullptr) context_->TryCancel();
  }

  // The next message that `wanted` accepts; others before it are dropped.
  template <typename Predicate>
  std::optional<v1::SessionRequest> Next(Predicate wanted) {
    const absl::Time deadline = absl::Now() + kFakeTimeout;
    MutexLock lock(&mutex_);
    for (;;) {
      while (!inbox_.empty()) {
        v1::SessionRequest message = std::move(inbox_.front());
        inbox_.pop_front();
        if (wanted(message)) return message;
      }
      if (stream_ == nullptr || absl::Now() >= deadline) return std::nullopt;
      changed_.WaitWithTimeout(&mutex_, deadline - absl::Now());
    }
  }
  v1::TaskResult NextResult() {
    const auto message =
        Next([](const v1::SessionRequest& m) { return m.has_result(); });
    EXPECT_TRUE(message.has_value()) << "no result arrived";
    return message ? message->result() : v1::TaskResult();
  }
  // The next heartbeat in which a task satisfies `wanted`.
  template <typename Predicate>
  v1::TaskProgress NextProgress(Predicate wanted) {
    v1::TaskProgress found;
    const auto message = Next([&](const v1::SessionRequest& m) {
      for (const v1::TaskProgress& progress : m.heartbeat().tasks()) {
        if (wanted(progress)) {
          found = progress;
          return true;
        }
      }
      return false;
    });
    EXPECT_TRUE(message.has_value()) << "no such heartbeat arrived";
    return found;
  }
  bool WaitForDrainNotice() {
    return Next([](const v1::SessionRequest& m) { return m.has_drain(); })
        .has_value();
  }
  bool WaitForEnd() {
    const absl::Time deadline = absl::Now() + kFakeTimeout;
    MutexLock lock(&mutex_);
    while (stream_ != nullptr && absl::Now() < deadline) {
      changed_.WaitWithTimeout(&mutex_, deadline - absl::Now());
    }
    return stream_ == nullptr;
  }

 private:
  friend class FakeFleetService;
  void Receive(const v1::SessionRequest& message) {
    MutexLock lock(&mutex_);
    inbox_.push_back(message);
    changed_.SignalAll();
  }
  void End() {
    MutexLock lock(&mutex_);
    stream_ = nullptr;
    context_ = nullptr;
    changed_.SignalAll();
  }

  const v1::Hello hello_;
  Mutex mutex_;
  CondVar changed_;
  Stream* stream_ ABSL_GUARDED_BY(mutex_);
  grpc::ServerContext* context_ ABSL_GUARDED_BY(mutex_);
  std::deque<v1::SessionRequest> inbox_ ABSL_GUARDED_BY(mutex_);
};

// Thread-safe.
class FakeFleetService final : public v1::FleetService::Service {
 public:
  grpc::Status Session(grpc::ServerContext* context,
                       FakeSession::Stream* stream) override {
    v1::SessionRequest message;
    if (!stream->Read(&message) || !message.has_hello()) {
      return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT,
                          "expected Hello first");
    }
    auto session =
        std::make_shared<FakeSession>(message.hello(), stream, context);
    {
      MutexLock lock(&mutex_);
      if (!refusals_.empty()) {
        const grpc::Status status = refusals_.front();
        refusals_.pop_front();
        return status;
      }
      accepted_.push_back(session);
      changed_.SignalAll();
    }
    while (stream->Read(&message)) session->Receive(message);
    session->End();
    return grpc::Status::OK;
  }

  grpc::Status UploadArtifact(grpc::ServerContext* context,
                              grpc::ServerReader<v1::ArtifactChunk>* reader,
                              v1::Artifact* artifact) override {
    std::string data;
    v1::ArtifactChunk chunk;
    while (reader->Read(&chunk)) {
      EXPECT_LE(chunk.data().size(), kChunkBytes);
      data += chunk.data();
    }
    MutexLock lock(&mutex_);
    ++uploads_;
    changed_.SignalAll();
    if (!upload_refusals_.empty()) {
      const grpc::Status status = upload_refusals_.front();
      // The last one stays.
      if (upload_refusals_.size() > 1 || !refuse_uploads_for_ever_) {
        upload_refusals_.pop_front();
      }
      return status;
    }
    artifact->set_digest(Sha256Hex(data));
    artifact->set_size_bytes(static_cast<int64_t>(data.size()));
    artifacts_.push_back(std::move(data));
    return grpc::Status::OK;
  }

  grpc::Status DownloadArtifact(
      grpc::ServerContext* context, const v1::DownloadArtifactRequest* request,
      grpc::ServerWriter<v1::ArtifactChunk>* writer) override {
    std::string found;
    {
      MutexLock lock(&mutex_);
      if (!download_refusals_.empty()) {
        const grpc::Status status = download_refusals_.front();
        download_refusals_.pop_front();
        return status;
      }
      for (const std::string& data : artifacts_) {
        if (Sha256Hex(data) == request->digest()) found = data;
      }
    }
    if (found.empty()) {
      return grpc::Status(grpc::StatusCode::NOT_FOUND, request->digest());
    }
    v1::ArtifactChunk chunk;
    for (size_t at = 0; at < found.size(); at += kChunkBytes) {
      chunk.set_data(found.substr(at, kChunkBytes));
      writer->Write(chunk);
    }
    return grpc::Status::OK;
  }

  // The next Session ends with this, before Welcome.
  void Refuse(grpc::Status status) {
    MutexLock lock(&mutex_);
    refusals_.push_back(std::move(status));
  }
  void RefuseUpload(grpc::Status status, bool for_ever = false) {
    MutexLock lock(&mutex_);
    upload_refusals_.push_back(std::move(status));
    refuse_uploads_for_ever_ = for_ever;
  }
  void RefuseDownload(grpc::Status status) {
    MutexLock lock(&mutex_);
    download_refusals_.push_back(std::move(status));
  }
  bool WaitForUploads(int count) {
    const absl::Time deadline = absl::Now() + kFakeTimeout;
    MutexLock lock(&mutex_);
    while (uploads_ < count && absl::Now() < deadline) {
      changed_.WaitWithTimeout(&mutex_, deadline - absl::Now());
    }
    return uploads_ >= count;
  }
  std::vector<std::string> artifacts() {
    MutexLock lock(&mutex_);
    return artifacts_;
  }

  std::shared_ptr<FakeSession> Accept() {
    const absl::Time deadline = absl::Now() + kFakeTimeout;
    MutexLock lock(&mutex_);
    while (accepted_.empty() && absl::Now() < deadline) {
      changed_.WaitWithTimeout(&mutex_, deadline - absl::Now());
    }
    if (accepted_.empty()) {
      ADD_FAILURE() << "nobody said Hello";
      return nullptr;
    }
    auto session = std::move(accepted_.front());
    accepted_.pop_front();
    return session;
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  std::deque<std::shared_ptr<FakeSession>> accepted_ ABSL_GUARDED_BY(mutex_);
  std::deque<grpc::Status> refusals_ ABSL_GUARDED_BY(mutex_);
  std::deque<grpc::Status> upload_refusals_ ABSL_GUARDED_BY(mutex_);
  std::deque<grpc::Status> download_refusals_ ABSL_GUARDED_BY(mutex_);
  bool refuse_uploads_for_ever_ ABSL_GUARDED_BY(mutex_) = false;
  int uploads_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<std::string> artifacts_ ABSL_GUARDED_BY(mutex_);
};

// The service on a server of its own, on a free loopback port.
class FakeController {
 public:
  explicit FakeController(int port = 0) {
    grpc::ServerBuilder builder;
    builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
    builder.AddListeningPort("127.0.0.1:" + std::to_string(port),
                             grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
  }
  ~FakeController() { server_->Shutdown(std::chrono::system_clock::now()); }

  int port() const { return port_; }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  std::shared_ptr<grpc::Channel> Channel() {
    return server_->InProcessChannel({});
  }
  FakeFleetService& service() { return service_; }
  std::shared_ptr<FakeSession> Accept() { return service_.Accept(); }

 private:
  FakeFleetService service_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
};

}  // namespace hwnas
