#include "controller/rpc/fleet_service.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <functional>
#include <iterator>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "common/digest.h"
#include "common/limits.h"
#include "common/rate_limit.h"
#include "common/status_macros.h"
#include "controller/rpc/reply.h"

namespace hwnas::controller {
namespace {

using Reactor =
    grpc::ServerBidiReactor<v1::SessionRequest, v1::SessionResponse>;

// A peer that does not read what it is sent is cut off beyond this.
constexpr size_t kMaxOutbound = 4096;
// How long a closing stream waits for its last message to leave, so that the
// peer learns why.
constexpr absl::Duration kLastWriteTimeout = absl::Seconds(2);

}  // namespace

// The part of a session that the engine shares; it outlives the reactor if need
// be. Thread-safe.
class SessionStream final : public ExecutorStream {
 public:
  SessionStream(Reactor* reactor, grpc::CallbackServerContext* context,
                absl::Time opened)
      : opened_(opened), reactor_(reactor), context_(context) {}

  void Send(const v1::SessionResponse& message) override {
    MutexLock lock(&mutex_);
    if (closing_ || reactor_ == nullptr) return;
    if (outbound_.size() >= kMaxOutbound) {
      CloseLocked(absl::ResourceExhaustedError(
          "the executor does not read what it is sent"));
      return;
    }
    outbound_.push_back(message);
    if (!writing_) WriteNext();
  }

  void Close(const absl::Status& status) override {
    MutexLock lock(&mutex_);
    CloseLocked(status);
  }

  // Asks for the next message, unless the session is ending.
  void Read(v1::SessionRequest* request) {
    MutexLock lock(&mutex_);
    if (closing_ || reactor_ == nullptr) return;
    reactor_->StartRead(request);
  }

  void OnWriteDone(bool ok) {
    MutexLock lock(&mutex_);
    writing_ = false;
    outbound_.pop_front();
    if (!ok) outbound_.clear();
    if (closing_) {
      FinishLocked();
    } else if (ok && !outbound_.empty()) {
      WriteNext();
    }
  }

  void Detach() {
    MutexLock lock(&mutex_);
    reactor_ = nullptr;
    context_ = nullptr;
  }

  // What is still read must not count any more.
  bool closing() {
    MutexLock lock(&mutex_);
    return closing_;
  }

  // The peer has said something: a Hello, or it is refused for that.
  void MarkHeard() {
    MutexLock lock(&mutex_);
    heard_ = true;
  }
  // Closes a stream that has said nothing, and cuts off a closing one whose
  // peer does not read. Call now and then.
  void CloseIfStuck(absl::Time now, absl::Duration hello_timeout) {
    MutexLock lock(&mutex_);
    if (!heard_ && now - opened_ > hello_timeout) {
      CloseLocked(absl::DeadlineExceededError(absl::StrCat(
          "no Hello within ", absl::FormatDuration(hello_timeout))));
    }
    if (!closing_ || finished_ || context_ == nullptr) return;
    if (!waits_since_) waits_since_ = now;
    if (now - *waits_since_ > kLastWriteTimeout) context_->TryCancel();
  }

 private:
  // gRPC runs the reactions of what is started here later or on other threads,
  // never inside the call: holding the mutex is safe.
  void WriteNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    writing_ = true;
    reactor_->StartWrite(&outbound_.front());
  }
  void CloseLocked(const absl::Status& status)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (closing_) return;
    closing_ = true;
    status_ = status;
    if (!writing_) FinishLocked();
  }
  void FinishLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (finished_ || reactor_ == nullptr) return;
    finished_ = true;
    reactor_->Finish(ToGrpc(status_));
  }

  const absl::Time opened_;
  Mutex mutex_;
  Reactor* reactor_ ABSL_GUARDED_BY(mutex_);
  grpc::CallbackServerContext* context_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::Time> waits_since_ ABSL_GUARDED_BY(mutex_);
  // The front is being written if `writing_`.
  std::deque<v1::SessionResponse> outbound_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  bool heard_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

class SessionReactor;

