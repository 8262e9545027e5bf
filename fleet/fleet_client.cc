#include "fleet/fleet_client.h"

#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/digest.h"
#include "common/limits.h"
#include "common/mutex.h"
#include "common/status_macros.h"
#include "fleet/result_spool.h"
#include "grpcpp/client_context.h"
#include "grpcpp/support/sync_stream.h"
#include "hwnas/v1/fleet_service.grpc.pb.h"
#include "proto/convert/grpc_status.h"

namespace hwnas::fleet {
namespace {

using Steady = std::chrono::steady_clock;
using Stream =
    grpc::ClientReaderWriter<v1::SessionRequest, v1::SessionResponse>;

constexpr int kProtocolVersion = 1;
constexpr int kMaxSlots = 256;
// Assignments may overtake the end of the tasks that they follow; more than
// this many are handed back.
constexpr size_t kMaxQueued = 64;
constexpr size_t kMaxTaskIdBytes = 1024;
constexpr absl::Duration kDefaultHeartbeat = absl::Seconds(10);
// Run() comes round at least so often, to be seen alive.
constexpr absl::Duration kMaxWait = absl::Seconds(10);
// New epochs are told at once, but not more often than ten times in the
// interval that the controller asks for, within these bounds: a thousand quick
// trainings are no flood.
constexpr absl::Duration kLeastHeartbeatGap = absl::Milliseconds(50);
constexpr absl::Duration kMostHeartbeatGap = absl::Seconds(1);
// A result must leave room for the message around it.
constexpr size_t kMaxResultBytes = kMaxMessageBytes - 4096;

Steady::time_point After(absl::Duration wait) {
  // Far away, but without overflow.
  return Steady::now() +
         absl::ToChronoNanoseconds(std::min(wait, absl::Hours(24 * 365)));
}

absl::Duration Until(Steady::time_point when) {
  return absl::FromChrono(when - Steady::now());
}

google::protobuf::Timestamp ToTimestamp(absl::Time time) {
  google::protobuf::Timestamp proto;
  const int64_t seconds = absl::ToUnixSeconds(time);
  proto.set_seconds(seconds);
  proto.set_nanos(static_cast<int32_t>(
      absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(seconds))));
  return proto;
}

// For logs: one line, bounded.
std::string Quoted(absl::string_view text) {
  std::string quoted = "\"";
  for (const char c : text.substr(0, 500)) {
    quoted += c == '"' ? '\'' : static_cast<unsigned char>(c) < ' ' ? ' ' : c;
  }
  return quoted + "\"";
}

// Trying again, unchanged, cannot help.
bool IsPermanent(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kUnimplemented:
      return true;
    default:
      return false;
  }
}

// Exponential, with full jitter (Brooker, "Exponential Backoff And Jitter",
// 2015): many executors that lost one controller do not come back in step.
class Backoff {
 public:
  Backoff(absl::Duration min, absl::Duration max) : min_(min), max_(max) {}
  void Reset() { ceiling_ = absl::ZeroDuration(); }
  absl::Duration Next() {
    ceiling_ = std::min(max_, std::max(min_, ceiling_ * 2));
    return ceiling_ *
           std::uniform_real_distribution<double>(0, 1)(random_device_);
  }

 private:
  const absl::Duration min_, max_;
  absl::Duration ceiling_;
  std::random_device random_device_;
};

std::string RandomIncarnation() {
  std::random_device random;
  return absl::StrFormat("%08x%08x%08x%08x", random(), random(), random(),
                         random());
}

// Why a task must stop.
enum class Stop { kNone, kCancelled, kDropped, kShutdown };

// A lease in hand, from its assignment until the runner has returned.
struct Job {
  explicit Job(v1::Task assigned)
      : task(std::move(assigned)), id(LeaseId(task.lease())) {
    *progress.mutable_lease() = task.lease();
    progress.set_note("queued");
  }

  const v1::Task task;
  const std::string id;
  std::atomic<bool> stopping{false};
  // The runner has been told to stop, so what it returns is not a result.
  std::atomic<bool> stop_seen{false};

  // The rest is guarded by Impl::mutex_.
  bool running = false;
  Stop stop = Stop::kNone;
  std::string stop_reason;
  v1::TaskProgress progress;
  grpc::ClientContext* transfer = nullptr;  // Of an artifact.
};

// A result that is not acknowledged.
struct Pending {
  v1::LeaseKey lease;
  std::string id;
  // Unset if it is in the spool.
  std::optional<v1::TaskResult> in_memory;
  // Of this process, so its lease should stay alive.
  bool own = true;
  // In the present session.
  bool sent = false;
};

}  // namespace

