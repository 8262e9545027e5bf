#include "controller/server.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/address.h"
#include "common/clock.h"
#include "common/files.h"
#include "common/limits.h"
#include "common/metrics_server.h"
#include "common/mutex.h"
#include "common/status_macros.h"
#include "controller/controller_metrics.h"
#include "controller/rpc/device_service.h"
#include "controller/rpc/fleet_service.h"
#include "controller/rpc/study_service.h"
#include "controller/rpc/trial_service.h"
#include "controller/study/study_engine.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/grpcpp.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/resource_quota.h"
#include "store/artifact_store.h"
#include "store/journal_store.h"

namespace hwnas::controller {
namespace {

constexpr absl::Duration kTick = absl::Milliseconds(100);
constexpr int kMaxServerThreads = 64;
constexpr int kIdleServerThreads = 16;

// Held for as long as the process lives: two controllers on one store would
// each believe itself alone.
absl::StatusOr<int> LockStore(const std::string& folder) {
  const std::string path = folder + "/lock";
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat("open ", path));
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) return fd;
  const int error = errno;
  close(fd);
  if (error == EWOULDBLOCK) {
    return absl::UnavailableError(absl::StrCat(
        "the store ", folder,
        " is in use by another controller: stop it, or give --store another "
        "folder"));
  }
  return absl::ErrnoToStatus(error, absl::StrCat("lock ", path));
}

class ServerImpl final : public Server {
 public:
  ServerImpl(ServerOptions options, std::shared_ptr<Logger> logger)
      : options_(std::move(options)), logger_(std::move(logger)) {}
  ~ServerImpl() override {
    Stop();
    if (lock_fd_ >= 0) close(lock_fd_);
  }

  absl::Status Start() {
    bool loopback = false;
    HWNAS_RETURN_IF_ERROR(
        CheckAddress("listen", options_.listen, /*min_port=*/0, &loopback));
    if (!loopback && !options_.insecure) {
      return absl::FailedPreconditionError(absl::StrCat(
          "listen address \"", options_.listen,
          "\" is beyond this machine and connections are not encrypted: listen "
          "on 127.0.0.1, or give --insecure on a network you trust"));
    }
    if (options_.store.empty()) {
      return absl::InvalidArgumentError(
          "no store: give --store=FOLDER, for example "
          "--store=/var/lib/hwnas");
    }
    HWNAS_RETURN_IF_ERROR(MakeDirectories(options_.store));
    HWNAS_ASSIGN_OR_RETURN(lock_fd_, LockStore(options_.store));
    HWNAS_ASSIGN_OR_RETURN(
        journals_,
        OpenSqliteJournalStore({.path = options_.store + "/journal.db"}));
    HWNAS_ASSIGN_OR_RETURN(
        artifacts_, OpenFolderArtifactStore(options_.store + "/artifacts",
                                            kMaxArtifactBytes));
    auto registry = std::make_shared<prometheus::Registry>();
    metrics_ = std::make_unique<ControllerMetrics>(registry);
    HWNAS_ASSIGN_OR_RETURN(
        engine_, StudyEngine::Create({.lease_duration = options_.lease_duration,
                                      .tables_dir = options_.tables_dir,
                                      .checks = options_.checks,
                                      .quotas = options_.quotas},
                                     {.journals = journals_.get(),
                                      .artifacts = artifacts_.get(),
                                      .clock = Clock::Real(),
                                      .metrics = metrics_.get(),
                                      .logger = logger_}));
    if (!options_.metrics.empty()) {
      HWNAS_ASSIGN_OR_RETURN(metrics_server_,
                             MetricsServer::Start(options_.metrics, registry));
    }
    HWNAS_RETURN_IF_ERROR(Serve());
    timer_ = std::thread([this] { RunTimer(); });
    return WritePortFile();
  }

  std::string address() const override {
    return absl::StrCat(options_.listen.substr(0, options_.listen.rfind(':')),
                        ":", port_);
  }

  void Stop() override {
    if (timer_.joinable()) {
      {
        MutexLock lock(&mutex_);
        stopping_ = true;
        changed_.SignalAll();
      }
      timer_.join();
    }
    if (server_ != nullptr) {
      fleet_service_->CloseAll();
      // Cuts off whoever still watches.
      server_->Shutdown(std::chrono::system_clock::now() +
                        std::chrono::milliseconds(500));
      server_->Wait();
      server_ = nullptr;
    }
  }

