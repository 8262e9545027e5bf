// What a program needs to speak TLS, in one folder, the --tls_dir of them all:
//
//   ca.pem        the certificate authority: whom to believe
//   identity.pem  its own certificate, then its key; for its owner only
//
// Each file is replaced whole. Connections made a minute later use the new one.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "grpcpp/channel.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/support/channel_arguments.h"
#include "security/certificate.h"

namespace hwnas::security {

// Creates the folder if need be.
absl::Status WriteIdentity(const std::string& dir,
                           const std::string& authority_certificate,
                           const Credential& credential);
// The certificate in a folder. FAILED_PRECONDITION, in a sentence a person can
// act on, if there is none, it has expired, others may read its key, or key and
// certificate do not belong together.
absl::StatusOr<Certificate> ReadIdentity(const std::string& dir,
                                         absl::Time now);
// Less than a third of its life is left.
bool RenewalIsDue(const Certificate& certificate, absl::Time now);

// ---- Of those who dial ----

// With the identity in `dir`.
absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> ChannelCredentials(
    const std::string& dir);
// Without an identity; only to enrol.
std::shared_ptr<grpc::ChannelCredentials> EnrolmentChannelCredentials(
    const std::string& authority_certificate);
// A channel to the controller at `addresses`. `credentials` is one of the
// above: the other end must be a controller, whatever its address; nullptr: in
// the clear. Of several addresses, separated by commas, it follows the
// controller that serves, as gRPC health tells; their names are looked up now
// and once, and unknown ones left out.
std::shared_ptr<grpc::Channel> DialController(
    const std::string& addresses,
    const std::shared_ptr<grpc::ChannelCredentials>& credentials,
    grpc::ChannelArguments arguments);

// ---- Of the controller ----

// Decides about a certificate (empty: there is none) that somebody who dials
// holds the key of. Nothing but that has been checked. Thread-safe; does not
// block.
using PeerCheck = std::function<absl::Status(absl::string_view certificate)>;

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> ServerCredentials(
    const std::string& dir, PeerCheck check);
// Asks for no certificate.
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>>
EnrolmentServerCredentials(const std::string& dir);

}  // namespace hwnas::security
