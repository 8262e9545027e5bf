// What strangers send before they are known: certificates, requests, tokens,
// revocation lists.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "absl/strings/string_view.h"
#include "security/authority.h"
#include "security/certificate.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hwnas::security;  // NOLINT(build/namespaces)
  static const absl::Time now = absl::FromUnixSeconds(1'700'000'000);
  static const Credential authority = *NewAuthority(now);
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto identity = IdentityFromUri(text); identity.ok()) {
    if (ToUri(*identity) != text) std::abort();
  }
  if (const auto token = ParseToken(text); token.ok()) {
    if (!ParseToken(ToText(*token)).ok()) std::abort();
  }
  (void)ReadCertificate(text);
  // Nothing it could be was signed by this authority.
  if (CheckSignedBy(authority.certificate, text, now).ok()) std::abort();
  if (ReadRevocationList(authority.certificate, text).ok()) std::abort();
  if (const auto signed_one = SignRequest(authority, text, {Role::kWorker, "w"},
                                          absl::Hours(1), now);
      signed_one.ok()) {
    if (!CheckSignedBy(authority.certificate, *signed_one, now).ok()) {
      std::abort();
    }
  }
  return 0;
}
