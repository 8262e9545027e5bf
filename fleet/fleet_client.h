// The executor's end of FleetService: what a worker and an agent share.
//
//   dial -> Hello -> Welcome -> { assignment -> TaskRunner -> spool -> result
//   -> acknowledged -> unspool }, heartbeats throughout; on a broken stream:
//   keep working, back off with jitter, dial again, name the held leases in
//   Hello.
//
//   fleet::FleetClient client(options, channel, &runner, Clock::Real(),
//   logger); std::thread serving([&] { status = client.Run(); });
//   ... client.Drain();  // On SIGTERM: finishes or hands back, then returns.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/log.h"
#include "grpcpp/channel.h"
#include "hwnas/v1/fleet_service.pb.h"

namespace hwnas::fleet {

// What a running task may ask and say. Thread-safe.
class TaskContext {
 public:
  virtual ~TaskContext() = default;
  // The task should stop within a second: cancelled by the controller, lease
  // lost, or the process is draining without time to finish.
  virtual bool cancelled() const = 0;
  // Sent with the next heartbeat; a newer report replaces an unsent one.
  virtual void ReportEpoch(const v1::EpochReport& epoch) = 0;
  virtual void ReportNote(std::string note) = 0;
  // Stores a file with the controller, retrying while it is away. Returns its
  // digest. CANCELLED if the task is cancelled meanwhile.
  virtual absl::StatusOr<std::string> UploadArtifact(
      absl::string_view data) = 0;
  // Reads a file back, retrying while the controller is away. NOT_FOUND if it
  // is not stored (any more). CANCELLED if the task is cancelled meanwhile.
  virtual absl::StatusOr<std::string> DownloadArtifact(
      const std::string& digest) = 0;
};

// Does the work. Must outlive the client.
class TaskRunner {
 public:
  virtual ~TaskRunner() = default;
  // Called in one thread per slot. Fills everything of the result but the lease
  // and the times. Must not throw. After cancellation the result is ignored.
  virtual v1::TaskResult Run(const v1::Task& task, TaskContext& context) = 0;
  // The result is in the spool: what was kept in case this process died before
  // may go. Called by the same thread. Must not throw.
  virtual void OnSpooled(const v1::Task& task, const v1::TaskResult& result) {}
};

struct FleetClientOptions {
  // Everything but held_leases and incarnation, which the client fills in.
  v1::Hello hello;
  // Unacknowledged results are kept here across restarts. Created if missing.
  // Belongs to this process alone.
  std::string spool_dir;
  absl::Duration min_backoff = absl::Milliseconds(100);
  absl::Duration max_backoff = absl::Seconds(15);
  // On Drain(): how long running tasks may go on before they are cancelled and
  // handed back.
  absl::Duration drain_grace = absl::Seconds(0);
  // When leaving: how long to wait for outstanding acknowledgements. Results
  // without one stay in the spool for the next start.
  absl::Duration leave_timeout = absl::Seconds(5);
  // How long ALREADY_EXISTS is retried before it is final: a controller needs a
  // moment to notice that an earlier process of the same id is gone.
  absl::Duration duplicate_grace = absl::Seconds(30);
  // A session without Welcome for this long is given up and dialled anew.
  absl::Duration welcome_timeout = absl::Seconds(30);
  // The machine as it is now, for a heartbeat every `environment_interval`.
  // Called by the thread of Run(). Null: heartbeats do not tell it.
  std::function<v1::Environment()> read_environment;
  absl::Duration environment_interval = absl::Seconds(30);
};

// Thread-safe.
class FleetClient {
 public:
  // `runner`, `clock` must outlive the client.
  FleetClient(FleetClientOptions options,
              std::shared_ptr<grpc::Channel> channel, TaskRunner* runner,
              const Clock* clock, std::shared_ptr<Logger> logger);
  ~FleetClient();

  // Serves until Drain() or a permanent error (e.g. INVALID_ARGUMENT or
  // ALREADY_EXISTS for the Hello; UNAVAILABLE is never permanent).
  absl::Status Run();

  // Ends Run() soon; callable from any thread, also before Run().
  void Drain();

  // Snapshot for metrics.
  struct Stats {
    bool connected = false;
    int running_tasks = 0;
    int64_t finished_tasks = 0;
    int64_t failed_tasks = 0;
    int64_t reconnects = 0;
    int64_t spooled_results = 0;
    // Since the thread of Run() last came round: seconds, or less than a minute
    // while a peer vanishes. More: it hangs, or a peer lives but takes nothing.
    absl::Duration silence;
  };
  Stats stats() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hwnas::fleet
