// The workers and agents that the controller knows: their sessions, counters
// and quarantine.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "controller/scheduler/scheduler.h"
#include "hwnas/v1/fleet_service.pb.h"

namespace hwnas::controller {

// The controller's end of one session. Thread-safe; no method blocks or calls
// back into its caller.
class ExecutorStream {
 public:
  virtual ~ExecutorStream() = default;
  virtual void Send(const v1::SessionResponse& message) = 0;
  // Ends the session; later Sends are dropped.
  virtual void Close(const absl::Status& status) = 0;
};

struct QuarantineOptions {
  // Different candidates failed in a row before a machine is quarantined.
  int failures = 3;
  // Different candidates in a row that it said were at fault, and nobody else
  // did: one of many poisoned candidates is a matter of the space, ten in a row
  // are one of the machine.
  int blames = 10;
  // The first time; each further one doubles it.
  absl::Duration first = absl::Seconds(30);
  absl::Duration longest = absl::Hours(1);
};

struct Executor {
  std::string name;  // "workers/w1": the key.
  v1::Hello hello;
  // What the scheduler sees of it. `accepts` and what follows from the farm and
  // from running tasks are as Fleet::Snapshot was asked last.
  ExecutorSnapshot snapshot;
  const TaskCount* running = nullptr;  // Of RunningTasks; not null.
  std::string session_id;
  std::shared_ptr<ExecutorStream> stream;  // nullptr: lost.
  bool draining = false;
  absl::Time connect_time;
  absl::Time last_seen;
  int64_t finished_count = 0;
  int64_t failed_count = 0;
  // Whether the latest attempts failed, newest last.
  std::deque<bool> failures;

  // Distinct trials that failed here since the last success.
  std::set<std::string> failed_in_row;
  // Those of which it alone said that they were at fault.
  std::set<std::string> blamed_in_row;
  int quarantine_count = 0;
  absl::Time quarantine_end = absl::InfinitePast();  // Clock::Steady.
  std::string quarantine_reason;

  // Tasks handed back untouched since the last result: it gets no more for a
  // moment that doubles, so that nobody plays ping-pong with the journal.
  int hand_backs = 0;
  absl::Time rest_end = absl::InfinitePast();  // Clock::Steady.

  // Incarnations that another process of the same id has replaced.
  std::deque<std::string> replaced;

  bool connected() const { return stream != nullptr; }
  bool quarantined(absl::Time steady) const { return steady < quarantine_end; }
  v1::Executor::State state(absl::Time steady) const;
  // Of the last kRatedAttempts; nullopt before the first.
  static constexpr size_t kRatedAttempts = 100;
  std::optional<double> FailureRate() const;
  void Rate(bool failed);
};

// Not thread-safe: the engine guards it.
class Fleet {
 public:
  // Executors that are known at once, connected or lost.
  static constexpr size_t kMaxExecutors = 16384;
  // Lost executors are forgotten after this long.
  static constexpr absl::Duration kForgetAfter = absl::Hours(1);

  // `running` must outlive it.
  Fleet(QuarantineOptions options, RunningTasks* running)
      : options_(options), running_(running) {}

  // INVALID_ARGUMENT names the field of the Hello. Everything in it is bounded.
  static absl::Status CheckHello(const v1::Hello& hello);
  static absl::Status CheckEnvironment(const v1::Environment& environment);
  // "workers/{id}" or "agents/{id}".
  static std::string NameOf(const v1::Hello& hello);

  // A new session. One of the same id that is still open is closed: with
  // ALREADY_EXISTS if it is of another process (which cannot come back), else
  // with ABORTED. `*other_incarnation`: what was known before was another
  // process. ALREADY_EXISTS if this process has been replaced before.
  absl::StatusOr<Executor*> Connect(const v1::Hello& hello,
                                    std::shared_ptr<ExecutorStream> stream,
                                    absl::Time now, bool* other_incarnation);
  // Of a session that is not the executor's present one: nothing happens.
  void Disconnect(const std::string& session_id, absl::Time now);

  // It takes no more tasks in this session.
  void Drain(Executor& executor);

  // nullptr if there is none, or none with that session.
  Executor* FindSession(const std::string& session_id);
  Executor* Find(const std::string& name);

  void RecordSuccess(Executor& executor);
  // `trial` names the candidate. Returns true if the executor is quarantined
  // now.
  bool RecordFailure(Executor& executor, const std::string& trial,
                     const std::string& error, absl::Time steady);

  // The same of an executor that says that the candidate is at fault.
  bool RecordBlame(Executor& executor, const std::string& trial,
                   const std::string& error, absl::Time steady);
  // Another one says so too: that speaks for both.
  void ForgetBlame(Executor& executor, const std::string& trial);

  void EndQuarantine(Executor& executor);

  void RecordHandBack(Executor& executor, absl::Time steady);

  // Forgets executors lost for long, but those that have a running task.
  // Times named `steady` are Clock::Steady.
  void Forget(absl::Time now, absl::Time steady);

  // Of all executors, in order of their names; they stay where they are as long
  // as their executors are known.
  std::vector<ExecutorSnapshot*> Snapshot(absl::Time steady);
  // Slots of connected executors that take tasks.
  int slots() const { return slots_; }
  const std::map<std::string, Executor>& executors() const {
    return executors_;
  }

 private:
  // One more attempt that did not succeed, of those `in_row`: with `most` of
  // them the executor is quarantined, for what `say` says of so many. Returns
  // true if it is now.
  bool Record(Executor& executor, std::set<std::string>* in_row, int most,
              const std::string& trial, const std::string& error,
              absl::Time steady, absl::FunctionRef<std::string(int)> say);
  void Quarantine(Executor& executor, const std::string& reason,
                  absl::Time steady);
  static int OpenSlots(const Executor& executor) {
    return executor.connected() && !executor.draining ? executor.hello.slots()
                                                      : 0;
  }

  // Sets `in_order_`, and gives the hosts their numbers.
  void Arrange();

  const QuarantineOptions options_;
  RunningTasks* const running_;
  std::map<std::string, Executor> executors_;
  // All of them, as Snapshot goes through them: thousands, for each round of
  // the scheduler. Empty: to be arranged.
  std::vector<Executor*> in_order_;
  absl::flat_hash_map<std::string, Executor*> sessions_;
  int64_t last_session_ = 0;
  int slots_ = 0;
};

}  // namespace hwnas::controller