// What sessions say, on its way to the engine, which may block as reactors must
// not: a thread of its own takes it in. Results go first, as many together as
// are there, so that they share an append; then the rest, for about as long as
// the results took. So neither a flood of heartbeats holds up results nor the
// other way round.
//
// Thread-safe. A session has at most one message here at a time, and lives as
// long as it has.
class SessionInbox {
 public:
  explicit SessionInbox(StudyEngine* engine)
      : engine_(engine), thread_([this] { Loop(); }) {}
  // Takes in what was posted before, then ends the thread.
  ~SessionInbox() {
    {
      MutexLock lock(&mutex_);
      closing_ = true;
      changed_.Signal();
    }
    thread_.join();
  }
  SessionInbox(const SessionInbox&) = delete;
  SessionInbox& operator=(const SessionInbox&) = delete;

  void PostResult(std::shared_ptr<SessionReactor> session) {
    MutexLock lock(&mutex_);
    results_.push_back(std::move(session));
    changed_.Signal();
  }
  // Jobs run in the order of their posts.
  void Post(std::function<void()> job) {
    MutexLock lock(&mutex_);
    jobs_.push_back(std::move(job));
    changed_.Signal();
  }

 private:
  static constexpr size_t kResultsAtOnce = 256;
  static constexpr size_t kJobsAtOnce = 32;
  static constexpr std::chrono::milliseconds kLeastTime{2};

  void Loop();
  // False once there are none and there will be none.
  bool WaitForMessages();
  void TakeInResults();
  // All of them, but once it is `until` only as long as no result waits.
  void RunJobs(std::chrono::steady_clock::time_point until);