class FleetClient::Impl {
 public:
  Impl(FleetClientOptions options, std::shared_ptr<grpc::Channel> channel,
       TaskRunner* runner, const Clock* clock, std::shared_ptr<Logger> logger)
      : options_(std::move(options)),
        stub_(v1::FleetService::NewStub(std::move(channel))),
        runner_(runner),
        clock_(clock),
        logger_(std::move(logger)),
        incarnation_(RandomIncarnation()) {}

  absl::Status Run();
  void Drain();
  Stats stats() const;

 private:
  class Context;

  // Slot threads.
  void RunSlot();
  v1::TaskResult RunTask(const std::shared_ptr<Job>& job);
  void FinishJob(const std::shared_ptr<Job>& job, v1::TaskResult result);
  absl::Status Transfer(
      Job& job, const char* what, absl::Duration timeout,
      const std::function<absl::Status(grpc::ClientContext&)>& attempt);
  absl::StatusOr<std::string> Upload(Job& job, absl::string_view data);
  absl::StatusOr<std::string> Download(Job& job, const std::string& digest);

  // The thread of Run().
  absl::Status Serve();
  // One stream, from Hello until it ends. `*welcomed` tells whether the
  // controller took us.
  absl::Status RunSession(bool* welcomed);
  void WriteMessages(Stream& stream, grpc::ClientContext& context);
  v1::Hello BuildHello() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  v1::Heartbeat BuildHeartbeat() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Pending* NextUnsent() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<v1::TaskResult> LoadResult(const v1::LeaseKey& lease)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Everything is done or handed back, or there is no use in waiting longer.
  bool MayLeave() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void StopIfGraceIsOver() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Waits for a change, at most until `deadline`.
  void WaitUntil(Steady::time_point deadline)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // The reading thread of a session. False: the peer breaks the protocol.
  bool Handle(v1::SessionResponse& message);
  void OnWelcome(const v1::Welcome& welcome);
  void OnAssignment(v1::Task task);
  void OnAck(const v1::ResultAck& ack);
  void OnCancel(const v1::CancelTask& cancel);
  void OnDrainRequest();

  void StopJob(Job& job, Stop stop, std::string reason)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void StopTaking(absl::string_view why) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // A result that was never worked for, so it need not survive a crash.
  void Refuse(const v1::LeaseKey& lease, std::string error, bool handed_back)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // At most one of each lease.
  void AddPending(Pending pending) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::deque<Pending>::iterator FindPending(const std::string& id)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const FleetClientOptions options_;
  const std::unique_ptr<v1::FleetService::Stub> stub_;
  TaskRunner* const runner_;
  const Clock* const clock_;
  const std::shared_ptr<Logger> logger_;
  const std::string incarnation_;
  // Set in Run() before any other thread starts.
  std::unique_ptr<ResultSpool> spool_;

  mutable Mutex mutex_;
  CondVar changed_;
  std::map<std::string, std::shared_ptr<Job>> jobs_ ABSL_GUARDED_BY(mutex_);
  std::deque<std::shared_ptr<Job>> queue_ ABSL_GUARDED_BY(mutex_);
  std::deque<Pending> pending_ ABSL_GUARDED_BY(mutex_);
  // No new tasks any more; Run() ends when those in hand are done.
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  // By Drain(), not by the controller.
  bool told_to_leave_ ABSL_GUARDED_BY(mutex_) = false;
  Steady::time_point grace_end_ ABSL_GUARDED_BY(mutex_) =
      Steady::time_point::max();
  // Since when nothing but acknowledgements is missing.
  std::optional<Steady::time_point> idle_since_ ABSL_GUARDED_BY(mutex_);
  // Slot threads end when the queue is empty.
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;

  // Of the present session.
  bool welcomed_ ABSL_GUARDED_BY(mutex_) = false;
  bool stream_ended_ ABSL_GUARDED_BY(mutex_) = true;
  absl::Duration heartbeat_interval_ ABSL_GUARDED_BY(mutex_) =
      kDefaultHeartbeat;
  bool progress_is_new_ ABSL_GUARDED_BY(mutex_) = false;

  Steady::time_point last_turn_ ABSL_GUARDED_BY(mutex_) = Steady::now();
  int64_t welcomes_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t finished_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t failed_ ABSL_GUARDED_BY(mutex_) = 0;
};

