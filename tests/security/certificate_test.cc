#include "security/certificate.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hwnas::security {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);
const Identity kWorker = {Role::kWorker, "gpu-3"};

std::string Sign(const Credential& authority, const Identity& identity,
                 absl::Duration lifetime = absl::Hours(1),
                 absl::Time now = kNow) {
  return *SignRequest(authority, *NewRequest(*NewKey()), identity, lifetime,
                      now);
}

std::string RsaRequest() {
  EVP_PKEY* const key = EVP_RSA_gen(2048);
  X509_REQ* const request = X509_REQ_new();
  X509_REQ_set_pubkey(request, key);
  X509_REQ_sign(request, key, EVP_sha256());
  BIO* const bio = BIO_new(BIO_s_mem());
  PEM_write_bio_X509_REQ(bio, request);
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  std::string pem(data, size);
  BIO_free_all(bio);
  X509_REQ_free(request);
  EVP_PKEY_free(key);
  return pem;
}

TEST(Certificate, SaysWhoItsHolderIs) {
  const Credential authority = *NewAuthority(kNow);
  const auto read = ReadCertificate(Sign(authority, kWorker));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->identity, kWorker);
  EXPECT_EQ(read->not_after, kNow + absl::Hours(1));
  EXPECT_LT(read->not_before, kNow);
  EXPECT_EQ(read->serial.size(), 32u);
}

TEST(Certificate, TheLongestNameFits) {
  const Credential authority = *NewAuthority(kNow);
  const Identity longest = {Role::kResearcher, std::string(63, 'x')};
  EXPECT_EQ(ReadCertificate(Sign(authority, longest))->identity, longest);
}

TEST(Certificate, IsGoodOnlyFromItsAuthorityAndInItsTime) {
  const Credential authority = *NewAuthority(kNow);
  const std::string good = Sign(authority, kWorker);
  EXPECT_TRUE(CheckSignedBy(authority.certificate, good, kNow).ok());
  EXPECT_THAT(std::string(CheckSignedBy(authority.certificate, good,
                                        kNow + absl::Hours(2))
                              .message()),
              HasSubstr("expired"));
  EXPECT_THAT(std::string(CheckSignedBy(authority.certificate, good,
                                        kNow - absl::Hours(1))
                              .message()),
              HasSubstr("not yet valid"));
  const Credential other = *NewAuthority(kNow);
  EXPECT_EQ(CheckSignedBy(other.certificate, good, kNow).code(),
            absl::StatusCode::kUnauthenticated);
  // The controller's own certificate is not for callers.
  EXPECT_THAT(
      std::string(CheckSignedBy(authority.certificate,
                                Sign(authority, {Role::kController, "main"}),
                                kNow)
                      .message()),
      HasSubstr("purpose"));
}

TEST(Certificate, AHolderCannotSignForOthers) {
  const Credential authority = *NewAuthority(kNow);
  Credential holder;
  holder.key = *NewKey();
  holder.certificate = *SignRequest(authority, *NewRequest(holder.key), kWorker,
                                    absl::Hours(1), kNow);
  EXPECT_TRUE(CheckKey(holder).ok());
  const std::string forged = Sign(holder, {Role::kAdmin, "me"});
  EXPECT_FALSE(CheckSignedBy(authority.certificate, forged, kNow).ok());
  EXPECT_FALSE(
      CheckSignedBy(authority.certificate, forged + holder.certificate, kNow)
          .ok());
}

TEST(Certificate, RefusesBadRequests) {
  const Credential authority = *NewAuthority(kNow);
  const auto sign = [&](const std::string& request) {
    return SignRequest(authority, request, kWorker, absl::Hours(1), kNow)
        .status();
  };
  std::string tampered = *NewRequest(*NewKey());
  tampered[80] ^= 1;  // In the first line of base64.
  for (const std::string& request :
       {std::string(), std::string("hello"), tampered, authority.certificate,
        RsaRequest(), std::string(kMaxPemBytes + 1, 'x')}) {
    EXPECT_EQ(sign(request).code(), absl::StatusCode::kInvalidArgument)
        << request.substr(0, 80);
  }
  EXPECT_THAT(std::string(sign(RsaRequest()).message()), HasSubstr("P-256"));
}

TEST(Certificate, RefusesWhatIsNoCertificate) {
  const Credential authority = *NewAuthority(kNow);
  for (const std::string& text :
       {std::string(), std::string("x"), authority.certificate,
        std::string(kMaxPemBytes + 1, 'x')}) {
    EXPECT_EQ(ReadCertificate(text).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

TEST(RevocationList, HoldsSerialsAndIsSigned) {
  const Credential authority = *NewAuthority(kNow);
  const std::string serial = ReadCertificate(Sign(authority, kWorker))->serial;
  const auto list = NewRevocationList(authority, {serial}, kNow);
  ASSERT_TRUE(list.ok()) << list.status();
  EXPECT_THAT(*ReadRevocationList(authority.certificate, *list),
              ElementsAre(serial));
  EXPECT_THAT(*ReadRevocationList(authority.certificate,
                                  *NewRevocationList(authority, {}, kNow)),
              IsEmpty());
  EXPECT_EQ(ReadRevocationList(NewAuthority(kNow)->certificate, *list)
                .status()
                .code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(ReadRevocationList(authority.certificate, "x").ok());
}

}  // namespace
}  // namespace hwnas::security
