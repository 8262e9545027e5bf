#include "fleet/result_spool.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "common/digest.h"
#include "common/files.h"
#include "common/limits.h"
#include "common/status_macros.h"

namespace hwnas::fleet {
namespace {

namespace fs = std::filesystem;

constexpr char kSuffix[] = ".result";
constexpr size_t kDigestBytes = 64;
constexpr size_t kMaxFileBytes = size_t{kMaxMessageBytes} + kDigestBytes + 1;
constexpr int kMaxCorruptFiles = 16;

// Oldest first.
std::vector<fs::path> FilesByAge(const std::string& folder,
                                 absl::string_view suffix) {
  std::vector<std::pair<fs::file_time_type, fs::path>> files;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error)) {
    if (it->path().extension() != std::string(suffix)) continue;
    std::error_code time_error;
    files.emplace_back(it->last_write_time(time_error), it->path());
  }
  std::sort(files.begin(), files.end());
  std::vector<fs::path> paths;
  for (auto& [time, path] : files) paths.push_back(std::move(path));
  return paths;
}

}  // namespace

std::string LeaseId(const v1::LeaseKey& lease) {
  return absl::StrCat(lease.task_id(), "#", lease.attempt(), ".",
                      lease.token());
}

absl::StatusOr<std::unique_ptr<ResultSpool>> ResultSpool::Open(
    std::string folder, std::shared_ptr<Logger> logger) {
  HWNAS_RETURN_IF_ERROR(MakeDirectories(folder));
  auto spool =
      absl::WrapUnique(new ResultSpool(std::move(folder), std::move(logger)));
  std::vector<fs::path> files = FilesByAge(spool->folder_, kSuffix);
  std::error_code ignored;
  if (files.size() > kMaxResults) {
    const size_t excess = files.size() - kMaxResults;
    spool->logger_->warn("event=spool_overflow folder={} dropped={} kept={}",
                         spool->folder_, excess, int{kMaxResults});
    for (size_t i = 0; i < excess; ++i) fs::remove(files[i], ignored);
    files.erase(files.begin(), files.begin() + excess);
  }
  for (const fs::path& path : files) {
    absl::StatusOr<v1::TaskResult> result = spool->Load(path);
    if (result.ok()) spool->found_.push_back(result->lease());
  }
  const std::vector<fs::path> corrupt = FilesByAge(spool->folder_, ".corrupt");
  for (size_t i = 0; i + kMaxCorruptFiles < corrupt.size(); ++i) {
    fs::remove(corrupt[i], ignored);
  }
  return spool;
}

std::string ResultSpool::PathOf(const v1::LeaseKey& lease) const {
  return absl::StrCat(folder_, "/", Sha256Hex(LeaseId(lease)), kSuffix);
}

absl::Status ResultSpool::Put(const v1::TaskResult& result) {
  const std::string payload = result.SerializeAsString();
  return WriteFileAtomically(PathOf(result.lease()),
                             absl::StrCat(Sha256Hex(payload), "\n", payload));
}

absl::StatusOr<v1::TaskResult> ResultSpool::Get(const v1::LeaseKey& lease) {
  return Load(PathOf(lease));
}

absl::StatusOr<v1::TaskResult> ResultSpool::Load(const std::string& path) {
  absl::StatusOr<std::string> contents = ReadFile(path, kMaxFileBytes);
  if (!contents.ok() && !absl::IsResourceExhausted(contents.status())) {
    return contents.status();
  }
  v1::TaskResult result;
  if (contents.ok() && contents->size() > kDigestBytes &&
      (*contents)[kDigestBytes] == '\n') {
    const absl::string_view payload =
        absl::string_view(*contents).substr(kDigestBytes + 1);
    if (contents->compare(0, kDigestBytes, Sha256Hex(payload)) == 0 &&
        result.ParseFromArray(payload.data(),
                              static_cast<int>(payload.size())) &&
        fs::path(PathOf(result.lease())).filename() ==
            fs::path(path).filename()) {
      return result;
    }
  }
  const std::string aside = absl::StrCat(path, ".corrupt");
  std::error_code error;
  fs::rename(path, aside, error);
  logger_->warn(
      "event=spool_corrupt file={} kept_as={} what=\"not a whole result; the "
      "task will be done again\"",
      path, aside);
  return absl::DataLossError(absl::StrCat(path, " is not a whole result"));
}

void ResultSpool::Remove(const v1::LeaseKey& lease) {
  std::error_code ignored;
  fs::remove(PathOf(lease), ignored);
}

}  // namespace hwnas::fleet