// What a runner sees of its job.
class FleetClient::Impl::Context final : public TaskContext {
 public:
  Context(Impl& impl, Job& job) : impl_(impl), job_(job) {}

  bool cancelled() const override {
    if (!job_.stopping.load(std::memory_order_acquire)) return false;
    job_.stop_seen.store(true, std::memory_order_release);
    return true;
  }
  void ReportEpoch(const v1::EpochReport& epoch) override {
    MutexLock lock(&impl_.mutex_);
    *job_.progress.mutable_epoch() = epoch;
    *job_.progress.add_epochs() = epoch;
    impl_.progress_is_new_ = true;
    impl_.changed_.SignalAll();
  }
  void ReportNote(std::string note) override {
    MutexLock lock(&impl_.mutex_);
    job_.progress.set_note(std::move(note));
  }
  absl::StatusOr<std::string> UploadArtifact(absl::string_view data) override {
    return impl_.Upload(job_, data);
  }
  absl::StatusOr<std::string> DownloadArtifact(
      const std::string& digest) override {
    return impl_.Download(job_, digest);
  }

 private:
  Impl& impl_;
  Job& job_;
};

// ---- Run ----

absl::Status FleetClient::Impl::Run() {
  const int slots = options_.hello.slots();
  if (slots < 1 || slots > kMaxSlots) {
    return absl::InvalidArgumentError(
        absl::StrCat("slots is ", slots, ": expected 1 to ", kMaxSlots));
  }
  HWNAS_ASSIGN_OR_RETURN(spool_,
                         ResultSpool::Open(options_.spool_dir, logger_));
  {
    MutexLock lock(&mutex_);
    for (const v1::LeaseKey& lease : spool_->found()) {
      pending_.push_back({.lease = lease, .id = LeaseId(lease), .own = false});
    }
    if (!pending_.empty()) {
      logger_->info("event=spool_found results={} folder={}", pending_.size(),
                    options_.spool_dir);
    }
  }
  std::vector<std::thread> threads;
  for (int i = 0; i < slots; ++i) threads.emplace_back([this] { RunSlot(); });
  const absl::Status status = Serve();
  {
    MutexLock lock(&mutex_);
    StopTaking("the executor is leaving");
    for (auto& [id, job] : jobs_) {
      StopJob(*job, Stop::kShutdown, "the executor is leaving");
    }
    closing_ = true;
    changed_.SignalAll();
  }
  for (std::thread& thread : threads) thread.join();
  return status;
}

absl::Status FleetClient::Impl::Serve() {
  Backoff backoff(options_.min_backoff, options_.max_backoff);
  const Steady::time_point duplicate_deadline = After(options_.duplicate_grace);
  for (;;) {
    {
      MutexLock lock(&mutex_);
      last_turn_ = Steady::now();
      StopIfGraceIsOver();
      if (MayLeave()) return absl::OkStatus();
    }
    const Steady::time_point begin = Steady::now();
    bool welcomed = false;
    const absl::Status status = RunSession(&welcomed);
    if (!welcomed) {
      if (IsPermanent(status)) return status;
      if (absl::IsAlreadyExists(status) &&
          Steady::now() >= duplicate_deadline) {
        return status;
      }
    } else if (Steady::now() - begin >= std::chrono::seconds(1)) {
      backoff.Reset();
    }
    MutexLock lock(&mutex_);
    if (MayLeave()) return absl::OkStatus();
    const absl::Duration pause = backoff.Next();
    logger_->log(welcomed ? spdlog::level::warn : spdlog::level::info,
                 "event=disconnected welcomed={} code={} reason={} retry_ms={}",
                 welcomed, absl::StatusCodeToString(status.code()),
                 Quoted(status.message()), absl::ToInt64Milliseconds(pause));
    const Steady::time_point end = After(pause);
    while (Steady::now() < end && !MayLeave()) {
      StopIfGraceIsOver();
      WaitUntil(end);
    }
  }
}

absl::Status FleetClient::Impl::RunSession(bool* welcomed) {
  grpc::ClientContext context;
  const std::unique_ptr<Stream> stream = stub_->Session(&context);
  v1::SessionRequest first;
  {
    MutexLock lock(&mutex_);
    *first.mutable_hello() = BuildHello();
    welcomed_ = false;
    stream_ended_ = false;
    for (Pending& pending : pending_) pending.sent = false;
  }
  std::thread reader([&] {
    v1::SessionResponse message;
    while (stream->Read(&message)) {
      if (!Handle(message)) {
        context.TryCancel();
        break;
      }
    }
    MutexLock lock(&mutex_);
    stream_ended_ = true;
    changed_.SignalAll();
  });
  if (stream->Write(first)) WriteMessages(*stream, context);
  reader.join();
  const grpc::Status status = stream->Finish();
  MutexLock lock(&mutex_);
  *welcomed = welcomed_;
  welcomed_ = false;
  return FromGrpc(status);
}

