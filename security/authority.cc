#include "security/authority.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/digest.h"
#include "common/files.h"
#include "common/secret_files.h"
#include "common/status_macros.h"

namespace hwnas::security {
namespace {

constexpr absl::string_view kTokenPrefix = "hwnas1";
constexpr size_t kTokenIdBytes = 8;
constexpr size_t kTokenSecretBytes = 32;
constexpr size_t kMaxIssuedBytes = size_t{1} << 30;

// Held as long as it lives; other threads and processes wait.
class FolderLock {
 public:
  static absl::StatusOr<FolderLock> Take(const std::string& dir) {
    const std::string path = dir + "/lock";
    const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat("open ", path));
    FolderLock lock(fd);
    while (flock(fd, LOCK_EX) != 0) {
      if (errno != EINTR) {
        return absl::ErrnoToStatus(errno, absl::StrCat("lock ", path));
      }
    }
    return lock;
  }
  FolderLock(FolderLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FolderLock& operator=(FolderLock&&) = delete;
  ~FolderLock() {
    if (fd_ >= 0) close(fd_);
  }

 private:
  explicit FolderLock(int fd) : fd_(fd) {}
  int fd_;
};

absl::StatusOr<std::string> RandomHex(size_t bytes) {
  std::string raw(bytes, '\0');
  if (RAND_bytes(reinterpret_cast<unsigned char*>(raw.data()),
                 static_cast<int>(bytes)) != 1) {
    return absl::InternalError("no randomness");
  }
  return absl::BytesToHexString(raw);
}

bool IsHex(absl::string_view text, size_t digits) {
  return text.size() == digits &&
         text.find_first_not_of("0123456789abcdef") == absl::string_view::npos;
}

// "{first} {unix seconds} {uri}": a line of `issued`, and a token's file.
struct Record {
  std::string first;
  absl::Time expiry;
  Identity identity;
};

std::string ToLine(const Record& record) {
  return absl::StrCat(record.first, " ", absl::ToUnixSeconds(record.expiry),
                      " ", ToUri(record.identity), "\n");
}

absl::StatusOr<Record> ParseLine(absl::string_view line) {
  const std::vector<absl::string_view> parts =
      absl::StrSplit(absl::StripSuffix(line, "\n"), ' ');
  int64_t seconds = 0;
  if (parts.size() != 3 || !absl::SimpleAtoi(parts[1], &seconds)) {
    return absl::DataLossError("expected a serial, a time and an identity");
  }
  Record record = {.first = std::string(parts[0]),
                   .expiry = absl::FromUnixSeconds(seconds)};
  HWNAS_ASSIGN_OR_RETURN(record.identity, IdentityFromUri(parts[2]));
  return record;
}

absl::Status AppendSecretly(const std::string& path, absl::string_view text) {
  const int fd =
      open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat("open ", path));
  const absl::Cleanup close_fd = [fd] { close(fd); };
  const off_t before = lseek(fd, 0, SEEK_END);
  if (before < 0)
    return absl::ErrnoToStatus(errno, absl::StrCat("seek ", path));
  errno = ENOSPC;  // Which a short write does not say.
  if (write(fd, text.data(), text.size()) !=
          static_cast<ssize_t>(text.size()) ||
      fdatasync(fd) != 0) {
    const absl::Status status =
        absl::ErrnoToStatus(errno, absl::StrCat("write ", path));
    // No part of a line stays, which the next one would be joined to.
    (void)ftruncate(fd, before);
    return status;
  }
  return absl::OkStatus();
}

absl::Status NotGood() {
  return absl::UnauthenticatedError(
      "the token is not good: it does not exist, was used, or has expired");
}

}  // namespace

std::string ToText(const Token& token) {
  return absl::StrCat(kTokenPrefix, ".",
                      absl::WebSafeBase64Escape(token.authority_certificate),
                      ".", token.id, ".", token.secret);
}

