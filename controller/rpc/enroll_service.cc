#include "controller/rpc/enroll_service.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "controller/rpc/reply.h"
#include "security/certificate.h"

namespace hwnas::controller {
namespace {

// A signature each, and a write to disk.
constexpr double kAttemptsPerSecond = 100;
constexpr double kAttemptsAtOnce = 1000;

}  // namespace

EnrollServiceImpl::EnrollServiceImpl(security::Authority* authority,
                                     Access* access, const Clock* clock,
                                     ControllerMetrics* metrics)
    : authority_(authority),
      access_(access),
      clock_(clock),
      metrics_(metrics),
      attempts_(kAttemptsPerSecond, kAttemptsAtOnce) {}

absl::Status EnrollServiceImpl::CheckRequest(
    const std::string& certificate_request) {
  if (authority_ == nullptr) {
    return absl::FailedPreconditionError(
        "this controller does not hold the key of its certificate authority: "
        "whoever has it issues certificates, with 'hwnas ca issue'");
  }
  if (certificate_request.size() > security::kMaxPemBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("certificate_request has ", certificate_request.size(),
                     " bytes: expected at most ", security::kMaxPemBytes));
  }
  MutexLock lock(&mutex_);
  if (attempts_.Take(clock_->Steady())) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      "too many ask for certificates: try again in a moment");
}

grpc::Status EnrollServiceImpl::Enroll(grpc::ServerContext* context,
                                       const v1::EnrollRequest* request,
                                       v1::EnrollResponse* response) {
  if (const auto good = CheckRequest(request->certificate_request());
      !good.ok()) {
    return Reply(metrics_, good);
  }
  absl::StatusOr<std::string> certificate =
      authority_->Enroll(request->token_id(), request->token_secret(),
                         request->certificate_request(), clock_->Now());
  const auto newcomer = certificate.ok()
                            ? security::ReadCertificate(*certificate)
                            : certificate.status();
  // The peer has no certificate yet; that of a good token is who it is now.
  access_->Audit(newcomer.ok() ? ToText(newcomer->identity) : "newcomer",
                 context->peer(), "EnrollService/Enroll", request->token_id(),
                 certificate.status().code());
  if (!certificate.ok()) return Reply(metrics_, certificate.status());
  response->set_certificate(*std::move(certificate));
  return grpc::Status::OK;
}

grpc::Status EnrollServiceImpl::Renew(grpc::ServerContext* context,
                                      const v1::RenewRequest* request,
                                      v1::EnrollResponse* response) {
  if (const auto good = CheckRequest(request->certificate_request());
      !good.ok()) {
    return Reply(metrics_, good);
  }
  const Access::Caller caller = access_->CallerOf(*context);
  // Nobody, on the port for newcomers.
  if (!caller || caller->serial.empty()) {
    return Reply(metrics_, absl::UnauthenticatedError(
                               "there is no certificate to renew"));
  }
  absl::StatusOr<std::string> certificate =
      authority_->Renew(*caller, request->certificate_request(), clock_->Now());
  if (!certificate.ok()) return Reply(metrics_, certificate.status());
  response->set_certificate(*std::move(certificate));
  return grpc::Status::OK;
}

}  // namespace hwnas::controller