// Returns when the stream has ended, or is being cancelled.
void FleetClient::Impl::WriteMessages(Stream& stream,
                                      grpc::ClientContext& context) {
  const Steady::time_point welcome_deadline = After(options_.welcome_timeout);
  Steady::time_point last_heartbeat = Steady::now();
  Steady::time_point next_environment = last_heartbeat;
  bool drain_told = false;
  for (;;) {
    v1::SessionRequest message;
    std::optional<v1::LeaseKey> to_load;
    {
      MutexLock lock(&mutex_);
      for (;;) {
        last_turn_ = Steady::now();
        if (stream_ended_) return;
        StopIfGraceIsOver();
        if (MayLeave()) break;
        if (!welcomed_) {
          if (Steady::now() >= welcome_deadline) {
            logger_->warn("event=no_welcome after_s={}",
                          absl::ToDoubleSeconds(options_.welcome_timeout));
            context.TryCancel();
            return;
          }
          WaitUntil(welcome_deadline);
          continue;
        }
        if (draining_ && !drain_told) {
          drain_told = true;
          message.mutable_drain();
          break;
        }
        if (Pending* pending = NextUnsent()) {
          pending->sent = true;
          if (pending->in_memory) {
            *message.mutable_result() = *pending->in_memory;
          } else {
            to_load = pending->lease;
          }
          break;
        }
        const Steady::time_point due =
            last_heartbeat +
            absl::ToChronoNanoseconds(
                progress_is_new_ ? std::min(std::clamp(heartbeat_interval_ / 10,
                                                       kLeastHeartbeatGap,
                                                       kMostHeartbeatGap),
                                            heartbeat_interval_)
                                 : heartbeat_interval_);
        if (Steady::now() >= due) {
          *message.mutable_heartbeat() = BuildHeartbeat();
          last_heartbeat = Steady::now();
          break;
        }
        WaitUntil(due);
      }
      if (MayLeave()) break;
    }
    if (to_load) {
      absl::StatusOr<v1::TaskResult> result = LoadResult(*to_load);
      if (!result.ok()) continue;
      *message.mutable_result() = *std::move(result);
    }
    if (message.has_heartbeat() && options_.read_environment &&
        Steady::now() >= next_environment) {
      next_environment = After(options_.environment_interval);
      *message.mutable_heartbeat()->mutable_environment() =
          options_.read_environment();
    }
    if (!stream.Write(message)) return;
  }
  // Leave politely; but a peer that does not answer cannot hold us.
  stream.WritesDone();
  MutexLock lock(&mutex_);
  const Steady::time_point end = After(absl::Seconds(1));
  while (!stream_ended_ && Steady::now() < end) {
    changed_.WaitWithTimeout(&mutex_, Until(end));
  }
  if (!stream_ended_) context.TryCancel();
}

v1::Hello FleetClient::Impl::BuildHello() const {
  v1::Hello hello = options_.hello;
  hello.set_incarnation(incarnation_);
  hello.set_protocol_version(kProtocolVersion);
  hello.clear_held_leases();
  for (const auto& [id, job] : jobs_) {
    if (job->stop != Stop::kDropped) {
      *hello.add_held_leases() = job->task.lease();
    }
  }
  for (const Pending& pending : pending_) {
    *hello.add_held_leases() = pending.lease;
  }
  return hello;
}

v1::Heartbeat FleetClient::Impl::BuildHeartbeat() {
  v1::Heartbeat heartbeat;
  for (const auto& [id, job] : jobs_) {
    if (job->stop == Stop::kNone) *heartbeat.add_tasks() = job->progress;
    job->progress.clear_epochs();
  }
  for (const Pending& pending : pending_) {
    if (!pending.own) continue;
    v1::TaskProgress& progress = *heartbeat.add_tasks();
    *progress.mutable_lease() = pending.lease;
    progress.set_note("finished");
  }
  progress_is_new_ = false;
  return heartbeat;
}

Pending* FleetClient::Impl::NextUnsent() {
  for (Pending& pending : pending_) {
    if (!pending.sent) return &pending;
  }
  return nullptr;
}

