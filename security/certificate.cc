#include "security/certificate.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace hwnas::security {
namespace {

// Clocks of a farm differ a little.
constexpr absl::Duration kClockSkew = absl::Minutes(5);
constexpr absl::Duration kAuthorityLifetime = absl::Hours(24 * 365 * 10);
constexpr int kSerialBits = 127;

template <auto free>
struct Free {
  template <typename T>
  void operator()(T* value) const {
    free(value);
  }
};
using Bio = std::unique_ptr<BIO, Free<BIO_free_all>>;
using Bignum = std::unique_ptr<BIGNUM, Free<BN_free>>;
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using X509Ptr = std::unique_ptr<X509, Free<X509_free>>;
using Request = std::unique_ptr<X509_REQ, Free<X509_REQ_free>>;
using RevocationList = std::unique_ptr<X509_CRL, Free<X509_CRL_free>>;
using Revoked = std::unique_ptr<X509_REVOKED, Free<X509_REVOKED_free>>;
using Extension = std::unique_ptr<X509_EXTENSION, Free<X509_EXTENSION_free>>;
using Time = std::unique_ptr<ASN1_TIME, Free<ASN1_TIME_free>>;
using Integer = std::unique_ptr<ASN1_INTEGER, Free<ASN1_INTEGER_free>>;
using Store = std::unique_ptr<X509_STORE, Free<X509_STORE_free>>;
using StoreContext = std::unique_ptr<X509_STORE_CTX, Free<X509_STORE_CTX_free>>;
using Names = std::unique_ptr<GENERAL_NAMES, Free<GENERAL_NAMES_free>>;

// What OpenSSL says of its last failure, which is cleared.
std::string Reason() {
  const unsigned long code = ERR_peek_last_error();
  ERR_clear_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return reason == nullptr ? "no reason given" : reason;
}

absl::Status Failed(absl::string_view what) {
  return absl::InternalError(absl::StrCat(what, ": ", Reason()));
}

absl::Status Unreadable(absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("this is no ", what, " in PEM form (", Reason(), ")"));
}

Bio Reader(absl::string_view text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

// No encrypted file: OpenSSL would ask the terminal.
int NoPassword(char*, int, int, void*) { return 0; }

// The PEM text that `write` produces.
template <typename Write>
absl::StatusOr<std::string> ToPem(absl::string_view what, Write write) {
  const Bio bio(BIO_new(BIO_s_mem()));
  if (bio == nullptr || write(bio.get()) != 1) return Failed(what);
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return std::string(data, size);
}

absl::StatusOr<Key> ParseKey(absl::string_view pem) {
  Key key(
      PEM_read_bio_PrivateKey(Reader(pem).get(), nullptr, NoPassword, nullptr));
  if (key == nullptr) return Unreadable("private key");
  return key;
}

absl::StatusOr<X509Ptr> ParseX509(absl::string_view pem) {
  if (pem.size() > kMaxPemBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a certificate of ", pem.size(),
                     " bytes: expected at most ", kMaxPemBytes));
  }
  X509Ptr certificate(
      PEM_read_bio_X509(Reader(pem).get(), nullptr, NoPassword, nullptr));
  if (certificate == nullptr) return Unreadable("certificate");
  return certificate;
}

absl::StatusOr<std::string> SerialText(const ASN1_INTEGER* serial) {
  const Bignum number(ASN1_INTEGER_to_BN(serial, nullptr));
  char* hex = number == nullptr ? nullptr : BN_bn2hex(number.get());
  if (hex == nullptr) return Failed("read the serial number");
  std::string text = absl::AsciiStrToLower(hex);
  OPENSSL_free(hex);
  return text;
}

absl::StatusOr<Integer> SerialFromText(const std::string& text) {
  BIGNUM* raw = nullptr;
  const int used = BN_hex2bn(&raw, text.c_str());
  const Bignum number(raw);
  if (used == 0 || static_cast<size_t>(used) != text.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", text, "\" is no serial number"));
  }
  Integer serial(BN_to_ASN1_INTEGER(number.get(), nullptr));
  if (serial == nullptr) return Failed("make the serial number");
  return serial;
}

absl::StatusOr<Time> ToAsn1(absl::Time time) {
  Time made(ASN1_TIME_set(nullptr, absl::ToTimeT(time)));
  if (made == nullptr) return Failed("make a time");
  return made;
}

