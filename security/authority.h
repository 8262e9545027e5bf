// The certificate authority: a folder that signs certificates for newcomers who
// show a token, and renews and revokes them.
//
//   HWNAS_RETURN_IF_ERROR(Authority::Create("/etc/hwnas/tls", now));
//   HWNAS_ASSIGN_OR_RETURN(const auto authority, Authority::Open(dir, week));
//   authority->NewToken({Role::kWorker, "gpu-3"}, absl::Hours(1), now);
//
//   ca.pem      its certificate: everybody may have it
//   ca.key      its key
//   crl.pem     what it has revoked
//   issued      what it has signed: a line each of serial, expiry, identity
//   tokens/ID   tokens that have not been used: a line of digest, expiry,
//   identity
//
// All but ca.pem and crl.pem are for their owner only. Several processes may
// use one folder at once.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "security/certificate.h"
#include "security/identity.h"

namespace hwnas::security {

// What a newcomer is given, once: whom to trust and a secret.
struct Token {
  std::string authority_certificate;
  std::string id;      // 16 hex digits.
  std::string secret;  // 64 hex digits.
};
// One line of text.
std::string ToText(const Token& token);
// INVALID_ARGUMENT; the message does not show what was given.
absl::StatusOr<Token> ParseToken(absl::string_view text);

// Thread-safe.
class Authority {
 public:
  struct Issued {
    Certificate certificate;  // Without not_before.
    bool revoked = false;
  };

  // Makes a new authority in `dir`, which may exist. ALREADY_EXISTS if there is
  // one.
  static absl::Status Create(const std::string& dir, absl::Time now);
  // `lifetime`: of the certificates it signs. NOT_FOUND if it has no key.
  static absl::StatusOr<std::unique_ptr<Authority>> Open(
      const std::string& dir, absl::Duration lifetime);

  const std::string& certificate() const { return credential_.certificate; }
  absl::Duration lifetime() const { return lifetime_; }

  // For one certificate of that identity, within `lifetime` from now.
  absl::StatusOr<Token> NewToken(const Identity& identity,
                                 absl::Duration lifetime, absl::Time now);
  // Uses a token up. UNAUTHENTICATED if there is none with that id and secret
  // or it has expired, all in the same words.
  absl::StatusOr<std::string> Enroll(const std::string& token_id,
                                     absl::string_view secret,
                                     absl::string_view request, absl::Time now);
  // A new certificate for the holder of `held`, which has been checked but for
  // its revocation. UNAUTHENTICATED if it was revoked.
  absl::StatusOr<std::string> Renew(const Certificate& held,
                                    absl::string_view request, absl::Time now);
  // Without a token.
  absl::StatusOr<std::string> Issue(const Identity& identity,
                                    absl::string_view request, absl::Time now);

  // Revokes all certificates and tokens of "worker/gpu-3", "user/alice"..., or
  // of everybody with that name. Returns how many. NOT_FOUND if there are none.
  // A line of `issued` that cannot be read revokes nobody and stays as it is;
  // each is told to `unreadable`, also after an error: "FILE, line 3: ...".
  absl::StatusOr<int> Revoke(absl::string_view who, absl::Time now,
                             std::vector<std::string>* unreadable = nullptr);
  // Certificates that have not expired, in the order they were signed. Leaves
  // out what cannot be read, likewise.
  absl::StatusOr<std::vector<Issued>> List(
      absl::Time now, std::vector<std::string>* unreadable = nullptr) const;

 private:
  Authority(std::string dir, Credential credential, absl::Duration lifetime)
      : dir_(std::move(dir)),
        credential_(std::move(credential)),
        lifetime_(lifetime) {}

  // What the file `issued` says.
  struct Register {
    std::vector<Issued> valid;
    std::set<std::string> expired;  // Serials.
    // Lines as they are, and what is wrong with each.
    std::vector<std::string> unreadable, complaints;
  };

  // The lock is held.
  absl::StatusOr<std::string> Sign(const Identity& identity,
                                   absl::string_view request, absl::Time now);
  absl::StatusOr<Register> ReadIssued(absl::Time now) const;

  const std::string dir_;
  const Credential credential_;
  const absl::Duration lifetime_;
};

// "user/alice", "worker/gpu-3": an identity as people write it.
std::string ToShortText(const Identity& identity);

// The serials revoked by the authority whose files are in `dir`. NOT_FOUND if
// it has no list, which is not the same as an empty one.
absl::StatusOr<std::set<std::string>> ReadRevoked(const std::string& dir);

}  // namespace hwnas::security