absl::StatusOr<Token> ParseToken(absl::string_view text) {
  const std::vector<absl::string_view> parts =
      absl::StrSplit(absl::StripAsciiWhitespace(text), '.');
  Token token;
  if (text.size() > 2 * kMaxPemBytes || parts.size() != 4 ||
      parts[0] != kTokenPrefix ||
      !absl::WebSafeBase64Unescape(parts[1], &token.authority_certificate) ||
      !IsHex(parts[2], 2 * kTokenIdBytes) ||
      !IsHex(parts[3], 2 * kTokenSecretBytes)) {
    return absl::InvalidArgumentError(
        "this is no enrolment token: expected the line that 'hwnas ca token' "
        "has printed");
  }
  token.id = std::string(parts[2]);
  token.secret = std::string(parts[3]);
  return token;
}

std::string ToShortText(const Identity& identity) {
  const std::string text = ToUri(identity);
  absl::string_view uri = text;
  absl::ConsumePrefix(&uri, "hwnas://");
  return std::string(uri.substr(0, uri.find('?')));
}

absl::StatusOr<std::set<std::string>> ReadRevoked(const std::string& dir) {
  HWNAS_ASSIGN_OR_RETURN(const std::string authority,
                         ReadFile(dir + "/ca.pem", kMaxPemBytes));
  HWNAS_ASSIGN_OR_RETURN(const std::string list,
                         ReadFile(dir + "/crl.pem", kMaxRevocationListBytes));
  return ReadRevocationList(authority, list);
}

absl::Status Authority::Create(const std::string& dir, absl::Time now) {
  HWNAS_RETURN_IF_ERROR(MakeDirectories(dir));
  HWNAS_ASSIGN_OR_RETURN(const FolderLock lock, FolderLock::Take(dir));
  for (const char* file : {"/ca.key", "/ca.pem"}) {
    if (std::filesystem::exists(dir + file)) {
      return absl::AlreadyExistsError(
          absl::StrCat(dir, " has a certificate authority already"));
    }
  }
  if (mkdir((dir + "/tokens").c_str(), 0700) != 0 && errno != EEXIST) {
    return absl::ErrnoToStatus(errno, absl::StrCat("create ", dir, "/tokens"));
  }
  HWNAS_ASSIGN_OR_RETURN(const Credential authority, NewAuthority(now));
  HWNAS_ASSIGN_OR_RETURN(const std::string list,
                         NewRevocationList(authority, {}, now));
  HWNAS_RETURN_IF_ERROR(WriteSecretFile(dir + "/ca.key", authority.key));
  HWNAS_RETURN_IF_ERROR(WriteFileAtomically(dir + "/crl.pem", list));
  return WriteFileAtomically(dir + "/ca.pem", authority.certificate);
}

absl::StatusOr<std::unique_ptr<Authority>> Authority::Open(
    const std::string& dir, absl::Duration lifetime) {
  Credential credential;
  HWNAS_ASSIGN_OR_RETURN(credential.key,
                         ReadSecretFile(dir + "/ca.key", kMaxPemBytes));
  HWNAS_ASSIGN_OR_RETURN(credential.certificate,
                         ReadFile(dir + "/ca.pem", kMaxPemBytes));
  if (const absl::Status pair = CheckKey(credential); !pair.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("certificate authority ", dir, ": ", pair.message()));
  }
  return std::unique_ptr<Authority>(
      new Authority(dir, std::move(credential), lifetime));
}

absl::StatusOr<Token> Authority::NewToken(const Identity& identity,
                                          absl::Duration lifetime,
                                          absl::Time now) {
  HWNAS_RETURN_IF_ERROR(CheckIdentity(identity));
  HWNAS_ASSIGN_OR_RETURN(const FolderLock lock, FolderLock::Take(dir_));
  Token token = {.authority_certificate = credential_.certificate};
  HWNAS_ASSIGN_OR_RETURN(token.id, RandomHex(kTokenIdBytes));
  HWNAS_ASSIGN_OR_RETURN(token.secret, RandomHex(kTokenSecretBytes));
  HWNAS_RETURN_IF_ERROR(
      WriteSecretFile(absl::StrCat(dir_, "/tokens/", token.id),
                      ToLine({.first = Sha256Hex(token.secret),
                              .expiry = now + lifetime,
                              .identity = identity})));
  return token;
}

