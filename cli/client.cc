#include "cli/client.h"

#include <pwd.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "cli/diagnostic.h"
#include "common/limits.h"
#include "common/status_macros.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/support/channel_arguments.h"
#include "proto/convert/grpc_status.h"
#include "proto/convert/resource_names.h"
#include "security/credentials.h"

namespace hwnas::cli {
namespace {

// No server needs more pages; a broken one must not keep us for ever.
constexpr int kMaxPages = 100'000;

}  // namespace

Client::Client(const std::shared_ptr<grpc::Channel>& channel,
               std::string address)
    : address_(std::move(address)),
      studies_(v1::StudyService::NewStub(channel)),
      fleet_(v1::FleetService::NewStub(channel)),
      devices_(v1::DeviceService::NewStub(channel)),
      access_(v1::AccessService::NewStub(channel)) {}

absl::Status Client::ToStatus(const grpc::Status& status) const {
  if (status.error_code() == grpc::StatusCode::UNAVAILABLE) {
    // How a server that speaks TLS ends a connection that does not.
    const bool hung_up =
        absl::StrContains(status.error_message(), "Socket closed");
    return absl::UnavailableError(absl::StrCat(
        "no controller answers at ", address_, " (",
        Printable(status.error_message(), 200),
        "). Start one with 'hwnas-controller --store=DIR', or name another "
        "with --server HOST:PORT or $HWNAS_SERVER",
        hung_up ? "; one that asks for certificates needs --tls-dir or "
                  "$HWNAS_TLS_DIR"
                : ""));
  }
  if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) {
    return absl::UnavailableError(absl::StrCat("the controller at ", address_,
                                               " did not answer within ",
                                               absl::FormatDuration(kTimeout)));
  }
  return FromGrpc(status);
}

template <typename Stub, typename Request, typename Response>
absl::StatusOr<Response> Client::Call(
    const std::unique_ptr<Stub>& stub,
    grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                 Response*),
    const Request& request) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() +
                       absl::ToChronoMilliseconds(kTimeout));
  Response response;
  HWNAS_RETURN_IF_ERROR(
      ToStatus((stub.get()->*method)(&context, request, &response)));
  return response;
}

absl::StatusOr<v1::Study> Client::CreateStudy(
    const v1::CreateStudyRequest& request) {
  return Call(studies_, &v1::StudyService::Stub::CreateStudy, request);
}

absl::StatusOr<v1::Study> Client::GetStudy(const std::string& name) {
  v1::GetStudyRequest request;
  request.set_name(name);
  return Call(studies_, &v1::StudyService::Stub::GetStudy, request);
}

absl::StatusOr<v1::Study> Client::PauseStudy(const std::string& name) {
  v1::PauseStudyRequest request;
  request.set_name(name);
  return Call(studies_, &v1::StudyService::Stub::PauseStudy, request);
}

absl::StatusOr<v1::Study> Client::ResumeStudy(const std::string& name) {
  v1::ResumeStudyRequest request;
  request.set_name(name);
  return Call(studies_, &v1::StudyService::Stub::ResumeStudy, request);
}

absl::StatusOr<v1::Study> Client::CancelStudy(const std::string& name) {
  v1::CancelStudyRequest request;
  request.set_name(name);
  return Call(studies_, &v1::StudyService::Stub::CancelStudy, request);
}

absl::StatusOr<v1::Front> Client::GetFront(const std::string& study_name,
                                           const std::string& device_class) {
  v1::GetFrontRequest request;
  request.set_name(study_name);
  request.set_device_class(device_class);
  return Call(studies_, &v1::StudyService::Stub::GetFront, request);
}

absl::StatusOr<v1::Trial> Client::GetTrial(const std::string& name) {
  v1::GetTrialRequest request;
  request.set_name(name);
  return Call(studies_, &v1::StudyService::Stub::GetTrial, request);
}

