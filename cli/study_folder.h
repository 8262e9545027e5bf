// The folder in which `hwnas run` keeps one study:
//
//   run.lock     held while a run uses the folder
//   study.json   the study it belongs to
//   store/       the controller's journal.db and artifacts
//   logs/        controller.log, worker.log, agent.log
//   spool/       results not yet acknowledged
//   front.csv front.json trials.csv trials.json best.onnx report.html
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hwnas/v1/study.pb.h"

namespace hwnas::cli {

// Writes study.json: what `study` means, defaults filled in, without its
// description.
absl::Status WriteStudyJson(const std::string& folder,
                            const v1::StudyFile& study);

// Owns the lock: one at a time for a folder, across processes. Not thread-safe.
class StudyFolder {
 public:
  // Creates the folder if needed and locks it. FAILED_PRECONDITION if another
  // run holds it; INVALID_ARGUMENT if it holds another study or other files.
  // With `fresh`, what an earlier run left is deleted first.
  static absl::StatusOr<std::unique_ptr<StudyFolder>> Open(
      const std::string& path, const v1::StudyFile& study, bool fresh);
  ~StudyFolder();
  StudyFolder(const StudyFolder&) = delete;
  StudyFolder& operator=(const StudyFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string Path(const std::string& name) const { return path_ + "/" + name; }
  // An earlier run was here.
  bool resumed() const { return resumed_; }

 private:
  StudyFolder(std::string path, int lock_fd)
      : path_(std::move(path)), lock_fd_(lock_fd) {}

  const std::string path_;
  const int lock_fd_;
  bool resumed_ = false;
};

}  // namespace hwnas::cli
