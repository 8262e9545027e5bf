#include "controller/rpc/access.h"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/files.h"
#include "common/status_macros.h"
#include "common/text.h"
#include "google/protobuf/message.h"
#include "grpc/grpc_security_constants.h"
#include "grpcpp/security/auth_context.h"
#include "grpcpp/security/auth_metadata_processor.h"
#include "proto/convert/grpc_status.h"
#include "proto/convert/resource_names.h"
#include "security/authority.h"
#include "spdlog/sinks/basic_file_sink.h"

namespace hwnas::controller {
namespace {

using security::Certificate;
using security::Role;

constexpr RoleSet kAdmin = Only(Role::kAdmin);
constexpr RoleSet kSearchers = kAdmin | Only(Role::kResearcher);
constexpr RoleSet kReaders = kSearchers | Only(Role::kViewer);
constexpr RoleSet kWorkers = Only(Role::kWorker);
constexpr RoleSet kFleet = kWorkers | Only(Role::kAgent);
constexpr RoleSet kEverybody = kReaders | kFleet;

constexpr MethodRule kRules[] = {
    {"/hwnas.v1.StudyService/CreateStudy", kSearchers, true},
    {"/hwnas.v1.StudyService/GetStudy", kReaders, false},
    {"/hwnas.v1.StudyService/ListStudies", kReaders, false},
    {"/hwnas.v1.StudyService/PauseStudy", kSearchers, true},
    {"/hwnas.v1.StudyService/ResumeStudy", kSearchers, true},
    {"/hwnas.v1.StudyService/CancelStudy", kSearchers, true},
    {"/hwnas.v1.StudyService/WatchStudy", kReaders, false},
    {"/hwnas.v1.StudyService/ListTrials", kReaders, false},
    {"/hwnas.v1.StudyService/GetTrial", kReaders, false},
    {"/hwnas.v1.StudyService/GetTrialSamples", kReaders, false},
    {"/hwnas.v1.StudyService/GetFront", kReaders, false},
    {"/hwnas.v1.StudyService/ExportModel", kReaders, false},

    {"/hwnas.v1.TrialService/AskTrials", kSearchers, false},
    {"/hwnas.v1.TrialService/ReportProgress", kSearchers, false},
    {"/hwnas.v1.TrialService/TellTrials", kSearchers, false},

    {"/hwnas.v1.FleetService/Session", kFleet, true},
    {"/hwnas.v1.FleetService/UploadArtifact", kWorkers, true},
    {"/hwnas.v1.FleetService/DownloadArtifact", kWorkers, false},
    {"/hwnas.v1.FleetService/ListExecutors", kReaders, false},

    {"/hwnas.v1.DeviceService/ListDevices", kReaders, false},
    {"/hwnas.v1.DeviceService/GetDevice", kReaders, false},
    {"/hwnas.v1.DeviceService/ProfileModel", kSearchers, true},
    {"/hwnas.v1.DeviceService/ReserveDevice", kSearchers, true},
    {"/hwnas.v1.DeviceService/ReleaseDevice", kSearchers, true},
    {"/hwnas.v1.DeviceService/DrainDevice", kAdmin, true},
    {"/hwnas.v1.DeviceService/QuarantineDevice", kAdmin, true},
    {"/hwnas.v1.DeviceService/ResumeDevice", kAdmin, true},

    {"/hwnas.v1.AccessService/ShareStudy", kSearchers, true},
    {"/hwnas.v1.AccessService/GetStudyAccess", kReaders, false},

    {"/hwnas.v1.EnrollService/Enroll", kEverybody, false},
    {"/hwnas.v1.EnrollService/Renew", kEverybody, true},

    {"/grpc.health.v1.Health/Check", kEverybody, false},
    {"/grpc.health.v1.Health/Watch", kEverybody, false},
    {"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", kReaders,
     false},
};

// Parsed certificates that are remembered; more peers than a cluster has.
constexpr size_t kMaxParsed = 20'000;
// Of calls that were refused, or failed: whoever may not do a thing must not
// fill the disk with it either.
constexpr double kRefusedRecordsPerSecond = 5;
constexpr double kRefusedRecordsAtOnce = 1000;
// Lines about refused handshakes and calls; anybody can cause them.
constexpr double kRefusalLinesPerSecond = 20;
constexpr double kRefusalLinesAtOnce = 200;
constexpr size_t kMaxLoggedBytes = 128;

const MethodRule* FindRule(absl::string_view method) {
  const auto* const rule = std::find_if(
      std::begin(kRules), std::end(kRules),
      [method](const MethodRule& rule) { return rule.method == method; });
  return rule == std::end(kRules) ? nullptr : rule;
}

// For a line of a log: bounded, in one piece.
std::string Tame(absl::string_view text) {
  std::string tame = Printable(text.substr(0, kMaxLoggedBytes));
  for (char& c : tame) {
    if (c == '"') c = '\'';
    if (c == '\n' || c == '\t') c = '?';
  }
  return tame;
}

// "hwnas.v1.StudyService/GetStudy" is "StudyService/GetStudy".
absl::string_view ShortMethod(absl::string_view method) {
  absl::ConsumePrefix(&method, "/");
  absl::ConsumePrefix(&method, "hwnas.v1.");
  return method;
}

// What a request is about: the first of these fields that is set.
std::string ResourceOf(const google::protobuf::Message& request) {
  for (const char* name :
       {"name", "parent", "study_id", "trial", "device", "device_class"}) {
    const auto* const field = request.GetDescriptor()->FindFieldByName(name);
    if (field == nullptr || field->is_repeated() ||
        field->type() != google::protobuf::FieldDescriptor::TYPE_STRING) {
      continue;
    }
    std::string value = request.GetReflection()->GetString(request, field);
    if (!value.empty()) return value;
  }
  return "";
}

// The certificate that the peer of a connection has shown; empty: none.
absl::string_view PeerCertificate(const grpc::AuthContext* context) {
  if (context == nullptr) return "";
  const std::vector<grpc::string_ref> values =
      context->FindPropertyValues(GRPC_X509_PEM_CERT_PROPERTY_NAME);
  if (values.size() != 1) return "";
  return {values[0].data(), values[0].size()};
}

// Runs before each call, before its first message is read.
class Processor final : public grpc::AuthMetadataProcessor {
 public:
  using Decide = std::function<absl::Status(const grpc::AuthContext* context,
                                            absl::string_view method)>;
  explicit Processor(Decide decide) : decide_(std::move(decide)) {}

