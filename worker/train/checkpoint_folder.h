// A folder of interrupted trainings, for one worker or shared by many.
//
// A file is "{training}.{owner}.ckpt": what is trained, as a hash, and who
// wrote it. So two workers at one training (one of them has lost its lease and
// does not know yet) never write the same file, on whatever file system. Each
// reads all of them and goes on from the furthest.
//
// A checkpoint only saves time. Whatever goes wrong here is logged, and the
// training goes on without.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/log.h"
#include "common/mutex.h"
#include "worker/train/checkpoint.h"

namespace hwnas::worker {

struct CheckpointFolderOptions {
  // Created when it is first needed.
  std::string path;
  // 1 to 63 of [a-z0-9-]; no other process that uses the folder has it.
  std::string owner;
  // Of all files together, looked at once a minute; the oldest go first.
  int64_t max_bytes = int64_t{10} << 30;
  // What nobody has written for so long goes.
  absl::Duration max_age = absl::Hours(14 * 24);
};

// Thread-safe.
class CheckpointFolder {
 public:
  CheckpointFolder(CheckpointFolderOptions options,
                   std::shared_ptr<Logger> logger);

  // The furthest checkpoint of the training with at most `max_epochs` epochs. A
  // file that is damaged, or of something else than its name says, is renamed
  // to "*.bad".
  std::optional<Checkpoint> Find(absl::string_view fingerprint, int max_epochs)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Replaces our own checkpoint of the training.
  void Save(absl::string_view fingerprint, const Checkpoint& checkpoint)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // The training is done: nobody's checkpoint of it is needed any more.
  void Remove(absl::string_view fingerprint) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void MakeRoom() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Says once what went wrong, until something else does.
  void Complain(const char* event, const std::string& reason)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const CheckpointFolderOptions options_;
  const std::shared_ptr<Logger> logger_;
  // Held while files are read and written: slots of one process may train the
  // same network.
  Mutex mutex_;
  absl::Time next_clearing_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  std::string complaint_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace hwnas::worker