absl::StatusOr<v1::TaskResult> FleetClient::Impl::LoadResult(
    const v1::LeaseKey& lease) {
  absl::StatusOr<v1::TaskResult> result = spool_->Get(lease);
  if (!result.ok()) {
    logger_->warn("event=result_lost lease={} reason={}", LeaseId(lease),
                  Quoted(result.status().message()));
    MutexLock lock(&mutex_);
    const auto it = FindPending(LeaseId(lease));
    if (it != pending_.end()) pending_.erase(it);
  }
  return result;
}

bool FleetClient::Impl::MayLeave() {
  if (!draining_ || !jobs_.empty()) return false;
  if (pending_.empty()) return true;
  if (!idle_since_) idle_since_ = Steady::now();
  const bool all_on_disk =
      std::none_of(pending_.begin(), pending_.end(),
                   [](const Pending& p) { return p.in_memory.has_value(); });
  // The next start sends them.
  if (told_to_leave_ && !welcomed_ && all_on_disk) return true;
  return Steady::now() - *idle_since_ >=
         absl::ToChronoNanoseconds(options_.leave_timeout);
}

void FleetClient::Impl::StopIfGraceIsOver() {
  if (!told_to_leave_ || Steady::now() < grace_end_) return;
  for (auto& [id, job] : jobs_) {
    StopJob(*job, Stop::kShutdown, "the executor is shutting down");
  }
}

void FleetClient::Impl::WaitUntil(Steady::time_point deadline) {
  deadline = std::min(deadline, grace_end_ > Steady::now()
                                    ? grace_end_
                                    : Steady::time_point::max());
  if (idle_since_) {
    deadline = std::min(deadline, *idle_since_ + absl::ToChronoNanoseconds(
                                                     options_.leave_timeout));
  }
  const absl::Duration wait = std::min(Until(deadline), kMaxWait);
  if (wait > absl::ZeroDuration()) changed_.WaitWithTimeout(&mutex_, wait);
}

// ---- From the controller ----

bool FleetClient::Impl::Handle(v1::SessionResponse& message) {
  bool welcomed;
  {
    MutexLock lock(&mutex_);
    welcomed = welcomed_;
  }
  if (!welcomed && !message.has_welcome()) {
    logger_->warn(
        "event=protocol_error what=\"expected Welcome as the first message, "
        "got another\"");
    return false;
  }
  switch (message.message_case()) {
    case v1::SessionResponse::kWelcome:
      OnWelcome(message.welcome());
      break;
    case v1::SessionResponse::kAssignment:
      // Not copied: it may hold a model of many megabytes.
      OnAssignment(std::move(*message.mutable_assignment()));
      break;
    case v1::SessionResponse::kResultAck:
      OnAck(message.result_ack());
      break;
    case v1::SessionResponse::kCancel:
      OnCancel(message.cancel());
      break;
    case v1::SessionResponse::kDrain:
      OnDrainRequest();
      break;
    case v1::SessionResponse::MESSAGE_NOT_SET:
      // From a newer controller.
      logger_->warn("event=unknown_message");
      break;
  }
  return true;
}

void FleetClient::Impl::OnWelcome(const v1::Welcome& welcome) {
  MutexLock lock(&mutex_);
  const absl::Duration wanted =
      absl::Seconds(welcome.heartbeat_interval().seconds()) +
      absl::Nanoseconds(welcome.heartbeat_interval().nanos());
  heartbeat_interval_ =
      wanted > absl::ZeroDuration()
          ? std::clamp(wanted, absl::Milliseconds(10), absl::Minutes(5))
          : kDefaultHeartbeat;
  welcomed_ = true;
  ++welcomes_;
  // What changed while away is told at once.
  progress_is_new_ = progress_is_new_ || !jobs_.empty();
  logger_->info(
      "event=connected session={} incarnation={} heartbeat_s={} "
      "held={} dropped={}",
      Quoted(welcome.session_id()), incarnation_,
      absl::ToDoubleSeconds(heartbeat_interval_),
      jobs_.size() + pending_.size(), welcome.dropped_leases_size());
  // Finished results are sent nevertheless: late is better than lost, and the
  // controller knows a duplicate when it sees one.
  for (const v1::LeaseKey& lease : welcome.dropped_leases()) {
    const auto it = jobs_.find(LeaseId(lease));
    if (it != jobs_.end()) {
      StopJob(*it->second, Stop::kDropped, "the lease was lost");
    }
  }
  changed_.SignalAll();
}