  bool IsBlocking() const override { return false; }
  grpc::Status Process(const InputMetadata& metadata,
                       grpc::AuthContext* context, OutputMetadata* consumed,
                       OutputMetadata* response) override {
    const auto path = metadata.find(":path");
    return ToGrpc(decide_(
        context,
        path == metadata.end()
            ? absl::string_view()
            : absl::string_view(path->second.data(), path->second.size())));
  }

 private:
  const Decide decide_;
};

// Sees one call go by.
class Recorder final : public grpc::experimental::Interceptor {
 public:
  Recorder(Access* access, grpc::experimental::ServerRpcInfo* info)
      : access_(access),
        info_(info),
        is_ours_(absl::StartsWith(info->method(), "/hwnas.v1.")) {}

  void Intercept(grpc::experimental::InterceptorBatchMethods* batch) override {
    using Point = grpc::experimental::InterceptionHookPoints;
    if (resource_.empty() && is_ours_ &&
        batch->QueryInterceptionHookPoint(Point::POST_RECV_MESSAGE)) {
      // A protobuf, whose base stands first in it.
      if (const void* message = batch->GetRecvMessage(); message != nullptr) {
        resource_ =
            ResourceOf(*static_cast<const google::protobuf::Message*>(message));
      }
    }
    if (batch->QueryInterceptionHookPoint(Point::PRE_SEND_STATUS)) {
      Record(batch->GetSendStatus());
    }
    batch->Proceed();
  }