absl::StatusOr<std::vector<v1::Study>> Client::ListStudies() {
  std::vector<v1::Study> all;
  v1::ListStudiesRequest request;
  request.set_page_size(1000);
  for (int page = 0; page < kMaxPages; ++page) {
    HWNAS_ASSIGN_OR_RETURN(
        v1::ListStudiesResponse response,
        Call(studies_, &v1::StudyService::Stub::ListStudies, request));
    for (v1::Study& study : *response.mutable_studies()) {
      all.push_back(std::move(study));
    }
    if (response.next_page_token().empty()) break;
    request.set_page_token(response.next_page_token());
  }
  return all;
}

absl::StatusOr<std::vector<v1::Trial>> Client::ListTrials(
    const std::string& study_name, v1::Trial::State state) {
  std::vector<v1::Trial> all;
  v1::ListTrialsRequest request;
  request.set_parent(study_name);
  request.set_page_size(1000);
  request.set_state(state);
  for (int page = 0; page < kMaxPages; ++page) {
    HWNAS_ASSIGN_OR_RETURN(
        v1::ListTrialsResponse response,
        Call(studies_, &v1::StudyService::Stub::ListTrials, request));
    for (v1::Trial& trial : *response.mutable_trials()) {
      all.push_back(std::move(trial));
    }
    if (response.next_page_token().empty()) break;
    request.set_page_token(response.next_page_token());
  }
  return all;
}

absl::StatusOr<std::vector<v1::Executor>> Client::ListExecutors(
    v1::ExecutorKind kind) {
  std::vector<v1::Executor> all;
  v1::ListExecutorsRequest request;
  request.set_kind(kind);
  request.set_page_size(1000);
  for (int page = 0; page < kMaxPages; ++page) {
    HWNAS_ASSIGN_OR_RETURN(
        v1::ListExecutorsResponse response,
        Call(fleet_, &v1::FleetService::Stub::ListExecutors, request));
    for (v1::Executor& executor : *response.mutable_executors()) {
      all.push_back(std::move(executor));
    }
    if (response.next_page_token().empty()) break;
    request.set_page_token(response.next_page_token());
  }
  return all;
}

absl::StatusOr<std::vector<v1::Device>> Client::ListDevices() {
  std::vector<v1::Device> all;
  v1::ListDevicesRequest request;
  request.set_page_size(1000);
  for (int page = 0; page < kMaxPages; ++page) {
    HWNAS_ASSIGN_OR_RETURN(
        v1::ListDevicesResponse response,
        Call(devices_, &v1::DeviceService::Stub::ListDevices, request));
    for (v1::Device& device : *response.mutable_devices()) {
      all.push_back(std::move(device));
    }
    if (response.next_page_token().empty()) break;
    request.set_page_token(response.next_page_token());
  }
  return all;
}

absl::StatusOr<v1::TrialSamples> Client::GetTrialSamples(
    const std::string& name) {
  v1::GetTrialSamplesRequest request;
  request.set_name(name);
  return Call(studies_, &v1::StudyService::Stub::GetTrialSamples, request);
}

absl::StatusOr<v1::Device> Client::GetDevice(const std::string& name) {
  v1::GetDeviceRequest request;
  request.set_name(name);
  return Call(devices_, &v1::DeviceService::Stub::GetDevice, request);
}

absl::StatusOr<v1::Device> Client::ReserveDevice(
    const v1::ReserveDeviceRequest& request) {
  return Call(devices_, &v1::DeviceService::Stub::ReserveDevice, request);
}

absl::StatusOr<v1::Device> Client::ReleaseDevice(
    const v1::ReleaseDeviceRequest& request) {
  return Call(devices_, &v1::DeviceService::Stub::ReleaseDevice, request);
}

absl::StatusOr<v1::Device> Client::DrainDevice(
    const v1::DrainDeviceRequest& request) {
  return Call(devices_, &v1::DeviceService::Stub::DrainDevice, request);
}

