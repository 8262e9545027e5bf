#include "security/credentials.h"

#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/address.h"
#include "common/files.h"
#include "common/secret_files.h"
#include "common/status_macros.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/tls_certificate_provider.h"
#include "grpcpp/security/tls_certificate_verifier.h"
#include "grpcpp/security/tls_credentials_options.h"

namespace hwnas::security {
namespace {

namespace tls = grpc::experimental;

// How soon a new file is noticed.
constexpr unsigned int kRefreshSeconds = 60;
// Calls go to the address whose health service says that it serves.
constexpr char kFollowHealth[] =
    R"({"loadBalancingConfig": [{"round_robin": {}}],
        "healthCheckConfig": {"serviceName": ""}})";

std::string AuthorityPath(const std::string& dir) { return dir + "/ca.pem"; }
std::string IdentityPath(const std::string& dir) {
  return dir + "/identity.pem";
}

absl::Status Unusable(const std::string& dir, absl::string_view why) {
  return absl::FailedPreconditionError(absl::StrCat(
      dir, " holds no identity for TLS: ", why,
      ". 'hwnas ca enroll' gets one with a token; see docs/security.md"));
}

// Key and certificate are one file, so that a reader has a pair that matches.
std::shared_ptr<tls::CertificateProviderInterface> WatchFiles(
    const std::string& dir) {
  return std::make_shared<tls::FileWatcherCertificateProvider>(
      IdentityPath(dir), IdentityPath(dir), AuthorityPath(dir),
      kRefreshSeconds);
}

// Lets a function decide.
class PeerVerifier final : public tls::ExternalCertificateVerifier {
 public:
  explicit PeerVerifier(PeerCheck check) : check_(std::move(check)) {}
  ~PeerVerifier() override = default;

  bool Verify(tls::TlsCustomVerificationCheckRequest* request,
              std::function<void(grpc::Status)> callback,
              grpc::Status* result) override {
    const grpc::string_ref certificate = request->peer_cert();
    const absl::Status status =
        check_({certificate.data(), certificate.size()});
    if (!status.ok()) {
      *result = grpc::Status(grpc::StatusCode::UNAUTHENTICATED,
                             std::string(status.message()));
    }
    return true;  // Decided here and now.
  }
  void Cancel(tls::TlsCustomVerificationCheckRequest* request) override {}

 private:
  const PeerCheck check_;
};

// A file that is missing or wrong is found here: gRPC would only log it, and
// fail every handshake.
absl::Status CheckServerFolder(const std::string& dir) {
  HWNAS_ASSIGN_OR_RETURN(const Certificate own,
                         ReadIdentity(dir, absl::InfinitePast()));
  if (own.identity.role == Role::kController) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(dir, " is the identity of ", ToText(own.identity),
                   ", not of a controller: 'hwnas ca init DIR' makes one"));
}

// For gRPC's resolver, which takes several addresses only as numbers. Empty
// if there is but one, or none is known; gRPC then asks for the name itself,
// again and again.
std::string TargetOfSeveral(const std::string& addresses) {
  const std::vector<std::string> each = absl::StrSplit(addresses, ',');
  if (each.size() == 1) return "";
  std::vector<std::string> v4;
  std::vector<std::string> v6;
  for (const std::string& address : each) {
    for (std::string& numeric : LookUp(address)) {
      (absl::StartsWith(numeric, "[") ? v6 : v4).push_back(std::move(numeric));
    }
  }
  // A target is of one family: the other goes in as a part of it.
  if (v6.empty()) {
    return v4.empty() ? "" : absl::StrCat("ipv4:", absl::StrJoin(v4, ","));
  }
  for (const std::string& numeric : v4) {
    const size_t colon = numeric.rfind(':');
    v6.push_back(absl::StrCat("[::ffff:", numeric.substr(0, colon), "]",
                              numeric.substr(colon)));
  }
  return absl::StrCat("ipv6:", absl::StrJoin(v6, ","));
}

}  // namespace