 private:
  void Record(const grpc::Status& status) {
    const MethodRule* const rule = FindRule(info_->method());
    const bool refused =
        status.error_code() == grpc::StatusCode::PERMISSION_DENIED ||
        status.error_code() == grpc::StatusCode::UNAUTHENTICATED;
    if (!refused && rule != nullptr && !rule->audited) return;
    grpc::ServerContextBase* const context = info_->server_context();
    access_->Audit(access_->Who(*context), context->peer(), info_->method(),
                   resource_,
                   static_cast<absl::StatusCode>(status.error_code()));
  }

  Access* const access_;
  grpc::experimental::ServerRpcInfo* const info_;
  const bool is_ours_;
  std::string resource_;
};

class RecorderFactory final
    : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  explicit RecorderFactory(Access* access) : access_(access) {}
  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo* info) override {
    return new Recorder(access_, info);
  }

 private:
  Access* const access_;
};

}  // namespace

absl::Span<const MethodRule> MethodRules() { return kRules; }

absl::StatusOr<std::unique_ptr<Access>> Access::Create(
    const AccessOptions& options, const Clock* clock,
    ControllerMetrics* metrics, std::shared_ptr<Logger> logger) {
  std::shared_ptr<Logger> audit;
  if (!options.audit_log.empty()) {
    try {
      audit = std::make_shared<Logger>(
          "audit", std::make_shared<spdlog::sinks::basic_file_sink_mt>(
                       options.audit_log));
    } catch (const spdlog::spdlog_ex& error) {
      return absl::FailedPreconditionError(
          absl::StrCat("audit log: ", error.what()));
    }
    chmod(options.audit_log.c_str(), 0600);
    audit->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %v",
                       spdlog::pattern_time_type::utc);
    audit->flush_on(spdlog::level::info);
  } else if (!options.tls_dir.empty()) {
    audit = logger;
  }
  auto access = absl::WrapUnique(
      new Access(options, clock, metrics, std::move(logger), std::move(audit)));
  if (access->tls()) {
    HWNAS_ASSIGN_OR_RETURN(
        access->authority_,
        ReadFile(options.tls_dir + "/ca.pem", security::kMaxPemBytes));
    MutexLock lock(&access->mutex_);
    // Not without it: somebody may be on it.
    HWNAS_RETURN_IF_ERROR(access->ReadRevocations());
  }
  return access;
}

Access::Access(AccessOptions options, const Clock* clock,
               ControllerMetrics* metrics, std::shared_ptr<Logger> logger,
               std::shared_ptr<Logger> audit)
    : options_(std::move(options)),
      clock_(clock),
      metrics_(metrics),
      logger_(std::move(logger)),
      audit_(std::move(audit)),
      refusal_lines_(kRefusalLinesPerSecond, kRefusalLinesAtOnce),
      unread_lines_(/*per_second=*/0.1, /*burst=*/1),
      refused_records_(kRefusedRecordsPerSecond, kRefusedRecordsAtOnce) {}

Access::~Access() = default;

// ---- Certificates ----

absl::Status Access::ReadRevocations() {
  struct stat info = {};
  std::string stamp = "none";
  if (stat((options_.tls_dir + "/crl.pem").c_str(), &info) == 0) {
    stamp = absl::StrCat(info.st_ino, " ", info.st_size, " ",
                         info.st_mtim.tv_sec, ".", info.st_mtim.tv_nsec);
  }
  if (stamp == revocations_stamp_) return absl::OkStatus();
  // Again and again until it can be read: a list that is missed lets in whom it
  // names.
  HWNAS_ASSIGN_OR_RETURN(revoked_, security::ReadRevoked(options_.tls_dir));
  revocations_stamp_ = stamp;
  logger_->info("event=revocations_read count={}", revoked_.size());
  return absl::OkStatus();
}

absl::Status Access::StillGood(const Certificate& certificate) {
  if (revoked_.count(certificate.serial) > 0) {
    return absl::UnauthenticatedError("the certificate was revoked");
  }
  if (clock_->Now() >= certificate.not_after) {
    return absl::UnauthenticatedError("the certificate has expired");
  }
  return absl::OkStatus();
}