absl::StatusOr<v1::Device> Client::QuarantineDevice(
    const v1::QuarantineDeviceRequest& request) {
  return Call(devices_, &v1::DeviceService::Stub::QuarantineDevice, request);
}

absl::StatusOr<v1::Device> Client::ResumeDevice(
    const v1::ResumeDeviceRequest& request) {
  return Call(devices_, &v1::DeviceService::Stub::ResumeDevice, request);
}

absl::StatusOr<v1::StudyAccess> Client::ShareStudy(
    const v1::ShareStudyRequest& request) {
  return Call(access_, &v1::AccessService::Stub::ShareStudy, request);
}

absl::StatusOr<v1::StudyAccess> Client::GetStudyAccess(
    const std::string& name) {
  v1::GetStudyAccessRequest request;
  request.set_name(name);
  return Call(access_, &v1::AccessService::Stub::GetStudyAccess, request);
}

absl::StatusOr<v1::TaskResult> Client::ProfileModel(
    const v1::ProfileModelRequest& request,
    const std::function<void(const std::string& note)>& on_note) {
  grpc::ClientContext call;
  const auto reader = devices_->ProfileModel(&call, request);
  v1::ProfileModelUpdate update;
  std::optional<v1::TaskResult> result;
  while (reader->Read(&update)) {
    if (update.has_result()) {
      result = update.result();
    } else {
      on_note(update.note());
    }
  }
  HWNAS_RETURN_IF_ERROR(ToStatus(reader->Finish()));
  if (!result) return absl::InternalError("the device sent no result");
  if (!result->error().empty()) {
    return absl::InternalError(absl::StrCat("the measurement failed: ",
                                            Printable(result->error(), 400)));
  }
  return *std::move(result);
}

absl::StatusOr<Client::ExportedModel> Client::ExportModel(
    const v1::ExportModelRequest& request) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() +
                       std::chrono::minutes(10));
  auto reader = studies_->ExportModel(&context, request);
  ExportedModel model;
  v1::ExportModelChunk chunk;
  bool first = true;
  while (reader->Read(&chunk)) {
    if (first) model.trained = chunk.trained();
    first = false;
    model.onnx += chunk.data();
    if (model.onnx.size() > static_cast<size_t>(kMaxArtifactBytes)) {
      context.TryCancel();
      return absl::ResourceExhaustedError(absl::StrCat(
          "the model is larger than ", kMaxArtifactBytes, " bytes"));
    }
  }
  HWNAS_RETURN_IF_ERROR(ToStatus(reader->Finish()));
  return model;
}

std::shared_ptr<grpc::Channel> Connect(
    const std::string& address,
    const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  arguments.SetMaxSendMessageSize(kMaxMessageBytes);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 500);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000);
  // Two commands in one process must not share a broken connection's back-off.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // A controller whose machine went away is noticed while watching. More often
  // than every five minutes is against gRPC's default policy for servers.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 310'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  return security::DialController(address, credentials, arguments);
}

std::string DefaultUser() {
  std::string user;
  // Before any thread. NOLINTBEGIN(concurrency-mt-unsafe)
  if (const char* given = std::getenv("HWNAS_USER")) user = given;
  if (const passwd* login = getpwuid(geteuid());
      user.empty() && login != nullptr) {
    user = login->pw_name;
  }
  // NOLINTEND(concurrency-mt-unsafe)
  return CheckUser("user", user).ok() ? user : "";
}

absl::StatusOr<std::string> DeviceNameFromUser(const std::string& text) {
  const std::string name =
      absl::StartsWith(text, "devices/") ? text : DeviceName(text);
  HWNAS_RETURN_IF_ERROR(ParseDeviceName(name).status());
  return name;
}

absl::StatusOr<std::string> StudyNameFromUser(const std::string& text) {
  const std::string name =
      absl::StartsWith(text, "studies/") ? text : StudyName(text);
  HWNAS_RETURN_IF_ERROR(ParseStudyName(name).status());
  return name;
}

}  // namespace hwnas::cli