absl::StatusOr<absl::Time> FromAsn1(const ASN1_TIME* time) {
  std::tm parts = {};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return Failed("read a time");
  return absl::FromTM(parts, absl::UTCTimeZone());
}

absl::Status AddExtension(X509* certificate, X509* issuer, int nid,
                          const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const Extension extension(
      X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
  if (extension == nullptr ||
      X509_add_ext(certificate, extension.get(), -1) != 1) {
    return Failed(absl::StrCat("add the extension ", value));
  }
  return absl::OkStatus();
}

// Everything but the extensions and the signature.
absl::StatusOr<X509Ptr> NewX509(EVP_PKEY* key, const std::string& name,
                                absl::Time not_before, absl::Time not_after) {
  X509Ptr certificate(X509_new());
  const Bignum serial(BN_new());
  HWNAS_ASSIGN_OR_RETURN(const Time begin, ToAsn1(not_before));
  HWNAS_ASSIGN_OR_RETURN(const Time end, ToAsn1(not_after));
  X509* const x509 = certificate.get();
  X509_NAME* const subject = X509_get_subject_name(x509);
  if (X509_set_version(x509, X509_VERSION_3) != 1 ||
      BN_rand(serial.get(), kSerialBits, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) !=
          1 ||
      BN_to_ASN1_INTEGER(serial.get(), X509_get_serialNumber(x509)) ==
          nullptr ||
      X509_set1_notBefore(x509, begin.get()) != 1 ||
      X509_set1_notAfter(x509, end.get()) != 1 ||
      X509_set_pubkey(x509, key) != 1 ||
      X509_NAME_add_entry_by_txt(
          subject, "CN", MBSTRING_UTF8,
          reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1,
          0) != 1) {
    return Failed("make a certificate");
  }
  return certificate;
}

bool IsP256(EVP_PKEY* key) {
  char group[32] = {};
  size_t size = 0;
  return key != nullptr && EVP_PKEY_is_a(key, "EC") == 1 &&
         EVP_PKEY_get_group_name(key, group, sizeof(group), &size) == 1 &&
         absl::string_view(group, size) == "prime256v1";
}

}  // namespace

absl::StatusOr<std::string> NewKey() {
  const Key key(EVP_EC_gen("P-256"));
  if (key == nullptr) return Failed("make a key");
  return ToPem("write a key", [&](BIO* bio) {
    return PEM_write_bio_PKCS8PrivateKey(bio, key.get(), nullptr, nullptr, 0,
                                         nullptr, nullptr);
  });
}

