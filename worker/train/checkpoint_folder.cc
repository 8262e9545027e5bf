#include "worker/train/checkpoint_folder.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "common/digest.h"
#include "common/files.h"
#include "common/limits.h"

namespace hwnas::worker {
namespace {

namespace fs = std::filesystem;

constexpr size_t kNameDigits = 32;
constexpr absl::Duration kClearingInterval = absl::Minutes(1);
// A file half written is there for a moment, unless its writer died.
constexpr absl::Duration kMaxPartAge = absl::Hours(1);

std::string NameOf(absl::string_view fingerprint) {
  return Sha256Hex(fingerprint).substr(0, kNameDigits);
}

struct File {
  fs::path path;
  int64_t bytes = 0;
  absl::Time written;
};

// Whether the name is one that we give: nothing else in the folder is ours to
// read or to delete.
bool IsOurs(absl::string_view name) {
  const std::vector<absl::string_view> parts = absl::StrSplit(name, '.');
  return parts.size() >= 3 && parts[0].size() == kNameDigits &&
         std::all_of(parts[0].begin(), parts[0].end(), absl::ascii_isxdigit) &&
         parts[2] == "ckpt";
}

// Our files whose names begin so. What vanishes meanwhile is left out.
std::vector<File> List(const std::string& folder, absl::string_view prefix) {
  std::vector<File> files;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename();
    if (!absl::StartsWith(name, prefix) || !IsOurs(name)) continue;
    std::error_code gone;
    const auto bytes = it->file_size(gone);
    const auto written = it->last_write_time(gone);
    if (gone) continue;
    files.push_back({.path = it->path(),
                     .bytes = static_cast<int64_t>(bytes),
                     .written = absl::FromChrono(
                         std::chrono::time_point_cast<std::chrono::nanoseconds>(
                             std::chrono::file_clock::to_sys(written)))});
  }
  return files;
}

void Delete(const fs::path& path) {
  std::error_code ignored;
  fs::remove(path, ignored);
}

}  // namespace

CheckpointFolder::CheckpointFolder(CheckpointFolderOptions options,
                                   std::shared_ptr<Logger> logger)
    : options_(std::move(options)), logger_(std::move(logger)) {}

std::optional<Checkpoint> CheckpointFolder::Find(absl::string_view fingerprint,
                                                 int max_epochs) {
  MutexLock lock(&mutex_);
  std::optional<Checkpoint> furthest;
  for (const File& file :
       List(options_.path, absl::StrCat(NameOf(fingerprint), "."))) {
    if (file.path.extension() != ".ckpt") continue;
    absl::StatusOr<Checkpoint> found =
        ReadCheckpoint(file.path.string(), fingerprint);
    if (absl::IsDataLoss(found.status())) {
      logger_->warn("event=checkpoint_set_aside file={}.bad reason=\"{}\"",
                    file.path.string(), std::string(found.status().message()));
      std::error_code ignored;
      fs::rename(file.path, fs::path(file.path) += ".bad", ignored);
      continue;
    }
    if (!found.ok()) {
      // Gone meanwhile: somebody has finished the training.
      if (!absl::IsNotFound(found.status())) {
        Complain("checkpoint_not_read", found.status().ToString());
      }
      continue;
    }
    if (static_cast<int64_t>(found->epochs.size()) > max_epochs) continue;
    if (!furthest || found->epochs.size() > furthest->epochs.size()) {
      furthest = *std::move(found);
    }
  }
  return furthest;
}

void CheckpointFolder::Save(absl::string_view fingerprint,
                            const Checkpoint& checkpoint) {
  const std::string bytes = SerializeCheckpoint(fingerprint, checkpoint);
  MutexLock lock(&mutex_);
  if (static_cast<int64_t>(bytes.size()) > options_.max_bytes) {
    Complain("checkpoint_not_written",
             absl::StrCat("it has ", bytes.size(), " bytes, all may have ",
                          options_.max_bytes));
    return;
  }
  absl::Status status = MakeDirectories(options_.path);
  if (status.ok()) {
    MakeRoom();
    status = WriteFileAtomically(
        absl::StrCat(options_.path, "/", NameOf(fingerprint), ".",
                     options_.owner, ".ckpt"),
        bytes);
  }
  if (status.ok()) {
    complaint_.clear();
  } else {
    Complain("checkpoint_not_written", status.ToString());
  }
}

void CheckpointFolder::Remove(absl::string_view fingerprint) {
  MutexLock lock(&mutex_);
  for (const File& file :
       List(options_.path, absl::StrCat(NameOf(fingerprint), "."))) {
    if (file.path.extension() == ".ckpt") Delete(file.path);
  }
}

void CheckpointFolder::MakeRoom() {
  const absl::Time now = absl::Now();
  if (now < next_clearing_) return;
  next_clearing_ = now + kClearingInterval;
  std::vector<File> files = List(options_.path, "");
  std::sort(files.begin(), files.end(),
            [](const File& a, const File& b) { return a.written > b.written; });
  int64_t total = 0;
  int deleted = 0;
  for (const File& file : files) {
    const bool part = absl::StrContains(file.path.filename().string(), ".tmp.");
    total += file.bytes;
    if (total > options_.max_bytes || now - file.written > options_.max_age ||
        (part && now - file.written > kMaxPartAge)) {
      Delete(file.path);
      ++deleted;
    }
  }
  if (deleted > 0) {
    logger_->info("event=checkpoints_deleted folder={} files={}", options_.path,
                  deleted);
  }
}

void CheckpointFolder::Complain(const char* event, const std::string& reason) {
  if (reason == complaint_) return;
  complaint_ = reason;
  logger_->warn("event={} folder={} reason=\"{}\"", event, options_.path,
                reason);
}

}  // namespace hwnas::worker
