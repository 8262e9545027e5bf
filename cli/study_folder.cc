#include "cli/study_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/status_macros.h"
#include "google/protobuf/util/json_util.h"
#include "google/protobuf/util/message_differencer.h"
#include "proto/convert/convert.h"

namespace hwnas::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kOurs[] = {
    "store",      "logs",        "spool",       "front.csv", "front.json",
    "trials.csv", "trials.json", "report.html", "best.onnx", "study.json"};

// Identity of a study: what its specification means, not how it is written.
v1::StudyFile Resolved(const v1::StudyFile& study) {
  v1::StudyFile resolved = study;
  *resolved.mutable_spec() = WithDefaults(study.spec());
  resolved.mutable_metadata()->clear_description();
  return resolved;
}

}  // namespace

absl::Status WriteStudyJson(const std::string& folder,
                            const v1::StudyFile& study) {
  std::string json;
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.preserve_proto_field_names = true;
  if (!google::protobuf::util::MessageToJsonString(Resolved(study), &json,
                                                   options)
           .ok()) {
    return absl::InternalError("cannot write the specification as JSON");
  }
  return WriteFileAtomically(folder + "/study.json", json);
}

absl::StatusOr<std::unique_ptr<StudyFolder>> StudyFolder::Open(
    const std::string& path, const v1::StudyFile& study, bool fresh) {
  std::error_code error;
  const bool existed = fs::exists(path, error);
  if (existed && !fs::exists(path + "/study.json", error) &&
      !fs::exists(path + "/run.lock", error) &&
      !(fs::is_directory(path, error) && fs::is_empty(path, error))) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, " holds other files: name an empty or new folder with --dir"));
  }
  HWNAS_RETURN_IF_ERROR(MakeDirectories(path));
  const std::string lock_path = path + "/run.lock";
  const int fd = open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("open ", lock_path));
  }
  auto folder = absl::WrapUnique(new StudyFolder(path, fd));
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    const auto holder = ReadFile(lock_path, 64);
    return absl::FailedPreconditionError(absl::StrCat(
        "another 'hwnas run' uses ", path,
        holder.ok() && !holder->empty()
            ? absl::StrCat(" (process ", *holder, ")")
            : "",
        ": wait for it, stop it, or name another folder with --dir"));
  }
  const std::string pid = absl::StrCat(getpid());
  if (ftruncate(fd, 0) != 0 || pwrite(fd, pid.data(), pid.size(), 0) !=
                                   static_cast<ssize_t>(pid.size())) {
    return absl::ErrnoToStatus(errno, absl::StrCat("write ", lock_path));
  }

  if (fresh) {
    for (const char* name : kOurs) {
      fs::remove_all(folder->Path(name), error);
      if (error) {
        return absl::ErrnoToStatus(error.value(),
                                   absl::StrCat("delete ", folder->Path(name)));
      }
    }
  }
  const v1::StudyFile mine = Resolved(study);
  const absl::StatusOr<std::string> known =
      ReadFile(folder->Path("study.json"));
  if (known.ok()) {
    v1::StudyFile theirs;
    const auto parsed =
        google::protobuf::util::JsonStringToMessage(*known, &theirs);
    google::protobuf::util::MessageDifferencer differencer;
    std::string differences;
    differencer.ReportDifferencesToString(&differences);
    if (!parsed.ok() || !differencer.Compare(theirs, mine)) {
      return absl::InvalidArgumentError(absl::StrCat(
          path, " holds a study with another specification:\n", differences,
          "Name another folder with --dir, or start anew with --fresh, which "
          "deletes what is there"));
    }
    folder->resumed_ = true;
  } else {
    HWNAS_RETURN_IF_ERROR(WriteStudyJson(path, mine));
  }
  for (const char* name : {"store", "logs", "spool"}) {
    HWNAS_RETURN_IF_ERROR(MakeDirectories(folder->Path(name)));
  }
  return folder;
}

StudyFolder::~StudyFolder() { close(lock_fd_); }

}  // namespace hwnas::cli
