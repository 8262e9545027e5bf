#include "security/enrolment.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/secret_files.h"
#include "common/status_macros.h"
#include "grpcpp/client_context.h"
#include "hwnas/v1/enroll_service.grpc.pb.h"
#include "proto/convert/grpc_status.h"
#include "security/credentials.h"

namespace hwnas::security {
namespace {

constexpr std::chrono::seconds kTimeout(15);
constexpr absl::Duration kLongestWait = absl::Hours(1);
constexpr absl::Duration kShortestWait = absl::Seconds(1);

}  // namespace

absl::StatusOr<Certificate> Enroll(const Token& token,
                                   const std::string& address,
                                   const std::string& dir) {
  Credential credential;
  HWNAS_ASSIGN_OR_RETURN(credential.key, NewKey());
  v1::EnrollRequest request;
  request.set_token_id(token.id);
  request.set_token_secret(token.secret);
  HWNAS_ASSIGN_OR_RETURN(*request.mutable_certificate_request(),
                         NewRequest(credential.key));
  const auto stub = v1::EnrollService::NewStub(DialController(
      address, EnrolmentChannelCredentials(token.authority_certificate),
      /*arguments=*/{}));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kTimeout);
  v1::EnrollResponse response;
  HWNAS_RETURN_IF_ERROR(FromGrpc(stub->Enroll(&context, request, &response)));
  credential.certificate = response.certificate();
  HWNAS_RETURN_IF_ERROR(CheckKey(credential));
  HWNAS_RETURN_IF_ERROR(
      WriteIdentity(dir, token.authority_certificate, credential));
  return ReadCertificate(credential.certificate);
}

absl::Status EnrollIfNew(const std::string& dir, const std::string& address) {
  if (std::filesystem::exists(dir + "/identity.pem")) return absl::OkStatus();
  const std::string file = dir + "/token";
  std::string text;
  // NOLINTNEXTLINE(concurrency-mt-unsafe)
  if (const char* given = std::getenv(kTokenVariable); given != nullptr) {
    text = given;
  } else {
    auto read = ReadSecretFile(file, 2 * kMaxPemBytes);
    if (!read.ok()) {
      return absl::FailedPreconditionError(
          absl::StrCat("no token to enrol with: put one into $", kTokenVariable,
                       " or into ", file, " (", read.status().message(), ")"));
    }
    text = *std::move(read);
  }
  HWNAS_ASSIGN_OR_RETURN(const Token token, ParseToken(text));
  const absl::StatusOr<Certificate> mine = Enroll(token, address, dir);
  if (!mine.ok()) {
    return absl::Status(mine.status().code(),
                        absl::StrCat("cannot enrol at ", address, ": ",
                                     mine.status().message()));
  }
  std::filesystem::remove(file);
  return absl::OkStatus();
}

absl::StatusOr<Certificate> IssueInto(const std::string& dir,
                                      Authority& authority,
                                      const Identity& identity,
                                      absl::Time now) {
  Credential credential;
  HWNAS_ASSIGN_OR_RETURN(credential.key, NewKey());
  HWNAS_ASSIGN_OR_RETURN(const std::string request, NewRequest(credential.key));
  HWNAS_ASSIGN_OR_RETURN(credential.certificate,
                         authority.Issue(identity, request, now));
  HWNAS_RETURN_IF_ERROR(
      WriteIdentity(dir, authority.certificate(), credential));
  return ReadCertificate(credential.certificate);
}

absl::StatusOr<bool> RenewIfDue(const std::string& dir,
                                const std::shared_ptr<grpc::Channel>& channel,
                                absl::Time now) {
  HWNAS_ASSIGN_OR_RETURN(const Certificate held, ReadIdentity(dir, now));
  if (!RenewalIsDue(held, now)) return false;
  Credential credential;
  HWNAS_ASSIGN_OR_RETURN(credential.key, NewKey());
  v1::RenewRequest request;
  HWNAS_ASSIGN_OR_RETURN(*request.mutable_certificate_request(),
                         NewRequest(credential.key));
  const auto stub = v1::EnrollService::NewStub(channel);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kTimeout);
  v1::EnrollResponse response;
  HWNAS_RETURN_IF_ERROR(FromGrpc(stub->Renew(&context, request, &response)));
  credential.certificate = response.certificate();
  HWNAS_RETURN_IF_ERROR(CheckKey(credential));
  HWNAS_ASSIGN_OR_RETURN(const std::string authority,
                         ReadFile(dir + "/ca.pem", kMaxPemBytes));
  HWNAS_RETURN_IF_ERROR(WriteIdentity(dir, authority, credential));
  return true;
}

Renewer::Renewer(std::string dir, std::shared_ptr<grpc::Channel> channel,
                 const Clock* clock, std::shared_ptr<Logger> logger)
    : dir_(std::move(dir)),
      channel_(std::move(channel)),
      clock_(clock),
      logger_(std::move(logger)),
      thread_([this] { Loop(); }) {}

Renewer::~Renewer() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    changed_.SignalAll();
  }
  thread_.join();
}

void Renewer::Loop() {
  for (;;) {
    const absl::StatusOr<bool> renewed =
        RenewIfDue(dir_, channel_, clock_->Now());
    absl::Duration wait = kLongestWait;
    if (const auto held = ReadIdentity(dir_, absl::InfinitePast()); held.ok()) {
      // A twelfth: several tries are left before it expires.
      wait = (held->not_after - held->not_before) / 12;
      if (renewed.ok() && *renewed) {
        logger_->info("event=certificate_renewed who=\"{}\" until={}",
                      ToText(held->identity),
                      absl::FormatTime(held->not_after, absl::UTCTimeZone()));
      }
    }
    if (!renewed.ok()) {
      logger_->warn("event=certificate_not_renewed code={} reason=\"{}\"",
                    absl::StatusCodeToString(renewed.status().code()),
                    std::string(renewed.status().message()));
    }
    MutexLock lock(&mutex_);
    if (!stopping_) {
      changed_.WaitWithTimeout(&mutex_,
                               std::clamp(wait, kShortestWait, kLongestWait));
    }
    if (stopping_) return;
  }
}

}  // namespace hwnas::security