absl::Status WriteIdentity(const std::string& dir,
                           const std::string& authority_certificate,
                           const Credential& credential) {
  HWNAS_RETURN_IF_ERROR(MakeDirectories(dir));
  HWNAS_RETURN_IF_ERROR(
      WriteFileAtomically(AuthorityPath(dir), authority_certificate));
  return WriteSecretFile(IdentityPath(dir),
                         absl::StrCat(credential.certificate, credential.key));
}

absl::StatusOr<Certificate> ReadIdentity(const std::string& dir,
                                         absl::Time now) {
  const absl::StatusOr<std::string> text =
      ReadSecretFile(IdentityPath(dir), 2 * kMaxPemBytes);
  if (!text.ok()) return Unusable(dir, text.status().message());
  if (const auto authority = ReadFile(AuthorityPath(dir), kMaxPemBytes);
      !authority.ok()) {
    return Unusable(dir, authority.status().message());
  }
  const absl::StatusOr<Certificate> certificate = ReadCertificate(*text);
  if (!certificate.ok()) return Unusable(dir, certificate.status().message());
  if (const absl::Status pair = CheckKey({.key = *text, .certificate = *text});
      !pair.ok()) {
    return Unusable(dir, pair.message());
  }
  if (now >= certificate->not_after) {
    return Unusable(
        dir, absl::StrCat("the certificate of ", ToText(certificate->identity),
                          " expired at ",
                          absl::FormatTime(certificate->not_after,
                                           absl::UTCTimeZone())));
  }
  return certificate;
}

bool RenewalIsDue(const Certificate& certificate, absl::Time now) {
  const absl::Duration life = certificate.not_after - certificate.not_before;
  return certificate.not_after - now < life / 3;
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> ChannelCredentials(
    const std::string& dir) {
  HWNAS_RETURN_IF_ERROR(ReadIdentity(dir, absl::InfinitePast()).status());
  tls::TlsChannelCredentialsOptions options;
  options.set_certificate_provider(WatchFiles(dir));
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  return tls::TlsCredentials(options);
}

std::shared_ptr<grpc::ChannelCredentials> EnrolmentChannelCredentials(
    const std::string& authority_certificate) {
  tls::TlsChannelCredentialsOptions options;
  options.set_certificate_provider(
      std::make_shared<tls::StaticDataCertificateProvider>(
          authority_certificate));
  options.watch_root_certs();
  return tls::TlsCredentials(options);
}

std::shared_ptr<grpc::Channel> DialController(
    const std::string& addresses,
    const std::shared_ptr<grpc::ChannelCredentials>& credentials,
    grpc::ChannelArguments arguments) {
  std::string target = addresses;
  if (const std::string several = TargetOfSeveral(addresses);
      !several.empty()) {
    target = several;
    arguments.SetServiceConfigJSON(kFollowHealth);
  }
  if (credentials == nullptr) {
    return grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(),
                                     arguments);
  }
  arguments.SetSslTargetNameOverride(kControllerDnsName);
  return grpc::CreateCustomChannel(target, credentials, arguments);
}

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> ServerCredentials(
    const std::string& dir, PeerCheck check) {
  HWNAS_RETURN_IF_ERROR(CheckServerFolder(dir));
  tls::TlsServerCredentialsOptions options(WatchFiles(dir));
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  // OpenSSL proves that the peer has the key of its certificate; `check` does
  // all the rest, since what gRPC refuses by itself nobody hears of.
  options.set_cert_request_type(
      GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_BUT_DONT_VERIFY);
  options.set_certificate_verifier(
      tls::ExternalCertificateVerifier::Create<PeerVerifier>(std::move(check)));
  return tls::TlsServerCredentials(options);
}

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>>
EnrolmentServerCredentials(const std::string& dir) {
  HWNAS_RETURN_IF_ERROR(CheckServerFolder(dir));
  tls::TlsServerCredentialsOptions options(WatchFiles(dir));
  options.watch_identity_key_cert_pairs();
  options.set_cert_request_type(GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE);
  return tls::TlsServerCredentials(options);
}

}  // namespace hwnas::security