absl::StatusOr<Credential> NewAuthority(absl::Time now) {
  Credential authority;
  HWNAS_ASSIGN_OR_RETURN(authority.key, NewKey());
  HWNAS_ASSIGN_OR_RETURN(const Key key, ParseKey(authority.key));
  HWNAS_ASSIGN_OR_RETURN(const X509Ptr certificate,
                         NewX509(key.get(), "hwnas certificate authority",
                                 now - kClockSkew, now + kAuthorityLifetime));
  X509* const x509 = certificate.get();
  if (X509_set_issuer_name(x509, X509_get_subject_name(x509)) != 1) {
    return Failed("name the authority");
  }
  for (const auto& [nid, value] : std::vector<std::pair<int, std::string>>{
           {NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
           {NID_key_usage, "critical,keyCertSign,cRLSign"},
           {NID_subject_key_identifier, "hash"}}) {
    HWNAS_RETURN_IF_ERROR(AddExtension(x509, x509, nid, value));
  }
  if (X509_sign(x509, key.get(), EVP_sha256()) == 0) {
    return Failed("sign the authority");
  }
  HWNAS_ASSIGN_OR_RETURN(authority.certificate,
                         ToPem("write a certificate", [&](BIO* bio) {
                           return PEM_write_bio_X509(bio, x509);
                         }));
  return authority;
}

absl::StatusOr<std::string> NewRequest(const std::string& key_pem) {
  HWNAS_ASSIGN_OR_RETURN(const Key key, ParseKey(key_pem));
  const Request request(X509_REQ_new());
  if (request == nullptr || X509_REQ_set_version(request.get(), 0) != 1 ||
      X509_REQ_set_pubkey(request.get(), key.get()) != 1 ||
      X509_REQ_sign(request.get(), key.get(), EVP_sha256()) == 0) {
    return Failed("make a certificate request");
  }
  return ToPem("write a certificate request", [&](BIO* bio) {
    return PEM_write_bio_X509_REQ(bio, request.get());
  });
}

absl::StatusOr<std::string> SignRequest(const Credential& authority,
                                        absl::string_view request_pem,
                                        const Identity& identity,
                                        absl::Duration lifetime,
                                        absl::Time now) {
  HWNAS_RETURN_IF_ERROR(CheckIdentity(identity));
  if (request_pem.size() > kMaxPemBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a certificate request of ", request_pem.size(),
                     " bytes: expected at most ", kMaxPemBytes));
  }
  const Request request(PEM_read_bio_X509_REQ(Reader(request_pem).get(),
                                              nullptr, NoPassword, nullptr));
  if (request == nullptr) return Unreadable("certificate request");
  EVP_PKEY* const public_key = X509_REQ_get0_pubkey(request.get());
  if (!IsP256(public_key)) {
    return absl::InvalidArgumentError(
        "the certificate request has another kind of key: expected P-256");
  }
  if (X509_REQ_verify(request.get(), public_key) != 1) {
    ERR_clear_error();
    return absl::InvalidArgumentError(
        "the certificate request is not signed with its own key");
  }
  HWNAS_ASSIGN_OR_RETURN(const Key key, ParseKey(authority.key));
  HWNAS_ASSIGN_OR_RETURN(const X509Ptr issuer,
                         ParseX509(authority.certificate));
  HWNAS_ASSIGN_OR_RETURN(
      const X509Ptr certificate,
      NewX509(public_key, std::string(RoleName(identity.role)),
              now - kClockSkew, now + lifetime));
  X509* const x509 = certificate.get();
  if (X509_set_issuer_name(x509, X509_get_subject_name(issuer.get())) != 1) {
    return Failed("name the issuer");
  }
  const bool server = identity.role == Role::kController;
  std::string names = absl::StrCat("URI:", ToUri(identity));
  if (server) absl::StrAppend(&names, ",DNS:", kControllerDnsName);
  for (const auto& [nid, value] : std::vector<std::pair<int, std::string>>{
           {NID_basic_constraints, "critical,CA:FALSE"},
           {NID_key_usage, "critical,digitalSignature"},
           {NID_ext_key_usage, server ? "serverAuth" : "clientAuth"},
           {NID_subject_alt_name, names}}) {
    HWNAS_RETURN_IF_ERROR(AddExtension(x509, issuer.get(), nid, value));
  }
  if (X509_sign(x509, key.get(), EVP_sha256()) == 0) {
    return Failed("sign a certificate");
  }
  return ToPem("write a certificate",
               [&](BIO* bio) { return PEM_write_bio_X509(bio, x509); });
}

absl::StatusOr<Certificate> ReadCertificate(absl::string_view pem) {
  HWNAS_ASSIGN_OR_RETURN(const X509Ptr x509, ParseX509(pem));
  const Names names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(x509.get(), NID_subject_alt_name, nullptr, nullptr)));
  std::vector<std::string> uris;
  for (int i = 0; names != nullptr && i < sk_GENERAL_NAME_num(names.get());
       ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_URI) continue;
    const ASN1_STRING* uri = name->d.uniformResourceIdentifier;
    uris.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(uri)),
                      ASN1_STRING_length(uri));
  }
  if (uris.size() != 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a certificate with ", uris.size(), " identities: expected one"));
  }
  Certificate certificate;
  HWNAS_ASSIGN_OR_RETURN(certificate.identity, IdentityFromUri(uris[0]));
  HWNAS_ASSIGN_OR_RETURN(certificate.serial,
                         SerialText(X509_get0_serialNumber(x509.get())));
  HWNAS_ASSIGN_OR_RETURN(certificate.not_before,
                         FromAsn1(X509_get0_notBefore(x509.get())));
  HWNAS_ASSIGN_OR_RETURN(certificate.not_after,
                         FromAsn1(X509_get0_notAfter(x509.get())));
  return certificate;
}

