#include "agent/device/governor.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "common/files.h"
#include "common/status_macros.h"

namespace hwnas::agent {
namespace {

constexpr char kPerformance[] = "performance";
constexpr char kMagic[] = "hwnas-governors 1";
constexpr size_t kMaxRecordBytes = 1 << 20;

bool IsWord(absl::string_view text) {
  return !text.empty() && text.size() <= 64 &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return absl::ascii_isalnum(c) || c == '_' || c == '-';
         });
}

}  // namespace

// What was there before, and who changed it. As text:
//   hwnas-governors 1
//   boot 1b4e28ba-...
//   process 4711 8812345
//   2 ondemand
//   3 ondemand
struct GovernorControl::Record {
  std::string boot_id;
  std::string pid;
  std::string start_time;
  std::vector<std::pair<int, std::string>> governors;
};

GovernorControl::GovernorControl(std::string record, const std::string& root)
    : record_(std::move(record)),
      root_(std::string(absl::StripSuffix(root, "/"))) {}

std::string GovernorControl::GovernorFile(int core) const {
  return absl::StrCat(root_, "/sys/devices/system/cpu/cpu", core,
                      "/cpufreq/scaling_governor");
}

absl::StatusOr<std::string> GovernorControl::Read(int core) const {
  HWNAS_ASSIGN_OR_RETURN(const std::string text,
                         ReadFile(GovernorFile(core), 4096));
  const std::string governor(absl::StripAsciiWhitespace(text));
  if (!IsWord(governor)) {
    return absl::FailedPreconditionError(
        absl::StrCat(GovernorFile(core), " does not name a governor"));
  }
  return governor;
}

absl::Status GovernorControl::Write(int core,
                                    const std::string& governor) const {
  const std::string path = GovernorFile(core);
  const int fd = open(path.c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat("open ", path));
  const std::string line = governor + "\n";
  const ssize_t written = write(fd, line.data(), line.size());
  const int error = errno;
  close(fd);
  if (written < 0) {
    return absl::ErrnoToStatus(
        error, absl::StrCat("write \"", governor, "\" to ", path));
  }
  // Some drivers accept what they do not do.
  HWNAS_ASSIGN_OR_RETURN(const std::string now, Read(core));
  if (now != governor) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " is ", now, " after writing ", governor));
  }
  return absl::OkStatus();
}

std::string GovernorControl::BootId() const {
  const auto text = ReadFile(root_ + "/proc/sys/kernel/random/boot_id", 4096);
  return text.ok() ? std::string(absl::StripAsciiWhitespace(*text)) : "";
}

std::string GovernorControl::StartTime(const std::string& pid) const {
  const auto text = ReadFile(absl::StrCat(root_, "/proc/", pid, "/stat"), 4096);
  if (!text.ok()) return "";
  // Field 22 of proc(5), counted from behind the name, which may hold blanks.
  const size_t name_end = text->rfind(')');
  if (name_end == std::string::npos) return "";
  const std::vector<absl::string_view> fields = absl::StrSplit(
      absl::string_view(*text).substr(name_end + 1), ' ', absl::SkipEmpty());
  // A zombie has ended.
  if (fields.size() < 20 || fields[0] == "Z") return "";
  return std::string(fields[19]);
}