absl::Status Access::CheckPeer(absl::string_view pem) {
  const absl::StatusOr<Certificate> certificate =
      security::ReadCertificate(pem);
  absl::Status status = certificate.status();
  if (pem.empty()) {
    status = absl::UnauthenticatedError("there is no certificate");
  } else if (status.ok()) {
    status = security::CheckSignedBy(authority_, pem, clock_->Now());
  }
  MutexLock lock(&mutex_);
  if (status.ok()) status = StillGood(*certificate);
  if (!status.ok()) {
    metrics_->RpcError("UNAUTHENTICATED");
    if (refusal_lines_.Take(clock_->Steady())) {
      logger_->warn("event=handshake_refused who=\"{}\" reason=\"{}\"",
                    certificate.ok() ? ToText(certificate->identity) : "",
                    Tame(status.message()));
    }
  }
  return status;
}

absl::StatusOr<Certificate> Access::Parse(absl::string_view pem_view) {
  std::string pem(pem_view);
  {
    MutexLock lock(&mutex_);
    const auto found = parsed_.find(pem);
    if (found != parsed_.end()) return found->second;
  }
  HWNAS_ASSIGN_OR_RETURN(const Certificate certificate,
                         security::ReadCertificate(pem));
  MutexLock lock(&mutex_);
  if (parsed_.size() >= kMaxParsed) parsed_.clear();
  parsed_[std::move(pem)] = certificate;
  return certificate;
}

Access::Caller Access::CallerOf(const grpc::ServerContextBase& context) {
  if (!tls()) return std::nullopt;
  // The handshake has seen to it that there is one; else it has no rights.
  return Parse(PeerCertificate(context.auth_context().get()))
      .value_or(Certificate());
}

void Access::Tick() {
  if (!tls()) return;
  std::vector<std::pair<std::shared_ptr<Hold::State>, absl::Status>> ended;
  {
    MutexLock lock(&mutex_);
    if (const absl::Status status = ReadRevocations(); !status.ok()) {
      // What was read before stays in force.
      if (unread_lines_.Take(clock_->Steady())) {
        logger_->error("event=revocations_not_read reason=\"{}\"",
                       Tame(status.message()));
      }
    }
    for (const auto& hold : holds_) {
      absl::Status status = StillGood(hold->certificate);
      if (!status.ok()) ended.emplace_back(hold, std::move(status));
    }
  }
  // Without the mutex: what ends here is written down, which asks us who it
  // was.
  for (const auto& [hold, status] : ended) {
    MutexLock lock(&hold->mutex);
    if (hold->cut == nullptr) continue;
    logger_->warn("event=cut_off who=\"{}\" reason=\"{}\"",
                  ToText(hold->certificate.identity),
                  std::string(status.message()));
    const bool expired = clock_->Now() >= hold->certificate.not_after;
    std::exchange(hold->cut, nullptr)(
        expired ? absl::UnavailableError(status.message()) : status);
  }
}

Access::Hold::~Hold() {
  {
    MutexLock lock(&state_->mutex);
    state_->cut = nullptr;
  }
  MutexLock lock(&access_->mutex_);
  access_->holds_.erase(place_);
}

std::unique_ptr<Access::Hold> Access::CutWhenInvalid(
    const Caller& caller, std::function<void(const absl::Status&)> cut) {
  if (!caller) return nullptr;
  auto state = std::make_shared<Hold::State>();
  state->certificate = *caller;
  {
    MutexLock lock(&state->mutex);
    state->cut = std::move(cut);
  }
  auto hold = absl::WrapUnique(new Hold(this, state));
  MutexLock lock(&mutex_);
  hold->place_ = holds_.insert(holds_.end(), std::move(state));
  return hold;
}

// ---- Methods ----

absl::Status Access::MayCall(const Caller& caller, absl::string_view method) {
  if (!caller) return absl::OkStatus();
  {
    MutexLock lock(&mutex_);
    HWNAS_RETURN_IF_ERROR(StillGood(*caller));
  }
  const MethodRule* const rule = FindRule(method);
  if (rule != nullptr && (rule->roles & Only(caller->identity.role)) != 0) {
    return absl::OkStatus();
  }
  return absl::PermissionDeniedError(absl::StrCat(
      ToText(caller->identity), " may not call ", Tame(ShortMethod(method))));
}