 private:
  absl::Status Serve() {
    study_service_ = std::make_unique<StudyServiceImpl>(
        engine_.get(), artifacts_.get(), metrics_.get());
    trial_service_ =
        std::make_unique<TrialServiceImpl>(engine_.get(), metrics_.get());
    fleet_service_ = std::make_unique<FleetServiceImpl>(
        FleetServiceOptions(), engine_.get(), artifacts_.get(), Clock::Real(),
        metrics_.get(), logger_);
    device_service_ =
        std::make_unique<DeviceServiceImpl>(engine_.get(), metrics_.get());
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    grpc::ServerBuilder builder;
    builder.AddListeningPort(options_.listen, grpc::InsecureServerCredentials(),
                             &port_);
    builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
    builder.SetMaxSendMessageSize(kMaxMessageBytes);
    // One controller to an address.
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveTimeMs);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
                               kKeepaliveTimeoutMs);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    builder.AddChannelArgument(
        GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
        kKeepaliveTimeMs / 2);
    // Threads that have answered a call stay for the next: to end and start one
    // for each call takes longer than most calls.
    using Option = grpc::ServerBuilder::SyncServerOption;
    builder.SetSyncServerOption(Option::NUM_CQS, 1);
    builder.SetSyncServerOption(Option::MIN_POLLERS, 2);
    builder.SetSyncServerOption(Option::MAX_POLLERS, kIdleServerThreads);
    grpc::ResourceQuota quota("controller");
    quota.SetMaxThreads(kMaxServerThreads);
    builder.SetResourceQuota(quota);
    for (grpc::Service* service : std::initializer_list<grpc::Service*>{
             study_service_.get(), trial_service_.get(), fleet_service_.get(),
             device_service_.get()}) {
      builder.RegisterService(service);
    }
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || port_ == 0) {
      server_ = nullptr;
      return absl::UnavailableError(absl::StrCat(
          "cannot listen on ", options_.listen,
          ": is the port in use (another controller?), or the address not of "
          "this machine? Give --listen another one"));
    }
    return absl::OkStatus();
  }

  absl::Status WritePortFile() {
    const std::string metrics_address =
        metrics_server_ == nullptr
            ? ""
            : absl::StrCat(
                  options_.metrics.substr(0, options_.metrics.rfind(':')), ":",
                  metrics_server_->port());
    logger_->info("event=serving grpc={} metrics={} store={}", address(),
                  metrics_address, options_.store);
    if (options_.port_file.empty()) return absl::OkStatus();
    return WriteFileAtomically(
        options_.port_file,
        absl::StrCat("{\"grpc\": \"", address(), "\", \"metrics\": \"",
                     metrics_address, "\"}\n"));
  }

  void RunTimer() {
    bool more = false;
    for (;;) {
      {
        MutexLock lock(&mutex_);
        if (!stopping_ && !more) changed_.WaitWithTimeout(&mutex_, kTick);
        if (stopping_) return;
      }
      more = engine_->Tick();
      fleet_service_->Tick();
    }
  }

  const ServerOptions options_;
  const std::shared_ptr<Logger> logger_;
  int lock_fd_ = -1;
  int port_ = 0;
  // In the order in which they stand on each other.
  std::unique_ptr<JournalStore> journals_;
  std::unique_ptr<ArtifactStore> artifacts_;
  std::unique_ptr<ControllerMetrics> metrics_;
  std::unique_ptr<StudyEngine> engine_;
  std::unique_ptr<MetricsServer> metrics_server_;
  std::unique_ptr<StudyServiceImpl> study_service_;
  std::unique_ptr<TrialServiceImpl> trial_service_;
  std::unique_ptr<FleetServiceImpl> fleet_service_;
  std::unique_ptr<DeviceServiceImpl> device_service_;
  std::unique_ptr<grpc::Server> server_;

  std::thread timer_;
  Mutex mutex_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(
    const ServerOptions& options, std::shared_ptr<Logger> logger) {
  auto server = std::make_unique<ServerImpl>(options, std::move(logger));
  HWNAS_RETURN_IF_ERROR(server->Start());
  return server;
}

}  // namespace hwnas::controller