  StudyEngine* const engine_;
  Mutex mutex_;
  CondVar changed_;
  std::deque<std::shared_ptr<SessionReactor>> results_ ABSL_GUARDED_BY(mutex_);
  std::deque<std::function<void()>> jobs_ ABSL_GUARDED_BY(mutex_);
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

// One stream. Reads one message at a time; the inbox takes it in and asks for
// the next. Keeps itself until gRPC is done with it.
class SessionReactor final
    : public Reactor,
      public std::enable_shared_from_this<SessionReactor> {
 public:
  SessionReactor(const FleetServiceOptions& options,
                 grpc::CallbackServerContext* context, StudyEngine* engine,
                 Access* access, ControllerMetrics* metrics,
                 SessionInbox* inbox, const Clock* clock,
                 std::shared_ptr<Logger> logger)
      : engine_(engine),
        access_(access),
        caller_(access->CallerOf(*context)),
        metrics_(metrics),
        inbox_(inbox),
        clock_(clock),
        logger_(std::move(logger)),
        stream_(
            std::make_shared<SessionStream>(this, context, clock->Steady())),
        hold_(access->CutWhenInvalid(
            caller_,
            [stream = stream_](const absl::Status& status) {
              stream->Close(status);
            })),
        messages_(options.messages_per_second, options.messages_at_once) {}

  const std::shared_ptr<SessionStream>& stream() const { return stream_; }
  void Begin() {
    self_ = shared_from_this();
    stream_->Read(&request_);
  }

  void OnReadDone(bool ok) override {
    if (ok) stream_->MarkHeard();
    if (stream_->closing()) ok = false;
    if (ok && request_.has_result()) {
      inbox_->PostResult(self_);
      return;
    }
    inbox_->Post([this, self = self_, ok] {
      if (ok) {
        Handled(Dispatch());
      } else {
        // The peer has closed its end, or is gone.
        stream_->Close(absl::OkStatus());
      }
    });
  }
  void OnWriteDone(bool ok) override { stream_->OnWriteDone(ok); }
  void OnCancel() override {
    stream_->Close(absl::CancelledError("the executor left"));
  }
  void OnDone() override {
    hold_ = nullptr;
    stream_->Detach();
    inbox_->Post([this, self = std::move(self_)] {
      if (!session_id_.empty()) engine_->Disconnect(session_id_);
    });
  }

  // The next three are the inbox's. Whether the result that was read may be
  // taken in.
  absl::Status Admit() {
    if (session_id_.empty()) {
      return absl::InvalidArgumentError(
          "the first message of a session must be Hello");
    }
    return TakeToken();
  }
  StudyEngine::SessionResult result() const {
    return {.session_id = session_id_, .result = &request_.result()};
  }
  // The message is done with: asks for the next, or closes.
  void Handled(const absl::Status& status) {
    if (!status.ok()) {
      logger_->warn("event=session_refused session={} code={} reason=\"{}\"",
                    session_id_, absl::StatusCodeToString(status.code()),
                    std::string(status.message()));
      metrics_->RpcError(std::string(absl::StatusCodeToString(status.code())));
      stream_->Close(status);
      return;
    }
    stream_->Read(&request_);
  }

 private:
  absl::Status TakeToken() {
    if (messages_.Take(clock_->Steady())) return absl::OkStatus();
    return absl::ResourceExhaustedError(
        "too many messages: an executor sends a few a second");
  }

  absl::Status Dispatch() {
    HWNAS_RETURN_IF_ERROR(TakeToken());
    if (session_id_.empty()) {
      if (!request_.has_hello()) {
        return absl::InvalidArgumentError(
            "the first message of a session must be Hello");
      }
      HWNAS_RETURN_IF_ERROR(access_->MayConnect(caller_, request_.hello()));
      auto session_id = engine_->Connect(request_.hello(), stream_);
      if (!session_id.ok()) return session_id.status();
      session_id_ = *std::move(session_id);
      return absl::OkStatus();
    }
    switch (request_.message_case()) {
      case v1::SessionRequest::kHeartbeat:
        return engine_->OnHeartbeat(session_id_, request_.heartbeat());
      case v1::SessionRequest::kDrain:
        engine_->OnDrain(session_id_);
        return absl::OkStatus();
      case v1::SessionRequest::kHello:
        return absl::InvalidArgumentError("a session says Hello only once");
      case v1::SessionRequest::kResult:  // See Admit().
      case v1::SessionRequest::MESSAGE_NOT_SET:
        break;
    }
    return absl::OkStatus();  // Of a newer protocol: ignored.
  }

  StudyEngine* const engine_;
  Access* const access_;
  const Access::Caller caller_;
  ControllerMetrics* const metrics_;
  SessionInbox* const inbox_;
  const Clock* const clock_;
  const std::shared_ptr<Logger> logger_;
  const std::shared_ptr<SessionStream> stream_;
  std::unique_ptr<Access::Hold> hold_;
  RateLimit messages_;  // The inbox's thread.
  // The inbox's thread alone uses it, but while gRPC reads into it.
  v1::SessionRequest request_;
  std::string session_id_;
  std::shared_ptr<SessionReactor> self_;
};

void SessionInbox::Loop() {
  while (WaitForMessages()) {
    const auto begin = std::chrono::steady_clock::now();
    TakeInResults();
    // While both keep coming, both get the same time.
    const auto now = std::chrono::steady_clock::now();
    RunJobs(now + std::max<std::chrono::nanoseconds>(now - begin, kLeastTime));
  }
}

bool SessionInbox::WaitForMessages() {
  MutexLock lock(&mutex_);
  while (results_.empty() && jobs_.empty() && !closing_) {
    changed_.Wait(&mutex_);
  }
  return !results_.empty() || !jobs_.empty();
}

void SessionInbox::RunJobs(std::chrono::steady_clock::time_point until) {
  for (;;) {
    std::deque<std::function<void()>> jobs;
    {
      MutexLock lock(&mutex_);
      const bool late = std::chrono::steady_clock::now() >= until;
      if (jobs_.empty() || (late && !results_.empty())) return;
      const size_t count = std::min(jobs_.size(), kJobsAtOnce);
      std::move(jobs_.begin(), jobs_.begin() + count, std::back_inserter(jobs));
      jobs_.erase(jobs_.begin(), jobs_.begin() + count);
    }
    for (const auto& job : jobs) job();
  }
}

void SessionInbox::TakeInResults() {
  std::vector<std::shared_ptr<SessionReactor>> sessions;
  {
    MutexLock lock(&mutex_);
    const size_t count = std::min(results_.size(), kResultsAtOnce);
    std::move(results_.begin(), results_.begin() + count,
              std::back_inserter(sessions));
    results_.erase(results_.begin(), results_.begin() + count);
  }
  if (sessions.empty()) return;
  std::vector<StudyEngine::SessionResult> results;
  std::vector<absl::Status> statuses;
  for (const auto& session : sessions) {
    statuses.push_back(session->Admit());
    if (statuses.back().ok()) results.push_back(session->result());
  }
  engine_->OnResults(results);
  for (size_t i = 0; i < sessions.size(); ++i)
    sessions[i]->Handled(statuses[i]);
}

FleetServiceImpl::FleetServiceImpl(const FleetServiceOptions& options,
                                   StudyEngine* engine,
                                   ArtifactStore* artifacts, Access* access,
                                   Transfers* transfers, const Clock* clock,
                                   ControllerMetrics* metrics,
                                   std::shared_ptr<Logger> logger)
    : options_(options),
      engine_(engine),
      artifacts_(artifacts),
      access_(access),
      transfers_(transfers),
      clock_(clock),
      metrics_(metrics),
      logger_(std::move(logger)),
      inbox_(std::make_unique<SessionInbox>(engine)) {}

FleetServiceImpl::~FleetServiceImpl() = default;

void FleetServiceImpl::Tick() {
  const absl::Time now = clock_->Steady();
  MutexLock lock(&mutex_);
  for (auto it = sessions_.begin(); it != sessions_.end();) {
    if (const auto stream = it->lock()) {
      stream->CloseIfStuck(now, options_.hello_timeout);
      ++it;
    } else {
      it = sessions_.erase(it);
    }
  }
}

void FleetServiceImpl::CloseAll() {
  MutexLock lock(&mutex_);
  for (const auto& session : sessions_) {
    if (const auto stream = session.lock()) {
      stream->Close(absl::UnavailableError("the controller is stopping"));
    }
  }
}

Reactor* FleetServiceImpl::Session(grpc::CallbackServerContext* context) {
  const auto reactor =
      std::make_shared<SessionReactor>(options_, context, engine_, access_,
                                       metrics_, inbox_.get(), clock_, logger_);
  {
    MutexLock lock(&mutex_);
    sessions_.push_back(reactor->stream());
  }
  reactor->Begin();
  return reactor.get();
}

grpc::Status FleetServiceImpl::UploadArtifact(
    grpc::ServerContext* context, grpc::ServerReader<v1::ArtifactChunk>* reader,
    v1::Artifact* response) {
  Transfer transfer(transfers_, context);
  if (const auto fits = transfer.Check(); !fits.ok()) {
    return Reply(metrics_, fits);
  }
  std::string data;
  absl::Cleanup free_memory = [&] { upload_memory_bytes_ -= data.size(); };
  v1::ArtifactChunk chunk;
  while (reader->Read(&chunk)) {
    transfer.Moved();
    if (data.size() + chunk.data().size() > kMaxUploadBytes) {
      return Reply(metrics_, absl::InvalidArgumentError(
                                 absl::StrCat("the artifact is larger than ",
                                              kMaxUploadBytes, " bytes")));
    }
    const size_t all = upload_memory_bytes_ += chunk.data().size();
    data += chunk.data();
    if (all > options_.max_upload_memory_bytes) {
      return Reply(metrics_,
                   absl::ResourceExhaustedError(absl::StrCat(
                       "other uploads take all of the ",
                       options_.max_upload_memory_bytes,
                       " bytes of memory for uploads: try again later")));
    }
  }
  if (context->IsCancelled()) {
    return grpc::Status(grpc::StatusCode::CANCELLED, "the sender left");
  }
  absl::StatusOr<std::string> digest = artifacts_->Put(data);
  if (!digest.ok()) return Reply(metrics_, digest.status());
  engine_->OnArtifact(*digest);
  response->set_digest(*std::move(digest));
  response->set_size_bytes(static_cast<int64_t>(data.size()));
  return grpc::Status::OK;
}

grpc::Status FleetServiceImpl::DownloadArtifact(
    grpc::ServerContext* context, const v1::DownloadArtifactRequest* request,
    grpc::ServerWriter<v1::ArtifactChunk>* writer) {
  Transfer transfer(transfers_, context);
  if (const auto fits = transfer.Check(); !fits.ok()) {
    return Reply(metrics_, fits);
  }
  const absl::StatusOr<std::string> data = artifacts_->Get(request->digest());
  if (!data.ok()) return Reply(metrics_, data.status());
  for (size_t begin = 0; begin < data->size(); begin += kChunkBytes) {
    v1::ArtifactChunk chunk;
    chunk.set_data(data->substr(begin, kChunkBytes));
    if (!writer->Write(chunk)) break;  // The caller left.
    transfer.Moved();
  }
  return grpc::Status::OK;
}

grpc::Status FleetServiceImpl::ListExecutors(
    grpc::ServerContext* context, const v1::ListExecutorsRequest* request,
    v1::ListExecutorsResponse* response) {
  return Reply(metrics_, engine_->ListExecutors(*request), response);
}

}  // namespace hwnas::controller
