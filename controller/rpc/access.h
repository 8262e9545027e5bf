// Who may do what, and the record of who did it.
//
// With TLS every call passes three checks:
//   the handshake   a certificate of our authority, valid, not revoked
//   the method      the table of MethodRules(), by role; what is not in it is
//                   refused
//   the study       MayUse(): a researcher's own, or shared with them
// Without TLS, on loopback, everybody may do everything.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mutex.h"
#include "common/rate_limit.h"
#include "controller/controller_metrics.h"
#include "controller/study/study_engine.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/server_interceptor.h"
#include "security/certificate.h"

namespace hwnas::controller {

using RoleSet = uint8_t;
constexpr RoleSet Only(security::Role role) {
  return static_cast<RoleSet>(1u << static_cast<unsigned>(role));
}

struct MethodRule {
  absl::string_view method;  // "/hwnas.v1.StudyService/GetStudy".
  RoleSet roles = 0;
  // Written down also if it goes well; what is refused always is.
  bool audited = false;
};
// Every method that the controller serves.
absl::Span<const MethodRule> MethodRules();

struct AccessOptions {
  // Folder of ca.pem and crl.pem. Empty: no TLS.
  std::string tls_dir;
  // Where the record goes, a file that grows. Empty: to the log, and without
  // TLS nowhere.
  std::string audit_log;
};

// Thread-safe.
class Access {
 public:
  // The peer's certificate; nullopt without TLS.
  using Caller = std::optional<security::Certificate>;

  // What must not go on when the peer's certificate expires or is revoked.
  class Hold {
   public:
    // No cut is under way, or will be, once it returns.
    ~Hold();
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

   private:
    friend class Access;
    struct State {
      security::Certificate certificate;
      Mutex mutex;
      std::function<void(const absl::Status&)> cut ABSL_GUARDED_BY(mutex);
    };
    Hold(Access* access, std::shared_ptr<State> state)
        : access_(access), state_(std::move(state)) {}

    Access* const access_;
    const std::shared_ptr<State> state_;
    std::list<std::shared_ptr<State>>::iterator place_;
  };

  // FAILED_PRECONDITION or INVALID_ARGUMENT if a file is missing or wrong.
  // Everything passed in must outlive it.
  static absl::StatusOr<std::unique_ptr<Access>> Create(
      const AccessOptions& options, const Clock* clock,
      ControllerMetrics* metrics, std::shared_ptr<Logger> logger);
  // Whose studies MayUse() is about. Before the first call is served.
  void SetEngine(StudyEngine* engine) { engine_ = engine; }
  ~Access();

  // ---- For the server ----
  bool tls() const { return !options_.tls_dir.empty(); }
  // Of a handshake. See security::PeerCheck.
  absl::Status CheckPeer(absl::string_view certificate);
  // Applies the table to each call.
  std::shared_ptr<grpc::AuthMetadataProcessor> MakeProcessor();
  // Writes the record. Empty if nobody wants it.
  std::vector<
      std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>>
  MakeInterceptors();
  // Reads the revocation list if it has changed, and cuts off whoever has no
  // good certificate any more. Call now and then.
  void Tick();

  // ---- For handlers ----
  Caller CallerOf(const grpc::ServerContextBase& context);
  // The user in whose name a call is made: the certificate's, else the one that
  // the request names.
  std::string UserOf(const grpc::ServerContextBase& context,
                     const std::string& named);
  // NOT_FOUND, or PERMISSION_DENIED if it is another researcher's.
  absl::Status MayUse(const grpc::ServerContextBase& context,
                      const std::string& study_id);
  absl::Status MayUseTrial(const grpc::ServerContextBase& context,
                           const std::string& trial_name);
  // For the record: "researcher alice"; "local" without TLS.
  std::string Who(const grpc::ServerContextBase& context);
  // As an admin, or where there are no roles.
  bool IsAdmin(const grpc::ServerContextBase& context);
  // PERMISSION_DENIED unless the certificate is for that kind and id.
  absl::Status MayConnect(const Caller& caller, const v1::Hello& hello);
  // As long as the result lives, `cut` is called, once and from another thread,
  // when the caller's certificate ends being good: UNAUTHENTICATED if it was
  // revoked, UNAVAILABLE if it expired, since a new one may be there. It must
  // not end the Hold. nullptr without TLS.
  std::unique_ptr<Hold> CutWhenInvalid(
      const Caller& caller, std::function<void(const absl::Status&)> cut);

  // Writes to the record. `resource` may be anything the peer has sent. Of what
  // was refused, floods are thinned out: the next line says how many it
  // follows.
  void Audit(absl::string_view who, absl::string_view peer,
             absl::string_view method, absl::string_view resource,
             absl::StatusCode outcome);
  // Of a call that the table decides about: OK, or why not.
  absl::Status MayCall(const Caller& caller, absl::string_view method);

 private:
  Access(AccessOptions options, const Clock* clock, ControllerMetrics* metrics,
         std::shared_ptr<Logger> logger, std::shared_ptr<Logger> audit);

  absl::Status ReadRevocations() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Of a peer that has passed the handshake; remembered, as it is asked for at
  // every call.
  absl::StatusOr<security::Certificate> Parse(absl::string_view pem);
  absl::Status StillGood(const security::Certificate& certificate)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  friend class Hold;

  const AccessOptions options_;
  StudyEngine* engine_ = nullptr;  // Constant once it is set.
  const Clock* const clock_;
  ControllerMetrics* const metrics_;
  const std::shared_ptr<Logger> logger_;
  const std::shared_ptr<Logger> audit_;  // nullptr: nobody wants it.
  std::string authority_;                // Constant after Create().

  Mutex mutex_;
  std::set<std::string> revoked_ ABSL_GUARDED_BY(mutex_);
  // Of the revocation list as it was read last.
  std::string revocations_stamp_ ABSL_GUARDED_BY(mutex_);
  std::list<std::shared_ptr<Hold::State>> holds_ ABSL_GUARDED_BY(mutex_);
  // Certificates that peers of live connections have shown, parsed.
  std::unordered_map<std::string, security::Certificate> parsed_
      ABSL_GUARDED_BY(mutex_);
  RateLimit refusal_lines_ ABSL_GUARDED_BY(mutex_);
  RateLimit unread_lines_ ABSL_GUARDED_BY(mutex_);
  Mutex record_mutex_;
  RateLimit refused_records_ ABSL_GUARDED_BY(record_mutex_);
  int64_t omitted_records_ ABSL_GUARDED_BY(record_mutex_) = 0;
};

}  // namespace hwnas::controller