void FleetClient::Impl::OnAssignment(v1::Task task) {
  const v1::LeaseKey lease = task.lease();
  if (lease.task_id().empty() || lease.task_id().size() > kMaxTaskIdBytes ||
      lease.attempt() < 1) {
    logger_->warn(
        "event=malformed_assignment what=\"a lease needs a task_id of 1 to {} "
        "bytes and an attempt from 1\" task_id_bytes={} attempt={}",
        kMaxTaskIdBytes, lease.task_id().size(), lease.attempt());
    return;
  }
  auto job = std::make_shared<Job>(std::move(task));
  MutexLock lock(&mutex_);
  if (jobs_.contains(job->id)) return;
  if (const auto it = FindPending(job->id); it != pending_.end()) {
    it->sent = false;
    changed_.SignalAll();
    return;
  }
  if (draining_) {
    Refuse(lease, "the executor takes no new tasks: it is shutting down", true);
    return;
  }
  if (jobs_.size() >= options_.hello.slots() + kMaxQueued ||
      pending_.size() >= ResultSpool::kMaxResults) {
    Refuse(lease, "the executor has more tasks than it can hold", true);
    return;
  }
  if (job->task.work_case() == v1::Task::WORK_NOT_SET) {
    ++failed_;
    Refuse(lease,
           "the task names no work that this version knows: expected train or "
           "measure",
           false);
    return;
  }
  logger_->info("event=assigned lease={} trial={}", Quoted(job->id),
                Quoted(job->task.trial()));
  jobs_.emplace(job->id, job);
  queue_.push_back(std::move(job));
  changed_.SignalAll();
}

void FleetClient::Impl::OnAck(const v1::ResultAck& ack) {
  bool in_spool = false;
  {
    MutexLock lock(&mutex_);
    const auto it = FindPending(LeaseId(ack.lease()));
    if (it == pending_.end()) return;
    in_spool = !it->in_memory.has_value();
    pending_.erase(it);
    changed_.SignalAll();
  }
  if (in_spool) spool_->Remove(ack.lease());
  logger_->debug("event=acknowledged lease={} ignored={}",
                 Quoted(LeaseId(ack.lease())), ack.ignored());
}

void FleetClient::Impl::OnCancel(const v1::CancelTask& cancel) {
  MutexLock lock(&mutex_);
  const auto it = jobs_.find(LeaseId(cancel.lease()));
  if (it == jobs_.end()) return;
  const std::shared_ptr<Job> job = it->second;
  logger_->info("event=cancelled lease={} reason={}", Quoted(job->id),
                Quoted(cancel.reason()));
  const std::string reason = absl::StrCat("cancelled by the controller: ",
                                          cancel.reason().substr(0, 500));
  if (job->running) {
    StopJob(*job, Stop::kCancelled, reason);
    return;
  }
  queue_.erase(std::find(queue_.begin(), queue_.end(), job));
  jobs_.erase(it);
  Refuse(job->task.lease(), reason, true);
}

void FleetClient::Impl::OnDrainRequest() {
  MutexLock lock(&mutex_);
  if (!draining_) logger_->info("event=drain by=controller");
  StopTaking("the executor was asked to drain");
}

// ---- Stopping ----

void FleetClient::Impl::Drain() {
  MutexLock lock(&mutex_);
  if (told_to_leave_) return;
  logger_->info("event=drain by=operator running={}", jobs_.size());
  told_to_leave_ = true;
  grace_end_ = After(options_.drain_grace);
  StopTaking("the executor is shutting down");
  StopIfGraceIsOver();
}

void FleetClient::Impl::StopTaking(absl::string_view why) {
  draining_ = true;
  while (!queue_.empty()) {
    const std::shared_ptr<Job> job = std::move(queue_.front());
    queue_.pop_front();
    jobs_.erase(job->id);
    if (job->stop != Stop::kDropped) {
      Refuse(job->task.lease(), std::string(why), true);
    }
  }
  changed_.SignalAll();
}

void FleetClient::Impl::StopJob(Job& job, Stop stop, std::string reason) {
  // Only a lost lease outweighs an earlier reason.
  if (job.stop == Stop::kNone || stop == Stop::kDropped) {
    job.stop = stop;
    job.stop_reason = std::move(reason);
  }
  job.stopping.store(true, std::memory_order_release);
  if (job.transfer != nullptr) job.transfer->TryCancel();
  changed_.SignalAll();
}

void FleetClient::Impl::Refuse(const v1::LeaseKey& lease, std::string error,
                               bool handed_back) {
  v1::TaskResult result;
  *result.mutable_lease() = lease;
  result.set_error(std::move(error));
  result.set_handed_back(handed_back);
  logger_->info("event=refused lease={} reason={}", Quoted(LeaseId(lease)),
                Quoted(result.error()));
  AddPending({.lease = lease, .id = LeaseId(lease), .in_memory = result});
}