absl::StatusOr<std::string> Authority::Enroll(const std::string& token_id,
                                              absl::string_view secret,
                                              absl::string_view request,
                                              absl::Time now) {
  // It becomes a path.
  if (!IsHex(token_id, 2 * kTokenIdBytes) ||
      !IsHex(secret, 2 * kTokenSecretBytes)) {
    return NotGood();
  }
  HWNAS_ASSIGN_OR_RETURN(const FolderLock lock, FolderLock::Take(dir_));
  const std::string path = absl::StrCat(dir_, "/tokens/", token_id);
  const absl::StatusOr<std::string> line = ReadSecretFile(path, 4096);
  if (absl::IsNotFound(line.status())) return NotGood();
  HWNAS_RETURN_IF_ERROR(line.status());
  HWNAS_ASSIGN_OR_RETURN(const Record token, ParseLine(*line));
  const std::string digest = Sha256Hex(secret);
  if (digest.size() != token.first.size() ||
      CRYPTO_memcmp(digest.data(), token.first.data(), digest.size()) != 0) {
    return NotGood();
  }
  if (now >= token.expiry) {
    unlink(path.c_str());
    return NotGood();
  }
  HWNAS_ASSIGN_OR_RETURN(std::string certificate,
                         Sign(token.identity, request, now));
  if (unlink(path.c_str()) != 0) {
    return absl::ErrnoToStatus(errno, "use the token up");
  }
  return certificate;
}

absl::StatusOr<std::string> Authority::Renew(const Certificate& held,
                                             absl::string_view request,
                                             absl::Time now) {
  HWNAS_ASSIGN_OR_RETURN(const FolderLock lock, FolderLock::Take(dir_));
  HWNAS_ASSIGN_OR_RETURN(const std::set<std::string> revoked,
                         ReadRevoked(dir_));
  if (revoked.count(held.serial) > 0) {
    return absl::UnauthenticatedError("the certificate was revoked");
  }
  return Sign(held.identity, request, now);
}

absl::StatusOr<std::string> Authority::Issue(const Identity& identity,
                                             absl::string_view request,
                                             absl::Time now) {
  HWNAS_ASSIGN_OR_RETURN(const FolderLock lock, FolderLock::Take(dir_));
  return Sign(identity, request, now);
}

absl::StatusOr<std::string> Authority::Sign(const Identity& identity,
                                            absl::string_view request,
                                            absl::Time now) {
  HWNAS_ASSIGN_OR_RETURN(
      std::string pem,
      SignRequest(credential_, request, identity, lifetime_, now));
  HWNAS_ASSIGN_OR_RETURN(const Certificate certificate, ReadCertificate(pem));
  // Before anybody has it: what is not written down cannot be revoked.
  HWNAS_RETURN_IF_ERROR(
      AppendSecretly(dir_ + "/issued", ToLine({.first = certificate.serial,
                                               .expiry = certificate.not_after,
                                               .identity = identity})));
  return pem;
}

