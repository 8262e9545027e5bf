#include "controller/health_server.h"

#include <chrono>

#include "absl/strings/str_cat.h"
#include "controller/stranger_bounds.h"
#include "grpcpp/health_check_service_interface.h"

namespace hwnas::controller {
namespace {

// Strangers come here: what they may take.
constexpr int kMaxThreads = 4;
constexpr size_t kMaxBytes = size_t{8} << 20;
constexpr int kMaxRequestBytes = 1 << 10;

}  // namespace

absl::StatusOr<std::unique_ptr<HealthServer>> HealthServer::Start(
    const std::string& address) {
  std::unique_ptr<HealthServer> health(new HealthServer);
  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address, grpc::InsecureServerCredentials(),
                           &health->port_);
  AddStrangerBounds(/*max_streams_per_connection=*/4, &builder);
  builder.SetMaxReceiveMessageSize(kMaxRequestBytes);
  grpc::ResourceQuota quota("health");
  quota.SetMaxThreads(kMaxThreads);
  quota.Resize(kMaxBytes);
  builder.SetResourceQuota(quota);
  builder.RegisterCallbackGenericService(&health->others_);
  health->server_ = builder.BuildAndStart();
  if (health->server_ == nullptr || health->port_ == 0) {
    return absl::UnavailableError(absl::StrCat("cannot listen on ", address,
                                               " for probes: is the port in "
                                               "use?"));
  }
  health->SetServing(false);
  health->server_->GetHealthCheckService()->SetServingStatus("live", true);
  return health;
}

HealthServer::~HealthServer() {
  if (server_ == nullptr) return;
  server_->Shutdown(std::chrono::system_clock::now());
  server_->Wait();
}

void HealthServer::SetServing(bool serving) {
  server_->GetHealthCheckService()->SetServingStatus("", serving);
}

}  // namespace hwnas::controller