void FleetClient::Impl::AddPending(Pending pending) {
  const auto it = FindPending(pending.id);
  if (it != pending_.end()) {
    *it = std::move(pending);
  } else {
    pending_.push_back(std::move(pending));
  }
  changed_.SignalAll();
}

std::deque<Pending>::iterator FleetClient::Impl::FindPending(
    const std::string& id) {
  return std::find_if(pending_.begin(), pending_.end(),
                      [&](const Pending& p) { return p.id == id; });
}

// ---- Work ----

void FleetClient::Impl::RunSlot() {
  for (;;) {
    std::shared_ptr<Job> job;
    {
      MutexLock lock(&mutex_);
      while (queue_.empty() && !closing_) changed_.Wait(&mutex_);
      if (queue_.empty()) return;
      job = std::move(queue_.front());
      queue_.pop_front();
      job->running = true;
      job->progress.set_note("");
    }
    FinishJob(job, RunTask(job));
    // An idle executor keeps nothing of a large task.
    job.reset();
    malloc_trim(0);
  }
}

v1::TaskResult FleetClient::Impl::RunTask(const std::shared_ptr<Job>& job) {
  const absl::Time started = clock_->Now();
  v1::TaskResult result;
  if (!job->stopping.load(std::memory_order_acquire)) {
    Context context(*this, *job);
    try {
      result = runner_->Run(job->task, context);
    } catch (const std::exception& error) {
      result.set_error(absl::StrCat("the task failed: ", error.what()));
    } catch (...) {
      result.set_error("the task failed without a reason");
    }
  } else {
    job->stop_seen = true;
  }
  *result.mutable_lease() = job->task.lease();
  *result.mutable_started() = ToTimestamp(started);
  *result.mutable_executed() = ToTimestamp(clock_->Now());
  if (result.ByteSizeLong() > kMaxResultBytes) {
    v1::TaskResult too_large;
    *too_large.mutable_lease() = result.lease();
    *too_large.mutable_started() = result.started();
    *too_large.mutable_executed() = result.executed();
    too_large.set_error(absl::StrCat("the result has ", result.ByteSizeLong(),
                                     " bytes: at most ", kMaxResultBytes,
                                     " can be sent"));
    return too_large;
  }
  return result;
}

void FleetClient::Impl::FinishJob(const std::shared_ptr<Job>& job,
                                  v1::TaskResult result) {
  {
    MutexLock lock(&mutex_);
    if (job->stop == Stop::kDropped) {
      logger_->info("event=dropped lease={}", Quoted(job->id));
      jobs_.erase(job->id);
      changed_.SignalAll();
      return;
    }
    // A runner that finished without having been asked to stop has a result.
    if (job->stop != Stop::kNone &&
        (job->stop_seen || job->stop == Stop::kCancelled)) {
      v1::TaskResult handed_back;
      *handed_back.mutable_lease() = result.lease();
      *handed_back.mutable_started() = result.started();
      *handed_back.mutable_executed() = result.executed();
      handed_back.set_error(job->stop_reason);
      handed_back.set_handed_back(true);
      result = std::move(handed_back);
    } else {
      ++(result.error().empty() ? finished_ : failed_);
    }
  }
  const absl::Status spooled = spool_->Put(result);
  if (!spooled.ok()) {
    logger_->error(
        "event=spool_failed lease={} reason={} what=\"the result is kept in "
        "memory only\"",
        Quoted(job->id), Quoted(spooled.message()));
  } else {
    runner_->OnSpooled(job->task, result);
  }
  logger_->info("event=finished lease={} handed_back={} error={}",
                Quoted(job->id), result.handed_back(), Quoted(result.error()));
  MutexLock lock(&mutex_);
  jobs_.erase(job->id);
  Pending pending = {.lease = result.lease(), .id = job->id};
  if (!spooled.ok()) pending.in_memory = std::move(result);
  AddPending(std::move(pending));
}

