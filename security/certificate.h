// Keys, certificates and revocation lists: all that is done with OpenSSL.
// Everything is PEM; keys are P-256. Thread-safe.
#pragma once

#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "security/identity.h"

namespace hwnas::security {

// Every controller's certificate has this DNS name and no other certificate
// has: whoever dials asks for it, whatever the address. So no certificate
// names a host, and a controller may move.
inline constexpr char kControllerDnsName[] = "controller.hwnas";
// Largest file or message of one of these.
inline constexpr size_t kMaxPemBytes = 16 << 10;
inline constexpr size_t kMaxRevocationListBytes = 4 << 20;

// A certificate that somebody holds, together with the key.
struct Credential {
  std::string key;
  std::string certificate;
};

// What a certificate says.
struct Certificate {
  Identity identity;
  std::string serial;  // Hex.
  absl::Time not_before;
  absl::Time not_after;
};

absl::StatusOr<std::string> NewKey();
// A new certificate authority, valid for ten years.
absl::StatusOr<Credential> NewAuthority(absl::Time now);
// Asks for a certificate. Says nothing but the public key: who somebody is
// decides who signs.
absl::StatusOr<std::string> NewRequest(const std::string& key);

// Signs a request for `identity`. INVALID_ARGUMENT if it is none, is not signed
// with its own key, or its key is not P-256.
absl::StatusOr<std::string> SignRequest(const Credential& authority,
                                        absl::string_view request,
                                        const Identity& identity,
                                        absl::Duration lifetime,
                                        absl::Time now);

// INVALID_ARGUMENT if it is no certificate with exactly one identity. Does not
// check who signed it.
absl::StatusOr<Certificate> ReadCertificate(absl::string_view certificate);
// UNAUTHENTICATED, with the reason, unless it was signed by `authority` for a
// client and is valid at `now`.
absl::Status CheckSignedBy(const std::string& authority_certificate,
                           absl::string_view certificate, absl::Time now);
// Whether both belong together.
absl::Status CheckKey(const Credential& credential);

absl::StatusOr<std::string> NewRevocationList(
    const Credential& authority, const std::set<std::string>& serials,
    absl::Time now);
// Serials as in Certificate. INVALID_ARGUMENT if it was not signed by the
// authority.
absl::StatusOr<std::set<std::string>> ReadRevocationList(
    const std::string& authority_certificate, absl::string_view list);

}  // namespace hwnas::security