absl::Status GovernorControl::Check(const std::vector<int>& cores) const {
  if (cores.empty()) {
    return absl::FailedPreconditionError("the system names no cores");
  }
  for (const int core : cores) {
    const std::string path = GovernorFile(core);
    if (access(path.c_str(), F_OK) != 0) {
      return absl::FailedPreconditionError(absl::StrCat(
          "the system has no governor for core ", core, ": no ", path));
    }
    if (access(path.c_str(), W_OK) != 0) {
      return absl::FailedPreconditionError(
          absl::StrCat("this user may not write ", path));
    }
    const auto available =
        ReadFile(absl::StrCat(root_, "/sys/devices/system/cpu/cpu", core,
                              "/cpufreq/scaling_available_governors"),
                 4096);
    if (!available.ok()) continue;
    const std::vector<absl::string_view> names =
        absl::StrSplit(*available, absl::ByAnyChar(" \n"), absl::SkipEmpty());
    if (std::find(names.begin(), names.end(), kPerformance) == names.end()) {
      return absl::FailedPreconditionError(
          absl::StrCat("core ", core, " has no governor \"performance\", only ",
                       absl::StrJoin(names, ", ")));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<GovernorControl::Pinned> GovernorControl::SetPerformance(
    const std::vector<int>& cores) {
  HWNAS_RETURN_IF_ERROR(Check(cores));
  HWNAS_RETURN_IF_ERROR(RestoreLeftOver().status());
  if (const auto held = ReadRecord(); held.ok()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "process ", held->pid, " has the governors set; see ", record_));
  }
  const std::string pid = absl::StrCat(getpid());
  std::string text = absl::StrCat(kMagic, "\nboot ", BootId(), "\nprocess ",
                                  pid, " ", StartTime(pid), "\n");
  // All are read before one is set: cores may share a clock.
  for (const int core : cores) {
    HWNAS_ASSIGN_OR_RETURN(const std::string governor, Read(core));
    absl::StrAppend(&text, core, " ", governor, "\n");
  }
  HWNAS_RETURN_IF_ERROR(WriteFileAtomically(record_, text));
  Pinned pinned(this);
  for (const int core : cores) {
    HWNAS_RETURN_IF_ERROR(Write(core, kPerformance));
  }
  return pinned;
}

absl::Status GovernorControl::Pinned::Restore() {
  if (control_ == nullptr) return absl::OkStatus();
  GovernorControl& control = *std::exchange(control_, nullptr);
  HWNAS_ASSIGN_OR_RETURN(const Record record, control.ReadRecord());
  return control.Undo(record).status();
}

absl::StatusOr<GovernorControl::Record> GovernorControl::ReadRecord() const {
  HWNAS_ASSIGN_OR_RETURN(const std::string text,
                         ReadFile(record_, kMaxRecordBytes));
  Record record;
  const std::vector<absl::string_view> lines =
      absl::StrSplit(text, '\n', absl::SkipEmpty());
  const auto malformed = [&](absl::string_view line) {
    return absl::DataLossError(absl::StrCat(
        record_, " is no record of governors: \"", line.substr(0, 80), "\""));
  };
  if (lines.empty() || lines[0] != kMagic) {
    return malformed(lines.empty() ? "" : lines[0]);
  }
  for (size_t i = 1; i < lines.size(); ++i) {
    const std::vector<std::string> words = absl::StrSplit(lines[i], ' ');
    int core;
    if (words[0] == "boot" && words.size() == 2) {
      record.boot_id = words[1];
    } else if (words[0] == "process" && words.size() == 3) {
      record.pid = words[1];
      record.start_time = words[2];
    } else if (words.size() == 2 && absl::SimpleAtoi(words[0], &core) &&
               core >= 0 && IsWord(words[1])) {
      record.governors.emplace_back(core, words[1]);
    } else {
      return malformed(lines[i]);
    }
  }
  return record;
}

absl::StatusOr<std::vector<int>> GovernorControl::Undo(const Record& record) {
  absl::Status status;
  std::vector<int> cores;
  for (const auto& [core, governor] : record.governors) {
    // One that cannot be restored does not keep the others from it.
    status.Update(Write(core, governor));
    cores.push_back(core);
  }
  HWNAS_RETURN_IF_ERROR(status);
  if (unlink(record_.c_str()) != 0 && errno != ENOENT) {
    return absl::ErrnoToStatus(errno, absl::StrCat("remove ", record_));
  }
  return cores;
}

absl::StatusOr<std::vector<int>> GovernorControl::RestoreLeftOver() {
  const absl::StatusOr<Record> record = ReadRecord();
  if (absl::IsNotFound(record.status())) return std::vector<int>();
  if (!record.ok()) return record.status();
  if (record->boot_id != BootId()) {
    unlink(record_.c_str());
    return std::vector<int>();
  }
  const bool alive = IsWord(record->pid) && !record->start_time.empty() &&
                     StartTime(record->pid) == record->start_time;
  if (alive) return std::vector<int>();
  return Undo(*record);
}

}  // namespace hwnas::agent
