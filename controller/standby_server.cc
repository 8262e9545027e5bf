#include "controller/standby_server.h"

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "controller/stranger_bounds.h"
#include "grpcpp/generic/async_generic_service.h"
#include "grpcpp/health_check_service_interface.h"

namespace hwnas::controller {

// Answers every method that is none of the health service's.
class StandbyServer::Refusals final : public grpc::CallbackGenericService {
 private:
  class Refusal final : public grpc::ServerGenericBidiReactor {
   public:
    Refusal() {
      Finish({grpc::StatusCode::UNAVAILABLE,
              "this controller stands by while another one leads"});
    }
    void OnDone() override { delete this; }
  };

  grpc::ServerGenericBidiReactor* CreateReactor(
      grpc::GenericCallbackServerContext*) override {
    return new Refusal;
  }
};

StandbyServer::StandbyServer() : refusals_(std::make_unique<Refusals>()) {}

absl::StatusOr<std::unique_ptr<StandbyServer>> StandbyServer::Start(
    const std::string& address,
    std::shared_ptr<grpc::ServerCredentials> credentials) {
  std::unique_ptr<StandbyServer> standby(new StandbyServer);
  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address, std::move(credentials), &standby->port_);
  // Nothing lasts here, so nobody can hold what it needs to take over.
  AddStrangerBounds(/*max_streams_per_connection=*/16, &builder);
  builder.SetMaxReceiveMessageSize(1 << 20);
  builder.RegisterCallbackGenericService(standby->refusals_.get());
  standby->server_ = builder.BuildAndStart();
  if (standby->server_ == nullptr || standby->port_ == 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot listen on ", address, ": is the port in use?"));
  }
  standby->server_->GetHealthCheckService()->SetServingStatus(false);
  return standby;
}

StandbyServer::~StandbyServer() {
  if (server_ == nullptr) return;
  // Nothing is under way that would be worth waiting for.
  server_->Shutdown(std::chrono::system_clock::now());
  server_->Wait();
}

}  // namespace hwnas::controller
