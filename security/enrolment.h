// How programs get and keep their certificates: the caller's end of
// EnrollService.
#pragma once

#include <memory>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mutex.h"
#include "grpcpp/channel.h"
#include "security/authority.h"
#include "security/certificate.h"

namespace hwnas::security {

// Makes a key, which never leaves this machine, has it certified with a token
// at `address`, and writes the folder. Returns who we are now.
absl::StatusOr<Certificate> Enroll(const Token& token,
                                   const std::string& address,
                                   const std::string& dir);

// Names the variable with a token, where no file has it.
inline constexpr char kTokenVariable[] = "HWNAS_ENROLL_TOKEN";

// Enrols at `address` unless the folder has an identity, with the token in
// $HWNAS_ENROLL_TOKEN or in the file `token` in the folder, which is deleted
// then. FAILED_PRECONDITION if there is none.
absl::Status EnrollIfNew(const std::string& dir, const std::string& address);

// Makes a key and has it certified by an authority that is at hand; writes the
// folder.
absl::StatusOr<Certificate> IssueInto(const std::string& dir,
                                      Authority& authority,
                                      const Identity& identity, absl::Time now);

// Gets a new key and certificate through `channel`, a controller's, if less
// than a third of the present one's life is left. True if it did.
absl::StatusOr<bool> RenewIfDue(const std::string& dir,
                                const std::shared_ptr<grpc::Channel>& channel,
                                absl::Time now);

// Renews the certificate of a process that runs for weeks, on a thread of its
// own. Thread-compatible.
class Renewer {
 public:
  // `clock` must outlive it.
  Renewer(std::string dir, std::shared_ptr<grpc::Channel> channel,
          const Clock* clock, std::shared_ptr<Logger> logger);
  ~Renewer();
  Renewer(const Renewer&) = delete;
  Renewer& operator=(const Renewer&) = delete;

 private:
  void Loop();

  const std::string dir_;
  const std::shared_ptr<grpc::Channel> channel_;
  const Clock* const clock_;
  const std::shared_ptr<Logger> logger_;
  Mutex mutex_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace hwnas::security
