// The public API from the caller's side: stubs, deadlines, paging, and errors
// that say which controller was asked.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grpcpp/channel.h"
#include "grpcpp/security/credentials.h"
#include "hwnas/v1/access_service.grpc.pb.h"
#include "hwnas/v1/device_service.grpc.pb.h"
#include "hwnas/v1/fleet_service.grpc.pb.h"
#include "hwnas/v1/study_service.grpc.pb.h"

namespace hwnas::cli {

// Thread-safe.
class Client {
 public:
  // `address` is only for messages.
  Client(const std::shared_ptr<grpc::Channel>& channel, std::string address);

  const std::string& address() const { return address_; }
  v1::StudyService::Stub& studies() { return *studies_; }
  v1::FleetService::Stub& fleet() { return *fleet_; }
  v1::DeviceService::Stub& devices() { return *devices_; }

  absl::StatusOr<v1::Study> CreateStudy(const v1::CreateStudyRequest& request);
  absl::StatusOr<v1::Study> GetStudy(const std::string& name);
  absl::StatusOr<std::vector<v1::Study>> ListStudies();
  absl::StatusOr<v1::Study> PauseStudy(const std::string& name);
  absl::StatusOr<v1::Study> ResumeStudy(const std::string& name);
  absl::StatusOr<v1::Study> CancelStudy(const std::string& name);
  // The front over all objectives, or that of a device class.
  absl::StatusOr<v1::Front> GetFront(const std::string& study_name,
                                     const std::string& device_class = "");
  absl::StatusOr<v1::Trial> GetTrial(const std::string& name);
  // All pages. `state` unspecified means every state.
  absl::StatusOr<std::vector<v1::Trial>> ListTrials(
      const std::string& study_name,
      v1::Trial::State state = v1::Trial::STATE_UNSPECIFIED);
  absl::StatusOr<std::vector<v1::Executor>> ListExecutors(
      v1::ExecutorKind kind);
  absl::StatusOr<std::vector<v1::Device>> ListDevices();
  absl::StatusOr<v1::TrialSamples> GetTrialSamples(const std::string& name);
  absl::StatusOr<v1::Device> GetDevice(const std::string& name);
  absl::StatusOr<v1::Device> ReserveDevice(
      const v1::ReserveDeviceRequest& request);
  absl::StatusOr<v1::Device> ReleaseDevice(
      const v1::ReleaseDeviceRequest& request);
  absl::StatusOr<v1::Device> DrainDevice(const v1::DrainDeviceRequest& request);
  absl::StatusOr<v1::Device> QuarantineDevice(
      const v1::QuarantineDeviceRequest& request);
  absl::StatusOr<v1::Device> ResumeDevice(
      const v1::ResumeDeviceRequest& request);
  absl::StatusOr<v1::StudyAccess> ShareStudy(
      const v1::ShareStudyRequest& request);
  absl::StatusOr<v1::StudyAccess> GetStudyAccess(const std::string& name);

  // Measures an ONNX file and waits for its result; `on_note` hears meanwhile
  // what goes on. An error if the measurement failed.
  absl::StatusOr<v1::TaskResult> ProfileModel(
      const v1::ProfileModelRequest& request,
      const std::function<void(const std::string& note)>& on_note);

  struct ExportedModel {
    std::string onnx;
    bool trained = false;
  };
  absl::StatusOr<ExportedModel> ExportModel(
      const v1::ExportModelRequest& request);

  // As FromGrpc; an unreachable controller gets a sentence with its address.
  absl::Status ToStatus(const grpc::Status& status) const;

  // How long one plain call may take.
  static constexpr absl::Duration kTimeout = absl::Seconds(15);

 private:
  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> Call(
      const std::unique_ptr<Stub>& stub,
      grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                   Response*),
      const Request& request);

  const std::string address_;
  const std::unique_ptr<v1::StudyService::Stub> studies_;
  const std::unique_ptr<v1::FleetService::Stub> fleet_;
  const std::unique_ptr<v1::DeviceService::Stub> devices_;
  const std::unique_ptr<v1::AccessService::Stub> access_;
};

// A channel for `address` with this project's message limits. `credentials`:
// nullptr means in the clear.
std::shared_ptr<grpc::Channel> Connect(
    const std::string& address,
    const std::shared_ptr<grpc::ChannelCredentials>& credentials);
inline std::shared_ptr<grpc::Channel> ConnectInTheClear(
    const std::string& address) {
  return Connect(address, nullptr);
}

// Who asks, unless an option says so: $HWNAS_USER, else the login name, as far
// as it is one that a controller takes; else nobody.
std::string DefaultUser();

// A device as users write it: "pi-7" or "devices/pi-7".
absl::StatusOr<std::string> DeviceNameFromUser(const std::string& text);

// A study as users write it: "fashion" or "studies/fashion".
absl::StatusOr<std::string> StudyNameFromUser(const std::string& text);

}  // namespace hwnas::cli