absl::StatusOr<Authority::Register> Authority::ReadIssued(
    absl::Time now) const {
  const std::string path = dir_ + "/issued";
  const absl::StatusOr<std::string> text =
      ReadSecretFile(path, kMaxIssuedBytes);
  if (absl::IsNotFound(text.status())) return Register();
  HWNAS_RETURN_IF_ERROR(text.status());
  HWNAS_ASSIGN_OR_RETURN(const std::set<std::string> revoked,
                         ReadRevoked(dir_));
  Register all;
  int number = 0;
  for (const absl::string_view line : absl::StrSplit(*text, '\n')) {
    ++number;
    if (line.empty()) continue;
    const absl::StatusOr<Record> record = ParseLine(line);
    if (!record.ok()) {
      all.unreadable.emplace_back(line);
      all.complaints.push_back(absl::StrCat(path, ", line ", number, ": ",
                                            record.status().message()));
      continue;
    }
    if (record->expiry <= now) {
      all.expired.insert(record->first);
      continue;
    }
    all.valid.push_back({.certificate = {.identity = record->identity,
                                         .serial = record->first,
                                         .not_after = record->expiry},
                         .revoked = revoked.count(record->first) > 0});
  }
  return all;
}

absl::StatusOr<std::vector<Authority::Issued>> Authority::List(
    absl::Time now, std::vector<std::string>* unreadable) const {
  HWNAS_ASSIGN_OR_RETURN(const FolderLock lock, FolderLock::Take(dir_));
  HWNAS_ASSIGN_OR_RETURN(Register all, ReadIssued(now));
  if (unreadable != nullptr) *unreadable = std::move(all.complaints);
  return std::move(all.valid);
}

absl::StatusOr<int> Authority::Revoke(absl::string_view who, absl::Time now,
                                      std::vector<std::string>* unreadable) {
  const auto is_meant = [who](const Identity& identity) {
    return identity.role != Role::kController &&
           (identity.name == who || ToShortText(identity) == who);
  };
  HWNAS_ASSIGN_OR_RETURN(const FolderLock lock, FolderLock::Take(dir_));
  int count = 0;
  std::error_code error;
  for (std::filesystem::directory_iterator file(dir_ + "/tokens", error), end;
       !error && file != end; file.increment(error)) {
    HWNAS_ASSIGN_OR_RETURN(const std::string line,
                           ReadSecretFile(file->path(), 4096));
    const absl::StatusOr<Record> token = ParseLine(line);
    if (!token.ok() || (token->expiry > now && !is_meant(token->identity))) {
      continue;
    }
    if (is_meant(token->identity)) ++count;
    std::error_code ignored;  // It has been used just now.
    std::filesystem::remove(file->path(), ignored);
  }
  if (error && error != std::errc::no_such_file_or_directory) {
    return absl::ErrnoToStatus(error.value(),
                               absl::StrCat("list ", dir_, "/tokens"));
  }
  HWNAS_ASSIGN_OR_RETURN(const Register issued, ReadIssued(now));
  if (unreadable != nullptr) *unreadable = issued.complaints;
  // Those that have expired need not be on the list; those of lines that cannot
  // be read stay on it.
  HWNAS_ASSIGN_OR_RETURN(std::set<std::string> revoked, ReadRevoked(dir_));
  for (const std::string& serial : issued.expired) revoked.erase(serial);
  for (const Issued& one : issued.valid) {
    if (!is_meant(one.certificate.identity)) continue;
    if (!one.revoked) ++count;
    revoked.insert(one.certificate.serial);
  }
  if (count == 0) {
    return absl::NotFoundError(
        absl::StrCat("nobody called \"", absl::CHexEscape(who.substr(0, 70)),
                     "\" has a certificate or a token: see 'hwnas ca list'"));
  }
  HWNAS_ASSIGN_OR_RETURN(const std::string list,
                         NewRevocationList(credential_, revoked, now));
  HWNAS_RETURN_IF_ERROR(WriteFileAtomically(dir_ + "/crl.pem", list));
  std::string kept;
  for (const std::string& line : issued.unreadable) {
    absl::StrAppend(&kept, line, "\n");
  }
  for (const Issued& one : issued.valid) {
    absl::StrAppend(&kept, ToLine({.first = one.certificate.serial,
                                   .expiry = one.certificate.not_after,
                                   .identity = one.certificate.identity}));
  }
  HWNAS_RETURN_IF_ERROR(WriteSecretFile(dir_ + "/issued", kept));
  return count;
}

}  // namespace hwnas::security