absl::Status CheckSignedBy(const std::string& authority_certificate,
                           absl::string_view pem, absl::Time now) {
  HWNAS_ASSIGN_OR_RETURN(const X509Ptr authority,
                         ParseX509(authority_certificate));
  HWNAS_ASSIGN_OR_RETURN(const X509Ptr certificate, ParseX509(pem));
  const Store store(X509_STORE_new());
  const StoreContext context(X509_STORE_CTX_new());
  if (store == nullptr || context == nullptr ||
      X509_STORE_add_cert(store.get(), authority.get()) != 1 ||
      X509_STORE_CTX_init(context.get(), store.get(), certificate.get(),
                          nullptr) != 1) {
    return Failed("prepare the check of a certificate");
  }
  X509_VERIFY_PARAM* const how = X509_STORE_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_time(how, absl::ToTimeT(now));
  X509_VERIFY_PARAM_set_purpose(how, X509_PURPOSE_SSL_CLIENT);
  if (X509_verify_cert(context.get()) == 1) return absl::OkStatus();
  const int error = X509_STORE_CTX_get_error(context.get());
  ERR_clear_error();
  return absl::UnauthenticatedError(absl::StrCat(
      "the certificate is not good: ", X509_verify_cert_error_string(error)));
}

absl::Status CheckKey(const Credential& credential) {
  HWNAS_ASSIGN_OR_RETURN(const Key key, ParseKey(credential.key));
  HWNAS_ASSIGN_OR_RETURN(const X509Ptr certificate,
                         ParseX509(credential.certificate));
  if (X509_check_private_key(certificate.get(), key.get()) == 1) {
    return absl::OkStatus();
  }
  ERR_clear_error();
  return absl::InvalidArgumentError("the key is not that of the certificate");
}

absl::StatusOr<std::string> NewRevocationList(
    const Credential& authority, const std::set<std::string>& serials,
    absl::Time now) {
  HWNAS_ASSIGN_OR_RETURN(const Key key, ParseKey(authority.key));
  HWNAS_ASSIGN_OR_RETURN(const X509Ptr issuer,
                         ParseX509(authority.certificate));
  HWNAS_ASSIGN_OR_RETURN(const Time time, ToAsn1(now));
  // It is replaced as need be; nobody waits for the next one.
  HWNAS_ASSIGN_OR_RETURN(const Time next, ToAsn1(now + kAuthorityLifetime));
  const RevocationList list(X509_CRL_new());
  if (list == nullptr ||
      X509_CRL_set_version(list.get(), X509_CRL_VERSION_2) != 1 ||
      X509_CRL_set_issuer_name(list.get(),
                               X509_get_subject_name(issuer.get())) != 1 ||
      X509_CRL_set1_lastUpdate(list.get(), time.get()) != 1 ||
      X509_CRL_set1_nextUpdate(list.get(), next.get()) != 1) {
    return Failed("make a revocation list");
  }
  for (const std::string& text : serials) {
    HWNAS_ASSIGN_OR_RETURN(const Integer serial, SerialFromText(text));
    Revoked revoked(X509_REVOKED_new());
    if (revoked == nullptr ||
        X509_REVOKED_set_serialNumber(revoked.get(), serial.get()) != 1 ||
        X509_REVOKED_set_revocationDate(revoked.get(), time.get()) != 1 ||
        X509_CRL_add0_revoked(list.get(), revoked.get()) != 1) {
      return Failed("add to the revocation list");
    }
    (void)revoked.release();  // The list's now.
  }
  X509_CRL_sort(list.get());
  if (X509_CRL_sign(list.get(), key.get(), EVP_sha256()) == 0) {
    return Failed("sign the revocation list");
  }
  return ToPem("write a revocation list", [&](BIO* bio) {
    return PEM_write_bio_X509_CRL(bio, list.get());
  });
}

absl::StatusOr<std::set<std::string>> ReadRevocationList(
    const std::string& authority_certificate, absl::string_view pem) {
  HWNAS_ASSIGN_OR_RETURN(const X509Ptr authority,
                         ParseX509(authority_certificate));
  const RevocationList list(
      PEM_read_bio_X509_CRL(Reader(pem).get(), nullptr, NoPassword, nullptr));
  if (list == nullptr) return Unreadable("revocation list");
  if (X509_CRL_verify(list.get(), X509_get0_pubkey(authority.get())) != 1) {
    ERR_clear_error();
    return absl::InvalidArgumentError(
        "the revocation list was not signed by our certificate authority");
  }
  std::set<std::string> serials;
  STACK_OF(X509_REVOKED)* const entries = X509_CRL_get_REVOKED(list.get());
  for (int i = 0; i < sk_X509_REVOKED_num(entries); ++i) {
    HWNAS_ASSIGN_OR_RETURN(std::string serial,
                           SerialText(X509_REVOKED_get0_serialNumber(
                               sk_X509_REVOKED_value(entries, i))));
    serials.insert(std::move(serial));
  }
  return serials;
}

}  // namespace hwnas::security