std::shared_ptr<grpc::AuthMetadataProcessor> Access::MakeProcessor() {
  return std::make_shared<Processor>([this](const grpc::AuthContext* context,
                                            absl::string_view method) {
    const absl::StatusOr<Certificate> caller = Parse(PeerCertificate(context));
    if (!caller.ok()) {
      return absl::UnauthenticatedError("there is no certificate");
    }
    const absl::Status status = MayCall(*caller, method);
    if (!status.ok()) {
      metrics_->RpcError(std::string(absl::StatusCodeToString(status.code())));
      Audit(ToText(caller->identity), "", method, "", status.code());
    }
    return status;
  });
}

// ---- Studies and sessions ----

std::string Access::UserOf(const grpc::ServerContextBase& context,
                           const std::string& named) {
  const Caller caller = CallerOf(context);
  return caller ? caller->identity.name : named;
}

std::string Access::Who(const grpc::ServerContextBase& context) {
  const Caller caller = CallerOf(context);
  return caller ? ToText(caller->identity) : "local";
}

bool Access::IsAdmin(const grpc::ServerContextBase& context) {
  const Caller caller = CallerOf(context);
  return !caller || caller->identity.role == Role::kAdmin;
}

absl::Status Access::MayUse(const grpc::ServerContextBase& context,
                            const std::string& study_id) {
  const Caller caller = CallerOf(context);
  // A viewer is kept from changes by the table.
  if (!caller || caller->identity.role != Role::kResearcher) {
    return absl::OkStatus();
  }
  HWNAS_ASSIGN_OR_RETURN(const v1::StudyAccess access,
                         engine_->GetStudyAccess(study_id));
  if (access.user() == caller->identity.name) return absl::OkStatus();
  for (const std::string& user : access.shared_with()) {
    if (user == caller->identity.name || user == "*") return absl::OkStatus();
  }
  return absl::PermissionDeniedError(absl::StrCat(
      "study \"", study_id, "\" is somebody else's and not shared with you"));
}

absl::Status Access::MayUseTrial(const grpc::ServerContextBase& context,
                                 const std::string& trial_name) {
  HWNAS_ASSIGN_OR_RETURN(const TrialId id, ParseTrialName(trial_name));
  return MayUse(context, id.study_id);
}

absl::Status Access::MayConnect(const Caller& caller, const v1::Hello& hello) {
  if (!caller) return absl::OkStatus();
  const Role kind = hello.kind() == v1::WORKER ? Role::kWorker : Role::kAgent;
  if (caller->identity.role == kind &&
      Covers(caller->identity, hello.executor_id())) {
    return absl::OkStatus();
  }
  return absl::PermissionDeniedError(absl::StrCat(
      "the certificate is that of ", ToText(caller->identity), ", not of ",
      RoleName(kind), " ", Tame(hello.executor_id())));
}

// ---- The record ----

void Access::Audit(absl::string_view who, absl::string_view peer,
                   absl::string_view method, absl::string_view resource,
                   absl::StatusCode outcome) {
  if (audit_ == nullptr) return;
  std::string omitted;
  if (outcome != absl::StatusCode::kOk) {
    MutexLock lock(&record_mutex_);
    if (!refused_records_.Take(clock_->Steady())) {
      ++omitted_records_;
      return;
    }
    if (const int64_t count = std::exchange(omitted_records_, 0); count > 0) {
      omitted = absl::StrCat(" omitted_before=", count);
    }
  }
  audit_->info(
      "event=audit who=\"{}\" peer={} method={} resource=\"{}\" outcome={}{}",
      std::string(who), peer.empty() ? "-" : Tame(peer),
      Tame(ShortMethod(method)), Tame(resource),
      absl::StatusCodeToString(outcome), omitted);
}

std::vector<
    std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>>
Access::MakeInterceptors() {
  std::vector<
      std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>>
      made;
  if (audit_ != nullptr)
    made.push_back(std::make_unique<RecorderFactory>(this));
  return made;
}

}  // namespace hwnas::controller
