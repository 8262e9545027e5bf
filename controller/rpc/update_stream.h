// A call that streams updates to one client, fed by the engine.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "common/mutex.h"
#include "controller/rpc/access.h"
#include "controller/rpc/serial_queue.h"
#include "grpcpp/grpcpp.h"
#include "proto/convert/grpc_status.h"
#include "security/identity.h"

namespace hwnas::controller {

// A reactor that writes one message at a time and never blocks gRPC's threads:
// it asks Next() for messages on a SerialQueue, whenever it was poked and
// nothing is being written. Deletes itself behind the last job that names it.
// Derived constructors post their first job to the queue as their last step.
template <typename Message>
class UpdateStream : public grpc::ServerWriteReactor<Message> {
 public:
  void OnWriteDone(bool ok) final {
    {
      MutexLock lock(&mutex_);
      writing_ = false;
      if (!ok) cancelled_ = true;
    }
    Poke();
  }
  void OnCancel() final {
    {
      MutexLock lock(&mutex_);
      cancelled_ = true;
    }
    Poke();
  }
  void OnDone() final {
    hold_ = nullptr;
    // Behind every job that still names us.
    queue_->Post([this] { delete this; });
  }

 protected:
  // `queue` must outlive the stream, and so does `context`.
  UpdateStream(SerialQueue* queue, grpc::CallbackServerContext* context)
      : queue_(queue), context_(context) {}
  ~UpdateStream() override = default;

  // Ends the stream when the caller's certificate does. In the first job, when
  // all of the stream is there to be called. `access` must outlive it.
  void HoldWhileValid(Access* access) {
    const Access::Caller caller = access->CallerOf(*context_);
    if (caller) caller_ = ToText(caller->identity);
    hold_ = access->CutWhenInvalid(
        caller, [this](const absl::Status& status) { Cut(status); });
  }
  // Whose certificate that is; empty without TLS. On the queue.
  const std::string& caller() const { return caller_; }

  // Something may be there to write. Any thread. At most one Pump waits in the
  // queue.
  void Poke() {
    MutexLock lock(&mutex_);
    if (poked_ || finished_) return;
    poked_ = true;
    queue_->Post([this] { Pump(); });
  }

  // Ends the call. On the queue.
  void End(const grpc::Status& status) {
    Release();
    MutexLock lock(&mutex_);
    if (finished_) return;
    finished_ = true;
    this->Finish(status);
  }

 private:
  // Fills in the next message and returns true; or returns false if there is
  // none now, setting `*end` if there will be none any more. On the queue.
  virtual bool Next(Message* message, std::optional<grpc::Status>* end) = 0;
  // No more calls of Poke() from the engine after this. On the queue.
  virtual void Release() = 0;

  void Cut(const absl::Status& status) {
    {
      MutexLock lock(&mutex_);
      cut_ = status;
      // Whoever does not read would hold up the end for ever.
      if (writing_) context_->TryCancel();
    }
    Poke();
  }

  void Pump() {
    bool cancelled = false;
    absl::Status cut;
    {
      MutexLock lock(&mutex_);
      poked_ = false;
      if (writing_ || finished_) return;
      cancelled = cancelled_;
      cut = cut_;
    }
    if (!cut.ok()) {
      End(ToGrpc(cut));
      return;
    }
    if (cancelled) {
      End(grpc::Status(grpc::StatusCode::CANCELLED, "the caller left"));
      return;
    }
    std::optional<grpc::Status> end;
    if (!Next(&message_, &end)) {
      if (end) End(*end);
      return;
    }
    MutexLock lock(&mutex_);
    writing_ = true;
    this->StartWrite(&message_);
  }

  SerialQueue* const queue_;
  grpc::CallbackServerContext* const context_;
  // Used on the queue, but while gRPC writes it.
  Message message_;

  Mutex mutex_;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  bool poked_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status cut_ ABSL_GUARDED_BY(mutex_);
  // Made on the queue.
  std::string caller_;
  std::unique_ptr<Access::Hold> hold_;
};

}  // namespace hwnas::controller
