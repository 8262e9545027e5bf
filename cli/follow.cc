#include "cli/follow.h"

#include <algorithm>
#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "common/mutex.h"
#include "common/status_macros.h"

namespace hwnas::cli {
namespace {

// The streaming thread and what it hands over. Thread-safe.
class Stream {
 public:
  Stream(Client* client, std::string name, bool wait_for_controller)
      : client_(*client),
        name_(std::move(name)),
        connected_once_(wait_for_controller),
        thread_([this] { Loop(); }) {}

  ~Stream() {
    {
      MutexLock lock(&mutex_);
      stopping_ = true;
      if (call_ != nullptr) call_->TryCancel();
      changed_.SignalAll();
    }
    thread_.join();
  }

  struct State {
    std::deque<v1::StudyUpdate> updates;
    bool connected = false;
    std::optional<absl::Status> end;  // The thread has ended.
  };

  // What came since the last call; waits up to `timeout` if nothing did.
  State Take(absl::Duration timeout) {
    MutexLock lock(&mutex_);
    if (updates_.empty() && !end_) changed_.WaitWithTimeout(&mutex_, timeout);
    State state;
    state.updates = std::exchange(updates_, {});
    state.connected = connected_;
    state.end = end_;
    return state;
  }

 private:
  void Loop() {
    absl::Duration backoff = absl::Milliseconds(200);
    for (;;) {
      grpc::ClientContext call;
      {
        MutexLock lock(&mutex_);
        if (stopping_) return;
        call_ = &call;
      }
      v1::WatchStudyRequest request;
      request.set_name(name_);
      auto reader = client_.studies().WatchStudy(&call, request);
      v1::StudyUpdate update;
      bool ended = false;
      while (reader->Read(&update)) {
        backoff = absl::Milliseconds(200);
        ended = update.study().state() == v1::Study::COMPLETED ||
                update.study().state() == v1::Study::CANCELLED;
        MutexLock lock(&mutex_);
        connected_ = connected_once_ = true;
        // A stalled terminal must not fill our memory: the newest counts.
        if (updates_.size() > 10'000) updates_.pop_front();
        updates_.push_back(std::move(update));
        changed_.SignalAll();
      }
      const absl::Status status = client_.ToStatus(reader->Finish());
      MutexLock lock(&mutex_);
      call_ = nullptr;
      connected_ = false;
      if (stopping_) return;
      const bool transient =
          status.ok() || absl::IsUnavailable(status) ||
          absl::IsInternal(status) || absl::IsUnknown(status) ||
          absl::IsAborted(status) || absl::IsCancelled(status);
      if ((status.ok() && ended) || !transient ||
          (!status.ok() && !connected_once_)) {
        end_ = status;
        changed_.SignalAll();
        return;
      }
      changed_.SignalAll();
      const absl::Time again = absl::Now() + backoff;
      backoff = std::min(backoff * 2, absl::Seconds(2));
      while (!stopping_ && absl::Now() < again) {
        changed_.WaitWithTimeout(&mutex_, again - absl::Now());
      }
    }
  }

  Client& client_;
  const std::string name_;

  Mutex mutex_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  grpc::ClientContext* call_ ABSL_GUARDED_BY(mutex_) = nullptr;
  std::deque<v1::StudyUpdate> updates_ ABSL_GUARDED_BY(mutex_);
  bool connected_ ABSL_GUARDED_BY(mutex_) = false;
  bool connected_once_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mutex_);

  std::thread thread_;  // Last: it uses everything above.
};

}  // namespace

absl::StatusOr<v1::Study> FollowStudy(Client* client, const std::string& name,
                                      LiveDisplay* display,
                                      const FollowOptions& options) {
  Stream stream(client, name, options.wait_for_controller);
  absl::Time lost = absl::InfiniteFuture();
  for (;;) {
    HWNAS_RETURN_IF_ERROR(options.on_tick());
    Stream::State state = stream.Take(absl::Milliseconds(100));
    const absl::Time now = absl::Now();
    for (const v1::StudyUpdate& update : state.updates) {
      display->Update(update, now);
    }
    if (state.end) {
      HWNAS_RETURN_IF_ERROR(*state.end);
      display->Finish(now);
      return display->state().study();
    }
    // A short gap is not worth a word.
    lost = state.connected ? absl::InfiniteFuture() : std::min(lost, now);
    if (now - lost > absl::Seconds(1)) {
      display->SetNotice(absl::StrCat("no answer from the controller at ",
                                      client->address(), ": trying again"),
                         now);
    } else if (state.connected) {
      display->SetNotice("", now);
    }
    display->Tick(now);
  }
}

}  // namespace hwnas::cli