// Tries until it succeeds, fails for good, or the job is stopped.
absl::Status FleetClient::Impl::Transfer(
    Job& job, const char* what, absl::Duration timeout,
    const std::function<absl::Status(grpc::ClientContext&)>& attempt) {
  Backoff backoff(options_.min_backoff, options_.max_backoff);
  for (;;) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() +
                         absl::ToChronoSeconds(timeout));
    {
      MutexLock lock(&mutex_);
      if (job.stop != Stop::kNone) {
        job.stop_seen = true;
        return absl::CancelledError(absl::StrCat("cancelled during ", what));
      }
      job.transfer = &context;
    }
    const absl::Status status = attempt(context);
    MutexLock lock(&mutex_);
    job.transfer = nullptr;
    if (status.ok() || IsPermanent(status) || absl::IsNotFound(status)) {
      return status;
    }
    const absl::Duration pause = backoff.Next();
    logger_->warn("event=transfer_retry lease={} code={} reason={} retry_ms={}",
                  Quoted(job.id), absl::StatusCodeToString(status.code()),
                  Quoted(status.message()), absl::ToInt64Milliseconds(pause));
    const Steady::time_point end = After(pause);
    while (job.stop == Stop::kNone && Steady::now() < end) {
      changed_.WaitWithTimeout(&mutex_, Until(end));
    }
  }
}

absl::StatusOr<std::string> FleetClient::Impl::Upload(Job& job,
                                                      absl::string_view data) {
  if (data.size() > kMaxUploadBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("the artifact has ", data.size(), " bytes: at most ",
                     kMaxUploadBytes, " can be uploaded"));
  }
  const std::string digest = Sha256Hex(data);
  HWNAS_RETURN_IF_ERROR(Transfer(
      job, "an upload",
      absl::Seconds(60) + absl::Seconds(data.size() / kChunkBytes),
      [&](grpc::ClientContext& context) {
        v1::Artifact stored;
        const auto writer = stub_->UploadArtifact(&context, &stored);
        v1::ArtifactChunk chunk;
        bool open = true;
        for (size_t at = 0; open && at < data.size(); at += kChunkBytes) {
          const absl::string_view part = data.substr(at, kChunkBytes);
          chunk.set_data(part.data(), part.size());
          open = writer->Write(chunk);
        }
        if (open) writer->WritesDone();
        absl::Status status = FromGrpc(writer->Finish());
        if (status.ok() && stored.digest() != digest) {
          status = absl::DataLossError(absl::StrCat("the controller stored \"",
                                                    stored.digest(),
                                                    "\" instead of ", digest));
        }
        return status;
      }));
  return digest;
}

absl::StatusOr<std::string> FleetClient::Impl::Download(
    Job& job, const std::string& digest) {
  std::string data;
  HWNAS_RETURN_IF_ERROR(Transfer(
      job, "a download",
      absl::Seconds(60) + absl::Seconds(kMaxArtifactBytes / kChunkBytes),
      [&](grpc::ClientContext& context) {
        data.clear();
        v1::DownloadArtifactRequest request;
        request.set_digest(digest);
        const auto reader = stub_->DownloadArtifact(&context, request);
        v1::ArtifactChunk chunk;
        while (reader->Read(&chunk)) {
          if (data.size() + chunk.data().size() >
              static_cast<size_t>(kMaxArtifactBytes)) {
            context.TryCancel();
            reader->Finish();
            return absl::InvalidArgumentError(
                absl::StrCat("artifact ", digest, " has more than ",
                             kMaxArtifactBytes, " bytes"));
          }
          data += chunk.data();
        }
        return FromGrpc(reader->Finish());
      }));
  if (Sha256Hex(data) != digest) {
    return absl::DataLossError(absl::StrCat(
        "the controller sent something else as artifact ", digest));
  }
  return data;
}

FleetClient::Stats FleetClient::Impl::stats() const {
  MutexLock lock(&mutex_);
  Stats stats;
  stats.connected = welcomed_;
  stats.running_tasks = static_cast<int>(jobs_.size() - queue_.size());
  stats.finished_tasks = finished_;
  stats.failed_tasks = failed_;
  stats.reconnects = std::max<int64_t>(0, welcomes_ - 1);
  stats.silence = absl::FromChrono(Steady::now() - last_turn_);
  stats.spooled_results = static_cast<int64_t>(pending_.size());
  return stats;
}

FleetClient::FleetClient(FleetClientOptions options,
                         std::shared_ptr<grpc::Channel> channel,
                         TaskRunner* runner, const Clock* clock,
                         std::shared_ptr<Logger> logger)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(channel),
                                   runner, clock, std::move(logger))) {}

FleetClient::~FleetClient() = default;

absl::Status FleetClient::Run() { return impl_->Run(); }

void FleetClient::Drain() { impl_->Drain(); }

FleetClient::Stats FleetClient::stats() const { return impl_->stats(); }

}  // namespace hwnas::fleet
