// Finished results on disk until the controller has them.
//
// One file for each lease, named by the digest of the lease, so a result that
// is written twice is one file. A file is the SHA-256 of its payload (64 hex
// digits), a line feed, and the payload: a serialised v1.TaskResult. A file
// that is torn, altered or foreign is renamed to *.corrupt and never stops the
// executor.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/log.h"
#include "hwnas/v1/fleet_service.pb.h"

namespace hwnas::fleet {

// "{task_id}#{attempt}.{token}": names a lease in maps and logs.
std::string LeaseId(const v1::LeaseKey& lease);

// Thread-safe for different leases; a folder belongs to one process at a time.
class ResultSpool {
 public:
  // More results than this are never kept: the oldest go, with a warning.
  static constexpr int kMaxResults = 4096;

  // Creates the folder if it is missing and sets corrupt files aside.
  static absl::StatusOr<std::unique_ptr<ResultSpool>> Open(
      std::string folder, std::shared_ptr<Logger> logger);

  // Leases of the results that were there when the spool was opened, oldest
  // first.
  const std::vector<v1::LeaseKey>& found() const { return found_; }

  // Durable when it returns OK.
  absl::Status Put(const v1::TaskResult& result);
  // NOT_FOUND or DATA_LOSS; the damaged file has been set aside.
  absl::StatusOr<v1::TaskResult> Get(const v1::LeaseKey& lease);
  void Remove(const v1::LeaseKey& lease);

 private:
  ResultSpool(std::string folder, std::shared_ptr<Logger> logger)
      : folder_(std::move(folder)), logger_(std::move(logger)) {}
  std::string PathOf(const v1::LeaseKey& lease) const;
  absl::StatusOr<v1::TaskResult> Load(const std::string& path);

  const std::string folder_;
  const std::shared_ptr<Logger> logger_;
  std::vector<v1::LeaseKey> found_;
};

}  // namespace hwnas::fleet
