// Sets the clock governor of cores to "performance" for a while, and undoes it
// for certain: what was there before is on disk, synced, before the first
// change.
//
//   HWNAS_ASSIGN_OR_RETURN(auto pinned, control.SetPerformance({2, 3}));
//   ... measure ...
//   HWNAS_RETURN_IF_ERROR(pinned.Restore());
//
// Whoever dies in between is undone by the next RestoreLeftOver() with the same
// record.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace hwnas::agent {

// Thread-compatible.
class GovernorControl {
 public:
  // `record`: a file of ours alone; its folder exists. /proc and /sys are
  // looked for below `root`.
  explicit GovernorControl(std::string record, const std::string& root = "/");

  // FAILED_PRECONDITION, with the reason, if the governor of one of `cores`
  // cannot be set here.
  absl::Status Check(const std::vector<int>& cores) const;

  // Restores when it goes out of scope, unless Restore() has.
  class Pinned {
   public:
    Pinned(Pinned&& other) noexcept
        : control_(std::exchange(other.control_, nullptr)) {}
    Pinned& operator=(Pinned&&) = delete;
    ~Pinned() { Restore().IgnoreError(); }
    // An error names what could not be restored; the record stays then.
    absl::Status Restore();

   private:
    friend class GovernorControl;
    explicit Pinned(GovernorControl* control) : control_(control) {}
    GovernorControl* control_;
  };
  // FAILED_PRECONDITION if it cannot be set, or another process that lives has
  // it set. The control must outlive the result.
  absl::StatusOr<Pinned> SetPerformance(const std::vector<int>& cores);

  // Undoes what a process that is gone has left. Returns the cores that were
  // restored. Nothing if that process still lives, or if the machine has been
  // started anew since then, which forgets governors.
  absl::StatusOr<std::vector<int>> RestoreLeftOver();

 private:
  struct Record;

  std::string GovernorFile(int core) const;
  absl::StatusOr<std::string> Read(int core) const;
  absl::Status Write(int core, const std::string& governor) const;
  absl::StatusOr<Record> ReadRecord() const;
  absl::StatusOr<std::vector<int>> Undo(const Record& record);
  std::string BootId() const;
  // Start time of a process in ticks; empty if there is none.
  std::string StartTime(const std::string& pid) const;

  const std::string record_;
  const std::string root_;
};

}  // namespace hwnas::agent
